"""`rsbyol`: loss and moving average by their definitions, what views are made of, rates, collapse, resuming."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pretraining import POISON, TINY_RSBYOL, make_pairs, make_store, pretrain, specs
from terraprobe.artifacts import read_json
from terraprobe.chips.store import ChipStore
from terraprobe.describe import describe, describe_command
from terraprobe.draws import draw_several
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.methods._rsbyol import VIEWS, RsbyolRecipe
from terraprobe.methods.rsbyol import Rsbyol
from terraprobe.models.byol import distance, project_batch
from terraprobe.pool import ChipPool
from terraprobe.towers import SHARED

FILES = ("encoder.safetensors", "card.json", "history.parquet")
S2, S1 = {"modality": "s2_l1c"}, {"modality": "s1_grd"}
TRIPLETS = {
    "ms": {**S2, "bands": ["B02", "B03", "B04", "B05", "B06", "B07", "B08"]},
    "rgb": {**S2, "bands": ["B04", "B03", "B02"]},
    "sar": {**S1, "bands": ["VV", "VH", "VV"]},
}


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("rsbyol") / "land")


@pytest.fixture(scope="module")
def pool(land):
    return ChipPool([land / "chips.parquet"], specs(land))


def build(pool, **overrides):
    recipe = RsbyolRecipe(**{**TINY_RSBYOL, **overrides})
    inputs = Rsbyol.fit_inputs(recipe, pool, np.arange(len(pool)), 0)
    torch.manual_seed(0)
    return Rsbyol(recipe, inputs, pool.layers, pool.chip_px)


def fetched(method, pool, count=8, seed=0):
    chips = np.flatnonzero(method.eligible(pool))[:count]
    return method.fetch(pool, chips, np.random.default_rng(seed).random((len(chips), method.draws)))


def step(method, optimiser, batch):
    method.network.train()
    optimiser.zero_grad()
    loss = method.loss(batch)
    loss.backward()
    optimiser.step()
    method.after_step()
    return float(loss.detach())


def test_the_distance_in_closed_form():
    one = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert float(distance(one, 5 * one)) == pytest.approx(0, abs=1e-6)
    assert float(distance(one, -one)) == pytest.approx(4)
    turned = torch.tensor([[0.0, 1.0], [7.0, 0.0], [1.0, -1.0]])
    assert float(distance(one, turned)) == pytest.approx(2)


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_by_its_definition(seed):
    rng = np.random.default_rng(seed)
    q, z = rng.normal(size=(2, 7, 5))
    unit_q, unit_z = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (q, z))
    expected = np.square(unit_q - unit_z).sum(axis=1).mean()  # BYOL's own form: the squared distance of unit vectors
    assert float(distance(torch.tensor(q), torch.tensor(z))) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_a_batch_is_both_directions_of_online_to_target(pool):
    method = build(pool, crop_area=[1, 1], rotation_deg=0, blur_share=0, erase_share=0)
    method.network.eval()
    with torch.no_grad():
        for weight in method.network["target"].parameters():
            weight.mul_(1.1)
        batch = fetched(method, pool)
        batch["draws"] = {view: torch.full_like(u, 0.5) for view, u in batch["draws"].items()}
        one, two = method._images(batch)
        online, target, predictor = (method.network[name] for name in ("online", "target", "predictor"))
        expected = distance(predictor(online(one)), target(two)) + distance(predictor(online(two)), target(one))
        # A crop of everything is the image, but for the last digits of the interpolation.
        assert float(method.loss(batch)) == pytest.approx(float(expected), rel=1e-3)
    assert 0 < float(expected) < 8


def test_the_target_is_another_network_without_gradient_that_lags(pool):
    method = build(pool)
    online, target = method.network["online"], method.network["target"]
    pairs = list(zip(online.parameters(), target.parameters(), strict=True))
    assert all(a is not b and a.data_ptr() != b.data_ptr() and torch.equal(a, b) for a, b in pairs)
    start = [b.clone() for _, b in pairs]
    optimiser = method.optimiser()
    for group in optimiser.param_groups:
        group["lr"] = 0.1
    mine = [before.clone() for before in start]
    for _ in range(3):
        step(method, optimiser, fetched(method, pool))
        assert all(b.grad is None and not b.requires_grad for _, b in pairs)
        mine = [0.9 * was + 0.1 * a.detach() for was, (a, _) in zip(mine, pairs, strict=True)]
    for (a, b), was, expected in zip(pairs, start, mine, strict=True):
        torch.testing.assert_close(b, expected)
        assert float((b - was).norm()) < float((a.detach() - was).norm())
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in target.parameters()}
    assert trained == {id(p) for name in ("online", "predictor") for p in method.network[name].parameters()}


def test_the_encoder_that_is_kept_is_the_online_one(pool):
    method = build(pool)
    assert set(method.kept) == {SHARED}
    assert method.kept[SHARED] is method.network["online"][0]


@pytest.mark.parametrize("views", ["rsbyol1", "rsbyol3"])
def test_overfits_one_batch(pool, views):
    method = build(pool, views=views, towers=TRIPLETS if views.startswith("rsbyol3") else {"ms": S2, "sar": S1}, lr=0.2)
    optimiser, batch = method.optimiser(), fetched(method, pool)
    losses = [step(method, optimiser, batch) for _ in range(100)]
    assert losses[0] > 1
    assert losses[-1] < 0.1 * losses[0]


RATES = {0: 0.2, 9: 0.0068454, 10: 0.2, 29: 0.0032188, 30: 0.2, 69: 0.0023051, 70: 0.2}


@pytest.mark.parametrize("epoch_steps", [1, 7])
def test_learning_rates_of_epochs(pool, epoch_steps):
    method = build(pool, epochs=400, lr=0.2, restart_epochs=10)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.2)
    reference = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=10, T_mult=2, eta_min=0.002)
    steps = 400 * epoch_steps
    for epoch in range(400):
        (rate,) = {method.learning_rate(epoch * epoch_steps + place, steps) for place in range(epoch_steps)}
        assert rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        if epoch in RATES:
            assert rate == pytest.approx(RATES[epoch], abs=1e-6)
        optimiser.step()
        reference.step()


def drawn(pool, views, towers, seed=0):
    method = build(pool, views=views, towers=towers)
    chips = np.flatnonzero(method.eligible(pool))
    bands = method.draw_bands(pool, chips, np.random.default_rng(seed).random((len(chips), method._picks)))
    names = {kind: np.array(method.sources[kind].bands)[found] for kind, found in bands.items()}
    return chips, names


def test_views_of_single_bands(pool):
    towers = {"ms": S2, "sar": S1}
    seen = set()
    for seed in range(8):
        chips, names = drawn(pool, "rsbyol1", towers, seed)
        assert names["ms"].shape == names["sar"].shape == (len(chips), 1)
        assert 1 not in chips and {2, 3} <= set(chips)
        assert names["sar"][chips == 2] == "VV"
        assert set(names["ms"][chips == 3].ravel()) <= {"B02", "B03"}
        seen |= set(names["ms"].ravel()) | set(names["sar"].ravel())
    assert seen == {*RsbyolRecipe(views="rsbyol1", towers=towers).bands("ms"), "VV", "VH"}
    chips, names = drawn(pool, "rsbyol1_ms", towers)
    assert set(names) == {"ms"} and 1 in chips
    assert (names["ms"][:, 0] != names["ms"][:, 1]).all()


def test_views_of_triplets(pool):
    chips, names = drawn(pool, "rsbyol3", TRIPLETS)
    assert not {1, 2, 3} & set(chips) and 5 in chips
    assert all(len(set(row)) == 3 for row in names["ms"])
    assert (names["sar"][:, :2] == ["VV", "VH"]).all()
    assert set(names["sar"][:, 2]) == {"VV", "VH"}
    chips, names = drawn(pool, "rsbyol3_rgb", TRIPLETS)
    assert not {1, 3, 5} & set(chips) and 2 in chips
    assert (names["ms"][:, :3] == ["B04", "B03", "B02"]).all()
    assert not {"B04", "B03", "B02"} & set(names["ms"][:, 3:].ravel())
    assert (names["ms"][:, 3] != names["ms"][:, 4]).all()
    assert names["sar"].shape == (len(chips), 1)


@pytest.mark.parametrize(("views", "towers"), [("rsbyol1", {"ms": S2, "sar": S1}), ("rsbyol3_rgb", TRIPLETS)])
def test_images_hold_the_bands_that_were_drawn(pool, views, towers):
    method = build(pool, views=views, towers=towers)
    chips = np.flatnonzero(method.eligible(pool))
    uniform = np.random.default_rng(3).random((len(chips), method.draws))
    batch = method.fetch(pool, chips, uniform)
    bands = method.draw_bands(pool, chips, uniform[:, : method._picks])
    left = {kind: list(found.T) for kind, found in bands.items()}
    for view, images in zip(VIEWS[views], method._images(batch), strict=True):
        for place, kind in enumerate(view):
            source = method.sources[kind]
            layer, columns = pool.layers[source.modality], method._columns(pool, kind)
            dn = pool.digital(source.modality, chips, columns[left[kind].pop(0)])
            assert not (dn == POISON).any()
            physical = dn * layer.scale
            expected = np.clip(physical if kind == "ms" else physical / 25 + 1, 0, 1)
            expected[dn == layer.nodata] = 0
            np.testing.assert_allclose(images[:, place].numpy(), expected, atol=1e-5)
            assert 0.05 < expected.std() < 0.5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_several_draws_are_usable_and_different(seed, wanted):
    rng = np.random.default_rng(seed)
    usable = rng.random((30, 7)) < 0.6
    usable[:, :wanted] = True
    found = draw_several(usable, rng.random((30, wanted)))
    assert usable[np.arange(30)[:, None], found].all()
    assert all(len(set(row)) == wanted for row in found.tolist())


def test_two_runs_give_equal_bytes(land, tmp_path):
    one, two = (pretrain(land, tmp_path / name, method="rsbyol") for name in ("one", "two"))
    for name in FILES:
        assert (one / name).read_bytes() == (two / name).read_bytes()
    card = read_json(one / "card.json")
    assert card["best_epoch"] == 4  # the last, whatever the validation loss


def test_an_encoder_embeds_every_band_and_its_triplets(land, pool, tmp_path):
    pretrain(land, tmp_path, method="rsbyol", views="rsbyol3", towers=TRIPLETS, epochs=1)
    encoder, store = Encoder.load(tmp_path), _store(land, "s1_grd")
    chips = np.array([0, 4, 7])
    triplets = encoder.embed("sar", store, chips, np.zeros(3, np.intp))
    assert triplets.shape == (3, 128)
    single = encoder.embed("ms", _store(land, "s2_l1c"), chips, np.array([0, 3, 6]))
    assert single.shape == (3, 128)
    (images,) = encoder.prepare("sar", store, chips, np.zeros(3, np.intp))
    assert images.shape == (3, 3, 32, 32) and torch.equal(images[:, 0], images[:, 2])
    with torch.no_grad():
        assert encoder.module("sar").pixels(images).shape == (3, 128, 2, 2)


def test_an_encoder_takes_chips_of_another_side(land, tmp_path):
    pretrain(land, tmp_path, method="rsbyol", epochs=1)
    small = _store(land, "s1_grd")
    pixels = np.stack([small.digital(np.full(2, chip), np.arange(2)) for chip in range(3)])
    make_store(tmp_path / "large", "s1_grd", np.tile(pixels, (1, 1, 2, 2)), np.ones((3, 2), np.float32))
    z = Encoder.load(tmp_path).embed("sar", ChipStore.open(tmp_path / "large"), np.arange(3), np.zeros(3, np.intp))
    assert z.shape == (3, 128) and torch.isfinite(torch.as_tensor(z)).all()


def _store(land, modality):
    return ChipStore.open(land / "chips" / modality)


def test_a_run_that_collapses_is_stopped(land, tmp_path):
    with pytest.raises(TerraprobeError, match=r"has collapsed|loss is nan"):
        pretrain(land, tmp_path, method="rsbyol", lr=50.0, lr_min=40.0, epochs=12, weight_decay=0.1)
    assert not (tmp_path / FILES[0]).exists()


def test_a_network_whose_target_is_itself_collapses_and_is_stopped(land, tmp_path, monkeypatch):
    """Without predictor, copy and stopped gradient a constant is the best answer."""

    def loss(self, batch):
        return distance(*(self.network["online"](images) for images in self._images(batch)))

    monkeypatch.setattr(Rsbyol, "loss", loss)
    with pytest.raises(TerraprobeError, match="has collapsed"):
        pretrain(land, tmp_path, method="rsbyol", epochs=40, lr=0.5, restart_epochs=60, weight_decay=0.02)


def test_projections_are_watched_by_the_statistics_of_their_batch(pool):
    method = build(pool)
    method.network.eval()
    projector, features = method.network["online"][1], torch.rand(9, 128)
    own = {name: v.clone() for name, v in projector.state_dict().items()}
    found = project_batch(projector, features)
    assert all(torch.equal(v, own[name]) for name, v in projector.state_dict().items())
    projector.train()
    torch.testing.assert_close(found, projector(features))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"towers": {"ms": S2}}, "rsbyol1 draws 1 sar bands of a chip, but the towers see none"),
        ({"towers": {"ms": S2, "gunw": {"modality": "s1_coherence"}}}, "'s1_coherence', allowed s2_l1c, s2_l2a"),
        ({"towers": {"ms": S2, "sar": {"modality": "s1_grd_monthly"}}}, "m1_VV-VH, m2_VV-VH.* allowed VV and VH"),
        ({"towers": {"a": S2, "b": {"modality": "s2_l2a"}, "sar": S1}}, "allowed one ms modality"),
        ({"towers": {"ms": S2, "sar": {**S1, "bands": ["VV", "VH", "VV"]}}}, "names one twice"),
        ({"views": "rsbyol3", "towers": {"ms": S2, "sar": {**S1, "bands": ["VV"]}}}, "see VV"),
        ({"views": "rsbyol3_rgb", "towers": {"ms": S2, "sar": S1}}, "needs a tower rgb"),
        ({"views": "rsbyol1_ms", "towers": {"ms": {**S2, "bands": ["B02"]}}}, "draws 2 ms bands .* see B02"),
        ({"crop_area": [0.5, 0.2]}, "the smaller one first"),
        ({"lr": 0.001}, "lr_min: found 0.002, allowed at most lr, 0.001"),
        ({"views": "rsbyol2"}, "rsbyol1"),
        ({"blocks": [3, 4]}, "blocks"),
    ],
)
def test_recipes_that_cannot_work_are_refused(recipe, words):
    with pytest.raises(ValidationError, match=words):
        RsbyolRecipe(**recipe)


@pytest.mark.parametrize("views", VIEWS)
def test_the_towers_of_each_kind_of_views_are_known(views):
    recipe = RsbyolRecipe(views=views)
    assert recipe.channels == (3 if views.startswith("rsbyol3") else 1)
    assert len(recipe.bands("ms")) == 10
    together = {name for name, tower in recipe.towers.items() if recipe.together(tower)}
    assert together == ({"rgb", "re", "sar"} if recipe.channels == 3 else set())


def test_chips_that_the_network_would_shrink_to_nothing_are_refused():
    with pytest.raises(ValueError, match="chips of 16 px, allowed at least 32 px"):
        RsbyolRecipe().check_chip(16)


def test_description_of_the_full_size(capsys):
    found = describe("rsbyol", {})
    assert found["parameters"]["towers"][SHARED]["layer4"] == 14_964_736
    assert found["parameters"]["total"] == 23_501_760
    assert found["recipe"]["tau"] == {
        "value": 0.9, "mark": "P", "source": "sec. 3 Network: exponential moving average",
    }  # fmt: skip
    assert all(v["mark"] in "PCID" and v["source"] for v in found["recipe"].values())
    assert describe_command(["rsbyol", "--recipe", '{"views": "rsbyol3"}']) == 0
    said = capsys.readouterr().out
    assert "s1_grd, bands: VV, VH, VV" in said and "[D] sec. 3 Augmentation gives no ranges" in said
    assert math.isclose(describe("rsbyol", {"views": "rsbyol3"})["parameters"]["total"], 23_508_032)


def test_pictures_are_judged_and_never_drawn_from(pool, land, tmp_path):
    """A tower of `rgb` changes neither what training reads nor its weights; no collection needs to have it."""
    towers = {**TRIPLETS, "photo": {"modality": "rgb"}}
    method = build(pool, views="rsbyol3_rgb", towers=towers)
    assert set(method.sources) == {"ms", "sar"}
    taken = method.inputs["photo"]
    assert (taken.unit, taken.bands, taken.whole) == ("display", ("red", "green", "blue"), True)
    for name, own in (("without", TRIPLETS), ("with", towers)):
        pretrain(land, tmp_path / name, method="rsbyol", views="rsbyol3_rgb", towers=own, epochs=1)
    weights = [(tmp_path / name / FILES[0]).read_bytes() for name in ("without", "with")]
    assert weights[0] == weights[1]
    side = ChipStore.open(land / "chips/s2_l1c").chip_px
    dn = np.arange(2 * 3 * side**2).reshape(2, 3, side, side) % 256
    make_store(tmp_path / "towns/chips/rgb", "rgb", dn, np.ones((2, 3), np.float32))
    encoder, store = Encoder.load(tmp_path / "with"), ChipStore.open(tmp_path / "towns/chips/rgb")
    (images,) = encoder.prepare("photo", store, np.arange(2), np.zeros(2, np.intp))
    assert np.allclose(images.cpu().numpy(), dn / 255, atol=1e-6)
    assert encoder.embed("photo", store, np.arange(2), np.zeros(2, np.intp)).shape[0] == 2
