"""Scores of probes band by band: F1 by hand, means over views, pairs, intervals, pools, and what is refused."""

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import f1_score

from mlp_world import ARMS, BLOCKS, CLASSES, DRAWS, PER_BLOCK, score, write_world
from terraprobe.artifacts import read_arrays, read_json, read_table, write_arrays, write_json, write_table
from terraprobe.cli import recipe_json
from terraprobe.errors import TerraprobeError
from terraprobe.probes.mlp_pools import MlpPoolRecipe, pool_mlp
from terraprobe.probes.mlp_scores import FALSE_POSITIVES, MlpScoresRecipe, roc_curve
from terraprobe.statistics import block_weights, stream_seed


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path)


def row(table, **wanted):
    (found,) = [r for r in table.to_dict("records") if all(r[key] == value for key, value in wanted.items())]
    return found


def by_hand(world, member, view, init="trained", left_out=()):
    """Macro F1 of every draw, by scikit-learn."""
    labels = read_table(world / "labels.parquet")["cover_class"]
    kept = labels.isin(CLASSES).to_numpy() & ~np.isin(np.arange(len(labels)), left_out)
    choices = read_json(world / f"mlp/{member}.json")["choices"]
    (k,) = [k for k, c in enumerate(choices) if (c["view"], c["init"]) == (view, init)]
    called = np.array(CLASSES)[read_arrays(world / f"mlp/{member}.called.npz")[str(k)].argmax(axis=2)]
    return [f1_score(labels[kept].astype(str), own[kept], average="macro") for own in called]


def test_macro_f1_is_the_mean_over_draws_then_seeds(world):
    scores = score(world)["scores"]
    own = [np.mean(by_hand(world, m, "B08")) for m in ARMS["good"]]
    found = row(scores, arm="good", init="trained", view="B08", metric="f1_macro")
    assert found["value"] == pytest.approx(np.mean(own))
    assert found["sd"] == pytest.approx(np.std(own, ddof=1))
    assert (found["n_runs"], found["n_draws"], found["n_test"], found["n_blocks"]) == (2, DRAWS, 38, BLOCKS)
    assert (found["n_unlabelled"], found["n_untaught"], found["few_blocks"]) == (1, 1, True)
    assert found["low"] < found["value"] < found["high"]


def test_all_arms_of_a_view_stand_on_chips_that_all_have_seen(world):
    scores = score(world)["scores"]
    vv = scores[(scores["view"] == "VV") & (scores["metric"] == "f1_macro")]
    assert set(vv["n_test"]) == {37}
    own = [np.mean(by_hand(world, m, "VV", left_out=(3,))) for m in ARMS["good"]]
    assert row(vv, arm="good", init="trained")["value"] == pytest.approx(np.mean(own))


def test_means_over_views_and_their_groups(world):
    scores = score(world)["scores"]
    f1 = scores[(scores["metric"] == "f1_macro") & (scores["arm"] == "bad") & (scores["init"] == "trained")]
    each = {r["view"]: r["value"] for r in f1.to_dict("records") if r["view"]}
    assert row(f1, group="all", view="")["value"] == pytest.approx(np.mean(list(each.values())))
    assert row(f1, group="ms", view="")["value"] == pytest.approx((each["B04"] + each["B08"]) / 2)
    assert row(f1, group="sar", view="")["value"] == pytest.approx(each["VV"])
    assert row(f1, group="all", view="")["n_views"] == 3


def test_floors_stand_beside_them(world):
    scores = score(world)["scores"]
    f1 = scores[(scores["metric"] == "f1_macro") & (scores["view"] == "B04")]
    assert set(zip(f1["arm"], f1["init"], strict=True)) == {
        ("good", "trained"), ("good", "untrained"), ("bad", "trained"), ("bad", "untrained"),
        ("image statistics", ""), ("majority class", ""),
    }  # fmt: skip
    twins = [np.mean(by_hand(world, m, "B04", "random-0")) for m in ARMS["good"]]
    assert row(f1, arm="good", init="untrained")["value"] == pytest.approx(np.mean(twins))
    labels = read_table(world / "labels.parquet")["cover_class"]
    known = labels[labels.isin(CLASSES)].astype(str)
    constant = f1_score(known, np.full(len(known), "tree"), average="macro")
    assert row(f1, arm="majority class")["value"] == pytest.approx(constant)


