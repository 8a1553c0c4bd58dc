"""Statistics of a square kilometre of Sentinel-2 and Sentinel-1, whether genuine or simulated."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 100
"""1 km, the largest square that all genuine samples hold."""
_LAGS_PX = (1, 2, 4, 8, 16, 32, 64)
_TOLD_PX = (1, 4, 16, 64)
BLOCK_PX = 5  # speckle drowns the relation of one pixel of radar to one of optical
CLASSES = ("water", "trees", "open", "built")
"""Broad land cover, as codes 1 to 4; 0 is everything else. "open" is crops and grass."""
_CLASS_BANDS = ("B02", "B03", "B04", "B08", "B11")
SPECTRUM = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""By wavelength, without the cirrus band, which sees no ground."""
_TEXTURED = ("B04", "B08", "B11", "VV", "VH")
_ENOUGH_PX = 300  # of a class, for its mean and correlation

Bands = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Window:
    """One square of `SIDE_PX`.

    Attributes:
        product: "l1c" (top of the atmosphere), "l2a" (surface reflectance), "s1" (one scene) or "s1_monthly" (a mean or
            median of a month).
        place: name; the windows of one place are alike.
        bands: (y, x) each; reflectance in per cent, backscatter in dB.
        classes: (y, x) codes of `CLASSES`, all 0 where unknown.
        other: radar of the same ground, dB, where there is any.
        later: the same ground about a month later.
    """

    product: str
    place: str
    bands: Bands
    classes: NDArray[np.uint8]
    other: Bands = field(default_factory=dict)
    later: Bands = field(default_factory=dict)


def squares(shape: tuple[int, ...], step: int = 1) -> Iterator[tuple[slice, slice]]:
    """Every `step`-th whole square of an image, rows and columns."""
    for row in range(0, shape[0] - SIDE_PX + 1, SIDE_PX * step):
        for column in range(0, shape[1] - SIDE_PX + 1, SIDE_PX * step):
            yield slice(row, row + SIDE_PX), slice(column, column + SIDE_PX)


def cut(whole: Window, step: int = 1) -> Iterator[Window]:
    """The squares of a scene that neither cloud, snow nor nodata spoils.

    One rule for all: at most 5 % of the pixels have blue reflectance above 30 %.
    """
    first = next(iter(whole.bands.values()))
    for at in squares(first.shape, step):
        part = [{name: image[at] for name, image in bands.items()} for bands in (whole.bands, whole.other, whole.later)]
        seen = all(np.isfinite(image).all() for bands in part for image in bands.values())
        clear = all((bands["B02"] > 30).mean() <= 0.05 for bands in (part[0], part[2]) if "B02" in bands)
        if seen and clear:
            yield Window(whole.product, whole.place, part[0], whole.classes[at], part[1], part[2])


def measure(window: Window) -> dict[str, float]:
    """Every quantity that the window can give, by name."""
    bands, product = window.bands, window.product
    found: dict[str, float] = {}
    for name, image in bands.items():
        found[f"{product} mean {name}"] = float(image.mean())
        found[f"{product} SD {name}"] = float(image.std())
        if name in _TEXTURED:
            found |= {f"{product} {key} {name}": value for key, value in variogram(image).items()}
    for a, b in (*combinations(SPECTRUM, 2), ("VV", "VH")):
        if a in bands and b in bands:
            found[f"{product} r {a}, {b}"] = correlation(bands[a], bands[b])
    if "VV" in bands:
        found[f"{product} equivalent looks VV"] = equivalent_looks(bands["VV"])
        found[f"{product} mean VV - VH"] = float((bands["VV"] - bands["VH"]).mean())
    for name, image in window.later.items():
        found[f"{product} r {name}, a month later"] = correlation(bands[name], image)
    return found | _between_sensors(window) | _by_class(window)


def variogram(image: NDArray[np.float64]) -> dict[str, float]:
    """Semivariance over variance at some lags, mean of both axes, and where it reaches one half, in metres."""
    variance = max(float(image.var()), 1e-12)
    ratios = []
    for lag in _LAGS_PX:
        down, right = image[lag:] - image[:-lag], image[:, lag:] - image[:, :-lag]
        ratios.append(float((down**2).mean() + (right**2).mean()) / 4 / variance)
    found = {f"variogram {10 * lag} m": ratios[_LAGS_PX.index(lag)] for lag in _TOLD_PX}
    half = 10.0 * _LAGS_PX[0] if ratios[0] >= 0.5 else 10.0 * _LAGS_PX[-1]
    for (near, low), (far, high) in pairwise(zip(_LAGS_PX, ratios, strict=True)):
        if low < 0.5 <= high:
            half = 10 * float(near * (far / near) ** ((0.5 - low) / (high - low)))
            break
    return found | {"half sill (m)": half}


def equivalent_looks(decibel: NDArray[np.float64]) -> float:
    """Mean² / variance of power, the 90th percentile over 10 x 10 px squares: the homogeneous ones."""
    power = (10 ** (decibel / 10)).reshape(SIDE_PX // 10, 10, SIDE_PX // 10, 10)
    return float(np.quantile(power.mean((1, 3)) ** 2 / power.var((1, 3)), 0.9))


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's r over the pixels; 0 where one is constant."""
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _between_sensors(window: Window) -> dict[str, float]:
    found = {}
    for radar, image in window.other.items():
        for name in set(window.bands) & {"B04", "B08", "B11"}:
            found[f"s1 s2 r {radar}, {name} (50 m)"] = correlation(_blocks(image), _blocks(window.bands[name]))
    for code, kind in enumerate(CLASSES, 1):
        inside = window.classes == code
        if "VH" in window.other and "B08" in window.bands and inside.sum() >= _ENOUGH_PX:
            found[f"s1 s2 r VH, B08 in {kind}"] = correlation(window.other["VH"][inside], window.bands["B08"][inside])
    return found


def _by_class(window: Window) -> dict[str, float]:
    found = {}
    enough = [k for k in range(1, len(CLASSES) + 1) if (window.classes == k).sum() >= _ENOUGH_PX]
    images = {f"{window.product} {name}": window.bands[name] for name in _CLASS_BANDS if name in window.bands}
    images |= {f"s1 {name}": image for name, image in window.other.items()}
    for name, image in images.items():
        for code in enough:
            found[f"class {CLASSES[code - 1]} {name}"] = float(image[window.classes == code].mean())
        if {2, 3} <= set(enough):
            a, b = image[window.classes == 2], image[window.classes == 3]
            pooled = np.sqrt((a.var() + b.var()) / 2)
            found[f"class trees - open, in pooled SD {name}"] = float((a.mean() - b.mean()) / pooled)
    return found


def _blocks(image: NDArray[np.float64]) -> NDArray[np.float64]:
    n = SIDE_PX // BLOCK_PX
    return image.reshape(n, BLOCK_PX, n, BLOCK_PX).mean((1, 3))
