"""The support vector machine on z: separable z, scaling, whose labels are read, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.svm import call_classes, svm_calls

CLASSES = ("crop", "tree")


def clouds(n, rng, gap=4.0):
    """Two classes that the first value of z tells apart."""
    names = np.array(CLASSES)[np.arange(n) % 2]
    z = rng.normal(size=(n, 3)).astype(np.float32)
    z[:, 0] += gap * (names == "tree")
    return z, names


def test_separable_classes_are_told_apart():
    rng = np.random.default_rng(0)
    train, test = clouds(60, rng, gap=9.0), clouds(40, rng, gap=9.0)
    assert (call_classes(*train, test[0]) == test[1]).all()


def test_every_value_counts_alike_whatever_its_unit():
    rng = np.random.default_rng(1)
    (train, names), (test, _) = clouds(60, rng), clouds(40, rng)
    # Powers of two: scaling is exact.
    unit = np.array([1, 2**20, 2**-20], np.float32)
    assert (call_classes(train, names, test) == call_classes(train * unit, names, test * unit)).all()


@pytest.fixture
def world(tmp_path):
    """Chips, labels and embeddings of an encoder whose z knows the class and of a twin whose z does not."""
    rng = np.random.default_rng(2)
    z, names = clouds(60, rng, gap=9.0)
    ids = [f"c{k:02d}" for k in range(60)]
    split = np.array(["train", "train", "test"])[np.arange(60) // 2 % 3]
    write_table(tmp_path / "chips.parquet", pd.DataFrame({"chip_id": ids, "block": ids, "split": split}))
    write_table(tmp_path / "labels.parquet", pd.DataFrame({"chip_id": ids, "cover_class": names}))
    rows = [
        pd.DataFrame({"chip_id": ids, "init": init, "modality": "s2", "embedding": list(values)})
        for init, values in (("trained", z), ("random-0", rng.normal(size=z.shape).astype(np.float32)))
    ]
    write_table(tmp_path / "e.parquet", pd.concat(rows, ignore_index=True), {"encoder": "auto"})
    return tmp_path


def calls(world):
    files = (world / f"{name}.parquet" for name in ("e", "chips", "labels"))
    return svm_calls(*files, "cover_class", CLASSES)


def test_test_chips_are_called_by_what_train_chips_taught(world):
    found, labels = calls(world), pd.read_parquet(world / "labels.parquet")
    chips = pd.read_parquet(world / "chips.parquet")
    own = found[found["init"] == "trained"].merge(labels)
    assert set(own["chip_id"]) == set(chips.loc[chips["split"] == "test", "chip_id"])
    assert (own["called"] == own["cover_class"]).all()
    other = found[found["init"] == "random-0"].merge(labels)
    assert (other["called"] != other["cover_class"]).any()


def test_no_label_of_a_test_chip_is_read(world):
    before = calls(world)
    labels, chips = pd.read_parquet(world / "labels.parquet"), pd.read_parquet(world / "chips.parquet")
    labels.loc[(chips["split"] == "test").to_numpy(), "cover_class"] = "poison"
    write_table(world / "labels.parquet", labels)
    pd.testing.assert_frame_equal(calls(world), before)


def test_one_class_is_one_sentence(world):
    labels = pd.read_parquet(world / "labels.parquet").assign(cover_class="crop")
    write_table(world / "labels.parquet", labels)
    with pytest.raises(TerraprobeError, match="have 1 of the classes of cover_class; a support vector machine needs"):
        calls(world)
