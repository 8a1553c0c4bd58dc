"""Files over HTTP: resumed where they were cut, checked, and whole under their final name or not there at all."""

import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EROFS
from pathlib import Path
from urllib.parse import urlsplit

import requests

from terraprobe.acquire import remote
from terraprobe.acquire.meter import Meter
from terraprobe.acquire.partial import PART, Partial, open_partial
from terraprobe.acquire.remote import LATER, RemoteFile, Terms, connections, shown
from terraprobe.errors import TerraprobeError

TIMEOUT_S = (15, 60)
"""To connect, and between two parts of a body."""
_REFUSED = {401, 403}
_UNWRITABLE = {ENOSPC, EDQUOT, EFBIG, EACCES, EROFS}


@dataclass(frozen=True)
class _Job:
    """One file on its way: final name, what it is, what has come of it, how it is fetched."""

    target: Path
    file: RemoteFile
    partial: Partial
    terms: Terms
    meter: Meter
    stop: threading.Event


class _LaterError(Exception):
    """It may work later: what happened, and after how many seconds at the earliest."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class _NeverError(Exception):
    """It will not work at this address."""


class _UnauthorisedError(Exception):
    """It will not work with these credentials."""


def download_all(what: str, files: Mapping[Path, RemoteFile], terms: Terms) -> None:
    """Fetch files, several at once, and say how far it is in bytes and files.

    Args:
        what: for people.
        files: final name to what shall stand there. What stands there already is left alone; another file is replaced.
        terms: how.

    Raises:
        TerraprobeError: one cannot be fetched, or the disk is full. Files that are whole by then stay; of the others
            what has come stays under a temporary name, and the next call goes on from there.
    """
    absent = {target: file for target, file in files.items() if not file.is_at(target)}
    stop = threading.Event()
    with (
        Meter(what, len(files), sum(file.bytes or 0 for file in absent.values())) as meter,
        ThreadPoolExecutor(connections()) as pool,
    ):
        meter.done(len(files) - len(absent))
        running = [pool.submit(_download, target, file, terms, meter, stop) for target, file in absent.items()]
        try:
            finished, _ = wait(running, return_when=FIRST_EXCEPTION)
            for one in finished:
                one.result()
        except BaseException:
            stop.set()  # those that run end at their next part
            pool.shutdown(cancel_futures=True)
            raise


def _download(target: Path, file: RemoteFile, terms: Terms, meter: Meter, stop: threading.Event) -> None:
    """Fetch one file from the first of its addresses that gives it."""
    algorithm, expected = file.checksum
    with explain_writes(target), open_partial(target, algorithm if expected else "") as partial:
        failures = []
        for url in [] if file.is_at(target) else file.urls:  # another job may have brought it meanwhile
            try:
                _try_address(url, _Job(target, file, partial, terms, meter, stop))
            except _NeverError as error:
                failures.append(f"{shown(url)}: {error}")
                continue
            partial.finish(target)
            break
        if len(failures) == len(file.urls):
            raise TerraprobeError(
                f"{target.name} could not be fetched ({'; '.join(failures)}). Nothing stands under {target}. Run the "
                "same command again once its source answers."
            )
        meter.done(1)


def _try_address(url: str, job: _Job) -> None:
    """Fetch a file from one address, until it is whole or hope is lost.

    Raises:
        _NeverError: says why.
    """
    partial, idle, farthest, renewed, spoilt = job.partial, 0, job.partial.size, False, 0
    while not job.stop.is_set():
        try:
            if partial.size != job.file.bytes:
                _append(url, job)
            problem = _problem(job)
            if not problem:
                return
            spoilt += 1
            _restart(job)
            if spoilt == 2:  # the same again: it is not the way that spoils it
                raise _NeverError(f"{problem}, twice")
            job.meter.say(f"{job.target.name}: {problem}; fetched again")
        except _UnauthorisedError as error:
            if renewed or not job.terms.renew():
                raise _NeverError(f"{error}: these credentials are not accepted, or have expired") from None
            renewed = True
        except _LaterError as error:
            idle, farthest = (0, partial.size) if partial.size > farthest else (idle + 1, farthest)
            if idle == remote.ATTEMPTS:
                raise _NeverError(f"{error}, {remote.ATTEMPTS} times") from None
            backed_off = remote.WAIT_S * 2 ** max(idle - 1, 0) * random.uniform(0.5, 1)
            job.stop.wait(min(remote.LONGEST_WAIT_S, max(backed_off, error.wait_s)))
    raise _NeverError("given up, since another file failed")


def _append(url: str, job: _Job) -> None:
    """Ask for what is still missing, and add what comes."""
    partial = job.partial
    # A server that compresses on the way counts other bytes than the file has, and cannot go on in the middle.
    headers = {"Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        if partial.version:
            headers["If-Range"] = partial.version
    try:
        with job.terms.session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code == 416:
                _restart(job)
                raise _LaterError("the server has fewer bytes than are here")
            _check_answer(answer)
            if answer.status_code == 200:
                _restart(job)
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {partial.size}-"):
                _restart(job)
                raise _LaterError("the server sent another part than the one asked for")
            _begin(answer, job)
            for part in answer.iter_content(PART):
                partial.append(part)
                job.meter.add(len(part))
                if job.stop.is_set():
                    return
    except requests.RequestException as error:
        # Its own text holds the whole address, which may hold a key.
        raise _LaterError(_IN_WORDS.get(type(error).__name__, "the connection broke")) from None


_IN_WORDS = {
    "ConnectTimeout": "no connection in time",
    "ReadTimeout": "no answer in time",
    "ConnectionError": "no connection",
    "SSLError": "its certificate is not accepted",
    "ProxyError": "the proxy does not answer",
}


def _check_answer(answer: requests.Response) -> None:
    """Sort answers that are not the file."""
    status = answer.status_code
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    login = kind == "text/html" and "/oauth/" in urlsplit(answer.url).path
    if status in _REFUSED or login:
        raise _UnauthorisedError("it leads to a login page" if login else f"HTTP {status}")
    if status in LATER:
        after = answer.headers.get("Retry-After", "")
        raise _LaterError(f"HTTP {status}", float(after) if after.isdigit() else 0.0)
    if status not in (200, 206):
        raise _NeverError(f"HTTP {status}")
    if kind in ("text/html", "application/xhtml+xml"):
        raise _NeverError("it answers with a web page (text/html) instead of the file")


def _begin(answer: requests.Response, job: _Job) -> None:
    """Learn version and size of what a server sends, and refuse a size that is not the file's."""
    partial, length = job.partial, answer.headers.get("Content-Length", "")
    tag = answer.headers.get("ETag", "")
    partial.version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
    partial.total = partial.size + int(length) if length.isdigit() else None
    if job.file.bytes is not None and partial.total not in (None, job.file.bytes):
        raise _NeverError(f"it has {partial.total} bytes, expected {job.file.bytes}")
    partial.require_space(int(length) if length.isdigit() else 0)


