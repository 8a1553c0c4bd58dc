"""The score rows of an evaluation and the counts behind them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.metrics import COUNTS, METRICS, block_counts
from terraprobe.probes.bench import Bench, Problem
from terraprobe.probes.features import KEYS
from terraprobe.statistics import block_weights, interval, resample

NO_EPISODE = -1
"""`episode_seed` of a row that says why a size or a task has no score."""

FOREST_KEY = ("evaluation", "collection", *KEYS, "task", "n_shots", "episode_seed")
"""Columns that name one forest, in the scores and in the counts per block."""

_UNSCORED = {"n_train": 0, "trees": 0, "depth": 0, "constant": False, "value": np.nan, "low": np.nan, "high": np.nan}


@dataclass(frozen=True)
class Setting:
    """What one forest was trained with.

    Attributes:
        n_shots: size, 0 for all train chips.
        episode: number of the repeat.
        n_train: chips that it saw.
        trees: number of trees, 0 for the majority class.
        depth: deepest level, 0 for the majority class.
        constant: whether the draw held one class only.
    """

    n_shots: int
    episode: int
    n_train: int
    trees: int
    depth: int
    constant: bool


class ScoreBook:
    """Collects scores.

    Columns of the score table: `FOREST_KEY`; `encoder_sha256`; `n_train, n_test, n_blocks` chips drawn, test chips
    and their blocks; `n_unlabelled` test chips left out for want of a label; `metric, value, low, high` with a
    95 % interval over blocks of test chips (not over draws); `majority`, the value of the constant majority class
    of all train chips on the same test chips; `balanced`, whether the task is; `primary`, whether the task is judged
    by this metric; `trees, depth, constant`; `test_set`, a digest of the test chips; `note`, why there is no value.
    """

    def __init__(self, bench: Bench, evaluation: str, collection: str, resamples: int) -> None:
        self._name = {"evaluation": evaluation, "collection": collection}
        test = bench.chips["block"].iloc[bench.rows("test")]
        self._block_names = sorted(set(test))
        self._block_of = pd.Index(self._block_names).get_indexer(bench.chips["block"])
        self._weights = block_weights(len(self._block_names), resamples, bench.seed)
        self._rows: list[dict[str, Any]] = []
        self._counts: list[tuple[dict[str, Any], NDArray[np.float64]]] = []

    def add(self, problem: Problem, task: dict[str, Any], setting: Setting, called: NDArray[np.bool_]) -> None:
        """Score one forest.

        Args:
            problem: its task and features.
            task: entry of the selection file.
            setting: what it was trained with.
            called: its prediction for the labelled test chips of the problem, (n_test,).
        """
        test = problem.test
        truth, block = problem.positive[test], self._block_of[test]
        n_blocks = len(self._block_names)
        counts = block_counts(truth, called, block, n_blocks)
        constant = np.full(len(test), problem.positive[problem.train].mean() > 0.5)
        majority = block_counts(truth, constant, block, n_blocks).sum(axis=0)
        key = self._key(problem, setting.n_shots, setting.episode)
        self._counts.append((key, counts))
        for metric, function in METRICS.items():
            value = float(function(counts.sum(axis=0)))
            low, high = interval(resample(function, counts, self._weights))
            self._rows.append(
                {
                    **self._describe(problem, task, key, metric),
                    "n_train": setting.n_train,
                    "trees": setting.trees,
                    "depth": setting.depth,
                    "constant": setting.constant,
                    "value": value,
                    "low": low,
                    "high": high,
                    "majority": float(function(majority)),
                    "note": f"the test chips are of one class: no {metric}" if np.isnan(value) else "",
                }
            )

    def refuse(self, problem: Problem, task: dict[str, Any], n_shots: int, note: str) -> None:
        """Record that a size or a task has no score, and why."""
        key = self._key(problem, n_shots, NO_EPISODE)
        for metric in METRICS:
            described = self._describe(problem, task, key, metric)
            self._rows.append({**described, **_UNSCORED, "majority": np.nan, "note": note})

    def _key(self, problem: Problem, n_shots: int, episode: int) -> dict[str, Any]:
        where = {**self._name, **problem.features.key, "task": problem.task}
        return {**where, "n_shots": n_shots, "episode_seed": episode}

    def _describe(self, problem: Problem, task: dict[str, Any], key: dict[str, Any], metric: str) -> dict[str, Any]:
        return {
            **key,
            "encoder_sha256": problem.features.encoder_sha256,
            "n_test": len(problem.test),
            "n_blocks": len(np.unique(self._block_of[problem.test])),
            "n_unlabelled": problem.unlabelled("test"),
            "metric": metric,
            "balanced": task["balanced"],
            "primary": metric == task["metric"],
            "test_set": problem.test_digest,
        }

    def scores(self) -> pd.DataFrame:
        """One row per forest and metric, and one per size or task without a score."""
        frame = pd.DataFrame(self._rows)
        last = ["trees", "depth", "constant", "test_set", "note"]
        return frame[[c for c in frame.columns if c not in last] + last]

    def blocks(self) -> pd.DataFrame:
        """Counts of each forest per block that holds a test chip: `FOREST_KEY, block` and `metrics.COUNTS`."""
        if not self._counts:
            return pd.DataFrame(columns=[*FOREST_KEY, "block", *COUNTS])
        counts = np.stack([c for _, c in self._counts])
        forest, block = np.nonzero(counts[..., 2:].sum(axis=-1))
        frame = pd.DataFrame([key for key, _ in self._counts]).iloc[forest].reset_index(drop=True)
        frame["block"] = np.array(self._block_names, object)[block]
        frame[list(COUNTS)] = counts[forest, block].astype(np.int64)
        return frame
