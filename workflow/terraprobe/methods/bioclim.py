"""`bioclim`: an autoencoder over all bands at once, plain or conditioned on climate (Leonhardt et al.).

The paper's self-supervised path: ResNet18 and the decoder that mirrors it learn to reconstruct. Section numbers
"sec. 1" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from terraprobe.collections.chiptable import CONTEXT
from terraprobe.method import Batch, Method, Note, Source, TrainRecipe
from terraprobe.modalities import MODALITIES
from terraprobe.models.ssim import WINDOW_PX
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


class BioclimRecipe(TrainRecipe):
    """Recipe of `bioclim`; the defaults are those of the paper's EuroSAT autoencoder.

    Attributes:
        towers: the one tower, its name to what it sees: all its bands at once.
        conditioning: `none`, `emb` (a linear embedding of the context is added to z), or `cbn` (the context gives the
            affine of every batch norm).
        cbn_in: where batch norms are conditional.
        cbn_start: of their linear layers: PyTorch's own, or so that they start as plain batch norms.
        stem_px: kernel and stride of the first convolution.
        width: channels of the first stage; each further stage has twice as many, z as many as the last.
        blocks: residual blocks of each stage.
        ssim_weight: lambda of the loss.
        flip_validation: paper mode: validation chips are flipped at random too.
    """

    towers: Annotated[dict[str, TowerRecipe], Source("P", "sec. 1 Data: EuroSAT MS, 13 bands")] = dict(_PAPER_TOWERS)
    conditioning: Annotated[Literal["none", "emb", "cbn"], Source("P", "sec. 1 Emb, CBN")] = "none"
    cbn_in: Annotated[Literal["both", "encoder", "decoder"], Source("P", "sec. 1 CBN")] = "both"
    cbn_start: Annotated[
        Literal["paper", "identity"], Source("I", "sec. 1 CBN: linear layers; no other start is stated")
    ] = "paper"
    stem_px: Annotated[int, Field(ge=1), Source("C", "sec. 1 Encoder: 2 for EuroSAT, 3 for BigEarthNet")] = 2
    width: Annotated[int, Field(ge=1), Source("P", "sec. 1 Encoder: ResNet18")] = 64
    blocks: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1), Source("P", "sec. 1 Encoder: ResNet18")
    ] = (2, 2, 2, 2)
    ssim_weight: Annotated[float, Field(ge=0, le=1), Source("P", "sec. 1 Losses: lambda")] = 0.1
    flip_validation: Annotated[bool, Source("D", "sec. 1: the paper flips validation chips too [P, C]")] = False
    epochs: Annotated[int, Field(ge=1), Source("P", "sec. 1 Optimiser: autoencoder")] = 200
    batch_size: Annotated[int, Field(ge=2), Source("P", "sec. 1 Optimiser: EuroSAT")] = 64
    lr: Annotated[float, Field(gt=0), Source("P", "sec. 1 Optimiser: Adam")] = 1e-5
    weight_decay: Annotated[float, Field(ge=0), Source("P", "sec. 1 Optimiser: Adam")] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1), Source("D", "stated nowhere; constant after it")] = 0.0
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Source("D", "stated nowhere; bf16 on a GPU, the loss in fp32")
    ] = "auto"

    @model_validator(mode="after")
    def _fits(self) -> "BioclimRecipe":
        if len(self.towers) != 1:
            raise ValueError(f"towers: found {len(self.towers)}, allowed one, which sees all its bands at once")
        for name, tower in self.towers.items():
            check_tower(name, tower)
            if MODALITIES[tower.modality].unit != "reflectance":
                allowed = ", ".join(m.name for m in MODALITIES.values() if m.unit == "reflectance")
                raise ValueError(
                    f"towers.{name}.modality: found {tower.modality!r}, allowed {allowed}: what is reconstructed is "
                    "reflectance in [0, 1]"
                )
        if self.cbn_in != "both" and self.conditioning != "cbn":
            raise ValueError(f"cbn_in: found {self.cbn_in!r}, allowed both where conditioning is {self.conditioning}")
        return self

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that the decoder could not give back.

        Raises:
            ValueError: the side is no multiple of what the encoder shrinks by, or below the window of the SSIM.
        """
        shrink = self.stem_px * 2 ** (len(self.blocks) - 1)
        if chip_px % shrink or chip_px < WINDOW_PX:
            raise ValueError(
                f"stem_px {self.stem_px} and {len(self.blocks)} stages of blocks do not fit chips of {chip_px} px, "
                f"allowed multiples of {shrink} px, at least {WINDOW_PX}"
            )


