"""Gather a batch out of several mapped files in one NumPy call, announced to the kernel where it is not cached.

Indexing the maps one by one costs more than to copy a chip of 64 px, and page faults that the kernel did not expect
read single channels from a cold disk far below its speed (docs/benchmarks.md).
"""

import errno
import os
from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Gatherer:
    """Mapped `.npy` files on one line of bytes; byte 0 is pixel 0 of the map with the lowest address.

    Args:
        maps: of `np.load(..., mmap_mode="r")`, C order, at least one.

    Attributes:
        starts: place of each map's pixel 0 on the line, in the order of `maps`.
    """

    def __init__(self, maps: list[Any]) -> None:
        addresses = np.array([m.ctypes.data for m in maps])
        self.starts: NDArray[np.intp] = addresses - addresses.min()
        self._order = np.argsort(addresses).tolist()
        self._sorted = self.starts[self._order].tolist()
        self._maps = maps  # kept, because the windows below hold addresses in them
        self._files = [open(m.filename, "rb", buffering=0) for m in maps]  # noqa: PTH123, SIM115
        self._windows: dict[int, NDArray[np.void]] = {}

    def gather(self, begins: NDArray[np.intp], length: int) -> NDArray[np.void]:
        """Copy slices of equal length.

        Args:
            begins: first byte of each slice on the line, (B,). Each slice must lie within one map: this is not
                checked here, and bytes between the maps are not ours to read.
            length: bytes of each slice.

        Returns:
            One slice an element, (B,), writable.
        """
        # One slice is tried: to try or to announce every one would cost as much as to copy what is cached.
        if len(begins) and not self._cached(int(begins[-1])):
            for begin in begins.tolist():
                file, offset = self._find(begin)
                os.posix_fadvise(file, offset, length, os.POSIX_FADV_WILLNEED)
        if length not in self._windows:
            self._windows[length] = self._slide(length)
        copied: NDArray[np.void] = self._windows[length][begins]
        return copied

    def _slide(self, length: int) -> NDArray[np.void]:
        """Element i is the `length` bytes that begin at place i of the line."""
        last = self._order[-1]
        end = int(self.starts[last]) + self._maps[last].nbytes
        first = self._maps[self._order[0]].reshape(-1).view(np.uint8)[:length].view(f"V{length}")
        return np.lib.stride_tricks.as_strided(first, (end - length + 1,), (1,), writeable=False)

    def _find(self, begin: int) -> tuple[int, int]:
        """Descriptor and offset of a place on the line."""
        rank = bisect_right(self._sorted, begin) - 1
        place = self._order[rank]
        return self._files[place].fileno(), self._maps[place].offset + begin - self._sorted[rank]

    def _cached(self, begin: int) -> bool:
        file, offset = self._find(begin)
        try:
            os.preadv(file, [bytearray(1)], offset, os.RWF_NOWAIT)
        except OSError as error:
            # A file system without such reads gets the kernel's own read-ahead.
            return error.errno != errno.EAGAIN
        return True
