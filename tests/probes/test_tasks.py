"""Binary tasks: threshold, tie rule, balance, unknown labels."""

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.features import read_labels
from terraprobe.probes.tasks import classify, define_task


def test_a_label_equal_to_the_median_is_negative():
    task = define_task("t", np.array([1.0, 2.0, 2.0, 2.0, 9.0, 9.0, 9.0]))
    assert task.threshold == 2.0
    assert task.positive_share == pytest.approx(3 / 7)
    positive, known = classify(np.array([2.0, 2.1, 1.0, np.nan]), task.threshold)
    assert positive.tolist() == [False, True, False, False]
    assert known.tolist() == [True, True, True, False]


def test_distinct_values_make_a_balanced_task():
    task = define_task("t", np.arange(100.0))
    assert (task.balanced, task.metric) == (True, "accuracy")


@pytest.mark.parametrize(("positives", "balanced"), [(39, False), (40, True), (45, True)])
def test_a_mostly_zero_label_is_unbalanced_below_40_percent(positives, balanced):
    task = define_task("water", np.concatenate([np.zeros(100 - positives), np.ones(positives)]))
    assert task.threshold == 0.0
    assert task.balanced is balanced
    assert task.metric == ("accuracy" if balanced else "balanced_accuracy")
    assert not task.reason


def test_unknown_labels_are_left_out_and_counted():
    task = define_task("t", np.array([1.0, np.nan, 3.0, np.nan, np.inf]))
    assert (task.n_train, task.n_unlabelled, task.threshold) == (2, 3, 2.0)


def test_impossible_tasks_say_why():
    assert "one class" in define_task("t", np.full(10, 0.3)).reason
    assert "one class" in define_task("t", np.array([0.0, 1.0, 1.0, 1.0])).reason  # nothing lies above its median
    assert "no train chip has a label" in define_task("t", np.full(4, np.nan)).reason


def test_a_class_is_refused_as_a_task(tmp_path):
    chips = pd.DataFrame({"chip_id": ["a", "b"], "block": ["x", "x"], "split": ["train", "train"]})
    labels = tmp_path / "labels.parquet"
    write_table(labels, pd.DataFrame({"chip_id": ["a", "b"], "water": [0.5, None], "cover_class": ["crop", None]}))
    np.testing.assert_array_equal(read_labels(labels, chips, ["water"])["water"], [0.5, np.nan])
    with pytest.raises(TerraprobeError, match="cover_class holds classes, and a forest's task needs a number"):
        read_labels(labels, chips, ["water", "cover_class"])
