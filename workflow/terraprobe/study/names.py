"""Names in a study file, and what is said of one that is not known."""

from typing import Annotated, Any

from pydantic import Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


def check_names(names: Any, allowed: Any, key: str = "", why: str = "") -> None:
    """Refuse names that are not allowed.

    Args:
        names: what was found.
        allowed: what may be there.
        key: where it was found; empty where pydantic says it.
        why: what makes the allowed ones allowed.

    Raises:
        ValueError: a name is not among the allowed ones, or one is given twice.
    """
    choices = list(allowed)
    where = f"{key}: " if key else ""
    for name in names:
        if name not in choices:
            raise ValueError(f"{where}found {name!r}, allowed{f' ({why})' if why else ''} {_listed(choices)}")
    if len(set(names)) < len(list(names)):
        raise ValueError(f"{where}found {list(names)}, allowed: each name once")


def _listed(choices: list[Any]) -> str:
    return ", ".join(str(c) for c in choices) if choices else "none here"
