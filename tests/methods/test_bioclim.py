"""`bioclim`: what enters, flips, the loss, conditioning, resuming, and the description."""

import json
import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pretraining import CHIPS, POISON, TINY_BIOCLIM, make_optical, specs
from terraprobe.artifacts import read_table, write_table
from terraprobe.chips.store import ChipStore
from terraprobe.describe import describe, describe_command
from terraprobe.errors import TerraprobeError
from terraprobe.methods._bioclim import flip
from terraprobe.methods.bioclim import Bioclim, BioclimRecipe
from terraprobe.models.ssim import ssim
from terraprobe.pool import ChipPool

NO_BAND, NO_CLIMATE = 1, 2  # chips of the small world that lack something


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_optical(tmp_path_factory.mktemp("bioclim") / "land")


@pytest.fixture(scope="module")
def pool(land):
    return ChipPool([land / "chips.parquet"], specs(land), [land / "context.parquet"])


def build(pool, **overrides):
    recipe = BioclimRecipe(**{**TINY_BIOCLIM, **overrides})
    train = np.flatnonzero(pool.split == "train")
    inputs = Bioclim.fit_inputs(recipe, pool, train, 0)
    torch.manual_seed(0)
    return Bioclim(recipe, inputs, pool.layers, pool.chip_px)


def fetch(method, pool, chips, flips=(0.9, 0.9)):
    chips = np.asarray(chips)
    return method.fetch(pool, chips, np.tile(flips, (len(chips), 1)))


def test_all_bands_enter_as_reflectance_with_nothing_where_nothing_was_seen(land, pool):
    method = build(pool)
    images = method._images(fetch(method, pool, [0, 7])).numpy()
    store = ChipStore.open(land / "chips/s2_l1c")
    assert images.shape == (2, 13, 32, 32)
    for image, chip in zip(images, (0, 7), strict=True):
        expected = np.clip(np.nan_to_num(store.chip(chip), nan=0.0), 0, 1)
        np.testing.assert_allclose(image, expected, atol=1e-6)
    assert (images == 0).mean() == pytest.approx(0.02, abs=0.01)


def test_bands_are_chosen_by_name(land, pool):
    method = build(pool, towers={"red": {"modality": "s2_l1c", "bands": ["B08", "B04"]}})
    image = method._images(fetch(method, pool, [3]))[0].numpy()
    store = ChipStore.open(land / "chips/s2_l1c")
    np.testing.assert_allclose(image, np.nan_to_num(store.chip(3)[[7, 3]], nan=0.0), atol=1e-6)


def test_reflectance_above_one_is_clipped(pool):
    method = build(pool)
    batch = fetch(method, pool, [0])
    batch["s2"]["dn"][:, 0] = 20_000
    assert (method._images(batch)[:, 0] == 1).all()


@pytest.mark.parametrize(("conditioning", "lacking"), [("none", {NO_BAND}), ("emb", {NO_BAND, NO_CLIMATE})])
def test_what_cannot_be_seen_is_left_out(pool, conditioning, lacking):
    method = build(pool, conditioning=conditioning)
    assert set(np.flatnonzero(~method.eligible(pool))) == lacking
    everyone = np.flatnonzero(method.eligible(pool))
    assert not (fetch(method, pool, everyone)["s2"]["dn"].to(torch.int32) == POISON).any()


def test_context_is_scaled_by_the_train_chips(pool):
    method = build(pool, conditioning="cbn")
    known = np.flatnonzero(np.isfinite(pool.context).all(axis=1) & (pool.split == "train"))
    scaled = fetch(method, pool, known)["s2"]["context"].numpy()
    np.testing.assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [np.zeros(20), np.ones(20)], atol=1e-6)
    low, high = (f(pool.context[known], axis=0) for f in (np.min, np.max))
    other = np.flatnonzero(pool.split == "test")
    found = fetch(method, pool, other)["s2"]["context"].numpy()
    np.testing.assert_allclose(found, (pool.context[other] - low) / (high - low), atol=1e-5)


