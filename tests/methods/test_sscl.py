"""`sscl`, its first stage and SimSiam: what enters, what is learnt, what is kept, and resuming."""

import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from pretraining import POISON, TINY_DEEPLAB, TINY_UNIFEAT, make_collection, pretrain
from pretraining import specs as all_specs
from terraprobe import loop
from terraprobe.artifacts import read_json
from terraprobe.chips.store import ChipStore
from terraprobe.describe import describe, describe_command
from terraprobe.embed import EmbedRecipe, embed_chips
from terraprobe.encoders import Encoder, read_weights
from terraprobe.errors import TerraprobeError
from terraprobe.methods.simsiam import SimSiam, SimSiamRecipe, distance
from terraprobe.methods.sscl import Sscl, SsclRecipe
from terraprobe.methods.sscl_unifeat import UniFeat, UniFeatRecipe
from terraprobe.models.bottleneck import BottleneckResNet
from terraprobe.pool import ChipPool
from terraprobe.published import load_published

FILES = ("encoder.safetensors", "card.json", "history.parquet")
BOTH = ("s2_rgb_monthly", "s1_grd_monthly")
BANDS = (("s1_grd_monthly", ["m2_VV"]), ("s2_rgb_monthly", ["m2_B04", "m1_B02"]))  # by the names of their towers
EXTRACTOR = "encoder.extractor."


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("sscl") / "land", modalities=BOTH)


@pytest.fixture(scope="module")
def pool(land):
    return ChipPool([land / "chips.parquet"], all_specs(land))


@pytest.fixture(scope="module")
def unifeat(land, tmp_path_factory):
    return pretrain(land, tmp_path_factory.mktemp("encoders") / "unifeat", method="sscl_unifeat")


@pytest.fixture(scope="module")
def sscl(land, unifeat, tmp_path_factory):
    """An encoder that started from the first stage."""
    return pretrain(land, tmp_path_factory.mktemp("encoders") / "sscl", method="sscl", start=unifeat)


def build(kind, model, small, pool, **overrides):
    recipe = model(**{**small, **overrides})
    inputs = kind.fit_inputs(recipe, pool, np.flatnonzero(pool.split == "train"), 0)
    torch.manual_seed(0)
    return kind(recipe, inputs, pool.layers, pool.chip_px)


def fetch(method, pool, count=4, seed=0):
    chips = np.flatnonzero(method.eligible(pool))[:count]
    uniform = np.random.default_rng(seed).random((len(chips), method.draws))
    return chips, uniform, method.fetch(pool, chips, uniform)


def usable(land):
    parts = []
    for name, bands in BANDS:
        store = ChipStore.open(land / "chips" / name)
        parts.append(store.valid[:, [store.layer.bands.index(band) for band in bands]] >= 0.5)
    return np.concatenate(parts, axis=1)


# What enters


def test_all_channels_enter_side_by_side(land, pool):
    method = build(Sscl, SsclRecipe, TINY_DEEPLAB, pool)
    assert (method.eligible(pool) == usable(land).all(axis=1)).all()
    chips, _, batch = fetch(method, pool)
    images = method.images(batch).numpy()
    assert images.shape == (4, 3, 32, 32)
    inputs = list(method.inputs.values())
    for place, (store, band, (mean, std)) in enumerate([
        ("s1_grd_monthly", "m2_VV", (inputs[0].mean[0], inputs[0].std[0])),
        ("s2_rgb_monthly", "m2_B04", (inputs[1].mean[0], inputs[1].std[0])),
        ("s2_rgb_monthly", "m1_B02", (inputs[1].mean[1], inputs[1].std[1])),
    ]):  # fmt: skip
        opened = ChipStore.open(land / "chips" / store)
        physical = opened.physical(chips, np.full(4, opened.layer.bands.index(band)))
        np.testing.assert_allclose(images[:, place], np.nan_to_num((physical - mean) / std), atol=1e-3)


