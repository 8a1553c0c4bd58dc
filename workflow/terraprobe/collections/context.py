"""Context of a chip: 20 bioclimatic values at its centre and the region it lies in, from any raster and vector."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from terraprobe.artifacts import write_table
from terraprobe.collections.chiptable import BIOCLIM, CONTEXT, EARTH_RADIUS_M, chip_centres, read_chips, unit_sphere
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Ins, Out, Recipe, progress

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

REGION_GROUPS = {
    "alpine": "alpine",
    "boreal": "boreal",
    "arctic": "boreal",
    "atlantic": "atlantic",
    "mediterranean": "mediterranean",
    "macaronesia": "mediterranean",
    "steppic": "mediterranean",
    "blackSea": "mediterranean",
    "continental": "continental",
    "pannonian": "continental",
}
"""EEA short name to the five groups of `bioclim` (Leonhardt et al., [P,C])."""


class ContextRecipe(Recipe):
    """Recipe of `extract_context`.

    Attributes:
        max_distance_m: a chip farther than this from a pixel with data, or from a region, gets none.
    """

    max_distance_m: float = Field(50_000.0, gt=0)


def extract_context(*, grid: In, climate: Ins, regions: In, recipe: ContextRecipe, context: Out) -> None:
    """Sample climate and region at every chip centre.

    The value is that of the nearest pixel *with data* (a coastal chip's own pixel often has none); how far its
    centre lies is recorded. A centre in several regions, which overlap at their borders, takes the first in
    alphabetical order of short name; one in no region takes the nearest.

    Args:
        grid: `grid.parquet`.
        climate: rasters whose bands are named bio_1 … bio_19 and elev (WorldClim's names, in the band
            descriptions or the file names), any CRS.
        regions: vector file with `short_name` (EEA biogeographical regions), any CRS.
        recipe: limits.
        context: `chip_id, bio01 … bio19, elevation, region, distance_m`; WorldClim's units (degrees C, mm, m).
            A value that no raster holds is NaN for all chips. Of a chip too far from any pixel or region they are
            missing, and the log names it.

    Raises:
        TerraprobeError: a raster without CRS or without a named band, a vector without CRS or `short_name`.
    """
    import pandas as pd

    chips = read_chips(grid)
    values, distance_m = sample_climate(chips, climate, recipe.max_distance_m)
    frame = pd.DataFrame({"chip_id": chips["chip_id"], **{name: values.get(name, np.nan) for name in CONTEXT}})
    frame["region"] = sample_regions(chips, regions, recipe.max_distance_m)
    frame["distance_m"] = distance_m
    write_table(context, frame)
    absent = [name for name in CONTEXT if name not in values]
    limit = f"{recipe.max_distance_m / 1000:g} km"
    ids, regions_found = frame["chip_id"], sorted(set(frame["region"]) - {""})
    progress(
        f"{len(frame)} chips, {len(regions_found)} regions"
        + (f"; no raster holds {', '.join(absent)}" if absent else "")
        + _named_chips(ids[np.isnan(distance_m)], f"no climate (no pixel with data within {limit})")
        + _named_chips(ids[frame["region"] == ""], f"no region (none of a group within {limit})")
    )


def _named_chips(ids: "pd.Series[str]", what: str) -> str:
    """What some chips have, how many they are and the first five of them; nothing where there is none."""
    names = ", ".join(ids.iloc[:5]) + (", …" if len(ids) > 5 else "")
    return f"; {len(ids)} chips with {what}: {names}" if len(ids) else ""


def sample_climate(
    chips: "gpd.GeoDataFrame", rasters: list[Path], max_distance_m: float
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Nearest value with data of every named band.

    Args:
        chips: rows with a geometry.
        rasters: GeoTIFFs.
        max_distance_m: beyond it the value is NaN.

    Returns:
        Name to values (N,), and the distance (N,) in metres to the farthest pixel centre used, NaN where none was.

    Raises:
        TerraprobeError: a raster without CRS or without a named band.
    """
    points = unit_sphere(*chip_centres(chips))
    values: dict[str, np.ndarray] = {}
    distances = np.zeros(len(chips))
    nearest: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray]] = {}  # WorldClim's rasters share pixels and gaps
    for path in sorted(rasters):
        for name, band, known, place in _named_bands(path):
            if name in values:
                raise TerraprobeError(f"{path}: {name} was read from another raster already. Give each value once.")
            alike = (*place, known.tobytes())
            if alike not in nearest:
                nearest[alike] = _nearest(points, known, place, max_distance_m)
            chosen, distance = nearest[alike]
            values[name] = np.where(chosen >= 0, band[chosen], np.nan)
            distances = np.maximum(distances, distance)
    return values, distances


