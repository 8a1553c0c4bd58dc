"""The manifest of a source: which raw files it left, of which layer, with size and hash. Written last."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from terraprobe.artifacts import read_json, sha256_file, write_json
from terraprobe.errors import TerraprobeError


def write_manifest(
    manifest: Path, source: Mapping[str, Any], files: Iterable[tuple[str, str, Mapping[str, Any]]]
) -> None:
    """Describe files that stand below the manifest's folder.

    Args:
        manifest: JSON to write.
        source: what is true of all of them, such as dataset, version and licence.
        files: (name relative to the folder, layer, what is true of this file alone).
    """
    rows = []
    for name, layer, more in files:
        path = manifest.parent / name
        rows.append({"name": name, "layer": layer, "bytes": path.stat().st_size, "sha256": sha256_file(path), **more})
    write_json(manifest, {**source, "files": rows})


def layer_tiles(manifest: Path, layer: str) -> list[Path]:
    """The raw files of one layer, each with the bytes that it was written with.

    Raises:
        TerraprobeError: the manifest is absent, or a file of it is absent or has other bytes.
    """
    tiles = []
    for row in read_json(manifest)["files"]:
        if row["layer"] != layer:
            continue
        path = manifest.parent / row["name"]
        if not path.exists() or path.stat().st_size != row["bytes"] or sha256_file(path) != row["sha256"]:
            raise TerraprobeError(
                f"{path} {'differs from' if path.exists() else 'is absent, but stands in'} {manifest.name}. Raw files "
                f"are not edited: delete {manifest} and run Snakemake again to get it anew."
            )
        tiles.append(path)
    return tiles
