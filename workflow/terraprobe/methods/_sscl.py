"""What the methods of `sscl` share: towers that enter together, their network, and what a step reads.

Section numbers "sec. 4" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from terraprobe.method import Batch, Method, Note, Source, TrainRecipe
from terraprobe.modalities import MODALITIES
from terraprobe.towers import SHARED, TowerRecipe, check_tower

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.chips.store import StoreLayer
    from terraprobe.models.channelwise import JointNetwork
    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool

RADAR = "backscatter_db"
HEALTH_BATCH = 8
"""Chips whose embeddings are made at a time: features at full resolution of all channels are large."""

_PAPER_TOWERS = MappingProxyType({"s1": TowerRecipe(modality="s1_grd"), "s2": TowerRecipe(modality="s2_l1c")})
_D = Source("D", "sec. 4 gives none")


class JointRecipe(TrainRecipe):
    """What every recipe of `sscl` has.

    Attributes:
        towers: name to what it sees; all enter together, in the order of their names.
        extractor: `shared` is one small network that every channel goes through by itself, `early_fusion` one layer
            that sees them all.
        features: that the extractor makes of a channel.
        despeckle: whether Lee's filter goes over the radar channels, which must be VV and VH.
    """

    towers: Annotated[dict[str, TowerRecipe], Source("P", "sec. 4 Data: 13 S2 and 2 S1 channels")] = dict(_PAPER_TOWERS)
    conditioning: Annotated[Literal["none"], Source("P", "sec. 4 Architecture: images alone enter")] = "none"
    extractor: Annotated[
        Literal["shared", "early_fusion"], Source("P", "sec. 4 Architecture; early_fusion is its control")
    ] = "shared"
    features: Annotated[int, Field(ge=1), Source("P", "sec. 4 Architecture: F = 16")] = 16
    despeckle: Annotated[bool, Source("P", "sec. 4 Evaluation: an ablation, there by SAR-BM3D")] = False
    batch_size: Annotated[int, Field(ge=2), _D] = 32
    weight_decay: Annotated[float, Field(ge=0), _D] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1), _D] = 0.0
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Source("D", "stated nowhere; bf16 on a GPU, the loss in fp32")
    ] = "auto"

    @field_validator("towers")
    @classmethod
    def _by_name(cls, towers: dict[str, TowerRecipe]) -> dict[str, TowerRecipe]:
        """Sort: JSON on the way here may have lost the order, which the channels must not depend on."""
        return dict(sorted(towers.items()))

    @model_validator(mode="after")
    def _towers_fit(self) -> "JointRecipe":
        for name, tower in self.towers.items():
            check_tower(name, tower)
            if MODALITIES[tower.modality].variable:
                allowed = ", ".join(m.name for m in MODALITIES.values() if not m.variable)
                raise ValueError(
                    f"towers.{name}.modality: found {tower.modality!r}, allowed {allowed}: all channels enter "
                    "together, so their number must not vary"
                )
            ratios = [band for band in tower.band_names if band.endswith("VV-VH")]
            if self.despeckle and ratios:
                raise ValueError(
                    f"towers.{name}.bands: found {', '.join(ratios)}, allowed VV and VH where despeckle is true: the "
                    "speckle of a difference is another"
                )
        if self.channels < 2:
            raise ValueError(f"towers: found {self.channels} channel in all, allowed at least 2")
        return self

    @property
    def channels(self) -> int:
        """Of all towers together."""
        return sum(len(tower.band_names) for tower in self.towers.values())


class DeepLabRecipe(JointRecipe):
    """What every recipe with the whole network has.

    Attributes:
        width: of the ResNet's first stage.
        blocks: of its four stages.
        output_stride: side of a chip over that of the features: later stages are dilated instead of strided.
        aspp: channels of the pyramid's branches and of the features.
        aspp_rates: dilations of the pyramid's convolutions.
    """

    width: Annotated[int, Field(ge=1), Source("D", "sec. 4 Architecture: ResNet50")] = 64
    blocks: Annotated[
        tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)],
              Annotated[int, Field(ge=1)]],
        Source("D", "sec. 4 Architecture: ResNet50"),
    ] = (3, 4, 6, 3)  # fmt: skip
    output_stride: Annotated[Literal[4, 8, 16, 32], Source("D", "sec. 4 Architecture: 16")] = 16
    aspp: Annotated[int, Field(ge=1), Source("D", "sec. 4: DeepLabv3; its authors' 256")] = 256
    aspp_rates: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Source("D", "sec. 4: DeepLabv3; its authors' at stride 16")
    ] = (6, 12, 18)

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips whose features would be a single place.

        Raises:
            ValueError: the side is below twice the output stride, or no multiple of it.
        """
        if chip_px % self.output_stride or chip_px < 2 * self.output_stride:
            raise ValueError(
                f"output_stride {self.output_stride} does not fit chips of {chip_px} px, allowed multiples of it, at "
                f"least {2 * self.output_stride} px"
            )


