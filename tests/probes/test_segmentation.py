"""Heads on pixels: choices on validation alone, draws, what is kept, floors, scores, and what is refused."""

import shutil

import numpy as np
import pytest
import torch

from labelled_world import CLASSES, TREE, UNLABELLED_CHIP, WATER, codes_of, inputs, make_labelled, write_labels
from pretraining import make_collection, pretrain
from terraprobe.artifacts import read_arrays, read_json, read_table
from terraprobe.encoders import Encoder, read_weights
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.probes.labelled_pixels import UNKNOWN, LabelledLand
from terraprobe.probes.pixel_floors import segment_floors
from terraprobe.probes.segmentation import segment_chips, select_segmentation
from terraprobe.probes.segmentation_fit import ProbeRecipe
from terraprobe.probes.segmentation_model import ProbeModel
from terraprobe.probes.segmentation_scores import SegmentationRecipe, score_segmentation

RECIPE = {
    "evaluation": "cover", "collection": "land", "label": "worldcover", "classes": CLASSES, "sizes": [6, 0],
    "repeats": 2, "lrs": [0.1, 1e-6], "steps": 40, "batch_size": 6, "random_inits": 1, "shown": 3,
}  # fmt: skip
N_TRAIN, N_TEST = 23, 8  # labelled: chip 6 of the 24 train chips is not


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_labelled(tmp_path_factory.mktemp("pixels") / "land")


@pytest.fixture(scope="module")
def auto(land, tmp_path_factory):
    return pretrain(land, tmp_path_factory.mktemp("auto") / "auto", method="bioclim")


