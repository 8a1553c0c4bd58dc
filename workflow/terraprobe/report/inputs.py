"""What the report reads, checked and put together by collection and encoder."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from terraprobe.artifacts import read_json, read_table
from terraprobe.chips.store import ChipStore
from terraprobe.collections.chiptable import number_labels
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LABELS, MODALITIES
from terraprobe.report.notes import CollectionNote, EncoderNote

SPLITS = ("train", "val", "test", "buffer")


@dataclass(frozen=True)
class Collection:
    """A collection as the report needs it.

    Attributes:
        note: what the study says about it.
        chips: `chips.parquet`, in store order, index 0, 1, …
        labels: the numbers of `labels.parquet` in the order of `chips`; no column where there are none.
        classes: its classes, text, likewise.
        modalities: stores by modality.
        layers: stores by label layer.
        audit: `leakage.json`.
    """

    note: CollectionNote
    chips: Any
    labels: pd.DataFrame
    classes: pd.DataFrame
    modalities: dict[str, ChipStore]
    layers: dict[str, ChipStore]
    audit: dict[str, Any]

    @property
    def name(self) -> str:
        """As in the study file."""
        return self.note.name

    def in_split(self, split: str) -> pd.Series:
        """Whether each chip is in a split."""
        mask: pd.Series = self.chips["split"] == split
        return mask


@dataclass(frozen=True)
class TrainedEncoder:
    """An encoder as the report needs it; of several seeds or collections the first is drawn and all are listed.

    Attributes:
        note: what the study says about it.
        cards: `card.json` of each seed.
        histories: `history.parquet` of each seed.
        costs: `cost.json` of each seed, empty where there is none.
    """

    note: EncoderNote
    cards: tuple[dict[str, Any], ...]
    histories: tuple[pd.DataFrame, ...]
    costs: tuple[dict[str, Any], ...]

    @property
    def card(self) -> dict[str, Any]:
        """Of the first seed."""
        return self.cards[0]

    @property
    def history(self) -> pd.DataFrame:
        """Of the first seed."""
        return self.histories[0]


def read_collections(
    notes: Iterable[CollectionNote], chips: list[Path], labels: list[Path], specs: list[Path], leakage: list[Path]
) -> list[Collection]:
    """Put the files of every collection together.

    Args:
        notes: the collections, in order.
        chips: `collections/<c>/chips.parquet`.
        labels: `collections/<c>/labels.parquet`, of those that have labels.
        specs: `collections/<c>/{chips,labels}/<layer>/spec.json`.
        leakage: `collections/<c>/leakage.json`.

    Raises:
        TerraprobeError: a collection has no chips or no audit, or its tables and stores do not fit together.
    """
    chip_tables, label_tables, audits = ({p.parent.name: p for p in paths} for paths in (chips, labels, leakage))
    found = []
    for note in notes:
        for file, given in (("chips.parquet", chip_tables), ("leakage.json", audits)):
            if note.name not in given:
                raise TerraprobeError(
                    f"report: no {file} of collection {note.name}; given: {', '.join(given) or 'none'}. "
                    f"Give one {file} for every collection of the recipe."
                )
        frame = read_table(chip_tables[note.name]).reset_index(drop=True)
        if not len(frame):
            raise TerraprobeError(f"{chip_tables[note.name]}: no chips. Look at the grid of collection {note.name}.")
        stores = {kind: _stores(specs, note.name, kind, len(frame)) for kind in ("chips", "labels")}
        values, classes = _labels(label_tables.get(note.name), frame["chip_id"])
        audit = read_json(audits[note.name])
        found.append(Collection(note, frame, values, classes, stores["chips"], stores["labels"], audit))
    return found


def _stores(specs: list[Path], collection: str, kind: str, n_chips: int) -> dict[str, ChipStore]:
    order = {name: place for place, name in enumerate([*MODALITIES, *LABELS])}
    folders = [p.parent for p in specs if p.parts[-4:-2] == (collection, kind)]
    folders.sort(key=lambda folder: (order.get(folder.name, len(order)), folder.name))  # own label layers last
    stores = {folder.name: ChipStore.open(folder) for folder in folders}
    for name, store in stores.items():
        if len(store) != n_chips:
            raise TerraprobeError(
                f"{store.folder}: {len(store)} chips of {name}, but {n_chips} rows in chips.parquet of {collection}. "
                f"Delete {store.folder / 'spec.json'} and run Snakemake again."
            )
    return stores


def _labels(path: Path | None, chip_ids: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Numbers, and classes."""
    if path is None:
        return pd.DataFrame(index=chip_ids.index), pd.DataFrame(index=chip_ids.index)
    table = read_table(path).set_index("chip_id").reindex(chip_ids).reset_index(drop=True)
    numbers = table[number_labels(table)]
    return numbers, table.select_dtypes(exclude="number")


