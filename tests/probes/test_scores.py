"""Curves, dots and paired differences."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from probes_world import RECIPE, World, run

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.optimism import optimism_table
from terraprobe.probes.pooling import ALL_TASKS, PoolRecipe
from terraprobe.probes.scores import SummaryRecipe, gather_scores
from terraprobe.probes.summary import compare, resample_points, summarise


def _gather(folder, *scored, **recipe):
    out = {name: folder / f"{name}.parquet" for name in ("table", "summary", "differences", "pooled", "gaps")}
    inputs = {name: [getattr(s, name) for s in scored] for name in ("scores", "blocks", "optimism")}
    gather_scores(**inputs, recipe=SummaryRecipe(resamples=300, **recipe), **out)
    return {name: read_table(path) for name, path in out.items()}


@pytest.fixture(scope="module")
def gathered(scored, tmp_path_factory):
    return _gather(tmp_path_factory.mktemp("gathered"), scored)


def test_summary_is_the_mean_over_seeds_and_episodes(scored, gathered):
    points = gathered["summary"].query("task == 'green' and metric == 'accuracy' and n_shots == 10")
    scores = read_table(scored.scores).query("task == 'green' and metric == 'accuracy' and n_shots == 10")
    random = points[points["arm"] == "random"].iloc[0]
    own = scores[scores["init"].str.startswith("random")]["value"]
    assert random["n_forests"] == len(own) == 4  # two inits, two episodes
    assert random["value"] == pytest.approx(own.mean())
    assert random["sd"] == pytest.approx(own.std(ddof=1))
    assert random["low"] <= random["value"] <= random["high"]
    assert points["few_blocks"].all() and (points["n_blocks"] == 8).all()


def test_every_point_keeps_its_note(gathered):
    points = gathered["summary"]
    assert len(points) == 4 * 3 * 3 * 2  # arms and floors, tasks, sizes, metrics
    assert points[points["value"].isna()]["note"].ne("").all()
    assert points[points["value"].notna()]["note"].eq("").all()


def test_each_curve_has_at_most_one_dot_of_each_kind(gathered):
    points = gathered["summary"]
    curves = points.groupby(["encoder", "arm", "floor", "modality", "task", "metric"])
    assert (curves[["dot", "gain_dot"]].sum() <= 1).to_numpy().all()
    trained = points.query("arm == 'trained' and task == 'green' and metric == 'accuracy'").set_index("n_shots")
    full, floor = trained.loc[0, "value"], trained.loc[0, "majority"]
    assert trained.loc[10, "dot"] == (trained.loc[10, "value"] >= 0.95 * full)
    assert trained.loc[10, "gain_dot"] == ((trained.loc[10, "value"] - floor) >= 0.95 * (full - floor))
    majority = points.query("floor == 'majority' and metric == 'accuracy'")
    assert not majority["gain_dot"].any()  # nothing gained, so no share of a gain


def test_differences_are_paired_and_named(gathered):
    points, differences = gathered["summary"], gathered["differences"]
    at = differences.query("task == 'green' and n_shots == 0").set_index("rival")
    assert set(at.index) == {"random", "coordinates", "majority"}
    value = points.query("task == 'green' and n_shots == 0 and metric == 'accuracy'").set_index("arm")["value"]
    assert at.loc["random", "difference"] == pytest.approx(value["trained"] - value["random"])
    assert (at["low"] <= at["difference"]).all() and (at["difference"] <= at["high"]).all()
    assert at["same_chips"].all()
    assert (at["p_holm"] >= at["p"]).all()
    assert at.loc["majority", "low"] > 0
    assert set(differences["task"]) == {"green", "rare"}
    rare = differences[differences["task"] == "rare"]
    assert not rare["balanced"].any() and set(rare["metric"]) == {"balanced_accuracy"}


def _counts(encoder, floor, modality, right):
    """One forest on blocks of ten positive chips."""
    blocks = [f"p{k:02d}" for k in range(len(right))]
    named = {"encoder": encoder, "init": "" if floor else "trained", "floor": floor, "modality": modality}
    rest = {"tp": right, "tn": 0, "n_pos": 10, "n_neg": 0}
    where = {"evaluation": "e", "collection": "c", "task": "t", "n_shots": 0, "episode_seed": 0}
    return pd.DataFrame({**where, **named, "block": blocks, **rest})


def _score(blocks):
    key = ["evaluation", "collection", "encoder", "init", "floor", "modality", "task", "n_shots", "episode_seed"]
    rows = blocks.groupby(key, as_index=False).agg(tp=("tp", "sum"), n=("n_pos", "sum"), n_blocks=("block", "nunique"))
    rows = rows.assign(
        metric="accuracy", value=rows["tp"] / rows["n"], n_test=rows["n"], n_train=9, majority=0.5, balanced=True,
        primary=True, test_set="x", note="",
    )  # fmt: skip
    return rows.drop(columns=["tp", "n"])


def test_a_constant_gap_has_an_interval_of_no_width():
    right = np.array([1, 9, 4, 6, 2, 8, 3, 7])
    blocks = pd.concat([_counts("a", "", "m", right + 1), _counts("", "image_stats", "m", right)])
    samples = resample_points(blocks, 200, 0)
    points = summarise(_score(blocks), samples)
    row = compare(points, samples).iloc[0]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert points.iloc[0]["high"] - points.iloc[0]["low"] > 0.1


def test_equal_scores_are_no_difference():
    blocks = pd.concat([_counts("a", "", "m", np.arange(8)), _counts("", "image_stats", "m", np.arange(8))])
    samples = resample_points(blocks, 200, 0)
    row = compare(summarise(_score(blocks), samples), samples).iloc[0]
    assert (row["difference"], row["p"], row["p_holm"]) == (0.0, 1.0, 1.0)


def test_rivals_are_of_the_same_modality_or_the_widest_floor():
    ones = np.arange(8)
    floors = [("", "image_stats", "m"), ("", "image_stats", "concat"), ("", "climate", "")]
    parts = [("a", "", "m"), ("a", "", "other"), ("b", "", "m"), *floors]
    blocks = pd.concat([_counts(*part, ones) for part in parts])
    samples = resample_points(blocks, 100, 0)
    table = compare(summarise(_score(blocks), samples), samples)
    columns = ["encoder", "modality", "rival", "rival_encoder", "rival_modality"]
    pairs = set(table[columns].itertuples(index=False, name=None))
    assert pairs == {
        ("a", "m", "image_stats", "", "m"),
        ("a", "m", "climate", "", ""),
        ("a", "m", "trained", "b", "m"),
        ("a", "other", "image_stats", "", "concat"),
        ("a", "other", "climate", "", ""),
        ("b", "m", "image_stats", "", "m"),
        ("b", "m", "climate", "", ""),
    }


def test_encoders_meet_by_modality_or_as_a_whole():
    ones = np.arange(8)
    parts = [("a", "", "x"), ("a", "", "concat"), ("b", "", "y"), ("c", "", "x"), ("c", "", "z")]
    blocks = pd.concat([_counts(*part, ones) for part in parts])
    samples = resample_points(blocks, 100, 0)
    table = compare(summarise(_score(blocks), samples), samples)
    pairs = set(table[["encoder", "modality", "rival_encoder", "rival_modality"]].itertuples(index=False, name=None))
    assert pairs == {("a", "concat", "b", "y"), ("a", "x", "c", "x")}  # c is nowhere as a whole


def test_gathering_is_deterministic_and_ignores_the_order_of_files(scored, gathered, tmp_path):
    other = run(_folder(World(seed=2), tmp_path / "other"), RECIPE.model_copy(update={"evaluation": "second"}))
    one, two = (_gather(_made(tmp_path / n), *files) for n, files in (("a", (scored, other)), ("b", (other, scored))))
    for name in ("table", "summary", "differences"):
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()
        pd.testing.assert_frame_equal(one[name], two[name])
    first = one["summary"].query("evaluation == 'few'").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, gathered["summary"])  # another evaluation does not move this one's intervals


def test_a_file_twice_is_refused(scored, tmp_path):
    with pytest.raises(TerraprobeError, match="scored twice: evaluation=few"):
        _gather(tmp_path, scored, scored)


def test_a_study_without_one_possible_task_still_has_its_tables(tmp_path):
    only_flat = RECIPE.model_copy(update={"tasks": ("flat",)})
    tables = _gather(tmp_path, run(World().write(tmp_path), only_flat))
    assert tables["summary"]["note"].str.contains("one class only").all()
    assert len(tables["differences"]) == 0


def _made(folder):
    folder.mkdir()
    return folder


def _folder(world, folder):
    return world.write(_made(folder))


def _world(k, right, rival):
    """A made-up world of its own: a trained encoder of two seeds and one floor, hits by block."""
    seeds = [_counts(f"enc_s{s}", "", "m", right + s) for s in (0, 1)]
    frame = pd.concat([*seeds, _counts("", "image_stats", "m", rival)]).assign(evaluation=f"e{k}", collection=f"c{k}")
    return frame, _score(frame)


def _pooled(folder, *worlds, **recipe):
    files = []
    for k, (blocks, scores) in enumerate(worlds):
        paths = SimpleNamespace(**{name: folder / f"{name}{k}" for name in ("blocks", "scores", "optimism")})
        write_table(paths.blocks, blocks)
        write_table(paths.scores, scores)
        write_table(paths.optimism, optimism_table([], f"e{k}", f"c{k}"))
        files.append(paths)
    return _gather(folder, *files, **recipe)


ARMS = {"enc": ("enc_s0", "enc_s1")}


def test_seeds_are_judged_as_one_arm(tmp_path):
    base = np.array([1, 5, 4, 6, 2, 8, 3, 7])
    tables = _pooled(tmp_path, _world(0, base, base), arms=ARMS)
    trained = tables["summary"].query("arm == 'trained'")
    assert trained["encoder"].tolist() == ["enc"] and trained["n_forests"].tolist() == [2]
    assert set(tables["table"]["encoder"]) == {"enc_s0", "enc_s1", ""}  # the long table keeps every seed
    row = tables["differences"].iloc[0]
    assert row["difference"] == pytest.approx(0.05)  # seeds gain 0 and 0.1
    assert row["low"] == pytest.approx(0.0) and row["high"] == pytest.approx(0.1)  # resampled over two seeds


def test_a_pool_averages_over_its_evaluations_and_resamples_each_apart(tmp_path):
    rng = np.random.default_rng(0)
    rivals = [rng.integers(2, 8, 40) for _ in range(2)]
    noise = [rng.integers(-1, 2, 40) for _ in range(2)]
    worlds = [_world(k, rival + gain + 1, rival) for k, (rival, gain) in enumerate(zip(rivals, noise, strict=True))]
    pools = (PoolRecipe(name="both", evaluations=("e0", "e1")), PoolRecipe(name="one", evaluations=("e0",)))
    tables = _pooled(tmp_path, *worlds, arms=ARMS, pools=pools)
    pooled = tables["pooled"].set_index(["pool", "task"])
    assert set(pooled["rival"]) == {"image_stats"}
    whole = pooled.loc[("both", ALL_TASKS)]
    expected = np.mean([w[1].query("encoder != ''")["value"].mean() - w[1].query("floor != ''")["value"].mean()
                        for w in worlds])  # fmt: skip
    assert whole["difference"] == pytest.approx(expected) == pytest.approx(pooled.loc[("both", "t"), "difference"])
    assert (whole["n_evaluations"], whole["n_pairs"], whole["n_blocks"], whole["n_better"]) == (2, 2, 80, 2)
    width = {
        name: pooled.loc[(name, ALL_TASKS), "high"] - pooled.loc[(name, ALL_TASKS), "low"] for name in ("both", "one")
    }
    assert width["both"] < 0.85 * width["one"]  # two worlds, independent blocks: about 1 / sqrt(2)


def test_unbalanced_tasks_and_other_chips_stay_out_of_a_pool(tmp_path):
    base = np.arange(1, 9)
    blocks, scores = _world(0, base, base)
    pools = (PoolRecipe(name="p", evaluations=("e0",)),)
    for k, change in enumerate(({"balanced": False}, {"test_set": [*"yxx"]})):
        folder = tmp_path / str(k)
        folder.mkdir()
        assert not len(_pooled(folder, (blocks, scores.assign(**change)), arms=ARMS, pools=pools)["pooled"])
