"""What is compared where views are probed: arms on each view and over views, and their paired differences."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.modalities import MODALITIES
from terraprobe.probes.inits import FLOOR, TRAINED
from terraprobe.statistics import EQUIVALENCE_LEVEL, holm, interval, p_value

STATISTICS, MAJORITY = "image statistics", "majority class"
"""Arms that no encoder is in."""

ALL, OPTICAL, RADAR = "all", "ms", "sar"
"""Groups of views: all of them and, where there are both, those of multispectral bands and those of a radar."""

PLACE = ("n_shots", "group", "modality", "view")
"""Where an arm has a value; `modality` and `view` are empty for the mean over the views of a group."""

COLUMNS = (
    "arm", "init", "rival", "rival_init", *PLACE, "value", "rival_value", "difference", "low", "high", "low90",
    "high90", "p", "p_views", "n_views", "n_test",
)  # fmt: skip

Arm = tuple[str, str]
"""Name of the encoder entry or the floor, and which of `inits`."""


def group_of(modality: str) -> str:
    """The group of a modality's views."""
    return OPTICAL if MODALITIES[modality].unit in ("reflectance", "display") else RADAR


def places(rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Every view of every size, then the groups of views, each with its rows.

    Args:
        rows: a row for each of `PLACE`, single views alone.
    """
    for n_shots, sized in rows.groupby("n_shots", sort=False):
        for (group, modality, view), own in sized.groupby(["group", "modality", "view"], sort=False):
            yield {"n_shots": n_shots, "group": group, "modality": modality, "view": view}, own
        held = set(sized["group"])
        for group in (ALL, *((OPTICAL, RADAR) if len(held) > 1 else ())):
            own = sized if group == ALL else sized[sized["group"] == group]
            yield {"n_shots": n_shots, "group": group, "modality": "", "view": ""}, own


def compare_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Trained arms against their own twins, every floor and the trained arms before them, on the views of both.

    Args:
        lines: a row for each arm, init and `PLACE`, single views alone, with `value`, `n_test` and `samples`: bootstrap
            values, (resamples,).

    Returns:
        `COLUMNS` and `p_holm`, corrected within a size: of single views over the views of one pair, of a mean over
        views over the rivals of one arm, so that a family stays smaller than what the resamples can resolve; `p_views`
        is the paper's paired t-test over the views of a group [P], which takes them for independent.
    """
    arms: list[Arm] = list(dict.fromkeys(zip(lines["arm"], lines["init"], strict=True)))
    rows = []
    for one, other in _pairs(arms):
        mine, theirs = (lines[(lines["arm"] == arm) & (lines["init"] == init)] for arm, init in (one, other))
        both = mine.merge(theirs, on=list(PLACE), suffixes=("", "_rival"))
        names = {"arm": one[0], "init": one[1], "rival": other[0], "rival_init": other[1]}
        rows += [{**names, **place, **_difference(own)} for place, own in places(both)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    single = table["view"] != ""
    pair = table["arm"] + " " + table["init"] + " " + table["rival"] + " " + table["rival_init"]
    families = table.groupby(["n_shots", single, pair.where(single, table["arm"] + " " + table["group"])])["p"]
    return table.assign(p_holm=families.transform(lambda p: holm(p.to_numpy(np.float64))))


def _pairs(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    trained = [arm for arm in arms if arm[1] == TRAINED]
    below = [
        (one, arm)
        for one in trained
        for arm in arms
        if arm[1] != TRAINED and arm in ((one[0], arm[1]), (arm[0], FLOOR))
    ]
    return [*below, *((later, earlier) for earlier, later in combinations(trained, 2))]


def stacked(samples: pd.Series) -> NDArray[np.float64]:
    """Bootstrap values of rows, (row, resamples)."""
    return np.stack(samples.to_list())


def _difference(both: pd.DataFrame) -> dict[str, Any]:
    gap = (stacked(both["samples"]) - stacked(both["samples_rival"])).mean(axis=0)
    (low, high), (low90, high90) = interval(gap), interval(gap, EQUIVALENCE_LEVEL)
    value, rival = float(both["value"].mean()), float(both["value_rival"].mean())
    return {
        "value": value, "rival_value": rival, "difference": value - rival, "low": low, "high": high, "low90": low90,
        "high90": high90, "p": p_value(gap), "p_views": _t_test(both), "n_views": len(both),
        "n_test": int(both["n_test"].max()),
    }  # fmt: skip


def _t_test(both: pd.DataFrame) -> float:
    from scipy.stats import ttest_rel

    gaps = both["value"] - both["value_rival"]
    if len(gaps) < 2 or float(gaps.std()) == 0:
        return float("nan")
    return float(ttest_rel(both["value"], both["value_rival"]).pvalue)
