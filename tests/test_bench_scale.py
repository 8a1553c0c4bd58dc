"""The growth benchmark on tiny lands: every stage at every size, bars judged from numbers. No time is asserted."""

import pytest

from benchmarks.scale.__main__ import grow, ratios, table, verdicts
from benchmarks.scale.land import Land
from benchmarks.scale.stages import STAGES, Cost


def costs(time=(1.0, 4.0), memory=(10, 40)):
    return {
        chips: {stage: Cost(seconds, peak) for stage in STAGES}
        for chips, seconds, peak in zip((100, 400), time, memory, strict=True)
    }


def test_every_stage_is_measured_at_every_size(tmp_path):
    lands = {Land(tmp_path / f"land{side}", side, tile_px=192, chip_px=16): 1 for side in (1, 2)}
    found = grow(lands)
    assert list(found) == [144, 576]
    assert all(list(by_stage) == list(STAGES) for by_stage in found.values())
    assert all(cost.seconds > 0 for by_stage in found.values() for cost in by_stage.values())
    text = table(found)
    assert text.count("| cut | ") == 2 and "| 576 (4x) |" in text
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_growth_is_that_of_a_chip():
    assert ratios(costs(), "cut", 400) == pytest.approx((1, 1))
    assert ratios(costs(time=(1, 5)), "cut", 400) == pytest.approx((1.25, 1))
    assert ratios(costs(memory=(10, 10)), "cut", 400) == pytest.approx((1, 0.25))


@pytest.mark.parametrize(("last", "held"), [(4.5, True), (4.7, False)])
def test_a_bar_holds_up_to_15_percent(last, held):
    said = "\n".join(verdicts(costs(time=(1, last))))
    assert said.count("does not hold") == (0 if held else len(STAGES))
