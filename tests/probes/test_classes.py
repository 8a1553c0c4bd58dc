"""Scores of supervised encoders: accuracies, Gen-ML and Gen-Geo by hand, the floor, what is left out, intervals."""

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.metrics import epochs_to, f1_scores, regional_gap
from terraprobe.probes.classes import ClassesRecipe, score_classes
from terraprobe.statistics import block_weights, stream_seed

CLASSES = ("crop", "tree", "water")


def chips_of(n_blocks=8):
    """Blocks of 4 chips; test blocks lie in two regions of unequal size."""
    rows = []
    for block in range(n_blocks * 3):
        split = ("train", "val", "test")[block % 3]
        region = "alpine" if block < n_blocks else "boreal"
        rows += [(f"c{block:02d}-{k}", f"b{block:02d}", split, region) for k in range(4)]
    return pd.DataFrame(rows, columns=["chip_id", "block", "split", "region"])


def truth_of(chips):
    return np.array([CLASSES[(7 * k + k // 5) % 3] for k in range(len(chips))], object)


def called(truth, wrong, rng):
    """The truth, but wrong for a share of the chips."""
    out = truth.copy()
    miss = rng.random(len(truth)) < wrong
    out[miss] = [CLASSES[(CLASSES.index(c) + 1) % 3] for c in truth[miss]]
    return out


@pytest.fixture
def world(tmp_path):
    """Two arms of two seeds; `good` is wrong on a tenth of the chips, `bad` on half."""
    rng = np.random.default_rng(0)
    chips = chips_of()
    truth = truth_of(chips)
    write_table(tmp_path / "chips.parquet", chips)
    write_table(tmp_path / "labels.parquet", pd.DataFrame({"chip_id": chips["chip_id"], "cover_class": truth}))
    for name, wrong in (("good_s0", 0.1), ("good_s1", 0.1), ("bad_s0", 0.5), ("bad_s1", 0.5)):
        (tmp_path / name).mkdir()
        frame = pd.DataFrame({"chip_id": chips["chip_id"], "predicted": called(truth, wrong, rng), "probability": 0.9})
        write_table(tmp_path / name / "land.parquet", frame, {"encoder_sha256": name})
    return tmp_path


def scored(world, **changes):
    arms = {"good": ("good_s0", "good_s1"), "bad": ("bad_s0", "bad_s1")}
    recipe = {"evaluation": "e", "collection": "land", "label": "cover_class", "classes": CLASSES, "arms": arms}
    score_classes(
        predictions=sorted(world.glob("*/land.parquet")),
        chips=world / "chips.parquet",
        labels=world / "labels.parquet",
        recipe=ClassesRecipe(**{**recipe, **changes}),
        scores=world / "scores.parquet",
        regions=world / "regions.parquet",
        differences=world / "differences.parquet",
        blocks=world / "blocks.parquet",
    )
    return tuple(read_table(world / f"{name}.parquet") for name in ("scores", "regions", "differences"))


def right_of(world, member):
    table = read_table(world / "chips.parquet").merge(read_table(world / "labels.parquet"))
    table = table.merge(read_table(world / member / "land.parquet"))
    return table.assign(right=table["cover_class"] == table["predicted"])


def test_gen_geo_by_hand():
    # Region a: 3 of 4 right, region b: 1 of 2; overall 4 of 6 = 2/3. sqrt(((3/4 - 2/3)^2 + (1/2 - 2/3)^2) / 2)
    right = np.array([1, 1, 1, 0, 1, 0], bool)
    region = np.array(["a", "a", "a", "a", "b", "b"])
    assert regional_gap(right, region) == pytest.approx(np.sqrt(((1 / 12) ** 2 + (1 / 6) ** 2) / 2))
    assert regional_gap(np.ones(6, bool), region) == 0
    assert np.isnan(regional_gap(right, np.array(["a"] * 6)))
    assert np.isnan(regional_gap(right, np.array([""] * 3 + ["a"] * 3)))


def test_every_metric_by_hand(world):
    scores, regions, _ = scored(world)
    table = right_of(world, "good_s1")
    by = {split: table.loc[table["split"] == split, "right"].mean() for split in ("train", "val", "test")}
    own = scores[scores["encoder"] == "good_s1"].set_index("metric")["value"]
    assert own["accuracy"] == pytest.approx(by["test"])
    assert own["train_accuracy"] == pytest.approx(by["train"])
    assert own["val_accuracy"] == pytest.approx(by["val"])
    assert own["gen_ml"] == pytest.approx(by["train"] - by["test"])
    test = table[table["split"] == "test"]
    per_region = test.groupby("region")["right"].mean()
    assert own["gen_geo"] == pytest.approx(np.sqrt(((per_region - by["test"]) ** 2).mean()))
    told = regions[regions["encoder"] == "good_s1"].set_index("region")["accuracy"]
    assert told.to_dict() == pytest.approx(per_region.to_dict())


def test_an_arm_is_the_mean_and_sd_of_its_seeds(world):
    scores, _, _ = scored(world)
    for metric in ("accuracy", "gen_ml", "gen_geo"):
        rows = scores[(scores["arm"] == "bad") & (scores["metric"] == metric)]
        seeds, arm = rows[rows["encoder"] != ""]["value"], rows[rows["encoder"] == ""].iloc[0]
        assert len(seeds) == 2
        assert arm["value"] == pytest.approx(seeds.mean())
        assert arm["sd"] == pytest.approx(seeds.std(ddof=1))
        assert arm["n_seeds"] == 2


def test_the_interval_is_of_resampled_blocks(world):
    scores, _, _ = scored(world, seed=5)
    test = right_of(world, "good_s0").query("split == 'test'")
    hits = test.groupby("block")["right"].sum().to_numpy(float)
    weights = block_weights(len(hits), 2000, stream_seed(5, "land"))
    low, high = np.quantile(weights @ hits / (weights.sum(axis=1) * 4), [0.025, 0.975])
    row = scores.query("encoder == 'good_s0' and metric == 'accuracy'").iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert (row["n_blocks"], row["few_blocks"]) == (8, True)


def test_the_majority_class_is_that_of_the_train_chips(world):
    labels, chips = read_table(world / "labels.parquet"), read_table(world / "chips.parquet")
    labels.loc[(chips["split"] == "train").to_numpy(), "cover_class"] = "water"
    write_table(world / "labels.parquet", labels)
    scores, _, _ = scored(world)
    row = scores.query("arm == 'majority' and encoder == ''").iloc[0]
    test = labels[(chips["split"] == "test").to_numpy()]
    assert row["majority"] == "water"
    assert row["value"] == pytest.approx((test["cover_class"] == "water").mean())


def test_all_encoders_stand_on_chips_that_all_can_see_and_that_have_a_class(world):
    table = read_table(world / "bad_s0/land.parquet")
    test = read_table(world / "chips.parquet").query("split == 'test'")["chip_id"].tolist()
    write_table(world / "bad_s0/land.parquet", table[~table["chip_id"].isin(test[:3])])
    labels = read_table(world / "labels.parquet")
    labels.loc[labels["chip_id"].isin(test[2:5]), "cover_class"] = None
    labels.loc[labels["chip_id"] == test[5], "cover_class"] = "moss"  # a class that the encoders did not learn
    write_table(world / "labels.parquet", labels)
    scores, _, _ = scored(world)
    assert set(scores["n_test"]) == {len(test) - 6}
    assert set(scores["n_unlabelled"]) == {4}
    assert set(scores["n_unseen"]) == {2}


def test_differences_are_paired_and_corrected(world):
    scores, _, differences = scored(world)
    pairs = {(row["arm"], row["rival"]): row for row in differences.to_dict("records")}
    assert set(pairs) == {("good", "bad"), ("good", "majority"), ("bad", "majority")}
    row = pairs["good", "bad"]
    value = scores.query("encoder == '' and metric == 'accuracy'").set_index("arm")["value"]
    assert row["difference"] == pytest.approx(value["good"] - value["bad"])
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert (differences["p_holm"] >= differences["p"]).all()


def test_counts_by_block_are_what_the_accuracy_is_made_of(world):
    scores, _, _ = scored(world)
    counts = read_table(world / "blocks.parquet")
    sums = counts.groupby(["arm", "encoder"], sort=False)[["right", "n_test"]].sum()
    assert sums.index.tolist()[:3] == [("good", "good_s0"), ("good", "good_s1"), ("bad", "bad_s0")]
    accuracy = scores[(scores["metric"] == "accuracy") & (scores["encoder"] != "")].set_index("encoder")["value"]
    for (_, encoder), row in sums.drop("majority").iterrows():
        assert row["right"] / row["n_test"] == pytest.approx(accuracy[encoder])
    own = counts[counts["encoder"] == "bad_s1"].set_index("block")
    test = right_of(world, "bad_s1").query("split == 'test'").groupby("block")["right"]
    assert own["right"].to_dict() == test.sum().to_dict()
    assert own["n_test"].to_dict() == test.size().to_dict()


def test_an_encoder_against_itself_differs_by_nothing(world):
    _, _, differences = scored(world, arms={"one": ("good_s0",), "two": ("good_s0",)})
    row = differences.query("arm == 'one' and rival == 'two'").iloc[0]
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)


def test_what_cannot_be_scored_is_one_sentence(world):
    with pytest.raises(TerraprobeError, match="no predictions of gone among bad_s0"):
        scored(world, arms={"gone": ("gone",)})
    with pytest.raises(TerraprobeError, match="no chip-level classes other_class"):
        scored(world, label="other_class")
    with pytest.raises(TerraprobeError, match=r"no train chip of land has a known cover_class .* all of good, bad"):
        scored(world, classes=("moss", "snow"))


def test_f1_by_hand():
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]], bool)
    called = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], bool)
    # Class a: 2 hits, 2 true, 2 called: 1. Class b: 1 hit, 2 true, 2 called: 1/2. Class c: nowhere.
    assert f1_scores(truth, called) == pytest.approx({"f1_micro": 2 * 3 / 8, "f1_macro": 0.75})


