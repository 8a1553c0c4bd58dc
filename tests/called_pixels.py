"""Counts of pixels as probes leave them, made without any."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from terraprobe.artifacts import write_table
from terraprobe.probes.segmentation_table import MAJORITY, PIXEL_VALUES, counts_table

CLASSES = ("tree", "crop", "snow")
CHIPS, BLOCKS, PIXELS = 80, 40, 100
ALL = "s2_l1c: B02, B03"


def chip_table(path: Path) -> Path:
    """`chips.parquet`: two test chips a block."""
    ids = [f"c{k:02d}" for k in range(CHIPS)]
    frame = {"chip_id": ids, "split": "test", "block": [f"b{k % BLOCKS:02d}" for k in range(CHIPS)]}
    write_table(path, gpd.GeoDataFrame(frame, geometry=[shapely.box(k, 0, k + 1, 1) for k in range(CHIPS)], crs=4326))
    return path


def counts(right: float, what: dict, seed: int = 0, chips: range = range(CHIPS), strata: tuple = ("",)):
    """Rows of one probe that is right at about such a share of the pixels; no pixel is snow.

    Of several strata each has the same pixels.
    """
    rng = np.random.default_rng(seed)
    pixels = np.zeros((len(chips), 3, 3), int)
    share = np.clip(right + 0.1 * rng.standard_normal((len(chips), 2)), 0, 1)
    for k in (0, 1):
        pixels[:, k, k] = np.round(share[:, k] * PIXELS)
        pixels[:, k, 1 - k] = PIXELS - pixels[:, k, k]
    return counts_table(np.stack([pixels] * len(strata)), np.array([f"c{k:02d}" for k in chips]), what, strata)


def probe(init: str, tower: str, band: str, sees: str, *, size: int = 0, repeat: int = 0) -> dict:
    """What a probe is."""
    key = {"init": init, "tower": tower, "band": band, "sees": sees, "size": size}
    return {**key, "n_train": size or 300, "repeat": repeat}


def floor(tower: str, sees: str = "", size: int = 0, repeat: int = 0) -> dict:
    """What a floor is."""
    return probe("", tower, "", sees, size=size, repeat=repeat)


FLOORS = ((MAJORITY, ""), (PIXEL_VALUES, ALL), (PIXEL_VALUES, "s2_l1c: B02"), (PIXEL_VALUES, "s2_l1c: B03"))
