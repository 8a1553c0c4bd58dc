"""The chip store: integer `.npy` shards laid out so that one channel of one chip is one contiguous read.

A store is a folder: `<shard>.npy` with axes (chip, channel, y, x), `<shard>.valid.npy` with axes (chip, channel),
the share of observed pixels in [0, 1] (0: the channel is missing at that chip), and `spec.json`, which is written
last and lists every file with its bytes and SHA-256. A store without `spec.json` is not a store yet.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import atomic_path, read_json, sha256_file, write_json
from terraprobe.classmap import ClassMap, label_layer
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer

MIN_VALID = 0.5
"""A channel of a chip is usable when at least this share of its pixels was observed."""

_WRITE_BYTES = 1 << 24


class ArrayWriter:
    """Write a `.npy` file row by row, in any order, without holding it in memory.

    The whole file is allocated first: a full disk is then an error with a message before any work is done, and
    not a bus error in a memory map.
    """

    def __init__(self, stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.flush()
        self._descriptor = stream.fileno()
        self._start = stream.tell()
        self._row = math.prod(shape[1:]) * dtype.itemsize
        if shape[0] * self._row:
            os.posix_fallocate(self._descriptor, self._start, shape[0] * self._row)

    def put(self, first: int, rows: NDArray[Any]) -> None:
        """Write consecutive rows from row `first` on.

        Raises:
            ValueError: another shape or type than the file's.
        """
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype or first + len(rows) > self.shape[0]:
            raise ValueError(f"rows {rows.shape} {rows.dtype} at {first} in an array {self.shape} {self.dtype}")
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        position = self._start + first * self._row
        while data:
            written = os.pwrite(self._descriptor, data[:_WRITE_BYTES], position)
            data, position = data[written:], position + written


@contextmanager
def open_array(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[ArrayWriter]:
    """Write `path` under a temporary name, flush it and rename it when the block ends without an error.

    Raises:
        TerraprobeError: the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        yield ArrayWriter(stream, shape, np.dtype(dtype))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a whole array as `.npy`.

    Raises:
        TerraprobeError: the disk is full or the folder cannot be written.
    """
    with open_array(path, array.shape, array.dtype.str) as writer:
        writer.put(0, array)


def write_shard(folder: Path, shard: str, pixels: NDArray[Any], valid: NDArray[np.float32]) -> None:
    """Write one shard.

    Args:
        folder: the store.
        shard: its name.
        pixels: integer, axes (chip, channel, y, x).
        valid: share of observed pixels, axes (chip, channel).

    Raises:
        TerraprobeError: the disk is full or the folder cannot be written.
    """
    write_array(folder / f"{shard}.npy", pixels)
    write_array(folder / f"{shard}.valid.npy", valid.astype(np.float32))


@dataclass(frozen=True)
class StoreLayer:
    """What the pixels of a store mean.

    Attributes:
        name: modality or label layer.
        bands: names of the channels; one name where their number varies.
        unit: of `DN * scale + offset`.
        scale: physical value of one DN.
        offset: physical value of DN 0.
        nodata: DN that means "not observed".
        dtype: integer type.
        variable: whether the number of channels differs from shard to shard and chip to chip.
    """

    name: str
    bands: tuple[str, ...]
    unit: str
    scale: float
    offset: float
    nodata: int
    dtype: str
    variable: bool


def seal(
    folder: Path, layer: StoreLayer, chip_px: int, shards: dict[str, int], classes: ClassMap | None = None
) -> None:
    """Check every shard, hash it and write `spec.json`: from now on the folder is a store.

    Args:
        folder: the store.
        layer: what its pixels mean.
        chip_px: pixels a side.
        shards: name to number of chips, in store order.
        classes: of an own label layer.

    Raises:
        TerraprobeError: a shard is absent, has another shape or type, or no chip has a single valid pixel.
    """
    records = []
    seen = False
    for name, chips in shards.items():
        pixels, valid = (_load(folder / file) for file in (f"{name}.npy", f"{name}.valid.npy"))
        channels = pixels.shape[1] if pixels.ndim == 4 else -1
        expected = (chips, channels if layer.variable else len(layer.bands), chip_px, chip_px)
        if pixels.shape != expected or valid.shape != expected[:2] or pixels.dtype != np.dtype(layer.dtype):
            raise TerraprobeError(
                f"{folder / name}.npy: {pixels.shape} {pixels.dtype} with valid shares {valid.shape}, expected "
                f"{expected} {layer.dtype} for {layer.name}. Delete this shard and run Snakemake again."
            )
        seen = seen or bool((valid > 0).any())
        files = [folder / f"{name}.npy", folder / f"{name}.valid.npy"]
        records.append(
            {
                "name": name,
                "chips": chips,
                "channels": channels,
                "files": {f.name: {"bytes": f.stat().st_size, "sha256": sha256_file(f)} for f in files},
            }
        )
    if not seen:
        raise TerraprobeError(
            f"{folder}: no chip has one valid pixel of {layer.name}: the tiles hold nodata only, or lie elsewhere. "
            "Look at the tiles, or take the layer out of the collection."
        )
    spec = {"layer": {**layer.__dict__, "bands": list(layer.bands)}, "chip_px": chip_px, "shards": records}
    own = {"classes": classes.model_dump(mode="json")} if classes else {}
    write_json(folder / "spec.json", {**spec, **own})


def _load(path: Path) -> NDArray[Any]:
    try:
        loaded: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return loaded
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run Snakemake again to cut this shard.") from error
    except (ValueError, EOFError) as error:
        raise TerraprobeError(f"{path}: not a whole .npy file ({error}). Delete it and run Snakemake again.") from error


class ChipStore:
    """A sealed store, memory-mapped. Row i is row i of the collection's `grid.parquet`.

    Attributes:
        layer: what the pixels mean.
        classes: of an own label layer; None for any other.
        chip_px: pixels a side.
        valid: share of observed pixels, float32, axes (chip, channel); 0 where a channel is missing.
    """

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self.folder = folder
        described = dict(spec["layer"])
        described["bands"] = tuple(described["bands"])
        self.layer = StoreLayer(**described)
        self.classes = ClassMap(**spec["classes"]) if "classes" in spec else None
        self.chip_px: int = spec["chip_px"]
        self.shards: list[dict[str, Any]] = spec["shards"]
        self.channels = max(s["channels"] for s in self.shards)
        counts = [s["chips"] for s in self.shards]
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    @classmethod
    def open(cls, folder: Path) -> "ChipStore":
        """Open a store and check that every file has the size it was sealed with.

        Raises:
            TerraprobeError: `spec.json` is absent, or a file is absent or has another size.
        """
        spec = read_json(folder / "spec.json")
        for shard in spec["shards"]:
            for name, record in shard["files"].items():
                path = folder / name
                size = path.stat().st_size if path.exists() else None
                if size != record["bytes"]:
                    found = "is absent" if size is None else f"has {size} bytes"
                    raise TerraprobeError(
                        f"{path} {found}, sealed with {record['bytes']}. Delete {folder / 'spec.json'} and this "
                        "shard, then run Snakemake again."
                    )
        return cls(folder, spec)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def label_layer(self) -> LabelLayer | None:
        """Classes or quantity of a label layer; None for a modality."""
        return label_layer(self.layer.name, self.classes)

    @property
    def bands(self) -> tuple[str, ...]:
        """Channel names; `coherence_0`, `coherence_1`, … where the number of channels varies."""
        if not self.layer.variable:
            return self.layer.bands
        return tuple(f"{self.layer.bands[0]}_{k}" for k in range(self.channels))

    @cached_property
    def _maps(self) -> list[NDArray[Any]]:
        return [_load(self.folder / f"{s['name']}.npy") for s in self.shards]

    @cached_property
    def valid(self) -> NDArray[np.float32]:
        """Share of observed pixels, axes (chip, channel)."""
        out = np.zeros((len(self), self.channels), np.float32)
        for start, shard in zip(self._starts, self.shards, strict=False):
            values = _load(self.folder / f"{shard['name']}.valid.npy")
            out[start : start + len(values), : values.shape[1]] = values
        return out

    def read(self, chip: int, channel: int) -> NDArray[Any]:
        """One channel of one chip: integer (chip_px, chip_px), nodata where the channel is missing."""
        shard = int(np.searchsorted(self._starts, chip, side="right")) - 1
        pixels = self._maps[shard]
        if channel >= pixels.shape[1]:
            return np.full((self.chip_px, self.chip_px), self.layer.nodata, self.layer.dtype)
        image: NDArray[Any] = pixels[chip - int(self._starts[shard]), channel]
        return image

    def digital(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """One (chip, channel) pair a row: integer DN (B, chip_px, chip_px)."""
        out = np.empty((len(chips), self.chip_px, self.chip_px), self.layer.dtype)
        for row, (chip, channel) in enumerate(zip(chips, channels, strict=True)):
            out[row] = self.read(int(chip), int(channel))
        return out

    def physical(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[np.float32]:
        """One (chip, channel) pair a row: float32 (B, chip_px, chip_px) in the layer's unit, NaN at nodata."""
        return self._to_physical(self.digital(chips, channels))

    def chip(self, chip: int) -> NDArray[np.float32]:
        """All channels of one chip: float32 (channels, chip_px, chip_px) in the layer's unit, NaN at nodata."""
        every = np.arange(self.channels)
        return self.physical(np.full_like(every, chip), every)

    def _to_physical(self, dn: NDArray[Any]) -> NDArray[np.float32]:
        values = dn.astype(np.float32) * np.float32(self.layer.scale) + np.float32(self.layer.offset)
        values[dn == self.layer.nodata] = np.nan
        return values

    def content_digest(self) -> str:
        """SHA-256 over the sealed hashes of all shards: equal for equal pixels."""
        hashes = [record["sha256"] for s in self.shards for _, record in sorted(s["files"].items())]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
