"""Time by stage, from Snakemake's benchmark files."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from terraprobe.errors import TerraprobeError


@dataclass(frozen=True)
class StageTime:
    """What the jobs of one rule cost.

    Attributes:
        stage: name of the rule.
        jobs: how many of its jobs were measured.
        wall_s: sum of their wall times, in seconds.
        cpu_s: sum of their CPU times, in seconds.
        peak_mb: largest resident memory of one job, in MB.
    """

    stage: str
    jobs: int
    wall_s: float
    cpu_s: float
    peak_mb: float


def read_times(study: Path) -> list[StageTime]:
    """Read `benchmarks/<rule>/*.tsv` below the results of a study, longest stage first.

    Raises:
        TerraprobeError: there are none, or one is not a benchmark file.
    """
    folder = study / "benchmarks"
    rules = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    stages = [_stage(rule.name, rows) for rule in rules if (rows := _rows(rule))]
    if not stages:
        raise TerraprobeError(
            f"{folder}: no benchmark files (<rule>/*.tsv). Give the results folder of a study that has run, "
            "such as results/quickstart."
        )
    return sorted(stages, key=lambda stage: -stage.wall_s)


def _rows(rule: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for path in sorted(rule.glob("*.tsv")):
        with path.open(newline="") as stream:
            found = list(csv.DictReader(stream, delimiter="\t"))
        if not found or "s" not in found[0]:
            raise TerraprobeError(f"{path}: not a Snakemake benchmark file (no column 's'). Delete it.")
        rows.extend(found)
    return rows


def _stage(name: str, rows: list[dict[str, str]]) -> StageTime:
    return StageTime(
        stage=name,
        jobs=len(rows),
        wall_s=sum(_number(row, "s") for row in rows),
        cpu_s=sum(_number(row, "cpu_time") for row in rows),
        peak_mb=max(_number(row, "max_rss") for row in rows),
    )


def _number(row: dict[str, str], column: str) -> float:
    """A cell; 0 where Snakemake wrote NA or "-" because the job ended before its first sample."""
    try:
        return float(row.get(column) or 0)
    except ValueError:
        return 0.0


def print_times(study: Path) -> None:
    """Print the table of time by stage."""
    from rich.console import Console
    from rich.table import Table

    stages = read_times(study)
    table = Table("stage", show_footer=True)
    table.columns[0].footer = "total"
    totals = (
        ("jobs", str(sum(s.jobs for s in stages))),
        ("wall s", f"{sum(s.wall_s for s in stages):.0f}"),
        ("CPU s", f"{sum(s.cpu_s for s in stages):.0f}"),
        ("peak MB", f"{max(s.peak_mb for s in stages):.0f}"),
    )
    for header, footer in totals:
        table.add_column(header, footer=footer, justify="right")
    for s in stages:
        table.add_row(s.stage, str(s.jobs), f"{s.wall_s:.0f}", f"{s.cpu_s:.0f}", f"{s.peak_mb:.0f}")
    Console().print(table)


def times_command(argv: Sequence[str]) -> int:
    """`terraprobe times FOLDER`."""
    import argparse

    parser = argparse.ArgumentParser(prog="terraprobe times", description="Time by stage of a finished run.")
    parser.add_argument("study", type=Path, metavar="FOLDER", help="results of a study, such as results/quickstart")
    print_times(parser.parse_args(argv).study)
    return 0
