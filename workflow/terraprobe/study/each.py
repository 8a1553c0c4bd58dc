"""Entries of a study file that say the same of several collections."""

from typing import Any

EACH = ("encoders", "evaluations")
"""Lists of a study whose entries may name `each`."""


def spread_entries(content: Any) -> Any:
    """Make one entry for each collection of `each`: `plain` of `[north, south]` is `plain_north` and `plain_south`.

    An encoder is then trained on that collection alone, under the arm that its name was; an evaluation judges it.
    `start` names the encoder of the same collection where that one is spread too.

    Args:
        content: what a study file holds; anything but a mapping is left to who checks it.

    Raises:
        ValueError: `each` is no list of names, or stands beside the key that it replaces.
    """
    if not isinstance(content, dict):
        return content
    entries = {key: content[key] for key in EACH if isinstance(content.get(key), list)}
    spread = {e.get("name") for e in entries.get("encoders", []) if isinstance(e, dict) and "each" in e}
    return content | {key: [one for entry in found for one in _spread(key, entry, spread)]
                      for key, found in entries.items()}  # fmt: skip


def _spread(key: str, entry: Any, spread: set[Any]) -> list[Any]:
    if not isinstance(entry, dict) or "each" not in entry:
        return [entry]
    name, own = entry.get("name"), "collections" if key == "encoders" else "collection"
    if own in entry:
        raise ValueError(f"{key}[{name}]: found {own} beside each, allowed: one of the two keys")
    names = entry["each"]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{key}[{name}].each: found {names!r}, allowed a list of names of collections")
    rest = {k: v for k, v in entry.items() if k != "each"}
    return [_of(key, rest, collection, spread) for collection in names]


def _of(key: str, entry: dict[str, Any], collection: str, spread: set[Any]) -> dict[str, Any]:
    name = entry.get("name")
    one = entry | ({"name": f"{name}_{collection}"} if name else {})
    if key == "evaluations":
        return one | {"collection": collection}
    start = {"start": f"{entry['start']}_{collection}"} if entry.get("start") in spread else {}
    return one | {"collections": [collection], "arm": name or ""} | start