def test_a_context_value_that_is_everywhere_the_same_says_nothing(land, tmp_path):
    folder = make_optical(tmp_path / "land")
    table = read_table(folder / "context.parquet").assign(bio03=7.0)
    write_table(folder / "context.parquet", table)
    pool = ChipPool([folder / "chips.parquet"], specs(folder), [folder / "context.parquet"])
    method = build(pool, conditioning="emb")
    pool.context[5, 2] = 1e6
    assert fetch(method, pool, [4, 5])["s2"]["context"][:, 2].tolist() == [0, 0]


def test_flips_mirror_the_image():
    image = torch.arange(2 * 6.0).reshape(1, 1, 3, 4).expand(4, 2, 3, 4)
    flips = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    plain, across, down, both = flip(image, flips)
    assert torch.equal(plain, image[0])
    assert torch.equal(across, image[0].flip(-1))
    assert torch.equal(down, image[0].flip(-2))
    assert torch.equal(both, image[0].flip(-1, -2))


@pytest.mark.parametrize(("paper_mode", "training", "flipped"), [
    (False, True, True), (False, False, False), (True, True, True), (True, False, True),
])  # fmt: skip
def test_validation_is_flipped_in_paper_mode_alone(pool, monkeypatch, paper_mode, training, flipped):
    method = build(pool, **({"flip_validation": True} if paper_mode else {}))
    method.network.train(training)
    seen = []
    monkeypatch.setattr(method, "_encode", lambda images, batch: seen.append(images) or torch.zeros(len(images), 8))
    batch = fetch(method, pool, [0, 4], flips=(0.1, 0.9))
    method.loss(batch)
    images = method._images(batch)
    assert torch.equal(seen[0], images.flip(-1) if flipped else images)


def test_half_of_the_chips_are_flipped_each_way(pool):
    method = build(pool)
    uniform = np.random.default_rng(0).random((CHIPS, method.draws))
    flips = method.fetch(pool, np.arange(CHIPS), uniform)["s2"]["flips"].numpy()
    assert (flips == (uniform < 0.5)).all()


def test_the_embedding_is_of_the_chip_as_it_is(pool):
    method = build(pool, flip_validation=True)
    method.network.eval()
    one, two = (method.embed(fetch(method, pool, [0, 4], flips))["s2"][0] for flips in ((0.1, 0.1), (0.9, 0.9)))
    assert torch.equal(one, two)


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_the_loss_is_a_mean_of_l1_and_ssim(pool, weight):
    method = build(pool, ssim_weight=weight, conditioning="cbn")
    method.network.eval()
    batch = fetch(method, pool, [0, 4, 9])
    images = method._images(batch)
    again = method._decoder(method.embed(batch)["s2"][0], batch["s2"]["context"])
    expected = (1 - weight) * (again - images).abs().mean() + weight * (1 - ssim(again, images))
    torch.testing.assert_close(method.loss(batch), expected)


@pytest.mark.parametrize("overrides", [{}, {"conditioning": "emb"}, {"conditioning": "cbn"}])
def test_it_can_learn_one_batch_by_heart(pool, overrides):
    method = build(pool, width=16, **overrides)
    optimiser = method.optimiser()
    batch = fetch(method, pool, [0, 3, 4, 5])
    losses = []
    for _ in range(80):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3
        method.network.train()
        optimiser.zero_grad()
        loss = method.loss(batch)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    ("overrides", "encoder", "decoder"),
    [
        ({"conditioning": "none"}, False, False),
        ({"conditioning": "emb"}, True, False),
        ({"conditioning": "cbn"}, True, True),
        ({"conditioning": "cbn", "cbn_in": "encoder"}, True, False),
        ({"conditioning": "cbn", "cbn_in": "decoder"}, False, True),
    ],
)
def test_context_reaches_what_it_conditions_and_nothing_else(pool, overrides, encoder, decoder):
    method = build(pool, **overrides)
    method.network.eval()
    images, z = torch.rand(2, 13, 32, 32), torch.rand(2, 8)
    one, two = torch.zeros(2, 20), torch.ones(2, 20)
    assert (not torch.equal(method.towers["s2"](images, one), method.towers["s2"](images, two))) == encoder
    assert (not torch.equal(method._decoder(z, one), method._decoder(z, two))) == decoder


