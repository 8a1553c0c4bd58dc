"""The bars that the store is held to, judged from the measured rows, and the tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.store.arms import Ours, Plain, Preloaded
from benchmarks.store.inputs import CHANNELS
from benchmarks.store.timing import SEQUENTIAL, Row

TORCHGEO = "torchgeo"
"""Names of torchgeo's readers begin so; the faster one is the rival."""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        what: is measured.
        chip_px: side of the chips.
        value: measured.
        low: smallest value that holds it.
        high: largest value that holds it.
    """

    what: str
    chip_px: int
    value: float
    low: float
    high: float = float("inf")

    @property
    def held(self) -> bool:
        """Whether the value is within the bar."""
        return self.low <= self.value <= self.high


def judge(rows: Sequence[Row]) -> list[Bar]:
    """All bars that the rows have figures for."""
    times = {(r.chip_px, r.state, r.channels, r.arm): r.median for r in rows}
    bars = []
    for px in dict.fromkeys(r.chip_px for r in rows):
        for channels in (1, CHANNELS):
            which = "one channel" if channels == 1 else "all channels"
            ours = times[px, "warm", channels, Ours.name]
            rivals = [
                t for key, t in times.items() if key[:3] == (px, "warm", channels) and key[3].startswith(TORCHGEO)
            ]
            if rivals:
                bars.append(Bar(f"warm, {which}: times torchgeo's faster reader", px, min(rivals) / ours, 10))
            limit = times[px, "warm", channels, Plain.name]
            bars.append(Bar(f"warm, {which}: share of plain memmap's speed", px, limit / ours, 0.8))
        sequential = min(times[px, "cold", CHANNELS, name] for name in SEQUENTIAL)
        for which, arm, channels in (
            ("all channels, preloaded", Preloaded, CHANNELS),
            ("all channels", Ours, CHANNELS),
            ("one channel", Ours, 1),
        ):
            speed = sequential * channels / CHANNELS / times[px, "cold", channels, arm.name]
            bars.append(Bar(f"cold, {which}: share of sequential read's speed", px, speed, 0.8))
        for state in ("warm", "cold"):
            one, every = (times[px, state, channels, Ours.name] for channels in (1, CHANNELS))
            bars.append(Bar(f"{state}: one channel against a thirteenth of all", px, one * CHANNELS / every, 0.8, 1.2))
    return bars


def bar_table(bars: Sequence[Bar]) -> str:
    """Markdown table of the bars."""
    lines = ["| bar | chip | measured | wanted | held |", "|---|---|---|---|---|"]
    for bar in bars:
        wanted = f"≥ {bar.low:g}" if bar.high == float("inf") else f"{bar.low:g} to {bar.high:g}"
        lines.append(
            f"| {bar.what} | {bar.chip_px} px | {bar.value:.2f} | {wanted} | {'yes' if bar.held else '**no**'} |"
        )
    return "\n".join(lines)


def time_table(rows: Sequence[Row]) -> str:
    """Markdown table of times: microseconds for a chip, median (quartiles), and bytes a second over all channels."""
    found = {(r.chip_px, r.state, r.channels, r.arm): r for r in rows}
    lines = [
        "| chip | state | reader | one channel, µs a chip | all channels, µs a chip | GB/s |",
        "|---|---|---|---|---|---|",
    ]
    for px, state, arm in dict.fromkeys((r.chip_px, r.state, r.arm) for r in rows):
        one, every = (found.get((px, state, channels, arm)) for channels in (1, CHANNELS))
        speed = px**2 * 2 * CHANNELS / every.median / 1e9 if every else float("nan")
        lines.append(f"| {px} px | {state} | {arm} | {_times(one)} | {_times(every)} | {speed:.3g} |")
    return "\n".join(lines)


def _times(row: Row | None) -> str:
    if row is None:
        return "–"
    low, high = (_digits(value) for value in row.spread)
    return f"{_digits(row.median)} ({low}–{high})"


def _digits(seconds: float) -> str:
    micros = seconds * 1e6
    return f"{micros:,.0f}" if micros >= 100 else f"{micros:.3g}"
