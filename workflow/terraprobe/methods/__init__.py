"""Pretraining methods, one file each: the file's name is the method's. Importing this package imports none of them."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    from terraprobe.method import Method, TrainRecipe

METHODS = {
    path.stem: f"{__name__}.{path.stem}" for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem[0] != "_"
}
"""Method to the module that holds it. The module defines `METHOD`, a subclass of `terraprobe.method.Method`.

Listed from the folder and not written down: this module belongs to every encoder's code digest, and a new method
must not make the encoders of another one train again.
"""


def load_method(name: str) -> "type[Method]":
    """Import one method.

    Raises:
        TerraprobeError: there is no method of that name.
    """
    if name not in METHODS:
        raise TerraprobeError(f"method: found {name!r}, allowed {', '.join(METHODS)}")
    method: type[Method] = importlib.import_module(METHODS[name]).METHOD
    return method


def recipe_model(name: str) -> "type[TrainRecipe]":
    """The recipe model of one method. Does not import torch, so that a study is checked quickly.

    Raises:
        TerraprobeError: there is no method of that name.
    """
    return load_method(name).recipe_model
