"""What every stage is: one function from files and a recipe to files.

A stage declares its arguments as keyword-only `In`, `Ins`, `Out`, `Outs` and `recipe`; the command line
(`terraprobe.cli`) builds its options from that signature, so the rule files, the shell and the tests all call
the same thing.
"""

import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

In = Annotated[Path, "input"]
Ins = Annotated[list[Path], "input"]
Out = Annotated[Path, "output"]
Outs = Annotated[list[Path], "output"]


class Recipe(BaseModel):
    """Parameters of a stage: typed, frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def progress(text: str) -> None:
    """Print one line of progress to the console."""
    print(text, file=sys.stderr, flush=True)
