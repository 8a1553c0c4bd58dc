"""Files out of and into the page cache, and whether they are."""

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SEQUENTIAL_BYTES = 1 << 23
"""Of one large read; as much as a kernel reads ahead on fast disks."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]


def cached_share(files: Iterable[Path]) -> float:
    """Share of the pages of files that are in the page cache (mincore).

    Raises:
        OSError: the kernel does not say.
    """
    there = pages = 0
    for path in files:
        mapped = np.memmap(path, np.uint8, "r")
        count = -(-mapped.size // mmap.PAGESIZE)
        found = np.zeros(count, np.uint8)
        if _libc.mincore(mapped.ctypes.data, mapped.size, found.ctypes.data):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        there, pages = there + int((found & 1).sum()), pages + count
    return there / pages


def drop(files: Iterable[Path]) -> None:
    """Ask the kernel to forget files. Pages that a map still holds stay."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_through(files: Iterable[Path], announce: bool = False) -> int:
    """Read files from begin to end by large reads; returns the bytes.

    Args:
        files: to read.
        announce: ask for the next part before each read, so that the disk never waits.
    """
    buffer = bytearray(SEQUENTIAL_BYTES)
    total = 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            position = 0
            while count := file.readinto(buffer):
                position += count
                if announce:
                    os.posix_fadvise(file.fileno(), position, SEQUENTIAL_BYTES, os.POSIX_FADV_WILLNEED)
            total += position
    return total
