"""Gather a batch out of several `.npy` files: plain copies of bytes, announced to the kernel where they are not cached.

Indexing a memory map row by row costs several times the copy itself, and page faults that the kernel did not expect
read a cold disk below its speed.
"""

import errno
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HUGE_BYTES = 1 << 22
"""From here on NumPy asks for huge pages for a new array, which a `bytearray` does not: filling it is then faster."""

_PROBES = 4
"""Slices of a batch that are tried: a batch of which one page is not cached is announced as a whole."""


class Gatherer:
    """The pixels of mapped `.npy` files, as bytes.

    Args:
        maps: of `np.load(..., mmap_mode="r")`, C order.
    """

    def __init__(self, maps: list[Any]) -> None:
        self._bytes = [memoryview(m.reshape(-1).view(np.uint8)) for m in maps]
        self._origins = [int(m.offset) for m in maps]
        self._files = [open(m.filename, "rb", buffering=0) for m in maps]  # noqa: PTH123, SIM115

    def gather(self, places: NDArray[np.intp], begins: NDArray[np.intp], length: int) -> NDArray[np.uint8]:
        """Copy slices of equal length, one after the other.

        Args:
            places: which file, (B,).
            begins: first byte of each slice, counted from the file's pixel 0, (B,).
            length: bytes of each slice.

        Returns:
            (B * length,), writable; shorter where a slice reaches past the end of its file.
        """
        slices = list(zip(places.tolist(), begins.tolist(), strict=True))
        if not self._cached(slices):
            for place, begin in slices:
                start = self._origins[place] + begin
                os.posix_fadvise(self._files[place].fileno(), start, length, os.POSIX_FADV_WILLNEED)
        parts = [self._bytes[place][begin : begin + length] for place, begin in slices]
        if len(parts) * length >= _HUGE_BYTES:
            return np.concatenate([np.frombuffer(part, np.uint8) for part in parts])
        return np.frombuffer(bytearray().join(parts), np.uint8)

    def _cached(self, slices: list[tuple[int, int]]) -> bool:
        """Whether some slices of a batch are cached: to announce what is there would cost as much as to copy it."""
        byte = bytearray(1)
        for place, begin in slices[:: max(1, len(slices) // _PROBES)]:
            try:
                os.preadv(self._files[place].fileno(), [byte], self._origins[place] + begin, os.RWF_NOWAIT)
            except OSError as error:
                # A file system without such reads gets the kernel's own read-ahead.
                return error.errno != errno.EAGAIN
        return True
