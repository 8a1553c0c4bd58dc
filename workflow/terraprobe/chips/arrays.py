"""`.npy` files that are written row by row and read through a memory map."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import atomic_path
from terraprobe.errors import TerraprobeError

_WRITE_BYTES = 1 << 24
_READ_BYTES = 1 << 23


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


def load_array(path: Path) -> NDArray[Any]:
    """Map a `.npy` file, read-only.

    Raises:
        TerraprobeError: it is absent or cut short.
    """
    try:
        loaded: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return loaded
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run Snakemake again to cut this shard.") from error
    except (ValueError, EOFError) as error:
        raise TerraprobeError(f"{path}: not a whole .npy file ({error}). Delete it and run Snakemake again.") from error


def read_through(path: Path) -> None:
    """Read a file from begin to end, so that it is in the page cache while memory lasts.

    Each next part is announced before a part is read: the disk never waits (docs/benchmarks.md).
    """
    buffer = bytearray(_READ_BYTES)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            os.posix_fadvise(stream.fileno(), stream.tell(), count, os.POSIX_FADV_WILLNEED)
