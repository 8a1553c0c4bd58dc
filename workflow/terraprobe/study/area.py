"""Collections over an area of interest, whose pixels are fetched."""

from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from terraprobe.acquire.earthengine.products import PRODUCTS, SETTINGS, Composite
from terraprobe.acquire.folder import is_polygons
from terraprobe.modalities import LABELS, MODALITIES, MONTHS
from terraprobe.study.names import check_names
from terraprobe.study.ownlabels import OwnClasses

ELSEWHERE = MappingProxyType({"s1_coherence": "ARIA S1 GUNW by ASF", "ghs_built": "GHS-BUILT-S 2020"})
"""Layers of an area that other services than Earth Engine give, and what they are."""
ELSEWHERE_SOURCES = MappingProxyType({"s1_coherence": "gunw", "ghs_built": "ghs_built"})
"""Their names in the registry of sources."""
CONTEXT_SOURCES = ("worldclim", "regions")
"""Where climate and regions of an area come from: names in the registry of sources."""


class AreaCollection(OwnClasses):
    """An area of interest: chips on the fixed lattice of each UTM zone, pixels from Earth Engine and ASF.

    Attributes:
        kind: `area`.
        area: file of its polygons (GeoJSON, GeoPackage, FlatGeobuf; any CRS), absolute or relative to the folder that
            Snakemake runs in.
        months: calendar months, whole, as "2020-01"; three for the monthly modalities. Other modalities are one image
            of all of them; labels are of the year of the first.
        shards: into how many storage units its chips are dealt; one job each a layer. `terraprobe plan` names a good
            number.
        files: own label layer to its file, in any CRS: a raster of codes, or polygons (GeoPackage, GeoJSON or
            FlatGeobuf).
        columns: own label layer to the column of its polygons that says the class, by a code or by a name, which is
            written in a-z, 0-9 and _: "Winter wheat" is winter_wheat.
        block_chips: side of a spatial block, the unit of the bootstrap, in chips.
        statistic: `mean` or `median` of the images that become one.
        cloud_mask: which pixels of Sentinel-2 are cloud: by its own band (`qa60`, there until January 2022), or by
            Cloud Score+ (`cloud_score`).
        max_cloud_percent: images of Sentinel-2 with this much cloud or more are left out whole.
        s1_orbit: direction of Sentinel-1's orbits, `ascending` or `descending`.
        context: whether climate (WorldClim) and region (the EEA's, of Europe) of its chips are fetched too.
    """

    kind: Literal["area"]
    area: str
    months: list[str] = Field(min_length=1)
    shards: int = Field(1, ge=1, le=1000)
    files: dict[str, str] = {}
    columns: dict[str, str] = {}
    block_chips: int = Field(4, ge=1)
    statistic: Literal["mean", "median"] = "mean"
    cloud_mask: Literal["qa60", "cloud_score"] = "qa60"
    max_cloud_percent: float = Field(20, gt=0, le=100)
    s1_orbit: Literal["ascending", "descending"] = "descending"
    context: bool = True

    @field_validator("area")
    @classmethod
    def _is_there(cls, area: str) -> str:
        path = Path(area).expanduser()
        if not path.is_file():
            raise ValueError(f"{path.absolute()} is absent; give a file of polygons, such as GeoJSON")
        return area

    @model_validator(mode="after")
    def _can_be_fetched(self) -> "AreaCollection":
        for key, names, table in (("modalities", self.modalities, MODALITIES), ("labels", self.labels, LABELS)):
            own = self.classes if key == "labels" else ()
            check_names(names, [n for n in (*PRODUCTS, *ELSEWHERE, *own) if n in table or n in own], key, "of an area")
        self._composite()
        monthly = [name for name in self.modalities if name.endswith("_monthly")]
        if monthly and len(self.months) != len(MONTHS):
            raise ValueError(f"months: found {len(self.months)}, {monthly[0]} needs {len(MONTHS)}")
        return self

    @model_validator(mode="after")
    def _labels_there(self) -> "AreaCollection":
        check_names(self.files, self.classes, "files", "own label layers, of classes")
        check_names(self.columns, self.files, "columns", "own label layers, of files")
        for layer in self.classes:
            path = Path(self.files.get(layer, "")).expanduser()
            if layer not in self.files:
                raise ValueError(f"files: none for {layer}; give the file of each own label layer: {{{layer}: …}}")
            if not path.is_file():
                raise ValueError(f"files.{layer}: {path.absolute()} is absent; give a raster or a file of polygons")
            polygons = is_polygons(path)
            if polygons != (layer in self.columns):
                rule = "polygons need the column of their class" if polygons else "a raster has no columns"
                raise ValueError(f"columns: found {self.columns.get(layer)!r} for {path.name}; {rule}")
        return self

    def _composite(self) -> Composite:
        keys = {key for keys in SETTINGS.values() for key in keys}
        return Composite.model_validate(self.model_dump(include=keys))

    @property
    def has_context(self) -> bool:
        """Whether climate and region are known of its chips."""
        return self.context

    @property
    def path(self) -> str:
        """The file of its polygons."""
        return str(Path(self.area).expanduser())

    @property
    def shard_names(self) -> list[str]:
        """Names of the storage units."""
        return [f"{shard:03d}" for shard in range(self.shards)]

    @property
    def layers(self) -> list[str]:
        """Its modalities and label layers."""
        return [*self.modalities, *self.labels]

    @property
    def from_earth_engine(self) -> list[str]:
        """Its layers that Earth Engine gives."""
        return [name for name in self.layers if name in PRODUCTS]

    def own_file(self, layer: str) -> str:
        """The file of an own label layer."""
        return str(Path(self.files[layer]).expanduser())

    def index_recipe(self, layer: str) -> dict[str, Any]:
        """What `index_folder` needs to know of an own label layer."""
        column = {"column": self.columns[layer]} if layer in self.columns else {}
        return {"layer": layer, "folder": self.own_file(layer), **column, **self.own_classes(layer)}

    def composite_of(self, layer: str) -> dict[str, Any]:
        """What `fetch_earthengine` needs to know of one layer: settings of another sensor are left out."""
        return self._composite().model_dump(mode="json", include=set(SETTINGS[PRODUCTS[layer].sensor]))

    def grid_area(self) -> dict[str, Any]:
        """What `lay_grid` needs to know."""
        own = {"chip_px": self.chip_px, "block_chips": self.block_chips, "shards": self.shards}
        return {"kind": "area", "source": self.name, **own}
