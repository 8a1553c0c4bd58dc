"""Scores of autoencoders: means and intervals by hand, twins and floors, pairs, what is left out, what is refused."""

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.reconstruction_scores import ReconstructionRecipe, score_reconstruction
from terraprobe.statistics import block_weights, stream_seed

ARMS = {"plain": ("plain_s0", "plain_s1"), "cbn": ("cbn_s0", "cbn_s1")}
LEVEL = {"plain_s0": 0.10, "plain_s1": 0.12, "cbn_s0": 0.05, "cbn_s1": 0.07}
INITS = {"trained": 0.0, "random-0": 0.3, "random-1": 0.4, "mean": 0.2}


@pytest.fixture
def world(tmp_path):
    """Eight blocks of three test chips; errors that differ by chip; `cbn` calls every class right, `plain` crop."""
    rng = np.random.default_rng(0)
    rows = [(f"c{b:02d}{k}", f"b{b}", "train" if b < 4 else "test") for b in range(12) for k in range(3)]
    chips = pd.DataFrame(rows, columns=["chip_id", "block", "split"])
    truth = np.array([("crop", "tree", "tree")[k % 3] for k in range(len(chips))], object)
    write_table(tmp_path / "chips.parquet", chips)
    write_table(tmp_path / "labels.parquet", pd.DataFrame({"chip_id": chips["chip_id"], "cover_class": truth}))
    test = chips["split"] == "test"
    noise = rng.uniform(0, 0.02, test.sum())
    for member, level in LEVEL.items():
        parts = []
        for init, more in INITS.items():
            right = truth[test] if member.startswith("cbn") and init == "trained" else "crop"
            called = None if init == "mean" else right
            parts.append(pd.DataFrame({"chip_id": chips["chip_id"][test], "init": init, "called": called,
                                       "l1": (0.0 if init == "mean" else level) + more + noise,
                                       "ssim": 0.9 - level - more - noise}))  # fmt: skip
        write_table(tmp_path / "errors" / f"{member}.parquet", pd.concat(parts, ignore_index=True))
    return tmp_path


def scored(world, **changes):
    recipe = {"evaluation": "e", "collection": "land", "label": "cover_class", "classes": ("crop", "tree"),
              "arms": ARMS}  # fmt: skip
    content = ReconstructionRecipe(**{**recipe, **changes})
    score_reconstruction(
        errors=sorted(world.glob("errors/*.parquet")),
        chips=world / "chips.parquet",
        labels=[world / "labels.parquet"] if content.label else [],
        recipe=content,
        scores=world / "scores.parquet",
        differences=world / "differences.parquet",
    )
    return read_table(world / "scores.parquet"), read_table(world / "differences.parquet")


def row(table, **wanted):
    (found,) = [r for r in table.to_dict("records") if all(r[key] == value for key, value in wanted.items())]
    return found


def mean_of(world, member, init, column):
    errors = read_table(world / f"errors/{member}.parquet")
    return errors.loc[errors["init"] == init, column].mean()


def test_means_of_chips_then_of_seeds(world):
    scores, _ = scored(world)
    for column in ("l1", "ssim"):
        own = [mean_of(world, m, "trained", column) for m in ARMS["plain"]]
        assert row(scores, encoder="plain_s1", metric=column)["value"] == pytest.approx(own[1])
        arm = row(scores, arm="plain", init="trained", encoder="", metric=column)
        assert arm["value"] == pytest.approx(np.mean(own))
        assert arm["sd"] == pytest.approx(np.std(own, ddof=1))
        assert (arm["n_seeds"], arm["n_test"], arm["n_blocks"], arm["few_blocks"]) == (2, 24, 8, True)


def test_floors_stand_beside_them(world):
    scores, _ = scored(world)
    twins = [mean_of(world, m, f"random-{k}", "l1") for m in ARMS["cbn"] for k in (0, 1)]
    arm = row(scores, arm="cbn", init="untrained", metric="l1")
    assert (arm["value"], arm["n_seeds"]) == (pytest.approx(np.mean(twins)), 4)
    mean = row(scores, arm="mean train chip", metric="l1")
    assert mean["value"] == pytest.approx(mean_of(world, "plain_s0", "mean", "l1"))
    assert row(scores, arm="majority class", metric="svm")["value"] == pytest.approx(2 / 3)  # tree
    assert not len(scores[(scores["arm"] == "mean train chip") & (scores["metric"] == "svm")])


