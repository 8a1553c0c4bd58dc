"""`rsbyol_supervised`: the ResNet of one band or triplet with a head, trained from scratch with classes."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pretraining import TINY_SCRATCH, add_classes, make_optical, make_pairs, pretrain, specs
from terraprobe.artifacts import read_json, read_table
from terraprobe.describe import describe
from terraprobe.encoders import Encoder
from terraprobe.methods.rsbyol_supervised import RsbyolSupervised, RsbyolSupervisedRecipe
from terraprobe.pool import ChipPool
from terraprobe.predict import PredictRecipe, predict_classes

METHOD = "rsbyol_supervised"
BAND = {"blue": {"modality": "s2_l1c", "bands": ["B02"]}}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return add_classes(make_optical(tmp_path_factory.mktemp("scratch") / "land"))


def build(land, **overrides):
    pool = ChipPool([land / "chips.parquet"], specs(land), [], [land / "labels.parquet"], "cover_class")
    recipe = RsbyolSupervisedRecipe(**{**TINY_SCRATCH, **overrides})
    torch.manual_seed(0)
    inputs = RsbyolSupervised.fit_inputs(recipe, pool, np.flatnonzero(pool.split == "train"), 0)
    return pool, RsbyolSupervised(recipe, inputs, pool.layers, pool.chip_px)


@pytest.mark.parametrize(("towers", "resnet"), [({}, 23_508_032), ({"towers": BAND}, 23_501_760)])
def test_the_network_is_that_of_rsbyol_with_the_head_of_its_probes(towers, resnet):
    parts = describe(METHOD, towers)["parameters"]["towers"][next(iter(towers.get("towers", {"rgb": None})))]
    head = parts.pop("head")
    assert head == 2048 * 128 + 128 + 2 * 128 + 128 * 10 + 10
    assert sum(n for name, n in parts.items() if name != "total") == resnet


def test_what_enters_are_its_bands_by_name_in_the_unit_range(land):
    pool, method = build(land)
    chips = np.flatnonzero(method.eligible(pool))[:3]
    images = method._images(method.fetch(pool, chips, np.full((3, 2), 0.9)))
    bands = [pool.layers["s2_l1c"].bands.index(name) for name in ("B04", "B03", "B02")]
    dn = np.stack([pool.digital("s2_l1c", chips, np.full(3, band)) for band in bands], axis=1)
    layer = pool.layers["s2_l1c"]
    expected = np.where(dn == layer.nodata, 0, np.clip(dn * layer.scale + layer.offset, 0, 1))
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-6)


def test_it_can_learn_one_batch_by_heart(land):
    pool, method = build(land)
    chips = np.flatnonzero(method.eligible(pool))[:8]
    batch = method.fetch(pool, chips, np.full((8, 2), 0.9))
    optimiser = method.optimiser()
    method.network.train()
    for _ in range(60):
        optimiser.param_groups[0]["lr"] = 1e-2
        optimiser.zero_grad()
        method.loss(batch).backward()
        optimiser.step()
    assert float(method.loss(batch).detach()) < 0.1
    assert bool(method.hits(batch).all())


def test_train_chips_are_flipped_and_validation_chips_are_not(land):
    pool, method = build(land)
    chips = np.flatnonzero(method.eligible(pool))[:2]
    batch = method.fetch(pool, chips, np.zeros((2, 2)))
    straight = method._images(batch)
    method.network.eval()
    torch.testing.assert_close(method._augmented(batch), straight)
    method.network.train()
    torch.testing.assert_close(method._augmented(batch), straight.flip(2, 3))


def test_the_rate_rises_and_falls_to_zero(land):
    _, method = build(land, lr=0.1, warmup=0.1)
    rates = [method.learning_rate(step, 100) for step in range(100)]
    assert (rates[0], rates[9], max(rates)) == pytest.approx((0.01, 0.1, 0.1))
    assert rates[-1] < 1e-3


def test_it_trains_predicts_and_shows_where_it_looks(land, tmp_path):
    folder = pretrain(land, tmp_path / "scratch", method=METHOD, epochs=2)
    card = read_json(folder / "card.json")
    assert card["classes"] == ["dark", "mid", "bright"]
    predict_classes(
        chips=land / "chips.parquet", stores=[land / "chips/s2_l1c/spec.json"], context=[], card=folder / "card.json",
        weights=folder / "encoder.safetensors", recipe=PredictRecipe(collection="land"),
        predictions=tmp_path / "called.parquet",
    )  # fmt: skip
    called = read_table(tmp_path / "called.parquet")
    assert set(called["predicted"]) <= set(card["classes"])
    assert len(called) == 40
    encoder = Encoder.load(folder)
    maps = encoder.grad_cam("rgb", (torch.rand(2, 3, 32, 32),), torch.tensor([0, 1]))
    assert maps.shape == (2, 1, 1)


def test_the_sar_triplet_takes_a_band_twice(tmp_path):
    land = add_context(make_pairs(tmp_path / "land"))
    folder = pretrain(
        land, tmp_path / "sar", method=METHOD, epochs=1,
        towers={"sar": {"modality": "s1_grd", "bands": ["VV", "VH", "VV"]}},
    )  # fmt: skip
    assert read_json(folder / "card.json")["towers"]["sar"]["bands"] == ["VV", "VH", "VV"]


def add_context(land):
    """Classes as `add_classes` gives them, of values that stand in for a climate."""
    chips = read_table(land / "chips.parquet")["chip_id"]
    values = chips.to_frame().assign(bio01=np.arange(len(chips)) % 30)
    values.to_parquet(land / "context.parquet")
    add_classes(land)
    (land / "context.parquet").unlink()
    return land


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"towers": {}}, "found 0, allowed one, of one band or of three"),
        ({"towers": {**BAND, "red": BAND["blue"]}}, "found 2, allowed one"),
        ({"towers": {"two": {"modality": "s2_l1c", "bands": ["B02", "B03"]}}}, "bands: found 2, allowed one or three"),
        ({"towers": {"c": {"modality": "s1_coherence"}}}, r"towers.c.modality: found 's1_coherence', allowed"),
        ({"classes": ["a", "a"]}, "allowed: each class once"),
        ({"conditioning": "cbn"}, "none"),
    ],
)
def test_wrong_recipes_are_refused(overrides, words):
    with pytest.raises(ValidationError, match=words):
        RsbyolSupervisedRecipe(**overrides)
