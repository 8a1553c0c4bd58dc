"""`bioclim_supervised`: the head, what is learnt, early stopping, resuming, a start from an autoencoder, prediction."""

import signal

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from pretraining import (
    CHIPS,
    TINY_SUPERVISED,
    add_classes,
    in_child,
    make_optical,
    pretrain,
    pretrain_until_killed,
    specs,
)
from terraprobe import loop
from terraprobe.artifacts import read_json, read_table, write_table
from terraprobe.collections.chiptable import read_context
from terraprobe.describe import describe
from terraprobe.embed import EmbedRecipe, embed_chips
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.loop import Trainer
from terraprobe.methods.bioclim_supervised import BioclimSupervised, BioclimSupervisedRecipe
from terraprobe.pool import ChipPool
from terraprobe.predict import PredictRecipe, predict_classes

METHOD = "bioclim_supervised"
FILES = ("encoder.safetensors", "card.json", "history.parquet")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return add_classes(make_optical(tmp_path_factory.mktemp("supervised") / "land"))


@pytest.fixture(scope="module")
def plain(land, tmp_path_factory):
    torch.set_num_threads(1)
    return pretrain(land, tmp_path_factory.mktemp("encoders") / "plain", method=METHOD, epochs=6)


@pytest.fixture(scope="module")
def auto(land, tmp_path_factory):
    torch.set_num_threads(1)
    return pretrain(land, tmp_path_factory.mktemp("encoders") / "auto", method="bioclim", conditioning="cbn", epochs=2)


def contents(encoder):
    return {name: (encoder / name).read_bytes() for name in FILES}


def make_pool(land, label="cover_class"):
    return ChipPool([land / "chips.parquet"], specs(land), [land / "context.parquet"], [land / "labels.parquet"], label)


def build(pool, **overrides):
    recipe = BioclimSupervisedRecipe(**{**TINY_SUPERVISED, **overrides})
    inputs = BioclimSupervised.fit_inputs(recipe, pool, np.flatnonzero(pool.split == "train"), 0)
    torch.manual_seed(0)
    return BioclimSupervised(recipe, inputs, pool.layers, pool.chip_px)


@pytest.mark.parametrize(("conditioning", "total"), [("none", 12_556_618), ("emb", 12_567_370), ("cbn", 12_748_618)])
def test_encoder_and_head_have_the_papers_parameters(conditioning, total):
    found = describe(METHOD, {"conditioning": conditioning})["parameters"]
    assert found["total"] == total
    assert found["towers"]["s2"]["head"] == 5_130
    assert found["other"] == 0
    with pytest.raises(TerraprobeError, match=r"--classes: found 10, allowed none: bioclim_supervised has a head"):
        describe(METHOD, {}, classes=10)


def test_the_loss_is_the_cross_entropy_of_the_classes(land):
    pool = make_pool(land)
    method = build(pool)
    method.network.eval()
    chips = np.flatnonzero(method.eligible(pool))[:5]
    batch = method.fetch(pool, chips, np.full((5, 2), 0.9))
    logits = method.towers["s2"].head(method.embed(batch)["s2"][0])
    place = torch.tensor([method.recipe.classes.index(name) for name in pool.classes[chips]])
    expected = -torch.log_softmax(logits, 1)[torch.arange(5), place].mean()
    torch.testing.assert_close(method.loss(batch), expected)
    assert method.hits(batch).tolist() == (logits.argmax(1) == place).tolist()


def test_classes_of_test_chips_never_reach_memory(land):
    pool = make_pool(land)
    assert set(pool.classes[pool.split == "test"]) == {""}
    assert set(pool.classes[pool.split != "test"]) == {"", "dark", "mid", "bright"}


def test_test_labels_do_not_matter_to_training(land, plain, tmp_path):
    other = add_classes(make_optical(tmp_path / "land"))
    table = read_table(other / "labels.parquet").set_index("chip_id")
    test = read_table(other / "chips.parquet").query("split == 'test'")["chip_id"]
    table.loc[test, "cover_class"] = "mid"
    write_table(other / "labels.parquet", table.reset_index())
    assert contents(pretrain(other, tmp_path / "encoder", method=METHOD, epochs=6)) == contents(plain)


def test_the_card_says_what_was_learnt_and_what_was_left_out(land, plain):
    card, history = read_json(plain / "card.json"), pd.read_parquet(plain / "history.parquet")
    assert (card["label"], card["classes"]) == ("cover_class", ["dark", "mid", "bright"])
    assert card["chips_without_class"] == {"train": 1, "val": 1}
    assert card["chips_left_out"] == {"train": 2, "val": 1}  # chip 1 has no B10 besides
    best = history.loc[history["val_accuracy"].idxmax()]  # the first of equals
    assert (card["best_epoch"], card["best_val_accuracy"]) == (best["epoch"], best["val_accuracy"])
    assert card["parameters"]["towers"]["s2"]["head"] == 3 * 8 + 3


