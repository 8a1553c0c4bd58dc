"""Where chips come from: one class for each kind of collection."""

from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from terraprobe.acquire.packaged import SCENES
from terraprobe.acquire.simulated.world import LAYERS, SimulatedWorld
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M
from terraprobe.collections.leakage import LeakageLimit
from terraprobe.collections.split_rules import Hashed, Official, SplitRule
from terraprobe.modalities import LABELS, MODALITIES, MONTHS, LabelLayer
from terraprobe.stage import Recipe
from terraprobe.study.names import Name, check_names

HASHED = (
    "kind: hashed is for archives whose images have no place on Earth; allowed geobands, stratified, blocks, official"
)
"""What is said of a split by names where places are known."""


class Collection(Recipe):
    """What every collection has.

    Attributes:
        name: of its folder.
        modalities: aligned inputs to cut, names of the modality table.
        labels: label layers to cut, names of the label table.
        chip_px: chip side in pixels of 10 m.
        split: how its chips are divided.
        leakage_limit: figures of the leakage audit beyond which the run stops before any test score.
        group: encoders of the same group alone see it; none: those of none.
    """

    one_source: ClassVar[bool] = True
    """Whether all its chips name one source."""
    own_split: ClassVar[bool] = False
    """Whether it may come with an official split."""

    name: Name
    modalities: list[str] = Field(min_length=1)
    labels: list[str] = []
    chip_px: int = Field(64, ge=8, le=2048)
    split: SplitRule
    leakage_limit: LeakageLimit = LeakageLimit()
    group: str = ""

    @field_validator("modalities", "labels")
    @classmethod
    def _known(cls, names: list[str], info: Any) -> list[str]:
        table = MODALITIES if info.field_name == "modalities" else LABELS
        check_names(names, table)
        return names

    @field_validator("split")
    @classmethod
    def _sources_to_split(cls, split: SplitRule) -> SplitRule:
        if isinstance(split, Official) and cls.one_source:
            raise ValueError(
                "kind: official gives each source its split, and all chips of this kind of collection have one source; "
                "allowed geobands, stratified, blocks"
            )
        if isinstance(split, Official) and not split.file and not cls.own_split:
            raise ValueError("file: required, only an archive comes with a split; allowed a CSV with source,split")
        if isinstance(split, Hashed) and not cls.own_split:
            raise ValueError(HASHED)
        return split

    @model_validator(mode="after")
    def _labels_give_the_side(self) -> "Collection":
        if self.placed and self.split.kind == "blocks" and self.split_needs_labels and not self.labels:
            raise ValueError("split.side_km: none given, and there are no labels to tell it from; give either")
        return self

    @property
    def placed(self) -> bool:
        """Whether it is known where on Earth its chips are."""
        return True

    @property
    def has_context(self) -> bool:
        """Whether climate and region are known of its chips."""
        return False

    @property
    def has_elevation(self) -> bool:
        """Whether elevation is known too."""
        return self.has_context

    @property
    def split_needs_labels(self) -> bool:
        """Whether the split waits for the labels: their classes, or their autocorrelation, the side of its blocks."""
        return self.split.kind == "hashed" or (self.split.kind == "blocks" and self.split.side_km is None)

    @model_validator(mode="after")
    def _chip_fits(self) -> "Collection":
        side_m = self.chip_px * CHIP_RESOLUTION_M
        for name in self.modalities:
            least = MODALITIES[name].min_chip_m
            if side_m < least:
                raise ValueError(
                    f"chip_px: {self.chip_px} ({side_m:g} m) does not fit {name}, whose coarsest band needs chips of "
                    f"at least {least:g} m: chip_px >= {-(-least // CHIP_RESOLUTION_M):g}"
                )
        return self

    @property
    def label_layers(self) -> list[LabelLayer]:
        """What its label layers are."""
        return [LABELS[name] for name in self.labels]


class SceneCollection(Collection):
    """A genuine Sentinel-2 scene from a small public package.

    Attributes:
        kind: `scene`.
        scene: which one.
        block_chips: side of a spatial block, the unit of the bootstrap, in chips.
    """

    kind: Literal["scene"]
    scene: str
    block_chips: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _scene_has_it(self) -> "SceneCollection":
        check_names([self.scene], SCENES, "scene")
        held = SCENES[self.scene].files
        for key, names, table in (("modalities", self.modalities, MODALITIES), ("labels", self.labels, LABELS)):
            check_names(names, [name for name in held if name in table], key, f"of scene {self.scene}")
        return self

    @property
    def shard_names(self) -> list[str]:
        """A scene is small: one shard."""
        return ["000"]

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        return {"kind": "scene", "source": self.scene, "chip_px": self.chip_px, "block_chips": self.block_chips}


class SimulatedCollection(Collection):
    """A simulated Earth in the providers' raw formats, with climate and regions.

    Attributes:
        kind: `simulated`.
        world: its settings.
        shards: into how many storage units its places are dealt; one job each.
    """

    kind: Literal["simulated"]
    world: SimulatedWorld
    shards: int = Field(1, ge=1, le=1000)

    @model_validator(mode="after")
    def _places_hold_chips(self) -> "SimulatedCollection":
        check_names(self.modalities, [name for name in LAYERS if name in MODALITIES], "modalities", "simulated")
        check_names(self.labels, [name for name in LAYERS if name in LABELS], "labels", "simulated")
        monthly = [name for name in self.modalities if name.endswith("_monthly")]
        if monthly and len(self.world.months) != len(MONTHS):
            raise ValueError(f"world.months: found {len(self.world.months)}, {monthly[0]} needs {len(MONTHS)}")
        if self.world.place_px < self.chip_px:
            raise ValueError(f"chip_px: {self.chip_px} does not fit world.place_px {self.world.place_px}; at most that")
        if self.shards > self.world.n_places:
            raise ValueError(f"shards: {self.shards}, at most world.n_places = {self.world.n_places}")
        return self

    @property
    def has_context(self) -> bool:
        """The simulated Earth has a climate everywhere."""
        return True

    @property
    def places(self) -> list[list[int]]:
        """Places of each shard, in turn."""
        cuts = [self.world.n_places * k // self.shards for k in range(self.shards + 1)]
        return [list(range(low, high)) for low, high in pairwise(cuts)]

    @property
    def shard_names(self) -> list[str]:
        """Names of the storage units."""
        return [f"{shard:03d}" for shard in range(self.shards)]

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        return {
            "kind": "places",
            "source": self.name,
            "chip_px": self.chip_px,
            "world": self.world.model_dump(mode="json"),
            "shards": self.places,
        }
