"""`terraprobe compare A B`: what differs between two results folders, and what that did to the scores."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terraprobe.artifacts import provenance_path, read_table, sha256_file
from terraprobe.errors import TerraprobeError
from terraprobe.records import RECORD, Record, absolute, aside, read_record

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 2000
"""Bootstrap resamples of a paired difference, as many as `gather_scores` takes by default."""

_DATA_STAGES = ("fetch-scene", "simulate-world", "simulate-places", "lay-grid", "seal-store")
_PAIRED = ("evaluation", "collection", "encoder", "modality", "task", "n_shots", "metric")
_ARM = ("evaluation", "collection", "encoder", "arm", "floor", "modality", "task", "n_shots", "metric")


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in both folders.

    Attributes:
        what: `recipe`, `code`, `data`, `versions` or `artifacts`.
        where: the artifact, or the stage where all its artifacts differ in the same way.
        text: what A has, what B has.
    """

    what: str
    where: str
    text: str


def differing_files(a: Path, b: Path) -> list[str]:
    """Files that are not byte for byte the same, or are in one folder only.

    Left aside is what two equal runs need not share: logs, benchmarks, costs and training state.

    Args:
        a: a results folder.
        b: another one.

    Returns:
        One line a file, with what is wrong.
    """
    files = [_exact_files(folder) for folder in (a, b)]
    lines = []
    for name in sorted({*files[0], *files[1]}):
        if name not in files[1]:
            lines.append(f"{name}: only in {a}")
        elif name not in files[0]:
            lines.append(f"{name}: only in {b}")
        elif not _same_bytes(a / name, b / name):
            lines.append(f"{name}: differs")
    return lines


def _exact_files(folder: Path) -> set[str]:
    files = (f for f in folder.rglob("*") if f.is_file())
    return {f.relative_to(folder).as_posix() for f in files if not aside(f, folder) or _of_page(f, folder)}


def _of_page(path: Path, folder: Path) -> bool:
    """Tables and figures have no record, but they are results."""
    return path.relative_to(folder).parts[:2] in (("report", "tables"), ("report", "figures"))


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and sha256_file(one) == sha256_file(other)


def read_records(folder: Path) -> dict[str, Record]:
    """Records of every artifact below a folder, by path relative to it.

    Raises:
        TerraprobeError: there is none, or one cannot be read.
    """
    records = {}
    for place in sorted(folder.rglob(f"*{RECORD}")):
        artifact = place.with_name(place.name.removesuffix(RECORD))
        try:
            records[artifact.relative_to(folder).as_posix()] = read_record(artifact)
        except TerraprobeError as error:
            raise TerraprobeError(f"{artifact}: {error}") from error
    if not records:
        raise TerraprobeError(f"{folder}: no artifact with a record below it. Give the results folder of a study.")
    return records


def differences(a: dict[str, Record], b: dict[str, Record]) -> list[Difference]:
    """What differs in recipes, code, data and versions; one entry where all artifacts of a stage say the same.

    Args:
        a: of `read_records`.
        b: of `read_records`.
    """
    both = sorted(a.keys() & b.keys())
    found = [Difference("artifacts", name, "only in A") for name in sorted(a.keys() - b.keys())]
    found += [Difference("artifacts", name, "only in B") for name in sorted(b.keys() - a.keys())]
    for name in both:
        for key, one, other in _leaves(a[name].recipe, b[name].recipe):
            found.append(Difference("recipe", f"{a[name].stage} {name}", f"{key}: {one} in A, {other} in B"))
    found += _by_stage("code", a, b, both, lambda record: {"digest": record.code})
    found += _data(a, b, both)
    return found + _by_stage("versions", a, b, both, lambda record: record.versions)


