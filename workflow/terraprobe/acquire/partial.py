"""What has come of a file so far, under a temporary name that one process at a time writes to."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from typing import Any, BinaryIO

from terraprobe.stage import progress

PART = 1 << 20
"""Bytes read and written at once."""


class Partial:
    """The beginning of a file.

    Attributes:
        path: the temporary name.
        stream: open there.
        size: bytes that are here.
        version: how the server calls what it is the beginning of; empty where it does not.
        total: bytes of the whole by the server's word; None where it does not say.
        done: whether it has gone to its final name.
    """

    def __init__(self, path: Path, stream: BinaryIO, algorithm: str) -> None:
        self.path, self.stream = path, stream
        self.size, self.version = 0, ""
        self.total: int | None = None
        self.done = False
        self._algorithm = algorithm
        self._sum = _new_sum(algorithm)
        stream.seek(0)
        while part := stream.read(PART):
            self._count(part)

    @property
    def checksum(self) -> str:
        """Of the bytes that are here, as hex; empty where none is taken."""
        return str(self._sum.hexdigest()) if self._sum is not None else ""

    def append(self, part: bytes) -> None:
        """Add bytes."""
        self.stream.write(part)
        self._count(part)

    def _count(self, part: bytes) -> None:
        if self._sum is not None:
            self._sum.update(part)
        self.size += len(part)

    def restart(self) -> None:
        """Throw all bytes away."""
        self.stream.seek(0)
        self.stream.truncate()
        self._sum, self.size, self.version = _new_sum(self._algorithm), 0, ""

    def require_space(self, count: int) -> None:
        """Refuse to begin what the disk cannot hold.

        Raises:
            OSError: ENOSPC, as if it had been tried.
        """
        free = shutil.disk_usage(self.path.parent).free
        if count > free:
            raise OSError(ENOSPC, f"{count / 1e6:.1f} MB to come, {free / 1e6:.1f} MB free")

    def finish(self, target: Path) -> None:
        """Give it its final name, once its bytes are on the disk."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.path.replace(target)
        self.done = True


def _new_sum(algorithm: str) -> Any:
    return new_hash(algorithm) if algorithm else None


def new_hash(algorithm: str) -> Any:
    """A hash object; no secret depends on it."""
    return hashlib.new(algorithm, usedforsecurity=False)


@contextmanager
def open_partial(target: Path, algorithm: str) -> Iterator[Partial]:
    """Open the temporary file of a target; it stays where it holds bytes.

    Args:
        target: the final name.
        algorithm: of its checksum; empty where none is known. None is taken then, and what an earlier process left is
            thrown away: nothing would tell that the second half is of another version than the first.
    """
    path = target.with_name(f".{target.stem}.download{target.suffix}")
    # The lock is a file of its own: HDF5 locks what it reads, and the content is checked before this lock is given up.
    with hold(target, f"{target.name}: another job fetches it; waiting"), path.open("a+b") as stream:
        if not algorithm:
            stream.truncate(0)
        partial = Partial(path, stream, algorithm)
        try:
            yield partial
        finally:
            if not partial.done and (partial.size == 0 or target.exists()):
                path.unlink(missing_ok=True)


@contextmanager
def hold(target: Path, waiting: str) -> Iterator[None]:
    """Keep every other process, and thread, from making the same file. A process that dies lets go of it.

    Args:
        target: the file that is made.
        waiting: said where another process makes it.
    """
    path = target.with_name(f".{target.name}.lock")
    while True:
        with path.open("a+b") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(waiting)
                fcntl.flock(stream, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                try:
                    yield
                finally:
                    path.unlink()  # who waits for it gets a new one
                return
