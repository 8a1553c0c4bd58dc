"""Where chips come from: one class for each kind of collection."""

from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from terraprobe.acquire.folder import list_geotiffs
from terraprobe.acquire.packaged import SCENES
from terraprobe.acquire.simulated.world import LAYERS, SimulatedWorld
from terraprobe.classmap import ClassMap, label_layer
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M
from terraprobe.collections.leakage import LeakageLimit
from terraprobe.collections.split_rules import Official, SplitRule
from terraprobe.modalities import LABELS, MODALITIES, MONTHS, LabelLayer
from terraprobe.stage import Recipe
from terraprobe.study.names import Name, check_names


class Collection(Recipe):
    """What every collection has.

    Attributes:
        name: of its folder.
        modalities: aligned inputs to cut, names of the modality table.
        labels: label layers to cut, names of the label table.
        chip_px: chip side in pixels of 10 m.
        split: how its chips are divided.
        leakage_limit: figures of the leakage audit beyond which the run stops before any test score.
    """

    one_source: ClassVar[bool] = True
    """Whether all its chips name one source."""

    name: Name
    modalities: list[str] = Field(min_length=1)
    labels: list[str] = []
    has_context: ClassVar[bool] = False  # whether climate and elevation are known of its chips
    chip_px: int = Field(64, ge=8, le=2048)
    split: SplitRule
    leakage_limit: LeakageLimit = LeakageLimit()

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
        return split

    @model_validator(mode="after")
    def _labels_give_the_side(self) -> "Collection":
        if self.split_needs_labels and not self.labels:
            raise ValueError("split.side_km: none given, and there are no labels to tell it from; give either")
        return self

    @property
    def split_needs_labels(self) -> bool:
        """Whether the split waits for the labels, whose autocorrelation gives the side of its blocks."""
        return self.split.kind == "blocks" and self.split.side_km is None

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
    has_context: ClassVar[bool] = True
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


class FolderCollection(Collection):
    """A folder of your own GeoTIFFs, one sub-folder for each modality and label layer, in any CRS.

    Attributes:
        kind: `folder`.
        path: of the folder, absolute or relative to the folder that Snakemake runs in.
        folders: modality or label layer to its sub-folder, where that has another name.
        bands: modality to the names of its files' bands in their order, where the files do not name them.
        offset_dn: modality to what is added to every DN (-1000 for Sentinel-2 of baseline 04.00 and later).
        labels: label layers to cut, names of the label table or of `classes`.
        classes: own label layers: name to `nodata` and `codes`, which maps each code to a class name.
        licence: of the files, for the report.
        block_chips: side of a spatial block, the unit of the bootstrap, in chips of one tile.
        shards: into how many storage units its chips are dealt; one job each.
    """

    one_source: ClassVar[bool] = False

    kind: Literal["folder"]
    path: str
    folders: dict[str, str] = {}
    bands: dict[str, list[str]] = {}
    offset_dn: dict[str, int] = {}
    classes: dict[Name, ClassMap] = {}
    licence: str = ""
    block_chips: int = Field(2, ge=1)
    shards: int = Field(1, ge=1, le=1000)

    @field_validator("modalities")
    @classmethod
    def _known(cls, names: list[str], info: Any) -> list[str]:
        check_names(names, [m.name for m in MODALITIES.values() if not m.variable], why="in a folder of GeoTIFFs")
        return names

    @model_validator(mode="after")
    def _names_fit(self) -> "FolderCollection":
        taken = [name for name in self.classes if name in MODALITIES or name in LABELS]
        if taken:
            raise ValueError(f"classes: {taken[0]} is a layer that terraprobe knows; give your own layer another name")
        check_names(self.labels, [*(name for name in LABELS if name != "osm"), *self.classes], "labels")
        check_names(self.classes, self.labels, "classes", "listed in labels")
        check_names(self.folders, [*self.modalities, *self.labels], "folders", "modalities and labels")
        check_names(self.bands, self.modalities, "bands", "modalities")
        optical = [name for name in self.modalities if MODALITIES[name].unit == "reflectance"]
        check_names(self.offset_dn, optical, "offset_dn", "modalities of reflectance")
        values = [value for layer in self.label_layers for value in layer.values]
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ValueError(f"classes: two label layers would both give {twice[0]}; rename a layer or a class")
        for name, bands in self.bands.items():
            missing = [band for band in MODALITIES[name].bands if band not in bands]
            if missing or len(set(bands)) < len(bands):
                wrong = f"{', '.join(missing)} of {name} missing" if missing else "a band named twice"
                raise ValueError(f"bands: found {bands}: {wrong}; name each band of the files once, in their order")
        return self

    @model_validator(mode="after")
    def _files_there(self) -> "FolderCollection":
        root = Path(self.path).expanduser()
        if not root.is_dir():
            state = "no folder" if root.exists() else "absent"
            raise ValueError(f"path: {root.absolute()} is {state}; give the folder's path")
        for layer in (*self.modalities, *self.labels):
            try:
                files = list_geotiffs(self.folder(layer))
            except ValueError as error:
                raise ValueError(f"path: {layer}: {error}; or name its sub-folder: folders: {{{layer}: …}}") from error
            braced = [f for f in files if "{" in str(f) or "}" in str(f)]
            if braced:
                raise ValueError(f"path: {layer}: {braced[0]} has a brace in its name; rename it, Snakemake reads them")
        return self

    def folder(self, layer: str) -> Path:
        """Where the files of a layer are."""
        return Path(self.path).expanduser() / self.folders.get(layer, layer)

    @cached_property
    def files(self) -> dict[str, list[str]]:
        """GeoTIFFs by layer, sorted by name."""
        return {name: [str(f) for f in list_geotiffs(self.folder(name))] for name in (*self.modalities, *self.labels)}

    @property
    def label_layers(self) -> list[LabelLayer]:
        """What its label layers are."""
        found = [label_layer(name, self.classes.get(name)) for name in self.labels]
        return [layer for layer in found if layer is not None]

    @property
    def shard_names(self) -> list[str]:
        """Names of the storage units."""
        return [f"{shard:03d}" for shard in range(self.shards)]

    def index_recipe(self, layer: str) -> dict[str, Any]:
        """What `index_folder` needs to know of a layer."""
        return {
            "layer": layer,
            "folder": str(self.folder(layer)),
            "bands": self.bands.get(layer),
            "offset_dn": self.offset_dn.get(layer),
            **self.own_classes(layer),
        }

    def own_classes(self, layer: str) -> dict[str, Any]:
        """Classes of an own label layer as a stage's recipe takes them; nothing for any other layer."""
        return {"classes": self.classes[layer].model_dump(mode="json")} if layer in self.classes else {}

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        return {
            "kind": "folder",
            "layer": self.modalities[0],
            "chip_px": self.chip_px,
            "block_chips": self.block_chips,
            "shards": self.shards,
        }


AnyCollection = Annotated[SceneCollection | SimulatedCollection | FolderCollection, Field(discriminator="kind")]
