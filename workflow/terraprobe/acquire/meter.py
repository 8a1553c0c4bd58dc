"""How far a download is, in bytes and files."""

import threading
import time
from types import TracebackType

from terraprobe.stage import progress

EVERY_S = 10.0
"""Between two lines."""


class Meter:
    """Counts what several threads fetch, and says it now and then.

    Attributes:
        what: for people.
        files: how many there are.
        size: bytes of those that are not here yet, as far as known; 0 where not.
    """

    def __init__(self, what: str, files: int, size: int) -> None:
        self.what, self.files, self.size = what, files, size
        self._lock = threading.Lock()
        self._bytes = self._done = 0
        self._said = time.monotonic()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._say()

    def add(self, count: int) -> None:
        """So many bytes came."""
        with self._lock:
            self._bytes += count
            due = time.monotonic() - self._said > EVERY_S
        if due:
            self._say()

    def back(self, count: int) -> None:
        """So many bytes were thrown away."""
        with self._lock:
            self._bytes = max(0, self._bytes - count)

    def done(self, count: int) -> None:
        """So many files are whole."""
        with self._lock:
            self._done += count

    def say(self, text: str) -> None:
        """One line about something else."""
        progress(f"{self.what}: {text}")

    def _say(self) -> None:
        with self._lock:
            self._said = time.monotonic()
            of = f" of {self.size / 1e6:.1f}" if self.size else ""
            text = f"{self._done} of {self.files} files, {self._bytes / 1e6:.1f}{of} MB fetched"
        self.say(text)
