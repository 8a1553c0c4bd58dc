"""What every stage is: one function from files and a recipe to files.

A stage declares its arguments as keyword-only `In`, `Ins`, `Out`, `Outs` and `recipe`; the command line
(`terraprobe.cli`) builds its options from that signature, so the rule files, the shell and the tests all call
the same thing.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

In = Annotated[Path, "input"]
Ins = Annotated[list[Path], "input"]
Out = Annotated[Path, "output"]
Outs = Annotated[list[Path], "output"]


class Recipe(BaseModel):
    """Parameters of a stage: typed, frozen, unknown keys and numbers that are not finite refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def progress(text: str) -> None:
    """Print one line of progress to the console; one that was closed meanwhile costs no work."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError as error:
        if error.errno not in _CLOSED:
            raise
        # The line is still in the buffer: where it cannot be flushed at exit, Python ends with status 120.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


_CLOSED = {errno.EPIPE, errno.EIO}  # the reader of a pipe is gone; a terminal is gone
