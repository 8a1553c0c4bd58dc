"""Binary tasks from chip-level labels: "more than the median train chip has"."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_MINORITY_SHARE = 0.40
"""[D] methods.md sec. 2: below it a task is unbalanced, scored by balanced accuracy and kept out of headlines."""


@dataclass(frozen=True)
class Task:
    """One binary task.

    Attributes:
        name: column of `labels.parquet`.
        threshold: median of the train labels; a chip is positive when its label is *greater* (tie rule). A label
            that is mostly zero has threshold 0: positive means "any at all".
        positive_share: share of positives among the labelled train chips.
        n_train: labelled train chips.
        n_unlabelled: train chips left out because their label is not known.
        reason: why the task cannot be posed; empty where it can.
    """

    name: str
    threshold: float
    positive_share: float
    n_train: int
    n_unlabelled: int
    reason: str = ""

    @property
    def balanced(self) -> bool:
        """Whether the smaller train class holds at least `MIN_MINORITY_SHARE` of the chips."""
        return min(self.positive_share, 1 - self.positive_share) >= MIN_MINORITY_SHARE

    @property
    def metric(self) -> str:
        """The metric that this task is judged by, a name of `metrics.METRICS`."""
        return "accuracy" if self.balanced else "balanced_accuracy"


def define_task(name: str, train: NDArray[np.float64]) -> Task:
    """Pose a task from the train labels alone.

    Args:
        name: of the label.
        train: label of every train chip, NaN where not known, (n_train,).

    Returns:
        The task; with a `reason` where no chip is labelled or the label is constant on train.
    """
    known = train[np.isfinite(train)]
    unlabelled = len(train) - len(known)
    if not len(known):
        return Task(name, 0.0, 0.0, 0, unlabelled, f"no train chip has a label of {name}")
    threshold = float(np.median(known))
    share = float((known > threshold).mean())
    reason = "" if share > 0 else f"no train chip has more {name} than the train median {threshold:g}: one class only"
    return Task(name, threshold, share, len(known), unlabelled, reason)


def classify(values: NDArray[np.float64], threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Turn labels into classes.

    Args:
        values: labels, NaN where not known, (n,).
        threshold: of the task.

    Returns:
        Whether the chip is positive, and whether its label is known at all, both (n,).
    """
    known = np.isfinite(values)
    return known & (np.nan_to_num(values) > threshold), known
