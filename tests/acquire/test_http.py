"""Downloads under every fault that a server, a line and a disk have."""

import hashlib
import multiprocessing
import os
import signal
import threading
import time
import tracemalloc

import pytest

from anyhost import Answer, Stored, cut, html, spoil, status
from terraprobe.acquire import http, partial
from terraprobe.acquire.http import download_all
from terraprobe.acquire.partial import new_hash
from terraprobe.acquire.remote import EnvironmentSession, RemoteFile, Terms, shown
from terraprobe.errors import TerraprobeError

URL = "https://geodata.ucdavis.edu/data/a.zip"
MIRROR = "https://mirror.example/a.zip"
BODY = bytes(range(256)) * 12_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(http, "PART", 1 << 16)


def known(*urls, **more):
    return RemoteFile(urls or (URL,), **{"bytes": len(BODY), "sha256": SHA256, **more})


def fetch(target, file=None, **terms):
    download_all("test", {target: file or known()}, Terms(EnvironmentSession(), **terms))


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def storm(code, times, **headers):
    return [lambda _: status(code, **headers)] * times


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [*storm(503, 5)],
        [*storm(429, 2, **{"Retry-After": "0"}), *storm(503, 3)],
        [cut(70_000), cut(70_000), cut(0), cut(200_000)],
        [spoil],
    ],
    ids=["none", "503", "429 and 503", "cut four times", "one wrong byte"],
)
def test_a_file_arrives_whole_whatever_passes(loopback, tmp_path, faults):
    loopback.put(URL, Stored(BODY, list(faults)))
    fetch(tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert left(tmp_path) == ["a.zip"]


def test_how_far_it_is_is_said_in_bytes_and_files_again_and_again(loopback, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("terraprobe.acquire.meter.EVERY_S", 0.0)
    loopback.put(URL, Stored(BODY))
    fetch(tmp_path / "a.zip")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("test: ")]
    assert said[-1] == "test: 1 of 1 files, 3.1 of 3.1 MB fetched"
    assert "test: 0 of 1 files, 0.1 of 3.1 MB fetched" in said and len(said) > 10


def test_parts_alone_are_held_in_memory(loopback, tmp_path):
    """Whatever a file's size; the body that this server holds was there before."""
    body = BODY * 8
    loopback.put(URL, Stored(body))
    tracemalloc.start()
    try:
        fetch(tmp_path / "a.zip", known(bytes=len(body), sha256=hashlib.sha256(body).hexdigest()))
        assert tracemalloc.get_traced_memory()[1] < len(body) / 4
    finally:
        tracemalloc.stop()


def test_a_cut_body_goes_on_where_it_stopped(loopback, tmp_path):
    loopback.put(URL, Stored(BODY, [cut(131_072)]))
    fetch(tmp_path / "a.zip")
    first, second = loopback.asked
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=131072-"
    assert second.headers["if-range"] == '"v1"'


def test_a_server_without_ranges_starts_anew(loopback, tmp_path):
    loopback.put(URL, Stored(BODY, [cut(131_072)], ranges=False))
    fetch(tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_two_versions_of_a_file_are_never_joined(loopback, tmp_path):
    stored = Stored(BODY, [cut(131_072)])

    def changing(request):
        if "range" in request.headers:
            stored.body, stored.tag = BODY[::-1], '"v2"'
        return stored(request)

    loopback.put(URL, changing)
    fetch(tmp_path / "a.zip", RemoteFile((URL,)))
    assert (tmp_path / "a.zip").read_bytes() == BODY[::-1]


def test_a_file_that_is_there_is_not_asked_for_and_another_one_is_replaced(loopback, tmp_path):
    loopback.put(URL, Stored(BODY))
    (tmp_path / "a.zip").write_bytes(BODY)
    fetch(tmp_path / "a.zip")
    assert not loopback.asked
    (tmp_path / "a.zip").write_bytes(BODY[:-1] + b"x")
    fetch(tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY


def test_a_sum_is_taken_only_where_one_is_known(loopback, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(partial, "new_hash", lambda name: taken.append(name) or new_hash(name))
    loopback.put(URL, Stored(BODY, [cut(100_000)]))
    fetch(tmp_path / "a.zip", RemoteFile((URL,), len(BODY)))
    assert taken == []
    fetch(tmp_path / "b.zip", RemoteFile((URL,), md5=hashlib.md5(BODY).hexdigest()))  # noqa: S324
    assert set(taken) == {"md5"}
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes() == BODY


def test_mirrors_are_tried_in_order(loopback, tmp_path):
    loopback.put(URL, lambda _: status(404))
    loopback.put(MIRROR, Stored(BODY))
    fetch(tmp_path / "a.zip", known(URL, MIRROR))
    assert [request.host for request in loopback.asked] == ["geodata.ucdavis.edu", "mirror.example"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Stored(BODY[::-1]), f"its sha256 is {hashlib.sha256(BODY[::-1]).hexdigest()}, expected {SHA256}, twice"),
        (lambda _: html(), r"web page \(text/html\) instead of the file"),
        (lambda _: status(404), "HTTP 404"),
        (lambda _: status(503), "HTTP 503, 6 times"),
        (lambda _: status(401), "HTTP 401: these credentials are not accepted, or have expired"),
        (Stored(BODY[:-5]), f"it has {len(BODY) - 5} bytes, expected {len(BODY)}"),
        (lambda _: Answer(200, BODY, cut=0), f"the connection (broke|was cut after 0 of {len(BODY)} bytes), 6 times"),
    ],
    ids=["checksum", "html", "absent", "down", "refused", "truncated", "dead line"],
)
def test_what_cannot_be_had_is_one_sentence_and_no_file(loopback, tmp_path, answer, said):
    loopback.put(URL, answer)
    with pytest.raises(TerraprobeError, match=f"a.zip could not be fetched .*{said}.*Nothing stands under .*a.zip"):
        fetch(tmp_path / "a.zip")
    assert left(tmp_path) == []


def test_content_that_is_refused_is_fetched_once_more_and_then_named(loopback, tmp_path):
    def check(path):
        raise TerraprobeError(f"no raster in {path.stat().st_size} bytes.")

    loopback.put(URL, Stored(BODY))
    with pytest.raises(TerraprobeError, match=f"no raster in {len(BODY)} bytes, twice"):
        fetch(tmp_path / "a.zip", check=check)
    assert loopback.count("/data/a.zip") == 2
    assert left(tmp_path) == []


def test_a_full_disk_is_said_before_and_while_it_fills(loopback, tmp_path, monkeypatch, small_disk):
    loopback.put(URL, Stored(BODY))
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
        with pytest.raises(TerraprobeError, match=r"cannot be written .3\.1 MB to come, 0\.0 MB free"):
            fetch(tmp_path / "a.zip")
    assert left(tmp_path) == []
    with small_disk(1_000_000), pytest.raises(TerraprobeError, match=r"cannot be written .File too large.*Free space"):
        fetch(tmp_path / "a.zip")
    assert left(tmp_path) == [".a.download.zip"]
    fetch(tmp_path / "a.zip")
    assert "range" in loopback.asked[-1].headers
    assert left(tmp_path) == ["a.zip"]


def test_several_are_fetched_at_once_and_the_first_failure_ends_all(loopback, tmp_path, monkeypatch):
    monkeypatch.setenv("TERRAPROBE_CONNECTIONS", "3")
    barrier = threading.Barrier(3, timeout=10)

    def together(request):
        barrier.wait()
        return Answer(200, BODY)

    files = {tmp_path / f"{k}.tif": RemoteFile((f"https://mirror.example/{k}.tif",)) for k in range(3)}
    for k in range(3):
        loopback.put(f"https://mirror.example/{k}.tif", together)
    download_all("test", files, Terms(EnvironmentSession()))
    assert left(tmp_path) == ["0.tif", "1.tif", "2.tif"]
    loopback.put(URL, lambda _: status(404))
    with pytest.raises(TerraprobeError, match=r"b\.tif could not be fetched"):
        download_all("test", {**files, tmp_path / "b.tif": RemoteFile((URL,))}, Terms(EnvironmentSession()))


def test_jobs_that_want_the_same_file_fetch_it_once(loopback, tmp_path):
    loopback.put(URL, Stored(BODY, [lambda answer: time.sleep(0.2) or answer]))
    jobs = [threading.Thread(target=fetch, args=(tmp_path / "a.zip",)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert loopback.count("/data/a.zip") == 1
    assert left(tmp_path) == ["a.zip"]


@pytest.mark.long
@pytest.mark.parametrize("times", [20 if os.environ.get("TERRAPROBE_LONG") else 5])
def test_a_kill_at_any_moment_then_the_same_call_gives_the_same_bytes(loopback, tmp_path, times):
    slow = Stored(BODY)

    def trickle(request):
        time.sleep(0.01)
        answer = slow(request)
        return Answer(answer.status, answer.body, answer.headers, cut=200_000)

    loopback.put(URL, trickle)
    context = multiprocessing.get_context("fork")
    for k in range(times):
        job = context.Process(target=fetch, args=(tmp_path / "a.zip",))
        job.start()
        time.sleep(0.02 + 0.01 * k)
        os.kill(job.pid, signal.SIGKILL)
        job.join()
        assert not (tmp_path / "a.zip").exists() or (tmp_path / "a.zip").read_bytes() == BODY
    fetch(tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert left(tmp_path) == ["a.zip"]


def test_no_key_of_an_address_is_said(loopback, tmp_path, capsys):
    secret = f"{URL}?X-Amz-Signature=s3cr3t"
    assert shown("https://me:s3cr3t@host.example/a.zip?token=s3cr3t") == "https://host.example/a.zip"
    for answer in (lambda _: status(404), lambda _: Answer(200, BODY, cut=10)):
        loopback.put(URL, answer)
        with pytest.raises(TerraprobeError) as error:
            fetch(tmp_path / "a.zip", known(secret))
        assert "s3cr3t" not in str(error.value) + capsys.readouterr().err
    assert loopback.asked[0].query == {"X-Amz-Signature": ["s3cr3t"]}


def test_the_number_of_connections_is_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("TERRAPROBE_CONNECTIONS", "many")
    with pytest.raises(TerraprobeError, match="TERRAPROBE_CONNECTIONS: found 'many', allowed 1 to 32"):
        fetch(tmp_path / "a.zip")


def test_a_netrc_is_not_read(loopback, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine geodata.ucdavis.edu login me password s3cr3t\n")
    monkeypatch.setenv("NETRC", str(netrc))
    loopback.put(URL, Stored(BODY))
    fetch(tmp_path / "a.zip")
    assert "authorization" not in loopback.asked[0].headers
