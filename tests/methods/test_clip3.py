"""`clip3`: the loss against closed forms, what is drawn, what is missing, ranks, and the description."""

import json
import math
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import distributed as dist
from torch import multiprocessing

from pretraining import POISON, TINY, make_collection, specs
from terraprobe.describe import describe, describe_command
from terraprobe.errors import TerraprobeError
from terraprobe.methods import METHODS, load_method
from terraprobe.methods.clip3 import Clip3, Clip3Recipe, draw_usable, pairwise_loss
from terraprobe.normalisation import fit_input
from terraprobe.pool import ChipPool
from terraprobe.ranks import gather_rows
from terraprobe.towers import MODULE_ATTRIBUTES


def reference_loss(embeddings, present, scale):
    """The loss in numpy, by its definition."""
    losses = []
    for a, b in combinations(embeddings, 2):
        rows = [i for i in range(len(present[a])) if present[a][i] and present[b][i]]
        if len(rows) < 2:
            continue
        one, two = (e[rows] / np.linalg.norm(e[rows], axis=1, keepdims=True) for e in (embeddings[a], embeddings[b]))
        for x, y in ((one, two), (two, one)):
            similarity = scale * x @ y.T
            log_share = np.diag(similarity) - np.log(np.exp(similarity).sum(axis=1))
            losses.append(-log_share.mean())
    return np.mean(losses)


def random_case(seed, chips=9, missing=0.3):
    rng = np.random.default_rng(seed)
    embeddings = {name: rng.normal(size=(chips, 5)) for name in "abc"}
    present = {name: rng.random(chips) > missing for name in "abc"}
    return embeddings, present


def tensors(values):
    return {name: torch.tensor(v) for name, v in values.items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_loss_equals_the_definition(seed, missing):
    embeddings, present = random_case(seed, missing=missing)
    loss = pairwise_loss(tensors(embeddings), tensors(present), 4.0)
    assert float(loss) == pytest.approx(reference_loss(embeddings, present, 4.0), rel=1e-9)


def test_loss_at_known_similarities():
    n, scale, everyone = 6, 3.0, torch.ones(6, dtype=torch.bool)
    same, equal = torch.eye(n), torch.ones(n, n)
    aligned = pairwise_loss({"a": same, "b": 5 * same}, {"a": everyone, "b": everyone}, scale)
    assert float(aligned) == pytest.approx(math.log(1 + (n - 1) * math.exp(-scale)), rel=1e-6)
    chance = pairwise_loss({"a": equal, "b": equal}, {"a": everyone, "b": everyone}, scale)
    assert float(chance) == pytest.approx(math.log(n), rel=1e-6)


def test_loss_is_symmetric_in_the_towers_and_in_the_chips():
    embeddings, present = random_case(1)
    loss = float(pairwise_loss(tensors(embeddings), tensors(present), 2.0))
    turned = {name: embeddings[name] for name in "cab"}
    assert float(pairwise_loss(tensors(turned), tensors(present), 2.0)) == pytest.approx(loss)
    order = np.random.default_rng(0).permutation(9)
    shuffled = [{k: v[order] for k, v in case.items()} for case in (embeddings, present)]
    assert float(pairwise_loss(tensors(shuffled[0]), tensors(shuffled[1]), 2.0)) == pytest.approx(loss)


def test_missing_modality_drops_the_chip_from_its_pairs_and_from_nothing_else():
    embeddings, present = random_case(2, missing=0.0)
    present["c"][4] = False
    values = {name: torch.tensor(v, requires_grad=True) for name, v in embeddings.items()}
    pairwise_loss(values, tensors(present), 2.0).backward()
    assert values["c"].grad[4].abs().sum() == 0
    assert values["a"].grad[4].abs().sum() > 0
    before = float(pairwise_loss(tensors(embeddings), tensors(present), 2.0))
    embeddings["c"][4] = 1e3
    assert float(pairwise_loss(tensors(embeddings), tensors(present), 2.0)) == before


def test_a_batch_without_a_pair_gives_zero_and_a_gradient():
    values = {name: torch.randn(3, 4, requires_grad=True) for name in "ab"}
    present = {"a": torch.tensor([True, True, False]), "b": torch.tensor([False, True, True])}
    loss = pairwise_loss(values, present, 2.0)
    loss.backward()
    assert float(loss.detach()) == 0
    assert values["a"].grad is not None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_an_unusable_channel_is_never_drawn(seed, channels):
    rng = np.random.default_rng(seed)
    usable = rng.random((50, channels)) < 0.4
    drawn = draw_usable(usable, rng.random(50))
    has = usable.any(axis=1)
    assert (drawn[~has] == -1).all()
    assert usable[np.flatnonzero(has), drawn[has]].all()


def test_every_usable_channel_is_drawn_alike():
    usable = np.tile([True, False, True, True], (30_000, 1))
    counts = np.bincount(draw_usable(usable, np.random.default_rng(0).random(30_000)), minlength=4)
    assert counts[1] == 0
    assert np.abs(counts[[0, 2, 3]] / 30_000 - 1 / 3).max() < 0.01
    assert (draw_usable(usable[:2], np.array([0.0, np.nextafter(1.0, 0.0)])) == [0, 3]).all()


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("clip3") / "land")