def test_classes_that_the_recipe_does_not_name_are_left_out(land, tmp_path):
    card = read_json(pretrain(land, tmp_path, method=METHOD, classes=["dark", "bright"]) / "card.json")
    labels = read_table(land / "labels.parquet").merge(read_table(land / "chips.parquet")[["chip_id", "split"]])
    known = labels[labels["cover_class"].isin(["dark", "bright"])]["split"].value_counts()
    every = labels["split"].value_counts()
    assert card["chips_without_class"] == {part: every[part] - known[part] for part in ("train", "val")}


def test_it_can_learn_one_batch_by_heart(land):
    pool = make_pool(land)
    method = build(pool, conditioning="cbn")
    optimiser = method.optimiser()
    chips = np.flatnonzero(method.eligible(pool))[:8]
    batch = method.fetch(pool, chips, np.full((8, 2), 0.9))
    method.network.train()
    for _ in range(120):
        optimiser.param_groups[0]["lr"] = 1e-2
        optimiser.zero_grad()
        method.loss(batch).backward()
        optimiser.step()
    assert float(method.loss(batch).detach()) < 0.1
    assert bool(method.hits(batch).all())


def test_training_ends_when_accuracy_has_not_risen_for_long(land, tmp_path, monkeypatch):
    accuracies = iter([0.5, 0.6, 0.6, 0.4, 0.6])
    monkeypatch.setattr(Trainer, "_accuracy", lambda self: next(accuracies))
    encoder = pretrain(land, tmp_path, method=METHOD, epochs=40, patience=3)
    card = read_json(encoder / "card.json")
    assert (card["best_epoch"], card["epochs_run"], card["best_val_accuracy"]) == (2, 5, 0.6)


@pytest.mark.parametrize("step", [2, 5, 6])
def test_a_killed_run_ends_where_a_whole_one_does(land, tmp_path, monkeypatch, step):
    options = {"method": METHOD, "epochs": 30, "patience": 2, "lr": 1e-4}
    whole = pretrain(land, tmp_path / "whole", **options)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "WRITE_SHARE", float("inf"))

    assert in_child(lambda: pretrain_until_killed(step, land, tmp_path / "cut", **options)) == -signal.SIGKILL
    for _ in range(2):  # the second finds a state that is at its end
        assert contents(pretrain(land, tmp_path / "cut", **options)) == contents(whole)
    assert read_json(whole / "card.json")["epochs_run"] < options["epochs"]


def test_it_starts_from_the_weights_of_an_autoencoder(land, auto, tmp_path):
    options = {"method": METHOD, "conditioning": "cbn", "epochs": 1, "lr": 1e-12}
    begun = pretrain(land, tmp_path / "begun", start=auto, **options)
    fresh = pretrain(land, tmp_path / "fresh", **options)
    weights = {name: Encoder.load(folder)._modules.state_dict() for name, folder in
               (("auto", auto), ("begun", begun), ("fresh", fresh))}  # fmt: skip
    name = "s2.stem.weight"
    torch.testing.assert_close(weights["begun"][name], weights["auto"][name])
    assert not torch.allclose(weights["fresh"][name], weights["auto"][name])
    assert set(read_json(begun / "card.json")["start"]) == {auto.name}


def test_it_keeps_the_normalisation_of_its_start(land, auto, tmp_path):
    other = add_classes(make_optical(tmp_path / "other", seed=5))
    card = read_json(pretrain(other, tmp_path / "begun", method=METHOD, conditioning="cbn", start=auto) / "card.json")
    theirs, own = (c["towers"]["s2"]["context"] for c in (read_json(auto / "card.json"), card))
    assert own == theirs


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"conditioning": "cbn", "width": 8}, r"does not have this encoder's shape: its s2\.\S+ is \(\d+.*it is \("),
        ({"conditioning": "cbn", "blocks": [1, 1, 1]}, "does not have this encoder's shape: it has no s2.stages.2"),
        ({}, "Start from an encoder with the same tower and conditioning"),
        ({"conditioning": "cbn", "towers": {"s2": {"modality": "s2_l1c", "bands": ["B04"]}}}, "but tower s2 takes B04"),
    ],
)
def test_a_start_of_another_shape_is_one_sentence(land, auto, tmp_path, overrides, words):
    with pytest.raises(TerraprobeError, match=words):
        pretrain(land, tmp_path, method=METHOD, start=auto, **overrides)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"classes": ["a"]}, "at least 2"),
        ({"classes": ["a", "a"]}, "each class once"),
        ({"context": "shuffled"}, "context: found 'shuffled', allowed real where conditioning is none"),
        ({"patience": 0}, "greater than or equal to 1"),
        ({"ssim_weight": 0.1}, "ssim_weight"),
    ],
)
def test_recipes_that_cannot_work_are_refused(recipe, words):
    with pytest.raises(ValidationError, match=words):
        BioclimSupervisedRecipe(**recipe)


