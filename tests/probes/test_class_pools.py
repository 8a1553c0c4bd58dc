"""Pools of heads: values, differences and intervals by hand, the margin, arms in order, seeds averaged."""

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import read_table, write_table
from terraprobe.cli import recipe_json
from terraprobe.errors import TerraprobeError
from terraprobe.probes.class_pools import ClassPoolRecipe, pool_classes
from terraprobe.statistics import block_weights, holm, p_value, stream_seed

TESTED = {"north": [4, 2, 4], "south": [5, 5]}
"""Test chips of each block."""

RIGHT = {
    "north": {"plain": [[2, 1, 2]], "cbn": [[4, 2, 3]], "majority": [[1, 1, 1]]},
    "south": {"plain": [[4, 3]], "cbn": [[3, 3]], "majority": [[2, 1]]},
}
"""Chips that are called right: collection to arm to a list a seed."""


def table_of(collection, right, tested):
    """As `score_classes` writes it: entries carry the collection in their name, encoders the seed."""
    rows = []
    for arm, seeds in right.items():
        entry = arm if arm == "majority" else f"{arm}_{collection}"
        for k, hits in enumerate(seeds):
            for block, (hit, n) in enumerate(zip(hits, tested, strict=True)):
                rows.append((f"heads_{collection}", collection, entry, f"{entry}_s{k}", f"b{block:03d}", float(hit), n))
    return pd.DataFrame(rows, columns=["evaluation", "collection", "arm", "encoder", "block", "right", "n_test"])


def pooled(folder, right=RIGHT, tested=TESTED, name="pooled", **changes):
    """Write the counts and pool them; rows by arm and rival."""
    paths = []
    for collection, own in right.items():
        paths.append(folder / f"heads_{collection}.blocks.parquet")
        write_table(paths[-1], table_of(collection, own, tested[collection]))
    arms = [arm for arm in next(iter(right.values())) if arm != "majority"]
    entries = {f"{arm}_{c}": arm for c in right for arm in arms}
    evaluations = [f"heads_{c}" for c in right]
    recipe = {"pool": "both", "evaluations": evaluations, "arms": arms, "entries": entries} | changes
    # As a rule gives it: with its keys in order.
    given = ClassPoolRecipe.model_validate_json(recipe_json(recipe))
    pool_classes(blocks=paths, recipe=given, pooled=folder / f"{name}.parquet")
    return read_table(folder / f"{name}.parquet").set_index(["arm", "rival"])


def noisy(rng, share, n_blocks=40, n=10, seeds=1):
    """Counts of an arm that is right on a share of the chips."""
    return rng.binomial(n, share, size=(seeds, n_blocks)).tolist()


def two_worlds(gain, margin, seed=0, **changes):
    """Two worlds of 40 blocks where `cbn` is right on `gain` more of the chips of every block of 100."""
    rng = np.random.default_rng(seed)
    right = {}
    for world in ("north", "south"):
        plain = np.array(noisy(rng, 0.5, n=100))
        right[world] = {
            "plain": plain.tolist(),
            "cbn": (plain + round(100 * gain)).tolist(),
            "majority": noisy(rng, 0.3, n=100),
        }
    return {"right": right, "tested": dict.fromkeys(right, [100] * 40), "margin": margin, **changes}


def test_values_and_differences_by_hand(tmp_path):
    rows = pooled(tmp_path)
    # North: plain 5 of 10, cbn 9 of 10, majority 3 of 10. South: 7 of 10, 6 of 10, 3 of 10.
    row = rows.loc["cbn", "plain"]
    assert (row["value"], row["rival_value"]) == pytest.approx((0.75, 0.6))
    assert row["difference"] == pytest.approx(0.15)
    assert (row["n_better"], row["n_evaluations"]) == (1, 2)
    assert row["spread"] == pytest.approx(np.std([0.4, -0.1], ddof=1))
    assert (row["n_blocks"], row["n_test"]) == (5, 20)
    floor = rows.loc["plain", "majority"]
    assert (floor["value"], floor["rival_value"], floor["difference"]) == pytest.approx((0.6, 0.3, 0.3))
    assert floor["n_better"] == 2


def test_every_evaluation_counts_alike_however_many_chips_it_has(tmp_path):
    many = {c: {arm: [[10 * h for h in seed] for seed in seeds] for arm, seeds in own.items()} if c == "south" else own
            for c, own in RIGHT.items()}  # fmt: skip
    row = pooled(tmp_path, many, TESTED | {"south": [50, 50]}).loc["cbn", "plain"]
    assert row["difference"] == pytest.approx(0.15)
    assert row["n_test"] == 110


def test_the_interval_is_of_blocks_resampled_in_each_evaluation_apart(tmp_path):
    rows = pooled(tmp_path, seed=3, resamples=500)
    gaps = []
    for collection, own in RIGHT.items():
        weights = block_weights(len(TESTED[collection]), 500, stream_seed(3, collection))
        more = np.array(own["cbn"][0], float) - np.array(own["plain"][0])
        gaps.append(weights @ more / (weights @ np.array(TESTED[collection], float)))
    gap = np.mean(gaps, axis=0)
    row = rows.loc["cbn", "plain"]
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(gap, [0.025, 0.975])))
    assert (row["low90"], row["high90"]) == pytest.approx(tuple(np.quantile(gap, [0.05, 0.95])))
    assert row["p"] == p_value(gap)
    assert rows["p_holm"].tolist() == pytest.approx(holm(rows["p"].to_numpy()).tolist())


