"""What goes wrong on the way to Earth Engine: nothing is lost, nothing half-written, no secret told."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fabricated_area import COMPOSITE, cut, fetch
from terraprobe.acquire.earthengine import access, client, products
from terraprobe.acquire.earthengine import fetch as module
from terraprobe.artifacts import read_json, sha256_file
from terraprobe.cli import recipe_json
from terraprobe.errors import TerraprobeError

SECRETS = ("access-secret", "key-secret", "PRIVATE KEY")
LONG = os.environ.get("TERRAPROBE_LONG") == "1"


@pytest.fixture(autouse=True)
def _nothing_told(request, capfd, tmp_path):
    """No test of this file may leave a secret in what was printed or written, or a temporary file."""
    yield
    printed = "".join(capfd.readouterr())
    written = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "key.json"]
    assert not [p for p in written if p.suffix == ".part"]
    for secret in SECRETS:
        assert secret not in printed
        assert not [p for p in written if secret.encode() in p.read_bytes()]


def refused(area, folder, layer="worldcover"):
    """What a fetch says that must fail, which then left nothing under a final name."""
    with pytest.raises(TerraprobeError) as caught:
        fetch(area, folder, layer)
    assert not [p for p in folder.rglob("*") if p.suffix in (".tif", ".json")]
    for secret in SECRETS:
        assert secret not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("fault", [429, 503, "cut", "html"])
def test_a_storm_passes(simulated_area, server, tmp_path, fault, capfd):
    calm = fetch(simulated_area, tmp_path / "calm", "worldcover").read_bytes()
    server.faults.extend([fault] * 4)
    assert fetch(simulated_area, tmp_path / "storm", "worldcover").read_bytes() == calm
    assert len(server.asked) == 6
    assert capfd.readouterr().err.count("asking again in") == 4


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (429, "HTTP 429"),
        (503, "HTTP 503"),
        ("html", "an HTML page instead of a GeoTIFF"),
        ("cut", "the connection broke"),
    ],
)
def test_a_storm_that_does_not_pass_ends_by_name(simulated_area, server, tmp_path, fault, words):
    server.faults.extend([fault] * client.ATTEMPTS)
    said = refused(simulated_area, tmp_path / "ee")
    assert said.startswith("worldcover 32633_")
    assert f"not answered in {client.ATTEMPTS} attempts, the last time: " in said
    assert words in said


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            "band",
            "answered with 8 bands (m1_VV, m1_VH, m1_VV_VH, m2_VV, m2_VH, m2_VV_VH, m3_VV, m3_VH), asked for were 9",
        ),
        ("crs", "answered with CRS EPSG:3857, asked for was EPSG:32633"),
        ("shift", "answered with transform (10.0, 0.0, "),
        (400, "Earth Engine refuses (HTTP 400): The service is unavailable"),
        (403, "Earth Engine refuses (HTTP 403)"),
    ],
)
def test_an_answer_to_another_question_is_refused_at_once(simulated_area, server, tmp_path, fault, words):
    server.faults.append(fault)
    assert words in refused(simulated_area, tmp_path / "ee", "s1_grd_monthly")
    assert len(server.asked) == 1


def test_what_is_there_is_not_asked_for_again_and_a_broken_tile_is(simulated_area, server, tmp_path, monkeypatch):
    monkeypatch.setattr(products, "REQUEST_BYTES", 40_000)
    server.faults.extend([None, None, None, 400])
    with pytest.raises(TerraprobeError):
        fetch(simulated_area, tmp_path / "ee", "s2_rgb_monthly")
    kept = sorted((tmp_path / "ee").rglob("*.tif"))
    assert 0 < len(kept) < 9
    kept[0].write_bytes(kept[0].read_bytes()[:200])
    answered = server.answered
    manifest = fetch(simulated_area, tmp_path / "ee", "s2_rgb_monthly")
    rows = json.loads(manifest.read_text())["files"]
    assert server.answered - answered == len(rows) - len(kept) + 1
    whole = fetch(simulated_area, tmp_path / "again", "s2_rgb_monthly")
    assert whole.read_bytes() == manifest.read_bytes()
    assert [sha256_file(whole.parent / row["name"]) for row in rows] == [row["sha256"] for row in rows]


def test_a_window_that_is_too_much_is_asked_for_in_quarters(simulated_area, server, tmp_path):
    whole = cut(simulated_area, fetch(simulated_area, tmp_path / "whole", "worldcover"), "worldcover", tmp_path)
    server.most_px = 3000
    manifest = fetch(simulated_area, tmp_path / "quarters", "worldcover")
    assert len(read_json(manifest)["files"]) > 1
    quarters = cut(simulated_area, manifest, "worldcover", tmp_path)
    for one, other in zip(whole, quarters, strict=True):
        np.testing.assert_array_equal(one, other)
    server.most_px = 10
    said = refused(simulated_area, tmp_path / "never")
    assert "User memory limit exceeded" in said


def test_an_expired_token_is_renewed_once(simulated_area, closed_server, tmp_path, monkeypatch):
    session = access.open_session()
    monkeypatch.setattr(module, "open_session", lambda: session)
    given = len(closed_server.tokens)
    closed_server.expire()
    fetch(simulated_area, tmp_path / "ee", "worldcover")
    assert len(closed_server.tokens) == given + 2
    closed_server.expire()
    closed_server.refuse_tokens = True
    said = refused(simulated_area, tmp_path / "refused")
    assert "the credentials were refused (RefreshError) or have run out, and renewing them once did not help" in said
    assert access.KEY_FILE in said


def test_credentials_that_the_token_server_refuses(simulated_area, closed_server, tmp_path):
    closed_server.refuse_tokens = True
    assert "the credentials were refused (RefreshError)" in refused(simulated_area, tmp_path / "ee")


@pytest.mark.usefixtures("closed_server")
def test_no_server(simulated_area, tmp_path, monkeypatch):
    monkeypatch.setenv(access.URL, "http://127.0.0.1:9")
    assert "Earth Engine cannot be opened for project test-project" in refused(simulated_area, tmp_path / "ee")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk(simulated_area, server, tmp_path, monkeypatch):
    def write(path, content):
        with Path("/dev/full").open("wb", 0) as full:
            return full.write(content)

    monkeypatch.setattr(Path, "write_bytes", write)
    said = refused(simulated_area, tmp_path / "ee")
    assert "cannot be written (No space left on device). Nothing was kept under that name" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "which cannot be read (No such file or directory)"),
        ("no json", "holds no credentials (not the JSON of a key file)"),
        ("[1]", "holds no credentials"),
        ('{"type": "authorized_user", "refresh_token": "key-secret"}', f"name no cloud project. Set {access.PROJECT}"),
    ],
)
def test_credentials_that_are_none(tmp_path, monkeypatch, content, words):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    for name in (access.PROJECT, "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(access.KEY_FILE, str(path))
    assert words in access.missing_access()
    with pytest.raises(TerraprobeError) as caught:
        access.open_session()
    assert words in str(caught.value)


def test_no_credentials_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (access.KEY_FILE, "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    said = access.missing_access()
    assert said.startswith(
        "Earth Engine: no credentials found. Set GOOGLE_APPLICATION_CREDENTIALS to the JSON key file"
    )
    assert "earthengine authenticate" in said
    assert "\n" not in said


@pytest.mark.long
def test_a_killed_fetch_ends_in_the_same_bytes(simulated_area, server, tmp_path):
    """Killed at random moments, started again by the same command, it leaves what one run leaves."""
    whole = run(simulated_area, tmp_path / "whole")
    assert whole.wait() == 0
    expected = contents(tmp_path / "whole")
    server.delay_s = 0.05
    rng = random.Random(11)
    inside = 0
    for moment in range(20 if LONG else 5):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        asked = len(server.asked)
        job = run(simulated_area, tmp_path / "cut")
        deadline = time.monotonic() + 60
        target = asked + rng.randint(1, len(expected) - 2)
        while len(server.asked) < target and job.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        job.send_signal(signal.SIGKILL)
        job.wait()
        left = [p for p in (tmp_path / "cut").rglob("*") if p.is_file()]
        inside += 0 < len(left) < len(expected)
        assert run(simulated_area, tmp_path / "cut").wait() == 0
        assert contents(tmp_path / "cut") == expected, moment
        assert not list((tmp_path / "cut").rglob("*.part"))
    assert inside >= 3


def run(area, folder):
    """The stage as a process of its own, as a rule runs it, with small windows."""
    recipe = recipe_json({"layer": "s2_rgb_monthly", "shard": "000", "composite": COMPOSITE})
    code = (
        "import sys; from terraprobe.acquire.earthengine import products; products.REQUEST_BYTES = 40_000; "
        "from terraprobe.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--grid", str(area / "grid.parquet"), "--recipe", recipe, "--manifest", str(folder / "x/000.json")]
    return subprocess.Popen(
        [sys.executable, "-c", code, "fetch-earthengine", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def contents(folder):
    """SHA-256 of every file by name."""
    return {str(p.relative_to(folder)): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