def test_the_interval_is_of_resampled_blocks(world):
    """One seed and one draw: nothing but blocks is resampled."""
    archive = read_arrays(world / "mlp/good_s0.called.npz")
    write_arrays(world / "mlp/good_s0.called.npz", {k: v if v.dtype.kind == "U" else v[:1] for k, v in archive.items()})
    scores = score(world, arms=(("good", ("good_s0",)),), seed=5)["scores"]
    labels = read_table(world / "labels.parquet")["cover_class"]
    truth, block = labels.to_numpy(), np.arange(len(labels)) // PER_BLOCK
    called = np.array(CLASSES)[archive["0"][0].argmax(axis=1)]
    values = []
    for weights in block_weights(BLOCKS, 300, stream_seed(5, "land")):
        chosen = np.repeat(np.arange(len(truth)), weights[block].astype(int) * labels.isin(CLASSES))
        values.append(f1_score(truth[chosen].astype(str), called[chosen], average="macro"))
    low, high = np.quantile(values, [0.025, 0.975])
    found = row(scores, arm="good", init="trained", view="B04", metric="f1_macro")
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


def test_every_class_has_an_f1_and_an_area(world):
    scores, curves = (score(world)[name] for name in ("scores", "curves"))
    own = scores[(scores["arm"] == "good") & (scores["init"] == "trained") & (scores["view"] == "B08")]
    f1 = own[own["metric"] == "f1"].set_index("class_name")["value"]
    assert f1.mean() == pytest.approx(row(own, metric="f1_macro")["value"])  # all classes occur in every draw
    areas = own[own["metric"] == "roc_auc"].set_index("class_name")["value"]
    assert (areas > 0.8).all() and list(areas.index) == list(CLASSES)
    assert set(curves["view"]) == {"B04", "VV"} and set(curves["arm"]) == {"good", "bad"}
    water = curves[(curves["view"] == "B04") & (curves["arm"] == "good") & (curves["class_name"] == "water")]
    assert len(water) == len(FALSE_POSITIVES) and water["tpr"].is_monotonic_increasing
    under = scores[(scores["arm"] == "good") & (scores["init"] == "trained") & (scores["view"] == "B04")]
    area = row(under, metric="roc_auc", class_name="water")["value"]
    assert np.trapezoid(water["tpr"], water["fpr"]) == pytest.approx(area, abs=0.01)


def test_named_views_have_curves(world):
    assert set(score(world, roc=("B08",))["curves"]["view"]) == {"B08"}
    with pytest.raises(TerraprobeError, match="roc names B99, but what is seen are B04, B08, VV"):
        score(world, roc=("B99",))


def test_a_roc_curve_by_hand():
    # Thresholds above .9: nothing; .8 (two chips, one of each): half and half; all.
    rates = roc_curve(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.8, 0.1]))
    assert rates[0] == 0.5 and rates[25] == pytest.approx(0.75) and rates[50] == 1 and rates[-1] == 1


def test_pairs_are_of_the_same_blocks_and_views(world):
    differences = score(world)["differences"]
    means = differences[(differences["view"] == "") & (differences["group"] == "all")]
    pairs = set(zip(means["arm"], means["rival"], means["rival_init"], strict=True))
    floors = (("image statistics", ""), ("majority class", ""))
    assert pairs == {
        *((arm, *floor) for arm in ARMS for floor in floors),
        ("good", "good", "untrained"), ("bad", "bad", "untrained"), ("bad", "good", "trained"),
    }  # fmt: skip
    pair = row(means, arm="bad", rival="good")
    scores = score(world)["scores"]
    f1 = scores[(scores["metric"] == "f1_macro") & (scores["init"] == "trained")].set_index(["arm", "group", "view"])
    gap = f1.loc[("bad", "all", ""), "value"] - f1.loc[("good", "all", ""), "value"]
    assert pair["difference"] == pytest.approx(gap)
    assert pair["high"] < 0 and pair["p"] < 0.05
    assert (differences["p_holm"] >= differences["p"]).all()
    values = [[f1.loc[(arm, g, v), "value"] for g, v in (("ms", "B04"), ("ms", "B08"), ("sar", "VV"))] for arm in ARMS]
    assert pair["p_views"] == pytest.approx(ttest_rel(*values).pvalue)
    assert np.isnan(row(differences, arm="bad", rival="good", group="sar", view="")["p_views"])


