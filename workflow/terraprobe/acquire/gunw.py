"""Names of ARIA Sentinel-1 GUNW products: what they say of pair, track and version."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from terraprobe.errors import TerraprobeError

_NAME = re.compile(
    r"S1-GUNW-(?P<direction>[AD])-R-(?P<track>\d{3})-\w+-(?P<later>\d{8})_(?P<earlier>\d{8})-(?P<time>\d{6})-"
    r".+-v(?P<version>\d+_\d+_\d+)(\.nc)?"
)


@dataclass(frozen=True)
class Gunw:
    """What the name of an interferogram says.

    Attributes:
        direction: `A` or `D`, ascending or descending.
        track: relative orbit, three digits.
        later: the reference date, as YYYYMMDD.
        earlier: the secondary date, as YYYYMMDD.
        time: of day, as HHMMSS.
        version: of the product.
    """

    direction: str
    track: str
    later: str
    earlier: str
    time: str
    version: tuple[int, ...]

    @property
    def channel(self) -> str:
        """Name of the channel that all frames of one pair and track make up."""
        return f"{self.later}_{self.earlier}-{self.direction}{self.track}"

    @property
    def days(self) -> int:
        """Between the two dates."""
        later, earlier = (date.fromisoformat(day) for day in (self.later, self.earlier))
        return (later - earlier).days


def is_gunw(name: str) -> bool:
    """Whether this names a whole product, and not one of its layers, which ASF also offers by themselves."""
    return _NAME.fullmatch(name) is not None


def parse_gunw(name: str) -> Gunw:
    """Read the name of a product.

    Raises:
        TerraprobeError: it is none.
    """
    match = _NAME.fullmatch(name.rpartition("/")[2])
    if match is None:
        raise TerraprobeError(
            f"{name}: not the name of an ARIA interferogram "
            "(S1-GUNW-A-R-TTT-tops-REFDATE_SECDATE-HHMMSS-GEO-PP-hash-vX_Y_Z.nc), so its pair is unknown."
        )
    parts: Mapping[str, str] = match.groupdict()
    return Gunw(**{**parts, "version": tuple(int(part) for part in parts["version"].split("_"))})  # type: ignore[arg-type]


def newest(names: Iterable[str]) -> list[str]:
    """The newest version of each interferogram: equal direction, track, pair and time of day are one product.

    Args:
        names: of products or files, in order; of two with one version the last counts.

    Returns:
        One name for each, in the order of their first.
    """
    products: dict[tuple[str, str], tuple[tuple[int, ...], str]] = {}
    for name in names:
        product = parse_gunw(name)
        key = (product.channel, product.time)
        if key not in products or product.version >= products[key][0]:
            products[key] = (product.version, name)
    return [name for _, name in products.values()]
