"""Chips as people see them, side by side: rows of images of the same chips."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.chips.store import ChipStore
from terraprobe.report.drawing import MUTED, themed_figure
from terraprobe.report.inputs import Collection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MplFigure

_NATURAL = (("B04", "B03", "B02"), ("red", "green", "blue"))
_ROW_IN, _HEAD_IN, _SIDE_IN = 0.22, 0.6, 3.9
_COLUMNS = 4
"""At least so many places in a row: fewer chips stand at its left, as large as in other pictures."""


@dataclass(frozen=True)
class Row:
    """One row of a picture.

    Attributes:
        title: above the row.
        images: what `imshow` takes, one a chip.
        over: maps within [0, 1] that are laid over them, one a chip; none where this is empty.
        options: for `imshow`.
    """

    title: str
    images: Sequence[NDArray[Any]]
    over: Sequence[NDArray[np.float32]] = ()
    options: dict[str, Any] = field(default_factory=dict)


def draw_rows(rows: Sequence[Row], title: str) -> "MplFigure":
    """Rows of images of the same chips, with a title for each row; call it within `house_style`."""
    columns = max(_COLUMNS, *(len(row.images) for row in rows))
    side = _SIDE_IN / columns
    figure, axes = themed_figure((side + _ROW_IN) * len(rows) + _HEAD_IN, len(rows), columns)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, line in zip(rows, axes, strict=True):
        for ax, image in zip(line, row.images, strict=False):
            ax.set_axis_on()
            frame_image(ax, image, row.options, MUTED)
        for ax, heat in zip(line, row.over, strict=False):
            ax.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6, interpolation="none")
        line[0].set_title(" ", fontsize=9.5)  # keeps the height; a long title itself would push the chips apart
        line[0].text(0, 1.05, row.title, transform=line[0].transAxes, fontsize=9.5).set_in_layout(False)
    figure.suptitle(title, x=0.02, ha="left", size=11)
    return figure


def frame_image(ax: "Axes", image: NDArray[Any], options: Mapping[str, Any], colour: str) -> None:
    """Show an image pixel by pixel, with a thin frame of some colour and no ticks."""
    ax.imshow(image, **{"interpolation": "none", **options})
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=0.5)


def shown_bands(bands: Sequence[str]) -> tuple[list[int], str]:
    """Which bands are red, green and blue, and what they are called: natural colour, or the first band in grey."""
    for names in _NATURAL:
        natural = [next((k for k, band in enumerate(bands) if band.endswith(name)), -1) for name in names]
        if min(natural) >= 0:
            return natural, "natural colour"
    return [0, 0, 0], f"{bands[0]} in grey"


def colours(store: ChipStore, chips: NDArray[np.intp], channels: Sequence[int]) -> NDArray[np.float32]:
    """Three channels of chips in the store's unit, NaN where nothing was seen, (chip, y, x, 3)."""
    pixels = [np.moveaxis(store.physical(np.full(3, chip), np.array(channels)), 0, -1) for chip in chips]
    return np.stack(pixels)


def limits(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Limits of one stretch for all of some chips, (2, 3): the medians over chips of their 1 % and 98 % quantiles.

    A cloud on one chip does not darken the others then.

    Args:
        images: (chip, y, x, 3); a chip of which nothing was observed in a channel has no say.
    """
    seen = images[np.all(np.isfinite(images).any(axis=(1, 2)), axis=1)]
    if not len(seen):
        return np.array([[0.0] * 3, [1.0] * 3])
    quantiles = np.nanquantile(seen, [0.01, 0.98], axis=(1, 2))
    return np.asarray(np.median(quantiles, axis=1), np.float64)


def view(collection: Collection) -> tuple[ChipStore, list[int], str]:
    """The store that shows a collection best, the channels to show and what they are called."""
    stores = list(collection.modalities.values())
    found = [(store, *shown_bands(store.bands)) for store in stores]
    return next((one for one in found if one[2] == "natural colour"), found[0])


def rows_of(collection: Collection, chip_ids: Sequence[str]) -> NDArray[np.intp]:
    """Rows of some chips in the collection's stores."""
    place = {chip: row for row, chip in enumerate(collection.chips["chip_id"].astype(str))}
    return np.array([place[chip] for chip in chip_ids], np.intp)


def shared_chips(archives: Iterable[Mapping[str, NDArray[Any]]]) -> list[str]:
    """Chips that stand in `chip_ids` of every archive, in the order of the first."""
    first, *others = ([str(chip) for chip in one["chip_ids"]] for one in archives)
    return [chip for chip in first if all(chip in other for other in others)]
