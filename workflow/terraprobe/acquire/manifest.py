"""The manifest of a source: which raw files it left, of which layer, with size and hash. Written last."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from terraprobe.artifacts import read_json, sha256_file, write_json
from terraprobe.errors import TerraprobeError


def write_manifest(
    manifest: Path, source: Mapping[str, Any], files: Iterable[tuple[str, str, Mapping[str, Any]]]
) -> None:
    """Describe files.

    Args:
        manifest: JSON to write.
        source: what is true of all of them, such as dataset, version and licence.
        files: (name, absolute or relative to the manifest's folder; layer; what is true of this file alone).
    """
    rows = []
    for name, layer, more in files:
        path = raw_path(manifest, name)
        rows.append({"name": name, "layer": layer, "bytes": path.stat().st_size, "sha256": sha256_file(path), **more})
    write_json(manifest, {**source, "files": rows})


def raw_path(manifest: Path, name: str) -> Path:
    """Where a file of a manifest is: `..` is taken off the path's text, since `results` may be a link elsewhere."""
    return Path(os.path.normpath(manifest.parent / name))


def listed_name(path: Path, manifest: Path) -> str:
    """How a manifest names a file: an absolute path stays so; a relative one becomes relative to the manifest."""
    return str(path) if path.is_absolute() else os.path.relpath(path, manifest.parent)


def layer_tiles(manifest: Path, layer: str) -> dict[Path, dict[str, Any]]:
    """The raw files of one layer, each with the bytes that it was written with, and what the manifest says of each.

    Raises:
        TerraprobeError: the manifest is absent, or a file of it is absent or has other bytes.
    """
    tiles = {}
    for row in read_json(manifest)["files"]:
        if row["layer"] != layer:
            continue
        path = raw_path(manifest, row["name"])
        if not path.exists() or path.stat().st_size != row["bytes"] or sha256_file(path) != row["sha256"]:
            raise TerraprobeError(
                f"{path} {'differs from' if path.exists() else 'is absent, but stands in'} {manifest.name}. Raw files "
                f"are not edited: delete {manifest} and run Snakemake again to get it anew."
            )
        tiles[path] = row
    return tiles
