"""Counts of pixels as a table: chip by chip, so that any encoders can be judged on the chips that all of them see."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAJORITY, PIXEL_VALUES = "majority class", "pixel values"
"""Floors: what needs no look, and what needs no look beyond the pixel."""

MEAN_OF_BANDS = "mean"
"""Stands in `band` for all bands of an encoder that takes one at a time: the mean of their scores."""

FLOORS = "floors"
"""Name of their file beside those of encoders."""


def counts_table(
    pixels: NDArray[np.int64], chip_ids: NDArray[Any], what: dict[str, Any], strata: Sequence[str] = ("",)
) -> pd.DataFrame:
    """Counts as rows, without zeros.

    Args:
        pixels: of `LabelledLand.counts`, (stratum, chip, class, called class).
        chip_ids: (chip,).
        what: columns that are the same in every row.
        strata: names; empty: pixels of none.
    """
    stratum, chip, truth, called = np.nonzero(pixels)
    numbers = {"truth": truth.astype(np.uint8), "called": called.astype(np.uint8)}
    names = {"stratum": np.array(strata, object)[stratum], "chip_id": chip_ids[chip]}
    return pd.DataFrame({**what, **names, **numbers, "pixels": pixels[stratum, chip, truth, called]})


def counts_array(table: pd.DataFrame, block: dict[str, int], n_blocks: int, n_classes: int) -> NDArray[np.float64]:
    """Counts of one probe by block.

    Args:
        table: its rows.
        block: chip to number of its block; rows of other chips are left out.
        n_blocks: number of blocks.
        n_classes: number of classes.

    Returns:
        (block, class, called class).
    """
    places = table["chip_id"].map(block)
    kept = table[places.notna()]
    place = places[places.notna()].to_numpy(np.intp)
    cells = (place * n_classes + kept["truth"].to_numpy(np.intp)) * n_classes + kept["called"].to_numpy(np.intp)
    counts = np.bincount(cells, weights=kept["pixels"].to_numpy(np.float64), minlength=n_blocks * n_classes**2)
    return counts.reshape(n_blocks, n_classes, n_classes).astype(np.float64)
