"""Bootstrap, correction and dots by hand."""

import numpy as np
import pytest

from terraprobe.metrics import accuracy, balanced_accuracy
from terraprobe.statistics import (
    block_weights,
    first_reaching,
    holm,
    interval,
    mean_over_seeds,
    p_value,
    resample,
)


def test_resample_by_hand():
    # block 0: 3 of 4 right, block 1: 0 of 1 right
    counts = np.array([[2.0, 1.0, 2.0, 2.0], [0.0, 0.0, 1.0, 0.0]])
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert resample(accuracy, counts, weights).tolist() == pytest.approx([0.75, 0.0, 0.6])


def test_resample_keeps_leading_axes():
    counts = np.arange(2 * 3 * 5 * 4, dtype=float).reshape(2, 3, 5, 4) + 1
    weights = block_weights(5, 7, seed=0)
    together = resample(accuracy, counts, weights)
    assert together.shape == (7, 2, 3)
    assert together[:, 1, 2] == pytest.approx(resample(accuracy, counts[1, 2], weights))


def test_every_resample_draws_as_many_blocks_as_there_are():
    weights = block_weights(36, 500, seed=3)
    assert (weights.sum(axis=1) == 36).all()
    assert weights.mean() == pytest.approx(1.0)
    assert np.array_equal(weights, block_weights(36, 500, seed=3))
    assert not np.array_equal(weights, block_weights(36, 500, seed=4))


def test_interval_stands_on_blocks_and_not_on_chips():
    # 100 blocks of 20 equal chips: the standard error is that of 100 things, not of 2,000
    right = np.repeat([20.0, 0.0], 50)
    counts = np.stack([right, np.zeros(100), np.full(100, 20.0), np.zeros(100)], axis=-1)
    values = resample(accuracy, counts, block_weights(100, 4000, seed=0))
    assert values.std() == pytest.approx(0.05, rel=0.1)
    low, high = interval(values)
    assert (low, high) == (pytest.approx(0.40, abs=0.015), pytest.approx(0.60, abs=0.015))


def test_interval_is_the_percentile_interval_and_leaves_out_nan():
    assert interval(np.append(np.linspace(0, 100, 1001), np.nan)) == pytest.approx((2.5, 97.5))
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_resamples_without_the_rare_class_do_not_stretch_the_interval():
    # a constant "no" on ten places, one of which holds the only positives: balanced accuracy is 0.5, come what may
    counts = np.array([[0.0, 8.0, 0.0, 8.0]] * 9 + [[0.0, 6.0, 2.0, 6.0]])
    assert interval(resample(balanced_accuracy, counts, block_weights(10, 500, seed=0))) == (0.5, 0.5)


def test_pairing_removes_what_both_scores_share():
    rng = np.random.default_rng(0)
    easy = rng.integers(2, 18, 40).astype(float)  # places differ much; the second score is one chip better in each
    counts = np.stack([np.stack([easy + k, 0 * easy, 0 * easy + 20, 0 * easy], axis=-1) for k in (0, 1)])
    weights = block_weights(40, 1000, seed=1)
    one, two = resample(accuracy, counts, weights).T
    assert two - one == pytest.approx(np.full(1000, 0.05))
    assert one.std() > 0.01


def test_mean_over_seeds_of_one_forest_is_that_forest():
    values = np.random.default_rng(0).random((50, 1, 1))
    assert mean_over_seeds(values, 0) == pytest.approx(values[:, 0, 0])


def test_mean_over_seeds_adds_the_spread_of_seeds_and_of_episodes():
    by_seed = np.broadcast_to(np.array([0.0, 1.0])[None, :, None], (4000, 2, 3))
    by_episode = np.broadcast_to(np.array([0.0, 1.0])[None, None, :], (4000, 3, 2))
    for values in (by_seed, by_episode):
        means = mean_over_seeds(values, 0)
        assert means.mean() == pytest.approx(0.5, abs=0.03)
        assert means.std() == pytest.approx(np.sqrt(0.25 / 2), abs=0.02)


def test_p_value_by_hand():
    assert p_value(np.ones(99)) == pytest.approx(0.02)
    assert p_value(np.append(np.ones(97), [-1.0, -1.0])) == pytest.approx(0.06)
    assert p_value(np.array([-1.0, 1.0])) == 1.0
    assert p_value(np.zeros(99)) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []


@pytest.mark.parametrize(
    ("values", "floor", "place"),
    [
        ([0.50, 0.90, 0.94, 0.96, 1.00], 0.0, 3),
        ([0.50, 0.95, 1.00], 0.0, 1),  # exactly on the line counts
        ([0.50, 19 / 26, 0.74, 20 / 26], 0.0, 1),  # and is not lost to rounding
        ([0.50, 0.95, 1.00], 0.5, 2),  # 90 % of the gain only
        ([0.50, 0.98, 0.90, 1.00], 0.0, 1),  # the smallest, even if the curve falls again
        ([np.nan, 0.96, 1.00], 0.0, 1),
        ([0.50, 0.50], 0.5, None),  # full data gain nothing
        ([0.60, 0.40], 0.5, None),
        ([0.60, np.nan], 0.0, None),
    ],
)
def test_dots(values, floor, place):
    assert first_reaching(values, floor) == place