def _leaves(one: Any, other: Any, key: str = "") -> list[tuple[str, str, str]]:
    """Keys of two recipes whose values differ, with both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        inside = f"{key}." if key else ""
        return [leaf for k in keys for leaf in _leaves(one.get(k, _NONE), other.get(k, _NONE), f"{inside}{k}")]
    if one == other:
        return []
    said = ["not given" if value is _NONE else repr(value) for value in (one, other)]
    return [(key, said[0], said[1])]


_NONE = object()


def _by_stage(
    what: str,
    a: dict[str, Record],
    b: dict[str, Record],
    both: Sequence[str],
    values: Callable[[Record], dict[str, str]],
) -> list[Difference]:
    """Values of the same artifacts that differ, said once a stage."""
    found: dict[Difference, None] = {}
    for name in both:
        for key, one, other in _leaves(values(a[name]), values(b[name])):
            found[Difference(what, a[name].stage, f"{key}: {one} in A, {other} in B")] = None
    return list(found)


def _data(a: dict[str, Record], b: dict[str, Record], both: Sequence[str]) -> list[Difference]:
    """Raw manifests, grids and stores whose bytes differ, and raw inputs that studies share."""
    found = [
        Difference("data", name, f"sha256 {a[name].sha256[:12]} in A, {b[name].sha256[:12]} in B")
        for name in both
        if a[name].stage in _DATA_STAGES and a[name].sha256 != b[name].sha256
    ]
    for key, one, other in _leaves(_shared_inputs(a), _shared_inputs(b)):
        found.append(Difference("data", key, f"sha256 {one} in A, {other} in B"))
    return found


def _shared_inputs(records: dict[str, Record]) -> dict[str, str]:
    """Inputs from `resources/`, which no record of the folder itself covers."""
    inputs = (item for record in records.values() for item in record.inputs.items())
    return {name: digest[:12] for name, digest in inputs if Path(name).parts[:1] == ("resources",)}


def score_differences(a: Path, b: Path) -> tuple["pd.DataFrame", list[str]]:
    """Test scores of the trained encoders, B minus A, by each task's primary metric.

    The intervals are those of the report (`terraprobe.probes.summary`): both sides stand on the same resampled
    blocks of test chips, so they are given only where both have the same test chips and blocks.

    Args:
        a: a results folder.
        b: another one.

    Returns:
        One row a point of a few-shot curve that both have: `evaluation, collection, encoder, modality, task, n_shots,
        metric, a, b, difference, low, high, p`; and remarks on what could not be paired.
    """
    import pandas as pd

    from terraprobe.probes.summary import resample_points, summarise

    points, blocks = {}, {}
    for side, folder in (("a", a), ("b", b)):
        counts = _counts(folder)
        points[side] = summarise(read_table(folder / "scores.parquet"), {}).query("primary and arm == 'trained'")
        blocks[side] = counts[counts["init"] == "trained"]
    keys = list(_PAIRED)
    merged = points["a"].merge(points["b"], on=keys, how="outer", suffixes=("_a", "_b"), indicator=True)
    both = merged[merged["_merge"] == "both"]
    remarks = [
        f"{count} points of the curves are only in {side}"
        for side, mark in (("A", "left_only"), ("B", "right_only"))
        if (count := int((merged["_merge"] == mark).sum()))
    ]
    samples = resample_points(pd.concat([_named(blocks["a"], "A"), _named(blocks["b"], "B")]), RESAMPLES, seed=0)
    cells = [_test_blocks(blocks[side]) for side in "ab"]
    same = {point for point in cells[0].keys() & cells[1].keys() if cells[0][point] == cells[1][point]}
    rows = [_paired(row, samples, same) for row in both.to_dict("records")]
    unpaired = sum(row["low"] is None for row in rows)
    if unpaired:
        remarks.append(
            f"{unpaired} points stand on other test chips or blocks in A than in B, or have no score: no interval"
        )
    columns = [*keys, "a", "b", "difference", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns), remarks


def _counts(folder: Path) -> "pd.DataFrame":
    import pandas as pd

    files = sorted(folder.glob("scores/*/*.blocks.parquet"))
    if not files:
        raise TerraprobeError(f"{folder / 'scores'}: no counts (*.blocks.parquet). Run the study to its end first.")
    frames = [read_table(f) for f in files]
    merged: pd.DataFrame = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)
    return merged


def _named(blocks: "pd.DataFrame", side: str) -> "pd.DataFrame":
    """Counts of one side as those of encoders of its own, so that both sides share one resampled world."""
    return blocks.assign(encoder=blocks["encoder"] + "@" + side)


def _test_blocks(blocks: "pd.DataFrame") -> dict[Any, set[tuple[Any, ...]]]:
    """Test blocks of each point with their chips of either class: equal names may mean other ground elsewhere."""
    cell = ["block", "n_pos", "n_neg"]
    points = blocks.groupby(list(_PAIRED[:-1]))
    return {key: set(rows[cell].itertuples(index=False, name=None)) for key, rows in points}


def _paired(row: dict[Any, Any], samples: Any, same: set[Any]) -> dict[str, Any]:
    """One point of both sides; with an interval where `same` holds it and the test chips are the same."""
    from terraprobe.statistics import interval, p_value

    point: dict[str, Any] = {name: row[name] for name in _PAIRED}
    difference = row["value_b"] - row["value_a"]
    point |= {"a": row["value_a"], "b": row["value_b"], "difference": difference, "low": None, "high": None, "p": None}
    paired = row["test_set_a"] == row["test_set_b"] and tuple(row[name] for name in _PAIRED[:-1]) in same
    if not paired or math.isnan(difference):
        return point
    named = {**point, "arm": "trained", "floor": ""}
    one, other = (
        samples[tuple({**named, "encoder": f"{row['encoder']}@{side}"}[name] for name in _ARM)] for side in "AB"
    )
    low, high = interval(other - one)
    return {**point, "low": low, "high": high, "p": p_value(other - one)}


def compare_command(argv: Sequence[str]) -> int:
    """`terraprobe compare A B [--exact]`."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="terraprobe compare",
        description="What differs between two results folders: recipes, code, data, versions and test scores.",
    )
    parser.add_argument("a", type=Path, metavar="A", help="results of a study, such as results/quickstart")
    parser.add_argument("b", type=Path, metavar="B", help="other results")
    parser.add_argument(
        "--exact", action="store_true", help="exit 1 unless every file is equal byte for byte (cost and logs aside)"
    )
    given = parser.parse_args(argv)
    a, b = (absolute(folder) for folder in (given.a, given.b))
    if given.exact:
        return _compare_exactly(a, b)
    found = differences(read_records(a), read_records(b))
    for what in ("artifacts", "recipe", "code", "data", "versions"):
        rows = [d for d in found if d.what == what]
        print(f"{what}: {'no difference' if not rows else ''}".rstrip())
        for row in rows:
            print(f"  {row.where}: {row.text}")
    _print_scores(a, b)
    return 0


