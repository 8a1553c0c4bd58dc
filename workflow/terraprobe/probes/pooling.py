"""Several evaluations as one: paired differences over worlds, tasks and seeds, with intervals over their blocks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.probes.summary import Point, Samples, rivals_of, sample_key
from terraprobe.stage import Recipe
from terraprobe.statistics import holm, interval, p_value

ALL_TASKS = ""
"""Stands in `task` for all balanced tasks together."""


class PoolRecipe(Recipe):
    """Which evaluations belong together.

    Attributes:
        name: of the pool.
        evaluations: their names.
    """

    name: str
    evaluations: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """A trained point and a rival in one evaluation.

    Attributes:
        evaluation: where.
        task: of both.
        value: of the trained point.
        rival_value: of the rival.
        blocks: test blocks that it stands on.
        gap: bootstrap values of their difference, (resamples,).
    """

    evaluation: str
    task: str
    value: float
    rival_value: float
    blocks: int
    gap: NDArray[np.float64]


def pool_evaluations(points: pd.DataFrame, samples: Samples, pools: Iterable[PoolRecipe]) -> pd.DataFrame:
    """Trained against each rival over all evaluations of a pool.

    Only balanced tasks count, and only pairs that stand on the same test chips. Evaluations are taken as they are
    (another world is another seed of the simulator, not a draw from a population of Earths): their blocks are
    resampled apart, seeds and episodes anew in each, and the differences averaged.

    Args:
        points: of `summary.summarise`.
        samples: of `summary.resample_points`.
        pools: which evaluations.

    Returns:
        One row per `pool, modality, n_shots, rival` and `task` (empty: all tasks together): `value, rival_value,
        difference, low, high, p`; `p_holm` over the rivals of one pool, modality, size and kind of row (all tasks,
        or each); `n_pairs` of evaluation and task, `n_evaluations`, `n_better` of them with a difference above 0,
        `n_blocks`, and `spread`, the standard deviation of the difference over evaluations.
    """
    rows = [row for pool in pools for row in _pool(points, samples, pool)]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    families = table.groupby(["pool", "modality", "n_shots", table["task"] == ALL_TASKS])["p"]
    return table.assign(p_holm=families.transform(lambda p: holm(p.to_numpy(np.float64))))


def _pool(points: pd.DataFrame, samples: Samples, pool: PoolRecipe) -> list[dict[str, Any]]:
    known = points[points["primary"] & points["balanced"] & points["value"].notna()]
    pairs: defaultdict[tuple[str, int, str], list[_Pair]] = defaultdict(list)
    for (evaluation, task, n_shots), group in known.groupby(["evaluation", "task", "n_shots"]):
        if evaluation not in pool.evaluations:
            continue
        records = group.to_dict("records")
        for a in (r for r in records if r["arm"] == "trained"):
            for b in rivals_of(a, records):
                if a["test_set"] == b["test_set"]:
                    key = (str(a["modality"]), int(str(n_shots)), str(b["floor"] or b["arm"]))
                    pairs[key].append(_pair(a, b, samples, str(evaluation), str(task)))
    rows = []
    for key, found in pairs.items():
        by_task = {task: [p for p in found if p.task == task] for task in sorted({p.task for p in found})}
        rows += [_row(pool.name, key, task, chosen) for task, chosen in ((ALL_TASKS, found), *by_task.items())]
    return rows


def _pair(a: Point, b: Point, samples: Samples, evaluation: str, task: str) -> _Pair:
    gap = samples[sample_key(a)] - samples[sample_key(b)]
    return _Pair(evaluation, task, float(a["value"]), float(b["value"]), int(a["n_blocks"]), gap)


_COLUMNS = [
    "pool", "modality", "n_shots", "rival", "task", "value", "rival_value", "difference", "low", "high", "p",
    "n_pairs", "n_evaluations", "n_better", "n_blocks", "spread",
]  # fmt: skip


def _row(pool: str, key: tuple[str, int, str], task: str, pairs: Sequence[_Pair]) -> dict[str, Any]:
    gap = np.nanmean([pair.gap for pair in pairs], axis=0)
    low, high = interval(gap)
    by_evaluation: defaultdict[str, list[float]] = defaultdict(list)
    blocks: dict[str, int] = {}
    for pair in pairs:
        by_evaluation[pair.evaluation].append(pair.value - pair.rival_value)
        blocks[pair.evaluation] = max(pair.blocks, blocks.get(pair.evaluation, 0))
    each = [float(np.mean(differences)) for differences in by_evaluation.values()]
    modality, n_shots, rival = key
    return {
        "pool": pool,
        "modality": modality,
        "n_shots": n_shots,
        "rival": rival,
        "task": task,
        "value": float(np.mean([pair.value for pair in pairs])),
        "rival_value": float(np.mean([pair.rival_value for pair in pairs])),
        "difference": float(np.mean([pair.value - pair.rival_value for pair in pairs])),
        "low": low,
        "high": high,
        "p": p_value(gap),
        "n_pairs": len(pairs),
        "n_evaluations": len(each),
        "n_better": sum(difference > 0 for difference in each),
        "n_blocks": sum(blocks.values()),
        "spread": float(np.std(each, ddof=1)) if len(each) > 1 else float("nan"),
    }
