"""Intervals over places, paired differences, multiple comparisons and the sizes that suffice.

Chips of one place resemble each other, so the unit of every resample is a block of test chips (a place or a
lattice cell), never a chip. Two scores are compared on the same resampled blocks.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Coverage of every interval, and the share of the full score that the dots mark [P]."""

EQUIVALENCE_LEVEL = 0.9
"""Coverage of the interval that is held against a margin: two one-sided tests at 5 %."""

MIN_BLOCKS = 30
"""Fewer test blocks than this do not carry an interval (architecture.md, Statistics)."""

Metric = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def block_weights(n_blocks: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each block occurs in each bootstrap resample.

    Args:
        n_blocks: number of blocks; each resample draws as many, with replacement.
        resamples: number of resamples.
        seed: equal seeds give equal resamples, which is what pairs two scores.

    Returns:
        (resamples, n_blocks), rows summing to `n_blocks`.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=resamples).astype(np.float64)


def stream_seed(seed: int, name: str) -> int:
    """Seed of an independent stream of resamples, by name: the same blocks of one place, others of another."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8])


def resample(metric: Metric, counts: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value of a metric in every resample.

    Args:
        metric: of `metrics.METRICS`.
        counts: per block, (…, n_blocks, 4), last axis as `metrics.COUNTS`.
        weights: of `block_weights`, (resamples, n_blocks).

    Returns:
        (resamples, …); NaN where a resample holds no chip.
    """
    summed = np.tensordot(weights, counts, axes=(1, counts.ndim - 2))
    return metric(summed)


def mean_over_seeds(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Mean over model seeds and episodes, both resampled anew in each resample of blocks.

    Args:
        values: a metric by resample, model seed and episode, (resamples, n_seeds, n_episodes).
        seed: equal seeds and equal numbers of episodes give equal resampled episodes, so that two scores stay paired.

    Returns:
        (resamples,).
    """
    resamples, n_seeds, n_episodes = values.shape
    by_seed = block_weights(n_seeds, resamples, seed + 1) / n_seeds
    by_episode = block_weights(n_episodes, resamples, seed + 2) / n_episodes
    means: NDArray[np.float64] = np.einsum("bse,bs,be->b", values, by_seed, by_episode)
    return means


def interval(samples: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval.

    Args:
        samples: bootstrap values, (resamples,); NaN is left out.
        level: its coverage.

    Returns:
        Lower and upper end, NaN where no sample is a number.
    """
    known = samples[~np.isnan(samples)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def p_value(differences: NDArray[np.float64]) -> float:
    """Two-sided bootstrap p-value of "no difference".

    Args:
        differences: bootstrap values of a paired difference, (resamples,); NaN is left out.

    Returns:
        Twice the smaller share of resamples on one side of zero, at least 2 / (resamples + 1).
    """
    known = differences[~np.isnan(differences)]
    tail = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(known) + 1)))


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction of a family of p-values.

    Args:
        p_values: (n,).

    Returns:
        Corrected p-values in the same order, (n,).
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def first_reaching(values: Sequence[float] | NDArray[np.float64], floor: float = 0.0) -> int | None:
    """Where a few-shot curve first reaches 95 % of its full-data value.

    With `floor` 0 this is the paper's black dot [P]; with the score of the majority class it is the dot of the
    *gain*, (value - floor) / (full - floor) >= 0.95 [D], which a task that half of the chips solve by chance needs.

    Args:
        values: the curve by ascending size, full data last, NaN where a size is not available.
        floor: score that needs no label.

    Returns:
        Position of the smallest size that reaches it; None where full data gain nothing over the floor.
    """
    curve = np.asarray(values, np.float64)
    gain = curve[-1] - floor
    if not gain > 0:
        return None
    # a rounding error must not move a dot that lies exactly on the line
    reached = (curve - floor) / gain >= LEVEL - 1e-12
    return int(np.argmax(reached))