def test_several_classes_a_chip(world):
    labels = read_table(world / "labels.parquet")
    truth = [f"{name} tree" if name != "tree" else "tree" for name in labels["cover_class"]]
    write_table(world / "labels.parquet", labels.assign(cover_classes=truth))
    table = read_table(world / "good_s0/land.parquet")
    said = ["tree" if k % 2 else "" for k in range(len(table))]
    write_table(world / "good_s0/land.parquet", table.assign(predicted=said))
    scores, _, _ = scored(world, label="cover_classes", multi_label=True)
    test = (read_table(world / "chips.parquet")["split"] == "test").to_numpy()
    right = [1 - len(set(t.split()) ^ set(c.split())) / 3 for t, c in zip(truth, said, strict=True)]
    own = scores[scores["encoder"] == "good_s0"].set_index("metric")["value"]
    assert own["accuracy"] == pytest.approx(np.array(right)[test].mean())
    assert {"f1_micro", "f1_macro"} <= set(own.index)
    floor = scores.query("arm == 'majority' and encoder == ''").iloc[0]
    assert floor["majority"] == "tree"  # the one class that more than half of the train chips have
    constant = [1 - len(set(t.split()) ^ {"tree"}) / 3 for t in truth]
    assert floor["value"] == pytest.approx(np.array(constant)[test].mean())


def test_epochs_to_a_level_by_hand():
    fast, slow = np.array([0.5, 0.9, 1.0]), np.array([0.3, 0.5])
    # Means: 0.4, 0.7, and 0.75, because the slow run ended with 0.5.
    assert epochs_to(0.55, [fast, slow]) == pytest.approx(1.5)
    assert epochs_to(0.72, [fast, slow]) == pytest.approx(2.4)
    # Averaged first: the mean of the runs' own crossings would be 1.125 and never.
    assert np.isnan(epochs_to(0.8, [fast, slow]))
    assert epochs_to(0.4, [fast, slow]) == 1
    assert np.isnan(epochs_to(0.5, []))
