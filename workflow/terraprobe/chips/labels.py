"""Chip-level labels, out of the pixels of the label stores: numbers, and the most frequent class."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.chips.store import ChipStore
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LABELS, LabelLayer, LabelValue
from terraprobe.stage import In, Ins, Out, Recipe, progress

_BATCH = 256


class LabelsRecipe(Recipe):
    """Recipe of `measure_labels`.

    Attributes:
        min_labelled: a label of a chip is unknown where fewer of its pixels, as a share, are known. The default
            asks for 205 of 4,096 pixels, which puts the standard error of a class share below 0.04 if pixels were
            independent. [D]
        min_present: a class is present at a chip where it has at least this share of the known pixels. [D]
    """

    min_labelled: float = Field(0.05, gt=0, le=1)
    min_present: float = Field(0.05, gt=0, le=1)


def measure_labels(*, grid: In, stores: Ins, images: Ins, recipe: LabelsRecipe, labels: Out) -> None:
    """Reduce label pixels to chip-level labels.

    Args:
        grid: the collection's `grid.parquet`.
        stores: `spec.json` of each label layer.
        images: of an archive the table of its images, whose classes are taken as they are; else nothing.
        recipe: when a label counts as known.
        labels: Parquet in the order of the grid: `chip_id`, one float column a label (the mean of a quantity or
            the share of a class among the known pixels; NaN where too few are known), `<layer>_coverage`, the share
            of known pixels, and of a layer of classes `<layer>_class`, the name of the most frequent one, and
            `<layer>_classes`, the names of all that are present by code, with a space between (text, so that nothing
            takes them for numbers; null where too few pixels are known). Of an archive one of these two.

    Raises:
        TerraprobeError: a store is broken, is of no label layer, or holds another number of chips than the grid.
    """
    import pandas as pd

    frame = read_table(grid)
    columns: dict[str, Any] = {"chip_id": frame["chip_id"].to_numpy()}
    for spec in stores:
        store = ChipStore.open(spec.parent)
        layer = store.label_layer
        if layer is None or len(store) != len(frame):
            raise TerraprobeError(
                f"{spec}: layer {store.layer.name} with {len(store)} chips, expected one of {', '.join(LABELS)} or an "
                f"own one with the {len(frame)} chips of {grid}."
            )
        columns.update(measure_layer(store, layer, recipe))
    for path in images:
        columns.update(_archive_classes(path, frame["chip_id"]))
    table = pd.DataFrame(columns)
    write_table(labels, table)
    progress(_summary(table, labels))


def _archive_classes(path: Path, chip_ids: Any) -> dict[str, NDArray[Any]]:
    """The class columns of an archive's images, in the order of the chips."""
    table = read_table(path).set_index("image").reindex(chip_ids)
    return {name: table[name].to_numpy(object) for name in table if name.endswith(("_class", "_classes"))}


def measure_layer(store: ChipStore, layer: LabelLayer, recipe: LabelsRecipe) -> dict[str, NDArray[Any]]:
    """The labels of one layer.

    Args:
        store: its pixels, one channel.
        layer: which numbers to make of them.
        recipe: when a label counts as known and a class as present.

    Returns:
        Label name to a float64 value a chip, `<layer>_coverage`, and where it has classes `<layer>_class` and
        `<layer>_classes`, text.
    """
    measures = layer.values  # noqa: PD011  (not a pandas object)
    coverage = np.empty(len(store))
    sums = {name: np.zeros(len(store)) for name in measures}
    counts = np.zeros((len(store), len(layer.classes)), np.intp)
    for start in range(0, len(store), _BATCH):
        chips = np.arange(start, min(start + _BATCH, len(store)))
        codes = store.digital(chips, np.zeros_like(chips)).reshape(len(chips), -1)
        known = codes != layer.nodata
        coverage[chips] = known.mean(axis=1)
        for name, value in measures.items():
            sums[name][chips] = _measured(codes, known, layer, value).sum(axis=1) / codes.shape[1]
        for place, code in enumerate(sorted(layer.classes)):
            counts[chips, place] = (known & (codes == code)).sum(axis=1)
    enough = coverage >= recipe.min_labelled
    share = np.where(enough, coverage, np.nan)
    measured = {**{name: total / share for name, total in sums.items()}, f"{layer.name}_coverage": coverage}
    if not layer.classes:
        return measured
    names = present(counts, layer, enough, recipe.min_present)
    return {**measured, layer.class_label: most_frequent(counts, layer, enough), layer.present_label: names}


def present(counts: NDArray[np.intp], layer: LabelLayer, enough: NDArray[np.bool_], least: float) -> NDArray[Any]:
    """The classes that have at least a share of a chip's known pixels.

    Args:
        counts: known pixels of each class in the order of its code, (chip, class).
        layer: whose classes.
        enough: whether enough pixels are known, (chip,).
        least: the share.

    Returns:
        Names of classes by code, with a space between, None where not enough is known, (chip,).
    """
    names = np.array([layer.classes[code] for code in sorted(layer.classes)])
    there = counts >= least * np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.array([" ".join(names[row]) if known else None for row, known in zip(there, enough, strict=True)], object)


def most_frequent(counts: NDArray[np.intp], layer: LabelLayer, enough: NDArray[np.bool_]) -> NDArray[Any]:
    """The class that most known pixels of a chip have; of several that tie, the one of the lowest code.

    Args:
        counts: known pixels of each class in the order of its code, (chip, class).
        layer: whose classes.
        enough: whether enough pixels are known, (chip,).

    Returns:
        Names of classes, None where not enough is known, (chip,).
    """
    names = np.array([layer.classes[code] for code in sorted(layer.classes)], object)
    found: NDArray[Any] = names[np.argmax(counts, axis=1)]
    found[~enough] = None
    return found


def _measured(
    codes: NDArray[Any], known: NDArray[np.bool_], layer: LabelLayer, value: LabelValue
) -> NDArray[np.float64]:
    """What each pixel adds to the label: 0 or 1 for a share, its quantity for a mean, 0 where not known."""
    if value.kind == "share":
        return np.asarray(known & (codes == value.code), np.float64)
    quantity = np.asarray(codes, np.float64).copy()
    for code, counts_as in layer.stands_for.items():
        quantity[codes == code] = counts_as
    quantity[~known] = 0
    quantity *= value.factor
    return quantity


def _summary(table: Any, path: Path) -> str:
    known = {name: int(table[name].notna().sum()) for name in table.columns[1:] if not name.endswith("_coverage")}
    return f"{path.name}: {len(table)} chips; known: " + ", ".join(f"{name} {count}" for name, count in known.items())
