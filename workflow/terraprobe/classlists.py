"""Chip-level classes as text: one name, or several with a space between."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field


def _each_once(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(classes)) < len(classes):
        raise ValueError(f"found {list(classes)}, allowed: each class once")
    return classes


ClassNames = Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_each_once)]
"""Classes that a recipe names, in the order of a head's outputs."""


def has_classes(names: NDArray[Any], classes: Sequence[str], several: bool) -> NDArray[np.bool_]:
    """Which chips have a known class among those given; of several all must be.

    Args:
        names: text of each chip, empty where it is not known, (chip,).
        classes: that count.
        several: whether a chip may have several.
    """
    if not several:
        return np.isin(names, list(classes))
    allowed = set(classes)
    return np.array([bool(text) and set(str(text).split()) <= allowed for text in names], np.bool_)


def one_hot(names: NDArray[Any], classes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each chip has each class, (chip, class).

    Args:
        names: text of each chip, (chip,).
        classes: in order.
    """
    held = [set(str(text).split()) for text in names]
    return np.array([[name in own for name in classes] for own in held], np.bool_).reshape(len(names), len(classes))


def as_text(held: NDArray[np.bool_], classes: Sequence[str]) -> NDArray[Any]:
    """Names of the classes that each chip has, with a space between; empty where it has none.

    Args:
        held: (chip, class).
        classes: in order.
    """
    names = np.array(list(classes))
    return np.array([" ".join(names[row]) for row in held], object)


def class_numbers(names: NDArray[Any], classes: Sequence[str]) -> NDArray[np.intp]:
    """Number of each chip's class, -1 where it has none of them, (chip,)."""
    place = {name: k for k, name in enumerate(classes)}
    return np.array([place.get(str(name), -1) for name in names], np.intp)
