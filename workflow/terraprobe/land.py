"""One collection as an encoder reads it: its table, its stores, and what of it can enter each tower."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import read_table
from terraprobe.chips.store import MIN_VALID, ChipStore
from terraprobe.collections.chiptable import read_context
from terraprobe.conditioning import Places
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.normalisation import TowerInput
from terraprobe.stage import progress


@dataclass(frozen=True)
class Land:
    """A collection.

    Attributes:
        name: as in the study file.
        table: a row a chip.
        stores: modality to pixels.
        context: values of `CONTEXT`, (chip, 20); None where no encoder asked for them.
    """

    name: str
    table: Any
    stores: dict[str, ChipStore]
    context: NDArray[np.float64] | None

    @classmethod
    def open(cls, name: str, chips: Path, stores: Sequence[Path], context: Sequence[Path]) -> "Land":
        """Open a collection.

        Args:
            name: as in the study file.
            chips: `chips.parquet`.
            stores: `spec.json` of its modalities.
            context: its `context.parquet`, or nothing.

        Raises:
            TerraprobeError: a store holds another number of chips, or a file is broken.
        """
        table = read_table(chips)
        opened = {}
        for spec in stores:
            store = ChipStore.open(spec.parent)
            if len(store) != len(table):
                raise TerraprobeError(
                    f"{store.folder}: {len(store)} chips, but {chips} has {len(table)}. Delete the store and run again."
                )
            opened[store.layer.name] = store
        return cls(name, table, opened, read_context(context[0], table["chip_id"].to_numpy()) if context else None)

    def entering(self, tower: TowerInput) -> NDArray[np.float64] | None:
        """Context that enters a tower for each chip, (chip, values); None where there is none."""
        if self.context is None or tower.context is None:
            return self.context
        return tower.context.enter(Places(self.table, self.context))

    def usable(self, encoder: Encoder) -> dict[str, NDArray[np.bool_]]:
        """Which (chip, sample) can go through each tower of an encoder; a tower without any is absent.

        Raises:
            TerraprobeError: no tower reads a modality of the collection, or no chip can go through any.
        """
        fitting = encoder.fitting_towers(set(self.stores))
        if not fitting:
            reads = ", ".join(sorted({tower.modality for tower in encoder.inputs.values()}))
            raise TerraprobeError(
                f"encoder {encoder.name} reads {reads}, but collection {self.name} has {', '.join(self.stores)}. "
                "Add one of these modalities to the collection, or do not embed it with this encoder."
            )
        found = {}
        for name in fitting:
            wanted = encoder.inputs[name]
            store = self.stores[wanted.modality]
            usable = wanted.samples(store.valid[:, encoder.columns(name, store)] >= MIN_VALID)
            if wanted.context is not None and self.context is not None:
                usable &= np.isfinite(wanted.context.climate(self.context)).all(axis=1, keepdims=True)
            if usable.any():
                found[name] = usable
        if not found:
            raise TerraprobeError(
                f"encoder {encoder.name}, collection {self.name}: no chip has a usable channel, one with at least "
                f"{MIN_VALID:.0%} valid pixels (all bands of a tower that takes whole chips, all values of one that "
                f"takes context), of any tower ({', '.join(fitting)}). Look at the valid shares of the stores, or do "
                "not embed the collection with this encoder."
            )
        empty = [name for name in fitting if name not in found]
        if empty:
            progress(
                f"embed {self.name} with {encoder.name}: no chip has a usable channel of {', '.join(empty)}; "
                "embedded without"
            )
        return found