def _problem(job: _Job) -> str:
    """Why what has come is not the whole file; nothing where it is, as far as can be told."""
    partial, (algorithm, expected) = job.partial, job.file.checksum
    wanted = job.file.bytes if job.file.bytes is not None else partial.total
    if wanted is not None and partial.size < wanted:
        raise _LaterError(f"the connection was cut after {partial.size} of {wanted} bytes")
    if wanted is not None and partial.size > wanted:
        return f"it has {partial.size} bytes, expected {wanted}"
    if expected and partial.checksum != expected:
        return f"its {algorithm} is {partial.checksum}, expected {expected}"
    partial.stream.flush()
    try:
        job.terms.check(partial.path)
    except TerraprobeError as error:
        return str(error).rstrip(".")
    return ""


def _restart(job: _Job) -> None:
    job.meter.back(job.partial.size)
    job.partial.restart()


@contextmanager
def explain_writes(target: Path) -> Iterator[None]:
    """Make the folder of a file, and say in one sentence where its disk is full or may not be written.

    Raises:
        TerraprobeError: it is.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise TerraprobeError(
            f"{target}: cannot be written ({error.strerror}). Nothing stands under that name; what has come is kept "
            "under a temporary one. Free space or mend the permissions, then run the same command again."
        ) from None
