"""Stages that write a simulated Earth: its climate and regions, then its places."""

from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape

from terraprobe.acquire.manifest import write_manifest
from terraprobe.acquire.simulated.climate import CLIMATE_NAMES, REGIONS, bioclim, climate_at, region_codes
from terraprobe.acquire.simulated.grids import Located, locate
from terraprobe.acquire.simulated.land import Land, make_land
from terraprobe.acquire.simulated.optical import level1c, level1c_cloud, monthly_rgb
from terraprobe.acquire.simulated.radar import backscatter, coherence, monthly_backscatter
from terraprobe.acquire.simulated.rawfiles import (
    write_geotiff,
    write_ghs_built,
    write_gunw,
    write_mod44b,
    write_worldcover,
)
from terraprobe.acquire.simulated.world import (
    PlacesRecipe,
    SimulatedWorld,
    layer_names,
    pairs,
    place_grid,
    raw_files,
)
from terraprobe.artifacts import write_bytes
from terraprobe.stage import Out, progress

CLIMATE_STEP = 1 / 6
"""Ten arc-minutes, the coarsest WorldClim 2.1 grid."""
CLIMATE_NODATA = -3.4e38
_BORDER_DEGREES = 1.0  # climate and regions reach beyond the outermost places
# PK_UID, pre_2012 and name of these regions in the European Environment Agency's BiogeoRegions2016.
_REGION_FIELDS = {
    "alpine": (1, "ALP", "Alpine Bio-geographical Region"),
    "atlantic": (4, "ATL", "Atlantic Bio-geographical Region"),
    "boreal": (6, "BOR", "Boreal Bio-geographical Region"),
    "continental": (7, "CON", "Continental Bio-geographical Region"),
    "mediterranean": (9, "MED", "Mediterranean Bio-geographical Region"),
}


def simulate_world(*, recipe: SimulatedWorld, climate: Out, regions: Out) -> None:
    """Write the climate raster and the region polygons of a simulated Earth.

    Args:
        recipe: the world.
        climate: 20-band GeoTIFF as WorldClim 2.1 (bio01 to bio19, elevation), EPSG:4326, 10 arc-minutes, float32.
        regions: FlatGeobuf as the EEA's BiogeoRegions2016, EPSG:3035; neighbours overlap nowhere.
    """
    west, south, east, north = recipe.bbox
    first = np.floor((west - _BORDER_DEGREES) / CLIMATE_STEP)
    top = np.ceil((north + _BORDER_DEGREES) / CLIMATE_STEP)
    columns = int(np.ceil((east + _BORDER_DEGREES) / CLIMATE_STEP) - first)
    rows = int(top - np.floor((south - _BORDER_DEGREES) / CLIMATE_STEP))
    lon = (first + np.arange(columns) + 0.5) * CLIMATE_STEP
    lat = (top - np.arange(rows) - 0.5) * CLIMATE_STEP
    values = climate_at(recipe, *np.meshgrid(lon, lat))
    grid = Affine(CLIMATE_STEP, 0, first * CLIMATE_STEP, 0, -CLIMATE_STEP, top * CLIMATE_STEP)
    bands = bioclim(values).astype(np.float32)
    write_geotiff(climate, bands, "EPSG:4326", grid, names=list(CLIMATE_NAMES), nodata=CLIMATE_NODATA)
    _write_regions(regions, region_codes(values), grid)
    progress(f"simulated world {recipe.seed}: climate of {rows} x {columns} cells, {len(REGIONS)} regions")


