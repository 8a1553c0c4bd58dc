"""The benchmark of BYOL on tiny networks: whole tables, equal work, a bar judged from numbers. No time is asserted."""

import importlib.util
from pathlib import Path

import pytest
import torch

from benchmarks.train.byol import ARMS, Lightly, Ours, Pairs, byol_table, check_alike, measure_byol
from benchmarks.train.timing import Plan, Row
from terraprobe.errors import TerraprobeError
from terraprobe.study import load_study

TINY = Pairs(32, {"width": 4, "blocks": [1, 1, 1, 1], "hidden": 8, "projection": 8, "batch_size": 4})
PLAN = Plan(warm_steps=1, rounds=2, steps=1)
CPU = torch.device("cpu")


def row(name, *rounds):
    return Row(name, 1000, 32, rounds)


def test_the_full_size_is_the_papers():
    recipe = Pairs().full
    assert (recipe.width, tuple(recipe.blocks), recipe.batch_size, recipe.channels) == (64, (3, 4, 6, 3), 32, 1)
    assert Pairs().px == 64


def test_both_precisions_are_measured_in_turn():
    rows = measure_byol(TINY, PLAN, CPU, {"rsbyol": Ours, "lightly": Ours})
    assert [r.arm for r in rows] == ["rsbyol, fp32", "lightly, fp32", "rsbyol, bf16", "lightly, bf16"]
    assert all(len(r.rounds) == 2 and r.batch == 4 for r in rows)
    table = byol_table(rows, bf16_units=False)
    assert all(f"\n| {r.arm} | " in table for r in rows) and "no bar: the processor has no avx512_bf16" in table


def test_a_step_trains_and_moves_the_target():
    torch.manual_seed(0)
    step = Ours(TINY, CPU, bf16=False)
    target = [p.clone() for p in step.network["target"].parameters()]
    losses = [step.step() for _ in range(12)]
    assert min(losses[6:]) < losses[0]
    assert any(not torch.equal(a, b) for a, b in zip(target, step.network["target"].parameters(), strict=True))


@pytest.mark.parametrize(("times", "held"), [((0.6, 0.6), True), ((0.7, 0.7), False)])
def test_the_bar_is_bf16_over_lightlys_example(times, held):
    rows = [row("rsbyol, fp32", 0.9, 0.9), row("lightly, fp32", 1.0, 1.0),
            row("rsbyol, bf16", *times), row("lightly, bf16", 0.8, 0.8)]  # fmt: skip
    said = byol_table(rows, bf16_units=True).splitlines()[-1]
    assert f"{times[0]:.3f}" in said and ("(yes, wanted" in said) == held
    assert "| 900.0 (900.0–900.0) | 0.900 (0.900–0.900) |" in byol_table(rows, bf16_units=True)


def test_another_encoder_stops_the_benchmark():
    wider = Pairs(32, {**TINY.recipe, "width": 8})
    steps = {"one": Ours(TINY, CPU, bf16=False), "two": Ours(wider, CPU, bf16=False)}
    with pytest.raises(
        TerraprobeError, match=r"[\d,]+ parameters \(one\), [\d,]+ parameters \(two\), allowed one size"
    ):
        check_alike(steps)


@pytest.mark.skipif(importlib.util.find_spec("lightly") is None, reason="lightly is in .venv-bench alone")
def test_lightlys_example_trains_the_same_encoder():
    full = Pairs(64, {"batch_size": 2})
    steps = {name: build(full, CPU, bf16=False) for name, build in ARMS.items()}
    check_alike(steps)
    assert isinstance(steps["lightly"], Lightly)
    assert steps["lightly"].step() > -4


def test_the_study_of_bf16_differs_by_precision_alone_and_has_the_recipe_of_the_small_study():
    root = Path(__file__).parents[1]
    study, small = (load_study(root / path) for path in ("benchmarks/train/bf16.yaml", "studies/rsbyol_small.yaml"))
    fp32, bf16 = ({**e.recipe} for e in study.encoders)
    assert (fp32.pop("precision"), bf16.pop("precision")) == ("fp32", "bf16")
    assert fp32 == bf16 == next(e for e in small.encoders if e.arm == "pairs").recipe
