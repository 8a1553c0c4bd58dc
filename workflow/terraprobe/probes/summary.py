"""Few-shot curves with intervals, and encoders against their floors, from scores and counts per block."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.metrics import COUNTS, METRICS
from terraprobe.statistics import (
    MIN_BLOCKS,
    block_weights,
    first_reaching,
    holm,
    interval,
    mean_over_seeds,
    stream_seed,
)
from terraprobe.statistics import p_value as bootstrap_p
from terraprobe.statistics import resample as resample_metric
from terraprobe.towers import CONCAT

WORLD = ("evaluation", "collection")
CURVE = (*WORLD, "encoder", "arm", "floor", "modality", "task")
POINT = (*CURVE, "n_shots")
"""Columns that name one point of a curve. `arm` is `trained`, `random` (all random-init seeds) or `floor`."""

Point = Mapping[Hashable, Any]
Samples = dict[tuple[Hashable, ...], NDArray[np.float64]]
"""Bootstrap values, (resamples,), by `POINT` and metric."""


def add_arm(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the column `arm` to scores or counts, made of `init` and `floor`."""
    arm = frame["init"].str.replace(r"(-\d+)+$", "", regex=True)
    return frame.assign(arm=arm.where(frame["floor"] == "", "floor"))


def resample_points(blocks: pd.DataFrame, resamples: int, seed: int) -> Samples:
    """Bootstrap every point: blocks of test chips, then model seeds and episodes.

    All points of one collection stand on the same resampled blocks, so that any two of them may be subtracted;
    those of different collections are resampled apart.

    Args:
        blocks: of `score_forest`, concatenated.
        resamples: number of resamples.
        seed: of the resamples.

    Returns:
        For each point and metric the resampled mean over seeds and episodes.
    """
    samples: Samples = {}
    for (_, collection), world in add_arm(blocks).groupby(list(WORLD)):
        names = sorted(set(world["block"]))
        own_seed = stream_seed(seed, str(collection))
        weights = block_weights(len(names), resamples, own_seed)
        numbered = world.assign(number=pd.Index(names).get_indexer(world["block"]))
        for point, rows in numbered.groupby(list(POINT)):
            counts = _counts(rows, len(names))
            for name, metric in METRICS.items():
                samples[*point, name] = mean_over_seeds(resample_metric(metric, counts, weights), own_seed)
    return samples


def _counts(rows: pd.DataFrame, n_blocks: int) -> NDArray[np.float64]:
    """Counts of one point, (n_seeds, n_episodes, n_blocks, 4)."""
    seed, inits = pd.factorize(rows["init"], sort=True)
    episode, episodes = pd.factorize(rows["episode_seed"], sort=True)
    counts = np.zeros((len(inits), len(episodes), n_blocks, len(COUNTS)))
    counts[seed, episode, rows["number"]] = rows[list(COUNTS)].to_numpy(np.float64)
    return counts


