"""Metrics by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from terraprobe.metrics import accuracy, balanced_accuracy, block_counts, class_counts, class_f1, macro_f1, roc_auc


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


def test_f1_of_classes_by_hand():
    truth, called = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    counts = class_counts(truth, called, np.array([0, 0, 0, 1, 1]), 2, 4)
    assert counts.shape == (2, 4, 3)
    whole = counts.sum(axis=0)
    assert whole[:, :2].tolist() == [[1, 2], [2, 2], [0, 1], [0, 0]]
    # 2 * 1 / (2 + 2), 2 * 2 / (2 + 3), 0 / 1; class 3 occurs nowhere and counts for nothing
    np.testing.assert_allclose(class_f1(whole), [0.5, 0.8, 0, np.nan])
    assert macro_f1(whole) == pytest.approx(1.3 / 3)
    assert macro_f1(whole) == pytest.approx(f1_score(truth, called, average="macro"))
    assert np.isnan(macro_f1(np.zeros((4, 3))))


def test_area_under_the_roc_curve_by_hand():
    truth = np.array([True, False, True, False])
    assert roc_auc(truth, np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx(0.75)
    scores = np.random.default_rng(0).integers(0, 5, (3, 40)) / 5
    inside = np.arange(40) % 3 == 0
    np.testing.assert_allclose(roc_auc(inside, scores), [roc_auc_score(inside, row) for row in scores])
    assert np.isnan(roc_auc(np.ones(4, bool), np.arange(4.0)))
