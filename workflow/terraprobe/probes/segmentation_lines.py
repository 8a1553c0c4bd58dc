"""Probes of pixels that are one, who is compared with whom, and by how much."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.probes.inits import FLOOR, TRAINED, UNTRAINED
from terraprobe.probes.segmentation_table import MAJORITY
from terraprobe.statistics import EQUIVALENCE_LEVEL, holm, interval, p_value

COMPARED = ("miou", "oa", "aa")
"""Scores of which differences are tested."""

COLUMNS = (
    "arm", "init", "tower", "band", "sees", "size", "stratum", "rival", "rival_init", "rival_tower", "rival_band",
    "metric", "value", "rival_value", "difference", "low", "high", "low90", "high90", "p",
)  # fmt: skip
FAMILY = ["metric", "size", "stratum", "arm", "tower", "band"]
"""Within these Holm's method corrects: over the rivals of one probe, few enough for what the resamples can resolve."""


@dataclass(frozen=True, order=True)
class Arm:
    """Probes that are one: they differ in seed, twin and draw alone.

    Attributes:
        arm: encoder entry; empty: a floor.
        init: `trained`, `untrained`, or empty of a floor.
        tower: of the encoder, or which floor.
        band: of a tower that takes one at a time; `mean`: all of them; else empty.
        sees: modalities and bands as text.
        size: number of labelled train chips, 0 = all.
        stratum: which pixels; empty: all of them.
    """

    arm: str
    init: str
    tower: str
    band: str
    sees: str
    size: int
    stratum: str = ""


@dataclass(frozen=True)
class Line:
    """What an arm scores.

    Attributes:
        value: of each of `COMPARED`.
        samples: bootstrap values of each, (resamples,).
    """

    value: Mapping[str, float]
    samples: Mapping[str, NDArray[np.float64]]


def compare_lines(lines: Mapping[Arm, Line]) -> pd.DataFrame:
    """Trained arms against their untrained twins, the floors and each other.

    Args:
        lines: what is compared, in the order of the study.

    Returns:
        A row for each pair and score: `COLUMNS` and `p_holm`, corrected within `FAMILY`.
    """
    rows = [row for one, other in _pairs(list(lines)) for row in _differences(one, other, lines)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    corrected = table.groupby(FAMILY)["p"].transform(lambda p: holm(p.to_numpy(np.float64)))
    return table.assign(p_holm=corrected)


def _pairs(arms: Sequence[Arm]) -> Iterator[tuple[Arm, Arm]]:
    trained = [arm for arm in arms if arm.init == TRAINED]
    for one in trained:
        for other in arms:
            same = (other.arm, other.tower, other.band) == (one.arm, one.tower, one.band)
            twin = other.init == UNTRAINED and same
            floor = other.init == FLOOR and (other.sees == one.sees or other.tower == MAJORITY)
            if _same_ground(one, other) and (twin or floor):
                yield one, other
    for one, other in combinations(trained, 2):
        if _same_ground(one, other) and (one.sees == other.sees or not (one.band or other.band)):
            yield one, other


def _same_ground(one: Arm, other: Arm) -> bool:
    return (one.size, one.stratum) == (other.size, other.stratum)


def _differences(one: Arm, other: Arm, lines: Mapping[Arm, Line]) -> Iterator[dict[str, Any]]:
    rival = {"rival": other.arm, "rival_init": other.init, "rival_tower": other.tower, "rival_band": other.band}
    for metric in COMPARED:
        gap = lines[one].samples[metric] - lines[other].samples[metric]
        (low, high), (low90, high90) = interval(gap), interval(gap, EQUIVALENCE_LEVEL)
        value, its = lines[one].value[metric], lines[other].value[metric]
        yield {**vars(one), **rival, "metric": metric, "value": value, "rival_value": its, "difference": value - its,
               "low": low, "high": high, "low90": low90, "high90": high90, "p": p_value(gap)}  # fmt: skip
