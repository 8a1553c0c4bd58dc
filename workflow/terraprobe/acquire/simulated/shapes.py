"""Shapes that land is made of: fractal noise, winding lines, rotated parcels, and repeatable draws by cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Labels = NDArray[np.intp]

TABLE = 4096
"""Entries of a table of random attributes; parcels and lots index into it."""


def fractal(rng: np.random.Generator, n: int, slope: float, longest_px: float = 1e9) -> Image:
    """Fractal noise of zero mean and unit standard deviation, (n, n).

    Args:
        rng: source of the noise.
        n: side in pixels.
        slope: of the amplitude spectrum, f^-slope; 0 is white, 1 rough, 2 smooth.
        longest_px: no structure is longer than about this.
    """
    size = n + n // 4  # the transform is periodic: opposite edges of the crop must not match
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1.0
    gain = np.maximum(frequency, 1 / longest_px) ** -slope
    gain[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum * gain.astype(np.float32), s=(size, size))[:n, :n]
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def soften(image: Image) -> Image:
    """A small blur, (1 4 1) / 6 along both axes: about what a 10 m pixel's point spread does."""
    padded = np.pad(image, 1, mode="edge")
    across = (padded[:, :-2] + 4 * padded[:, 1:-1] + padded[:, 2:]) / 6
    return np.asarray((across[:-2] + 4 * across[1:-1] + across[2:]) / 6, np.float32)


def mixed(*keys: NDArray[np.integer]) -> Labels:
    """Indices into a random table that look random although they depend on integer keys alone."""
    state = np.full(keys[0].shape, 0x9E3779B9, np.uint32)
    for key in keys:
        state = (state ^ key.astype(np.uint32)) * np.uint32(0x85EBCA6B)
        state ^= state >> np.uint32(13)
        state *= np.uint32(0xC2B2AE35)
        state ^= state >> np.uint32(16)
    return (state & np.uint32(TABLE - 1)).astype(np.intp)


def winding_line(
    rng: np.random.Generator,
    n: int,
    wavelength_px: float,
    bend: float,
    *,
    through: NDArray[np.float64],
    heading: float,
) -> NDArray[np.float64]:
    """A sine-generated curve, the shape of meanders (Langbein & Leopold 1966), across a square.

    Args:
        rng: source of phases and wander.
        n: side of the square in pixels.
        wavelength_px: length of one bend along the line.
        bend: largest angle to the mean heading, radians; 0.2 a road, 1.5 a lazy river.
        through: a point (x, y) on the line.
        heading: mean direction in radians.

    Returns:
        Points (x, y), half a pixel apart, those inside the square only, (m, 2).
    """
    s = np.arange(-3 * n, 3 * n) * 0.5
    phases = rng.uniform(0, 2 * np.pi, 3)
    swing = 0.6 + 0.4 * np.sin(2 * np.pi * s / (4.7 * wavelength_px) + phases[1])
    wander = 0.35 * np.sin(2 * np.pi * s / (9.1 * wavelength_px) + phases[2])
    wavelength = wavelength_px * (1 + 0.25 * np.sin(2 * np.pi * s / (7.3 * wavelength_px) + phases[0]))
    phase = np.cumsum(2 * np.pi * 0.5 / wavelength) + phases[0]
    angle = heading + bend * swing * np.sin(phase) + wander * min(1.0, bend * 2)
    points = np.stack([np.cumsum(np.cos(angle)), np.cumsum(np.sin(angle))], 1) * 0.5
    points += through - points[len(points) // 2]
    inside = ((points >= 0) & (points < n - 1)).all(1)
    return points[inside]


def stamp(points: NDArray[np.float64], n: int, width_px: float) -> Image:
    """Share of each pixel under a thin line, (n, n), from points (x, y) half a pixel apart."""
    corner = np.floor(points).astype(np.intp)
    fx, fy = (points - corner).T
    share = np.zeros(n * n)
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            at = (corner[:, 1] + dy) * n + corner[:, 0] + dx
            share += np.bincount(at, weights=wy * wx, minlength=n * n)
    return np.minimum(share.reshape(n, n) * 0.5 * width_px, 1.0).astype(np.float32)


def nearest_seed(n: int, seeds: NDArray[np.float64], warp: Image, block: int = 4) -> Labels:
    """Which of the points (x, y) is nearest to each pixel, (n, n), along borders that `warp` (in pixels) bends.

    Decided for blocks of `block` pixels: borders of districts need no more.
    """
    half = block / 2
    axis = np.arange(0, n, block) + half
    shift = warp[::block, ::block]
    x, y = axis[None, :] + shift, axis[:, None] - shift.T
    distance = (x[..., None] - seeds[:, 0]) ** 2 + (y[..., None] - seeds[:, 1]) ** 2
    labels = distance.argmin(-1)
    return np.repeat(np.repeat(labels, block, 0), block, 1)[:n, :n]


@dataclass(frozen=True)
class Parcels:
    """Fields: rectangles in districts that each have their own direction.

    Attributes:
        key: index of each pixel's parcel into random tables, (n, n).
        district: index of its district, (n, n).
        edge: whether the pixel lies on a border between parcels, (n, n).
        long_edge: whether that is a border between strips, where tracks run, (n, n).
        across: position across the rows, in pixels, (n, n).
    """

    key: Labels
    district: Labels
    edge: NDArray[np.bool_]
    long_edge: NDArray[np.bool_]
    across: Image


def parcels(rng: np.random.Generator, n: int, size_px: float, warp: Image) -> Parcels:
    """Divide a square into districts, strips and parcels.

    Args:
        rng: source of the plan.
        n: side in pixels.
        size_px: typical width of a parcel.
        warp: smooth field of unit variance that bends borders a little, (n, n).
    """
    count = int(rng.integers(5, 11))
    seeds = rng.uniform(0, n, (count, 2))
    district = nearest_seed(n, seeds, warp * np.float32(9))
    angle = rng.uniform(0, np.pi, count).astype(np.float32)
    width = (size_px * np.exp(rng.normal(0, 0.3, count))).astype(np.float32)
    length = (width * rng.uniform(1.4, 3.5, count)).astype(np.float32)
    y, x = np.mgrid[:n, :n].astype(np.float32)
    x, y = x + 1.5 * warp, y + 1.5 * warp.T
    c, s = np.cos(angle)[district], np.sin(angle)[district]
    along, across = x * c + y * s + 9999, y * c - x * s + 9999
    strip = (along / length[district]).astype(np.intp)
    share = rng.random((4, TABLE), dtype=np.float32)
    at = mixed(strip, district)
    row = (across / (width[district] * (0.5 + share[0][at])) + share[1][at]).astype(np.intp)
    key = mixed(strip, district, row)
    # Every third parcel or so is split in two.
    split = share[2][key] < 0.3
    halves = (along / length[district] - strip > 0.3 + 0.4 * share[3][key]) & split
    key = np.where(halves, mixed(key), key)
    return Parcels(key, district, _border(key), _border(strip * 64 + district), across)


def _border(labels: Labels) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] = labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge
