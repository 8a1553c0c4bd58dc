"""The optimism gap: what a random split would have promised beyond the spatial one.

The same frozen features and forest settings, on the same chips dealt at random into train, val and test of the same
sizes. Neighbours then stand on both sides; what the score gains is leakage, not knowledge.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.metrics import METRICS, block_counts
from terraprobe.probes.bench import Bench, Problem
from terraprobe.probes.features import KEYS

COLUMNS = (
    "evaluation", "collection", *KEYS, "task", "metric", "n_train", "n_test", "value_random", "value_spatial", "gap",
)  # fmt: skip
"""Columns of the table: `n_train, n_test` of the random deal, `gap` = `value_random` - `value_spatial`."""

GAP_KEY = COLUMNS[:7]
"""Columns that name one gap."""

_DEAL = 3  # no other stream of random numbers of a seed: those of episodes have three words

Judge = Callable[[Problem, int, int], NDArray[np.bool_]]
"""Train on an episode's draw of so many chips of a problem and call its test chips."""


def deal_at_random(bench: Bench) -> Bench:
    """The bench with its chips dealt anew: splits of the same sizes, chip by chip.

    The deal depends on the seed and the chips alone, so it is the same for every encoder, floor and feature set.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([bench.seed, _DEAL])))
    split = bench.chips["split"].to_numpy()[rng.permutation(len(bench.chips))]
    return replace(bench, chips=bench.chips.assign(split=split))


def optimism_row(problem: Problem, dealt: Bench, task: Mapping[str, Any], judge: Judge) -> dict[str, Any]:
    """Score one task on one feature set under both splits, with all train chips.

    Both values are of the first episode's forest, so that they differ in the split alone.

    Args:
        problem: the task on the feature set, with the collection's own split.
        dealt: of `deal_at_random`.
        task: entry of the selection file; its threshold holds for the collection's own split, the random deal has
            that of its own train chips.
        judge: trains and calls.

    Returns:
        `KEYS` and the columns from `task` on; NaN where a side has no chips or its test chips are of one class.
    """
    name, metric = str(task["name"]), str(task["metric"])
    random = Problem(dealt, problem.features, name, dealt.task(name).threshold)
    value_random, value_spatial = (_value(one, metric, judge) for one in (random, problem))
    return {
        **problem.features.key,
        "task": name,
        "metric": metric,
        "n_train": len(random.train),
        "n_test": len(random.test),
        "value_random": value_random,
        "value_spatial": value_spatial,
        "gap": value_random - value_spatial,
    }


def _value(problem: Problem, metric: str, judge: Judge) -> float:
    test = problem.test
    if not len(problem.train) or not len(test):
        return float("nan")
    called = judge(problem, 0, len(problem.train))
    counts = block_counts(problem.positive[test], called, np.zeros(len(test), np.intp), 1)[0]
    return float(METRICS[metric](counts))


def optimism_table(rows: list[dict[str, Any]], evaluation: str, collection: str) -> pd.DataFrame:
    """Rows of `optimism_row` as a table with `COLUMNS`, which may be empty."""
    return pd.DataFrame([{"evaluation": evaluation, "collection": collection, **row} for row in rows], columns=COLUMNS)
