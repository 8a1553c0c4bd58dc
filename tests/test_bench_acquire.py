"""The benchmark of downloads fetches the same bytes by every arm, and says whether its bar holds."""

import pytest

from benchmarks.acquire import __main__ as bench
from benchmarks.acquire.server import checksums, content, serving


@pytest.fixture(scope="module")
def address():
    with serving(2, 300_000) as found:
        yield found


@pytest.mark.parametrize("name", bench.ARMS)
def test_every_arm_fetches_the_same_bytes(address, name, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "SIZE", 300_000)
    bench.ARMS[name](tmp_path, f"{address}/line", checksums(2, 300_000))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        str(k): bytes(content(k, 300_000)) for k in range(2)
    }


def test_the_bar_is_judged_by_the_median_of_the_rounds():
    rates = {"plain": [100e6, 100e6, 100e6], bench.SAME_CHECKS: [50e6] * 3, "terraprobe": [79e6, 85e6, 20e6]}
    assert "Does not hold: 79%" in bench.table(rates)
    assert "| terraprobe | 79 | 50 to 82 | 79% |" in bench.table(rates)
    assert "Beside the same checks by hand: 158%." in bench.table(rates)
    assert "Holds: 85%" in bench.table({**rates, "terraprobe": [85e6] * 3})
