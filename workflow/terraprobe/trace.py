"""`terraprobe trace PATH` and `terraprobe verify FOLDER`: where files came from, and whether they still fit.

How paths in records are found again, from any current folder, is said in `terraprobe.records`.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from terraprobe.artifacts import provenance_path
from terraprobe.errors import TerraprobeError
from terraprobe.records import RECORD, Problem, Record, Tree, absolute, aside

_SHORT = 12  # digits of a digest that are shown; the records hold all of them


class Trace:
    """The chain of artifacts behind one file.

    Attributes:
        lines: an indented tree; an artifact that stands in it already is named again without what is below it.
        problems: what does not fit.
    """

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self.problems: set[Problem] = set()
        self._tree = Tree(path)
        self._seen: set[Path] = set()
        self._versions: dict[tuple[tuple[str, str], ...], int] = {}
        self._visit(path, 0)

    def _visit(self, path: Path, depth: int, whole: bool = True) -> None:
        name = self._tree.name(path)
        if path in self._seen:
            self._say(depth, f"{name}  (above)")
            return
        self._seen.add(path)
        record, problems = self._tree.check(path)
        self.problems.update(problems)
        if record is None:
            self._leaf(path, depth)
            return
        used = tuple(sorted(record.versions.items()))
        self._versions[used] = self._versions.get(used, 0) + 1
        self._say(depth, f"{name}  {_described(record)}")
        if whole:
            self._raw(path, depth + 1)
        for given in sorted(record.inputs):
            self._visit(self._tree.root / given, depth + 1)

    def _leaf(self, path: Path, depth: int) -> None:
        """A file without a record: raw, or one that the problems name."""
        name, found = self._tree.name(path), self._tree.manifest_of(path)
        if found is None and path.is_file() and self._tree.is_own(path):
            self._say(depth, f"{name}  sha256 {self._tree.sha256(path)[:_SHORT]}  own file")
            return
        if found is None:
            state = "no readable record" if path.is_file() else "absent"
            self._say(depth, f"{name}  ({state})")
            return
        manifest, row = found
        self._say(depth, f"{name}  sha256 {row.sha256[:_SHORT]}  raw file of {row.layer}")
        self._visit(manifest, depth + 1, whole=False)

    def _raw(self, path: Path, depth: int) -> None:
        """Raw files of a manifest in one line a layer: there may be thousands, and those that do not fit are named."""
        if path.name == "spec.json":
            return  # its shards are its inputs
        layers: dict[str, int] = {}
        for row in self._tree.listed(path):
            layers[row.layer] = layers.get(row.layer, 0) + 1
        for layer, count in sorted(layers.items()):
            self._say(depth, f"{layer}: {count} raw files")

    def _say(self, depth: int, text: str) -> None:
        self.lines.append("  " * depth + text)

    def versions(self) -> list[str]:
        """Versions of the libraries, one line for each set of them."""
        return [
            f"versions behind {count} of them: " + ", ".join(f"{name} {version}" for name, version in used)
            for used, count in sorted(self._versions.items(), key=lambda item: -item[1])
        ]


def _described(record: Record) -> str:
    seeds = [f"{key} {value}" for key, value in _seeds(record.recipe)]
    code = f"code {record.code}" if record.code else "code not recorded (run by hand)"
    return "  ".join([f"sha256 {record.sha256[:_SHORT]}", record.stage, code, *seeds])


def _seeds(recipe: Any, inside: str = "") -> Iterator[tuple[str, Any]]:
    """Every seed of a recipe with its key."""
    if isinstance(recipe, dict):
        for key, value in sorted(recipe.items()):
            if key == "seed" or key.endswith("_seed"):
                yield inside + key, value
            else:
                yield from _seeds(value, f"{inside}{key}.")


def trace_command(argv: Sequence[str]) -> int:
    """`terraprobe trace PATH`."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="terraprobe trace",
        description="Print where a file came from, back to raw files; exit 1 where something no longer fits.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="such as results/quickstart/scores.parquet")
    path = absolute(parser.parse_args(argv).path)
    if path.name.endswith(RECORD):
        path = path.with_name(path.name.removesuffix(RECORD))
    if path.is_dir():
        raise TerraprobeError(f"{path}: a folder. Give a file, or hold all of it to its records: terraprobe verify.")
    if not path.is_file():
        raise TerraprobeError(f"{path}: not found. Give a file below a results folder.")
    traced = Trace(_recorded(path))
    print("\n".join([*traced.lines, "", *traced.versions()]))
    return _say_problems(sorted(traced.problems))


def _recorded(path: Path) -> Path:
    """The report's page for a table or figure that belongs to it, otherwise the file itself."""
    page = path.parent.parent / "index.html"
    if path.parent.name in ("tables", "figures") and page.parent.name == "report" and page.is_file():
        print(f"{path.name} belongs to the page {page.name} and has no record of its own; traced is the page:")
        return page
    return path


def verify(folder: Path) -> tuple[dict[str, int], list[Problem]]:
    """Hold every file below a results folder, and what it was made from, against the records.

    Args:
        folder: such as `results/quickstart`.

    Returns:
        Counts (`artifacts`, `raw files`, `stores`, `outside every record`), and everything that does not fit.
    """
    tree = Tree(folder)
    counts = dict.fromkeys(("artifacts", "raw files", "stores", "outside every record"), 0)
    problems: set[Problem] = set()
    todo = [f for f in sorted(folder.rglob("*")) if f.is_file()]
    known = set(todo)
    while todo:
        path = todo.pop()
        if path.name.endswith(RECORD):
            problems.update(_lonely(tree, path))
            continue
        # A user's own files may stand outside the run's folder.
        if path.is_relative_to(tree.root) and aside(path, _study(tree, path)):
            counts["outside every record"] += 1
            continue
        record, found = tree.check(path)
        problems.update(found)
        if record is None:
            counts["raw files"] += tree.manifest_of(path) is not None
            continue
        counts["artifacts"] += 1
        counts["stores"] += path.name == "spec.json"
        # Inputs that studies share stand outside the folder.
        beyond = [tree.root / name for name in record.inputs] + [row.path for row in tree.listed(path)]
        fresh = {f for f in beyond if f.is_file()} - known
        todo += sorted(fresh)
        known |= fresh
    return counts, sorted(problems)


def _study(tree: Tree, path: Path) -> Path:
    """Results folder of the study that a file belongs to, also where only a part of it is verified."""
    return tree.root.joinpath(*path.relative_to(tree.root).parts[:2])


def _lonely(tree: Tree, record: Path) -> list[Problem]:
    artifact = record.with_name(record.name.removesuffix(RECORD))
    if artifact.is_file():
        return []
    return [Problem(tree.name(artifact), f"absent, but its record {record.name} is there. Run Snakemake again.")]


def verify_command(argv: Sequence[str]) -> int:
    """`terraprobe verify FOLDER`."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="terraprobe verify",
        description="Hold every file below a results folder to its record; exit 1 where one does not fit.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as results/quickstart")
    folder = absolute(parser.parse_args(argv).folder)
    if not any(provenance_path(f).is_file() for f in folder.rglob("*") if f.is_file()):
        raise TerraprobeError(f"{folder}: no artifact with a record below it. Give the results folder of a study.")
    counts, problems = verify(folder)
    print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; {len(problems)} problems")
    return _say_problems(problems)


def _say_problems(problems: Sequence[Problem]) -> int:
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0