def simulate_places(*, recipe: PlacesRecipe, manifest: Out) -> None:
    """Write the raw files of some places.

    Args:
        recipe: which places and layers.
        manifest: JSON, written last; the files that `raw_files` names stand below its folder.
    """
    for done, index in enumerate(recipe.places, 1):
        place = _Place(recipe.world, index)
        for layer in recipe.layers:
            for name in layer_names(recipe.world, index, layer):
                _WRITERS[layer](place, manifest.parent / layer / name)
        if done % max(1, len(recipe.places) // 5) == 0:
            progress(f"simulated {done} of {len(recipe.places)} places")
    names = raw_files(recipe.world, recipe.places)
    source = {"dataset": "simulated Earth", "world": recipe.world.model_dump(mode="json"), "licence": "none needed"}
    write_manifest(manifest, source, [(name, layer, {}) for layer in recipe.layers for name in names[layer]])


class _Place:
    """One place while its files are written: land is drawn once, and only when a layer asks for it."""

    def __init__(self, world: SimulatedWorld, index: int) -> None:
        self.world, self.index = world, index

    @cached_property
    def located(self) -> Located:
        return locate(self.world, self.index)

    @cached_property
    def optical(self) -> Land:
        return make_land(self.world, self.index, "optical")

    @cached_property
    def radar(self) -> Land:
        return make_land(self.world, self.index, "radar") if self.world.null_world else self.optical

    @cached_property
    def coherence(self) -> Land:
        return make_land(self.world, self.index, "coherence") if self.world.null_world else self.optical

    def write_bands(self, path: Path, image: NDArray[Any], names: list[str], nodata: float) -> None:
        crs, grid, _, _ = place_grid(self.world, self.index)
        write_geotiff(path, image, crs, Affine(*grid), names=names, nodata=nodata)


def _write_product(place: _Place, path: Path) -> None:
    pair = next(pair for pair in pairs(place.world, place.index) if pair.name == path.name)
    mean = coherence(place.world, place.index, place.coherence, pair)
    write_gunw(path, place.world, place.index, pair, mean_10m=mean, located=place.located)


_WRITERS: dict[str, Callable[[_Place, Path], None]] = {
    "s2_rgb_monthly": lambda p, path: p.write_bands(path, *monthly_rgb(p.world, p.index, p.optical), 0),
    "s2_l1c": lambda p, path: p.write_bands(path, *level1c(p.world, p.index, p.optical), 0),
    "s1_grd_monthly": lambda p, path: p.write_bands(path, *monthly_backscatter(p.world, p.index, p.radar), np.nan),
    "s1_grd": lambda p, path: p.write_bands(path, *backscatter(p.world, p.index, p.radar), np.nan),
    "s1_coherence": _write_product,
    "worldcover": lambda p, path: write_worldcover(path, p.optical, p.located),
    "mod44b": lambda p, path: write_mod44b(path, p.optical, p.located),
    "s2_cloud": lambda p, path: p.write_bands(path, *level1c_cloud(p.world, p.index, p.optical), 0),
    "ghs_built": lambda p, path: write_ghs_built(path, p.optical, p.located),
}


def _write_regions(path: Path, codes: NDArray[Any], grid: Affine) -> None:
    """Polygons around equal codes, one row a region, in the EEA's projection and fields."""
    rows = []
    for number, region in enumerate(REGIONS):
        uid, before, name = _REGION_FIELDS[region]
        found = shapes(codes, mask=codes == number, transform=grid)
        rows += [(uid, region, before, region.capitalize(), name, shape(geometry)) for geometry, _ in found]
    fields = ["PK_UID", "short_name", "pre_2012", "code", "name", "geometry"]
    frame = gpd.GeoDataFrame(rows, columns=fields, geometry="geometry", crs="EPSG:4326")
    frame = frame.dissolve(by="PK_UID", as_index=False, sort=True)
    # Straight lines in degrees are curves in this projection: neighbours must bend at the same points.
    frame["geometry"] = frame.geometry.segmentize(float(grid.a))
    frame = frame.to_crs("EPSG:3035")[fields]
    # By way of memory: on disk the driver takes a name without its own suffix for a folder.
    buffer = BytesIO()
    frame.to_file(buffer, driver="FlatGeobuf", layer="BiogeoRegions2016", SPATIAL_INDEX="NO")
    write_bytes(path, buffer.getvalue())
