"""Scores of binary tasks, computed from counts that can be summed over places.

A score of a set of chips is a function of four counts; kept per block of the test split, they are all that an
interval over places needs.
"""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNTS = ("tp", "tn", "n_pos", "n_neg")
"""Last axis of every array of counts: positives found, negatives found, positives, negatives."""


def block_counts(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], block: NDArray[np.intp], n_blocks: int
) -> NDArray[np.float64]:
    """Count hits per block.

    Args:
        truth: (n_chips,).
        predicted: (n_chips,).
        block: number of each chip's block, (n_chips,), in [0, n_blocks).
        n_blocks: number of blocks.

    Returns:
        (n_blocks, 4), last axis as `COUNTS`.
    """
    columns = (truth & predicted, ~truth & ~predicted, truth, ~truth)
    return np.stack([np.bincount(block, weights=c.astype(np.float64), minlength=n_blocks) for c in columns], axis=-1)


def accuracy(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of chips classified right; NaN where there is no chip.

    Args:
        counts: (…, 4), last axis as `COUNTS`.

    Returns:
        (…).
    """
    return _ratio(counts[..., 0] + counts[..., 1], counts[..., 2] + counts[..., 3])


def balanced_accuracy(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean recall of the two classes; NaN where one of them does not occur.

    Not the recall of the class that is there: a resample of places without the rare class would then score as a
    constant predictor does at its best, and stretch the interval up to 1.

    Args:
        counts: (…, 4), last axis as `COUNTS`.

    Returns:
        (…).
    """
    return (_ratio(counts[..., 0], counts[..., 2]) + _ratio(counts[..., 1], counts[..., 3])) / 2


def hit_share(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of chips whose class is called right, of any number of classes; NaN where there is no chip.

    Args:
        counts: hits and chips, (…, 2).

    Returns:
        (…).
    """
    return _ratio(counts[..., 0], counts[..., 1])


def f1_scores(truth: NDArray[np.bool_], called: NDArray[np.bool_]) -> dict[str, float]:
    """F1 of several classes a chip: `f1_micro` over all calls, `f1_macro` the mean over classes that occur at all.

    Args:
        truth: (chip, class).
        called: (chip, class).

    Returns:
        Both. A class that no chip has and that is never called has no F1.
    """
    hit, either = (truth & called).sum(axis=0), truth.sum(axis=0) + called.sum(axis=0)
    own = _ratio(2.0 * hit, either.astype(np.float64))
    macro = float(np.nanmean(own)) if (either > 0).any() else float("nan")
    return {"f1_micro": float(_ratio(np.array(2.0 * hit.sum()), np.array(float(either.sum())))), "f1_macro": macro}


def class_counts(
    truth: NDArray[np.intp], called: NDArray[np.intp], block: NDArray[np.intp], n_blocks: int, n_classes: int
) -> NDArray[np.float64]:
    """Count hits of several classes, one a chip, per block.

    Args:
        truth: number of each chip's class, (n_chips,).
        called: what it was called, (n_chips,).
        block: number of each chip's block, (n_chips,), in [0, n_blocks).
        n_blocks: number of blocks.
        n_classes: number of classes.

    Returns:
        Chips that have the class and are called it, that have it, and that are called it: (n_blocks, n_classes, 3).
    """
    hit = truth == called
    cells = ((block[hit], truth[hit]), (block, truth), (block, called))
    size = n_blocks * n_classes
    counts = [np.bincount(b * n_classes + c, minlength=size).reshape(n_blocks, n_classes) for b, c in cells]
    return np.stack(counts, axis=-1).astype(np.float64)


def class_f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of each class, one a chip; NaN where no chip has it and none is called it.

    Args:
        counts: (…, n_classes, 3), as `class_counts` gives them.

    Returns:
        (…, n_classes).
    """
    return _ratio(2 * counts[..., 0], counts[..., 1] + counts[..., 2])


def macro_f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 over the classes that occur at all, in truth or as an answer; NaN where there is no chip.

    Args:
        counts: (…, n_classes, 3), as `class_counts` gives them.

    Returns:
        (…).
    """
    own = class_f1(counts)
    known = np.isfinite(own)
    return _ratio(np.where(known, own, 0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def roc_auc(truth: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Area under the ROC curve: how often a chip of the class has the higher score than one of another, ties half.

    Args:
        truth: (n_chips,).
        scores: (…, n_chips).

    Returns:
        (…); NaN where all chips are alike.
    """
    from scipy.stats import rankdata

    inside, outside = int(truth.sum()), int((~truth).sum())
    ranks = rankdata(scores, axis=-1)[..., truth].sum(axis=-1)
    above = ranks - inside * (inside + 1) / 2
    return _ratio(above, np.full(above.shape, float(inside * outside)))


def regional_gap(right: NDArray[np.float64], region: NDArray[np.str_]) -> float:
    """Gen-Geo of `bioclim` (Leonhardt et al., eq. 5): RMS over regions of their accuracy minus the overall one.

    Args:
        right: how right each chip's classes are called, in [0, 1], (n_chips,).
        region: of each chip, empty where it has none, (n_chips,).

    Returns:
        0 where all regions are alike; NaN where chips have no region, or all the same one.
    """
    names = sorted(set(region.tolist()))
    if len(names) < 2 or "" in names:
        return float("nan")
    own = np.array([right[region == name].mean() for name in names])
    return float(np.sqrt(np.mean((own - right.mean()) ** 2)))


def epochs_to(level: float, curves: Sequence[NDArray[np.float64]]) -> float:
    """Eff-p of `bioclim` (Leonhardt et al.): after how many epochs validation accuracy reaches a level.

    The curves are averaged first and the crossing is interpolated between epochs [I: the paper's 13.208 is no whole
    number]. A run that ended early keeps its last accuracy [D].

    Args:
        level: p, an accuracy in [0, 1].
        curves: validation accuracy after each epoch, one curve a run, (epoch,).

    Returns:
        Epochs, 1 for a level that the first epoch reaches; NaN where the mean never does.
    """
    longest = max((len(curve) for curve in curves), default=0)
    if longest == 0:
        return float("nan")
    mean = np.mean([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves], axis=0)
    return float(first_crossing(level, mean[None])[0])


def first_crossing(level: float, curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """After how many epochs each curve first reaches a level, interpolated between epochs.

    Args:
        level: the level.
        curves: (curve, epoch).

    Returns:
        (curve,): 1 where the first epoch reaches it; NaN where none does.
    """
    reached = curves >= level
    last = np.argmax(reached, axis=1)
    rows = np.arange(len(curves))
    below, above = curves[rows, np.maximum(last - 1, 0)], curves[rows, last]
    step = np.divide(level - below, above - below, out=np.zeros(len(curves)), where=last > 0)
    return np.where(reached.any(axis=1), np.where(last > 0, last + step, 1.0), np.nan)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return ratio


METRICS: MappingProxyType[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = MappingProxyType(
    {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}
)
"""Every metric by the name it has in the score tables."""
