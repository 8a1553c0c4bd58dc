"""The simulated Earth is frozen, and docs/simulator.md reports its fit to genuine images as it is."""

import re

import pytest
from simulated_fit import MARK, PAGE, correlations, gather, simulated_windows, simulator_digest
from window_statistics import SPECTRUM

ROUNDING = 0.011  # two decimals are shown; another machine may round a tie the other way
RANGE = r"(-?[\d.]+) … (-?[\d.]+)"


@pytest.fixture(scope="module")
def shared(shared_data):
    from genuine_windows import shared_windows

    return gather(shared_windows(shared_data))


@pytest.fixture(scope="module")
def february():
    return gather(simulated_windows("February"))


@pytest.fixture(scope="module")
def rows():
    """Cells of the fit tables by quantity."""
    lines = PAGE.read_text(encoding="utf-8").partition(MARK)[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if " … " in line]
    return {first: rest for first, *rest in cells if len(rest) > 4}  # coherence has no genuine counterpart


def test_the_simulator_is_the_one_that_was_frozen() -> None:
    found = re.search(r"Digest of the simulator: `(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == simulator_digest(), (
        f"the simulator's text has changed: its digest is {simulator_digest()}. Where only comments did, write the "
        "digest into docs/simulator.md. Otherwise every score on simulated land is of another Earth: follow "
        "'The freeze' there, measure the fit again, and take acceptance worlds that nobody has looked at."
    )


def test_genuine_columns_are_what_the_test_data_give(rows, shared) -> None:
    told = {name: cells for name, cells in rows.items() if cells[0]}
    assert len(told) > 120
    for name, cells in told.items():
        low, high = map(float, re.fullmatch(RANGE, cells[0]).groups())
        assert (shared[name].low, shared[name].high) == pytest.approx((low, high), abs=ROUNDING), name
        assert cells[1] == f"{shared[name].values.size}/{shared[name].places}", name


def test_simulated_columns_are_what_the_development_worlds_give(rows, february) -> None:
    for name, cells in rows.items():
        numbers = [float(n) for n in re.fullmatch(rf"(-?[\d.]+) \({RANGE}\)", cells[3]).groups()]
        sample = february[name]
        assert (sample.median, sample.low, sample.high) == pytest.approx(numbers, abs=ROUNDING), name


def test_the_matrix_of_correlations_is_theirs(shared, february) -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    expected = correlations(shared, february)
    found = page[page.index(expected[0]) + 2 :]
    for row, line in zip(expected[2:], found[: len(SPECTRUM)], strict=True):
        numbers = [[float(n) for n in re.findall(r"-?\d\.\d\d", text)] for text in (row, line)]
        assert numbers[1] == pytest.approx(numbers[0], abs=ROUNDING)