def test_a_pair_is_the_later_arm_minus_the_earlier_one(world):
    """Whatever their names: a mapping would come sorted."""
    told = {"evaluation": "e", "collection": "land", "label": "c", "arms": [["bad", ["bad_s0"]], ["a", ["good_s0"]]]}
    recipe = MlpScoresRecipe.model_validate_json(recipe_json(told))
    pairs = score(world, arms=recipe.arms)["differences"].query("rival_init == 'trained'")
    assert set(zip(pairs["arm"], pairs["rival"], strict=True)) == {("a", "bad")}
    assert (pairs["difference"] > 0).all()


def test_an_arm_against_itself_does_not_differ(world):
    differences = score(world, arms=(("good", ARMS["good"]), ("again", ARMS["good"])))["differences"]
    pair = differences[(differences["arm"] == "again") & (differences["rival"] == "good")]
    assert len(pair) == 6 and (pair[["difference", "low", "high"]] == 0).all(axis=None)


def test_a_pool_is_the_mean_of_its_evaluations(tmp_path):
    tables = []
    for seed, name in enumerate(("east", "west")):
        folder = write_world(tmp_path / name, seed=seed)
        tables.append(score(folder, evaluation=name, collection=name))
    entries = {"good": "pretrained", "bad": "other"}
    recipe = MlpPoolRecipe(pool="both", evaluations=("east", "west"), entries=entries, margin=0.1)
    samples = [tmp_path / name / "samples.parquet" for name in ("east", "west")]
    pool_mlp(samples=samples, recipe=recipe, pooled=tmp_path / "pooled.parquet")
    pooled = read_table(tmp_path / "pooled.parquet")
    for place in ({"group": "all", "view": ""}, {"group": "ms", "view": ""}, {"view": "B08"}):
        pair = row(pooled, arm="other", rival="pretrained", **place)
        each = [row(t["differences"], arm="bad", rival="good", **place)["difference"] for t in tables]
        assert pair["difference"] == pytest.approx(np.mean(each))
        assert pair["spread"] == pytest.approx(np.std(each, ddof=1))
        assert (pair["n_better"], pair["n_evaluations"], pair["n_blocks"]) == (0, 2, 2 * BLOCKS)
    gaps = []
    for table in tables:
        own = table["samples"].set_index(["arm", "init", "view"])["samples"]
        gaps.append(own.loc[("bad", "trained", "B08")] - own.loc[("good", "trained", "B08")])
    low, high = np.quantile(np.mean(gaps, axis=0), [0.025, 0.975])
    pair = row(pooled, arm="other", rival="pretrained", view="B08")
    assert (pair["low"], pair["high"]) == (pytest.approx(low), pytest.approx(high))
    assert pair["equal"] == "not shown" and pair["margin"] == 0.1


def test_what_cannot_be_pooled_is_one_sentence(tmp_path):
    samples = []
    for name, resamples in (("east", 300), ("west", 200)):
        score(write_world(tmp_path / name), evaluation=name, collection=name, resamples=resamples)
        samples.append(tmp_path / name / "samples.parquet")
    recipe = MlpPoolRecipe(pool="both", evaluations=("east", "west"), entries={})
    with pytest.raises(TerraprobeError, match="were not resampled equally often") as caught:
        pool_mlp(samples=samples, recipe=recipe, pooled=tmp_path / "pooled.parquet")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_scored_is_one_sentence(world):
    with pytest.raises(TerraprobeError, match="no answers of gone among"):
        score(world, arms=(("gone", ("gone",)),))
    labels = read_table(world / "labels.parquet")
    write_table(world / "labels.parquet", labels.assign(cover_class="moss"))
    with pytest.raises(TerraprobeError, match="no test chip of land has a cover_class that a train chip has too"):
        score(world)
    selection = read_json(world / "mlp/bad_s1.json")
    write_json(world / "mlp/bad_s1.json", selection | {"classes": ["crop", "tree"]})
    with pytest.raises(TerraprobeError, match="bad_s1 has learnt crop, tree, and the floors crop, tree, water"):
        score(world)
    write_json(world / "mlp/bad_s1.json", selection)
    archive = read_arrays(world / "mlp/bad_s1.called.npz")
    write_arrays(world / "mlp/bad_s1.called.npz", archive | {"chip_ids": archive["chip_ids"][::-1]})
    with pytest.raises(TerraprobeError, match="of other test chips"):
        score(world)
