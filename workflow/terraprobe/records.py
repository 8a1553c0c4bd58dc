"""Reading the records that stand beside artifacts, and what no longer fits them.

A file of a results tree is known in one of three ways: by its own record (`<name>.prov.json`), as a raw file by the
manifest of its source (`tiles/<shard>.json`, `manifest.json`; `tiles/<layer>.json` lists a user's own files, which may
stand anywhere), or as something that a run leaves outside every record (`aside`): logs, benchmarks, cost, training
state, and the tables, figures and page of costs that stand beside the report's page. Any other file is foreign.

Paths in records are relative to the folder that Snakemake ran in (its `--directory`), whatever the current folder is
now. That folder is told from where the artifact stands: it is what comes before `results/` or `resources/downloads/`
in its path, the last of these where there are several. A tree that is moved as a whole therefore stays readable.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraprobe.artifacts import provenance_path, sha256_file
from terraprobe.errors import TerraprobeError

RECORD = ".prov.json"
_ASIDE = re.compile(r"(logs|benchmarks)/.+|encoders/[^/]+/(cost\.json|state-[^/]+/.+)|report/(tables|figures|cost)/.+")
_KEYS = {"artifact": str, "bytes": int, "code": str, "inputs": dict, "sha256": str, "stage": str, "versions": dict}


@dataclass(frozen=True)
class Record:
    """What `<name>.prov.json` says.

    Attributes:
        sha256: of the artifact.
        bytes: its size.
        stage: command that made it.
        recipe: parameters of the command.
        code: digest of the modules behind it.
        inputs: path, relative to the folder of the run, to SHA-256.
        versions: library to version.
    """

    sha256: str
    bytes: int
    stage: str
    recipe: Any
    code: str
    inputs: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True)
class Listed:
    """A file that a manifest or a store's `spec.json` lists.

    Attributes:
        path: where it must stand.
        sha256: of its bytes.
        layer: its layer in a manifest, its shard in a store.
    """

    path: Path
    sha256: str
    layer: str


@dataclass(frozen=True, order=True)
class Problem:
    """Something that does not fit.

    Attributes:
        path: of the file, relative to the folder of the run where it stands below it.
        what: what was found, and what to do.
    """

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def absolute(path: Path) -> Path:
    """A path from the root, without `..`; links are kept, since `results` itself may be one to a larger disk."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)


def run_folder(path: Path) -> Path:
    """The folder that a run had as its working directory.

    Args:
        path: an artifact or a folder below `results/` or `resources/downloads/`.

    Raises:
        TerraprobeError: the path is below neither.
    """
    parts = absolute(path).parts
    for k in range(len(parts) - 1, 0, -1):
        if parts[k] == "results" or parts[k : k + 2] == ("resources", "downloads"):
            return Path(*parts[:k])
    raise TerraprobeError(
        f"{path}: not below results/ or resources/downloads/, so what its record calls its inputs cannot be found. "
        "Give a path in a results tree, such as results/quickstart/scores.parquet."
    )


def aside(path: Path, results: Path) -> bool:
    """Whether a file is one that a run leaves outside every record.

    Args:
        path: the file.
        results: the results folder of its study.
    """
    return path.is_relative_to(results) and _ASIDE.fullmatch(path.relative_to(results).as_posix()) is not None


