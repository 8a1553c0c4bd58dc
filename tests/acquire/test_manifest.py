"""The manifest of a source names what is missing or changed."""

import pytest

from terraprobe.acquire.manifest import layer_tiles, write_manifest
from terraprobe.errors import TerraprobeError


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"12345")
    (tmp_path / "b.tif").write_bytes(b"123")
    path = tmp_path / "manifest.json"
    write_manifest(path, {"dataset": "x"}, [("a.tif", "s1_grd", {}), ("b.tif", "mod44b", {"licence": "none"})])
    return path


def test_tiles_of_a_layer(manifest):
    assert list(layer_tiles(manifest, "s1_grd")) == [manifest.parent / "a.tif"]
    assert layer_tiles(manifest, "mod44b")[manifest.parent / "b.tif"]["licence"] == "none"
    assert layer_tiles(manifest, "osm") == {}


def test_files_elsewhere_are_found_where_a_link_stands_for_a_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "disk/deep").mkdir(parents=True)
    (tmp_path / "run/results").symlink_to(tmp_path / "disk/deep")
    (tmp_path / "run/own.tif").write_bytes(b"12345")
    manifest = tmp_path / "run/results/lulc.json"
    write_manifest(manifest, {}, [("../own.tif", "lulc", {})])
    assert list(layer_tiles(manifest, "lulc")) == [tmp_path / "run/own.tif"]


def test_a_changed_file_is_named(manifest):
    (manifest.parent / "a.tif").write_bytes(b"12346")
    with pytest.raises(TerraprobeError, match=r"a\.tif differs from manifest\.json"):
        layer_tiles(manifest, "s1_grd")
    assert layer_tiles(manifest, "mod44b")


def test_an_absent_file_is_named(manifest):
    (manifest.parent / "b.tif").unlink()
    with pytest.raises(TerraprobeError, match=r"b\.tif is absent"):
        layer_tiles(manifest, "mod44b")
