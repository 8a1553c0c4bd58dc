"""Training state on disk: written whole or not at all, checked before it is believed, the last two kept.

Several processes may share a folder (a killed Snakemake leaves its children running): every file is written under
a name with the process id and renamed, and equal steps of equal runs hold equal values, so that nothing needs a lock.
"""

import hashlib
import io
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from terraprobe.artifacts import alive, sha256_file, write_bytes
from terraprobe.stage import progress

KEEP = 2
"""States on disk: the newest, and the one before in case that the newest turns out broken."""

DIGITS = 16
"""Of the SHA-256 of a state, in its name."""

_NAME = re.compile(rf"step-\d+-[0-9a-f]{{{DIGITS}}}\.pt")


class StateFolder:
    """The states of one training job.

    Args:
        path: of the folder; its name holds the digest of everything that the result depends on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` steps and drop all but the last `KEEP`.

        Raises:
            TerraprobeError: the disk is full or the folder cannot be written.
        """
        # By way of memory: to a path or a stream, torch makes a RuntimeError without a number of a full disk.
        content = io.BytesIO()
        torch.save(state, content)
        final = self.path / f"step-{step:09d}-{hashlib.sha256(content.getbuffer()).hexdigest()[:DIGITS]}.pt"
        write_bytes(final, content.getbuffer())
        for old in self._files()[KEEP:]:
            old.unlink(missing_ok=True)
        return final

    def load(self) -> dict[str, Any] | None:
        """The newest whole state, None where there is none.

        A broken one is named on the console and passed over.
        """
        self._sweep()
        for path in self._files():
            try:
                if sha256_file(path)[:DIGITS] != path.stem.rpartition("-")[2]:
                    raise ValueError("its content does not fit the digest in its name")
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
                progress(f"{path}: broken checkpoint ({error}); passed over for the one before it")
                continue
            return state
        return None

    def keep_last(self) -> None:
        """Drop all but the newest state: the training is done."""
        for old in self._files()[1:]:
            old.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """States, newest first."""
        found = [path for path in self.path.glob("step-*.pt") if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def _sweep(self) -> None:
        """Remove what killed processes of this machine left half-written."""
        for path in self.path.glob(".*.part"):
            if not alive(path):
                path.unlink(missing_ok=True)
