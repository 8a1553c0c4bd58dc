"""The recipe of `rsbyol`, and which channels its views are made of.

Section numbers "sec. 3" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from terraprobe.augmentation import Augmentation
from terraprobe.method import Source, TrainRecipe
from terraprobe.modalities import MODALITIES
from terraprobe.towers import TowerRecipe, check_tower

KINDS = MappingProxyType({"reflectance": "ms", "backscatter_db": "sar"})
"""Unit of a modality to the kind of band that it holds: multispectral or radar."""

DISPLAY = "display"
"""Unit of images that no view is made of: [P] sec. 3 Evaluation judges encoders on RESISC45, pretrains on SEN12MS."""

VIEWS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "rsbyol1": (("ms",), ("sar",)),
        "rsbyol3": (("ms", "ms", "ms"), ("sar", "sar", "sar")),
        "rsbyol3_rgb": (("ms", "ms", "ms"), ("sar", "ms", "ms")),
        "rsbyol1_ms": (("ms",), ("ms",)),
    }
)
"""Kinds of the channels of both views [P] sec. 3 Views."""

TRIPLET = 3
"""Channels of a network of triplets."""

POLARISATIONS = ("VV", "VH")

MIN_CHIP_PX = 32
"""What the network shrinks a chip by."""

RGB = "rgb"
"""The tower whose bands are the first view of `rsbyol3_rgb`."""

_MS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")  # [P] sec. 3 Data: ten bands at 10-20 m
_SINGLE = {"ms": TowerRecipe(modality="s2_l1c", bands=_MS), "sar": TowerRecipe(modality="s1_grd", bands=POLARISATIONS)}
_TRIPLETS = {
    "ms": _SINGLE["ms"],
    RGB: TowerRecipe(modality="s2_l1c", bands=("B04", "B03", "B02")),
    "re": TowerRecipe(modality="s2_l1c", bands=("B05", "B06", "B07")),
    "sar": TowerRecipe(modality="s1_grd", bands=("VV", "VH", "VV")),
}
_DEFAULT_TOWERS = MappingProxyType(
    {"rsbyol1": _SINGLE, "rsbyol3": _TRIPLETS, "rsbyol3_rgb": _TRIPLETS, "rsbyol1_ms": {"ms": _SINGLE["ms"]}}
)

Share = Annotated[float, Field(ge=0, le=1)]
_D = Source("D", "sec. 3 Augmentation gives no ranges")


class RsbyolRecipe(TrainRecipe):
    """Recipe of `rsbyol`; the defaults are the paper's single-channel encoder.

    Attributes:
        views: what the two views of a step are made of.
        towers: name to bands of one modality. Views are drawn from all bands that the towers see. One band enters at a
            time; in a network of triplets (`rsbyol3`, `rsbyol3_rgb`) a tower of three bands enters whole, and a band
            of any other tower enters three times. One of the modality `rgb` is for judging alone. Those of the views
            where none are given.
        width: of the ResNet: channels of the 3x3 convolutions of its first stage.
        blocks: of its four stages.
        hidden: width of projector and predictor.
        projection: length of what projector and predictor give.
        tau: share of the target network that a step keeps.
        epochs: passes over the train chips; 0 keeps the encoder as it starts.
        lr: learning rate at a restart.
        lr_min: learning rate that every cycle comes down to.
        restart_epochs: length of the first cycle.
        restart_factor: length of a cycle over that of the one before.
        momentum: of SGD.
        crop_area: smallest and largest share of a chip that a view covers.
        rotation_deg: largest rotation, both ways.
        blur_share: how many views are blurred.
        blur_px: smallest and largest standard deviation of the blur.
        erase_share: how many views lose a rectangle.
        erase_area: smallest and largest share of a view that it covers.
        grey_share: how many views of three channels become grey.
    """

    views: Annotated[
        Literal["rsbyol1", "rsbyol3", "rsbyol3_rgb", "rsbyol1_ms"], Source("P", "sec. 3 Views: single channel")
    ] = "rsbyol1"
    towers: Annotated[dict[str, TowerRecipe], Source("P", "sec. 3 Data: ten MS bands, VV and VH")] = dict(_SINGLE)
    conditioning: Annotated[Literal["none"], Source("P", "sec. 3 Network takes an image alone")] = "none"
    width: Annotated[int, Field(ge=1), Source("P", "sec. 3 Network: ResNet50")] = 64
    blocks: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(min_length=4, max_length=4),
        Source("P", "sec. 3 Network: ResNet50"),
    ] = (3, 4, 6, 3)
    hidden: Annotated[int, Field(ge=1), Source("P", "sec. 3 Network: projector and predictor")] = 256
    projection: Annotated[int, Field(ge=1), Source("D", "sec. 3 Network: 2048-256-256 and 256-256-256")] = 256
    tau: Annotated[float, Field(ge=0, lt=1), Source("P", "sec. 3 Network: exponential moving average")] = 0.9
    epochs: Annotated[int, Field(ge=0), Source("P", "sec. 3 Optimiser")] = 400
    batch_size: Annotated[int, Field(ge=2), Source("P", "sec. 3 Views: 32, in a variant 64")] = 32
    lr: Annotated[float, Field(gt=0), Source("P", "sec. 3 Optimiser: SGD")] = 0.2
    lr_min: Annotated[float, Field(ge=0), Source("P", "sec. 3 Optimiser")] = 0.002
    restart_epochs: Annotated[int, Field(ge=1), Source("P", "sec. 3 Optimiser: T0")] = 10
    restart_factor: Annotated[int, Field(ge=1), Source("P", "sec. 3 Optimiser")] = 2
    momentum: Annotated[float, Field(ge=0, lt=1), Source("D", "sec. 3 Optimiser: SGD")] = 0.9
    weight_decay: Annotated[float, Field(ge=0), Source("P", "sec. 3 Optimiser")] = 1e-5
    warmup: Annotated[Literal[0], Source("D", "sec. 3 Optimiser: none is stated")] = 0
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Source("D", "stated nowhere; bf16 on a GPU, the loss in fp32")
    ] = "auto"
    val_batches: Annotated[int, Field(ge=1), Source("D", "shown beside the train loss; chooses nothing")] = 8
    crop_area: Annotated[tuple[Share, Share], _D] = (0.2, 1.0)
    rotation_deg: Annotated[float, Field(ge=0, le=180), _D] = 180.0
    blur_share: Annotated[Share, _D] = 0.5
    blur_px: Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=4)]], _D] = (0.1, 2.0)
    erase_share: Annotated[Share, _D] = 0.25
    erase_area: Annotated[tuple[Share, Share], _D] = (0.02, 0.2)
    grey_share: Annotated[Share, _D] = 0.2

    @model_validator(mode="before")
    @classmethod
    def _towers_of_the_views(cls, content: Any) -> Any:
        if isinstance(content, dict) and "towers" not in content:
            default = _DEFAULT_TOWERS.get(content.get("views", "rsbyol1"), _SINGLE)
            return {**content, "towers": {name: t.model_dump() for name, t in default.items()}}
        return content

    @field_validator("towers")
    @classmethod
    def _by_name(cls, towers: dict[str, TowerRecipe]) -> dict[str, TowerRecipe]:
        """Sort: JSON on the way here may have lost the order, and draws and concatenation must not depend on it."""
        return dict(sorted(towers.items()))

    @field_validator("crop_area", "blur_px", "erase_area")
    @classmethod
    def _smallest_first(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] <= ends[1]:
            raise ValueError(f"found {list(ends)}, allowed two numbers above 0, the smaller one first")
        return ends

    @model_validator(mode="after")
    def _towers_fit(self) -> "RsbyolRecipe":
        if not self.lr_min <= self.lr:
            raise ValueError(f"lr_min: found {self.lr_min:g}, allowed at most lr, {self.lr:g}")
        for name, tower in self.towers.items():
            check_tower(name, tower, repeats=self.together(tower))
            check_bands(name, tower)
        for kind in KINDS.values():
            self._check_kind(kind)
        rgb = self.towers.get(RGB)
        if self.views == "rsbyol3_rgb" and (rgb is None or kind_of(rgb) != "ms" or not self.together(rgb)):
            raise ValueError(f"towers: rsbyol3_rgb needs a tower {RGB} of three reflectance bands, its first view")
        return self

    def _check_kind(self, kind: str) -> None:
        modalities = sorted({t.modality for t in self.towers.values() if kind_of(t) == kind})
        if len(modalities) > 1:
            raise ValueError(f"towers: found {', '.join(modalities)}, allowed one {kind} modality for all views")
        bands, wanted = self.bands(kind), self.wanted(kind)
        if len(bands) < wanted:
            raise ValueError(
                f"towers: {self.views} draws {wanted} {kind} bands of a chip, but the towers see "
                f"{', '.join(bands) or 'none'}"
            )
        if self.views == "rsbyol3" and kind == "sar" and len({polarisation(band) for band in bands}) < wanted:
            raise ValueError(f"towers: rsbyol3 draws VV and VH, but the towers see {', '.join(bands)}")

    @property
    def channels(self) -> int:
        """Of the network: 1 or 3."""
        return len(VIEWS[self.views][0])

    def learns(self, tower: TowerRecipe) -> bool:
        """Whether views are drawn from a tower's bands."""
        return bool(kind_of(tower))

    def together(self, tower: TowerRecipe) -> bool:
        """Whether a tower's bands enter together."""
        return self.channels == TRIPLET == len(tower.band_names)

    def bands(self, kind: str) -> tuple[str, ...]:
        """All bands of a kind that the towers see, in their order."""
        return tuple(dict.fromkeys(b for t in self.towers.values() if kind_of(t) == kind for b in t.band_names))

    def wanted(self, kind: str) -> int:
        """How many different bands of a kind both views of a chip take; the third of VV, VH and a copy is none."""
        both = sum(VIEWS[self.views], ())
        return min(both.count(kind), len(POLARISATIONS)) if kind == "sar" else both.count(kind)

    @property
    def restarts(self) -> tuple[int, ...]:
        """Epochs before the last after which the learning rate starts again: 10, 30, 70, 150, 310 of 400 [P]."""
        found, length, end = [], self.restart_epochs, self.restart_epochs
        while end < self.epochs:
            found.append(end)
            length *= self.restart_factor
            end += length
        return tuple(found)

    def augmentation(self) -> Augmentation:
        """What makes views."""
        return Augmentation(
            self.crop_area,
            self.rotation_deg,
            self.blur_share,
            self.blur_px,
            self.erase_share,
            self.erase_area,
            self.grey_share,
        )

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that would shrink to nothing.

        Raises:
            ValueError: the side is below what the network shrinks by.
        """
        check_size(chip_px)


def check_size(chip_px: int) -> None:
    """Refuse chips that would shrink to nothing.

    Raises:
        ValueError: the side is below what the network shrinks by.
    """
    if chip_px < MIN_CHIP_PX:
        raise ValueError(
            f"a ResNet of four stages does not fit chips of {chip_px} px, allowed at least {MIN_CHIP_PX} px"
        )


def kind_of(tower: TowerRecipe) -> str:
    """`ms` or `sar`; empty where it is neither."""
    return KINDS.get(MODALITIES[tower.modality].unit, "")


def polarisation(band: str) -> str:
    """`VV` of `VV` and of `m1_VV`."""
    return band.rpartition("_")[2]


def check_bands(name: str, tower: TowerRecipe) -> None:
    """Refuse bands that are neither reflectance nor display values nor VV or VH.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    if not kind_of(tower) and MODALITIES[tower.modality].unit != DISPLAY:
        allowed = ", ".join(m.name for m in MODALITIES.values() if m.unit in (*KINDS, DISPLAY))
        raise ValueError(f"towers.{name}.modality: found {tower.modality!r}, allowed {allowed}")
    others = [b for b in tower.band_names if polarisation(b) not in POLARISATIONS]
    if kind_of(tower) == "sar" and others:
        raise ValueError(
            f"towers.{name}.bands: found {', '.join(others)}, allowed VV and VH: name the bands of "
            f"{tower.modality} that are backscatter"
        )
