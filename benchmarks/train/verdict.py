"""The bars that the plain network is held to, α, and the tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.train.timing import Row
from terraprobe.report.costs import PAPER_ALPHA

REFERENCE = "plain"
PEER = "torchvision"
"""Names of torchvision's networks begin so."""


@dataclass(frozen=True)
class Spread:
    """Median of some rounds, with their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Iterable[float]) -> "Spread":
        """Of one value a round."""
        low, median, high = np.quantile(list(rounds), [0.25, 0.5, 0.75])
        return cls(float(median), float(low), float(high))

    def text(self, form: str) -> str:
        """`1.05 (1.03–1.07)`."""
        median, low, high = (format(value, form) for value in (self.median, self.low, self.high))
        return f"{median} ({low}–{high})"


def ratio(one: Row, other: Row) -> Spread:
    """Time of one over time of the other, paired round by round: what slows the machine slows both."""
    return Spread.of(a / b for a, b in zip(one.rounds, other.rounds, strict=True))


@dataclass(frozen=True)
class Bar:
    """One bar: at least as fast as a rival.

    Attributes:
        rival: its name.
        speed: of the plain network over that of the rival.
    """

    rival: str
    speed: Spread

    @property
    def held(self) -> bool:
        """Whether 1 is reached within the spread."""
        return self.speed.high >= 1


def judge(rows: Sequence[Row]) -> list[Bar]:
    """One bar for each of torchvision's networks that was measured."""
    by = {row.arm: row for row in rows}
    return [Bar(row.arm, ratio(row, by[REFERENCE])) for row in rows if row.arm.startswith(PEER)]


def bar_table(bars: Sequence[Bar]) -> str:
    """Markdown table of the bars."""
    lines = ["| bar | measured | wanted | held |", "|---|---|---|---|"]
    for bar in bars:
        measured = f"{bar.speed.text('.3f')} | ≥ 1 within the spread | {'yes' if bar.held else '**no**'}"
        lines.append(f"| {REFERENCE}: times the speed of {bar.rival} | {measured} |")
    return "\n".join(lines)


def time_table(rows: Sequence[Row]) -> str:
    """Markdown table: a row a network, medians with quartiles; memory where a GPU was used."""
    reference = next(row for row in rows if row.arm == REFERENCE)
    memory = any(row.peak_bytes for row in rows)
    heads = ["network", "parameters", "ms a step", "images/s", "time over plain (α)", "the paper's α"]
    heads += ["peak memory, GB"] if memory else []
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        paper = PAPER_ALPHA.get(row.arm)
        cells = [
            row.arm,
            f"{row.parameters:,}",
            Spread.of(1e3 * seconds for seconds in row.rounds).text(",.1f"),
            Spread.of(row.batch / seconds for seconds in row.rounds).text(",.1f"),
            ratio(row, reference).text(".3f"),
            f"{paper:.3f}" if paper else "–",
        ]
        cells += [f"{row.peak_bytes / 1e9:.2f}"] if memory else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
