"""Which sources of a study ask who you are, and whether the environment has an answer.

Read when a study is parsed, so nothing heavy is imported, nothing is asked and no secret is looked at twice.
"""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from netrc import NetrcParseError, netrc
from pathlib import Path

from terraprobe.acquire.earthengine.access import missing_access
from terraprobe.acquire.earthengine.products import PRODUCTS


@dataclass(frozen=True)
class Credential:
    """What a source asks for.

    Attributes:
        layers: modalities and label layers that come from it.
        missing: what the environment lacks and what to do, in one sentence; empty where it lacks nothing.
    """

    layers: frozenset[str]
    missing: Callable[[], str]


def missing_earthdata() -> str:
    """What is missing before ASF can be asked for a file."""
    if _has_earthdata():
        return ""
    return (
        "NASA Earthdata: no credentials for s1_coherence: make a token at https://urs.earthdata.nasa.gov/profile "
        "(Generate Token) and export EARTHDATA_TOKEN, or put `machine urs.earthdata.nasa.gov login … password …` into "
        "~/.netrc."
    )


def _has_earthdata() -> bool:
    """Whether there is an Earthdata token, or a `.netrc` with a login for it."""
    if os.environ.get("EARTHDATA_TOKEN", "").strip():
        return True
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return path.is_file() and "urs.earthdata.nasa.gov" in netrc(str(path)).hosts
    except (NetrcParseError, OSError):
        return False


CREDENTIALS = (
    Credential(frozenset(PRODUCTS), missing_access),
    Credential(frozenset({"s1_coherence"}), missing_earthdata),
)
"""Every source that asks for credentials."""


def missing_credentials(layers: Collection[str], table: Sequence[Credential] = CREDENTIALS) -> list[str]:
    """One sentence for each credential that is needed and the environment lacks.

    Args:
        layers: modalities and label layers that are still to be fetched.
        table: the sources.
    """
    asked = (row.missing() for row in table if row.layers.intersection(layers))
    return [sentence for sentence in asked if sentence]
