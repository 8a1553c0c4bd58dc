"""Chips over an area of interest: those of each UTM zone's lattice whose own ground meets it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from terraprobe.collections.zones import lattice
from terraprobe.errors import TerraprobeError
from terraprobe.stage import Recipe

if TYPE_CHECKING:
    import pandas as pd

OUTLINE_PIECES = 1000
"""Edges that are straight in a projection are bent in degrees: they are projected in so many pieces an extent."""


class AreaGrid(Recipe):
    """Chips over polygons, on the fixed lattice of each UTM zone that they touch.

    Attributes:
        kind: `area`.
        source: written into every row.
        chip_px: chip side in pixels.
        block_chips: side of a spatial block (the unit of the bootstrap) in chips.
        shards: storage units that the chips are dealt to, in equal parts.
    """

    kind: Literal["area"] = "area"
    source: str
    chip_px: int
    block_chips: int = Field(ge=1)
    shards: int = Field(ge=1, le=1000)


def area_rows(path: Path, area: AreaGrid) -> "pd.DataFrame":
    """List the chips of an area.

    Blocks are squares of the zone's lattice, so equal ground is in the block of equal name whatever the area.

    Args:
        path: polygons, as GeoJSON, GeoPackage or FlatGeobuf, in any CRS.
        area: size of chips, blocks and shards.

    Returns:
        One row a chip, block after block: `crs, left, top, block, shard, source`.

    Raises:
        TerraprobeError: the file holds no polygons, no lattice fits them, or it has fewer chips than shards.
    """
    try:
        rows = lattice(read_area(path), area.chip_px)
    except TerraprobeError as error:
        raise TerraprobeError(f"{path}: {error}") from error
    # Counted north and east from the zone's origin, where both are positive.
    line, column = (-1 - rows["row"]) // area.block_chips, rows["column"] // area.block_chips
    order = np.lexsort((rows["column"], rows["row"], column, -line, rows["crs"]))
    if len(rows) < area.shards:
        raise TerraprobeError(f"{path}: {len(rows)} chips of {area.chip_px} px, at most so many shards; lower shards.")
    zone = rows["crs"].str.removeprefix("EPSG:")
    block = [f"{z}-{y:05d}-{x:05d}" for z, y, x in zip(zone, line, column, strict=True)]
    rows = rows[["crs", "left", "top"]].assign(block=block).iloc[order].reset_index(drop=True)
    shard = np.arange(len(rows)) * area.shards // len(rows)
    return rows.assign(shard=[f"{k:03d}" for k in shard.tolist()], source=area.source)


def read_area(path: Path) -> Any:
    """Read the union of the polygons of a vector file.

    Returns:
        shapely Polygon or MultiPolygon in EPSG:4326, (x, y) = (lon, lat).

    Raises:
        TerraprobeError: the file cannot be read, has no CRS, or holds something else than valid polygons.
    """
    import geopandas as gpd
    import pyogrio
    import shapely
    from pyogrio.errors import DataSourceError

    try:
        frame = pyogrio.read_dataframe(path, columns=[])
    except (DataSourceError, OSError) as error:
        raise TerraprobeError(f"cannot be read as a vector file ({error}). Give GeoJSON or GeoPackage.") from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.empty or frame.crs is None:
        found = "no CRS" if len(frame) else "no feature"
        raise TerraprobeError(f"{found}; a chip lattice needs polygons and their CRS.")
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    for number, shape in enumerate(shapes):
        kind = shape.geom_type if shape is not None else "nothing"
        if kind not in ("Polygon", "MultiPolygon") or not shape.is_valid:
            wrong = shapely.is_valid_reason(shape) if "Polygon" in kind else kind
            raise TerraprobeError(f"feature {number}: {wrong}; a chip lattice needs valid polygons. Mend the file.")
    area = shapely.union_all(shapes)
    if frame.crs.is_geographic and frame.crs.to_epsg() == 4326:
        return area
    west, south, east, north = area.bounds
    pieces = shapely.segmentize(area, max(east - west, north - south) / OUTLINE_PIECES)
    return gpd.GeoSeries([pieces], crs=frame.crs).to_crs("EPSG:4326").iloc[0]
