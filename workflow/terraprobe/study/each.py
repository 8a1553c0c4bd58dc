"""Entries of a study file that say the same of several collections."""

from typing import Any

EACH = ("encoders", "evaluations")
"""Lists of a study whose entries may name `each`."""


def spread_entries(content: Any) -> Any:
    """Make one entry for each collection of `each`: `plain` of `[north, south]` is `plain_north` and `plain_south`.

    An encoder is then trained on that collection alone, under the arm that its name was, unless it names another; an
    evaluation judges it.
    `start` names the encoder of the same collection where that one is spread too.

    Args:
        content: what a study file holds; anything but a mapping is left to who checks it.

    Raises:
        ValueError: `each` is no list of names, stands beside the key that it replaces, or its entry has no name.
    """
    if not isinstance(content, dict):
        return content
    entries = {key: content[key] for key in EACH if isinstance(content.get(key), list)}
    spread = [e.get("name") for e in entries.get("encoders", []) if isinstance(e, dict) and "each" in e]
    return content | {key: [one for k, entry in enumerate(found) for one in _spread(f"{key}[{k}]", entry, spread)]
                      for key, found in entries.items()}  # fmt: skip


def _spread(where: str, entry: Any, spread: list[Any]) -> list[Any]:
    if not isinstance(entry, dict) or "each" not in entry:
        return [entry]
    own = "collections" if where.startswith("encoders") else "collection"
    if own in entry:
        raise ValueError(f"{where}: found {own} beside each, allowed: one of the two keys")
    names, name = entry["each"], entry.get("name")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{where}.each: found {names!r}, allowed a list of names of collections")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}.name: found {name!r}, allowed a name, which those of each are put behind")
    rest = {k: v for k, v in entry.items() if k != "each"}
    return [_of(own, rest, collection, spread) for collection in names]


def _of(own: str, entry: dict[str, Any], collection: str, spread: list[Any]) -> dict[str, Any]:
    name = {"name": f"{entry['name']}_{collection}"}
    if own == "collection":
        return entry | name | {"collection": collection}
    start = {"start": f"{entry['start']}_{collection}"} if entry.get("start") in spread else {}
    return {"arm": entry["name"]} | entry | name | {"collections": [collection]} | start
