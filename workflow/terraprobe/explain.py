"""Validation errors in words: the key, what was found, what is allowed."""

import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

_UNION_MEMBER = re.compile(r"(constrained-|literal\[|list\[|tuple\[|function-)")
"""How pydantic names the members of a union within the place of an error; they are no keys of the file."""

_PYDANTIC_WORDS = re.compile(r"^Input should be |^\w+ should have | after validation, not \d+$")

_STARTS_WITH_KEY = re.compile(r"[a-z_]\w*(\.\w+|\[[^\]]*\])*: ")


def explain(error: ValidationError, model: type[BaseModel], root: str = "") -> str:
    """Every wrong key of a validation error in words.

    Args:
        error: what pydantic found.
        model: what it checked.
        root: key of the model itself, where it is part of something larger.

    Returns:
        One line, or one indented line a key.
    """
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        line, *allowed = _describe(item, _key(item["loc"], model, root), model)
        found.setdefault(line, []).extend(allowed)
    lines = [line + " or ".join(allowed) for line, allowed in found.items()]
    return lines[0] if len(lines) == 1 else "\n  " + "\n  ".join(lines)


def _describe(item: Any, key: str, model: type[BaseModel]) -> list[str]:
    """Beginning of the line, and what is allowed where a union may allow several things."""
    start, inside = (f"{key}: ", f"{key}.") if key else ("", "")
    kind, value = item["type"], item["input"]
    shown = repr(value) if len(repr(value)) < 80 else type(value).__name__
    if kind == "extra_forbidden":
        text = f"{start}unknown key; allowed {', '.join(_fields_at(model, item['loc'][:-1]))}"
    elif kind == "missing":
        text = f"{start}required, but not given"
    elif kind == "union_tag_not_found":
        text = f"{inside}{_discriminator(item)}: required, but not given"
    elif kind == "union_tag_invalid":
        allowed = item["ctx"]["expected_tags"].replace("'", "")
        text = f"{inside}{_discriminator(item)}: found {item['ctx']['tag']!r}, allowed {allowed}"
    elif kind == "value_error":
        message = str(item["ctx"]["error"]).removeprefix(f"{key.rpartition('.')[2]}: ")
        text = (inside if _STARTS_WITH_KEY.match(message) else start) + message
    elif kind == "model_type":
        text = f"{start}found {shown}, allowed a mapping of {', '.join(_fields_at(model, item['loc']))}"
    else:
        return [f"{start}found {shown}, allowed: ", _PYDANTIC_WORDS.sub("", item["msg"])]
    return [text]


def _discriminator(item: Any) -> str:
    name: str = item["ctx"]["discriminator"]
    return name.strip("'")


def _key(loc: tuple[int | str, ...], model: type[BaseModel], root: str) -> str:
    key = root
    for part in _without_tags(model, loc):
        if isinstance(part, int):
            key += f"[{part}]"
        elif not _UNION_MEMBER.match(part):
            key += f".{part}" if key else part
    return key


def _without_tags(annotation: Any, loc: tuple[int | str, ...]) -> list[int | str]:
    """The place of an error without the names that choose a member of a union."""
    if not loc:
        return []
    origin = get_origin(annotation)
    if origin is Annotated:
        return _without_tags(get_args(annotation)[0], loc)
    if origin in (Union, UnionType):
        for member in get_args(annotation):
            if _tag(member) == loc[0]:
                return _without_tags(member, loc[1:])
    return [loc[0], *_without_tags(_inside(annotation, loc[0]), loc[1:])]


def _inside(annotation: Any, part: int | str) -> Any:
    """Annotation of a field of a model, or of an element of a list, tuple or dict; None where it is not known."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    inner = get_args(annotation)
    return inner[-1] if get_origin(annotation) in (list, dict) else inner[0] if inner else None


def _fields_at(annotation: Any, loc: tuple[int | str, ...]) -> list[str]:
    """Names of the keys that are allowed at a place of a model."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _fields_at(get_args(annotation)[0], loc)
    if origin in (Union, UnionType):
        chosen = [member for member in get_args(annotation) if loc and _tag(member) == loc[0]]
        return _fields_at(chosen[0], loc[1:]) if chosen else []
    if loc:
        return _fields_at(_inside(annotation, loc[0]), loc[1:])
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _tag(annotation: Any) -> str | None:
    """Value of `kind` or `probe` that selects a model of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for key in ("kind", "probe"):
            values = get_args(annotation.model_fields[key].annotation) if key in annotation.model_fields else ()
            if values:
                return str(values[0])
    return None