def test_two_channels_of_a_chip_enter_the_first_stage_cropped_alike(land, pool):
    method = build(UniFeat, UniFeatRecipe, TINY_UNIFEAT, pool)
    assert (method.eligible(pool) == (usable(land).sum(axis=1) >= 2)).all()
    chips, uniform, batch = fetch(method, pool, 30)
    images = method.images(batch)
    side = images.shape[-1]
    assert 8 <= side <= 16
    whole = build(Sscl, SsclRecipe, TINY_DEEPLAB, pool)
    full = whole.images(whole.fetch(pool, chips, uniform))
    corners = (uniform[:, 4:6] * (32 - side + 1)).astype(int)
    found = []
    for row, (top, left) in enumerate(corners):
        cropped = full[row, :, top : top + side, left : left + side]
        pair = [
            [channel for channel in range(3) if torch.allclose(cropped[channel], images[place, 0], atol=1e-5)]
            for place in (row, row + len(chips))
        ]
        assert [len(p) for p in pair] == [1, 1]
        assert pair[0] != pair[1]
        assert usable(land)[chips[row], [pair[0][0], pair[1][0]]].all()
        found.append((pair[0][0], pair[1][0]))
    assert len(set(found)) == 6  # every pair of three channels, both ways
    assert not any((part["dn"] == POISON).any() for name, part in batch.items() if name != "draws")


def test_the_first_stage_is_watched_at_a_pixel(pool):
    method = build(UniFeat, UniFeatRecipe, TINY_UNIFEAT, pool)
    method.network.eval()
    chips, _, batch = fetch(method, pool)
    pixels = method.encoder.pixels(method.images(batch))
    ((name, (features, present)),) = method.embed(batch).items()
    assert (name, features.shape, bool(present.all())) == ("encoder", (len(chips), 2), True)
    middle = pixels.shape[-1] // 2
    torch.testing.assert_close(features, pixels[: len(chips), :, middle, middle])


def test_crops_have_every_side(pool):
    method = build(UniFeat, UniFeatRecipe, {**TINY_UNIFEAT, "crop_px": [8, 9]}, pool)
    assert {method.images(fetch(method, pool, seed=seed)[2]).shape[-1] for seed in range(12)} == {8, 9}


def test_radar_alone_is_despeckled(land, pool):
    plain, filtered = (build(Sscl, SsclRecipe, TINY_DEEPLAB, pool, despeckle=on) for on in (False, True))
    chips, _, batch = fetch(plain, pool)
    before, after = plain.images(batch), filtered.images(batch)
    assert torch.equal(before[:, 1:], after[:, 1:])
    assert after[:, 0].var() < before[:, 0].var()
    assert [tower.despeckle for tower in filtered.inputs.values()] == [True, False]
    one_each = build(UniFeat, UniFeatRecipe, {**TINY_UNIFEAT, "crop_px": [32, 32]}, pool, despeckle=True)
    crops = one_each.images(one_each.fetch(pool, chips, np.random.default_rng(0).random((4, one_each.draws))))
    for row, image in enumerate(crops):
        assert any(torch.allclose(image[0], channel, atol=1e-4) for channel in after[row % 4])


# What is learnt


def seen_by_network(method, monkeypatch, batch):
    seen = []
    real = method.encoder.pixels
    monkeypatch.setattr(method.encoder, "pixels", lambda images: seen.append(images) or real(images))
    loss = method.loss(batch)
    return seen[0], loss


