"""Files between stages: written whole or not at all, deterministic, with a record of where they came from.

Every artifact `name` has a sibling `name.prov.json` with the digests of its inputs, its recipe and the code that
made it. Wall times and hosts are not part of it: two runs of one study give equal bytes.
"""

import glob
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` only when the block ends without an error.

    The data are flushed to disk before the rename, so that neither a kill nor a power cut leaves a partial file
    under the final name. The temporary name holds the process id: an orphan of a killed run cannot write into
    this one's file, and what a dead process left is swept away.

    Raises:
        TerraprobeError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if not alive(stale):
            stale.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError as error:
        # An error that names other files alone, such as one that the block reads, says nothing of this one.
        named = {str(name) for name in (error.filename, error.filename2) if name is not None}
        if (not named or str(temporary) in named) and error.errno in _DISK_ERRORS:
            raise _unwritable(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> TerraprobeError:
    return TerraprobeError(
        f"{path}: cannot be written ({error.strerror}). Nothing was kept under that name. "
        "Free space or mend the permissions, then run the same command again."
    )


def alive(temporary: Path) -> bool:
    """Whether the process whose id stands in a temporary name still runs on this machine."""
    pid = temporary.suffixes[-2].removeprefix(".")
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


_DISK_ERRORS = {28, 122, 13, 30, 27}  # ENOSPC, EDQUOT, EACCES, EROFS, EFBIG


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file that was made in memory."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Write `content` as JSON with sorted keys; NaN, which JSON does not know, is an error of ours."""
    write_bytes(path, (json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n").encode())


def write_arrays(path: Path, arrays: "Mapping[str, NDArray[Any]]") -> None:
    """Write a NumPy archive (`.npz`), with equal bytes for equal content."""
    import numpy as np

    archive, content = io.BytesIO(), dict[str, Any](arrays)
    np.savez(archive, **content)
    write_bytes(path, archive.getvalue())


def read_arrays(path: Path) -> "dict[str, NDArray[Any]]":
    """Read a NumPy archive.

    Raises:
        TerraprobeError: the file is absent or broken.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise TerraprobeError(f"{path}: not a whole NumPy archive ({error}). Delete it and run again.") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        TerraprobeError: the file is absent or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TerraprobeError(f"{path}: not JSON ({error}). Delete it and run Snakemake again.") from error


def write_table(path: Path, frame: "pd.DataFrame", metadata: Mapping[str, str] | None = None) -> None:
    """Write a table as Parquet, a GeoDataFrame as GeoParquet, with equal bytes for equal content.

    Args:
        path: where to.
        frame: the table; its index is not written.
        metadata: key-value pairs for the Parquet schema.
    """
    import geopandas as gpd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(frame, gpd.GeoDataFrame):
        # GeoPandas has no public hook for schema metadata, so its own Arrow export is taken and extended.
        table = pa.table(frame.to_arrow(index=False, geometry_encoding="WKB"))
        geo = _geoparquet_metadata(frame)
        table = table.cast(_plain_geometry(table.schema, frame.geometry.name))
    else:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        geo = {}
    merged = {**(table.schema.metadata or {}), **geo}
    merged.update({key.encode(): value.encode() for key, value in (metadata or {}).items()})
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(merged), temporary, compression="zstd")


def _plain_geometry(schema: Any, column: str) -> Any:
    import pyarrow as pa

    return pa.schema([pa.field(f.name, pa.binary()) if f.name == column else f for f in schema])


def _geoparquet_metadata(frame: Any) -> dict[bytes, bytes]:
    """GeoParquet 1.0.0 file metadata for a frame with one WKB geometry column."""
    column = {
        "encoding": "WKB",
        "geometry_types": sorted(set(frame.geometry.geom_type.dropna())),
        "crs": frame.crs.to_json_dict() if frame.crs is not None else None,
    }
    if frame.geometry.notna().any():
        column["bbox"] = [float(v) for v in frame.total_bounds]
    geo = {
        "version": "1.0.0",
        "primary_column": frame.geometry.name,
        "columns": {frame.geometry.name: column},
    }
    return {b"geo": json.dumps(geo, sort_keys=True).encode()}


def read_table(path: Path) -> Any:
    """Read a Parquet or GeoParquet table.

    Returns:
        A `geopandas.GeoDataFrame` where the file says that it holds a geometry, else a `pandas.DataFrame`.

    Raises:
        TerraprobeError: the file is absent or broken.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        if b"geo" in _parquet_metadata(path):
            import geopandas as gpd

            return gpd.read_parquet(path)
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise TerraprobeError(f"{path}: not a whole Parquet file ({error}). Delete it and run again.") from error


def _parquet_metadata(path: Path) -> dict[bytes, bytes]:
    import pyarrow.parquet as pq

    return dict(pq.read_schema(path).metadata or {})


def table_metadata(path: Path) -> dict[str, str]:
    """Key-value metadata of a Parquet file, as text."""
    return {key.decode(): value.decode() for key, value in _parquet_metadata(path).items()}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(content: object) -> str:
    """SHA-256 of a JSON-able object with sorted keys, as hex."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def provenance_path(path: Path) -> Path:
    """Where the record of `path` stands."""
    return path.with_name(path.name + ".prov.json")


def record_provenance(outputs: Iterable[Path], inputs: Iterable[Path], stage: str, recipe: object, code: str) -> None:
    """Write the provenance record of every output.

    Args:
        outputs: files that the stage has just written.
        inputs: files that it read.
        stage: its command, such as `cut-chips`.
        recipe: its parameters, JSON-able.
        code: digest of the project's modules that it runs (`terraprobe.digest`).
    """
    sources = {str(path): sha256_file(path) for path in sorted(inputs)}
    for path in outputs:
        content = {
            "artifact": path.name,
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
            "stage": stage,
            "recipe": recipe,
            "code": code,
            "inputs": sources,
            "versions": _versions(),
        }
        write_json(provenance_path(path), content)


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    names = ("numpy", "pandas", "rasterio", "scikit-learn", "terraprobe", "torch")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