@pytest.fixture
def pool(collection):
    return ChipPool([collection / "chips.parquet"], specs(collection))


def build(pool, **overrides):
    recipe = Clip3Recipe(**{**TINY, **overrides})
    train = np.flatnonzero(pool.split == "train")
    inputs = {name: fit_input(pool, tower, train, 0, name) for name, tower in recipe.towers.items()}
    torch.manual_seed(0)
    return Clip3(recipe, inputs, pool.layers, pool.chip_px)


def test_fetch_reads_usable_channels_only(pool):
    method = build(pool)
    rng = np.random.default_rng(0)
    for _ in range(5):
        batch = method.fetch(pool, np.arange(len(pool)), rng.random((len(pool), method.draws)))
        for name, part in batch.items():
            assert not (part["dn"].to(torch.int32) == POISON).any()
            expected = pool.usable(method.inputs[name].modality).any(axis=1)
            assert (part["present"].numpy() == expected).all()


def test_a_chip_in_no_pair_is_not_eligible(pool):
    eligible = build(pool).eligible(pool)
    assert not eligible[2]
    assert eligible[5]  # only coherence is missing there


def test_channels_are_normalised_by_their_own_statistics_and_nodata_is_zero(pool):
    method = build(pool)
    tower = method.inputs["s1_grd_monthly"]
    layer = pool.layers["s1_grd_monthly"]
    train = np.flatnonzero(pool.split == "train")
    good = [c for c in train if pool.usable("s1_grd_monthly")[c, 2]]
    dn = pool.digital("s1_grd_monthly", np.array(good), np.full(len(good), 2))
    values = tower.prepare(torch.from_numpy(dn), torch.full((len(good),), 2), layer)[:, 0].numpy()
    assert (values[dn == layer.nodata] == 0).all()
    seen = values[dn != layer.nodata]
    assert abs(seen.mean()) < 1e-4
    assert seen.std() == pytest.approx(1, abs=1e-4)
    physical = dn[dn != layer.nodata] * layer.scale
    assert tower.mean[2] == pytest.approx(physical.mean(), rel=1e-6)
    assert len(method.inputs["s1_coherence"].mean) == 1


def test_overfits_one_batch(pool):
    method = build(pool, width=32, projection=32, weight_decay=0.0)
    chips = np.flatnonzero(method.eligible(pool) & (pool.split == "train"))[:8]
    batch = method.fetch(pool, chips, np.random.default_rng(0).random((8, method.draws)))
    optimiser = method.optimiser()
    first = float(method.loss(batch).detach())
    for _ in range(120):
        optimiser.zero_grad()
        loss = method.loss(batch)
        loss.backward()
        optimiser.step()
        method.after_step()
    assert first > 1.0
    assert float(loss.detach()) < 0.05 * first


def test_logit_scale_starts_at_its_value_and_is_clamped(pool):
    method = build(pool)
    assert float(method.log_scale.exp().detach()) == pytest.approx(1 / 0.07)
    method.log_scale.data.fill_(10.0)
    method.after_step()
    assert float(method.log_scale.exp().detach()) == pytest.approx(100.0)


def test_two_towers_see_disjoint_bands_of_one_modality(tmp_path):
    folder = make_collection(tmp_path / "one", modalities=("s2_rgb_monthly",))
    pool = ChipPool([folder / "chips.parquet"], specs(folder))
    towers = {
        "early": {"modality": "s2_rgb_monthly", "bands": ["m1_B04", "m1_B03"]},
        "late": {"modality": "s2_rgb_monthly", "bands": ["m3_B02"]},
    }
    method = build(pool, towers=towers)
    batch = method.fetch(pool, np.arange(len(pool)), np.random.default_rng(0).random((len(pool), 2)))
    late = np.flatnonzero(batch["late"]["present"].numpy())
    assert (late == np.flatnonzero(pool.usable("s2_rgb_monthly")[:, 8])).all()
    assert (batch["late"]["dn"].numpy() == pool.digital("s2_rgb_monthly", late, np.full(len(late), 8))).all()


def _rank_work(rank, folder, queue_path):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.randn(6, 4, dtype=torch.float64))
    inputs, present = _rank_case()
    mine = slice(rank * 4, rank * 4 + 4)
    loss = pairwise_loss(
        {k: gather_rows(v[mine] @ weight) for k, v in inputs.items()},
        {k: gather_rows(v[mine]) for k, v in present.items()},
        3.0,
    )
    loss.backward()
    dist.all_reduce(weight.grad)
    weight.grad /= 2  # the mean over ranks, as distributed training takes it
    torch.save((loss.detach(), weight.grad), f"{queue_path}{rank}.pt")
    dist.destroy_process_group()


