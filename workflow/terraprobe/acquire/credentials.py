"""Which sources of a study ask who you are, and whether the environment has an answer.

Read when a study is parsed, so nothing heavy is imported, nothing is asked and no secret is looked at twice.
"""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from netrc import NetrcParseError, netrc
from pathlib import Path


@dataclass(frozen=True)
class Credential:
    """What a source asks for.

    Attributes:
        layers: modalities and label layers that come from it.
        found: whether the environment has it.
        sentence: what to do where it has not.
    """

    layers: frozenset[str]
    found: Callable[[], bool]
    sentence: str


def has_earthdata() -> bool:
    """Whether there is an Earthdata token, or a `.netrc` with a login for it."""
    if os.environ.get("EARTHDATA_TOKEN", "").strip():
        return True
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return path.is_file() and "urs.earthdata.nasa.gov" in netrc(str(path)).hosts
    except (NetrcParseError, OSError):
        return False


CREDENTIALS = (
    Credential(
        frozenset({"s1_coherence"}),
        has_earthdata,
        "NASA Earthdata: no credentials for s1_coherence: make a token at https://urs.earthdata.nasa.gov/profile "
        "(Generate Token) and export EARTHDATA_TOKEN, or put `machine urs.earthdata.nasa.gov login … password …` into "
        "~/.netrc.",
    ),
)
"""Every source that asks for credentials."""


def missing_credentials(layers: Collection[str], table: Sequence[Credential] = CREDENTIALS) -> list[str]:
    """One sentence for each credential that is needed and the environment lacks.

    Args:
        layers: modalities and label layers that are still to be fetched.
        table: the sources.
    """
    return [row.sentence for row in table if row.layers.intersection(layers) and not row.found()]