def summarise(scores: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """Points of the few-shot curves: means over model seeds and episodes, with intervals and both dots.

    Args:
        scores: of `score_forest`, concatenated.
        samples: of `resample_points`.

    Returns:
        One row per `POINT` and `metric`: `value` and `sd` over `n_forests` forests; `low, high` over blocks of test
        chips, then seeds and episodes; `n_train, n_test, n_blocks`; `few_blocks` where the interval stands on fewer
        than 30 blocks; `majority` on the same test chips; `balanced, primary`; `dot` and `gain_dot` at the smallest
        size that reaches 95 % of the full-data value and of its gain over the majority class; `test_set`; `note`.
    """
    rows = []
    for key, forests in add_arm(scores).groupby([*POINT, "metric"], sort=True):
        first = forests.iloc[0]
        low, high = interval(samples[key]) if key in samples else (np.nan, np.nan)
        values = forests["value"]
        rows.append(
            {
                **dict(zip((*POINT, "metric"), key, strict=True)),
                "value": values.mean(),
                "sd": values.std(ddof=1),
                "low": low,
                "high": high,
                "n_forests": int(values.notna().sum()),
                **first[["n_train", "n_test", "n_blocks", "majority", "balanced", "primary", "test_set", "note"]],
                "few_blocks": bool(first["n_blocks"] < MIN_BLOCKS),
            }
        )
    return _mark_dots(pd.DataFrame(rows))


def _mark_dots(points: pd.DataFrame) -> pd.DataFrame:
    points = points.assign(dot=False, gain_dot=False)
    for _, curve in points.groupby([*CURVE, "metric"]):
        by_size = curve.sort_values("n_shots", key=lambda n: n.where(n > 0, np.iinfo(np.int64).max))
        if by_size["n_shots"].iloc[-1] != 0:
            continue  # without full data there is no share of it
        for column, floor in (("dot", 0.0), ("gain_dot", by_size["majority"].iloc[-1])):
            place = first_reaching(by_size["value"].to_numpy(), floor)
            if place is not None:
                points.loc[by_size.index[place], column] = True
    return points


def compare(points: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """Trained encoders against random init, every floor and each other, paired by blocks.

    Args:
        points: of `summarise`.
        samples: of `resample_points`.

    Returns:
        One row per trained point and rival, for the task's primary metric: `difference, low, high, p`; `p_holm`
        corrected over the tasks and rivals of one evaluation, modality, size and `balanced` (one picture of the
        report, so that a family stays smaller than what the resamples can resolve); `same_chips`, whether both
        stand on the same test chips (a rival of another modality may not).
    """
    known = points[points["primary"] & points["value"].notna()]
    rows = []
    for _, group in known.groupby([*WORLD, "task", "n_shots"]):
        records = group.to_dict("records")
        rows += [_difference(a, b, samples) for a in records if a["arm"] == "trained" for b in rivals_of(a, records)]
    table = pd.DataFrame(rows, columns=_DIFFERENCE_COLUMNS)
    families = table.groupby([*WORLD, "modality", "n_shots", "balanced"])["p"]
    return table.assign(p_holm=families.transform(lambda p: holm(p.to_numpy(np.float64))))


def rivals_of(a: Point, records: Sequence[Point]) -> list[Point]:
    """What a trained point is held against.

    Args:
        a: the trained point.
        records: points of the same evaluation, task and size.

    Returns:
        Its untrained twins, the other encoders that come after it by name where both are of the same modality or both
        are all that their encoder sees, and of each floor the point of the same modality or else the widest.
    """
    floors = {(r["floor"], r["modality"]) for r in records}
    seen = {(r["encoder"], r["modality"]) for r in records if r["arm"] == "trained"}

    def is_whole(p: Point) -> bool:
        return bool(p["modality"] == CONCAT or {m for e, m in seen if e == p["encoder"]} == {p["modality"]})

    def is_rival(b: Point) -> bool:
        if b["arm"] == "floor":
            # a tower that sees some bands of a modality has no floor of its own name: it meets the widest one
            own = (b["floor"], a["modality"]) in floors
            return bool(b["modality"] == (a["modality"] if own else _widest(b["floor"], floors)))
        same = bool(b["modality"] == a["modality"])
        if b["arm"] == "random":
            return same and bool(a["encoder"] == b["encoder"])
        return (same or (is_whole(a) and is_whole(b))) and bool(a["encoder"] < b["encoder"])

    return [b for b in records if is_rival(b)]


def _widest(floor: object, floors: set[tuple[object, object]]) -> object:
    modalities = sorted(str(m) for f, m in floors if f == floor)
    return CONCAT if CONCAT in modalities else modalities[0]


_SHARED = (*WORLD, "encoder", "modality", "task", "n_shots", "metric", "balanced", "n_blocks", "few_blocks", "value")
_DIFFERENCE_COLUMNS = [
    *_SHARED, "rival", "rival_encoder", "rival_modality", "rival_value", "difference", "low", "high", "p", "same_chips",
]  # fmt: skip


def _difference(a: Point, b: Point, samples: Samples) -> dict[str, Any]:
    gap = samples[sample_key(a)] - samples[sample_key(b)]
    low, high = interval(gap)
    return {
        **{name: a[name] for name in _SHARED},
        "rival": b["floor"] or b["arm"],
        "rival_encoder": b["encoder"],
        "rival_modality": b["modality"],
        "rival_value": b["value"],
        "difference": a["value"] - b["value"],
        "low": low,
        "high": high,
        "p": bootstrap_p(gap),
        "same_chips": a["test_set"] == b["test_set"],
    }


def sample_key(point: Point) -> tuple[Hashable, ...]:
    """Where the bootstrap values of a point stand in `Samples`."""
    return tuple(point[name] for name in (*POINT, "metric"))
