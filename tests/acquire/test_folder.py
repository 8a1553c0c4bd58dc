"""A folder of own GeoTIFFs: what is not known for sure is refused by name, with what to do."""

import os

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from terraprobe.acquire.folder import IndexRecipe, index_folder, list_geotiffs
from terraprobe.acquire.manifest import layer_tiles
from terraprobe.artifacts import read_json
from terraprobe.chips.tiles import describe_tiles
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L2A_BANDS, MODALITIES

CLASSES = {"nodata": 0, "codes": {1: "water", 2: "trees"}}


def write(path, bands, dtype="int16", *, value=500, crs="EPSG:32633", names=None, tags=None, nodata=None):
    """A constant raster of so many bands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "width": 20, "height": 20, "count": bands, "dtype": dtype, "nodata": nodata}
    if crs:
        profile |= {"crs": crs, "transform": from_origin(500_000, 5_800_000, 10, 10)}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.full((bands, 20, 20), value, dtype))
        for index, name in enumerate(names or (), 1):
            dataset.set_band_description(index, name)
        dataset.update_tags(**(tags or {}))
    return path


def index(folder, layer, **more):
    """The manifest of a folder."""
    manifest = folder.parent / "results/tiles" / f"{layer}.json"
    index_folder(recipe=IndexRecipe(layer=layer, folder=str(folder), **more), manifest=manifest)
    return manifest


def refusal(folder, layer, **more):
    """What is said of a folder that does not fit."""
    with pytest.raises(TerraprobeError) as error:
        index(folder, layer, **more)
    assert not (folder.parent / "results").exists()
    return str(error.value)


def test_names_in_the_file_count_whatever_their_order(tmp_path):
    path = write(tmp_path / "s1/a.tif", 3, "float32", value=-12.0, names=["VH", "angle", "VV"])
    manifest = index(tmp_path / "s1", "s1_grd")
    (row,) = read_json(manifest)["files"]
    assert row["bands"] == ["VH", "angle", "VV"]
    (tile,) = describe_tiles(layer_tiles(manifest, "s1_grd"), MODALITIES["s1_grd"])
    assert (tile.path, tile.bands["VV"], tile.bands["VH"]) == (path, 3, 1)


def test_names_in_the_study_count_where_the_file_has_none(tmp_path):
    write(tmp_path / "s2/a.tif", 13)
    names = (*L2A_BANDS, "scl")
    manifest = index(tmp_path / "s2", "s2_l2a", bands=names, offset_dn=-1000)
    (tile,) = describe_tiles(layer_tiles(manifest, "s2_l2a"), MODALITIES["s2_l2a"])
    assert list(tile.bands) == list(names)
    assert tile.offset_dn == -1000


def test_own_composites_are_named_by_month(tmp_path):
    bands = MODALITIES["s2_rgb_monthly"].bands
    write(tmp_path / "rgb/a.tif", 9)
    manifest = index(tmp_path / "rgb", "s2_rgb_monthly", bands=bands)
    (tile,) = describe_tiles(layer_tiles(manifest, "s2_rgb_monthly"), MODALITIES["s2_rgb_monthly"])
    assert tuple(tile.bands) == bands


def test_an_order_is_never_guessed(tmp_path):
    write(tmp_path / "s1/a.tif", 2, "float32", value=-12.0)
    text = refusal(tmp_path / "s1", "s1_grd")
    assert "a.tif: its 2 bands are described as unnamed" in text
    assert "an order is never guessed. If their order is that of the modality, add to the collection: " in text
    assert "bands: {s1_grd: [VV, VH]}" in text


@pytest.mark.parametrize(
    ("layer", "options", "stated", "words"),
    [
        ("s2_l2a", {"bands": 13}, None, ["bands: {s2_l2a: [… 13 names", "among them]}"]),
        ("s2_l2a", {"bands": 3, "names": ["B02", "B03", "B04"]}, None, ["3 bands (B02, B03, B04)", "in one file"]),
        ("s2_l2a", {"bands": 12}, ("B01",) * 2, ["12 bands, but bands of s2_l2a in the study names 2"]),
        ("s2_l2a", {"bands": 2, "names": ["B02", "B02"]}, None, ["two bands are described as B02"]),
        (
            "s1_grd",
            {"bands": 2, "dtype": "float32", "value": -9, "names": ["VH", "VV"]},
            ("VV", "VH"),
            ["band 1 is described as VH, but the study calls it VV"],
        ),
        ("s2_l2a", {"bands": 12, "crs": None}, L2A_BANDS, ["no CRS", "gdal_edit.py -a_srs"]),
        ("s2_l2a", {"bands": 12, "dtype": "float32", "value": 0.1}, L2A_BANDS, ["float32", "uint16 or int16"]),
        ("s1_grd", {"bands": 2, "dtype": "float32", "value": 0.02}, ("VV", "VH"), ["band VV", "linear power", "log10"]),
        ("worldcover", {"bands": 1, "dtype": "float32"}, None, ["float32", "an integer type for worldcover"]),
        ("worldcover", {"bands": 2, "dtype": "uint8", "value": 10}, None, ["2 bands, expected one band of worldcover"]),
        (
            "s2_l2a",
            {"bands": 12, "tags": {"PROCESSING_BASELINE": "05.10"}},
            L2A_BANDS,
            ["offset of 1000", "offset_dn: {s2_l2a: -1000}", "{s2_l2a: 0}"],
        ),
    ],
)
def test_a_file_that_is_not_known_for_sure(tmp_path, layer, options, stated, words):
    write(tmp_path / "in/good-name.tif", **options)
    text = refusal(tmp_path / "in", layer, bands=stated)
    for word in ["good-name.tif", *words]:
        assert word in text
    assert "\n" not in text


def test_an_offset_that_the_study_states_counts_whatever_the_file_says(tmp_path):
    write(tmp_path / "s2/a.tif", 12, tags={"PROCESSING_BASELINE": "05.10"})
    manifest = index(tmp_path / "s2", "s2_l2a", bands=L2A_BANDS, offset_dn=0)
    (tile,) = describe_tiles(layer_tiles(manifest, "s2_l2a"), MODALITIES["s2_l2a"])
    assert tile.offset_dn == 0


def test_an_empty_tile_of_backscatter_is_no_power(tmp_path):
    write(tmp_path / "s1/a.tif", 2, "float32", value=np.nan, names=["VV", "VH"])
    write(tmp_path / "s1/b.tif", 2, "float32", value=0, nodata=0, names=["VV", "VH"])
    assert len(layer_tiles(index(tmp_path / "s1", "s1_grd"), "s1_grd")) == 2


def test_a_file_that_is_no_raster_is_named_and_left(tmp_path):
    (tmp_path / "lulc").mkdir()
    (tmp_path / "lulc/a.tif").write_text("not a raster")
    text = refusal(tmp_path / "lulc", "lulc", classes=CLASSES)
    assert "a.tif: cannot be read as a raster" in text
    assert "Mend it, or take it out" in text
    assert (tmp_path / "lulc/a.tif").read_text() == "not a raster"


def test_files_by_name_without_hidden_and_other_ones(tmp_path, capsys):
    for name in ("b.tif", "a.TIFF"):
        write(tmp_path / "lulc" / name, 1, "uint8", value=1)
    for name in (".c.tif", "a.TIFF.aux.xml", "notes.txt"):
        (tmp_path / "lulc" / name).write_text("")
    assert [f.name for f in list_geotiffs(tmp_path / "lulc")] == ["a.TIFF", "b.tif"]
    index(tmp_path / "lulc", "lulc", classes=CLASSES)
    assert "2 GeoTIFFs" in (said := capsys.readouterr().err)
    assert "; 2 other files and folders left alone" in said


def test_a_relative_folder_stays_relative_and_nothing_is_moved_or_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "mine/lulc/a.tif", 1, "uint8", value=1)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    path.chmod(0o444)
    here = os.path.relpath(tmp_path / "mine/lulc")
    names = {}
    for folder in (here, str(tmp_path / "mine/lulc")):
        manifest = tmp_path / "results/tiles/lulc.json"
        index_folder(recipe=IndexRecipe(layer="lulc", folder=folder, classes=CLASSES), manifest=manifest)
        names[folder] = [row["name"] for row in read_json(manifest)["files"]]
        assert list(layer_tiles(manifest, "lulc")) == [path]
    assert names == {here: ["../../mine/lulc/a.tif"], str(path.parent): [str(path)]}
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert sorted(f.name for f in path.parent.iterdir()) == ["a.tif"]
