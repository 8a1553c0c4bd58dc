"""What both ways of training `bioclim` share: ResNet18 over all bands at once, plain or conditioned on climate.

Section numbers "sec. 1" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from terraprobe.conditioning import ContextKind, context_names, fit_context
from terraprobe.method import Batch, Method, Note, Source, TrainRecipe
from terraprobe.modalities import MODALITIES
from terraprobe.towers import TowerRecipe, check_tower

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.chips.store import StoreLayer
    from terraprobe.models.resnet import Norms, ResNetShape
    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool

FLIP_PROBABILITY = 0.5
"""[P] sec. 1 Normalisation: horizontal and vertical flips, each."""

_PAPER_TOWERS = MappingProxyType({"s2": TowerRecipe(modality="s2_l1c")})


class ClimateResNetRecipe(TrainRecipe):
    """Recipe of one climate-conditioned ResNet; the defaults are the paper's for EuroSAT.

    Attributes:
        towers: the one tower, its name to what it sees: all its bands at once.
        conditioning: `none`, `emb` (a linear embedding of the context is added to z), or `cbn` (the context gives the
            affine of every batch norm).
        context: `real`, or a control: `shuffled` (that of another chip of its split), `region` (the mean of its
            region's train chips), `coordinates` (a point on the unit sphere) or `noise`.
        elevation: whether it is a value of the context; false for collections that have climate alone, 19 values.
        cbn_start: of the linear layers of CBN: PyTorch's own, or so that they start as plain batch norms.
        stem_px: kernel and stride of the first convolution.
        width: channels of the first stage; each further stage has twice as many, z as many as the last.
        blocks: residual blocks of each stage.
        flip_validation: paper mode: validation chips are flipped at random too.
        schedule: of the learning rate after the warm-up: constant, or a cosine to zero over all epochs.
    """

    towers: Annotated[dict[str, TowerRecipe], Source("P", "sec. 1 Data: EuroSAT MS, 13 bands")] = dict(_PAPER_TOWERS)
    conditioning: Annotated[Literal["none", "emb", "cbn"], Source("P", "sec. 1 Emb, CBN")] = "none"
    context: Annotated[ContextKind, Source("P", "sec. 1 Evaluation; shuffled is its control")] = "real"
    elevation: Annotated[bool, Source("P", "sec. 1 Auxiliary vector: 20 values with it")] = True
    cbn_start: Annotated[
        Literal["paper", "identity"], Source("I", "sec. 1 CBN: linear layers; no other start is stated")
    ] = "paper"
    stem_px: Annotated[int, Field(ge=1), Source("C", "sec. 1 Encoder: 2 for EuroSAT, 3 for BigEarthNet")] = 2
    width: Annotated[int, Field(ge=1), Source("P", "sec. 1 Encoder: ResNet18")] = 64
    blocks: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1), Source("P", "sec. 1 Encoder: ResNet18")
    ] = (2, 2, 2, 2)
    flip_validation: Annotated[bool, Source("D", "sec. 1: the paper flips validation chips too [P, C]")] = False
    batch_size: Annotated[int, Field(ge=2), Source("P", "sec. 1 Optimiser: EuroSAT")] = 64
    lr: Annotated[float, Field(gt=0), Source("P", "sec. 1 Optimiser: Adam")] = 1e-5
    weight_decay: Annotated[float, Field(ge=0), Source("P", "sec. 1 Optimiser: Adam")] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1), Source("D", "stated nowhere")] = 0.0
    schedule: Annotated[Literal["constant", "cosine"], Source("P", "sec. 1 Optimiser: Adam at one rate")] = "constant"
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Source("D", "stated nowhere; bf16 on a GPU, the loss in fp32")
    ] = "auto"

    @model_validator(mode="after")
    def _fits(self) -> "ClimateResNetRecipe":
        if len(self.towers) != 1:
            raise ValueError(f"towers: found {len(self.towers)}, allowed one, which sees all its bands at once")
        for name, tower in self.towers.items():
            check_tower(name, tower)
            if MODALITIES[tower.modality].unit != "reflectance":
                allowed = ", ".join(m.name for m in MODALITIES.values() if m.unit == "reflectance")
                raise ValueError(
                    f"towers.{name}.modality: found {tower.modality!r}, allowed {allowed}: what enters is reflectance "
                    "in [0, 1]"
                )
        if self.context != "real" and self.conditioning == "none":
            raise ValueError(f"context: found {self.context!r}, allowed real where conditioning is none")
        return self

    @property
    def shrink(self) -> int:
        """Side of a chip over that of the last features."""
        return int(self.stem_px * 2 ** (len(self.blocks) - 1))

    def conditional(self, part: str) -> bool:
        """Whether the batch norms of the `encoder` or the `decoder` are conditional."""
        return self.conditioning == "cbn"

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that would shrink to nothing.

        Raises:
            ValueError: the side is below what the encoder shrinks by.
        """
        if chip_px < self.shrink:
            raise ValueError(
                f"stem_px {self.stem_px} and {len(self.blocks)} stages of blocks do not fit chips of {chip_px} px, "
                f"allowed at least {self.shrink} px"
            )


SHARED_NOTES = (
    Note("optimiser", "Adam, no gradient clipping", Source("P", "sec. 1 Optimiser")),
    Note("encoder", "strided stem, no max-pool, biased convolutions", Source("C", "sec. 1 Encoder")),
    Note("shortcuts", "3x3 convolutions where the shape changes", Source("C", "sec. 1 Encoder")),
    Note("CBN", "gamma h + beta, both linear in the context", Source("P", "sec. 1 CBN")),
    Note("embedding", "z after global average pooling; Emb adds to it", Source("P", "sec. 1 Encoder, Emb")),
    Note("normalisation", "reflectance clipped to [0, 1]", Source("P", "sec. 1 Normalisation")),
    Note("context", "20 values (19 without elevation), min-max scaled", Source("P", "sec. 1 Auxiliary vector")),
    Note("range of the context", "that of the train chips, not clipped beyond", Source("D", "sec. 1 gives none")),
    Note("shuffled context", "one permutation for each split, from the seed", Source("D", "sec. 1: within each split")),
    Note("region, coordinates, noise", "controls of our own, on the same chips", Source("D", "beyond the paper")),
    Note("augmentation", "flips of train chips, p = .5 each", Source("P", "sec. 1 Normalisation")),
    Note("validation, paper mode", "flipped like train chips", Source("P", "sec. 1 Normalisation"), default=False),
    Note("usable chip", "every band at least half observed", Source("D", "EuroSAT has no gaps")),
    Note("unknown context", "leaves a chip out where it is asked for", Source("D", "stated nowhere")),
    Note("initialisation", "PyTorch's own", Source("D", "stated nowhere")),
)
"""Decisions that do not depend on what is learnt."""


class ClimateResNet(Method):
    """ResNet18 over all bands at once, plain or conditioned on context."""

    paper_chip_px = 64  # [P] sec. 1 Data: EuroSAT
    whole_chips = True
    draws = 2

    def __init__(
        self,
        recipe: ClimateResNetRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        super().__init__(recipe, inputs, layers, chip_px)
        self.name, self.input = next(iter(self.inputs.items()))
        self._towers = self.build_towers(recipe, {self.name: len(self.input.bands)}, chip_px)

    @classmethod
    def fit_inputs(cls, recipe: Any, pool: "ChipPool", chips: NDArray[np.intp], seed: int) -> "dict[str, TowerInput]":
        """All bands of a chip, as reflectance within [0, 1], and scaled context where the recipe asks for it."""
        from terraprobe.normalisation import TowerInput, stored_bands

        wanted = (recipe.context, seed, recipe.elevation)
        context = fit_context(pool, chips, *wanted) if recipe.conditioning != "none" else None
        found = {}
        for name, tower in recipe.towers.items():
            layer, bands = stored_bands(pool, tower, name)
            zeros, ones = (0.0,) * len(bands), (1.0,) * len(bands)
            found[name] = TowerInput(
                tower.modality, layer.unit, bands, False, zeros, ones, whole=True, clip=(0.0, 1.0), context=context
            )
        return found

    @staticmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """The encoder."""
        from torch import nn

        from terraprobe.models.resnet import ResNetEncoder

        parts = norms(recipe, "encoder"), added(recipe)
        return nn.ModuleDict({name: ResNetEncoder(shape(recipe, count), *parts) for name, count in bands.items()})

    @staticmethod
    def embedding_size(recipe: Any) -> int:
        """Channels of the last stage."""
        return int(recipe.width * 2 ** (len(recipe.blocks) - 1))

    @property
    def towers(self) -> "nn.ModuleDict":
        """The encoder by the name of its tower."""
        return self._towers

    def eligible(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Chips whose bands are all usable and, where it is asked for, whose context is known."""
        usable = self.input.samples(pool.usable(self.input.modality)[:, self._columns(pool)])[:, 0]
        context = self.input.context
        return usable & np.isfinite(context.climate(pool.context)).all(axis=1) if context else usable

    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """All bands, which flips, and context where the recipe asks for it."""
        import torch

        digital = partial(pool.digital, self.input.modality)
        samples = np.zeros_like(chips)
        dn = self.input.read(digital, self._columns(pool), chips, samples)
        arrays = {"dn": dn, "samples": samples, "flips": uniform < FLIP_PROBABILITY}
        if self.input.context is not None:
            arrays["context"] = self.input.context.scale(pool.entering(self.input.context)[chips])
        return {self.name: {name: torch.from_numpy(array) for name, array in arrays.items()}}

    def embed(self, batch: Batch) -> "dict[str, tuple[Tensor, Tensor]]":
        """Embeddings of chips as they are; every chip that is fetched has the tower."""
        import torch

        z = self._encode(self._images(batch), batch).float()
        return {self.name: (z, torch.ones(len(z), dtype=torch.bool, device=z.device))}

    def learning_rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then constant or a cosine to zero."""
        if self.recipe.schedule == "cosine":
            return super().learning_rate(step, steps)
        rise = round(self.recipe.warmup * steps)
        return float(self.recipe.lr * min(1.0, (step + 1) / max(1, rise)))

    def _columns(self, pool: "ChipPool") -> NDArray[np.intp]:
        channels = pool.usable(self.input.modality).shape[1]
        return self.input.columns(pool.layers[self.input.modality], channels, f"tower {self.name}")

    def _images(self, batch: Batch) -> "Tensor":
        part = batch[self.name]
        return self.input.prepare(part["dn"], part["samples"], self.layers[self.input.modality])

    def _augmented(self, batch: Batch) -> "Tensor":
        """Images, flipped in training and in paper mode."""
        images = self._images(batch)
        flipped = self.network.training or self.recipe.flip_validation
        return flip(images, batch[self.name]["flips"]) if flipped else images

    def _encode(self, images: "Tensor", batch: Batch) -> "Tensor":
        z: Tensor = self._towers[self.name](images, batch[self.name].get("context"))
        return z


def flip(images: "Tensor", flips: "Tensor") -> "Tensor":
    """Mirror some images left to right and some upside down.

    Args:
        images: (B, C, H, W).
        flips: whether left to right, whether upside down, (B, 2).
    """
    import torch

    across, down = (flips[:, axis, None, None, None] for axis in (0, 1))
    images = torch.where(across, images.flip(3), images)
    return torch.where(down, images.flip(2), images)


def shape(recipe: ClimateResNetRecipe, bands: int) -> "ResNetShape":
    """What encoder and decoder share."""
    from terraprobe.models.resnet import ResNetShape

    return ResNetShape(bands, recipe.stem_px, recipe.width, recipe.blocks)


def norms(recipe: ClimateResNetRecipe, part: str) -> "Norms":
    """Batch norms of the encoder or the decoder."""
    from terraprobe.models.resnet import Norms

    count = len(context_names(recipe.context, recipe.elevation))
    return Norms(count if recipe.conditional(part) else 0, recipe.cbn_start)


def added(recipe: ClimateResNetRecipe) -> int:
    """Length of the context whose embedding is added to z."""
    return len(context_names(recipe.context, recipe.elevation)) if recipe.conditioning == "emb" else 0
