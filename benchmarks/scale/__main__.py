"""`make bench-scale`: measure, print, and write the table of docs/benchmarks.md."""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.page import PAGE, machine, write_block
from benchmarks.scale.land import Land
from benchmarks.scale.stages import STAGES, Cost, measure, train

ROUNDS: Mapping[int, int] = {1: 3, 2: 2, 4: 1}
"""Tiles along an edge to how often each stage is run on such a land: 1, 4 and 16 times as many chips."""

BAR = 1.15
"""Set before anything was measured: time and memory of a chip grow by at most so much."""

Costs = Mapping[int, Mapping[str, Cost]]
"""Number of chips to stage to what it took, the fewest chips first."""


def grow(lands: Mapping[Land, int]) -> Costs:
    """Run every stage on every land.

    Args:
        lands: the smallest first, and how often each stage is run on each.

    Returns:
        Medians; lands are removed as they are done with.
    """
    found: dict[int, dict[str, Cost]] = {}
    encoder = Path()
    for land, rounds in lands.items():
        land.make()
        for stage in STAGES:
            if stage == "embed" and not encoder.name:
                encoder = train(land, land.folder.parent / "encoder")
            runs = [measure(stage, land, encoder) for _ in range(rounds)]
            cost = Cost(median(run.seconds for run in runs), round(median(run.peak for run in runs)))
            found.setdefault(land.chips, {})[stage] = cost
        shutil.rmtree(land.folder)
    return found


def table(costs: Costs) -> str:
    """What every stage took at every size, by chip, and which bars hold."""
    least = min(costs)
    lines = [
        "| stage | chips | CPU s | ms a chip | of the smallest | memory, MB | kB a chip | of the smallest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for stage in STAGES:
        for chips, by_stage in costs.items():
            cost, (time, memory) = by_stage[stage], ratios(costs, stage, chips)
            lines.append(
                f"| {stage} | {chips:,} ({chips // least}x) | {cost.seconds:.1f} | {1e3 * cost.seconds / chips:.2f} | "
                f"{time:.2f} | {cost.peak / 1e6:.0f} | {cost.peak / 1e3 / chips:.1f} | {memory:.2f} |"
            )
    return "\n".join([*lines, "", *verdicts(costs)])


def ratios(costs: Costs, stage: str, chips: int) -> tuple[float, float]:
    """Time and memory of a chip over those at the smallest size."""
    least = min(costs)
    now, then, share = costs[chips][stage], costs[least][stage], least / chips
    return now.seconds / then.seconds * share, now.peak / max(then.peak, 1) * share


def verdicts(costs: Costs) -> Sequence[str]:
    """A line a stage."""
    said = []
    for stage in STAGES:
        worst = [max(values) for values in zip(*(ratios(costs, stage, chips) for chips in costs), strict=True)]
        words = [
            f"{what} at most {grown:.2f} times ({'holds' if grown <= BAR else 'does not hold'})"
            for what, grown in zip(("time", "memory"), worst, strict=True)
        ]
        said.append(f"- {stage}: {', '.join(words)}")
    return [f"Bar: a chip takes at most {BAR} times the time and memory of one on the smallest land.", "", *said]


def main() -> int:
    """Measure and write.

    Returns:
        0, also where a bar does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="terraprobe-") as scratch:
        lands = {Land(Path(scratch, f"land{side}"), side): rounds for side, rounds in ROUNDS.items()}
        costs = grow(lands)
    text = f"{machine(['torch', 'scikit-learn', 'rasterio'])} One thread.\n\n{table(costs)}"
    print(text)
    if PAGE.exists():
        write_block("bench-scale", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