def _compare_exactly(a: Path, b: Path) -> int:
    for folder in (a, b):
        if not any(provenance_path(f).is_file() for f in folder.rglob("*") if f.is_file()):
            raise TerraprobeError(f"{folder}: no artifact with a record below it. Give the results folder of a study.")
    lines = differing_files(a, b)
    for line in lines:
        print(line, file=sys.stderr)
    print(f"{len(_exact_files(a) & _exact_files(b))} files in both; {len(lines)} differ or are on one side only")
    return 1 if lines else 0


def _print_scores(a: Path, b: Path) -> None:
    """Print paired differences, or why there are none."""
    import pandas as pd

    lacking = [str(folder) for folder in (a, b) if not (folder / "scores.parquet").is_file()]
    if lacking:
        print(f"scores: not compared, no scores.parquet in {', '.join(lacking)}")
        return
    without = [str(folder) for folder in (a, b) if not len(read_table(folder / "scores.parquet"))]
    if without:
        print(f"scores: not compared, no forests in {', '.join(without)}")
        return
    rows, remarks = score_differences(a, b)
    print("scores of trained encoders on the test chips, B minus A [95 % interval over blocks of test chips]:")
    for row in rows.to_dict("records"):
        shots = row["n_shots"] or "full"
        name = f"{row['evaluation']} {row['encoder']} {row['modality']} {row['task']} {shots} {row['metric']}"
        ends = "" if pd.isna(row["low"]) else f" [{row['low']:+.4f}, {row['high']:+.4f}]"
        print(f"  {name}: {row['a']:.4f}, {row['b']:.4f}: {row['difference']:+.4f}{ends}")
    for remark in remarks:
        print(f"  {remark}")
