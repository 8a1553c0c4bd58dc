"""Scores of pixel classes, by hand and against a direct count."""

import numpy as np
import pytest

from terraprobe.probes.confusion import SCORES, class_scores, overall_scores
from terraprobe.probes.labelled_pixels import UNKNOWN, count_pixels


def scores(counts, present):
    return dict(zip(SCORES, overall_scores(np.array(counts, float), present), strict=True))


def test_by_hand():
    found = scores([[3, 1], [2, 4]], 2)
    assert found["oa"] == pytest.approx(7 / 10)
    assert found["aa"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert found["miou"] == pytest.approx((3 / 6 + 4 / 7) / 2)


def test_a_class_that_the_reference_lacks_is_skipped_or_counts_as_zero():
    accuracy, iou = class_scores(np.array([[3.0, 0, 1], [0, 0, 0], [0, 0, 4]]))
    np.testing.assert_allclose(accuracy, [3 / 4, np.nan, 1])
    np.testing.assert_allclose(iou, [3 / 4, np.nan, 4 / 5])
    found = scores([[3, 0, 1], [0, 0, 0], [0, 0, 4]], 2)
    assert found["aa"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["aa_zero"] == pytest.approx((3 / 4 + 1) / 3)
    assert found["miou_zero"] == pytest.approx((3 / 4 + 4 / 5) / 3)


def test_calling_an_absent_class_costs_the_class_that_was_there():
    assert scores([[3, 1], [0, 0]], 1)["miou"] == pytest.approx(3 / 4)


def test_a_resample_without_a_rare_class_skips_it_in_both():
    found = scores([[5, 0], [0, 0]], 2)
    assert found["miou"] == found["miou_zero"] == 1


def test_nothing_to_judge_is_not_a_number():
    assert np.isnan(overall_scores(np.zeros((2, 2)), 0)).all()


def test_counts_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, UNKNOWN], (3, 5, 4)).astype(np.uint8)
    called = rng.integers(0, 3, truth.shape).astype(np.uint8)
    expected = np.zeros((3, 3, 3))
    for place in np.ndindex(truth.shape):
        if truth[place] != UNKNOWN:
            expected[place[0], truth[place], called[place]] += 1
    np.testing.assert_array_equal(count_pixels(truth, called, 3), expected)
