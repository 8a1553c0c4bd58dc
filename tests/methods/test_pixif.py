"""`pixif`: its views and superpixels, that it learns, and is watched for collapse."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pretraining import TINY_PIXIF, make_collection, pretrain
from pretraining import specs as all_specs
from terraprobe import loop
from terraprobe.artifacts import read_json
from terraprobe.describe import describe
from terraprobe.encoders import read_weights
from terraprobe.errors import TerraprobeError
from terraprobe.methods.pixif import Pixif, PixifRecipe

BOTH = ("s2_rgb_monthly", "s1_grd_monthly")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("pixif") / "land", modalities=BOTH)


@pytest.fixture(scope="module")
def pool(land):
    from terraprobe.pool import ChipPool

    return ChipPool([land / "chips.parquet"], all_specs(land))


def build(pool, **overrides):
    recipe = PixifRecipe(**{**TINY_PIXIF, **overrides})
    inputs = Pixif.fit_inputs(recipe, pool, np.flatnonzero(pool.split == "train"), 0)
    torch.manual_seed(0)
    return Pixif(recipe, inputs, pool.layers, pool.chip_px)


def fetch(method, pool, count=4):
    chips = np.flatnonzero(method.eligible(pool))[:count]
    return method.fetch(pool, chips, np.random.default_rng(0).random((len(chips), method.draws)))


def test_the_first_view_is_flipped_one_way_and_shifted(pool):
    method = build(pool)
    uniform = torch.tensor([[0.0, 0.9, 0.5, 0.5], [0.0, 0.1, 0.5, 0.0], [0.9, 0.1, 0.999, 0.5], [0.9, 0.9, 0.0, 0.0]])
    down, across = method.places(uniform, 32)
    middle = list(range(8, 24))
    assert (down[0].tolist(), across[0].tolist()) == (middle, middle)
    assert (down[1].tolist(), across[1].tolist()) == (middle[::-1], [k - 6 for k in middle])
    assert (down[2].tolist(), across[2].tolist()) == ([k + 6 for k in middle], middle[::-1])
    assert down[3].min() == across[3].min() == 2


def test_features_of_both_views_are_of_the_same_ground(pool, monkeypatch):
    """With the identity for a network the means of a superpixel are the same in both views."""
    method = build(pool)
    images = torch.randn(4, 3, 32, 32)
    monkeypatch.setattr(method, "images", lambda batch: images)
    monkeypatch.setattr(method.encoder, "pixels", lambda views: views)
    method.image_head, method.pixel_head = torch.nn.Identity(), torch.nn.Identity()
    contrasted = []
    monkeypatch.setattr(method, "_contrast", lambda one, two: contrasted.append((one, two)) or torch.zeros(()))
    uniform = torch.from_numpy(np.random.default_rng(1).random((4, method.draws)))
    method.loss({"draws": {"uniform": uniform}})
    (whole, _), (first, second) = contrasted
    assert whole.shape == (4, 3) and first.shape[1] == 3 and 4 < len(first) <= 4 * 64
    torch.testing.assert_close(first, second)


def test_superpixels_are_of_the_optical_channels(pool):
    method = build(pool)
    assert method._seen == [1, 2]  # s1 comes first
    radar = {"s1": {"modality": "s1_grd_monthly", "bands": ["m2_VV", "m2_VH"]}}
    assert build(pool, towers=radar)._seen == [0, 1]


def test_overfits_one_batch(pool):
    method = build(pool, width=4, aspp=16, projection=16, weight_decay=0.0, superpixel_px=8, shift_share=0.0)
    batch = fetch(method, pool)
    optimiser = method.optimiser()
    losses = []
    for _ in range(30):
        loss = method.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    floor = sum(np.log1p((2 * n - 2) * np.exp(-4)) for n in (4, 16))  # nothing but twins alike, the rest opposite
    assert losses[0] - floor > 2 * (losses[-1] - floor)


def test_a_run_keeps_the_encoder_alone(land, tmp_path):
    folder = pretrain(land, tmp_path / "whole", method="pixif")
    assert {name.split(".")[1] for name in read_weights(folder / "encoder.safetensors")} == {"extractor", "deeplab"}
    assert read_json(folder / "card.json")["best_epoch"] == TINY_PIXIF["epochs"]


def test_a_run_that_collapses_is_stopped(land, tmp_path, monkeypatch):
    def shrink(self):
        # One direction is left of everything that the network says.
        norm = self.encoder.deeplab.merge[1]
        norm.weight.data[1:] = 0
        norm.bias.data.zero_()

    monkeypatch.setattr(loop, "MIN_CHIPS", 4)
    monkeypatch.setattr(Pixif, "after_step", shrink)
    with pytest.raises(TerraprobeError, match=r"tower encoder has collapsed: after epoch 2 .* rank 1\.00 "):
        pretrain(land, tmp_path / "flat", method="pixif")
    assert not (tmp_path / "flat/encoder.safetensors").exists()


def test_the_rate_falls_twice_near_the_end(pool):
    method = build(pool, lr=1.0, warmup=0.01)
    rates = [method.learning_rate(step, 1400) for step in (0, 13, 1299, 1300, 1349, 1350, 1399)]
    assert rates == pytest.approx([1 / 14, 1, 1, 0.2, 0.2, 0.04, 0.04])


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"output_stride": 16}, "output_stride 16 does not fit views of half of 32 px"),
        ({"superpixel_px": 5}, "superpixel_px 5 does not divide the chips' side of 32 px"),
    ],
)
def test_chips_that_do_not_fit_are_refused(pool, recipe, said):
    with pytest.raises(TerraprobeError, match=said):
        build(pool, **recipe)


def test_shifts_beyond_the_chip_are_refused():
    with pytest.raises(ValidationError):
        PixifRecipe(shift_share=0.3)


def test_it_has_the_network_of_sscl():
    assert describe("pixif", {})["parameters"]["total"] == describe("sscl", {})["parameters"]["total"]
