"""Land cover of a place: water, forest, fields, open land and towns, all at 10 m."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from terraprobe.acquire.simulated.climate import Priors, priors_at
from terraprobe.acquire.simulated.shapes import (
    TABLE,
    Image,
    Parcels,
    fractal,
    parcels,
    soften,
    winding_line,
)
from terraprobe.acquire.simulated.towns import Town, build_towns
from terraprobe.acquire.simulated.world import SimulatedWorld, generator, place_lonlat

MARGIN_PX = 40
"""Land beyond each edge of a place, so that 90 to 232 m cells of other grids are whole at its border."""

Mask = NDArray[np.bool_]
Pixel = TypeVar("Pixel", bound=np.generic)


class Cover(IntEnum):
    """What covers a pixel, below buildings and roads."""

    CONIFER = 0
    DECIDUOUS = 1
    YOUNG = 2
    SHRUB = 3
    GRASS = 4
    WINTER_CROP = 5
    SUMMER_CROP = 6
    BARE = 7
    WATER = 8
    WETLAND = 9


CROPS = (Cover.WINTER_CROP, Cover.SUMMER_CROP)
FARMED = (Cover.GRASS, *CROPS)


@dataclass(frozen=True)
class _Fields:
    """Random fields that share out a place: Gaussian, unit variance, (n, n).

    Attributes:
        smooth: bends borders.
        terrain: height.
        woods: where forests are.
        open_land: where land is farmed, where wild.
        rough: ragged edges, patches of some ten pixels.
        mottle: single trees and stones.
    """

    smooth: Image
    terrain: Image
    woods: Image
    open_land: Image
    rough: Image
    mottle: Image


@dataclass(frozen=True)
class Land:
    """Land of one place with its margin; arrays are (n, n), north up, 10 m.

    Attributes:
        cover: `Cover` codes.
        tree_share: share of the pixel under tree crowns.
        town: roads, houses, streets.
        parcels: fields.
        rows: tramlines of crops, -1 to 1, 0 elsewhere.
        mottle: fine isotropic texture, unit variance.
        blotch: texture of some ten pixels, unit variance.
        rise: terrain slope towards the east and towards the south, (2, n, n).
        wet: 1 at a water's edge, falling to 0 over some 100 m.
        priors: what the place was drawn from.
    """

    cover: NDArray[np.uint8]
    tree_share: Image
    town: Town
    parcels: Parcels
    rows: Image
    mottle: Image
    blotch: Image
    rise: Image
    wet: Image
    priors: Priors


def make_land(world: SimulatedWorld, index: int, sensor: str) -> Land:
    """Draw the land of a place as a sensor sees it.

    Every sensor sees the same land, except in a null world, where each has its own, with priors from an unrelated
    spot of the world, so that not even a common climate relates them.

    Args:
        world: the simulated Earth.
        index: place.
        sensor: "optical", "radar" or "coherence".
    """
    lon, lat = place_lonlat(world, index)
    purpose = "land"
    if world.null_world and sensor != "optical":
        purpose = f"land {sensor}"
        west, south, east, north = world.bbox
        lon, lat = generator(world, index, f"spot {sensor}").uniform((west, south), (east, north))
    rng = generator(world, index, purpose)
    return _draw_land(rng, world.place_px + 2 * MARGIN_PX, priors_at(world, float(lon), float(lat)))


def inner(image: NDArray[Pixel]) -> NDArray[Pixel]:
    """The place itself, without its margin; the last two axes are y, x."""
    return image[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def _draw_land(rng: np.random.Generator, n: int, priors: Priors) -> Land:
    fields = _Fields(
        smooth=fractal(rng, n, 2.4),
        terrain=fractal(rng, n, 2.1),
        woods=fractal(rng, n, 1.6, 130),
        open_land=fractal(rng, n, 1.6, 100),
        rough=fractal(rng, n, 1.15, 40),
        mottle=fractal(rng, n, 0.4),
    )
    plots = parcels(rng, n, float(np.exp(rng.normal(2.3, 0.35))), fields.smooth)
    water, wet = _water(rng, n, priors, fields)
    cover = _open_land(rng, plots, priors, fields)
    _wet_edges(cover, water, wet, fields)
    town = build_towns(rng, n, priors.urban * float(np.exp(rng.normal(0, 0.3))), fields.rough, ~water)
    in_town = _settle(cover, water, town, fields)
    farmed = np.isin(cover, FARMED)
    tracked = rng.random(TABLE, dtype=np.float32)[plots.district] < 0.6
    tracks = plots.long_edge & farmed & tracked & ~in_town
    sealed = np.where(water, 0.5 * (town.sealed > 0.6), np.maximum(town.sealed, 0.35 * tracks))  # bridges
    town = replace(town, sealed=sealed.astype(np.float32))
    slopes = np.gradient(fields.terrain * np.float32(9 * priors.relief))
    period = rng.uniform(2.6, 4.5, TABLE)[plots.key]
    rows = np.where(np.isin(cover, CROPS), np.sin(2 * np.pi * plots.across / period), 0)
    return Land(
        cover=cover,
        tree_share=_tree_share(cover, town, fields),
        town=town,
        parcels=plots,
        rows=rows.astype(np.float32),
        mottle=fields.mottle,
        blotch=fields.rough,
        rise=(np.stack(slopes[::-1]) * ~water).astype(np.float32),
        wet=wet,
        priors=priors,
    )


def _settle(cover: NDArray[np.uint8], water: Mask, town: Town, fields: _Fields) -> Mask:
    """Put lawns and garden trees around houses, in place; where a town is."""
    in_town = (town.density > 0.1) & ~water
    cover[in_town & ((town.sealed > 0.02) | (town.density > 0.3))] = Cover.GRASS
    trees = in_town & (cover == Cover.GRASS) & (fields.mottle + 0.6 * fields.rough > 1.0)
    cover[trees] = Cover.DECIDUOUS
    cover[water] = Cover.WATER
    return in_town


def _water(rng: np.random.Generator, n: int, priors: Priors, fields: _Fields) -> tuple[Mask, Image]:
    """Rivers, streams, lakes and ponds; and how near the water is."""
    course = np.zeros((n, n), bool)
    half = np.zeros((n, n), np.float32)
    amount = priors.water * float(np.exp(rng.normal(0, 0.4)))
    rivers = int(rng.random() < min(0.62 * amount, 0.95))
    lines: list[NDArray[np.float64]] = []
    for k in range(rivers + 1 + int(rng.poisson(1.3 * amount))):
        line, width = _watercourse(rng, n, lines, amount, river=k < rivers)
        lines.append(line)
        at = np.round(line).astype(np.intp)
        course[at[:, 1], at[:, 0]] = True
        half[at[:, 1], at[:, 0]] = width
    distance, (iy, ix) = distance_transform_edt(~course, return_indices=True)
    local = half[iy, ix]
    water = distance.astype(np.float32) < local * (1 + 0.22 * fields.rough * (local > 1.2))
    lakes = 0.02 * amount * float(np.exp(rng.normal(0, 1.0)))
    low = fields.terrain + 0.05 * fields.rough
    water |= low < np.quantile(low[::3, ::3], min(lakes, 0.3) if rng.random() < 0.6 else 0.0)
    water |= _ponds(rng, n, int(rng.poisson(7 * amount)))
    shore = distance_transform_edt(~water).astype(np.float32)
    return water, np.exp(-shore / np.float32(6))


def _watercourse(
    rng: np.random.Generator, n: int, lines: list[NDArray[np.float64]], amount: float, *, river: bool
) -> tuple[NDArray[np.float64], float]:
    """A river across the place, or a stream that starts at another water; points (x, y) and half width, pixels."""
    heading = rng.uniform(0, 2 * np.pi)
    if river:
        width = float(rng.uniform(1.2, 4.0) * np.sqrt(amount))
        through = rng.uniform(0.2 * n, 0.8 * n, 2)
        return winding_line(rng, n, 16 + 16 * width, rng.uniform(0.6, 1.7), through=through, heading=heading), width
    through = rng.uniform(0.2 * n, 0.8 * n, 2)
    if lines:
        joined = lines[int(rng.integers(len(lines)))]
        through = joined[int(rng.integers(len(joined)))]
    line = winding_line(rng, n, rng.uniform(20, 60), rng.uniform(0.3, 1.0), through=through, heading=heading)
    mouth = int(np.abs(line - through).sum(1).argmin()) if lines else 0
    tributary = line[mouth:] if 2 * mouth < len(line) else line[: mouth + 1]
    return tributary, float(rng.uniform(0.5, 0.95))


def _ponds(rng: np.random.Generator, n: int, count: int) -> Mask:
    """Small still waters: round, or rectangular as fish ponds are."""
    water = np.zeros((n, n), bool)
    for _ in range(count):
        x0, y0 = rng.integers(0, n, 2)
        r = int(np.ceil(rng.uniform(1.2, 6)))
        y, x = np.mgrid[max(y0 - 9, 0) : min(y0 + 10, n), max(x0 - 9, 0) : min(x0 + 10, n)]
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.2)
        u = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
        v = ((y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)) * stretch
        power = 2 if rng.random() < 0.6 else 8
        water[y, x] |= np.abs(u) ** power + np.abs(v) ** power < r**power
    return water


def _open_land(rng: np.random.Generator, plots: Parcels, priors: Priors, fields: _Fields) -> NDArray[np.uint8]:
    """Forest, parcels and wild land, as if there were neither water nor people."""
    woods, open_land, rough, mottle = fields.woods, fields.open_land, fields.rough, fields.mottle
    table = rng.random((4, TABLE), dtype=np.float32)
    parcel, district = (t[plots.key] for t in table[:3]), plots.district
    use, snap, season = parcel
    forest = _jittered(rng, priors.forest, 0.6)
    # Parcels pull the forest's edge towards their borders: half of real edges are straight.
    edge = woods + 0.8 * (snap - 0.5) + 0.12 * rough
    is_forest = edge > np.quantile(edge[::3, ::3], 1 - forest)
    farmed = open_land + 0.3 * (snap - 0.5)
    is_farmed = farmed < np.quantile(farmed[::3, ::3], _jittered(rng, priors.farmed, 0.5))
    crop = np.array([_jittered(rng, priors.crop, 0.9) for _ in range(64)], np.float32)[district]
    cover = np.full(woods.shape, Cover.GRASS, np.uint8)
    wild = open_land + 0.5 * rough
    cover[wild > np.quantile(wild[::3, ::3], 0.55)] = Cover.SHRUB
    # Rock breaks through as ridges and as specks that are as small and as bright as houses.
    ridge = np.abs(rough + 0.4 * open_land) - 0.3 * soften(mottle)
    bare = 0.8 * _jittered(rng, priors.bare, 0.6)
    cover[ridge < np.quantile(ridge[::3, ::3], bare)] = Cover.BARE
    tilled = np.where(season < rng.uniform(0.3, 0.7), Cover.WINTER_CROP, Cover.SUMMER_CROP)
    cover[is_farmed] = np.where(use < crop, tilled, Cover.GRASS)[is_farmed]
    conifer = _jittered(rng, priors.conifer, 0.6)
    stand = open_land + 0.8 * (table[3][plots.key] - 0.5)
    kind = np.where(stand < np.quantile(stand[::3, ::3], conifer), Cover.CONIFER, Cover.DECIDUOUS)
    kind = np.where((season < rng.uniform(0.05, 0.3)) & (use > 0.2), Cover.YOUNG, kind)
    cover[is_forest] = kind[is_forest]
    hedged = rng.random(64) < rng.uniform(0, 0.9)
    hedges = plots.edge & hedged[district] & is_farmed & ~is_forest & (rough + mottle > -0.2)
    cover[hedges] = Cover.DECIDUOUS
    return cover


def _wet_edges(cover: NDArray[np.uint8], water: Mask, wet: Image, fields: _Fields) -> None:
    """Put trees along the banks, reeds and wet meadows in low places."""
    terrain, woods, rough = fields.terrain, fields.woods, fields.rough
    bank = (wet > 0.55) & ~water
    cover[bank & (woods + rough > 0.7)] = Cover.DECIDUOUS
    low = terrain < np.quantile(terrain[::3, ::3], 0.3)
    cover[bank & low & (rough - woods > 0.5)] = Cover.WETLAND


def _tree_share(cover: NDArray[np.uint8], town: Town, fields: _Fields) -> Image:
    """Crown cover: closed in forests, half so where trees are young, a few trees elsewhere."""
    typical = np.zeros(len(Cover), np.float32)
    typical[[Cover.CONIFER, Cover.DECIDUOUS, Cover.YOUNG]] = 0.82, 0.78, 0.45
    typical[[Cover.SHRUB, Cover.GRASS, Cover.WETLAND]] = 0.12, 0.03, 0.06
    stand = typical[cover]
    share = stand + (stand > 0.1) * (0.06 * fields.rough + 0.03 * fields.mottle)
    return np.asarray(np.clip(share * (1 - town.building) * (1 - town.sealed), 0, 0.95), np.float32)


def _jittered(rng: np.random.Generator, share: float, spread: float) -> float:
    """A share moved at random on the logit scale."""
    logit = np.log(share / (1 - share)) + rng.normal(0, spread)
    return float(1 / (1 + np.exp(-logit)))
