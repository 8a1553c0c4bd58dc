"""NASA Earthdata: who asks, and how often."""

import netrc
import os
import threading
from pathlib import Path
from typing import Any

import asf_search as asf
import requests
from requests.adapters import HTTPAdapter

from terraprobe.acquire.remote import LATER, EnvironmentSession, patient
from terraprobe.errors import TerraprobeError

LOGIN_HOST, SEARCH_HOST = "urs.earthdata.nasa.gov", "cmr.earthdata.nasa.gov"
TOKEN = "EARTHDATA_TOKEN"  # noqa: S105 - the name of a variable
HOW_TO = (
    f"make a token at https://{LOGIN_HOST}/profile (Generate Token) and export {TOKEN}, or put `machine {LOGIN_HOST} "
    "login … password …` into ~/.netrc"
)

asf.REPORT_ERRORS = False  # it would post every failed search, with the area, to ASF


class EarthdataSession(EnvironmentSession, asf.ASFSession):  # type: ignore[misc]
    """ASF's own session, without a `.netrc` behind one's back, patient in searches and logins."""

    def __init__(self) -> None:
        super().__init__()
        for host in (LOGIN_HOST, SEARCH_HOST, self.asf_auth_host):
            self.mount(f"https://{host}/", HTTPAdapter(max_retries=patient()))


class Earthdata:
    """A session that is logged in, and can log in once more."""

    def __init__(self) -> None:
        self.session = EarthdataSession()
        self.session.hooks["response"].append(self._remember)
        self._status = 0
        self._lock = threading.Lock()
        self._renewed = False

    def log_in(self) -> None:
        """Log in by token, or else by name and password.

        Raises:
            TerraprobeError: there are no credentials, or they are not accepted; says nothing of them.
        """
        token, login = os.environ.get(TOKEN, "").strip(), netrc_login()
        if not token and not login:
            raise TerraprobeError(f"Earthdata: no credentials. To fetch coherence, {HOW_TO}.")
        if token and self._try("auth_with_token", token):
            return
        if login and self._try("auth_with_creds", *login):
            return
        tried = [f"the token in {TOKEN}"] * bool(token) + [f"name and password in {netrc_path()}"] * bool(login)
        raise TerraprobeError(
            f"Earthdata does not accept {' or '.join(tried)}: expired, or mistyped. To mend it, {HOW_TO}."
        )

    def renew(self) -> bool:
        """Log in once more by name and password, once for all files: whether that was possible."""
        with self._lock:
            login = netrc_login()
            if not self._renewed and login:
                self.session.headers.pop("Authorization", None)
                self._renewed = self._try("auth_with_creds", *login)
            return self._renewed

    def _try(self, method: str, *secrets: str) -> bool:
        """Whether a login is accepted. No error of it is shown or kept: it may hold what was sent."""
        try:
            getattr(self.session, method)(*secrets)
        except asf.ASFAuthenticationError:
            if self._status in LATER:  # it says so of an answer that has nothing to do with the login
                raise _no_answer(f"HTTP {self._status}") from None
            return False
        except (requests.RequestException, ValueError, KeyError) as error:
            raise _no_answer(type(error).__name__) from None
        finally:
            self.session.auth = None
        return True

    def _remember(self, answer: requests.Response, *_: Any, **__: Any) -> None:
        self._status = answer.status_code


def _no_answer(what: str) -> TerraprobeError:
    return TerraprobeError(f"Earthdata: {LOGIN_HOST} does not answer ({what}). Run the same command again later.")


def netrc_path() -> Path:
    """Where name and password may stand."""
    return Path(os.environ.get("NETRC") or "~/.netrc").expanduser()


def netrc_login() -> tuple[str, str] | None:
    """Name and password for Earthdata, where a `.netrc` has them.

    Raises:
        TerraprobeError: the file cannot be read; shows nothing of it.
    """
    path = netrc_path()
    if not path.is_file():
        return None
    try:
        found = netrc.netrc(str(path)).hosts.get(LOGIN_HOST)
    except (netrc.NetrcParseError, OSError) as error:
        line = f" in line {error.lineno}" if isinstance(error, netrc.NetrcParseError) else ""
        raise TerraprobeError(
            f"{path}: cannot be read{line}. Each entry reads: machine HOST login NAME password …"
        ) from None
    return (found[0], found[2]) if found else None
