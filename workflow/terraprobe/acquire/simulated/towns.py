"""Settlements: where roads run, where people live, and the streets and houses that follow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from terraprobe.acquire.simulated.shapes import TABLE, Image, Labels, mixed, nearest_seed, stamp, winding_line

_FINE = 2  # houses are drawn at 5 m and averaged to 10 m


@dataclass(frozen=True)
class Town:
    """Everything that people have built, on the 10 m grid.

    Attributes:
        density: 0 in the open, towards 1 in a town's centre, (n, n).
        building: share of the pixel under roofs, (n, n).
        sealed: share of the pixel under roads and yards, (n, n).
        roof: index of the house into random tables, (n, n).
        angle: direction of the streets in radians, (n, n).
    """

    density: Image
    building: Image
    sealed: Image
    roof: Labels
    angle: Image


@dataclass(frozen=True)
class _Plan:
    """What houses follow; arrays are (n, n).

    Attributes:
        town: density of towns, where there are streets.
        density: the same with farms, where there are houses.
        quarter: index of the part of town, each with its own streets.
        angle: direction of its streets, radians.
        warp: smooth field of unit variance that bends streets.
        noise: rough field of unit variance; its peaks are industry.
    """

    town: Image
    density: Image
    quarter: Labels
    angle: Image
    warp: Image
    noise: Image


def build_towns(rng: np.random.Generator, n: int, urban: float, noise: Image, dry: NDArray[np.bool_]) -> Town:
    """Lay out roads, villages along them, a town or two, and scattered farms.

    Args:
        rng: source of the plan.
        n: side in pixels.
        urban: relative size of settlements, 1 = usual.
        noise: rough field of unit variance that frays the edges of towns, (n, n).
        dry: where one can build, (n, n).
    """
    lines = _road_lines(rng, n)
    roads = np.minimum(sum((stamp(line, n, width) for line, width in lines), np.zeros((n, n), np.float32)), 1)
    near_road = np.asarray(gaussian_filter(roads, 5, truncate=2.5), np.float32)
    near_road /= max(float(near_road.max()), 1e-6)
    seeds, angles, density = _settlements(rng, n, urban, lines)
    density = np.clip(density * (0.75 + 0.9 * near_road) + 0.22 * noise * np.sqrt(density) - 0.22, 0, 1) * dry
    farms, farm_angles, farmsteads = _farms(rng, n, near_road, dry)
    seeds, angles = np.concatenate([seeds, farms]), np.concatenate([angles, farm_angles])
    warp = np.asarray(gaussian_filter(noise, 12, truncate=2.5), np.float32)
    warp /= max(float(warp.std()), 1e-6)
    nearest = nearest_seed(n, seeds, warp * np.float32(4))
    angle = angles.astype(np.float32)[nearest]
    plan = _Plan(density, np.maximum(density, farmsteads), nearest, angle, warp, noise)
    building, streets, roof = _houses(rng, plan)
    sealed = np.minimum(np.maximum(roads, streets), 1)
    building = np.where(dry, building * (1 - 0.8 * roads), 0)
    return Town(density, np.asarray(building, np.float32), np.asarray(sealed, np.float32), roof, angle)


def _road_lines(rng: np.random.Generator, n: int) -> list[tuple[NDArray[np.float64], float]]:
    """Winding lines and their widths in pixels: one to three roads, a few lanes."""
    lines = []
    for _ in range(int(rng.integers(1, 4))):
        through, bend, width = rng.uniform(0.15 * n, 0.85 * n, 2), rng.uniform(0.1, 0.5), rng.uniform(0.8, 1.6)
        line = winding_line(rng, n, rng.uniform(60, 160), bend, through=through, heading=rng.uniform(0, np.pi))
        lines.append((line, float(width)))
    for _ in range(int(rng.poisson(7))):
        start = lines[int(rng.integers(len(lines)))][0]
        through, bend, width = start[int(rng.integers(len(start)))], rng.uniform(0.2, 0.8), rng.uniform(0.4, 0.7)
        line = winding_line(rng, n, rng.uniform(40, 90), bend, through=through, heading=rng.uniform(0, np.pi))
        at, reach = int(np.abs(line - through).sum(1).argmin()), int(rng.uniform(0.2, 0.8) * n * 2)
        lines.append((line[at : at + reach], float(width)))
    return [(line, width) for line, width in lines if len(line) > 2]


def _settlements(
    rng: np.random.Generator, n: int, urban: float, lines: list[tuple[NDArray[np.float64], float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], Image]:
    """Points with street directions, and the density that falls off around settlements, (n, n)."""
    y, x = np.mgrid[:n, :n].astype(np.float32)
    density = np.zeros((n, n), np.float32)
    seeds, angles = [np.array([n / 2, n / 2])], [0.0]
    for k in range(1 + int(rng.poisson(7))):
        line = lines[k % len(lines)][0]
        at = int(rng.integers(1, len(line) - 1))
        centre = line[at]
        street = float(np.arctan2(*(line[at + 1] - line[at - 1])[::-1]))
        radius = np.clip(13 * urban * np.exp(rng.normal(0, 0.75)), 7, 0.32 * n)
        stretch, turn = rng.uniform(1.0, 1.8), street + rng.normal(0, 0.3)
        dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
        u, v = dx * np.cos(turn) + dy * np.sin(turn), (dy * np.cos(turn) - dx * np.sin(turn)) * stretch
        reach = np.float32(radius)
        np.maximum(density, np.exp(-((np.hypot(u, v) / reach) ** 1.6)).astype(np.float32), out=density)
        for _ in range(1 + int(radius // 9)):
            seeds.append(centre + rng.normal(0, radius * 0.6, 2))
            angles.append(street + rng.choice([0.0, 0.25, -0.3, 0.6]) + rng.normal(0, 0.08))
    return np.array(seeds), np.array(angles), density


def _farms(
    rng: np.random.Generator, n: int, near_road: Image, dry: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], Image]:
    """Farms as points, directions and spots of density, mostly near roads."""
    spots = np.zeros((n, n), np.float32)
    tries = rng.integers(4, n - 4, (150, 2))
    keep = rng.random(150) < 0.14 + 0.8 * near_road[tries[:, 1], tries[:, 0]]
    tries = tries[keep & dry[tries[:, 1], tries[:, 0]]]
    for x, y in tries:
        r = int(rng.integers(1, 4))
        spots[y - r : y + r + 1, x - r : x + r + 1] = rng.uniform(0.4, 0.9)
    return tries.astype(np.float64), rng.uniform(0, np.pi, len(tries)), spots


def _houses(rng: np.random.Generator, plan: _Plan) -> tuple[Image, Image, Labels]:
    """Roofs and streets on a rotated, slightly bent grid: shares of each pixel, and a key for each house."""
    n = plan.density.shape[0]
    rows, columns = np.nonzero(np.repeat(np.repeat(plan.density > 0.03, _FINE, 0), _FINE, 1))
    at = (rows // _FINE, columns // _FINE)
    x, y = (columns + 0.5) / _FINE, (rows + 0.5) / _FINE
    q, bent, thick, town = plan.quarter[at], 2.5 * plan.warp[at], plan.density[at], plan.town[at]
    c, s = np.cos(plan.angle[at]), np.sin(plan.angle[at])
    # The constant keeps positions positive, so that remainders are.
    u, v = x * c + y * s + bent + 9999, y * c - x * s + 0.7 * bent + 9999
    n_quarters = int(plan.quarter.max()) + 1
    block_u, block_v = rng.uniform(9, 18, n_quarters)[q], rng.uniform(5.6, 8.5, n_quarters)[q]
    works = (plan.noise[at] > 1.1) & (town > 0.12)  # large halls of industry
    lot = np.where(works, 6.5, rng.uniform(1.9, 3.2, n_quarters)[q])
    in_u, in_v = u % block_u, v % block_v
    street = ((in_u < 0.9) | (in_v < 0.9)) & (town > 0.06)
    back = np.where(works, in_v - 0.9, np.minimum(in_v - 0.9, block_v - in_v))  # distance to the street in front
    key = mixed(np.floor(u / lot), np.floor(v / (block_v / 2)).astype(np.intp) * (~works) + q, np.floor(v / block_v))
    draw = rng.random((5, TABLE), dtype=np.float32)
    present, centre, wide, setback, deep = (table[key] for table in draw)
    row_house = thick > 0.72
    half = np.where(row_house, 0.46, 0.2 + 0.17 * wide) * lot
    front = np.where(row_house, 0.1, 0.35 + 0.7 * setback)
    depth = np.where(works, 2.5 + 2 * deep, 0.9 + 0.8 * deep + 0.4 * row_house)
    inside = np.abs(u % lot - (0.4 + 0.2 * centre) * lot) < half
    inside &= (back > front) & (back < front + depth) & ~street
    house = inside & (present < 0.25 + 0.8 * thick)
    yard = 0.75 * works + 0.5 * (thick > 0.6) * (draw[1][key] < 0.5)
    flat = at[0] * n + at[1]
    cell = 1 / _FINE**2
    building = np.bincount(flat, weights=house * cell, minlength=n * n).reshape(n, n)
    sealed = np.bincount(flat, weights=np.maximum(street * 0.9, yard) * cell, minlength=n * n).reshape(n, n)
    roof = np.zeros(n * n, np.intp)
    roof[flat[house]] = key[house]
    return building.astype(np.float32), sealed.astype(np.float32), roof.reshape(n, n)
