"""Image statistics of single channels, over valid pixels: what an embedding has to beat."""

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (5, 25, 50, 75, 95)
GREY_LEVELS = 16
"""[D] of the co-occurrence matrix: a 64 px chip then holds about 16 pairs per cell."""

STATISTICS = (
    "mean", "sd", *(f"p{p:02d}" for p in PERCENTILES), "gradient", "contrast", "homogeneity", "energy", "correlation",
)  # fmt: skip
"""Features of one channel, in order (architecture.md, Statistics)."""

_DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))  # (y, x): 0, 45, 90 and 135 degrees at distance 1


def channel_statistics(images: NDArray[np.float32], limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Every statistic of every image.

    Args:
        images: one channel each, NaN where not observed, (n, y, x); each has a valid pixel.
        limits: lowest and highest value of the grey levels of each image, (n, 2).

    Returns:
        float32 (n, 12), last axis as `STATISTICS`.
    """
    parts = (_moments(images), _percentiles(images), _gradient(images)[:, None], texture(grey_levels(images, limits)))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _moments(images: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = images.reshape(len(images), -1).astype(np.float64)
    return np.stack([np.nanmean(flat, axis=1), np.nanstd(flat, axis=1)], axis=1)


def _percentiles(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Percentiles by linear interpolation; `np.nanpercentile` takes 50 times as long."""
    ranked = np.sort(images.reshape(len(images), -1), axis=1)  # NaN last
    valid = (~np.isnan(ranked)).sum(axis=1)
    place = (valid[:, None] - 1) * (np.array(PERCENTILES) / 100)
    below = np.floor(place).astype(np.intp)
    low = np.take_along_axis(ranked, below, axis=1).astype(np.float64)
    high = np.take_along_axis(ranked, np.ceil(place).astype(np.intp), axis=1).astype(np.float64)
    percentiles: NDArray[np.float64] = low + (high - low) * (place - below)
    return percentiles


def _gradient(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean length of the forward-difference gradient per pixel, where all three pixels are valid; 0 where none is."""
    corner = images[:, :-1, :-1]
    length = np.hypot(images[:, :-1, 1:] - corner, images[:, 1:, :-1] - corner).reshape(len(images), -1)
    valid = ~np.isnan(length)
    total = np.where(valid, length, 0).sum(axis=1, dtype=np.float64)
    mean: NDArray[np.float64] = total / np.maximum(valid.sum(axis=1), 1)
    return mean


def grey_levels(images: NDArray[np.float32], limits: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cut values into `GREY_LEVELS` equal steps between the limits; values outside go to the outermost level.

    Args:
        images: NaN where not observed, (n, y, x).
        limits: lowest and highest value of each image, (n, 2).

    Returns:
        uint8 (n, y, x), `GREY_LEVELS` where not observed.
    """
    low = limits[:, 0, None, None].astype(np.float32)
    span = np.maximum(limits[:, 1] - limits[:, 0], np.finfo(np.float32).tiny)[:, None, None].astype(np.float32)
    missing = np.isnan(images)
    place = (np.where(missing, low, images) - low) / span * GREY_LEVELS
    step: NDArray[np.uint8] = np.clip(place, 0, GREY_LEVELS - 1).astype(np.uint8)
    step[missing] = GREY_LEVELS
    return step


def texture(levels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Contrast, homogeneity, energy and correlation of the grey-level co-occurrence matrix (Haralick et al. 1973).

    The matrix is symmetric, at distance 1; each property is averaged over four directions. Energy is the root of
    the angular second moment; the correlation of a constant image is 1 (both as in scikit-image).

    Args:
        levels: of `grey_levels`, (n, y, x).

    Returns:
        (n, 4); zeros but for the correlation where no two neighbours are valid.
    """
    by_direction = [_properties(_cooccurrence(levels, dy, dx)) for dy, dx in _DIRECTIONS]
    mean: NDArray[np.float64] = np.mean(by_direction, axis=0)
    return mean


def _cooccurrence(levels: NDArray[np.uint8], dy: int, dx: int) -> NDArray[np.float64]:
    """Symmetric, normalised co-occurrence of valid pixels with their neighbour, (n, levels, levels)."""
    n, height, width = levels.shape
    side = GREY_LEVELS + 1  # the last one collects pixels that were not observed
    first = levels[:, : height - dy, max(0, -dx) : width - max(0, dx)]
    second = levels[:, dy:, max(0, dx) : width - max(0, -dx)]
    pair = (np.arange(n) * side**2)[:, None, None] + first.astype(np.intp) * side + second
    joint = np.bincount(pair.ravel(), minlength=n * side**2).reshape(n, side, side)[:, :-1, :-1].astype(np.float64)
    both = joint + joint.transpose(0, 2, 1)
    shares: NDArray[np.float64] = both / np.maximum(both.sum(axis=(1, 2), keepdims=True), 1)
    return shares


def _properties(p: NDArray[np.float64]) -> NDArray[np.float64]:
    level = np.arange(GREY_LEVELS)
    gap = (level[:, None] - level[None, :]) ** 2
    margin = p.sum(axis=2)
    mean = margin @ level
    variance = margin @ level**2 - mean**2
    covariance = np.einsum("nij,i,j->n", p, level, level, optimize=True) - mean**2
    flat = variance < 1e-12
    correlation = np.where(flat, 1.0, covariance / np.where(flat, 1.0, variance))
    contrast = (p * gap).sum(axis=(1, 2))
    homogeneity = (p / (1 + gap)).sum(axis=(1, 2))
    return np.stack([contrast, homogeneity, np.sqrt((p**2).sum(axis=(1, 2))), correlation], axis=1)
