"""Colours of land-cover classes, the same in every map and figure."""

from collections.abc import Iterator, Sequence
from colorsys import hsv_to_rgb
from itertools import chain, count
from types import MappingProxyType

_WORLDCOVER = MappingProxyType(
    {
        "tree": "#006400", "shrub": "#ffbb22", "grass": "#ffff4c", "crop": "#f096ff", "built": "#fa0000",
        "bare": "#b4b4b4", "snow": "#f0f0f0", "water": "#0064c8", "wetland": "#0096a0", "mangrove": "#00cf75",
        "moss": "#fae6a0",
    }
)  # fmt: skip
"""ESA WorldCover product user manual, table 3."""

_ALIKE = MappingProxyType(
    {
        "trees": "tree", "forest": "tree", "woods": "tree", "shrubland": "shrub", "scrub": "shrub",
        "grassland": "grass", "grasslands": "grass", "croplands": "crop", "crops": "crop", "farm": "crop",
        "urban": "built", "residential": "built", "barren": "bare", "wetlands": "wetland",
    }
)  # fmt: skip
"""Names of other schemes that take the colour of a class of WorldCover."""

_OTHERS = (
    "#8c564b", "#98df8a", "#e377c2", "#17becf", "#bcbd22", "#ff7f0e", "#9467bd", "#1f77b4", "#d62728", "#7f7f7f",
    "#c49c94", "#2ca02c",
)  # fmt: skip
"""For classes of any other name, in turn."""

UNKNOWN_COLOUR = "#000000"
"""Of pixels without a class."""


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour of its own for each class, as `#rrggbb`.

    Args:
        classes: names, in order.
    """
    found: dict[str, str] = {}
    for name in classes:
        own = _WORLDCOVER.get(_ALIKE.get(name, name))
        found[name] = own if own and own not in found.values() else ""
    without = [name for name, colour in found.items() if not colour]
    return found | dict(zip(without, chain(_OTHERS, _further()), strict=False))


def _further() -> Iterator[str]:
    """Colours without an end: hues by the golden ratio, which puts each far from those before it."""
    for place in count():
        parts = hsv_to_rgb(place * 0.618034 % 1, 0.5 + 0.25 * (place % 3), 0.85 - 0.15 * (place % 4))
        yield "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of `#rrggbb`."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return red, green, blue
