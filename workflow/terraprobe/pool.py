"""The chips that one job reads: several collections and their stores behind one index."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import digest
from terraprobe.chips.store import MIN_VALID, ChipStore, StoreLayer
from terraprobe.collections.chiptable import CONTEXT, read_chips, read_classes, read_context
from terraprobe.conditioning import ContextScale, Places
from terraprobe.errors import TerraprobeError

PRELOAD_SHARE = 0.5
"""Of the machine's memory: pixels that take more could push each other out before they are read."""


class ChipPool:
    """Chips of one or more collections; chip i is row i of their tables, one after the other.

    Attributes:
        collections: names, in order.
        chip_ids: (chip,).
        split: `train`, `val`, `test` or `buffer`, (chip,).
        layers: modality to what its pixels mean.
        chip_px: side of the chips.
        context: values of `CONTEXT`, (chip, 20), NaN where one is not known.
        classes: name of each train and validation chip's class, empty where it is not known or was not asked for,
            (chip,). Those of other chips are never read.
    """

    def __init__(
        self,
        chips: Sequence[Path],
        stores: Sequence[Path],
        context: Sequence[Path] = (),
        labels: Sequence[Path] = (),
        label: str = "",
    ) -> None:
        tables = [_read_chips(path) for path in chips]
        self.collections = [path.parent.name for path in chips]
        self.chip_ids: NDArray[Any] = np.concatenate([t[0] for t in tables])
        self.split: NDArray[Any] = np.concatenate([t[1] for t in tables])
        self._starts = np.concatenate([[0], np.cumsum([len(t[0]) for t in tables])])
        self._stores: list[dict[str, ChipStore]] = [{} for _ in chips]
        self.layers: dict[str, StoreLayer] = {}
        for spec in stores:
            self._add(ChipStore.open(spec.parent), list(chips))
        self.context = self._read_context(chips, context)
        self.classes = self._read_classes(chips, labels, label)
        self._chips = list(chips)
        self._entering: tuple[ContextScale, NDArray[np.float64]] | None = None

    def _read_classes(self, chips: Sequence[Path], labels: Sequence[Path], label: str) -> NDArray[Any]:
        found = np.full(len(self), "", object)
        for path in labels:
            rows = self._rows(self._place(path, path.parent, chips))
            learnt = np.isin(self.split[rows], ("train", "val"))
            found[rows][learnt] = read_classes(path, label, self.chip_ids[rows][learnt])
        return found.astype(str)

    @cached_property
    def places(self) -> list[Places]:
        """The chips of each collection as context sees them."""
        parts = [self._rows(place) for place in range(len(self.collections))]
        return [Places(read_chips(path), self.context[rows]) for path, rows in zip(self._chips, parts, strict=True)]

    def entering(self, scale: ContextScale) -> NDArray[np.float64]:
        """Context that enters for each chip, (chip, values): its climate, or a control made of each collection."""
        if scale.kind == "real":
            return scale.climate(self.context)
        if self._entering is None or self._entering[0] != scale:
            self._entering = scale, np.concatenate([scale.enter(place) for place in self.places])
        return self._entering[1]

    def _read_context(self, chips: Sequence[Path], context: Sequence[Path]) -> NDArray[np.float64]:
        unknown = np.broadcast_to(np.nan, (len(self), len(CONTEXT)))  # takes no memory
        values = unknown.copy() if context else unknown
        for path in context:
            rows = self._rows(self._place(path, path.parent, chips))
            values[rows] = read_context(path, self.chip_ids[rows])
        return values

    def _place(self, what: Path, home: Path, chips: Sequence[Path]) -> int:
        """Which collection a file or folder belongs to, by the collection's folder."""
        homes = [path.parent for path in chips]
        if home not in homes:
            raise TerraprobeError(
                f"{what}: belongs to none of the collections {', '.join(self.collections)}. Give the "
                f"chips.parquet that lies in {home}."
            )
        return homes.index(home)

    def _rows(self, place: int) -> slice:
        return slice(int(self._starts[place]), int(self._starts[place + 1]))

    def _add(self, store: ChipStore, chips: list[Path]) -> None:
        place = self._place(store.folder, store.folder.parent.parent, chips)
        rows = self._rows(place)
        expected = rows.stop - rows.start
        if len(store) != expected:
            raise TerraprobeError(
                f"{store.folder}: {len(store)} chips, but {chips[place]} has {expected}. Delete the store and run "
                "Snakemake again."
            )
        name = store.layer.name
        self._check_alike(store)
        self.layers.setdefault(name, store.layer)
        self._stores[place][name] = store

    def _check_alike(self, store: ChipStore) -> None:
        known = self.layers.get(store.layer.name)
        if known is not None and known != store.layer:
            raise TerraprobeError(
                f"{store.folder}: {store.layer}, but another collection of this job holds {known}. One encoder needs "
                "one unit, scale and band list for each modality."
            )
        sides = {s.chip_px for held in self._stores for s in held.values()}
        if sides - {store.chip_px}:
            raise TerraprobeError(
                f"{store.folder}: chips of {store.chip_px} px, another store of this job has {sides.pop()} px. "
                "Give every collection of an encoder the same chip_px."
            )
        self.chip_px: int = store.chip_px

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def _usable(self) -> dict[str, NDArray[np.bool_]]:
        found = {}
        for name in self.layers:
            held = [stores.get(name) for stores in self._stores]
            table = np.zeros((len(self), max(s.channels for s in held if s is not None)), np.bool_)
            for start, store in zip(self._starts, held, strict=False):
                if store is not None:
                    table[start : start + len(store), : store.channels] = store.valid >= MIN_VALID
            found[name] = table
        return found

    def usable(self, modality: str) -> NDArray[np.bool_]:
        """Which channels of a modality can be drawn, (chip, channel); none where a collection lacks it."""
        return self._usable[modality]

    def usable_chips(self, split: str, eligible: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Chips of a split that a loss can use.

        Args:
            split: which.
            eligible: what the loss can use, (chip,).

        Raises:
            TerraprobeError: there are fewer than two.
        """
        chips = np.flatnonzero((self.split == split) & eligible)
        if len(chips) < 2:
            raise TerraprobeError(
                f"{', '.join(self.collections)}: {len(chips)} usable {split} chips of "
                f"{int((self.split == split).sum())}, at least 2 are needed. Look at the split's shares, at the valid "
                "shares of the stores and, where classes are learnt, at the labels."
            )
        return chips

    def digital(self, modality: str, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """One (chip, channel) pair a row: integer DN (B, chip_px, chip_px)."""
        places = np.searchsorted(self._starts, chips, side="right") - 1
        if len(self._stores) == 1 or (len(chips) and (places == places[0]).all()):
            home = int(places[0]) if len(chips) else 0
            return self._stores[home][modality].digital(chips - self._starts[home], channels)
        out = np.empty((len(chips), self.chip_px, self.chip_px), self.layers[modality].dtype)
        for place in np.unique(places):
            rows = np.flatnonzero(places == place)
            out[rows] = self._stores[place][modality].digital(chips[rows] - self._starts[place], channels[rows])
        return out

    def preload(self) -> None:
        """Read every store once, in the order of the disk, where they take at most half of the memory.

        Shuffled epochs then read memory (docs/benchmarks.md). Larger pools are read as they are asked for.
        """
        stores = [store for held in self._stores for store in held.values()]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if sum(store.nbytes for store in stores) <= memory * PRELOAD_SHARE:
            for store in stores:
                store.preload()

    def content_digest(self) -> dict[str, Any]:
        """Per collection, digests of the pixels of each store, the split, and context and classes where it has them."""
        found: dict[str, Any] = {}
        for place, name in enumerate(self.collections):
            rows = self._rows(place)
            found[name] = {
                "split": digest([self.chip_ids[rows].tolist(), self.split[rows].tolist()]),
                "stores": {m: s.content_digest() for m, s in sorted(self._stores[place].items())},
            }
            if np.isfinite(self.context[rows]).any():
                found[name]["context"] = hashlib.sha256(self.context[rows].tobytes()).hexdigest()
            if (self.classes[rows] != "").any():
                found[name]["classes"] = digest(self.classes[rows].tolist())
        return found


def _read_chips(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ids and splits of a `chips.parquet`. Read without its geometry: GeoPandas takes a second to import."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["chip_id", "split"])
        ids, split = (np.array(table[name].to_pylist(), dtype=str) for name in ("chip_id", "split"))
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise TerraprobeError(
            f"{path}: not a table of chips with chip_id and split ({error}). Delete it and run again."
        ) from error
    return ids, split
