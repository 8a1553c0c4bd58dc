"""What is fetched over HTTP, and on which terms."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import Retry

from terraprobe.acquire.partial import new_hash
from terraprobe.errors import TerraprobeError

ATTEMPTS = 6
"""In a row, at one address, of which none brought a further byte."""
WAIT_S, LONGEST_WAIT_S = 1.0, 120.0
"""Before the second attempt, and twice as long before each further one, less up to half of it by chance, so that many
clients do not come back at once. A server's own Retry-After counts where it is longer, up to the longest wait."""
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that pass."""
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


def ask(url: str, session: requests.Session, timeout_s: float = 30.0) -> int:
    """Status of an address, without its body; 0 where nothing answers in time. Answers that pass are asked for again.

    Servers that do not know HEAD say 405, which means that they are there.
    """
    session.mount(url, HTTPAdapter(max_retries=patient()))
    try:
        return session.head(url, timeout=timeout_s, allow_redirects=True).status_code
    except requests.RequestException:
        return 0


def patient() -> Retry:
    """How small requests are repeated: after 429 and 5xx and without a connection, later and later."""
    return Retry(
        total=ATTEMPTS,
        backoff_factor=WAIT_S,
        backoff_max=LONGEST_WAIT_S,
        backoff_jitter=WAIT_S,
        status_forcelist=sorted(LATER),
        allowed_methods=None,  # searches and logins are POST, and change nothing
        raise_on_status=False,
    )
