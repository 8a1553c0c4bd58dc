"""The random deal keeps the sizes, the gap is large where neighbours give the answer, and scores do not change."""

import numpy as np
import pandas as pd
import pytest
from probes_world import RECIPE, World, run

from terraprobe.artifacts import read_table
from terraprobe.probes.bench import Bench, Source
from terraprobe.probes.optimism import COLUMNS, deal_at_random


def gaps(paths, **keys):
    table = read_table(paths.optimism)
    for name, value in keys.items():
        table = table[table[name] == value]
    return table


def test_the_deal_keeps_sizes_and_depends_on_the_seed_alone(scored):
    source = Source([scored.embeddings], scored.chips, scored.labels, ("train", "val", "test"))
    options = {"tasks": ("green",), "stratified": False, "permuted": False}
    bench = Bench.load([source], seed=5, **options)
    dealt, again = deal_at_random(bench), deal_at_random(Bench.load([source], seed=5, **options))
    other = deal_at_random(Bench.load([source], seed=6, **options))
    assert dealt.chips["split"].value_counts().to_dict() == bench.chips["split"].value_counts().to_dict()
    assert (dealt.chips["split"] == again.chips["split"]).all()
    assert (dealt.chips["split"] != other.chips["split"]).any()
    assert (dealt.chips["split"] != bench.chips["split"]).any()


def test_the_spatial_value_is_the_ordinary_full_size_score(scored):
    table, scores = gaps(scored), read_table(scored.scores)
    full = scores[scores["primary"] & (scores["n_shots"] == 0) & (scores["episode_seed"] == 0)]
    keys = ["encoder", "init", "floor", "modality", "task"]
    both = table.merge(full, on=keys)
    assert len(both) == len(table) > 0
    np.testing.assert_array_equal(both["value_spatial"], both["value"])
    np.testing.assert_allclose(table["gap"], table["value_random"] - table["value_spatial"])
    assert list(table.columns) == list(COLUMNS)


def test_a_gap_is_told_without_a_full_size(scored, tmp_path):
    paths = run(World().write(tmp_path), RECIPE.model_copy(update={"sizes": (10,)}))
    pd.testing.assert_frame_equal(gaps(paths), gaps(scored))


def test_features_that_only_name_the_neighbourhood_are_optimistic(tmp_path):
    world = World()
    block = np.arange(200) // 5
    world.labels["green"] = np.random.default_rng(1).random(40)[block]
    world.floors["embedding"] = list(np.eye(40, dtype=np.float32)[block])
    world.embeddings = world.embeddings[world.embeddings["init"] == "trained"]
    recipe = RECIPE.model_copy(update={"tasks": ("green",), "trees": (25,), "depths": (30,)})
    found = gaps(run(world.write(tmp_path), recipe), floor="coordinates")
    assert found["gap"].item() > 0.25


def test_an_impossible_task_has_no_row(scored):
    assert "flat" not in set(gaps(scored)["task"])


@pytest.mark.parametrize("floor", ["majority", "coordinates"])
def test_floors_have_their_own_gap(scored, floor):
    assert len(gaps(scored, floor=floor, task="green")) == 1
