"""Pictures of single bands: which chips and classes stand in them, and that they are of the encoders and MLPs given."""

import numpy as np
import pandas as pd
import pytest
import torch

from pretraining import make_pairs, pretrain, specs
from terraprobe.artifacts import read_arrays, read_json, read_table, write_json, write_table
from terraprobe.chips.store import ChipStore
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.probes.bandattribution import BandAttributionRecipe, attribute_bands
from terraprobe.probes.probing import MlpRecipe, call_mlp, fit_mlp
from terraprobe.report.bandprojection import BandProjectionRecipe, project_bands
from terraprobe.report.projection import skipped_projections

CLASSES = ("dark", "bright")
RGB = {
    "rgb": {"modality": "s2_l1c", "bands": ["B04", "B03", "B02"]},
    "sar": {"modality": "s1_grd", "bands": ["VV", "VH", "VV"]},
    "blue": {"modality": "s2_l1c", "bands": ["B02"]},
}


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    torch.set_num_threads(1)
    folder = make_pairs(tmp_path_factory.mktemp("single") / "land")
    store, chips = ChipStore.open(folder / "chips/s2_l1c"), read_table(folder / "chips.parquet")
    bright = np.nanmean(store.physical(np.arange(len(store)), np.full(len(store), 1)), axis=(1, 2))
    names = np.where(bright > np.median(bright), "bright", "dark").astype(object)
    names[4] = None  # a test chip
    write_table(folder / "labels.parquet", pd.DataFrame({"chip_id": chips["chip_id"], "cover_class": names}))
    return folder


@pytest.fixture(scope="module")
def encoders(land, tmp_path_factory):
    """One of single bands, one of triplets, and their MLPs: folders."""
    root = tmp_path_factory.mktemp("encoders")
    made = {"single": {}, "triplet": {"views": "rsbyol3", "towers": RGB}}
    for name, recipe in made.items():
        pretrain(land, root / name, method="rsbyol", epochs=1, **recipe)
        learn(land, root / name)
    return [root / name for name in made]


def learn(land, encoder):
    files = {"chips": land / "chips.parquet", "stores": specs(land), "context": [], "cards": [encoder / "card.json"],
             "weights": [encoder / "encoder.safetensors"], "floors": []}  # fmt: skip
    told = MlpRecipe(evaluation="e", collection="land", label="cover_class", classes=CLASSES, repeats=2, epochs=2,
                     sizes=(8, 0), random_inits=1, batch_size=8)  # fmt: skip
    made = {"heads": encoder / "heads.npz", "selection": encoder / "selection.json"}
    fit_mlp(**files, labels=land / "labels.parquet", recipe=told, **made)
    call_mlp(**files, **made, recipe=told, called=encoder / "called.npz")


def attribute(land, encoders, out, selections=None, **recipe):
    attribute_bands(
        chips=land / "chips.parquet", stores=specs(land), context=[], cards=[e / "card.json" for e in encoders],
        weights=[e / "encoder.safetensors" for e in encoders], heads=[e / "heads.npz" for e in encoders],
        selections=selections or [e / "selection.json" for e in encoders], labels=land / "labels.parquet",
        recipe=BandAttributionRecipe(**{"evaluation": "e", "collection": "land", "label": "cover_class", **recipe}),
        maps=out / "maps.npz",
    )  # fmt: skip
    return read_arrays(out / "maps.npz")


def project(land, encoders, out, **recipe):
    project_bands(
        chips=land / "chips.parquet", stores=specs(land), context=[], cards=[e / "card.json" for e in encoders],
        weights=[e / "encoder.safetensors" for e in encoders], projections=out / "points.parquet",
        recipe=BandProjectionRecipe(**{"evaluation": "e", "collection": "land", "max_points": 20, **recipe}),
    )  # fmt: skip
    return read_table(out / "points.parquet")


def test_test_chips_of_known_classes_that_all_encoders_see(land, encoders, tmp_path):
    found = attribute(land, encoders, tmp_path, views=("B02", "B04+B03+B02"), shown=9)
    assert list(zip(found["encoders"], found["views"], strict=True)) == [
        ("single", "B02"), ("triplet", "B02"), ("triplet", "B04+B03+B02"),
    ]  # fmt: skip
    chips, labels = read_table(land / "chips.parquet"), read_table(land / "labels.parquet").set_index("chip_id")
    test = set(chips.loc[chips["split"] == "test", "chip_id"]) - {"chip004"}
    assert set(found["chip_ids"]) == test and (labels.loc[found["chip_ids"], "cover_class"] == found["classes"]).all()
    assert found["maps"].shape == (3, len(test), 32, 32)
    np.testing.assert_allclose(found["maps"].max(axis=(2, 3)), 1)
    named = attribute(land, encoders, tmp_path, views=("B02",), drawn=("bright",), shown=2)
    assert named["classes"].tolist() == ["bright"] * 2