def test_dropped_channels_are_zero_in_the_input_and_part_of_the_target(pool, monkeypatch):
    method = build(Sscl, SsclRecipe, TINY_DEEPLAB, pool, degradations=["dropout"], drop_share=0.9)
    _, uniform, batch = fetch(method, pool, 9)
    clean = method.images(batch)
    seen, loss = seen_by_network(method, monkeypatch, batch)
    dropped = (seen == 0).all(dim=(2, 3))
    assert torch.equal(dropped.sum(dim=1), torch.from_numpy(1 + (uniform[:, 0] * 2).astype(int)))
    assert torch.equal(seen[~dropped], clean[~dropped])
    made = torch.nn.functional.interpolate(
        method.head(method.encoder.pixels(seen)), size=32, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(loss, (made - clean).abs().mean())  # all channels, the dropped ones too


@pytest.mark.parametrize("kind", ["dropout", "cutout", "blur"])
def test_each_degradation_can_be_switched_off(pool, monkeypatch, kind):
    _, _, batch = fetch(build(Sscl, SsclRecipe, TINY_DEEPLAB, pool), pool)
    alone = build(Sscl, SsclRecipe, TINY_DEEPLAB, pool, degradations=[kind])
    nothing = build(Sscl, SsclRecipe, TINY_DEEPLAB, pool, degradations=[])
    changed, same = (seen_by_network(method, monkeypatch, batch)[0] for method in (alone, nothing))
    assert torch.equal(same, alone.images(batch))
    assert not torch.equal(changed, same)


def test_the_order_of_the_degradations_is_the_recipes(pool):
    _, uniform, batch = fetch(build(Sscl, SsclRecipe, TINY_DEEPLAB, pool), pool)
    first, last = (build(Sscl, SsclRecipe, TINY_DEEPLAB, pool, degradations=order, blur_px=[2, 2])
                   for order in (["cutout", "blur"], ["blur", "cutout"]))  # fmt: skip
    images, numbers = first.images(batch), torch.from_numpy(uniform)
    sharp = (last.degrade(images, numbers) == 0).all(dim=1).sum(dim=(1, 2))
    assert (sharp >= 256).all()  # a quarter of 32 x 32, wholly zero where nothing comes after
    assert ((first.degrade(images, numbers) == 0).all(dim=1).sum(dim=(1, 2)) < sharp).all()


@pytest.mark.parametrize(("kind", "model", "small"), [
    (Sscl, SsclRecipe, {**TINY_DEEPLAB, "features": 4, "width": 4, "degradations": []}),
    (UniFeat, UniFeatRecipe, {**TINY_UNIFEAT, "features": 8, "projection": 8}),
])  # fmt: skip
def test_it_can_learn_one_batch_by_heart(pool, kind, model, small):
    method = build(kind, model, small, pool)
    optimiser, (_, _, batch) = method.optimiser(), fetch(method, pool)
    method.network.train()
    losses = []
    for _ in range(60):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2
        optimiser.zero_grad()
        loss = method.loss(batch)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.3


STEP_AT_FULL_SIZE = """
import torch
from terraprobe.methods.sscl_unifeat import UniFeat, UniFeatRecipe
from terraprobe.normalisation import TowerInput

torch.set_num_threads(1)
recipe = UniFeatRecipe()
inputs = {n: TowerInput(t.modality, "", t.band_names, False, (0.0,), (1.0,)) for n, t in recipe.towers.items()}
method = UniFeat(recipe, inputs, {}, 256)
crops = torch.randn(2 * recipe.batch_size, 1, recipe.crop_px[1], recipe.crop_px[1])
method.images = lambda batch: crops
method.loss({"draws": {"from_one": torch.rand(recipe.batch_size) < 0.5}}).backward()
assert method.head.weight.grad is not None
# Not ru_maxrss, which a process has from the one that started it.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_a_step_of_the_first_stage_at_full_size_takes_less_than_two_gigabytes():
    """32 chips, 128 px, a head of 64: the whole process, PyTorch itself included; 1.55 GB were measured."""
    done = subprocess.run([sys.executable, "-c", STEP_AT_FULL_SIZE], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2e9


# What is kept


def test_heads_are_gone_after_pretraining(unifeat, sscl):
    assert {name.split(".")[1] for name in read_weights(unifeat / "encoder.safetensors")} == {"extractor"}
    assert {name.split(".")[1] for name in read_weights(sscl / "encoder.safetensors")} == {"extractor", "deeplab"}


def test_the_second_stage_starts_from_the_extractor_of_the_first(land, unifeat, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Trainer, "_train_step", lambda trainer: setattr(trainer, "step", trainer.step + 1))
    monkeypatch.setattr(loop.Trainer, "_end_epoch", lambda trainer: (_ for _ in ()).throw(KeyboardInterrupt))
    seen = {}
    real = loop.Trainer.__init__

    def init(self, method, *args):
        seen.update({name: t.clone() for name, t in method.towers.state_dict().items()})
        real(self, method, *args)

    monkeypatch.setattr(loop.Trainer, "__init__", init)
    with pytest.raises(KeyboardInterrupt):
        pretrain(land, tmp_path / "sscl", method="sscl", start=unifeat)
    for name, tensor in read_weights(unifeat / "encoder.safetensors").items():
        assert name.startswith(EXTRACTOR)
        assert torch.equal(seen[name], tensor)
    card = read_json(unifeat / "card.json")
    assert card["towers"]["s2"]["whole"] is True


def test_the_second_stage_names_its_start(sscl, unifeat):
    assert list(read_json(sscl / "card.json")["start"]) == [unifeat.name]
    assert len(pd.read_parquet(sscl / "history.parquet")) == TINY_DEEPLAB["epochs"]


def contents(encoder):
    return {name: (encoder / name).read_bytes() for name in FILES}


# What it is used for


def embed(collection, encoder, out, specs):
    embed_chips(
        chips=collection / "chips.parquet",
        stores=specs,
        context=[],
        cards=[encoder / "card.json"],
        weights=[encoder / "encoder.safetensors"],
        recipe=EmbedRecipe(collection="land", random_inits=1),
        embeddings=[out],
    )
    return gpd.read_parquet(out)


def test_embeddings_are_of_all_channels_at_once(land, sscl, tmp_path):
    table = embed(land, sscl, tmp_path / "land.parquet", all_specs(land))
    whole = np.flatnonzero(usable(land).all(axis=1))
    assert set(table["modality"]) == {"concat"}
    assert set(table["channels_used"]) == {3}
    trained = table[table["init"] == "trained"]
    assert [int(chip[-3:]) for chip in trained["chip_id"]] == whole.tolist()
    encoder = Encoder.load(sscl)
    stores = {name: ChipStore.open(land / "chips" / name) for name in BOTH}
    images = encoder.joint_images(stores, whole)
    with torch.inference_mode():
        expected = encoder.module("s1").pixels(images).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(np.stack(trained["embedding"]), expected, atol=1e-5)


def test_published_weights_enter_all_but_the_first_convolution(pool, tmp_path):
    torch.manual_seed(1)
    theirs = BottleneckResNet(3, TINY_DEEPLAB["width"], TINY_DEEPLAB["blocks"])
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    method = build(Sscl, SsclRecipe, TINY_DEEPLAB, pool)
    first = method.residual.conv1.weight.clone()
    load_published(tmp_path / "resnet.pth", "resnet50", method.residual, method.residual_fresh)
    assert torch.equal(method.encoder.deeplab.resnet.layer4[0].conv2.weight, theirs.layer4[0].conv2.weight)
    assert torch.equal(method.residual.conv1.weight, first)


def test_any_tower_can_be_left_out(land, sscl, tmp_path):
    encoder = Encoder.load(sscl)
    stores = {name: ChipStore.open(land / "chips" / name) for name in BOTH}
    chips = np.flatnonzero(usable(land).all(axis=1))[:3]
    whole, radar = encoder.joint_images(stores, chips), encoder.joint_images(stores, chips, ["s1"])
    assert torch.equal(radar[:, :1], whole[:, :1])
    assert (radar[:, 1:] == 0).all()
    assert torch.equal(encoder.prepare("s1", stores["s1_grd_monthly"], chips, np.zeros_like(chips))[0], radar)
    table = embed(land, sscl, tmp_path / "land.parquet", [land / "chips/s1_grd_monthly/spec.json"])
    assert set(table["modality"]) == {"s1"}
    row = table[(table["init"] == "trained") & (table["chip_id"] == f"chip{chips[0]:03d}")]["embedding"].iloc[0]
    np.testing.assert_allclose(row, encoder.forward("s1", (radar,))[0].numpy(), atol=1e-5)


# What is said of it, and refused


@pytest.mark.parametrize(
    ("model", "recipe", "words"),
    [
        (SsclRecipe, {"degradations": ["blur", "blur"]}, "allowed each at most once"),
        (SsclRecipe, {"blur_px": [2, 1]}, "allowed two numbers, the smaller one first"),
        (UniFeatRecipe, {"crop_px": [64, 32]}, "allowed two sides, the smaller one first"),
        (SsclRecipe, {"towers": {"c": {"modality": "s1_coherence"}}}, "their number must not vary"),
        (SsclRecipe, {"towers": {"c": {"modality": "s1_grd", "bands": ["VV"]}}}, "found 1 channel in all"),
        (SsclRecipe, {"towers": {"c": {"modality": "s1_grd_monthly"}}, "despeckle": True}, "found m1_VV-VH, m2_VV-VH"),
    ],
)
def test_recipes_that_do_not_fit(model, recipe, words):
    with pytest.raises(ValidationError, match=words):
        model(**recipe)


@pytest.mark.parametrize(("kind", "model", "small", "words"), [
    (Sscl, SsclRecipe, {**TINY_DEEPLAB, "output_stride": 32}, "output_stride 32 does not fit chips of 32 px"),
    (UniFeat, UniFeatRecipe, {**TINY_UNIFEAT, "crop_px": [16, 64]}, r"crop_px \[16, 64\] does not fit chips of 32 px"),
])  # fmt: skip
def test_chips_that_do_not_fit(pool, kind, model, small, words):
    with pytest.raises(TerraprobeError, match=words):
        build(kind, model, small, pool)


def test_another_shape_is_no_start(land, unifeat, tmp_path):
    with pytest.raises(
        TerraprobeError, match=r"has encoder\.extractor|its encoder\.extractor.* Give both the same towers"
    ):
        pretrain(land, tmp_path / "sscl", method="sscl", start=unifeat, features=3)


def test_both_architectures_are_counted(capsys):
    found = describe("sscl", {})
    (variant,) = found["variants"]
    assert variant["recipe"] == {"extractor": "early_fusion"}
    fusion = describe("sscl", {"extractor": "early_fusion"})["parameters"]["total"]
    assert variant["parameters"] == fusion
    assert abs(fusion / found["parameters"]["total"] - 1) < 0.01
    describe_command(["sscl"])
    assert f"with extractor early_fusion: {fusion:,}" in capsys.readouterr().out
    describe_command(["sscl", "--json"])
    assert json.loads(capsys.readouterr().out)["parameters"]["total"] == found["parameters"]["total"]


# SimSiam on the same network


def test_what_is_predicted_gets_no_gradient():
    prediction, projection = (torch.randn(4, 8, requires_grad=True) for _ in range(2))
    loss = distance(prediction, projection)
    loss.backward()
    assert projection.grad is None
    assert prediction.grad.abs().max() > 0
    assert float(distance(3 * projection.detach(), projection)) == pytest.approx(-1)


def test_simsiam_learns_and_keeps_the_encoder_alone(land, tmp_path):
    folder = pretrain(land, tmp_path / "simsiam", method="simsiam", projection=16, hidden=8, lr=0.05)
    assert {name.split(".")[1] for name in read_weights(folder / "encoder.safetensors")} == {"extractor", "deeplab"}
    assert read_json(folder / "card.json")["best_epoch"] == TINY_DEEPLAB["epochs"]
    again = pretrain(land, tmp_path / "again", method="simsiam", projection=16, hidden=8, lr=0.05)
    assert contents(again) == contents(folder)


def test_two_views_of_a_chip_differ_and_keep_their_units(pool, monkeypatch):
    method = build(SimSiam, SimSiamRecipe, {**TINY_DEEPLAB, "projection": 16, "hidden": 8}, pool)
    _, _, batch = fetch(method, pool)
    seen = []
    real = method.encoder.forward
    monkeypatch.setattr(method.encoder, "forward", lambda images: seen.append(images) or real(images))
    assert -1 <= float(method.loss(batch).detach()) <= 1
    clean = method.images(batch)
    assert not torch.equal(seen[0], seen[1])
    assert float(seen[0].min()) < -0.5  # normalised values are not clipped to [0, 1]
    assert float(seen[0].abs().max()) < 3 * float(clean.abs().max())