def read_record(path: Path) -> Record:
    """Read the record of an artifact.

    Args:
        path: of the artifact.

    Raises:
        TerraprobeError: the record is not whole, or is that of another file. Says so without the path.
    """
    place = provenance_path(path)
    remedy = f"Delete it and {path.name}, then run Snakemake again"
    try:
        content = json.loads(place.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TerraprobeError(f"its record {place.name} is not whole JSON ({error}). {remedy}.") from error
    kinds = content if isinstance(content, dict) else {}
    wrong = [key for key, kind in _KEYS.items() if not isinstance(kinds.get(key), kind)]
    if wrong or "recipe" not in kinds:
        raise TerraprobeError(f"its record {place.name} lacks {', '.join(wrong or ['recipe'])}. {remedy}.")
    if content["artifact"] != path.name:
        raise TerraprobeError(f"its record {place.name} is that of {content['artifact']}. {remedy}.")
    return Record(**{key: content[key] for key in Record.__dataclass_fields__})


class Tree:
    """The files around one results folder, each hashed at most once.

    Attributes:
        root: the folder of the run.
    """

    def __init__(self, path: Path) -> None:
        self.root = run_folder(path)
        self._hashes: dict[Path, str] = {}
        self._lists: dict[Path, list[Listed]] = {}
        self._broken: set[Path] = set()
        self._raw: dict[Path, tuple[Path, Listed]] = {}
        self._searched: set[Path] = set()

    def name(self, path: Path) -> str:
        """A path as records write it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file as it is now."""
        if path not in self._hashes:
            self._hashes[path] = sha256_file(path)
        return self._hashes[path]

    def listed(self, path: Path) -> list[Listed]:
        """Files that a manifest or a `spec.json` lists; none for any other file."""
        if path.suffix != ".json" or path.name.endswith(RECORD):
            return []
        if path not in self._lists:
            rows = _read_list(path)
            self._lists[path] = rows or []
            if rows is None:
                self._broken.add(path.parent)
            if path.name != "spec.json":
                self._raw.update({row.path: (path, row) for row in self._lists[path]})
        return self._lists[path]

    def manifest_of(self, path: Path) -> tuple[Path, Listed] | None:
        """The manifest that lists a raw file, and what it says of it: one that was read already, or one near it."""
        for folder in (path.parent, path.parent.parent):
            if path not in self._raw and folder not in self._searched:
                self._searched.add(folder)
                for manifest in sorted(folder.glob("*.json")) if folder.is_dir() else []:
                    self.listed(manifest)
        return self._raw.get(path)

    def is_own(self, path: Path) -> bool:
        """Whether a file is the user's own, outside what runs write: the records that name it hold its digest."""
        parts = path.relative_to(self.root).parts if path.is_relative_to(self.root) else ()
        return parts[:1] != ("results",) and parts[:2] != ("resources", "downloads")

    def check(self, path: Path) -> tuple[Record | None, list[Problem]]:
        """Hold a file against its record, its inputs and what it lists.

        Returns:
            Its record, None where it has none that can be read; everything that does not fit.
        """
        name = self.name(path)
        if not path.is_file():
            return None, [Problem(name, "absent, but listed or recorded as an input. Run Snakemake again to make it.")]
        if not provenance_path(path).is_file():
            return None, self._check_raw(path)
        try:
            record = read_record(path)
        except TerraprobeError as error:
            return None, [Problem(name, str(error))]
        problems = []
        if self.sha256(path) != record.sha256:
            found = f"changed since {record.stage} wrote it: sha256 {self.sha256(path)[:12]}, its record says"
            remedy = "Restore it, or delete it and run Snakemake again."
            problems.append(Problem(name, f"{found} {record.sha256[:12]}. {remedy}"))
        for given, digest in sorted(record.inputs.items()):
            problems += self._check_input(name, self.root / given, digest)
        for row in self.listed(path):
            problems += self._check_listed(path, row)
        return record, problems

    def _check_raw(self, path: Path) -> list[Problem]:
        found = self.manifest_of(path)
        if found is not None:
            return self._check_listed(*found)
        if self._broken & {path.parent, path.parent.parent}:
            return []  # its manifest cannot be read, which is the problem to name, not each file of it
        if self.is_own(path):
            return []
        what = "foreign: it has no record, and no manifest lists it. Delete it, or make it by a stage of the pipeline."
        return [Problem(self.name(path), what)]

    def _check_input(self, name: str, path: Path, digest: str) -> list[Problem]:
        source = self.name(path)
        if not path.is_file():
            what = f"absent, though {name} was made from it. Run Snakemake again to make it."
            return [Problem(source, what)]
        if self.sha256(path) != digest:
            what = f"rewritten after {name} was made from it: sha256 {self.sha256(path)[:12]} now, {digest[:12]} then."
            return [Problem(source, f"{what} Run Snakemake again, or delete {name} if no study needs it.")]
        return []

    def _check_listed(self, manifest: Path, row: Listed) -> list[Problem]:
        name, listing = self.name(row.path), self.name(manifest)
        if not row.path.is_file():
            return [Problem(name, f"absent, but {listing} lists it. Delete {listing} and run Snakemake again.")]
        if self.sha256(row.path) != row.sha256:
            found = f"sha256 {self.sha256(row.path)[:12]}, {listing} says {row.sha256[:12]}"
            remedy = f"It was changed after {listing} was written: restore it, or delete both and run Snakemake again."
            return [Problem(name, f"{found}. {remedy}")]
        return []


def _read_list(path: Path) -> list[Listed] | None:
    """Files of a manifest (`files`) or of a sealed store (`shards`); empty for other JSON, None where it is broken."""
    try:
        content = json.loads(path.read_text())
        if path.name == "spec.json":
            return [
                Listed(path.parent / name, row["sha256"], shard["name"])
                for shard in content["shards"]
                for name, row in shard["files"].items()
            ]
        rows = content["files"] if isinstance(content, dict) and "files" in content else []
        return [Listed(absolute(path.parent / row["name"]), row["sha256"], row["layer"]) for row in rows]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None  # its hash tells: the file has a record
