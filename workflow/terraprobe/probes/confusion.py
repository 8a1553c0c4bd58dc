"""Scores of pixel classes, out of counts that can be summed over places."""

import numpy as np
from numpy.typing import NDArray

SCORES = ("oa", "aa", "miou", "aa_zero", "miou_zero")
"""Overall accuracy, mean accuracy of the classes, mean intersection over union; the last two with absent classes as 0.

A class that the reference does not have at all has no accuracy: it is skipped in `aa` and `miou` and counts as 0 in
`aa_zero` and `miou_zero`. Papers rarely say which they did, so both are given.
"""


def class_scores(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy (share of a class's pixels that are called so) and intersection over union of each class.

    Args:
        counts: pixels of each class that were called each class, (…, class, called class).

    Returns:
        Both (…, class), NaN where the reference has no pixel of the class.
    """
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    own, called = counts.sum(axis=-1), counts.sum(axis=-2)
    there = own > 0
    nothing = np.full(own.shape, np.nan)
    accuracy = np.divide(hit, own, out=nothing.copy(), where=there)
    return accuracy, np.divide(hit, own + called - hit, out=nothing, where=there)


def overall_scores(counts: NDArray[np.float64], present: int) -> NDArray[np.float64]:
    """All of `SCORES`.

    Args:
        counts: (…, class, called class); NaN comes out where there is no pixel.
        present: number of classes that the whole reference has. A resample of it may have fewer: those that it lacks
            are skipped, so that a rare class does not count as 0 where it was not drawn.

    Returns:
        (…, score), last axis as `SCORES`.
    """
    accuracy, iou = class_scores(counts)
    hit, pixels = np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1))
    oa = np.divide(hit, pixels, out=np.full(pixels.shape, np.nan), where=pixels > 0)
    aa, miou = _mean_known(accuracy), _mean_known(iou)
    share = present / counts.shape[-1]
    return np.stack([oa, aa, miou, aa * share, miou * share], axis=-1)


def _mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean
