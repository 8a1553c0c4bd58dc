"""What is fetched over HTTP, and on which terms."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

from terraprobe.acquire.partial import new_hash
from terraprobe.errors import TerraprobeError

PARALLEL = 4
"""Files that one job fetches at once; the environment's TERRAPROBE_CONNECTIONS counts before it."""
MOST_PARALLEL = 32


class EnvironmentSession(requests.Session):
    """A session with the proxies and certificates of the environment, but never its `.netrc`.

    Requests reads all or nothing of them (`trust_env`); a `.netrc` would send passwords that nobody asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Add the proxies and certificates of the environment to the settings of a request."""
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        verify = bundle if verify in (True, None) and bundle else verify
        return super().merge_environment_settings(
            url, {**get_environ_proxies(url), **(proxies or {})}, stream, verify, cert
        )


@dataclass(frozen=True)
class RemoteFile:
    """A file somewhere else.

    Attributes:
        urls: its address, and mirrors in the order in which they are tried.
        bytes: its size; None where it is not known.
        sha256: as hex; empty where it is not known.
        md5: as hex, where the provider gives that alone.
    """

    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str = ""
    md5: str = ""

    @property
    def checksum(self) -> tuple[str, str]:
        """Name of the algorithm, and the sum; an empty sum where none is known."""
        return ("md5", self.md5) if self.md5 and not self.sha256 else ("sha256", self.sha256)

    def is_at(self, path: Path) -> bool:
        """Whether a file on disk is this one, as far as it can be told."""
        if not path.is_file() or self.bytes not in (None, path.stat().st_size):
            return False
        algorithm, expected = self.checksum
        if not expected:
            return True
        with path.open("rb") as stream:
            return str(hashlib.file_digest(stream, lambda: new_hash(algorithm)).hexdigest()) == expected


@dataclass(frozen=True)
class Terms:
    """How files are fetched.

    Attributes:
        session: what asks for them.
        check: refuses, by a `TerraprobeError`, a file whose content is not what it should be.
        renew: called where a server asks for other credentials; says whether there are any.
    """

    session: requests.Session
    check: Callable[[Path], None] = lambda path: None
    renew: Callable[[], bool] = lambda: False


def shown(url: str) -> str:
    """An address without what may be secret: no user, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def connections() -> int:
    """How many files one job fetches at once.

    Raises:
        TerraprobeError: TERRAPROBE_CONNECTIONS is no such number.
    """
    text = os.environ.get("TERRAPROBE_CONNECTIONS", str(PARALLEL))
    if not text.isdigit() or not 1 <= int(text) <= MOST_PARALLEL:
        raise TerraprobeError(f"TERRAPROBE_CONNECTIONS: found {text!r}, allowed 1 to {MOST_PARALLEL}, or unset.")
    return int(text)