def test_the_learning_rate_is_constant_after_the_warm_up(pool):
    rates = [build(pool, warmup=0.5, lr=1.0).learning_rate(step, 8) for step in range(8)]
    assert rates == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert {build(pool).learning_rate(step, 8) for step in range(8)} == {TINY_BIOCLIM["lr"]}


def test_the_learning_rate_of_a_cosine_ends_near_zero(pool):
    method = build(pool, warmup=0.25, lr=1.0, schedule="cosine")
    rates = [method.learning_rate(step, 8) for step in range(8)]
    assert rates == pytest.approx([0.5, 1, 1, 0.933, 0.75, 0.5, 0.25, 0.067], abs=1e-3)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"towers": {"a": {"modality": "s2_l1c"}, "b": {"modality": "s2_l2a"}}}, "towers: found 2, allowed one"),
        ({"towers": {"a": {"modality": "s1_grd"}}}, r"towers\.a\.modality: found 's1_grd', allowed s2_l1c, s2_l2a"),
        (
            {"towers": {"a": {"modality": "s2_l1c", "bands": ["B99"]}}},
            r"towers\.a\.bands: found \['B99'\], allowed B01",
        ),
        ({"cbn_in": "decoder"}, "cbn_in: found 'decoder', allowed both where conditioning is none"),
        ({"conditioning": "film"}, "'none', 'emb' or 'cbn'"),
        ({"blocks": []}, "at least 1"),
        ({"blocks": [0]}, "greater than or equal to 1"),
        ({"ssim_weight": 1.5}, "less than or equal to 1"),
    ],
)
def test_recipes_that_cannot_work_are_refused(recipe, words):
    with pytest.raises(ValidationError, match=words):
        BioclimRecipe(**recipe)


@pytest.mark.parametrize(("recipe", "side"), [({}, 24), ({"stem_px": 3}, 64), ({"stem_px": 2, "blocks": [1]}, 10)])
def test_chips_that_do_not_fit_are_refused(recipe, side):
    with pytest.raises(ValueError, match=rf"do not fit chips of {side} px, allowed multiples of \d+ px, at least 11"):
        BioclimRecipe(**recipe).check_chip(side)
    with pytest.raises(TerraprobeError, match=rf"do not fit chips of {side} px"):
        describe("bioclim", recipe, side)


@pytest.mark.parametrize(
    ("arguments", "total", "decoder"),
    [
        (["--bands", "13", "--classes", "10"], 12_556_618, 9_772_109),
        (["--bands", "13", "--classes", "10", "--conditioning", "emb"], 12_567_370, 9_772_109),
        (["--bands", "13", "--classes", "10", "--conditioning", "cbn"], 12_748_618, 9_871_949),
    ],
)
def test_describe_prints_the_papers_parameters(capsys, arguments, total, decoder):
    assert describe_command(["bioclim", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"]["total"] == total
    assert found["parameters"]["other"] == decoder
    assert all(v["mark"] in "PCID" and v["source"] for v in found["recipe"].values())
    assert describe_command(["bioclim", *arguments]) == 0
    assert re.search(rf"Parameters: 12\.\dM \({total:,}\)", capsys.readouterr().out)


@pytest.mark.parametrize(("conditioning", "total"), [("none", 12_564_819), ("emb", 12_575_571), ("cbn", 12_756_819)])
def test_describe_counts_the_bigearthnet_networks(conditioning, total):
    recipe = {"conditioning": conditioning, "stem_px": 3}
    assert describe("bioclim", recipe, 120, bands=12, classes=19)["parameters"]["total"] == total


def test_a_method_without_conditioning_or_whole_chips_says_so():
    with pytest.raises(TerraprobeError, match=r"recipe of clip3: conditioning: found 'cbn', allowed: 'none'"):
        describe("clip3", {"conditioning": "cbn"})
    with pytest.raises(TerraprobeError, match=r"--bands: found 3, allowed none: a tower of clip3 takes one channel"):
        describe("clip3", {}, bands=3)
