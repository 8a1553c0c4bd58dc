"""What one forest sees: a task, a feature set, the chips of a draw and the chips it is judged on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.probes.episodes import draw_stratified, draw_uniform, episode_order
from terraprobe.probes.features import FeatureSet, read_chips, read_feature_sets, read_labels
from terraprobe.probes.tasks import Task, classify, define_task


@dataclass(frozen=True)
class Bench:
    """Everything an evaluation reads, restricted to some splits.

    Attributes:
        chips: of `read_chips`.
        labels: of `read_labels`.
        sets: of `read_feature_sets`.
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
        embeddings: Sequence[Path],
        chips: Path,
        labels: Path,
        *,
        splits: Sequence[str],
        tasks: Sequence[str],
        seed: int,
        stratified: bool,
        permuted: bool,
    ) -> "Bench":
        """Read the rows of the given splits; rows of any other split never reach memory."""
        kept = read_chips(chips, splits)
        values = read_labels(labels, kept, tasks)
        if permuted:
            place = permute_blocks(kept, seed)
            values = {task: column[place] for task, column in values.items()}
        return cls(kept, values, read_feature_sets(embeddings, kept), seed, stratified)

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