def predicted(land, encoder, out):
    predict_classes(
        chips=land / "chips.parquet",
        stores=specs(land),
        context=[land / "context.parquet"],
        card=encoder / "card.json",
        weights=encoder / "encoder.safetensors",
        recipe=PredictRecipe(collection="land"),
        predictions=out,
    )
    return read_table(out)


def test_every_chip_that_can_be_seen_is_called_and_as_in_training(land, plain, tmp_path):
    table = predicted(land, plain, tmp_path / "p.parquet").set_index("chip_id")
    assert len(table) == CHIPS - 1  # chip 1 has no B10
    assert (table["probability"] >= 1 / 3).all()
    labels = read_table(land / "labels.parquet").merge(read_table(land / "chips.parquet")[["chip_id", "split"]])
    val = labels[(labels["split"] == "val") & labels["cover_class"].notna()]
    accuracy = (table["predicted"].reindex(val["chip_id"]).to_numpy() == val["cover_class"].to_numpy()).mean()
    assert accuracy == read_json(plain / "card.json")["best_val_accuracy"]


def test_shuffled_context_enters_prediction_and_embedding_too(land, tmp_path):
    options = {"method": METHOD, "conditioning": "cbn", "epochs": 1}
    encoder = pretrain(land, tmp_path / "encoder", context="shuffled", **options)
    card = read_json(encoder / "card.json")
    assert card["towers"]["s2"]["context"]["kind"] == "shuffled"
    loaded, pool = Encoder.load(encoder), make_pool(land)
    entering = pool.entering(loaded.inputs["s2"].context)
    embed_chips(
        chips=land / "chips.parquet", stores=specs(land), context=[land / "context.parquet"],
        cards=[encoder / "card.json"], weights=[encoder / "encoder.safetensors"],
        recipe=EmbedRecipe(collection="land", random_inits=0), embeddings=[tmp_path / "e.parquet"],
    )  # fmt: skip
    table = read_table(tmp_path / "e.parquet").set_index("chip_id")
    from terraprobe.chips.store import ChipStore

    store = ChipStore.open(land / "chips/s2_l1c")
    own = read_context(land / "context.parquet", pool.chip_ids)
    for context, same in ((entering, True), (own, False)):
        z = loaded.embed("s2", store, np.array([0, 4]), np.array([0, 0]), context)
        assert np.allclose(z, np.stack(table.loc[["chip000", "chip004"], "embedding"]), atol=1e-5) == same


def test_an_encoder_without_classes_predicts_nothing(land, auto, tmp_path):
    with pytest.raises(TerraprobeError, match="no card of an encoder that learnt classes"):
        predicted(land, auto, tmp_path / "p.parquet")


SEVERAL = {"classes": ["dark", "mid", "bright", "wet"], "multi_label": True}


def test_several_classes_are_learnt_each_by_itself(land):
    pool = make_pool(land, "cover_classes")
    method = build(pool, **SEVERAL)
    method.network.eval()
    chips = np.flatnonzero(method.eligible(pool))[:6]
    batch = method.fetch(pool, chips, np.full((6, 2), 0.9))
    assert [set(np.array(SEVERAL["classes"])[row]) for row in batch["s2"]["target"].numpy()] == [
        set(str(text).split()) for text in pool.classes[chips]
    ]
    share = method.towers["s2"].head(method.embed(batch)["s2"][0]).sigmoid()
    target = batch["s2"]["target"]
    expected = -torch.where(target, share, 1 - share).log().mean()
    torch.testing.assert_close(method.loss(batch), expected)
    torch.testing.assert_close(method.hits(batch), ((share > 0.5) == target).float().mean(dim=1))


def test_a_chip_with_a_class_that_is_not_learnt_is_left_out(land):
    pool = make_pool(land, "cover_classes")
    method = build(pool, classes=["dark", "mid", "bright"], multi_label=True)
    assert not any("wet" in text for text in pool.classes[method.eligible(pool)])


def test_several_classes_are_predicted_as_in_training(land, tmp_path):
    encoder = pretrain(land, tmp_path / "encoder", method=METHOD, epochs=3, **SEVERAL)
    card = read_json(encoder / "card.json")
    assert (card["label"], card["recipe"]["multi_label"]) == ("cover_classes", True)
    table = predicted(land, encoder, tmp_path / "p.parquet").set_index("chip_id")
    labels = read_table(land / "labels.parquet").merge(read_table(land / "chips.parquet")[["chip_id", "split"]])
    val = labels[(labels["split"] == "val") & labels["cover_classes"].notna()]
    pairs = [(set(table.loc[r.chip_id, "predicted"].split()), set(r.cover_classes.split())) for r in val.itertuples()]
    right = np.mean([1 - len(called ^ true) / 4 for called, true in pairs])
    assert right == pytest.approx(card["best_val_accuracy"], abs=1e-6)