def test_the_90_percent_interval_lies_within_the_95(tmp_path):
    rows = pooled(tmp_path, **two_worlds(0.01, None))
    rows = pd.concat([rows, pooled(tmp_path)])
    assert ((rows["low"] <= rows["low90"]) & (rows["high90"] <= rows["high"])).all()
    assert (rows["low"] < rows["low90"]).any() and (rows["high90"] < rows["high"]).any()


@pytest.mark.parametrize(
    ("gain", "margin", "said"),
    [
        (0.01, 0.02, "equal"),
        (-0.01, 0.02, "equal"),
        (0.03, 0.02, "not shown"),
        (-0.03, 0.02, "not shown"),
        (0.01, None, ""),
    ],
)  # fmt: skip
def test_equal_is_what_lies_within_the_margin_on_both_sides(tmp_path, gain, margin, said):
    rows = pooled(tmp_path, **two_worlds(gain, margin))
    row = rows.loc["cbn", "plain"]
    # Every block gains the same, so the interval is a point.
    assert (row["low90"], row["high90"]) == pytest.approx((gain, gain))
    assert row["equal"] == said
    assert rows.loc[("cbn", "majority"), "equal"] == ("" if margin is None else "not shown")
    assert rows["margin"].isna().all() if margin is None else (rows["margin"] == margin).all()


def test_an_interval_that_leaves_the_margin_on_one_side_is_not_equal(tmp_path):
    rng = np.random.default_rng(1)
    right = {w: {a: noisy(rng, 0.5) for a in ("plain", "cbn", "majority")} for w in ("north", "south")}
    row = pooled(tmp_path, right, dict.fromkeys(right, [10] * 40)).loc["cbn", "plain"]
    low, high = row["low90"], row["high90"]
    assert low < 0 < high
    wide, small = max(-low, high), min(-low, high)
    assert wide > small
    for margin, said in ((wide * 1.01, "equal"), ((wide + small) / 2, "not shown"), (small * 0.99, "not shown")):
        found = pooled(tmp_path, right, dict.fromkeys(right, [10] * 40), margin=margin)
        assert found.loc[("cbn", "plain"), "equal"] == said


def test_arms_come_in_the_order_of_the_recipe_the_majority_class_last(tmp_path):
    order = ["zeta", "alpha", "mid"]
    right = {c: dict.fromkeys(order, own["plain"]) | {"majority": own["majority"]} for c, own in RIGHT.items()}
    assert pooled(tmp_path, right).index.tolist() == [
        ("alpha", "zeta"),
        ("mid", "zeta"),
        ("zeta", "majority"),
        ("mid", "alpha"),
        ("alpha", "majority"),
        ("mid", "majority"),
    ]


def test_equal_counts_give_equal_bytes(tmp_path):
    worlds = two_worlds(0.01, 0.02)
    pooled(tmp_path, name="once", **worlds)
    pooled(tmp_path, name="again", **worlds)
    assert (tmp_path / "once.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    pooled(tmp_path, name="other", **two_worlds(0.01, 0.02, **{"seed": 0, "resamples": 1000}))
    assert (tmp_path / "once.parquet").read_bytes() != (tmp_path / "other.parquet").read_bytes()


def test_seeds_are_averaged_and_widen_the_interval(tmp_path):
    unequal = {"plain": [[2, 1, 2]], "cbn": [[4, 2, 4], [2, 0, 2]], "majority": [[1, 1, 1]]}
    row = pooled(tmp_path, {"north": unequal, "south": RIGHT["south"]}).loc["cbn", "plain"]
    # North: cbn 10 of 10 and 4 of 10, so 0.7 against 0.5. South: 0.6 against 0.7.
    assert row["value"] == pytest.approx((0.7 + 0.6) / 2)
    assert row["difference"] == pytest.approx((0.2 - 0.1) / 2)
    alike = {"plain": [[2, 1, 2]], "cbn": [[3, 1, 3], [3, 1, 3]], "majority": [[1, 1, 1]]}
    one = {"plain": [[2, 1, 2]], "cbn": [[3, 1, 3]], "majority": [[1, 1, 1]]}
    same = [pooled(tmp_path, {"north": own, "south": RIGHT["south"]}).loc["cbn", "plain"] for own in (alike, one)]
    assert same[0][["value", "low", "high"]].tolist() == pytest.approx(same[1][["value", "low", "high"]].tolist())
    assert row["high"] - row["low"] > same[0]["high"] - same[0]["low"]


def test_an_arm_that_is_not_in_the_recipe_takes_no_part(tmp_path):
    more = {c: {**own, "odd": own["majority"]} for c, own in RIGHT.items()}
    arms = ["plain", "cbn"]
    entries = {f"{arm}_{c}": arm for c in RIGHT for arm in arms}
    assert pooled(tmp_path, more, arms=arms, entries=entries).equals(pooled(tmp_path))


def test_counts_without_an_arm_are_one_sentence(tmp_path):
    with pytest.raises(TerraprobeError, match=r"no counts of the arm gone in .*heads_north\.blocks\.parquet, which "):
        pooled(tmp_path, arms=["plain", "cbn", "gone"])
