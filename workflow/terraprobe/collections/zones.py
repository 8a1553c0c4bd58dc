"""A lattice of chips that is right in every UTM zone: no gap and no overlap, however many zones an area crosses.

Each 6° zone has one fixed lattice, the same for every area: chip corners lie at multiples of the chip side from the
zone's origin. A chip that reaches beyond its zone's meridians (or the equator, where the northern and the southern
CRS meet) owns only the ground within: the rest belongs to chips of the neighbouring zone. These own grounds tile
the Earth between 80° S and 84° N. The exceptions of Norway and Svalbard, which are for maps, are not followed.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.collections.chiptable import CHIP_RESOLUTION_M
from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    import pandas as pd

CLIP = {"clip": "utm-zone"}
"""Metadata of a grid whose chips own only the ground within their zone: pixels beyond are cut as nodata."""

ZONE_DEG = 6
UTM_SOUTH, UTM_NORTH = -80, 84
"""Latitudes that UTM covers."""

EDGE_DEG, PIECE_M = 0.01, 1000.0
"""Edges are projected in pieces at most so long: what is straight in degrees is curved in metres, by at most .2 m
over such a piece (1 km at 84° N)."""

SLIVER_M = 0.3
"""A chip that an area enters by less than this is left out. It is more than the curve above, and no pixel is lost:
the centre of a pixel lies 5 m within its chip."""

FACTOR = 8
"""Chips are searched from coarse squares to fine ones, each cut into so many by so many."""


def lattice(area: Any, chip_px: int) -> "pd.DataFrame":
    """List the chips whose own ground meets an area.

    Args:
        area: shapely Polygon or MultiPolygon in EPSG:4326, (x, y) = (lon, lat); its edges are straight in degrees.
            One that crosses the antimeridian is cut there into parts (RFC 7946, 3.1.9).
        chip_px: chip side in pixels of 10 m.

    Returns:
        One row a chip: `crs` (`EPSG:326zz` north, `EPSG:327zz` south of the equator); `left, top` of its upper left
        corner, metres of `crs`; `column, row` of the zone's lattice, east and south of its origin (`left = column *
        side`, `top = -row * side`). By zone from west to east, north before south, then by row and column.

    Raises:
        TerraprobeError: the area is no polygon, is empty or broken, leaves the longitudes or the latitudes that UTM
            covers, or seems to cross the antimeridian.
    """
    import pandas as pd

    _check_area(area)
    side = chip_px * CHIP_RESOLUTION_M
    west, south, east, north = area.bounds
    codes = [
        code + zone
        for zone in range(zone_of(west), zone_of(east) + 1)
        for code, met in ((32600, north > 0), (32700, south < 0))
        if met
    ]
    parts = [_zone_chips(area, f"EPSG:{code}", side) for code in codes]
    return pd.concat(parts, ignore_index=True)


def _check_area(area: Any) -> None:
    import shapely

    if area.geom_type not in ("Polygon", "MultiPolygon") or area.is_empty:
        raise TerraprobeError(f"area: found {area.geom_type}{' EMPTY' * area.is_empty}; a chip lattice needs polygons.")
    if not area.is_valid:
        raise TerraprobeError(f"area: {shapely.is_valid_reason(area)}. Mend the polygon (shapely.make_valid).")
    west, south, east, north = area.bounds
    if west < -180 or east > 180 or south < UTM_SOUTH or north > UTM_NORTH:
        raise TerraprobeError(
            f"area: longitude {west:g} to {east:g}, latitude {south:g} to {north:g}; a chip lattice covers longitude "
            f"-180 to 180 and, as UTM does, latitude {UTM_SOUTH} to {UTM_NORTH}. Cut the area at these."
        )
    bounds = shapely.bounds(shapely.get_parts(area))
    widest = float((bounds[:, 2] - bounds[:, 0]).max())
    if widest > 180:
        raise TerraprobeError(
            f"area: a part of it spans {widest:g}° of longitude. If it crosses the antimeridian, cut it there into "
            "two parts (RFC 7946, 3.1.9); if it is meant, cut it into parts of at most 180°."
        )


def zone_of(lon_deg: float) -> int:
    """Number of the UTM zone of a longitude."""
    return min(int((lon_deg + 180) // ZONE_DEG) + 1, 60)


def zone_bounds(crs: str) -> tuple[float, float, float, float]:
    """West, south, east, north of a UTM zone's own ground, degrees.

    Args:
        crs: `EPSG:326zz` or `EPSG:327zz`.
    """
    hemisphere, zone = divmod(int(crs.removeprefix("EPSG:")), 100)
    west = -180 + ZONE_DEG * (zone - 1)
    return (west, 0, west + ZONE_DEG, UTM_NORTH) if hemisphere == 326 else (west, UTM_SOUTH, west + ZONE_DEG, 0)


@lru_cache(maxsize=128)
def _to_metres(crs: str) -> Any:
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:4326", crs, always_xy=True)


def _to_degrees(crs: str, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude without a jump within the zone (beyond 180 rather than back at -180), and latitude."""
    lon, lat = _to_metres(crs).transform(x, y, direction="INVERSE")
    middle = zone_bounds(crs)[0] + ZONE_DEG / 2
    return middle + (np.asarray(lon) - middle + 180) % 360 - 180, np.asarray(lat)


def _zone_chips(area: Any, crs: str, side: float) -> "pd.DataFrame":
    """Rows of `lattice` in one zone."""
    import pandas as pd
    import shapely

    part = shapely.intersection(area, shapely.box(*zone_bounds(crs)))
    ground = shapely.MultiPolygon([p for p in shapely.get_parts(part) if p.geom_type == "Polygon"])
    ground = shapely.transform(shapely.segmentize(ground, EDGE_DEG), _to_metres(crs).transform, interleaved=False)
    column, line = _squares(ground, side)
    order = np.lexsort((column, -line))
    column, line = column[order], line[order]
    # `line` counts north and names the lower edge, `row` counts south and names the upper one.
    rows = {"crs": crs, "left": column * side, "top": (line + 1) * side, "column": column, "row": -line - 1}
    return pd.DataFrame(rows)


def _squares(ground: Any, side: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns and lines (both counted from the origin, east and north) of the lattice squares that meet a ground."""
    import shapely

    none = np.empty(0, np.int64)
    if ground.is_empty:
        return none, none
    shapely.prepare(ground)
    west, south, east, north = ground.bounds
    step = FACTOR ** max(0, int(np.ceil(np.log(max(east - west, north - south) / side) / np.log(FACTOR))))
    low = np.floor(np.array([west, south]) / (side * step)).astype(int)
    high = np.floor(np.array([east, north]) / (side * step)).astype(int)
    column, line = (axis.ravel() for axis in np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1])
    while True:
        left, bottom, width = column * step * side, line * step * side, step * side
        squares = shapely.box(left + SLIVER_M, bottom + SLIVER_M, left + width - SLIVER_M, bottom + width - SLIVER_M)
        met = shapely.intersects(ground, squares)
        column, line = column[met], line[met]
        if step == 1:
            return column, line
        step //= FACTOR
        within = (axis.ravel() for axis in np.mgrid[:FACTOR, :FACTOR])
        column, line = (
            (axis[:, None] * FACTOR + more).ravel() for axis, more in zip((column, line), within, strict=True)
        )


def own_grounds(crs: str, left: NDArray[Any], top: NDArray[Any], chip_px: int) -> NDArray[Any]:
    """Ground that chips own: their squares clipped at the bounds of their zone.

    Args:
        crs: of all of them.
        left: of their upper left corners (N,), metres.
        top: (N,).
        chip_px: chip side in pixels of 10 m.

    Returns:
        Polygons (N,) in EPSG:4326, longitude -180 to 180.
    """
    import shapely

    side = chip_px * CHIP_RESOLUTION_M
    along = np.linspace(0, side, int(np.ceil(side / PIECE_M)) + 1)[:-1]
    zero, full = np.zeros_like(along), np.full_like(along, side)
    east = np.concatenate([zero, along, full, side - along])
    south = np.concatenate([along, full, side - along, zero])
    lon, lat = _to_degrees(crs, np.add.outer(left, east), np.subtract.outer(top, south))
    grounds: NDArray[Any] = shapely.polygons(np.stack([lon, lat], axis=-1))
    bounds = zone_bounds(crs)
    beyond = ~_within(lon, lat, bounds).all(axis=1)
    grounds[beyond] = shapely.intersection(grounds[beyond], shapely.box(*bounds))
    return grounds


def _within(lon: NDArray[Any], lat: NDArray[Any], bounds: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """Whether points lie in a zone; its western and southern bounds belong to it, the others to its neighbours."""
    west, south, east, north = bounds
    inside: NDArray[np.bool_] = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
    return inside


def foreign_pixels(crs: list[str], left: NDArray[Any], top: NDArray[Any], chip_px: int) -> dict[int, NDArray[np.bool_]]:
    """Pixels whose centre lies beyond their chip's own zone.

    Args:
        crs: of each chip (N,).
        left: of their upper left corners (N,), metres.
        top: (N,).
        chip_px: chip side in pixels of 10 m.

    Returns:
        For the number of each chip that has such pixels, which they are: (chip_px, chip_px), axes (y, x).
    """
    side = chip_px * CHIP_RESOLUTION_M
    centre = (np.arange(chip_px) + 0.5) * CHIP_RESOLUTION_M
    foreign = {}
    for name in sorted(set(crs)):
        rows = np.flatnonzero([one == name for one in crs])
        x = left[rows, None] + np.array([0, side, 0, side])
        y = top[rows, None] - np.array([0, 0, side, side])
        # A meridian bends by less than half a pixel over a chip of 20 km: it cannot reach a centre between corners.
        for row in rows[~_within(*_to_degrees(name, x, y), zone_bounds(name)).all(axis=1)]:
            points = np.meshgrid(left[row] + centre, top[row] - centre)
            mask = ~_within(*_to_degrees(name, *points), zone_bounds(name))
            if mask.any():
                foreign[int(row)] = mask
    return foreign