def probe(land, encoder, out, **recipe):
    """Both stages; the folder of what they wrote."""
    given, asked = inputs(land, encoder), ProbeRecipe.model_validate(RECIPE | recipe)
    out.mkdir(exist_ok=True)
    select_segmentation(**given, recipe=asked, selection=out / "selection.json")
    segment_chips(
        **given, strata=[], selection=out / "selection.json", recipe=asked, counts=out / f"{encoder.name}.parquet",
        maps=out / "maps.npz", model=out / "model.safetensors", model_card=out / "card.json",
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def linear(land, auto, tmp_path_factory):
    torch.set_num_threads(1)
    return probe(land, auto, tmp_path_factory.mktemp("linear"))


def labelled_land(land, classes=CLASSES):
    opened = Land.open("land", land / "chips.parquet", [land / "chips/s2_l1c/spec.json"], [])
    return LabelledLand.open(opened, land / "labels/worldcover/spec.json", classes)


def test_classes_may_be_merged_and_left_out(land):
    labelled = labelled_land(land, {"wet": ["water", "wetland"], "green": ["tree"]})
    assert labelled.classes == ("green", "wet")  # by code
    assert labelled.codes == [1, 2]
    truth, codes = labelled.truth(np.arange(8)), codes_of(land)[:8]
    np.testing.assert_array_equal(truth == 0, codes == TREE)
    np.testing.assert_array_equal(truth == 1, codes == WATER)
    np.testing.assert_array_equal(truth == UNKNOWN, ~np.isin(codes, (TREE, WATER)))
    assert labelled_land(land).codes == [10, 40, 80]


def test_pixels_may_be_divided_by_another_layer(land):
    spec = land / "labels/worldcover/spec.json"
    whole = labelled_land(land)
    divided = LabelledLand.open(whole.land, spec, {"tree": ["tree"], "water": ["water"]}, [spec])
    assert divided.strata_names[:3] == ["", "tree", "shrub"] and whole.strata_names == [""]
    chips = np.arange(4)
    called = np.zeros((4, 32, 32), np.uint8)
    counts = divided.counts(chips, called)
    assert counts[divided.strata_names.index("water"), :, 1, 0].sum() == (codes_of(land)[:4] == WATER).sum()
    assert counts[divided.strata_names.index("water"), :, 0].sum() == counts[0].sum() == 0


def test_draws_are_nested_and_labelled(land):
    labelled = labelled_land(land)
    seen = np.ones(40, bool)
    seen[1] = False
    small, large = (labelled.drawn(seen, size, 7, 0) for size in (4, 10))
    assert large[:4].tolist() == small.tolist()
    everything = labelled.drawn(seen, 0, 7, 0)
    assert len(everything) == N_TRAIN - 1 and not {1, UNLABELLED_CHIP} & set(everything.tolist())
    assert labelled.drawn(seen, 0, 7, 1).tolist() != everything.tolist()
    assert labelled.drawn(seen, N_TRAIN, 7, 0) is None


def test_the_learning_rate_is_the_best_on_validation(linear):
    chosen = read_json(linear / "selection.json")
    assert [(c["init"], c["size"]) for c in chosen["choices"]] == [
        ("trained", 6), ("trained", 0), ("random-0", 6), ("random-0", 0),
    ]  # fmt: skip
    for choice in chosen["choices"]:
        assert choice["val_miou"] == max(score for _, score in choice["candidates"])
        assert [lr for lr, _ in choice["candidates"]] == [0.1, 1e-6]
    assert chosen["best"] == chosen["choices"][1] and chosen["best"]["lr"] == 0.1


def test_no_test_label_is_read_before_the_score(land, auto, linear, tmp_path):
    other = shutil.copytree(land, tmp_path / "land")
    codes = codes_of(land)
    codes[read_table(land / "chips.parquet")["split"].to_numpy() == "test"] = WATER
    write_labels(other, codes)
    select_segmentation(**inputs(other, auto), recipe=ProbeRecipe.model_validate(RECIPE), selection=tmp_path / "s.json")
    assert (tmp_path / "s.json").read_bytes() == (linear / "selection.json").read_bytes()


def test_every_labelled_pixel_of_every_test_chip_is_called_once(land, linear):
    counts = read_table(linear / "auto.parquet")
    probes = counts.groupby(["init", "size", "repeat"])
    assert len(probes) == 2 * 2 * 2
    known = (codes_of(land)[4::5] != 0).sum()
    assert set(probes["pixels"].sum()) == {known}
    assert set(probes["chip_id"].nunique()) == {N_TEST}
    assert set(counts["n_train"]) == {6, N_TRAIN - 1}  # chip 1 lacks a band
    assert set(counts["sees"]) == {"s2_l1c: B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09, B10, B11, B12"}


def test_equal_inputs_give_equal_bytes(land, auto, linear, tmp_path):
    again = probe(land, auto, tmp_path / "again")
    for name in ("auto.parquet", "maps.npz", "model.safetensors", "card.json"):
        assert (again / name).read_bytes() == (linear / name).read_bytes()


def test_pictures_are_those_of_the_counts(land, linear):
    maps = read_arrays(linear / "maps.npz")
    assert maps["called"].shape == (2, 3, 32, 32) and maps["inits"].tolist() == ["trained", "random-0"]
    chip = maps["chip_ids"][0]
    counts = read_table(linear / "auto.parquet").query("init == 'trained' and size == 0 and repeat == 0")
    own = counts[counts["chip_id"] == chip].set_index(["truth", "called"])["pixels"]
    truth, called = maps["truth"][0], maps["called"][0, 0]
    for (t, c), pixels in own.items():
        assert ((truth == t) & (called == c)).sum() == pixels
    assert maps["best"].tolist() == ["s2", ""]
    assert maps["features"].shape[0] == 3 and maps["features"].shape[-1] == 3 and np.ptp(maps["features"]) > 0


def test_a_linear_head_leaves_the_encoder_and_fine_tuning_does_not(land, auto, linear, tmp_path):
    encoder = {name.removeprefix("s2."): t for name, t in read_weights(auto / "encoder.safetensors").items()}
    kept = read_weights(linear / "model.safetensors")
    assert all(torch.equal(kept[f"tower.{name}"], t) for name, t in encoder.items() if not name.startswith("decoder"))
    tuned = probe(land, auto, tmp_path / "tuned", protocol="finetune", sizes=[0], repeats=1, lrs=[0.01], steps=5)
    moved = read_weights(tuned / "model.safetensors")
    assert not torch.equal(moved["tower.stem.weight"], encoder["stem.weight"])
    assert read_json(tuned / "card.json")["protocol"] == "finetune"
    again = Encoder.load(auto)  # the encoder itself is as it was
    assert torch.equal(again.module("s2").stem.weight, encoder["stem.weight"])


def test_a_decoder_is_learnt_on_frozen_features(land, auto, linear, tmp_path):
    out = probe(land, auto, tmp_path / "out", protocol="decoder", sizes=[6], repeats=1, lrs=[0.01], steps=3,
                random_inits=0)  # fmt: skip
    kept = read_weights(out / "model.safetensors")
    assert torch.equal(kept["tower.stem.weight"], read_weights(linear / "model.safetensors")["tower.stem.weight"])
    assert kept["head.0.branches.3.0.weight"].shape == (256, 8, 3, 3) and kept["head.4.weight"].shape[0] == 3


def test_bands_of_single_channel_towers_have_heads_of_their_own(land, tmp_path):
    towers = {"visible": {"modality": "s2_l1c", "bands": ["B03", "B04"]},
              "infrared": {"modality": "s2_l1c", "bands": ["B08"]}}  # fmt: skip
    encoder = pretrain(land, tmp_path / "bands", towers=towers, epochs=1)
    out = probe(land, encoder, tmp_path / "out", sizes=[0], repeats=1, lrs=[0.1], random_inits=0, bands=["B04", "B08"])
    counts = read_table(out / "bands.parquet")
    found = counts[["tower", "band", "sees"]].drop_duplicates().to_numpy().tolist()
    assert sorted(found) == [["infrared", "B08", "s2_l1c: B08"], ["visible", "B04", "s2_l1c: B04"]]


def test_towers_of_a_joint_encoder_are_probed_together_or_as_named(tmp_path):
    land = make_collection(tmp_path / "land", modalities=("s1_grd_monthly", "s2_rgb_monthly"))
    codes = np.where(np.arange(32) < 16, TREE, WATER)[None, None].repeat(40, 0).repeat(32, 1)
    write_labels(land, codes)
    encoder = pretrain(land, tmp_path / "joint", method="sscl", epochs=1)
    files = {"chips": land / "chips.parquet", "stores": sorted(land.glob("chips/*/spec.json")), "context": []}
    files |= {"truth": land / "labels/worldcover/spec.json", "card": encoder / "card.json"}
    files |= {"weights": encoder / "encoder.safetensors"}
    small = RECIPE | {"sizes": [0], "repeats": 1, "lrs": [0.1], "steps": 3, "random_inits": 0}
    found = {}
    for towers in ((), ("s2", "concat")):
        recipe, out = ProbeRecipe.model_validate(small | {"towers": towers}), tmp_path / f"out{len(towers)}"
        select_segmentation(**files, recipe=recipe, selection=out / "selection.json")
        outs = {"counts": out / "counts.parquet", "maps": out / "maps.npz"}
        outs |= {"model": out / "model.safetensors", "model_card": out / "card.json"}
        segment_chips(**files, strata=[], recipe=recipe, selection=out / "selection.json", **outs)
        found[towers] = read_table(out / "counts.parquet").groupby("tower")["sees"].first().to_dict()
    both = found[()]["concat"]
    assert set(found[()]) == {"concat"} and "s1_grd_monthly: m" in both and "s2_rgb_monthly: m" in both
    assert found["s2", "concat"]["concat"] == both and "s1" not in found["s2", "concat"]["s2"]
    assert set(dict(ProbeModel.load(out).bands)) <= {"s1_grd_monthly", "s2_rgb_monthly"}


@pytest.fixture(scope="module")
def scored(land, auto, linear):
    given = inputs(land, auto)
    segment_floors(
        chips=given["chips"], stores=given["stores"], truth=given["truth"], strata=[], cards=[given["card"]],
        weights=[given["weights"]], recipe=ProbeRecipe.model_validate(RECIPE), counts=linear / "floors.parquet",
    )  # fmt: skip
    outs = {name: linear / f"{name}.parquet" for name in ("scores", "classes", "differences", "confusion", "samples")}
    score_segmentation(
        counts=[linear / "auto.parquet", linear / "floors.parquet"], chips=given["chips"], **outs,
        recipe=SegmentationRecipe(evaluation="cover", collection="land", label="worldcover", classes=tuple(CLASSES),
                                  arms={"auto": ("auto",)}, resamples=200),
    )  # fmt: skip
    return {name: read_table(path) for name, path in outs.items()}


def test_pixel_values_give_the_classes_away_and_the_majority_does_not(scored):
    miou = scored["scores"].query("metric == 'miou' and size == 0").set_index(["init", "tower"])["value"]
    assert miou["", "pixel values"] > 0.65  # a quarter of the pixels lacks a band, and stays the most frequent class
    assert miou["", "majority class"] < 0.34
    assert miou["trained", "s2"] > miou["", "majority class"]


def test_scores_are_those_of_the_confusion(scored):
    called = scored["confusion"].query("init == 'trained' and size == 0")
    whole = called["pixels"].sum()
    right = called.loc[called["truth"] == called["called"], "pixels"].sum()
    row = scored["scores"].query("init == 'trained' and size == 0 and metric == 'oa'").iloc[0]
    assert row["value"] == pytest.approx(right / whole)
    assert row["low"] <= row["value"] <= row["high"]
    assert (row["n_seeds"], row["n_repeats"], row["n_test"], row["n_unseen"]) == (1, 2, N_TEST, 0)


def test_what_is_compared(scored):
    rows = scored["differences"].query("metric == 'miou' and size == 0")
    assert rows[["rival_init", "rival_tower"]].to_numpy().tolist() == [
        ["untrained", "s2"], ["", "majority class"], ["", "pixel values"],
    ]  # fmt: skip
    assert (rows["difference"] == rows["value"] - rows["rival_value"]).all()
    assert (rows["p_holm"] >= rows["p"]).all()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"sizes": [100]}, r"none of the sizes \[100\] can be drawn from the 23 labelled train chips"),
        ({"classes": {"a": ["tree"], "b": ["lava"]}}, "no class lava; the layer has tree, shrub"),
        ({"classes": {"a": ["snow"], "b": ["moss"]}}, "no train chip has a pixel of a, b in"),
    ],
)
def test_bad_recipes_are_refused(land, auto, tmp_path, recipe, said):
    with pytest.raises(TerraprobeError, match=said):
        probe(land, auto, tmp_path / "out", **recipe)


def test_a_selection_of_another_encoder_is_refused(land, auto, linear, tmp_path):
    other = pretrain(land, tmp_path / "other", seed=1, method="bioclim", epochs=1)
    outs = {name: tmp_path / name for name in ("counts", "maps", "model", "model_card")}
    given = inputs(land, other, selection=linear / "selection.json", recipe=ProbeRecipe.model_validate(RECIPE))
    with pytest.raises(TerraprobeError, match="chosen for another encoder"):
        segment_chips(**given, strata=[], **outs)
