"""A study as commented YAML."""

from collections.abc import Mapping
from typing import Any

WIDTH = 120
"""Of a line without its comment; longer values get lines of their own."""

BLOCKS = ("recipe", "classes", "towers", "codes")
"""Keys whose content has lines of its own, where one line does not hold it."""


def study_text(head: list[str], study: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Write a study.

    Args:
        head: sentences above it.
        study: as parsed from YAML.
        comments: to a key (`split`), or to a key of one entry (`encoders.clip3`, `area.months`).
    """
    lines = [f"# {sentence}" for sentence in head] + [""]
    for key, value in study.items():
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            lines.append(_line("", key, value, comments.get(key, "")))
            continue
        lines += ["", f"{key}:" + (f"{' ' * 22}# {comments[key]}" if key in comments else "")]
        for entry in value:
            lines += _entry(entry, comments)
            lines.append("")
        lines.pop()
    return "\n".join(lines) + "\n"


def _entry(entry: Mapping[str, Any], comments: Mapping[str, str]) -> list[str]:
    lines = []
    for place, (key, value) in enumerate(entry.items()):
        indent = "  - " if place == 0 else "    "
        said = comments.get(f"{entry['name']}.{key}", "")
        lines += _value(indent, key, value, said)
    return lines


def _value(indent: str, key: str, value: Any, comment: str) -> list[str]:
    flow = _line(indent, key, value, comment)
    if key not in BLOCKS or not isinstance(value, dict) or len(flow) <= WIDTH:
        return [flow]
    deeper = " " * (len(indent) + 2)
    lines = [f"{indent}{key}:" + (f"  # {comment}" if comment else "")]
    for name, content in value.items():
        lines += _value(deeper, str(name), content, "")
    return lines


def _line(indent: str, key: str, value: Any, comment: str) -> str:
    line = f"{indent}{key}: {_flow(value)}"
    return f"{line.ljust(32)} # {comment}" if comment else line


def _flow(value: Any) -> str:
    """One line of YAML."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True).strip()
    return text.removesuffix("...").strip()
