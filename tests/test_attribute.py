"""Where heads see a class: which classes and chips are drawn, what enters, and what is refused."""

import numpy as np
import pytest
import torch

from pretraining import add_classes, make_optical, pretrain, specs
from terraprobe.artifacts import read_arrays, read_table, write_table
from terraprobe.attribute import AttributeRecipe, attribute_classes
from terraprobe.collections.chiptable import CONTEXT
from terraprobe.errors import TerraprobeError

CLASSES = ("dark", "mid", "bright")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return add_classes(make_optical(tmp_path_factory.mktemp("attribute") / "land"))


@pytest.fixture(scope="module")
def encoder(land, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("encoders") / "cbn"
    return pretrain(land, out, method="bioclim_supervised", conditioning="cbn", epochs=3)


def attribute(land, *encoders, out, context=None, labels=None, **recipe):
    attribute_classes(
        chips=land / "chips.parquet",
        stores=specs(land),
        context=[context or land / "context.parquet"],
        cards=[encoder / "card.json" for encoder in encoders],
        weights=[encoder / "encoder.safetensors" for encoder in encoders],
        labels=labels or land / "labels.parquet",
        recipe=AttributeRecipe(**{"collection": "land", "label": "cover_class", "classes": CLASSES, **recipe}),
        maps=out / "maps.npz",
    )
    return read_arrays(out / "maps.npz")


def classes_of_test_chips(land):
    chips, labels = read_table(land / "chips.parquet"), read_table(land / "labels.parquet")
    return labels[(chips["split"] == "test").to_numpy()].dropna().set_index("chip_id")["cover_class"]


def test_test_chips_of_the_named_class_are_drawn(land, encoder, tmp_path):
    found = attribute(land, encoder, out=tmp_path, drawn=("bright",), shown=2)
    assert found["classes"].tolist() == ["bright"] * 2
    truth = classes_of_test_chips(land)
    assert (truth[found["chip_ids"]] == "bright").all()
    assert found["maps"].shape == (1, 2, 32, 32)
    assert np.isfinite(found["maps"]).all() and found["maps"].max() <= 1.2


def test_by_default_the_two_classes_of_the_most_test_chips(land, encoder, tmp_path):
    counts = classes_of_test_chips(land).value_counts()
    found = attribute(land, encoder, out=tmp_path)
    assert counts["dark"] > counts["mid"] == counts["bright"]  # of two that tie the lower code
    assert list(dict.fromkeys(found["classes"].tolist())) == ["dark", "mid"]


def test_equal_bytes_and_another_seed_draws_others(land, encoder, tmp_path):
    for name in ("one", "two"):
        attribute(land, encoder, out=tmp_path / name, shown=1)
    assert (tmp_path / "one/maps.npz").read_bytes() == (tmp_path / "two/maps.npz").read_bytes()
    drawn = {tuple(attribute(land, encoder, out=tmp_path, shown=1, seed=seed)["chip_ids"]) for seed in range(6)}
    assert len(drawn) > 1


def test_the_chips_own_climate_enters(land, encoder, tmp_path):
    before = attribute(land, encoder, out=tmp_path)
    table = read_table(land / "context.parquet")
    kept = table["chip_id"].isin(before["chip_ids"][:1])
    other = table.assign(**{name: table[name].where(kept, 30.0) for name in CONTEXT})
    write_table(tmp_path / "context.parquet", other)
    after = attribute(land, encoder, out=tmp_path, context=tmp_path / "context.parquet")
    np.testing.assert_allclose(after["maps"][0, 0], before["maps"][0, 0], atol=1e-5)
    assert not np.allclose(after["maps"][0, 1:], before["maps"][0, 1:], atol=1e-3)


def test_all_encoders_are_shown_the_chips_that_all_can_see(land, encoder, tmp_path):
    plain = pretrain(land, tmp_path / "plain", method="bioclim_supervised", epochs=1)
    truth = classes_of_test_chips(land)
    (blind, *others) = truth.index[truth == "dark"]
    table = read_table(land / "context.parquet")
    table.loc[table["chip_id"] == blind, "bio05"] = np.nan  # `plain` alone can see it
    write_table(tmp_path / "context.parquet", table)
    found = attribute(
        land, plain, encoder, out=tmp_path, context=tmp_path / "context.parquet", drawn=("dark",), shown=9
    )
    assert set(found["chip_ids"]) == set(others)
    assert found["encoders"].tolist() == ["plain", "cbn"]
    assert found["maps"].shape == (2, len(others), 32, 32)
    alone = attribute(land, encoder, out=tmp_path, context=tmp_path / "context.parquet", drawn=("dark",), shown=9)
    np.testing.assert_array_equal(found["maps"][1], alone["maps"][0])


def test_a_class_without_test_chips_has_no_row_and_is_told(land, encoder, tmp_path, capsys):
    labels = read_table(land / "labels.parquet").assign(cover_class="dark")
    write_table(tmp_path / "labels.parquet", labels)
    found = attribute(land, encoder, out=tmp_path, labels=tmp_path / "labels.parquet", drawn=("mid",))
    assert found["maps"].shape == (1, 0, 32, 32)
    assert "no test chip of mid that all can see" in capsys.readouterr().err


def test_several_classes_a_chip(land, tmp_path):
    classes = ("dark", "mid", "bright", "wet")
    several = {"classes": list(classes), "multi_label": True}
    encoder = pretrain(land, tmp_path / "e", method="bioclim_supervised", epochs=1, **several)
    found = attribute(land, encoder, out=tmp_path, label="cover_classes", classes=classes, multi_label=True,
                      drawn=("wet",))  # fmt: skip
    labels = read_table(land / "labels.parquet").set_index("chip_id")["cover_classes"]
    assert len(found["chip_ids"]) == 3
    assert all("wet" in labels[chip].split() for chip in found["chip_ids"])


def test_other_classes_than_the_encoder_learnt_are_one_sentence(land, encoder, tmp_path):
    with pytest.raises(TerraprobeError, match=r"card\.json: classes dark, mid, bright, expected crop, tree"):
        attribute(land, encoder, out=tmp_path, classes=("crop", "tree"))
