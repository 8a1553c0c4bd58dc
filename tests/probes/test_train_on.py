"""Forests that learn on some collections and are judged on another."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from probes_world import RECIPE, World

from terraprobe.artifacts import read_json, read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.forest import score_forest, select_forest

HELD_OUT = RECIPE.model_copy(update={"collection": "held", "train_on": ("east", "west")})


def filed(world, folder, rows):
    """The tables of some chips of a world, as a collection of their own."""
    part = World()
    kept = set(world.chips["chip_id"][rows])
    for name in ("chips", "labels", "embeddings", "floors"):
        table = getattr(world, name)
        setattr(part, name, table[table["chip_id"].isin(kept)].reset_index(drop=True))
    folder.mkdir(parents=True)
    return part.write(folder)


def three_collections(world, folder):
    """A world's train and val chips dealt to `east` and `west` by place, its test chips in `held`."""
    test = (world.chips["split"] == "test").to_numpy()
    east = np.arange(len(test)) // 25 % 2 == 0
    parts = {"east": ~test & east, "west": ~test & ~east, "held": test}
    return [filed(world, folder / name, rows) for name, rows in parts.items()]


def inputs(paths):
    embeddings = [file for p in paths for file in (p.embeddings, p.floors)]
    return {"embeddings": embeddings, "chips": [p.chips for p in paths], "labels": [p.labels for p in paths]}


def run(paths, folder, recipe=HELD_OUT):
    """Select on all but the last collection, score on the last."""
    files = {"selection": "sel.json", "scores": "s.parquet", "blocks": "b.parquet", "optimism": "o.parquet"}
    made = SimpleNamespace(**{name: folder / file for name, file in files.items()})
    select_forest(**inputs(paths[:-1]), recipe=recipe, selection=made.selection)
    score_forest(
        **inputs(paths),
        selection=made.selection,
        recipe=recipe,
        scores=made.scores,
        blocks=made.blocks,
        optimism=made.optimism,
    )
    return made


def test_chips_filed_as_three_collections_score_as_chips_of_one(tmp_path, scored):
    made = run(three_collections(World(), tmp_path), tmp_path)
    for name in ("scores", "blocks"):
        ours, ordinary = (read_table(getattr(one, name)) for one in (made, scored))
        pd.testing.assert_frame_equal(ours.drop(columns="collection"), ordinary.drop(columns="collection"))
        assert set(ours["collection"]) == {"held"}
    assert not len(read_table(made.optimism))  # chips of two collections cannot be dealt as one
    for key in ("tasks", "choices"):
        assert read_json(made.selection)[key] == read_json(scored.selection)[key]


def test_only_train_chips_of_the_others_and_test_chips_of_its_own_are_scored_on(tmp_path):
    """What is not to be read is spoilt: a test split elsewhere, train and val of the judged one."""
    world = World()
    held = np.arange(200) >= 100
    split = world.chips["split"].to_numpy()
    results = []
    for case in ("as is", "spoilt"):
        if case == "spoilt":
            unread = np.where(held, split != "test", split == "test")
            far = world.embeddings["chip_id"].isin(world.chips["chip_id"][unread])
            world.embeddings.loc[far, "embedding"] = world.embeddings.loc[far, "embedding"].map(
                lambda v: v * np.float32("nan")
            )
            world.labels.loc[unread, ["green", "rare"]] = 1 - world.labels.loc[unread, ["green", "rare"]]
        folder = tmp_path / case
        paths = [filed(world, folder / name, rows) for name, rows in (("east", ~held), ("held", held))]
        made = run(paths, folder, HELD_OUT.model_copy(update={"train_on": ("east",)}))
        results.append([made.selection.read_bytes(), made.scores.read_bytes()])
    assert results[0] == results[1]
    scores = read_table(made.scores)
    assert set(scores["n_test"]) == {20}
    assert scores["n_train"].max() == 60


def test_its_own_train_chips_may_be_among_those_it_learns_from(tmp_path):
    world = World()
    held = np.arange(200) >= 100
    paths = [filed(world, tmp_path / name, rows) for name, rows in (("east", ~held), ("held", held))]
    recipe = HELD_OUT.model_copy(update={"train_on": ("east", "held")})
    selection = tmp_path / "sel.json"
    select_forest(**inputs(paths), recipe=recipe, selection=selection)
    score_forest(
        **inputs(paths),
        selection=selection,
        recipe=recipe,
        scores=tmp_path / "s",
        blocks=tmp_path / "b",
        optimism=tmp_path / "o",
    )
    scores = read_table(tmp_path / "s")
    assert (scores["n_train"].max(), set(scores["n_test"])) == (120, {20})


def test_ground_in_two_collections_is_refused(tmp_path):
    paths = three_collections(World(), tmp_path)
    paths[1].chips, paths[1].labels, paths[1].embeddings, paths[1].floors = (
        paths[0].chips, paths[0].labels, paths[0].embeddings, paths[0].floors,
    )  # fmt: skip
    with pytest.raises(TerraprobeError, match=r"east/chips.* 80 chips are in two of them \(chip000, for one\)"):
        run(paths, tmp_path)


def test_embeddings_by_other_weights_are_refused(tmp_path):
    world = World()
    paths = three_collections(world, tmp_path)
    metadata = {"encoder": "tiny", "encoder_sha256": "other"}
    write_table(paths[1].embeddings, read_table(paths[1].embeddings), metadata)
    with pytest.raises(TerraprobeError, match=r"tiny random-0 optical: .*other weights.*embed-chips again"):
        run(paths, tmp_path)


def test_features_of_another_length_are_refused(tmp_path):
    paths = three_collections(World(), tmp_path)
    table = read_table(paths[1].floors)
    write_table(paths[1].floors, table.assign(embedding=[v[:2] for v in table["embedding"]]))
    with pytest.raises(TerraprobeError, match=r"coordinates: of length 2 and 3 in the collections"):
        run(paths, tmp_path)


def test_files_of_each_collection_are_asked_for(tmp_path):
    paths = three_collections(World(), tmp_path)
    with pytest.raises(TerraprobeError, match=r"few: 1 chips, 1 labels and 2 embeddings; expected .*of east, west"):
        select_forest(**inputs(paths[:1]), recipe=HELD_OUT, selection=tmp_path / "sel.json")