def test_the_first_of_both_sensors_by_default(land, encoders, tmp_path):
    found = attribute(land, encoders[:1], tmp_path, shown=1)
    assert found["views"].tolist() == ["B02", "VV"] and found["modalities"].tolist() == ["s2_l1c", "s1_grd"]


def test_the_map_follows_the_mlps_of_the_class(land, encoders, tmp_path):
    """Nudging the pixels that weigh most moves what the MLPs answer more than nudging those that weigh least."""
    folder = encoders[0]
    found = attribute(land, [folder], tmp_path, views=("B02",), shown=1)
    chips = read_table(land / "chips.parquet")["chip_id"].tolist()
    encoder, store = Encoder.load(folder), ChipStore.open(land / "chips/s2_l1c")
    heads, choices = read_arrays(folder / "heads.npz"), read_json(folder / "selection.json")["choices"]
    wanted = {"view": "B02", "init": "trained", "n_shots": 0}
    (k,) = [k for k, c in enumerate(choices) if wanted.items() <= c.items()]
    w1, b1, w2, b2 = (heads[f"{k}.{part}"] for part in ("w1", "b1", "w2", "b2"))
    for place, (chip, name) in enumerate(zip(found["chip_ids"], found["classes"], strict=True)):
        (images,) = encoder.prepare("ms", store, np.array([chips.index(chip)]), np.array([0]))

        def score(images, name=name):
            z = encoder.forward("ms", (images,)).numpy()
            hidden = np.maximum(np.matmul(z, w1) + b1[:, None], 0)
            return (np.matmul(hidden, w2) + b2[:, None])[..., CLASSES.index(name)].mean()

        order = np.argsort(found["maps"][0, place].ravel())
        moved = []
        for pixels in (order[-64:], order[:64]):
            other = images.clone()
            other.view(-1)[torch.from_numpy(pixels.copy())] += 0.05
            moved.append(abs(score(other) - score(images)))
        assert moved[0] > moved[1]


def test_mlps_of_other_weights_and_unknown_names_are_one_sentence(land, encoders, tmp_path):
    content = read_json(encoders[0] / "selection.json")
    write_json(tmp_path / "selection.json", {**content, "encoder_sha256": "0"})
    with pytest.raises(TerraprobeError, match="not made with these weights of single"):
        attribute(land, encoders[:1], tmp_path, selections=[tmp_path / "selection.json"])
    with pytest.raises(TerraprobeError, match="cam_classes names moss, but learnt are dark, bright"):
        attribute(land, encoders, tmp_path, drawn=("moss",))
    with pytest.raises(TerraprobeError, match="e: B01 is to be drawn, but what its encoders see is B02, B03"):
        attribute(land, encoders, tmp_path, views=("B01",))
    with pytest.raises(TerraprobeError, match="1 cards, 1 weights, 1 heads and 2 selections"):
        attribute(land, encoders[:1], tmp_path, selections=[tmp_path / "selection.json"] * 2)


def test_the_same_chips_for_every_encoder_and_no_test_chip(land, encoders, tmp_path):
    points = project(land, encoders, tmp_path, views=("B02", "VV+VH+VV"))
    drawn = {key: own["chip_id"].tolist() for key, own in points.groupby(["encoder", "view"], sort=False)}
    assert list(drawn) == [("single", "B02"), ("triplet", "B02"), ("triplet", "VV+VH+VV")]
    assert drawn["single", "B02"] == drawn["triplet", "B02"] and len(drawn["single", "B02"]) == 20
    chips = read_table(land / "chips.parquet").set_index("chip_id")
    assert not (chips.loc[points["chip_id"], "split"] == "test").any()
    assert "chip001" not in drawn["triplet", "VV+VH+VV"] and np.isfinite(points[["x", "y"]]).all().all()


def test_equal_bytes_and_too_few_chips_are_told(land, encoders, tmp_path):
    for name in ("one", "two"):
        project(land, encoders[:1], tmp_path / name)
        attribute(land, encoders, tmp_path / name, views=("B02",))
    for file in ("points.parquet", "maps.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert not len(project(land, encoders[:1], tmp_path, max_points=5))
    assert {item["reason"] for item in skipped_projections(tmp_path / "points.parquet")} == {"fewer than 10 chips"}
