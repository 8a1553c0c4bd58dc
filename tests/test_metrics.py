"""Metrics by hand."""

import numpy as np
import pytest

from terraprobe.metrics import accuracy, balanced_accuracy, block_counts


def test_counts_per_block_by_hand():
    truth = np.array([True, True, False, False, True])
    called = np.array([True, False, False, True, True])
    counts = block_counts(truth, called, np.array([0, 0, 0, 2, 2]), 3)
    assert counts.tolist() == [[1, 1, 2, 1], [0, 0, 0, 0], [1, 0, 1, 1]]


def test_metrics_by_hand():
    counts = np.array([6.0, 1.0, 8.0, 2.0])  # 6 of 8 positives, 1 of 2 negatives
    assert accuracy(counts) == pytest.approx(0.7)
    assert balanced_accuracy(counts) == pytest.approx(0.625)


def test_a_constant_predictor_gains_nothing_from_imbalance():
    always_positive = np.array([90.0, 0.0, 90.0, 10.0])
    assert accuracy(always_positive) == pytest.approx(0.9)
    assert balanced_accuracy(always_positive) == pytest.approx(0.5)


def test_what_is_not_defined_is_nan():
    assert np.isnan(balanced_accuracy(np.array([3.0, 0.0, 4.0, 0.0])))
    assert np.isnan(balanced_accuracy(np.array([0.0, 1.0, 0.0, 4.0])))
    assert accuracy(np.array([3.0, 0.0, 4.0, 0.0])) == 0.75
    assert np.isnan(accuracy(np.zeros(4)))
