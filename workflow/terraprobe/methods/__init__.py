"""Pretraining methods, one file each. Importing this table imports none of them."""

import importlib
from typing import TYPE_CHECKING

from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    from terraprobe.methods.base import Method, TrainRecipe

METHODS = {"clip3": "terraprobe.methods.clip3"}
"""Method to the module that holds it. The module defines `METHOD`, a subclass of `terraprobe.methods.base.Method`."""


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
