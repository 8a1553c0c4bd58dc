"""What a training's loss sees of a few chips: both views, before and after augmentation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.report.chipviews import Row, draw_rows
from terraprobe.report.drawing import Gallery, Picture
from terraprobe.report.inputs import TrainedEncoder

_ENDS = (1, 99)
"""Percentiles of a chip's view, before augmentation, that are black and white, of both its images."""


def draw_views(encoder: TrainedEncoder, found: Mapping[str, NDArray[Any]], gallery: Gallery) -> list[Picture]:
    """The paper's figure 4: some of the first batch of a training.

    Args:
        encoder: that was trained so.
        found: of `augment_chips`.
        gallery: for the figure.
    """
    rows = []
    for number, (plain, after) in enumerate(zip(found["plain"], found["augmented"], strict=True)):
        which = ("First", "Second")[number]
        pairs = [_shown(*images) for images in zip(plain, after, strict=True)]
        rows.append(Row(f"{which} view", [before for before, _ in pairs]))
        rows.append(Row("augmented", [augmented for _, augmented in pairs]))
    figure = draw_rows(rows, f"Two views of a chip, {encoder.note.name}")
    drawn = "; ".join(" against ".join(pair) for pair in zip(*found["bands"].tolist(), strict=True))
    alt = f"Two views of {len(pairs)} chips before and after augmentation, bands by chip: {drawn}."
    caption = (
        f"Chips of {encoder.note.data}, of the first batch that {encoder.note.name} was trained on: a chip a column, "
        "as it was read and as the loss saw it; each view of each chip by random numbers of its own. Bands by chip: "
        f"{drawn}. Black to white: 1 % to 99 % of the view before augmentation; erased is black."
    )
    return [gallery.add(f"training-{encoder.note.name}-views", figure, alt, caption)]


def _shown(plain: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One view before and after in the same stretch, (channels, y, x) each: (y, x, 3)."""
    low, high = np.percentile(plain, _ENDS, axis=(1, 2), keepdims=True)
    stretched = (np.clip((x - low) / np.maximum(high - low, 1e-6), 0, 1) for x in (plain, after))
    first, second = (np.moveaxis(np.broadcast_to(x, (3, *x.shape[1:])), 0, -1) for x in stretched)
    return first, second
