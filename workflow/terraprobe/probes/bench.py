"""What one forest sees: a task, a feature set, the chips of a draw and the chips it is judged on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.errors import TerraprobeError
from terraprobe.probes.episodes import draw_stratified, draw_uniform, episode_order
from terraprobe.probes.features import FeatureSet, merge_feature_sets, read_chips, read_feature_sets, read_labels
from terraprobe.probes.tasks import Task, classify, define_task


@dataclass(frozen=True)
class Source:
    """What is read of one collection.

    Attributes:
        embeddings: files of embeddings, floors or both.
        chips: `chips.parquet`.
        labels: `labels.parquet`.
        splits: that are read; rows of any other split never reach memory.
    """

    embeddings: Sequence[Path]
    chips: Path
    labels: Path
    splits: Sequence[str]


@dataclass(frozen=True)
class Bench:
    """Everything an evaluation reads, of one collection or several.

    Attributes:
        chips: of `read_chips`, of all collections, ordered by `chip_id`.
        labels: of `read_labels`, in the order of `chips`.
        sets: of `read_feature_sets`; those of one key are one set, whatever collections its chips are from.
        seed: of the evaluation.
        stratified: whether draws alternate classes.
    """

    chips: pd.DataFrame
    labels: dict[str, NDArray[np.float64]]
    sets: list[FeatureSet]
    seed: int
    stratified: bool

    @classmethod
    def load(
        cls,
        sources: Sequence[Source],
        *,
        tasks: Sequence[str],
        seed: int,
        stratified: bool,
        permuted: bool,
    ) -> "Bench":
        """Read collections.

        Raises:
            TerraprobeError: a file is broken, ground is in two collections, or an encoder's weights differ.
        """
        tables = [read_chips(source.chips, source.splits) for source in sources]
        labels = [read_labels(s.labels, table, tasks) for s, table in zip(sources, tables, strict=True)]
        sets = [read_feature_sets(s.embeddings, table) for s, table in zip(sources, tables, strict=True)]
        chips = pd.concat(tables, ignore_index=True)
        order = chips["chip_id"].argsort(kind="stable").to_numpy()
        chips = chips.iloc[order].reset_index(drop=True)
        _check_once(chips["chip_id"], sources)
        place = pd.Index(chips["chip_id"])
        moved = [
            replace(one, chips=place.get_indexer(table["chip_id"].iloc[one.chips]))
            for table, group in zip(tables, sets, strict=True)
            for one in group
        ]
        values = {task: np.concatenate([part[task] for part in labels])[order] for task in tasks}
        if permuted:
            source_row = permute_blocks(chips, seed)
            values = {task: column[source_row] for task, column in values.items()}
        return cls(chips, values, merge_feature_sets(moved), seed, stratified)

    def rows(self, split: str) -> NDArray[np.intp]:
        """Row numbers of the chips of a split, ascending in `chip_id`."""
        return np.flatnonzero((self.chips["split"] == split).to_numpy())

    def task(self, name: str) -> Task:
        """Pose a task from the train labels."""
        return define_task(name, self.labels[name][self.rows("train")])


def permute_blocks(chips: pd.DataFrame, seed: int) -> NDArray[np.intp]:
    """Give each block the place of another block of its split: labels keep their neighbours and lose their land.

    Args:
        chips: of `read_chips`.
        seed: of the evaluation. A split's permutation depends on the seed, its name and its own blocks alone.

    Returns:
        Row whose label each chip takes, (n_chips,). Within a block the chips follow one another in the order of
        their ids; where the other block is smaller, its chips are taken again from the first.
    """
    source = np.empty(len(chips), np.intp)
    names = chips["block"].to_numpy()
    for split in sorted(set(chips["split"])):
        inside = (chips["split"] == split).to_numpy()
        blocks = [np.flatnonzero(inside & (names == block)) for block in sorted(set(names[inside]))]
        stream = np.random.SeedSequence([seed, *split.encode()])
        order = np.random.Generator(np.random.PCG64(stream)).permutation(len(blocks))
        for block, other in zip(blocks, order, strict=True):
            source[block] = np.resize(blocks[other], len(block))
    return source


def _check_once(chip_ids: "pd.Series[str]", sources: Sequence[Source]) -> None:
    twice = chip_ids[chip_ids.duplicated()]
    if len(twice):
        raise TerraprobeError(
            f"{', '.join(str(source.chips) for source in sources)}: {len(twice)} chips are in two of them "
            f"({twice.iloc[0]}, for one), so what is learnt on one would be known on the other. "
            "Evaluate on collections whose ground does not overlap."
        )


class Problem:
    """One task on one feature set.

    Attributes:
        task: name of the task.
        features: the feature set.
        positive: class of each chip of the bench, (n_chips,).
        known: whether its label is known, (n_chips,).
    """

    def __init__(self, bench: Bench, features: FeatureSet, task: str, threshold: float) -> None:
        self.bench = bench
        self.task = task
        self.features = features
        self.positive, self.known = classify(bench.labels[task], threshold)
        self._place = np.full(len(bench.chips), -1, np.intp)
        self._place[features.chips] = np.arange(len(features.chips))

    def labelled(self, split: str) -> NDArray[np.intp]:
        """Chips of a split with features and a label."""
        rows = self.bench.rows(split)
        return rows[(self._place[rows] >= 0) & self.known[rows]]

    def unlabelled(self, split: str) -> int:
        """Number of chips of a split that have features and no label."""
        rows = self.bench.rows(split)
        return int(((self._place[rows] >= 0) & ~self.known[rows]).sum())

    @cached_property
    def train(self) -> NDArray[np.intp]:
        """Train chips with features and a label."""
        return self.labelled("train")

    @cached_property
    def test(self) -> NDArray[np.intp]:
        """Test chips with features and a label; empty where the bench was loaded without the test split."""
        return self.labelled("test")

    @cached_property
    def test_digest(self) -> str:
        """Digest of the ids of the test chips: equal where two scores stand on the same chips."""
        ids = "\n".join(self.bench.chips["chip_id"].iloc[self.test])
        return hashlib.sha256(ids.encode()).hexdigest()[:16]

    def draw(self, episode: int, n: int) -> NDArray[np.intp]:
        """Train chips of an episode's draw of `n`."""
        rows = self.bench.rows("train")
        order = episode_order(len(rows), self.bench.seed, episode)
        available = (self._place[rows] >= 0) & self.known[rows]
        if self.bench.stratified:
            return rows[draw_stratified(order, available, self.positive[rows])[:n]]
        return rows[draw_uniform(order, available)[:n]]

    def x(self, chips: NDArray[np.intp]) -> NDArray[np.float32]:
        """Features of chips, (n, n_features)."""
        return self.features.matrix[self._place[chips]]
