"""A collection whose pixels have classes: what is known of each pixel, and which chips are learnt from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terraprobe.chips.store import ChipStore
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.modalities import LabelLayer

UNKNOWN = 255
"""Class of a pixel that is neither learnt nor judged."""

_BATCH = 256
_HIGHEST = 255  # of a byte
_LEAST = 2  # of chips: a norm needs more than one


@dataclass(frozen=True)
class LabelledLand:
    """A collection and the classes of its pixels.

    Attributes:
        land: its chips.
        labels: store of the label layer.
        classes: names, in the order of their numbers.
        codes: one of each, for maps: the layer's own where each class has a single one from 1 to 255, else 1, 2, ….
        strata: layer whose classes divide the pixels, None where they are not divided.
        number: code of the layer to number of its class, `UNKNOWN` where it has none, (65536,).
    """

    land: Land
    labels: ChipStore
    classes: tuple[str, ...]
    codes: list[int]
    number: NDArray[np.uint8]
    strata: ChipStore | None = None

    @classmethod
    def open(
        cls, land: Land, spec: Path, classes: Mapping[str, Sequence[str]], strata: Sequence[Path] = ()
    ) -> "LabelledLand":
        """Open the label layer of a collection.

        Args:
            land: the collection.
            spec: `spec.json` of the label store.
            classes: name to the layer's classes that it stands for.
            strata: `spec.json` of a layer whose classes divide the pixels, or nothing.

        Raises:
            TerraprobeError: the store is broken, of no layer of classes, holds another number of chips, or lacks a
                class.
        """
        labels, layer = _open_classes(land, spec)
        divided = [_open_classes(land, path)[0] for path in strata]
        codes = {name: code for code, name in layer.classes.items()}
        absent = [member for named in classes.values() for member in named if member not in codes]
        if absent:
            raise TerraprobeError(f"{spec}: no class {absent[0]}; the layer has {', '.join(codes)}. Name one of these.")
        ordered = sorted(classes, key=lambda name: min(codes[member] for member in classes[name]))
        number = np.full(1 << 16, UNKNOWN, np.uint8)
        for place, name in enumerate(ordered):
            number[[codes[member] for member in classes[name]]] = place
        own = [[codes[member] for member in classes[name]] for name in ordered]
        single = all(len(held) == 1 and 0 < held[0] <= _HIGHEST for held in own)
        given = [held[0] for held in own] if single else [*range(1, len(ordered) + 1)]
        return cls(land, labels, tuple(ordered), given, number, divided[0] if divided else None)

    def truth(self, chips: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Number of each pixel's class, `UNKNOWN` where it has none, (chip, y, x)."""
        numbers: NDArray[np.uint8] = self.number[self.labels.digital(chips, np.zeros_like(chips))]
        return numbers

    @cached_property
    def strata_names(self) -> list[str]:
        """Names of the strata, the first, empty, for pixels of none."""
        layer = self.strata.label_layer if self.strata else None
        return ["", *(layer.classes[code] for code in sorted(layer.classes))] if layer else [""]

    def counts(self, chips: NDArray[np.intp], called: NDArray[np.uint8]) -> NDArray[np.int64]:
        """How many known pixels of each class were called each class.

        Args:
            chips: (chip,).
            called: number of the class that every pixel was called, (chip, y, x).

        Returns:
            (stratum, chip, class, called class).
        """
        truth = self.truth(chips)
        if self.strata is None:
            return count_pixels(truth, called, len(self.classes))[None]
        codes = self.strata.digital(chips, np.zeros_like(chips))
        layer = self.strata.label_layer
        known = sorted(layer.classes) if layer else []
        own = [codes == code for code in known]
        parts = [~np.isin(codes, known), *own]
        return np.stack(
            [count_pixels(np.where(part, truth, UNKNOWN).astype(np.uint8), called, len(self.classes)) for part in parts]
        )

    def labelled(self, split: str) -> NDArray[np.intp]:
        """Chips of a split with at least one known pixel, ascending; the labels of no other split are read."""
        rows = np.flatnonzero(self.land.table["split"].to_numpy(str) == split)
        found = [self.truth(rows[k : k + _BATCH]) != UNKNOWN for k in range(0, len(rows), _BATCH)]
        known = np.concatenate([part.any(axis=(1, 2)) for part in found]) if found else np.zeros(0, np.bool_)
        return rows[known]

    @cached_property
    def train(self) -> NDArray[np.intp]:
        """Labelled train chips.

        Raises:
            TerraprobeError: there is none.
        """
        rows = self.labelled("train")
        if not len(rows):
            raise TerraprobeError(
                f"collection {self.land.name}: no train chip has a pixel of {', '.join(self.classes)} in "
                f"{self.labels.folder}. Look at the split and at the label layer."
            )
        return rows

    def drawn(self, seen: NDArray[np.bool_], size: int, seed: int, repeat: int) -> NDArray[np.intp] | None:
        """Train chips of one draw: the smaller one of two sizes is part of the larger.

        Args:
            seen: which chips the probe can see, (chip,).
            size: how many; 0 is all of them.
            seed: of the draws.
            repeat: which one.

        Returns:
            Rows in drawing order; None where there are not so many, or fewer than two.
        """
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, repeat])))
        order: NDArray[np.intp] = rng.permutation(self.train)
        order = order[seen[order]]
        if len(order) < max(size, _LEAST):
            return None
        return order[:size] if size else order


def _open_classes(land: Land, spec: Path) -> tuple[ChipStore, LabelLayer]:
    labels = ChipStore.open(spec.parent)
    layer = labels.label_layer
    if layer is None or not layer.classes or len(labels) != len(land.table):
        raise TerraprobeError(
            f"{spec}: layer {labels.layer.name} with {len(labels)} chips, expected pixel classes of the "
            f"{len(land.table)} chips of {land.name}. Give the store of a layer of classes of that collection."
        )
    return labels, layer


def count_pixels(truth: NDArray[np.uint8], called: NDArray[np.uint8], n_classes: int) -> NDArray[np.int64]:
    """How many known pixels of each class were called each class.

    Args:
        truth: (chip, y, x), `UNKNOWN` where a pixel is not judged.
        called: the same shape.
        n_classes: number of classes.

    Returns:
        (chip, class, called class).
    """
    chips, *_ = known = np.nonzero(truth != UNKNOWN)
    cells = (chips * n_classes + truth[known]) * n_classes + called[known]
    counts = np.bincount(cells, minlength=len(truth) * n_classes**2)
    return counts.reshape(len(truth), n_classes, n_classes)
