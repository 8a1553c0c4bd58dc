"""Collections of files that you bring: a folder of GeoTIFFs, a benchmark archive."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from terraprobe.acquire.folder import list_geotiffs
from terraprobe.archives import ARCHIVES, REGIONS, ArchiveName, layer_folder, watched
from terraprobe.modalities import LABELS, MODALITIES, LabelLayer
from terraprobe.study.area import AreaCollection
from terraprobe.study.collections import HASHED, Collection, SceneCollection, SimulatedCollection
from terraprobe.study.names import check_names
from terraprobe.study.ownlabels import OwnClasses


class OwnFiles(Collection):
    """What every collection of files that you bring has.

    Attributes:
        path: of the folder, absolute or relative to the folder that Snakemake runs in.
        climate: raster of BIO1 to BIO19 (bands named bio_1 … bio_19), or folder of one raster each (WorldClim's names).
        elevation: raster of the elevation at the climate's scale (band or file named elev); without it the context has
            19 values, and encoders that take it say `elevation: false`.
        regions: vector file of the EEA biogeographical regions, with `short_name`. With climate, or neither.
        shards: into how many storage units its chips are dealt; one job each.
    """

    one_source: ClassVar[bool] = False

    path: str
    climate: str = ""
    elevation: str = ""
    regions: str = ""
    shards: int = Field(1, ge=1, le=1000)

    @model_validator(mode="after")
    def _context_there(self) -> "OwnFiles":
        if bool(self.climate) != bool(self.regions) or (self.elevation and not self.climate):
            raise ValueError("climate, regions: found one without the other, allowed both or neither; elevation beside")
        if absent := self.absent():
            raise ValueError("; ".join(absent))
        return self

    def absent(self) -> list[str]:
        """What the study names but the disk does not have, each with what to do."""
        found = []
        for key, hint in _CONTEXT_HINTS.items():
            path = Path(getattr(self, key)).expanduser()
            if getattr(self, key) and not (path.is_file() or (key == "climate" and any(path.glob("*.tif")))):
                state = "is a folder without rasters" if path.is_dir() else "is absent"
                found.append(f"{key}: {path.absolute()} {state}: {hint}")
        return found

    @property
    def climate_files(self) -> list[str]:
        """Rasters of climate and elevation, of a collection that has context."""
        climate = Path(self.climate).expanduser()
        files = [climate] if climate.is_file() else sorted(climate.glob("*.tif"))
        return [*map(str, files), *([str(Path(self.elevation).expanduser())] if self.elevation else [])]

    @property
    def has_context(self) -> bool:
        """Whether climate and region are known of its chips."""
        return bool(self.climate)

    @property
    def has_elevation(self) -> bool:
        """Whether elevation is known too."""
        return bool(self.elevation)

    @property
    def shard_names(self) -> list[str]:
        """Names of the storage units."""
        return [f"{shard:03d}" for shard in range(self.shards)]


_CONTEXT_HINTS = {
    "climate": "get wc2.1_10m_bio.zip of https://www.worldclim.org and unpack it there (snakemake fetch_worldclim)",
    "elevation": "get wc2.1_10m_elev.tif of https://www.worldclim.org (snakemake fetch_worldclim)",
    "regions": "get BiogeoRegions2016 of https://www.eea.europa.eu (snakemake fetch_regions)",
}


class FolderCollection(OwnClasses, OwnFiles):
    """A folder of your own GeoTIFFs, one sub-folder for each modality and label layer, in any CRS.

    Attributes:
        kind: `folder`.
        folders: modality or label layer to its sub-folder, where that has another name.
        bands: modality to the names of its files' bands in their order, where the files do not name them.
        offset_dn: modality to what is added to every DN (-1000 for Sentinel-2 of baseline 04.00 and later).
        licence: of the files, for the report.
        block_chips: side of a spatial block, the unit of the bootstrap, in chips of one tile.
    """

    kind: Literal["folder"]
    folders: dict[str, str] = {}
    bands: dict[str, list[str]] = {}
    offset_dn: dict[str, int] = {}
    licence: str = ""
    block_chips: int = Field(2, ge=1)

    @field_validator("modalities")
    @classmethod
    def _fixed(cls, names: list[str]) -> list[str]:
        measured = [m.name for m in MODALITIES.values() if not m.variable and m.unit != "display"]
        check_names(names, measured, why="in a folder of GeoTIFFs")
        return names

    @model_validator(mode="after")
    def _names_fit(self) -> "FolderCollection":
        check_names(self.labels, [*(name for name in LABELS if name != "osm"), *self.classes], "labels")
        check_names(self.folders, [*self.modalities, *self.labels], "folders", "modalities and labels")
        check_names(self.bands, self.modalities, "bands", "modalities")
        optical = [name for name in self.modalities if MODALITIES[name].unit == "reflectance"]
        check_names(self.offset_dn, optical, "offset_dn", "modalities of reflectance")
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

    def index_recipe(self, layer: str) -> dict[str, Any]:
        """What `index_folder` needs to know of a layer."""
        return {
            "layer": layer,
            "folder": str(self.folder(layer)),
            "bands": self.bands.get(layer),
            "offset_dn": self.offset_dn.get(layer),
            **self.own_classes(layer),
        }

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        return {
            "kind": "folder",
            "layer": self.modalities[0],
            "chip_px": self.chip_px,
            "block_chips": self.block_chips,
            "shards": self.shards,
        }


class ArchiveCollection(OwnFiles):
    """A benchmark archive that you have unpacked: each of its images is a chip, with the archive's own classes.

    Attributes:
        kind: `archive`.
        archive: `eurosat` (EuroSAT MS; s2_l1c, 64 px, `label: eurosat_class`), `eurosat_rgb` (EuroSAT RGB; rgb, 64 px,
            the same label) or `resisc45` (rgb, 256 px, `label: resisc45_class`), whose images have no place on Earth,
            `bigearthnet_v1` or `bigearthnet_v2` (s2_l2a, s1_grd, 120 px, `label: bigearthnet_classes`, the 19 of them),
            `sen12ms` or `dfc2020` (s2_l1c, s1_grd, 256 px, maps as `labels: [dfc2020]`).
        exclude: text files that name images to leave out, one a line.
        scenes: from which share of the images to which, as `[0.03, 0.53]`: scenes are taken whole, in an order that a
            hash of their names gives, so that parts which do not overlap share no scene. Of `sen12ms` and `dfc2020`.
        block_km: side of a spatial block, the unit of the bootstrap; where images have no place each is one.
    """

    own_split: ClassVar[bool] = True

    kind: Literal["archive"]
    archive: ArchiveName
    exclude: list[str] = []
    scenes: tuple[float, float] = (0.0, 1.0)
    block_km: float = Field(10.0, gt=0)

    @field_validator("scenes")
    @classmethod
    def _part(cls, part: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= part[0] < part[1] <= 1:
            raise ValueError(f"found {list(part)}, allowed two shares between 0 and 1, the smaller one first")
        return part

    @model_validator(mode="after")
    def _archive_has_it(self) -> "ArchiveCollection":
        held = ARCHIVES[self.archive]
        check_names(self.modalities, [m for m in held.folders if m in MODALITIES], "modalities", f"of {self.archive}")
        why = f"the classes of {self.archive} come with it" if held.label else f"maps of {self.archive}"
        check_names(self.labels, held.codes, "labels", why)
        if self.scenes != (0.0, 1.0) and self.archive not in REGIONS:
            raise ValueError(
                f"scenes: found {list(self.scenes)}, allowed none of {self.archive}; of {', '.join(REGIONS)}"
            )
        if self.chip_px != held.chip_px:
            raise ValueError(f"chip_px: found {self.chip_px}, allowed {held.chip_px}, the side of its images")
        return self

    @property
    def placed(self) -> bool:
        """Whether it is known where on Earth its chips are."""
        return ARCHIVES[self.archive].placed

    @model_validator(mode="after")
    def _placed_where_it_must_be(self) -> "ArchiveCollection":
        if self.placed:
            if self.split.kind == "hashed":
                raise ValueError(f"split.{HASHED}")
            return self
        why = f"the images of {self.archive} have no place on Earth"
        if self.split.kind not in ("official", "hashed"):
            raise ValueError(f"split.kind: found {self.split.kind!r}, allowed official, hashed: {why}")
        needing = [key for key in ("climate", "elevation", "regions", "block_km") if key in self.model_fields_set]
        if needing:
            raise ValueError(f"{needing[0]}: found {getattr(self, needing[0])!r}, allowed none: {why}")
        near = sorted(self.leakage_limit.model_fields_set - {"pretraining_overlap"})
        if near:
            raise ValueError(f"leakage_limit: found {near[0]}, allowed pretraining_overlap (by name) alone: {why}")
        return self

    def absent(self) -> list[str]:
        """What the study names but the disk does not have, each with what to do."""
        found, held = [], ARCHIVES[self.archive].folders
        try:
            for modality in held:
                if modality in self.modalities or modality == next(iter(held)):
                    layer_folder(self.archive, self.root, modality)
        except ValueError as error:
            found.append(f"path: {error}")
        lists = [f"{file} is absent" for file in self.exclude if not Path(file).is_file()]
        if lists:
            found.append(f"exclude: {', '.join(lists)}: give text files that name images, one a line")
        return [*found, *super().absent()]

    @property
    def root(self) -> Path:
        """Where it lies."""
        return Path(self.path).expanduser()

    @property
    def watched(self) -> list[str]:
        """Folders and tables that change where an image comes or goes."""
        return [str(path) for path in watched(self.archive, self.root, self.modalities)]

    @property
    def label_layers(self) -> list[LabelLayer]:
        """The archive's classes."""
        return ARCHIVES[self.archive].layers(self.labels)

    def index_recipe(self) -> dict[str, Any]:
        """What `index_archive` needs to know."""
        maps = {"labels": self.labels} if self.labels else {}
        part = {"scenes": list(self.scenes)} if self.scenes != (0.0, 1.0) else {}
        return {"archive": self.archive, "path": str(self.root), "modalities": self.modalities, **maps, **part}

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        return {"kind": "archive", "chip_px": self.chip_px, "block_km": self.block_km}


AnyCollection = Annotated[
    SceneCollection | SimulatedCollection | FolderCollection | ArchiveCollection | AreaCollection,
    Field(discriminator="kind"),
]
