"""The training benchmark on tiny networks: equal work, whole tables, bars judged from numbers. No time is asserted."""

import importlib.util

import pytest
import torch

from benchmarks.train.__main__ import no_gpu, on_cpu, on_gpu
from benchmarks.train.arms import BIGEARTHNET, EUROSAT, PEERS, TRIO, Ours, Work, check_equal, count
from benchmarks.train.timing import Plan, Row, Training, measure
from benchmarks.train.verdict import bar_table, judge, ratio, time_table
from terraprobe.errors import TerraprobeError
from terraprobe.report.costs import PAPER_ALPHA

SMALL = {"width": 8, "blocks": (1, 1), "batch_size": 4}
PLAN = Plan(warm_steps=1, rounds=2, steps=1)
TINY = Work("tiny", 3, 16, count(Ours(Work("", 3, 16, 0, SMALL), "none")), SMALL)


def row(arm, *rounds, peak=0):
    return Row(arm, 1000, 64, rounds, peak)


@pytest.mark.parametrize("work", [EUROSAT, BIGEARTHNET])
def test_full_size_is_that_of_the_paper(work):
    with torch.device("meta"):
        assert count(TRIO["plain"](work)) == work.parameters
    assert work.conditioned("none").batch_size == {"EuroSAT": 64, "BigEarthNet": 512}[work.title]


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is in .venv-bench alone")
def test_torchvision_is_the_plain_network():
    check_equal(EUROSAT, PEERS)


def test_another_network_stops_the_benchmark():
    class Louder(Ours):
        def forward(self, images, context):
            return 1.1 * super().forward(images, context)

    check_equal(TINY, {"itself": TRIO["plain"]})
    with pytest.raises(TerraprobeError, match=r"^wider: [\d,]+ parameters, allowed "):
        check_equal(TINY, {"wider": TRIO["cbn"]})
    with pytest.raises(TerraprobeError, match=r"^louder: other outputs than plain"):
        check_equal(TINY, {"louder": lambda work: Louder(work, "none")})


def test_the_tables_have_every_network():
    text = on_cpu(TINY, PLAN, {"torchvision, a stand-in": TRIO["plain"]})
    assert "CPU, " in text and "tiny: 4 images of 3 × 16 × 16, 2 rounds" in text
    for arm in (*TRIO, "torchvision, a stand-in"):
        assert f"\n| {arm} | " in text
    assert text.count("≥ 1 within the spread") == 1
    assert "peak memory" not in text


def test_every_network_is_trained_and_alike_often():
    steps = []

    class Counted(Ours):
        def forward(self, images, context):
            steps.append(self.kind)
            return super().forward(images, context)

    def arm(conditioning):
        def build(work):
            network = Counted(work, conditioning)
            network.kind = conditioning
            return network

        return build

    rows = measure({kind: arm(kind) for kind in ("none", "emb", "cbn")}, TINY, PLAN, torch.device("cpu"))
    assert [steps.count(kind) for kind in ("none", "emb", "cbn")] == [3, 3, 3]
    assert [len(r.rounds) for r in rows] == [2, 2, 2]


@pytest.mark.parametrize("recipe", [{}, {"multi_label": True}])
def test_a_step_lowers_the_loss_it_is_taken_on(recipe):
    torch.manual_seed(0)
    work = Work("tiny", 3, 16, 0, {**SMALL, **recipe, "lr": 1e-2})
    training = Training(TRIO["cbn"](work), work, torch.device("cpu"))
    losses = [training.step() for _ in range(20)]
    assert losses[-1] < losses[0]


def test_ratios_are_taken_round_by_round():
    fast, slow = row("plain", 1.0, 10.0, 2.0), row("torchvision", 1.1, 11.0, 2.2)
    assert ratio(slow, fast).low == pytest.approx(1.1) == pytest.approx(ratio(slow, fast).high)


@pytest.mark.parametrize(("times", "held"), [((1.1, 1.2), True), ((0.95, 1.05), True), ((0.95, 0.98), False)])
def test_a_bar_holds_where_one_is_within_the_spread(times, held):
    bars = judge([row("plain", 1.0, 1.0), row("emb", 9.0, 9.0), row("torchvision", *times)])
    assert [(bar.rival, bar.held) for bar in bars] == [("torchvision", held)]
    assert bar_table(bars).count("**no**") == (not held)


def test_alpha_stands_beside_the_papers():
    table = time_table([row("plain", 2.0, 2.0), row("cbn", 2.5, 2.5, peak=3_000_000_000)])
    cbn = next(line for line in table.splitlines() if line.startswith("| cbn"))
    assert "| 1.250 (1.250–1.250) |" in cbn and f"| {PAPER_ALPHA['cbn']:.3f} |" in cbn
    assert "| 2,500.0 (2,500.0–2,500.0) | 25.6 (25.6–25.6) |" in cbn
    assert cbn.endswith("| 3.00 |") and "peak memory, GB" in table


def test_without_a_gpu_one_line_says_why():
    assert no_gpu(1, lambda: True) == ""
    assert no_gpu(0, lambda: True).startswith("no NVIDIA GPU here")
    assert "cannot use it" in no_gpu(1, lambda: False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_the_gpu_part_is_skipped_in_one_line():
    text = on_gpu([TINY], PLAN)
    assert text.startswith("GPU part skipped: ") and "\n" not in text
