"""The store benchmark on tiny inputs: equal pixels, a whole table, bars judged from numbers. No time is asserted."""

import importlib.util

import numpy as np
import pytest

from benchmarks.page import END, begin, write_block
from benchmarks.store.__main__ import run
from benchmarks.store.arms import ARMS, Ours, Plain, Preloaded
from benchmarks.store.cache import cached_share, drop, read_through
from benchmarks.store.inputs import CHANNELS, Pixels, make_inputs, write_usual
from benchmarks.store.timing import SEQUENTIAL, Plan, Row, check_equal
from benchmarks.store.verdict import bar_table, judge, time_table
from terraprobe.errors import TerraprobeError

TINY = Pixels(tiles=2, tile_px=64)
PLAN = Plan(batch=4, warm_rounds=2, cold_rounds=1, fast_batches=1, slow_chips=3)
OWN = [arm for arm in ARMS if not arm.name.startswith("torchgeo")]
PEERS = [arm for arm in ARMS if arm.name.startswith("torchgeo")]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    return make_inputs(folder / "32", TINY, write_usual(folder / "usual", TINY), 32)


def test_all_readers_without_torchgeo_give_the_same_pixels(inputs):
    assert inputs.shape == (8, CHANNELS, 32, 32)
    check_equal(inputs, OWN, 20)


@pytest.mark.skipif(importlib.util.find_spec("torchgeo") is None, reason="torchgeo is in .venv-bench alone")
def test_torchgeo_gives_the_same_pixels(inputs):
    check_equal(inputs, PEERS, 20)


def test_a_reader_that_differs_stops_the_benchmark(inputs):
    class Shifted(Plain):
        name = "shifted"

        def whole(self, chips):
            return super().whole(chips) + 1

    with pytest.raises(TerraprobeError, match=r"^shifted: other pixels than plain memmap"):
        check_equal(inputs, [Plain, Shifted], 2)


def test_a_file_is_cached_after_reading_and_not_after_dropping(inputs):
    files = Plain.files(inputs)
    for announce in SEQUENTIAL.values():
        assert read_through(files, announce) == inputs.plain.stat().st_size
    assert cached_share(files) == 1
    drop(files)
    assert cached_share(files) == 0


def test_a_preloaded_store_is_cached(inputs):
    files = Ours.files(inputs)
    drop(files)
    arm = Preloaded(inputs)
    arm.one(np.array([3]), np.array([2]))
    arm.close()
    assert cached_share(files) == 1


def test_the_tables_have_every_reader_and_the_inputs_are_removed(tmp_path):
    rows, conversion = run(tmp_path / "inputs", TINY, {32: PLAN, 64: PLAN}, OWN)
    assert "32 px, " in conversion
    table = time_table(rows)
    for px in (32, 64):
        for arm in OWN:
            for state in ("warm", "cold"):
                assert f"| {px} px | {state} | {arm.name} |" in table
        for name in SEQUENTIAL:
            assert f"| {px} px | cold | {name} | – |" in table
    assert not list((tmp_path / "inputs").glob("*/*.npy"))
    bars = judge(rows)
    assert len(bars) == 2 * 7  # those against torchgeo need it
    assert bar_table(bars).count("\n") == 1 + len(bars)


def seconds(one, every, cold_one, cold_every):
    """Rows of a store whose peers take round times: 1 and 13 for the limit, 26 for sequential reading."""
    sequential = list(SEQUENTIAL)
    return [
        Row(64, "warm", 1, Plain.name, (1.0, 1.0, 9.0)),
        Row(64, "warm", CHANNELS, Plain.name, (13.0,)),
        Row(64, "warm", 1, "torchgeo, a", (50.0,)),
        Row(64, "warm", 1, "torchgeo, b", (12.0,)),
        Row(64, "warm", CHANNELS, "torchgeo, a", (150.0,)),
        Row(64, "cold", CHANNELS, sequential[0], (39.0,)),
        Row(64, "cold", CHANNELS, sequential[1], (26.0,)),
        Row(64, "warm", 1, Ours.name, (one,)),
        Row(64, "warm", CHANNELS, Ours.name, (every,)),
        Row(64, "cold", 1, Ours.name, (cold_one,)),
        Row(64, "cold", CHANNELS, Ours.name, (cold_every,)),
        Row(64, "cold", CHANNELS, Preloaded.name, (26.0,)),
    ]


def test_bars_are_judged_from_medians_against_the_best_peer():
    bars = judge(seconds(1.0, 13.0, 2.0, 26.0))
    assert [round(bar.value, 3) for bar in bars] == [12, 1, 11.538, 1, 1, 1, 1, 1, 1]
    assert all(bar.held for bar in bars)


@pytest.mark.parametrize(
    ("times", "lost"),
    [
        ((1.25, 13.0, 2.0, 26.0), {"warm, one channel: times", "warm: one channel against"}),
        ((1.0, 17.0, 2.0, 26.0), {"warm, all channels", "warm: one channel against"}),
        ((1.0, 13.0, 2.6, 26.0), {"cold, one channel", "cold: one channel against"}),
        ((1.0, 13.0, 2.0, 33.0), {"cold, all channels", "cold: one channel against"}),
    ],
)
def test_a_bar_that_does_not_hold_is_told(times, lost):
    bars = [bar for bar in judge(seconds(*times)) if not bar.held]
    assert all(any(bar.what.startswith(start) for bar in bars) for start in lost)
    assert bar_table(bars).count("**no**") == len(bars)


def test_the_spread_of_a_row_is_its_quartiles():
    row = Row(64, "warm", 1, "a", tuple(np.arange(5.0)))
    assert (row.median, *row.spread) == (2, 1, 3)


def test_the_page_has_a_place_for_the_tables_of_every_benchmark(repository):
    page = (repository / "docs" / "benchmarks.md").read_text()
    for target in ("bench-store", "bench-train"):
        assert page.count(begin(target)) == 1
        assert END in page.partition(begin(target))[2]


def test_a_block_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    blocks = [f"{begin(target)}\n\nold\n\n{END}" for target in ("one", "two")]
    page.write_text("\n".join(["before", blocks[0], "between", blocks[1], "after"]))
    write_block("one", "new", page)
    assert page.read_text() == "\n".join(["before", blocks[0].replace("old", "new"), "between", blocks[1], "after"])
