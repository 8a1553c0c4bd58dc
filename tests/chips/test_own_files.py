"""Own files from the folder to chip-level labels: any CRS, own classes, nodata."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from chip_rasters import write_tile

from terraprobe.acquire.folder import IndexRecipe, index_folder
from terraprobe.artifacts import read_table
from terraprobe.chips.cut import CutRecipe, SealRecipe, cut_chips, seal_store
from terraprobe.chips.labels import LabelsRecipe, measure_labels
from terraprobe.chips.store import ChipStore
from terraprobe.collections.grid import GridRecipe, lay_grid
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L2A_BANDS

CLASSES = {"nodata": 255, "codes": {0: "other", 7: "flooded_wood", 300: "vines"}}
DEGREES = {"left": 14.98, "top": 52.36, "pixel": (1.5e-4, 9e-5), "crs": "EPSG:4326"}
METRES = {"left": 500_003.4, "top": 5_800_007.8}


def make(tmp_path, layer, pixels, place=METRES, **options):
    """The manifest of one tile."""
    stated = {key: options.pop(key) for key in ("bands", "offset_dn", "classes") if key in options}
    write_tile(tmp_path / layer / "a.tif", pixels, **place, **options)
    manifest = tmp_path / "tiles" / f"{layer}.json"
    index_folder(recipe=IndexRecipe(layer=layer, folder=str(tmp_path / layer), **stated), manifest=manifest)
    return manifest


def lay(tmp_path, manifest, chip_px=32):
    """The grid on a manifest's tiles."""
    area = {"kind": "folder", "layer": manifest.stem, "chip_px": chip_px, "block_chips": 2, "shards": 1}
    lay_grid(tiles=[manifest], recipe=GridRecipe(area=area), grid=tmp_path / "grid.parquet")
    return tmp_path / "grid.parquet"


def cut(grid, manifest, classes=None):
    """The sealed store of a layer."""
    folder = grid.parent / "stores" / manifest.stem
    files = [folder / "000.npy", folder / "000.valid.npy"]
    recipe = CutRecipe(layer=manifest.stem, shard="000", classes=classes)
    cut_chips(grid=grid, manifest=manifest, recipe=recipe, pixels=files[0], valid=files[1])
    recipe = SealRecipe(layer=manifest.stem, classes=classes)
    seal_store(grid=grid, shards=files, recipe=recipe, spec=folder / "spec.json")
    return ChipStore.open(folder)


def optical(tmp_path, place=METRES, side=96):
    """Twelve constant bands, band k of 100 * k, and the grid on them."""
    pixels = np.arange(1, 13, dtype=np.int16)[:, None, None] * np.full((1, side, side), 100, np.int16)
    manifest = make(tmp_path, "s2_l2a", pixels, place, bands=L2A_BANDS)
    return manifest, lay(tmp_path, manifest)


@pytest.mark.parametrize("place", [DEGREES, METRES, {"left": 4_600_003, "top": 3_300_007, "crs": "EPSG:3035"}])
def test_chips_within_a_tile_of_any_crs_are_whole(tmp_path, place):
    manifest, grid = optical(tmp_path, place, 150)
    store = cut(grid, manifest)
    assert len(store) >= 6
    assert (store.valid == 1).all()
    assert (store.chip(0)[:, 3, 5] == np.arange(1, 13, dtype=np.float32) * np.float32(1e-2)).all()


def test_own_classes_reach_store_and_labels(tmp_path):
    _, grid = optical(tmp_path)
    codes = np.zeros((96, 96), np.int16)
    codes[:16, :32], codes[16:32, :32] = 7, 300
    codes[:, 32:64], codes[:8, 64:] = 255, -1
    store = cut(grid, make(tmp_path, "crops", codes, nodata=-1, classes=CLASSES), CLASSES)
    assert store.layer.dtype == "uint16"
    assert store.label_layer.classes == CLASSES["codes"]
    assert json.loads((store.folder / "spec.json").read_text())["classes"]["codes"]["300"] == "vines"
    labels = tmp_path / "labels.parquet"
    measure_labels(grid=grid, stores=[store.folder / "spec.json"], images=[], recipe=LabelsRecipe(), labels=labels)
    table = read_table(labels)
    assert list(table.columns[1:]) == [
        "crops_other",
        "crops_flooded_wood",
        "crops_vines",
        "crops_coverage",
        "crops_class",
        "crops_classes",
    ]
    assert table.iloc[0, 1:].tolist() == [0, 0.5, 0.5, 1, "flooded_wood", "flooded_wood vines"]
    assert table.iloc[1, 1:-3].isna().all()
    assert table.iloc[2, 1:].tolist() == [1, 0, 0, 0.75, "other", "other"]


def test_a_code_that_no_class_has_is_refused(tmp_path):
    _, grid = optical(tmp_path)
    manifest = make(tmp_path, "crops", np.full((96, 96), 9, np.uint8), classes=CLASSES)
    with pytest.raises(TerraprobeError, match=r"holds 9, which is not a value of crops; allowed: 0, 7, 300 or 255"):
        cut(grid, manifest, CLASSES)


def test_a_fill_value_must_be_declared(tmp_path):
    pixels = np.full((12, 96, 96), 500, np.int16)
    pixels[:, :8, :32] = -9999
    manifest = make(tmp_path, "s2_l2a", pixels, bands=L2A_BANDS)
    with pytest.raises(TerraprobeError, match=r"-0\.9999, outside 0\.0 to .* another nodata value than the file decl"):
        cut(lay(tmp_path, manifest), manifest)
    manifest = make(tmp_path, "s2_l2a", pixels, bands=L2A_BANDS, nodata=-9999)
    assert cut(lay(tmp_path, manifest), manifest).valid[0, 0] == 0.75


def test_an_offset_of_the_study_is_taken_off(tmp_path):
    pixels = np.full((12, 96, 96), 1500, np.uint16)
    pixels[:, 0, 0] = 0
    manifest = make(tmp_path, "s2_l2a", pixels, bands=L2A_BANDS, offset_dn=-1000)
    store = cut(lay(tmp_path, manifest), manifest)
    assert store.read(0, 3)[0, :2].tolist() == [0, 500]


def write_fields(tmp_path, values, column="kind"):
    """Polygons side by side over the first tile, one a value."""
    left, top = METRES["left"], METRES["top"]
    squares = [shapely.box(left + 320 * k, top - 960, left + 320 * (k + 1), top) for k in range(len(values))]
    path = tmp_path / "fields.gpkg"
    gpd.GeoDataFrame({column: values}, geometry=squares, crs="EPSG:32633").to_crs("EPSG:4326").to_file(path)
    return path


@pytest.mark.parametrize("values", [["Winter  wheat", None, "Öl-Raps"], [7.0, np.nan, 8.0], [7, 9, 8]])
def test_own_polygons_name_or_number_their_classes(tmp_path, values):
    classes = {"nodata": 0, "codes": {7: "winter_wheat", 8: "ol_raps", 9: "other"}}
    _, grid = optical(tmp_path)
    recipe = IndexRecipe(layer="crop", folder=str(write_fields(tmp_path, values)), column="kind", classes=classes)
    index_folder(recipe=recipe, manifest=tmp_path / "tiles/crop.json")
    store = cut(grid, tmp_path / "tiles/crop.json", classes)
    pixels = store.digital(np.arange(len(store)), np.zeros(len(store), int)).reshape(-1)
    middle = {9} if values[1] == 9 else set()
    assert set(pixels.tolist()) - {0} == {7, 8} | middle


def test_own_polygons_that_cannot_be_used_are_named(tmp_path):
    path = write_fields(tmp_path, ["wheat", "maize", "rye"])
    classes = {"nodata": 0, "codes": {1: "wheat", 2: "rye"}}
    for column, words in (("kind", "kind maize has no code in crop; known: wheat, rye"), ("sort", "the column sort")):
        recipe = IndexRecipe(layer="crop", folder=str(path), column=column, classes=classes)
        with pytest.raises(TerraprobeError, match=words):
            index_folder(recipe=recipe, manifest=tmp_path / "tiles/crop.json")
