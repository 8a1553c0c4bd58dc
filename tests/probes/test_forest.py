"""Both stages of the forest probe on a small made-up world."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from probes_world import RECIPE, World, run
from sklearn.ensemble import RandomForestClassifier

from terraprobe.artifacts import read_json, read_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.bench import Bench, Problem, Source
from terraprobe.probes.forest import ForestRecipe, predict_forest, score_forest, select_forest


def _table(paths, **where):
    frame = read_table(paths.scores)
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _bench(paths, splits=("train", "test"), *, stratified=False, permuted=False):
    source = Source([paths.embeddings], paths.chips, paths.labels, splits)
    return Bench.load([source], tasks=("green", "rare"), seed=5, stratified=stratified, permuted=permuted)


def test_permuted_labels_move_whole_blocks_within_their_split(tmp_path):
    paths = World().write(tmp_path)
    own, null = _bench(paths), _bench(paths, permuted=True)
    assert own.chips.equals(null.chips)
    moved = own.chips.assign(own=own.labels["green"], null=null.labels["green"])
    assert (moved["own"] != moved["null"]).mean() > 0.8
    for _, part in moved.groupby("split"):
        blocks = {kind: {tuple(b) for _, b in part.groupby("block")[kind]} for kind in ("own", "null")}
        assert blocks["own"] == blocks["null"]
    again = _bench(paths, splits=("train", "val"), permuted=True)  # what selection reads: the same train labels
    train = again.chips["split"] == "train"
    kept = moved.set_index("chip_id").loc[again.chips.loc[train, "chip_id"], "null"]
    assert np.array_equal(kept, again.labels["green"][train])


def test_the_first_trees_of_a_forest_are_the_smaller_forest():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 5)).astype(np.float32), rng.random(90) < 0.4
    new = rng.normal(size=(300, 5)).astype(np.float32)
    called = predict_forest(x, y, new, trees=(2, 7, 20), depth=3, seed=11)
    for row, trees in zip(called, (2, 7, 20), strict=True):
        forest = RandomForestClassifier(trees, max_depth=3, random_state=11).fit(x, y)
        assert np.array_equal(row, forest.predict(new))
    assert not np.array_equal(called[0], called[2])


@pytest.mark.parametrize("only", [True, False])
def test_a_one_class_draw_is_a_constant_predictor(only):
    x = np.zeros((4, 2), np.float32)
    assert (predict_forest(x, np.full(4, only), x, trees=(1, 3), depth=2, seed=0) == only).all()


def test_one_label_is_always_one_class(tmp_path):
    paths = run(World().write(tmp_path), RECIPE.model_copy(update={"sizes": (1,), "repeats": 4}))
    rows = _table(paths, task="green", metric="balanced_accuracy", modality="optical", init="trained")
    assert rows["constant"].all()
    assert rows["value"].to_numpy() == pytest.approx(0.5)


def test_selection_never_sees_a_test_row(tmp_path):
    """Test labels and test features are changed beyond recognition: the selection file keeps its bytes."""
    contents = []
    for case in ("as is", "test changed", "val changed"):
        world = World()
        hit = world.chips["split"].to_numpy() == case.split()[0]
        world.labels.loc[hit, ["green", "rare"]] = 1 - world.labels.loc[hit, ["green", "rare"]]
        far = world.embeddings["chip_id"].isin(world.chips["chip_id"][hit])
        world.embeddings.loc[far, "embedding"] = world.embeddings.loc[far, "embedding"].map(lambda v: v * -3)
        folder = tmp_path / case.replace(" ", "-")
        folder.mkdir()
        contents.append(run(world.write(folder)).selection.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]
    tasks = [json.loads(content)["tasks"] for content in contents]
    assert tasks[0] == tasks[2]  # the threshold is the train median


def test_nan_in_test_features_stops_scoring_and_not_selection(tmp_path):
    """The strongest proof that no test row is parsed: a broken one goes unnoticed by the selection."""
    world = World()
    broken = world.chips["chip_id"][world.chips["split"] == "test"].iloc[0]
    at = world.embeddings["chip_id"] == broken
    world.embeddings.loc[at, "embedding"] = world.embeddings.loc[at, "embedding"].map(lambda v: v * np.float32("nan"))
    with pytest.raises(TerraprobeError, match="6 values not finite"):
        run(world.write(tmp_path))
    assert (tmp_path / "sel.json").exists()


def test_outputs_are_deterministic_and_ignore_the_order_of_rows(scored, tmp_path):
    world = World()
    for name in ("chips", "labels", "embeddings", "floors"):
        setattr(world, name, getattr(world, name).sample(frac=1, random_state=1))
    again = run(world.write(tmp_path))
    for name in ("selection", "scores", "blocks"):
        assert getattr(again, name).read_bytes() == getattr(scored, name).read_bytes(), name


def test_scores_are_those_of_scikit_learn_on_the_drawn_chips(scored):
    choices = {(c["init"], c["task"]): c for c in read_json(scored.selection)["choices"]}
    row = _table(scored, init="trained", task="green", n_shots=10, episode_seed=1, metric="accuracy").iloc[0]
    bench = _bench(scored)
    trained = next(s for s in bench.sets if s.init == "trained")
    problem = Problem(bench, trained, "green", read_json(scored.selection)["tasks"]["green"]["threshold"])
    drawn = problem.draw(1, 10)
    choice = choices["trained", "green"]
    called = predict_forest(
        problem.x(drawn), problem.positive[drawn], problem.x(problem.test), trees=(choice["trees"],),
        depth=choice["depth"], seed=_seed(1),
    )[0]  # fmt: skip
    ids = bench.chips["chip_id"].iloc[problem.test]
    green = World().labels.set_index("chip_id")["green"]
    train_ids = World().chips.query("split == 'train'")["chip_id"]
    truth = green[ids].to_numpy() > np.median(green[train_ids])
    assert row["value"] == pytest.approx((called == truth).mean())
    assert (row["n_train"], row["n_test"], row["n_blocks"]) == (10, 40, 8)
    assert (row["trees"], row["depth"]) == (choice["trees"], choice["depth"])
    assert row["low"] <= row["value"] <= row["high"]


def _seed(episode):
    from terraprobe.probes.episodes import forest_seed

    return forest_seed(5, episode)


def test_a_signal_is_found_and_noise_is_not(scored):
    full = _table(scored, task="green", n_shots=0, metric="accuracy").set_index(["init", "floor"])["value"]
    assert full["trained", ""] > 0.75
    assert full["", "coordinates"] < 0.7


def test_draws_are_nested_and_the_same_for_every_feature_set(tmp_path):
    world = World()
    gone = world.chips["chip_id"][world.chips["split"] == "train"].iloc[:30]
    lost = (world.embeddings["init"] == "random-1") & world.embeddings["chip_id"].isin(gone)
    world.embeddings = world.embeddings[~lost]
    for stratified in (False, True):
        bench = _bench(world.write(tmp_path), stratified=stratified)
        trained, zero, one = (
            Problem(bench, next(s for s in bench.sets if s.init == init), "green", 0.5)
            for init in ("trained", "random-0", "random-1")
        )
        assert trained.draw(0, 100).tolist() == zero.draw(0, 100).tolist()
        assert trained.draw(0, 10).tolist() == trained.draw(0, 100)[:10].tolist()
        assert trained.draw(0, 10).tolist() != trained.draw(1, 10).tolist()
        missing = set(bench.chips.index[bench.chips["chip_id"].isin(gone)])
        assert len(one.train) == 90
        if not stratified:
            kept = [c for c in trained.draw(0, 120).tolist() if c not in missing]
            assert one.draw(0, 90).tolist() == kept


def test_every_size_and_task_has_rows_even_without_a_score(scored):
    rows = read_table(scored.scores)
    sets = rows[["encoder", "init", "floor", "modality"]].drop_duplicates()
    assert len(sets) == 5  # trained, two random, coordinates, majority
    assert len(rows.groupby(["encoder", "init", "floor", "modality", "task", "n_shots"])) == 5 * 3 * 3
    beyond = rows[(rows["n_shots"] == 1000) & (rows["task"] == "green")]
    assert (beyond["note"] == "not available: 120 labelled train chips").all()
    assert (beyond["episode_seed"] == -1).all() and beyond["value"].isna().all()
    flat = rows[rows["task"] == "flat"]
    assert flat["note"].str.contains("one class only").all() and flat["value"].isna().all()
    assert rows[rows["note"] == ""]["value"].notna().all()


def test_an_unbalanced_task_is_marked_and_judged_by_balanced_accuracy(scored):
    primary = read_table(scored.scores).query("primary and note == ''")
    assert set(primary[primary["task"] == "green"]["metric"]) == {"accuracy"}
    rare = primary[primary["task"] == "rare"]
    assert set(rare["metric"]) == {"balanced_accuracy"} and not rare["balanced"].any()
    assert rare["majority"].to_numpy() == pytest.approx(0.5)


def test_majority_is_a_floor_of_its_own(scored):
    rows = _table(scored, floor="majority", task="rare", n_shots=0, metric="accuracy")
    assert rows["value"].to_numpy() == pytest.approx(rows["majority"].to_numpy())
    assert len(rows) == RECIPE.full_repeats


def test_blocks_add_up_to_the_scores(scored):
    key = ["encoder", "init", "floor", "modality", "task", "n_shots", "episode_seed"]
    blocks = read_table(scored.blocks).groupby(key)[["tp", "tn", "n_pos", "n_neg"]].sum()
    scores = _table(scored, metric="accuracy", note="").set_index(key).loc[blocks.index]
    assert len(scores) == len(blocks)
    assert ((blocks["tp"] + blocks["tn"]) / scores["n_test"]).to_numpy() == pytest.approx(scores["value"].to_numpy())
    assert (blocks["n_pos"] + blocks["n_neg"]).tolist() == scores["n_test"].tolist()


def test_unlabelled_chips_are_left_out_and_counted(tmp_path):
    world = World()
    unknown = world.chips["split"].isin(["train", "test"]) & (np.arange(200) % 5 == 0)
    world.labels.loc[unknown, "green"] = np.nan
    world.labels = world.labels.iloc[:-5]  # a chip without a row is a chip without a label
    paths = run(world.write(tmp_path))
    assert read_json(paths.selection)["tasks"]["green"]["n_unlabelled"] == 24
    row = _table(paths, init="trained", task="green", n_shots=0, metric="accuracy").iloc[0]
    assert (row["n_train"], row["n_test"], row["n_unlabelled"]) == (96, 28, 12)


def test_a_split_of_one_class_is_reported_where_the_metric_needs_two(tmp_path):
    world = World()
    world.labels.loc[world.chips["split"] == "test", "rare"] = 0.0
    rows = _table(run(_write(world, tmp_path / "test")), task="rare", n_shots=10, init="trained")
    judged = rows[rows["primary"]]
    assert judged["value"].isna().all()
    assert set(judged["note"]) == {"the test chips are of one class: no balanced_accuracy"}
    assert rows[rows["metric"] == "accuracy"]["value"].notna().all()
    world.labels.loc[world.chips["split"] == "val", "rare"] = 0.0
    rows = _table(run(_write(world, tmp_path / "val")), task="rare", floor="coordinates")
    assert set(rows["note"]) == {"the val chips are of one class: no balanced_accuracy"}


def _write(world, folder):
    folder.mkdir()
    return world.write(folder)


def test_one_candidate_needs_no_validation(tmp_path):
    recipe = RECIPE.model_copy(update={"trees": (4,), "depths": (3,)})
    choices = read_json(run(World().write(tmp_path), recipe).selection)["choices"]
    assert {(c["trees"], c["depth"], len(c["grid"])) for c in choices} == {(4, 3, 0)}


def test_the_choice_is_the_best_of_the_grid_and_the_smaller_where_equal(scored):
    for choice in read_json(scored.selection)["choices"]:
        best = max(p["value"] for p in choice["grid"])
        winners = [(p["trees"], p["depth"]) for p in choice["grid"] if p["value"] == best]
        assert (choice["trees"], choice["depth"]) == min(winners)


def test_features_without_a_train_chip_are_reported_and_not_a_crash(tmp_path):
    world = World()
    train = world.chips["chip_id"][world.chips["split"] == "train"]
    world.floors = world.floors[~world.floors["chip_id"].isin(train)]
    rows = _table(run(world.write(tmp_path)), floor="coordinates", task="green")
    assert set(rows["note"]) == {"no train chip has both these features and a label"}


def test_another_recipe_or_other_features_need_another_selection(scored, tmp_path):
    inputs = {"chips": [scored.chips], "labels": [scored.labels], "selection": scored.selection}
    outputs = {"scores": tmp_path / "s", "blocks": tmp_path / "b", "optimism": tmp_path / "o"}
    other = RECIPE.model_copy(update={"seed": 6})
    with pytest.raises(TerraprobeError, match="another recipe"):
        score_forest(embeddings=[scored.embeddings], recipe=other, **inputs, **outputs)
    world = World()
    world.embeddings["init"] = world.embeddings["init"].replace("random-0", "random-7")
    stranger = world.write(tmp_path).embeddings
    with pytest.raises(TerraprobeError, match="random-7"):
        score_forest(embeddings=[stranger], recipe=RECIPE, **inputs, **outputs)


def _uneven(frame):
    short = frame.index % 7 == 0
    return frame.assign(embedding=frame["embedding"].where(~short, frame["embedding"].map(lambda v: v[:5])))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda w: setattr(w, "labels", w.labels.rename(columns={"rare": "rear"})),
            "no column rare; it has chip_id, green",
        ),
        (lambda w: setattr(w, "chips", w.chips.replace("val", "train")), "no chip is in the split val"),
        (lambda w: w.chips.__setitem__("chip_id", "same"), "occur twice"),
        (lambda w: w.embeddings.__setitem__("chip_id", "elsewhere"), "another collection"),
        (lambda w: setattr(w, "embeddings", _uneven(w.embeddings)), "lengths"),
    ],
)
def test_bad_input_is_explained(tmp_path, spoil, message):
    world = World()
    spoil(world)
    with pytest.raises(TerraprobeError, match=message):
        run(world.write(tmp_path))


def test_broken_files_are_explained(scored, tmp_path):
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(scored.embeddings.read_bytes()[:500])
    for path, message in ((cut, "not a whole Parquet file"), (Path("absent.parquet"), "not found")):
        with pytest.raises(TerraprobeError, match=message):
            select_forest(
                embeddings=[path], chips=[scored.chips], labels=[scored.labels], recipe=RECIPE, selection=tmp_path / "x"
            )


def test_one_file_given_twice_is_explained(scored, tmp_path):
    with pytest.raises(TerraprobeError, match="come twice"):
        select_forest(
            embeddings=[scored.floors] * 2, chips=[scored.chips], labels=[scored.labels], recipe=RECIPE,
            selection=tmp_path / "x",
        )  # fmt: skip


@pytest.mark.parametrize("sizes", [[10, 10], [-1], []])
def test_sizes_that_make_no_sense_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes"):
        ForestRecipe.model_validate({**RECIPE.model_dump(), "sizes": sizes})


def test_sizes_go_up_with_all_of_them_last():
    assert ForestRecipe.model_validate({**RECIPE.model_dump(), "sizes": [0, 100, 10]}).sizes == (10, 100, 0)


def test_two_worlds_differ(scored, tmp_path):
    other = run(World(seed=1).write(tmp_path))
    assert not pd.DataFrame.equals(read_table(other.scores), read_table(scored.scores))


def test_a_forest_takes_nan_for_not_observed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)).astype(np.float32)
    y = x[:, 0] > 0
    x[::3, 1] = np.nan
    called = predict_forest(x, y, x, trees=(10,), depth=3, seed=0)[0]
    assert (called == y).mean() > 0.95