def test_classes_that_are_called(world):
    scores, differences = scored(world)
    assert row(scores, arm="cbn", init="trained", encoder="", metric="svm")["value"] == 1
    assert row(scores, arm="plain", init="trained", encoder="", metric="svm")["value"] == pytest.approx(1 / 3)
    assert row(scores, arm="cbn", init="untrained", metric="svm")["value"] == pytest.approx(1 / 3)
    pair = row(differences, arm="cbn", rival="majority class", metric="svm")
    assert pair["difference"] == pytest.approx(1 / 3)


def test_the_interval_is_of_resampled_blocks(world):
    scores, _ = scored(world, seed=5)
    errors = read_table(world / "errors/plain_s0.parquet").merge(read_table(world / "chips.parquet"))
    sums = errors[errors["init"] == "trained"].groupby("block")["l1"].sum().to_numpy()
    weights = block_weights(8, 2000, stream_seed(5, "land"))
    low, high = np.quantile(weights @ sums / 24, [0.025, 0.975])
    own = row(scores, encoder="plain_s0", metric="l1")
    assert (own["low"], own["high"]) == pytest.approx((low, high))


def test_pairs_are_of_the_same_blocks(world):
    _, differences = scored(world)
    pairs = {(r["metric"], r["arm"], r["rival"], r["rival_init"]) for r in differences.to_dict("records")}
    for metric, floor in (("l1", "mean train chip"), ("ssim", "mean train chip"), ("svm", "majority class")):
        own = {(a, r, i) for m, a, r, i in pairs if m == metric}
        assert own == {("plain", "cbn", "trained"), ("plain", "plain", "untrained"), ("cbn", "cbn", "untrained"),
                       ("plain", floor, ""), ("cbn", floor, "")}  # fmt: skip
    pair = row(differences, metric="l1", arm="plain", rival="cbn")
    assert pair["difference"] == pytest.approx(0.05)
    # The noise of the chips is that of both: it goes out of the difference, and only the seeds are left.
    assert (pair["low"], pair["high"]) == (pytest.approx(0.05), pytest.approx(0.05))
    assert (differences["p_holm"] >= differences["p"]).all()


def test_all_stand_on_chips_that_all_can_see(world):
    table = read_table(world / "errors/cbn_s0.parquet")
    write_table(world / "errors/cbn_s0.parquet", table[~table["chip_id"].isin(["c040", "c041"])])
    labels = read_table(world / "labels.parquet")
    labels.loc[labels["chip_id"].isin(["c041", "c042", "c050"]), "cover_class"] = None
    write_table(world / "labels.parquet", labels)
    scores, _ = scored(world)
    l1, svm = (scores[scores["metric"] == metric] for metric in ("l1", "svm"))
    assert set(zip(l1["n_test"], l1["n_unseen"], l1["n_unlabelled"], strict=True)) == {(22, 2, 0)}
    assert set(zip(svm["n_test"], svm["n_unseen"], svm["n_unlabelled"], strict=True)) == {(20, 2, 2)}


def test_without_a_label_there_are_images_alone(world):
    scores, differences = scored(world, label="", classes=())
    assert set(scores["metric"]) == set(differences["metric"]) == {"l1", "ssim"}


def test_what_cannot_be_scored_is_one_sentence(world):
    with pytest.raises(TerraprobeError, match="no errors of gone among cbn_s0"):
        scored(world, arms={"gone": ("gone",)})
    with pytest.raises(TerraprobeError, match="has a known cover_class"):
        scored(world, classes=("moss",))
    table = read_table(world / "errors/cbn_s0.parquet")
    write_table(world / "errors/cbn_s0.parquet", table[:0])
    with pytest.raises(TerraprobeError, match="no test chip of land can be seen by all of plain, cbn"):
        scored(world)