SHARED_NOTES = (
    Note(
        "extractor", "3 x (3x3 convolution, BN, ReLU), the same for every channel", Source("P", "sec. 4 Architecture")
    ),
    Note("optimiser", "Adam, constant learning rate, no gradient clipping", _D),
    Note("kept checkpoint", "lowest validation loss, fixed batches and draws", _D),
    Note("normalisation", "mean and SD per channel, 1,000 train chips", _D),
    Note("despeckled input", "Lee's filter in dB, 7 x 7 px, 4.4 looks", Source("D", "sec. 4 Evaluation: SAR-BM3D")),
    Note("missing pixels", "0 after normalisation, in the image and in the loss", _D),
    Note("absent channels", "0 after normalisation, as a dropped one", Source("I", "sec. 4 CoRe: channel dropout")),
    Note("initialisation", "PyTorch's own; the ResNet's as torchvision's", _D),
)
"""Decisions that do not depend on the pretext."""


class JointMethod(Method):
    """Towers whose channels enter one network together."""

    paper_chip_px = 256  # [P] sec. 4 Data
    whole_chips = True
    shared = True
    joint = True
    rank_share = 0.0  # what gives a chip back lies in few directions: CoRe left 3.3 of an untrained rank of 7.4

    def __init__(
        self,
        recipe: Any,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        super().__init__(recipe, inputs, layers, chip_px)
        self._towers = self.build_towers(recipe, {name: len(i.bands) for name, i in inputs.items()}, chip_px)
        self.encoder = cast("JointNetwork", self._towers[SHARED])

    @classmethod
    def fit_inputs(cls, recipe: Any, pool: "ChipPool", chips: NDArray[np.intp], seed: int) -> "dict[str, TowerInput]":
        """All bands of a chip, each brought to mean 0 and standard deviation 1."""
        fitted = super().fit_inputs(recipe, pool, chips, seed)
        return {
            name: replace(tower, whole=True, despeckle=recipe.despeckle and tower.unit == RADAR)
            for name, tower in fitted.items()
        }

    @staticmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """The one network."""
        from torch import nn

        from terraprobe.models.channelwise import EarlyFusion, JointNetwork, SharedExtractor
        from terraprobe.models.deeplab import DeepLab, DeepLabShape

        channels = sum(bands.values())
        shared = recipe.extractor == "shared"
        extractor = SharedExtractor(recipe.features) if shared else EarlyFusion(channels, recipe.features)
        sizes = recipe.width, recipe.blocks, recipe.output_stride, recipe.aspp, recipe.aspp_rates
        deeplab = DeepLab(channels * recipe.features, DeepLabShape(*sizes))
        return nn.ModuleDict({SHARED: JointNetwork(extractor, deeplab)})

    @staticmethod
    def embedding_size(recipe: Any) -> int:
        """Channels of the features of a place."""
        return int(recipe.aspp)

    @property
    def towers(self) -> "nn.ModuleDict":
        """The one network."""
        return self._towers

    def eligible(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Chips whose channels are all usable."""
        whole: NDArray[np.bool_] = np.asarray(self.usable(pool).all(axis=1))
        return whole

    def usable(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Usable channels of all towers, (chip, channel)."""
        return np.concatenate(
            [pool.usable(i.modality)[:, self.columns(pool, name)] for name, i in self.inputs.items()], axis=1
        )

    def columns(self, pool: "ChipPool", tower: str) -> NDArray[np.intp]:
        """Channels of a modality's stores that a tower reads."""
        wanted = self.inputs[tower]
        channels = pool.usable(wanted.modality).shape[1]
        return wanted.columns(pool.layers[wanted.modality], channels, f"tower {tower}")

    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """All channels of all towers, and the random numbers."""
        import torch

        samples = np.zeros_like(chips)
        batch: dict[str, dict[str, Any]] = {"draws": {"uniform": torch.from_numpy(uniform)}}
        for name, tower in self.inputs.items():
            dn = tower.read(partial(pool.digital, tower.modality), self.columns(pool, name), chips, samples)
            batch[name] = {"dn": torch.from_numpy(dn), "samples": torch.from_numpy(samples)}
        return batch

    def images(self, batch: Batch) -> "Tensor":
        """Normalised images of all channels, (B, C, chip_px, chip_px)."""
        import torch

        return torch.cat([
            tower.prepare(batch[name]["dn"], batch[name]["samples"], self.layers[tower.modality])
            for name, tower in self.inputs.items()
        ], dim=1)  # fmt: skip

    def embed(self, batch: Batch) -> "dict[str, tuple[Tensor, Tensor]]":
        """Embeddings of chips as they are."""
        import torch

        images = self.images(batch)
        parts = [self.encoder(images[k : k + HEALTH_BATCH]) for k in range(0, len(images), HEALTH_BATCH)]
        z = torch.cat(parts).float()
        return {SHARED: (z, torch.ones(len(z), dtype=torch.bool, device=z.device))}

    def learning_rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then constant."""
        rise = round(self.recipe.warmup * steps)
        return float(self.recipe.lr * min(1.0, (step + 1) / max(1, rise)))
