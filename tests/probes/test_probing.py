"""Probes band by band: what a view is, what is read and what is not, what is chosen, and what is refused."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from pretraining import CHANNELS, add_classes, make_collection, make_optical, pretrain, specs
from terraprobe.artifacts import read_arrays, read_json, read_table, write_json, write_table
from terraprobe.chips.store import MIN_VALID, ChipStore
from terraprobe.encoders import Encoder, with_twins
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.modalities import MODALITIES
from terraprobe.probes.floors import FloorsRecipe, measure_floors
from terraprobe.probes.image_stats import STATISTICS
from terraprobe.probes.probing import MlpRecipe, call_mlp, fit_mlp
from terraprobe.probes.views import EncoderViews, View

CLASSES = ("crop", "moss", "tree", "water")
"""No train chip is moss."""


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    """Chips whose class follows their brightness; a test chip is moss, a train and a test chip have no class."""
    folder = make_collection(tmp_path_factory.mktemp("probing") / "land")
    store = ChipStore.open(folder / "chips/s2_rgb_monthly")
    chips, channels = np.nonzero(store.valid >= MIN_VALID)
    means = np.nanmean(store.physical(chips, channels), axis=(1, 2))
    bright = np.bincount(chips, means, len(store)) / np.bincount(chips, minlength=len(store))
    names = np.array(["crop", "tree", "water"], object)[np.digitize(bright, np.quantile(bright, [0.34, 0.67]))]
    ids = read_table(folder / "chips.parquet")["chip_id"]
    names[ids.isin(["chip005", "chip014"])], names[ids == "chip004"] = None, "moss"
    write_table(folder / "labels.parquet", pd.DataFrame({"chip_id": ids, "cover_class": names}))
    measure_floors(chips=folder / "chips.parquet", stores=specs(folder), context=[], recipe=FloorsRecipe(),
                   floors=folder / "floors.parquet")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def encoder(land, tmp_path_factory):
    torch.set_num_threads(1)
    return pretrain(land, tmp_path_factory.mktemp("encoders") / "tiny", epochs=1)


def files(land, encoder, floors):
    return {
        "chips": land / "chips.parquet", "stores": specs(land), "context": sorted(land.glob("context.parquet")),
        "cards": [encoder / "card.json"], "weights": [] if floors else [encoder / "encoder.safetensors"],
        "floors": [land / "floors.parquet"] if floors else [],
    }  # fmt: skip


def fit(land, encoder, out, floors=False, **changes):
    told = {"evaluation": "e", "collection": "land", "label": "cover_class", "classes": CLASSES, "sizes": (8, 0),
            "repeats": 2, "epochs": 3, "random_inits": 1, "batch_size": 8}  # fmt: skip
    recipe = MlpRecipe(**{**told, **changes})
    made = {"heads": out / "heads.npz", "selection": out / "tiny.json"}
    fit_mlp(**files(land, encoder, floors), labels=land / "labels.parquet", recipe=recipe, **made)
    return recipe, made


def probe(land, encoder, out, floors=False, **changes):
    recipe, made = fit(land, encoder, out, floors, **changes)
    call_mlp(**files(land, encoder, floors), recipe=recipe, **made, called=out / "tiny.called.npz")
    return read_json(made["selection"]), read_arrays(out / "tiny.called.npz")


@pytest.fixture(scope="module")
def probed(land, encoder, tmp_path_factory):
    return probe(land, encoder, tmp_path_factory.mktemp("probed"))


def test_each_band_is_a_view_and_channels_without_a_name_are_one(probed):
    selection, _ = probed
    seen = {(c["modality"], c["view"]) for c in selection["choices"]}
    named = {(m, band) for m in ("s2_rgb_monthly", "s1_grd_monthly") for band in MODALITIES[m].bands}
    assert seen == named | {("s1_coherence", "coherence")}
    assert len(selection["choices"]) == len(seen) * 2 * 2  # inits, sizes
    assert all(c["effective_rank"] >= 1 for c in selection["choices"])


def test_features_are_those_of_the_band_alone(land, encoder):
    opened = Land.open("land", land / "chips.parquet", specs(land), [])
    trained = Encoder.load(encoder)
    views = EncoderViews(opened, trained, random_inits=1)
    store = opened.stores["s1_grd_monthly"]
    (view,) = [v for v in views.views if v.name == "m2_VH"]
    chips = np.flatnonzero(views.usable(view))[:5]
    np.testing.assert_array_equal(views.usable(view), store.valid[:, 4] >= MIN_VALID)
    for init, own in with_twins(trained, 1).items():
        expected = own.embed(view.tower, store, chips, np.full(5, 4))
        np.testing.assert_allclose(views.features(view, chips)[init], expected, rtol=1e-5, atol=1e-6)
    (mean,) = [v for v in views.views if v.modality == "s1_coherence"]
    store, chip = opened.stores["s1_coherence"], int(np.flatnonzero(views.usable(mean))[0])
    channels = np.flatnonzero(store.valid[chip] >= MIN_VALID)
    each = trained.embed(mean.tower, store, np.full(len(channels), chip), channels)
    found = views.features(mean, np.array([chip]))["trained"][0]
    np.testing.assert_allclose(found, each.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_a_tower_of_whole_chips_is_one_view(tmp_path):
    land = add_classes(make_optical(tmp_path / "land"))
    encoder = pretrain(land, tmp_path / "auto", method="bioclim", epochs=1)
    selection, called = probe(land, encoder, tmp_path, classes=("dark", "mid", "bright"), sizes=(8,))
    assert {c["view"] for c in selection["choices"]} == {"+".join(MODALITIES["s2_l1c"].bands)}
    assert np.isfinite(called["0"]).all()


def test_floors_are_the_statistics_of_the_same_views(land, encoder, probed, tmp_path):
    selection, called = probe(land, encoder, tmp_path, floors=True)
    assert [(c["modality"], c["view"]) for c in selection["choices"] if c["n_shots"] == 8] == [
        (c["modality"], c["view"]) for c in probed[0]["choices"] if c["n_shots"] == 8 and c["init"] == "trained"
    ]
    assert {c["init"] for c in selection["choices"]} == {"image_stats"}
    assert read_arrays(tmp_path / "heads.npz")["0.w1"].shape[1] == len(STATISTICS)
    number = {(c["modality"], c["view"], c["n_shots"]): k for k, c in enumerate(selection["choices"])}
    for k, choice in enumerate(probed[0]["choices"]):
        own = called[str(number[choice["modality"], choice["view"], choice["n_shots"]])]
        np.testing.assert_array_equal(np.isnan(own), np.isnan(probed[1][str(k)]))


def test_what_was_not_observed_has_no_answer(land, probed):
    selection, called = probed
    ids = read_table(land / "chips.parquet")["chip_id"].to_numpy()
    assert called["chip_ids"].tolist() == sorted(ids[np.arange(len(ids)) % 5 == 4])
    for k, choice in enumerate(selection["choices"]):
        if choice["modality"] == "s1_coherence":
            continue
        valid = ChipStore.open(land / "chips" / choice["modality"]).valid
        usable = valid[:, MODALITIES[choice["modality"]].bands.index(choice["view"])] >= MIN_VALID
        seen = np.isin(called["chip_ids"], ids[usable])
        np.testing.assert_array_equal(np.isfinite(called[str(k)]).all(axis=(0, 2)), seen)
        np.testing.assert_allclose(called[str(k)][:, seen].sum(axis=2), 1, rtol=1e-5)


def test_classes_without_a_train_chip_are_left_out(probed):
    selection, called = probed
    assert selection["classes"] == called["classes"].tolist() == ["crop", "tree", "water"]
    assert selection["majority"] in selection["classes"]


def test_validation_chooses_the_learning_rate(land, encoder, tmp_path):
    _, made = fit(land, encoder, tmp_path, sizes=(0,), lrs=(1e-2, 1e-6), repeats=1, random_inits=0)
    choices = read_json(made["selection"])["choices"]
    for choice in choices:
        values = {point["lr"]: point["f1_macro"] for point in choice["grid"]}
        assert choice["lr"] == min(lr for lr in values if values[lr] == max(values.values()))
    assert {c["lr"] for c in choices} == {1e-2, 1e-6} or {c["lr"] for c in choices} == {1e-2}
    alone, _ = probe(land, encoder, tmp_path / "alone", sizes=(0,), lrs=(1e-2,), repeats=1, random_inits=0)
    kept, single = (read_arrays(folder / "heads.npz") for folder in (tmp_path, tmp_path / "alone"))
    (k,) = [k for k, c in enumerate(choices) if c["view"] == "m1_B04"]
    if choices[k]["lr"] == 1e-2:
        np.testing.assert_allclose(kept[f"{k}.w1"], single[f"{k}.w1"], rtol=1e-4, atol=1e-5)
    assert all(c["n_val"] == 0 for c in alone["choices"])  # nothing to choose: no validation chip is read


def test_no_test_chip_decides_anything(land, encoder, probed, tmp_path):
    copy = tmp_path / "land"
    shutil.copytree(land, copy)
    chips, labels = read_table(copy / "chips.parquet"), read_table(copy / "labels.parquet")
    test = labels["chip_id"].isin(chips.loc[chips["split"] == "test", "chip_id"])
    write_table(copy / "labels.parquet", labels.assign(cover_class=labels["cover_class"].mask(test, "water")))
    for modality in CHANNELS:
        folder = copy / "chips" / modality
        pixels = np.load(folder / "000.npy")
        pixels[test] = 1234
        np.save(folder / "000.npy", pixels)
    _, made = fit(copy, encoder, tmp_path)
    assert read_json(made["selection"])["choices"] == probed[0]["choices"]


def test_equal_bytes(land, encoder, tmp_path):
    for name in ("one", "two"):
        probe(land, encoder, tmp_path / name, sizes=(8,))
    for name in ("heads.npz", "tiny.json", "tiny.called.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_it_learns_what_a_band_shows(land, encoder, tmp_path):
    selection, called = probe(land, encoder, tmp_path, floors=True, sizes=(0,), epochs=60)
    labels = read_table(land / "labels.parquet").set_index("chip_id")["cover_class"].reindex(called["chip_ids"])
    known, right = labels.isin(selection["classes"]).to_numpy(), []
    for k, choice in enumerate(selection["choices"]):
        if choice["modality"] == "s2_rgb_monthly":
            judged = np.isfinite(called[str(k)]).all(axis=(0, 2)) & known
            named = np.array(selection["classes"])[called[str(k)][:, judged].argmax(axis=2)]
            right += (named == labels[judged].to_numpy(str)).ravel().tolist()
    assert len(right) > 80 and np.mean(right) > 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": "sea_class"}, "no chip-level classes sea_class"),
        ({"classes": ("moss", "tree")}, "train chips of land have 1 of the classes of cover_class"),
        ({"sizes": (500,)}, "size 500 needs 500. Name smaller sizes or `full`"),
    ],
)
def test_what_cannot_be_learnt_is_one_sentence(land, encoder, tmp_path, changes, words):
    with pytest.raises(TerraprobeError, match=words) as caught:
        fit(land, encoder, tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_cannot_see_the_collection_is_refused(encoder, tmp_path):
    land = add_classes(make_optical(tmp_path / "land"))
    with pytest.raises(TerraprobeError, match=r"encoder tiny reads .*, but collection land has s2_l1c"):
        fit(land, encoder, tmp_path, classes=("dark", "mid", "bright"))


def test_validation_chips_are_asked_for_where_there_is_a_choice(land, encoder, tmp_path):
    copy = tmp_path / "land"
    shutil.copytree(land, copy)
    chips = read_table(copy / "chips.parquet")
    write_table(copy / "chips.parquet", chips.assign(split=chips["split"].replace("val", "buffer")))
    with pytest.raises(TerraprobeError, match="no val chip of land has a known cover_class and"):
        fit(copy, encoder, tmp_path)


def test_another_recipe_or_other_weights_are_refused(land, encoder, tmp_path):
    recipe, made = fit(land, encoder, tmp_path, sizes=(8,))
    arguments = {**files(land, encoder, False), **made, "called": tmp_path / "called.npz"}
    with pytest.raises(TerraprobeError, match="not made by this recipe and these weights of tiny"):
        call_mlp(**arguments, recipe=recipe.model_copy(update={"seed": 9}))
    write_json(made["selection"], read_json(made["selection"]) | {"encoder_sha256": "other"})
    with pytest.raises(TerraprobeError, match="not made by this recipe and these weights of tiny"):
        call_mlp(**arguments, recipe=recipe)


def test_a_view_is_named_by_its_bands():
    assert View("sar", "s1_grd", ("VV", "VH"), (0,)).name == "VV+VH"