def _rank_case():
    generator = torch.Generator().manual_seed(2)
    inputs = {k: torch.randn(8, 6, dtype=torch.float64, generator=generator) for k in "abc"}
    return inputs, {k: torch.rand(8, generator=generator) > 0.3 for k in "abc"}


def test_two_ranks_give_the_loss_and_gradients_of_one(tmp_path):
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.randn(6, 4, dtype=torch.float64))
    inputs, present = _rank_case()
    loss = pairwise_loss({k: v @ weight for k, v in inputs.items()}, present, 3.0)
    loss.backward()
    multiprocessing.start_processes(
        _rank_work, args=(str(tmp_path), str(tmp_path / "out")), nprocs=2, start_method="fork"
    )
    for rank in range(2):
        other_loss, other_grad = torch.load(f"{tmp_path / 'out'}{rank}.pt", weights_only=True)
        torch.testing.assert_close(other_loss, loss.detach())
        torch.testing.assert_close(other_grad, weight.grad)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"towers": {"a": {"modality": "s1_grd"}}}, "at least 2"),
        ({"towers": {"a": {"modality": "s1_grd"}, "b": {"modality": "radar"}}}, "'radar', allowed s2_l1c"),
        ({"towers": {"a": {"modality": "s1_grd"}, "b": {"modality": "s1_grd", "bands": ["VV"]}}}, "both see VV"),
        ({"towers": {"a": {"modality": "s1_grd", "bands": ["HH"]}, "b": {"modality": "s2_l1c"}}}, "allowed VV, VH"),
        ({"towers": {"a": {"modality": "s1_grd"}, "concat": {"modality": "s2_l1c"}}}, "concat is kept"),
        (
            {"towers": {"a.b": {"modality": "s1_grd"}, "b": {"modality": "s2_l1c"}}},
            r"found the name 'a\.b', allowed a-z",
        ),
        ({"towers": {"": {"modality": "s1_grd"}, "b": {"modality": "s2_l1c"}}}, "found the name '', allowed a-z"),
        ({"towers": {"b\n": {"modality": "s1_grd"}, "b": {"modality": "s2_l1c"}}}, "found the name .*, allowed a-z"),
        ({"towers": {"pop": {"modality": "s1_grd"}, "b": {"modality": "s2_l1c"}}}, "found the name 'pop'.* pop_tower"),
        ({"width": 10, "heads": 3}, "must divide width 10"),
        ({"widht": 10}, "widht"),
    ],
)
def test_recipes_that_cannot_work_are_refused(recipe, words):
    with pytest.raises(ValidationError, match=words):
        Clip3Recipe(**recipe)


def test_the_names_that_pytorch_keeps_are_those_of_its_module_dict():
    kept = {name for name in dir(torch.nn.ModuleDict()) if name[0].islower()}
    assert kept == MODULE_ATTRIBUTES


def test_the_order_of_the_towers_is_that_of_their_names():
    towers = {name: {"modality": name} for name in ("s2_l1c", "s1_grd")}
    assert list(Clip3Recipe(towers=towers).towers) == ["s1_grd", "s2_l1c"]
    assert list(Clip3Recipe().towers) == sorted(Clip3Recipe().towers)


def test_a_recipe_is_checked_without_torch():
    code = "import sys, terraprobe.methods as m; m.recipe_model('clip3')(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_method_is_refused():
    with pytest.raises(TerraprobeError, match=rf"'clip4', allowed {', '.join(METHODS)}"):
        load_method("clip4")


def test_description_of_the_full_size():
    found = describe("clip3", {})
    assert found["parameters"]["total"] == 259_342_848
    assert found["parameters"]["other"] == 1
    assert found["architecture"]["chip_px"] == 448
    assert found["recipe"]["lr"] == {"value": 1e-4, "mark": "D", "source": "sec. 2 Loss: AdamW"}
    assert found["recipe"]["width"]["mark"] == "P"
    assert all(v["mark"] in "PCID" and v["source"] for v in found["recipe"].values())
    assert {d["mark"] for d in found["deviations"]} == {"C", "I", "D"}


def test_description_says_what_the_study_changed(capsys):
    assert describe_command(["clip3", "--json", "--recipe", '{"width": 24, "heads": 2}', "--chip-px", "64"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"]["width"]["source"].startswith("set in the study; the default is 768 [P]")
    assert describe_command(["clip3"]) == 0
    assert "259.3M (259,342,848)" in capsys.readouterr().out


@pytest.mark.parametrize("bad", ["{", "[]", '{"widht": 3}'])
def test_description_of_a_bad_recipe_is_an_error(bad):
    with pytest.raises(TerraprobeError, match="recipe"):
        describe_command(["clip3", "--recipe", bad])