class Bioclim(Method):
    """ResNet18 over all bands at once, plain or conditioned on context, trained as an autoencoder."""

    recipe_model = BioclimRecipe
    paper_chip_px = 64  # [P] sec. 1 Data: EuroSAT
    whole_chips = True
    draws = 2
    notes = (
        Note("loss", "(1 - lambda) L1 + lambda (1 - SSIM)", Source("P", "sec. 1 Losses")),
        Note("SSIM", "11 x 11 Gaussian, sigma 1.5 px, K1 .01, K2 .03", Source("D", "sec. 1 gives no window")),
        Note("optimiser", "Adam, constant learning rate, no gradient clipping", Source("P", "sec. 1 Optimiser")),
        Note("kept checkpoint", "lowest validation loss, fixed batches", Source("C", "sec. 1 Optimiser")),
        Note("encoder", "strided stem, no max-pool, biased convolutions", Source("C", "sec. 1 Encoder")),
        Note("shortcuts", "3x3 convolutions where the shape changes", Source("C", "sec. 1 Encoder")),
        Note("decoder", "ConvT(512, 512, 4), the stages mirrored, ConvT k2 s2, sigmoid", Source("C", "sec. 1 Decoder")),
        Note(
            "stages of the decoder",
            "512-256-128-64-64, transposed 3x3 throughout; no norm after the first layer",
            Source("I", "sec. 1 Parameter counts: 9,772,109 and 9,871,949"),
        ),
        Note("CBN", "gamma h + beta, both linear in the context", Source("P", "sec. 1 CBN")),
        Note("embedding", "z after global average pooling; Emb adds to it", Source("P", "sec. 1 Encoder, Emb")),
        Note("normalisation", "reflectance clipped to [0, 1]", Source("P", "sec. 1 Normalisation")),
        Note("context", "20 values, min-max scaled", Source("P", "sec. 1 Auxiliary vector")),
        Note("range of the context", "that of the train chips, not clipped beyond", Source("D", "sec. 1 gives none")),
        Note("augmentation", "flips of train chips, p = .5 each", Source("P", "sec. 1 Normalisation")),
        Note("validation, paper mode", "flipped like train chips", Source("P", "sec. 1 Normalisation"), default=False),
        Note("usable chip", "every band at least half observed", Source("D", "EuroSAT has no gaps")),
        Note("unknown context", "leaves a chip out where it is asked for", Source("D", "stated nowhere")),
        Note("missing pixels", "0, in the image and in the loss", Source("D", "EuroSAT has no gaps")),
        Note("initialisation", "PyTorch's own", Source("D", "stated nowhere")),
    )

    def __init__(
        self,
        recipe: BioclimRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        from terraprobe.models.resnet import ResNetDecoder

        super().__init__(recipe, inputs, layers, chip_px)
        self.name, self.input = next(iter(self.inputs.items()))
        bands = len(self.input.bands)
        self._towers = self.build_towers(recipe, {self.name: bands}, chip_px)
        self._decoder = ResNetDecoder(_shape(recipe, bands), chip_px, _norms(recipe, "decoder"))
        self.network = nn.ModuleDict({"towers": self._towers, "decoder": self._decoder})

    @classmethod
    def fit_inputs(
        cls, recipe: BioclimRecipe, pool: "ChipPool", chips: NDArray[np.intp], seed: int
    ) -> "dict[str, TowerInput]":
        """All bands of a chip, as reflectance within [0, 1], and scaled context where the recipe asks for it."""
        from terraprobe.normalisation import TowerInput, fit_context, stored_bands

        context = fit_context(pool, chips) if recipe.conditioning != "none" else None
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

        added = len(CONTEXT) if recipe.conditioning == "emb" else 0
        norms = _norms(recipe, "encoder")
        return nn.ModuleDict(
            {name: ResNetEncoder(_shape(recipe, count), norms, added) for name, count in bands.items()}
        )

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
        return usable & np.isfinite(pool.context).all(axis=1) if self.input.context else usable

    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """All bands, which flips, and context where the recipe asks for it."""
        import torch

        digital = partial(pool.digital, self.input.modality)
        samples = np.zeros_like(chips)
        dn = self.input.read(digital, self._columns(pool), chips, samples)
        arrays = {"dn": dn, "samples": samples, "flips": uniform < FLIP_PROBABILITY}
        if self.input.context is not None:
            arrays["context"] = self.input.context.scale(pool.context[chips])
        return {self.name: {name: torch.from_numpy(array) for name, array in arrays.items()}}

    def embed(self, batch: Batch) -> "dict[str, tuple[Tensor, Tensor]]":
        """Embeddings of chips as they are; every chip that is fetched has the tower."""
        import torch

        z = self._encode(self._images(batch), batch).float()
        return {self.name: (z, torch.ones(len(z), dtype=torch.bool, device=z.device))}

    def loss(self, batch: Batch) -> "Tensor":
        """(1 - lambda) L1 + lambda (1 - SSIM) between image and reconstruction."""
        from torch.nn import functional as F  # noqa: N812

        from terraprobe.models.ssim import ssim

        images = self._images(batch)
        if self.network.training or self.recipe.flip_validation:
            images = flip(images, batch[self.name]["flips"])
        again = self._decoder(self._encode(images, batch), batch[self.name].get("context")).float()
        weight = self.recipe.ssim_weight
        total: Tensor = (1 - weight) * F.l1_loss(again, images) + weight * (1 - ssim(again, images))
        return total

    def learning_rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then constant."""
        rise = round(self.recipe.warmup * steps)
        return float(self.recipe.lr * min(1.0, (step + 1) / max(1, rise)))

    def _columns(self, pool: "ChipPool") -> NDArray[np.intp]:
        channels = pool.usable(self.input.modality).shape[1]
        return self.input.columns(pool.layers[self.input.modality], channels, f"tower {self.name}")

    def _images(self, batch: Batch) -> "Tensor":
        part = batch[self.name]
        return self.input.prepare(part["dn"], part["samples"], self.layers[self.input.modality])

    def _encode(self, images: "Tensor", batch: Batch) -> "Tensor":
        z: Tensor = self._towers[self.name](images, batch[self.name].get("context"))
        return z


METHOD = Bioclim


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


def _shape(recipe: BioclimRecipe, bands: int) -> "ResNetShape":
    from terraprobe.models.resnet import ResNetShape

    return ResNetShape(bands, recipe.stem_px, recipe.width, recipe.blocks)


def _norms(recipe: BioclimRecipe, part: str) -> "Norms":
    """Batch norms of the encoder or the decoder."""
    from terraprobe.models.resnet import Norms

    conditional = recipe.conditioning == "cbn" and recipe.cbn_in in ("both", part)
    return Norms(len(CONTEXT) if conditional else 0, recipe.cbn_start)
