"""Access to Earth Engine: which credentials there are, found without a network, and the session that they open.

Nothing here prints or returns a secret, and no message of a token server is passed on.
"""

import json
import os
from pathlib import Path
from typing import Any

from terraprobe.errors import TerraprobeError

KEY_FILE, PROJECT, URL = "GOOGLE_APPLICATION_CREDENTIALS", "EARTHENGINE_PROJECT", "EARTHENGINE_URL"
"""Environment: a service account's key file (or other application default credentials); the cloud project; another
endpoint, such as https://earthengine-highvolume.googleapis.com."""

TIMEOUT_S = 600
"""Of one request: Earth Engine itself gives up earlier."""

_SCOPE = "https://www.googleapis.com/auth/earthengine"
_HOW = (
    f"Set {KEY_FILE} to the JSON key file of a service account that is registered for Earth Engine, or run "
    "`earthengine authenticate` or `gcloud auth application-default login` once"
)


def missing_access() -> str:
    """What is missing before Earth Engine can be asked, in one sentence; empty where nothing is."""
    try:
        content = _read_credentials(_credentials_file())
    except TerraprobeError as error:
        return str(error)
    return "" if _project(content) else _no_project()


def open_session() -> Any:
    """Log in, once a process.

    Returns:
        The module `ee`, initialised. Its own retries are off: ours say what they wait for.

    Raises:
        TerraprobeError: credentials are absent, broken or refused, or Earth Engine cannot be reached.
    """
    import ee
    from google.auth import exceptions

    content = _read_credentials(_credentials_file())
    project = _project(content)
    if not project:
        raise TerraprobeError(_no_project())
    try:
        credentials = _credentials(ee, content)
        ee.Initialize(credentials=credentials, url=os.environ.get(URL) or None, project=project)
        ee.data.setDeadline(TIMEOUT_S * 1000)
        ee.data.setMaxRetries(0)
    except exceptions.GoogleAuthError as error:
        raise TerraprobeError(refused(error)) from None
    except (ee.EEException, OSError, ValueError) as error:
        raise TerraprobeError(f"Earth Engine cannot be opened for project {project}: {_first_line(error)}") from None
    return ee


def _credentials(ee: Any, content: dict[str, Any]) -> Any:
    """Credentials of what the file holds: a service account, a user of Earth Engine, or another application default."""
    if content.get("type") == "service_account":
        from google.oauth2 import service_account

        known: Any = service_account.Credentials
        return known.from_service_account_info(content, scopes=[_SCOPE])
    if "type" not in content:
        return ee.data.get_persistent_credentials()
    import google.auth

    return google.auth.default(scopes=[_SCOPE])[0]


def refused(error: Exception) -> str:
    """One sentence for credentials that were not accepted, without what the token server said."""
    return (
        f"Earth Engine: the credentials were refused ({type(error).__name__}) or have run out, and renewing them once "
        f"did not help. {_HOW}, then run the same command again; what was fetched is kept."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _credentials_file() -> Path:
    home = Path.home()
    named = os.environ.get(KEY_FILE)
    if named:
        return Path(named).expanduser()
    config = Path(os.environ.get("CLOUDSDK_CONFIG") or home / ".config/gcloud")
    found = [p for p in (home / ".config/earthengine/credentials", config / _DEFAULT_NAME) if p.is_file()]
    if not found:
        raise TerraprobeError(f"Earth Engine: no credentials found. {_HOW}.")
    return found[0]


_DEFAULT_NAME = "application_default_credentials.json"


def _read_credentials(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise TerraprobeError(
            f"Earth Engine: {KEY_FILE} names {path}, which cannot be read ({error.strerror}). {_HOW}."
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"private_key", "refresh_token", "type"} & set(content):
        raise TerraprobeError(f"Earth Engine: {path} holds no credentials (not the JSON of a key file). {_HOW}.")
    return content


def _project(content: dict[str, Any]) -> str:
    stated = os.environ.get(PROJECT) or content.get("project") or content.get("project_id")
    return str(stated or content.get("quota_project_id") or os.environ.get("GOOGLE_CLOUD_PROJECT") or "")


def _no_project() -> str:
    return f"Earth Engine: the credentials name no cloud project. Set {PROJECT} to one that is registered for it."