def _named_bands(path: Path) -> list[tuple[str, np.ndarray, np.ndarray, tuple[Any, ...]]]:
    """(name, values (M,), whether they are known (M,), CRS, transform and shape of the pixels) of each named band."""
    import rasterio

    try:
        with rasterio.open(path) as raster:
            crs, place = raster.crs, (raster.transform, (raster.height, raster.width))
            scales, offsets = (np.reshape(v, (-1, 1, 1)) for v in (raster.scales, raster.offsets))
            descriptions, bands = raster.descriptions, raster.read(masked=True).astype(float) * scales + offsets
    except rasterio.RasterioIOError as error:
        raise TerraprobeError(f"{path}: cannot be read as a raster ({error}). Fetch it again.") from error
    if crs is None:
        raise TerraprobeError(f"{path}: no CRS, so its pixels have no place. Give it one (WorldClim is EPSG:4326).")
    names = [_context_name(label or "") for label in descriptions]
    if len(names) == 1:
        names = [names[0] or _context_name(path.stem)]
    if not any(names):
        raise TerraprobeError(
            f"{path}: bands {list(descriptions)}, none of them bio_1 … bio_19 or elev. Name the bands or the file so."
        )
    out = []
    for name, band in zip(names, bands, strict=True):
        known = ~np.ma.getmaskarray(band).ravel() & np.isfinite(band.filled(np.nan).ravel())
        if name:
            out.append((name, band.data.ravel(), known, (crs.to_wkt(), *place)))
    return out


def _context_name(label: str) -> str | None:
    """WorldClim's `bio_1`, `wc2.1_10m_bio_12`, `elev`, … to our name, None for anything else."""
    if match := re.search(r"bio_?0*(\d{1,2})$", label):
        name = f"bio{int(match[1]):02d}"
        return name if name in BIOCLIM else None
    return "elevation" if re.search(r"(elev|elevation|altitude)$", label) else None


def _nearest(
    points: np.ndarray, known: np.ndarray, place: tuple[Any, ...], max_distance_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Known pixel nearest to each point (−1: none near enough), and its distance in metres (NaN: none)."""
    from pyproj import Transformer
    from scipy.spatial import cKDTree

    crs, transform, shape = place
    row, column = np.divmod(np.flatnonzero(known), shape[1])
    x, y = transform @ (column + 0.5, row + 0.5)
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    on_earth = np.isfinite(lon) & np.isfinite(lat)  # the corners of a world map may lie outside its projection
    pixels = np.flatnonzero(known)[on_earth]
    if not len(pixels):
        return np.full(len(points), -1), np.full(len(points), np.nan)
    chord, index = cKDTree(unit_sphere(lon[on_earth], lat[on_earth])).query(points)
    distance = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(chord / 2, 1))
    near = distance <= max_distance_m
    return np.where(near, pixels[index], -1), np.where(near, distance, np.nan)


def sample_regions(chips: "gpd.GeoDataFrame", path: Path, max_distance_m: float) -> np.ndarray:
    """Region group of every chip centre.

    Args:
        chips: rows with a geometry.
        path: vector with `short_name`.
        max_distance_m: a centre farther from every region gets "".

    Returns:
        Names of `REGION_GROUPS` values (N,), "" for none.

    Raises:
        TerraprobeError: the vector has no CRS or no `short_name`.
    """
    import geopandas as gpd

    areas = _read_regions(path)
    centres = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*chip_centres(chips)), crs="EPSG:4326").to_crs(areas.crs)
    inside = centres.sjoin(areas, predicate="within").sort_values(["ungrouped", "short_name"])
    region = inside.loc[~inside.index.duplicated(), "short_name"].reindex(centres.index)
    outside = centres[region.isna().to_numpy()]
    if len(outside):
        near = outside.sjoin_nearest(areas, max_distance=max_distance_m).sort_values(["ungrouped", "short_name"])
        near = near.loc[~near.index.duplicated(), "short_name"]
        region.loc[near.index] = near
    return np.array(region.map(REGION_GROUPS).fillna(""))


def _read_regions(path: Path) -> "gpd.GeoDataFrame":
    import geopandas as gpd
    from pyogrio.errors import DataSourceError

    try:
        areas = gpd.read_file(path)
    except DataSourceError as error:
        raise TerraprobeError(f"{path}: cannot be read as a vector file ({error}). Fetch it again.") from error
    crs = getattr(areas, "crs", None)  # a table without geometry, such as a bare .dbf, has none
    if crs is None or "short_name" not in areas:
        raise TerraprobeError(
            f"{path}: CRS {crs}, fields {list(areas.columns)}; a CRS and the field short_name are needed "
            "(EEA BiogeoRegions2016 has them)."
        )
    # "outside" and "anatolian" belong to no group: they count only where no other region does.
    areas["ungrouped"] = ~areas["short_name"].isin(REGION_GROUPS)
    return areas[["short_name", "ungrouped", "geometry"]].to_crs("EPSG:3035")