def read_encoders(notes: Iterable[EncoderNote], cards: list[Path], histories: list[Path]) -> list[TrainedEncoder]:
    """Put the files of every encoder together.

    Args:
        notes: the encoders, in order.
        cards: `encoders/<e>/card.json`; what the training took stands beside it, `cost.json`.
        histories: `encoders/<e>/history.parquet`.

    Raises:
        TerraprobeError: an encoder lacks one of them, or its history is empty.
    """
    card_of, history_of = ({p.parent.name: p for p in paths} for paths in (cards, histories))
    found = []
    for note in notes:
        for file, given in (("card.json", card_of), ("history.parquet", history_of)):
            absent = [run for run in note.runs if run not in given]
            if absent:
                raise TerraprobeError(
                    f"report: no {file} of encoder {absent[0]}; given: {', '.join(given) or 'none'}. "
                    f"Give one {file} for every encoder of the recipe."
                )
        runs = [(read_json(card_of[run]), _history(history_of[run])) for run in note.runs]
        costs = tuple(_cost(card_of[run].with_name("cost.json")) for run in note.runs)
        found.append(
            TrainedEncoder(note, tuple(card for card, _ in runs), tuple(history for _, history in runs), costs)
        )
    return found


def by_arm(encoders: Iterable[TrainedEncoder]) -> list[TrainedEncoder]:
    """One for each arm that was trained with one recipe on several collections, and the others as they are.

    Its first encoder is drawn, like the first of several seeds, and all are listed.
    """
    arms: dict[str, list[TrainedEncoder]] = {}
    for encoder in encoders:
        note, card = encoder.note, encoder.card
        same = json.dumps([note.arm, card["method"], card["recipe"]], sort_keys=True) if note.arm else note.name
        arms.setdefault(same, []).append(encoder)
    return [_as_one(members) for members in arms.values()]


def _as_one(members: list[TrainedEncoder]) -> TrainedEncoder:
    first = members[0].note
    if len(members) == 1:
        return members[0]
    note = first.model_copy(
        update={
            "name": first.arm,
            "title": first.title.replace(first.name, first.arm, 1),
            "collections": tuple(dict.fromkeys(c for m in members for c in m.note.collections)),
            "data": f"{first.data} and, one by one, {len(members) - 1} more",
            "members": tuple(run for m in members for run in m.note.runs),
        }
    )
    cards, histories, costs = ([one for m in members for one in getattr(m, part)]
                               for part in ("cards", "histories", "costs"))  # fmt: skip
    return TrainedEncoder(note, tuple(cards), tuple(histories), tuple(costs))


def _cost(path: Path) -> dict[str, Any]:
    """What a training took. No input of the stage: its bytes differ between equal runs, and records hold inputs."""
    cost: dict[str, Any] = read_json(path) if path.is_file() else {}
    return cost


def _history(path: Path) -> pd.DataFrame:
    history: pd.DataFrame = read_table(path)
    if not len(history):
        raise TerraprobeError(f"{path}: no steps. Delete it and run Snakemake again.")
    return history
