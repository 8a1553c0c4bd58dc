"""How far the ground of one set of chips is from that of another, edge to edge, whatever their CRS."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import geopandas as gpd

Array = NDArray[np.float64]

TOUCH_M = 0.5
"""Chips nearer than this touch: corners that go through another CRS and back may miss each other by millimetres."""

_OVERLAP = 0.01  # share of a chip that two must have in common to overlap: neighbours of two zones shave each other
_CANDIDATES = 16  # nearest centres: at most 8 equal squares that do not overlap each other touch a square
_SPREAD = 0.3  # (1 - 1/sqrt 2) diagonals: a centre farther away by more cannot be of the nearest square
_REACH = 1.05  # diagonals: squares whose centres are farther apart do not touch
_BATCH = 10_000
_WGS84_A_M, _WGS84_E2 = 6_378_137.0, 0.0066943799901413165


@dataclass(frozen=True)
class Nearness:
    """How near each chip of one set is to the other set.

    Attributes:
        distance_m: ground between the chip and the nearest one of the other set, 0 where they touch, (N,).
        touching_pairs: pairs, one of either set, that touch or overlap.
        overlaps: whether the chip has more than 1 % of its ground in common with one of the other set, (N,).
    """

    distance_m: Array
    touching_pairs: int
    overlaps: NDArray[np.bool_]


def nearness(chips: "gpd.GeoDataFrame", others: "gpd.GeoDataFrame") -> Nearness:
    """Ground between chips and the nearest of others.

    Corners are laid on the WGS 84 ellipsoid and seen in the tangent plane of each chip, so chips of different UTM
    zones compare like those of one. Of each chip the 16 others with the nearest centres are measured exactly: what
    touches is always among them, unless the others hold the same ground several times, as archives may: then the
    touching pairs are at least as many as are counted. Where the nearest lies many chips away, an unmeasured one could
    be nearer by at most 0.42 of a chip side. The plane shortens 500 km by 0.1 %.

    Args:
        chips: rows of `chips.parquet`, (N,).
        others: rows of `chips.parquet`, at least one.
    """
    import shapely
    from scipy.spatial import cKDTree

    ours, theirs = _corners(chips), _corners(others)
    centres = ours.mean(axis=1)
    k = min(_CANDIDATES, len(theirs))
    apart, near = (np.asarray(a).reshape(len(ours), k) for a in cKDTree(theirs.mean(axis=1)).query(centres, k))
    # Squares of side s with centres d apart are between d - s sqrt(2) and d - s apart: 0.41 s = 0.29 diagonals.
    diagonal = np.linalg.norm(ours[:, 0] - ours[:, 2], axis=1, keepdims=True)
    worth = (apart <= apart[:, :1] + _SPREAD * diagonal) | (apart <= _REACH * diagonal)
    distance, overlaps, touching = np.full(len(ours), np.inf), np.zeros(len(ours), bool), 0
    for start in range(0, len(ours), _BATCH):
        chip, candidate = np.nonzero(worth[start : start + _BATCH])
        chip = chip + start
        plane, origin = _tangent_plane(centres[chip]), centres[chip, None]
        own = shapely.polygons((ours[chip] - origin) @ plane)
        other = shapely.polygons((theirs[near[chip, candidate]] - origin) @ plane)
        gap = shapely.distance(own, other)
        touch = gap < TOUCH_M
        np.minimum.at(distance, chip, np.where(touch, 0, gap))
        touching += int(touch.sum())
        common = shapely.area(shapely.intersection(own[touch], other[touch]))
        overlaps[chip[touch][common > _OVERLAP * shapely.area(own[touch])]] = True
    return Nearness(distance, touching, overlaps)


def _corners(chips: "gpd.GeoDataFrame") -> Array:
    """Corners on the ellipsoid in Earth-centred metres, (N, 4, 3)."""
    import shapely

    lon, lat = np.radians(shapely.get_coordinates(chips.geometry.to_numpy()).reshape(-1, 5, 2)[:, :4]).transpose(
        2, 0, 1
    )
    normal = _WGS84_A_M / np.sqrt(1 - _WGS84_E2 * np.sin(lat) ** 2)
    flat = normal * np.cos(lat)
    return np.stack([flat * np.cos(lon), flat * np.sin(lon), normal * (1 - _WGS84_E2) * np.sin(lat)], axis=-1)


def _tangent_plane(centres: Array) -> Array:
    """East and north at each centre as columns, (N, 3, 2)."""
    up = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    east = np.cross([0.0, 0.0, 1.0], up)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    return np.stack([east, np.cross(up, east)], axis=-1)
