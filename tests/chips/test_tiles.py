"""Tiles: bands by name, refusals, and pixels on the chip grid."""

import numpy as np
import pytest
import rasterio
from chip_rasters import LEFT, MONTHLY, TOP, UTM, cut, gunw_name, write_grid, write_gunw, write_tile
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.crs import CRS

from terraprobe.chips import warp
from terraprobe.chips.tiles import describe_tiles, find_layer, open_raster
from terraprobe.chips.warp import Grid, read_band
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L1C_BANDS, LABELS, MODALITIES


def read(path, layer, grid, band=None):
    layer = find_layer(layer)
    (tile,) = describe_tiles([path], layer)
    with open_raster(tile.path, tile.uri) as dataset:
        return read_band(dataset, tile, band or next(iter(tile.bands)), layer, grid)


def test_bands_come_by_name_in_any_order(tmp_path):
    shuffled = [*L1C_BANDS[::-1]]
    pixels = np.stack([np.full((4, 4), 100 + L1C_BANDS.index(band), "uint16") for band in shuffled])
    path = write_tile(tmp_path / "t.tif", pixels, LEFT, TOP, bands=shuffled)
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)], 4)
    chips, valid = cut(grid, [path], "s2_l1c")
    assert chips[0, :, 0, 0].tolist() == [100 + i for i in range(13)]
    assert (valid == 1).all()


def test_months_are_numbered_in_calendar_order(tmp_path):
    order = MONTHLY[3:] + MONTHLY[:3]
    pixels = np.stack([np.full((2, 2), 10 + i, "uint16") for i in range(9)])
    (tile,) = describe_tiles(
        [write_tile(tmp_path / "t.tif", pixels, LEFT, TOP, bands=order)], MODALITIES["s2_rgb_monthly"]
    )
    assert tile.bands == {band: index % 9 + 1 for index, band in enumerate(MODALITIES["s2_rgb_monthly"].bands, 6)}


@pytest.mark.parametrize("months", [(1, 4), (1, 4, 7, 9)])
def test_another_number_of_months_is_refused(tmp_path, months):
    bands = [f"2020-{month:02d}_{part}" for month in months for part in ("B04", "B03", "B02")]
    path = write_tile(tmp_path / "t.tif", np.ones((len(bands), 2, 2), "uint16"), LEFT, TOP, bands=bands)
    with pytest.raises(TerraprobeError, match=rf"t\.tif.*bands of {len(months)} months.*expected 3"):
        describe_tiles([path], MODALITIES["s2_rgb_monthly"])


def test_missing_band_is_named(tmp_path):
    for band in L1C_BANDS:
        if band != "B8A":
            write_tile(tmp_path / f"x_{band}.tif", np.ones((2, 2), "uint16"), LEFT, TOP)
    with pytest.raises(TerraprobeError, match=r"x_\*: band B8A of s2_l1c is missing; found B01, .*expected B01"):
        describe_tiles(tmp_path.glob("*.tif"), MODALITIES["s2_l1c"])
    path = write_tile(tmp_path / "s1.tif", np.ones((1, 2, 2), "float32"), LEFT, TOP, bands=["VV"])
    with pytest.raises(TerraprobeError, match="VH of s1_grd is missing"):
        describe_tiles([path], MODALITIES["s1_grd"])


def test_bands_without_names_are_not_guessed(tmp_path):
    path = write_tile(tmp_path / "t.tif", np.ones((13, 2, 2), "uint16"), LEFT, TOP)
    with pytest.raises(TerraprobeError, match=r"B01, B02.*is missing; found unnamed 1"):
        describe_tiles([path], MODALITIES["s2_l1c"])


@pytest.mark.parametrize(
    ("layer", "pixels", "options", "message"),
    [
        ("s1_grd", np.ones((2, 2, 2), "float32"), {"crs": None, "bands": ("VV", "VH")}, "no CRS"),
        ("s1_grd", np.ones((2, 2, 2), "int16"), {"bands": ("VV", "VH")}, "pixels are int16, expected float32"),
        ("s2_rgb_monthly", np.ones((9, 2, 2), "float32"), {"bands": MONTHLY}, "pixels are float32, expected uint16"),
        ("worldcover", np.ones((2, 2), "float32"), {}, "expected an integer type"),
        ("worldcover", np.ones((2, 2, 2), "uint8"), {}, "2 bands, expected one"),
        ("s1_grd", np.ones((2, 2, 2), "float32"), {"bands": ("VV", "VV")}, "two bands have one name"),
        ("s2_rgb_monthly", np.ones((9, 2, 2), "uint16"), {"bands": MONTHLY, "tags": {"PROCESSING_BASELINE": "new"}},
         "PROCESSING_BASELINE is 'new'"),
    ],
)  # fmt: skip
def test_a_tile_that_cannot_be_right_is_refused(tmp_path, layer, pixels, options, message):
    path = write_tile(tmp_path / "t.tif", pixels, LEFT, TOP, **options)
    with pytest.raises(TerraprobeError, match=rf"t\.tif.*{message}"):
        describe_tiles([path], find_layer(layer))


@pytest.mark.parametrize(
    ("layer", "value", "bands", "message"),
    [
        ("s1_grd", np.float32(-9999), ("VV", "VH"), "holds -9999, outside -100"),
        ("worldcover", np.uint8(41), (), "holds 41, which is not a value of worldcover; allowed: 10, 20"),
        ("mod44b", np.uint8(101), (), "holds 101.*allowed: 0 to 100 or 200 or 253"),
        ("ghs_built", np.uint16(10001), (), "holds 10001.*0 to 10000"),
    ],
)
def test_a_value_outside_the_unit_is_refused(tmp_path, layer, value, bands, message):
    pixels = np.full((max(1, len(bands)), 8, 8), 10, value.dtype)
    pixels[0, 3, 3] = value
    path = write_tile(tmp_path / "t.tif", pixels, LEFT, TOP, bands=bands)
    with pytest.raises(TerraprobeError, match=rf"t\.tif.*{message}"):
        read(path, layer, Grid(UTM, LEFT, TOP, 10, 8, 8))


def test_coherence_above_one_is_refused(tmp_path):
    path = write_gunw(tmp_path / gunw_name(), np.full((40, 40), 1.2, "f4"))
    with pytest.raises(TerraprobeError, match=r"holds 1\.2, outside 0\.0 to 1\.0 coherence"):
        read(path, "s1_coherence", Grid(UTM, LEFT, TOP, 10, 8, 8))


@pytest.mark.parametrize("kind", ["JP2OpenJPEG", "GTiff", "gunw"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_an_error_and_never_zeros(tmp_path, kind, kept):
    """GDAL's threaded JPEG2000 reader returned zeros without an error here."""
    noise = np.random.default_rng(0).integers(100, 10_000, (512, 512)).astype("uint16")
    if kind == "gunw":
        layer, path = "s1_coherence", tmp_path / gunw_name()
        write_gunw(path, np.random.default_rng(0).uniform(0.1, 1, (200, 200)).astype("f4"))
    else:
        layer, path = "worldcover", tmp_path / ("t.jp2" if kind == "JP2OpenJPEG" else "t.tif")
        exact = {"REVERSIBLE": "YES", "QUALITY": "100", "BLOCKXSIZE": 128, "BLOCKYSIZE": 128}
        write_tile(path, noise, LEFT, TOP, driver=kind, **(exact if kind == "JP2OpenJPEG" else {}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    grid = Grid(UTM, LEFT, TOP, 10, 512, 512)
    with pytest.raises(TerraprobeError, match=r"t\.(tif|jp2)|GUNW.*(cannot be read as a raster|cut short)"):
        read(path, layer, grid)


def test_newest_version_of_each_interferogram(tmp_path):
    names = [
        gunw_name(version="2_0_6"),
        gunw_name(version="3_0_1", letters="bbbb"),
        gunw_name(version="2_0_10", letters="cccc"),
        gunw_name(version="2_0_4", time="171025"),
        gunw_name(pair="20200125_20200113"),
    ]
    for name in names:
        write_gunw(tmp_path / name, np.full((4, 4), 0.5, "f4"))
    tiles = describe_tiles(tmp_path.glob("*.nc"), MODALITIES["s1_coherence"])
    assert {tile.path.name for tile in tiles} == {names[1], names[3], names[4]}
    assert {next(iter(tile.bands)) for tile in tiles} == {"20200113_20200101-A044", "20200125_20200113-A044"}
    with pytest.raises(TerraprobeError, match="not the name of an ARIA interferogram"):
        describe_tiles([tmp_path / "x.nc"], MODALITIES["s1_coherence"])


@pytest.mark.parametrize(
    ("baseline", "stored"), [("03.01", [1500, 900, 1]), ("04.00", [500, 1, 1]), ("05.10", [500, 1, 1])]
)
@pytest.mark.parametrize("where", ["tag", "name"])
def test_baseline_offset_comes_from_metadata(tmp_path, baseline, stored, where):
    name = f"S2A_MSIL1C_N{baseline.replace('.', '')}_R065" if where == "name" else "scene"
    tags = {"PROCESSING_BASELINE": baseline} if where == "tag" else {}
    pixels = np.repeat(np.array([[[1500, 900, 1, 0]]], "uint16"), 9, axis=0)
    path = write_tile(tmp_path / name / "t.tif", pixels, LEFT, TOP, bands=MONTHLY, tags=tags)
    found = read(path, "s2_rgb_monthly", Grid(UTM, LEFT, TOP, 10, 4, 1))
    assert found[0].tolist() == [*stored, 0]  # observed DN stay at least 1; nodata stays nodata


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 40), dx=st.integers(-50, 50), dy=st.integers(-50, 50))
def test_one_grid_gives_the_same_pixels(tmp_path_factory, seed, size, dx, dy):
    raw = np.random.default_rng(seed).integers(0, 65536, (40, 40)).astype("uint16")
    path = write_tile(tmp_path_factory.mktemp("t") / "t.tif", np.stack([raw] * 9), LEFT, TOP, bands=MONTHLY)
    found = read(path, "s2_rgb_monthly", Grid(UTM, LEFT + 10 * dx, TOP - 10 * dy, 10, size, size))
    expected = np.zeros((200, 200), "uint16")
    expected[80:120, 80:120] = raw
    expected = expected[80 + dy : 80 + dy + size, 80 + dx : 80 + dx + size]
    assert np.array_equal(found if found is not None else np.zeros_like(expected), expected)


@pytest.mark.parametrize("nodata", [None, -9999.0, np.nan])
def test_backscatter_becomes_rounded_dn(tmp_path, nodata):
    raw = np.array([[-12.3449, 0.0, 3.0026, np.nan, np.nan if nodata is None else nodata, -np.inf]], "float32")
    path = write_tile(tmp_path / "t.tif", [raw, raw], LEFT, TOP, bands=("VV", "VH"), nodata=nodata)
    found = read(path, "s1_grd", Grid(UTM, LEFT, TOP, 10, 6, 1))
    assert found.dtype == np.int16
    assert found[0].tolist() == [-2469, 0, 601, -32768, -32768, -32768]


@pytest.mark.parametrize(("hole", "nodata"), [(0, None), (0, 0), (65535, 65535), (0, 65535)])
def test_nodata_never_bleeds(tmp_path, hole, nodata):
    """Upsampled 60 m to 10 m: exactly the native pixel is missing, and its neighbours keep their own level."""
    raw = np.full((6, 6), 5000, "uint16")
    raw[2, 3] = hole
    path = write_tile(tmp_path / "t.tif", [raw] * 9, LEFT, TOP, 60, bands=MONTHLY, nodata=nodata)
    found = read(path, "s2_rgb_monthly", Grid(UTM, LEFT, TOP, 10, 36, 36))
    missing = np.zeros((36, 36), bool)
    missing[12:18, 18:24] = True
    assert np.array_equal(found == 0, missing)
    assert set(found[~missing]) == {5000}


def test_resampling_follows_the_geotransform_to_a_fraction_of_a_pixel(tmp_path):
    """A plane sampled at 60 m, on a grid that starts 4 m and 23 m away, read at 10 m: the plane again."""
    rows, columns = np.mgrid[:20, :20]
    left, top = LEFT - 77.0, TOP + 83.0
    x, y = left + 60 * (columns + 0.5) - LEFT, TOP - (top - 60 * (rows + 0.5))
    raw = np.round(3000 + 2.0 * x + 1.0 * y).astype("uint16")
    path = write_tile(tmp_path / "t.tif", [raw] * 9, left, top, 60, bands=MONTHLY)
    found = read(path, "s2_rgb_monthly", Grid(UTM, LEFT, TOP, 10, 64, 64))
    rows, columns = np.mgrid[:64, :64]
    truth = 3000 + 2.0 * 10 * (columns + 0.5) + 10 * (rows + 0.5)
    assert np.abs(found - truth).max() <= 1  # 20 DN a pixel: a twentieth of a pixel


@pytest.mark.parametrize(
    "projection",
    [
        "EPSG:4326",
        "ESRI:54009",
        "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs",
        "EPSG:32632",
    ],
)
def test_labels_in_another_projection_land_on_their_ground(tmp_path, projection):
    """Each grid pixel gets the class of the native pixel that contains its centre: within half a native pixel."""
    crs = CRS.from_string(projection)
    step = 1 / 1200 if crs.is_geographic else 100.0
    grid = Grid(UTM, LEFT, TOP, 10, 200, 200)
    to_native = Transformer.from_crs(UTM, crs.to_wkt(), always_xy=True)
    west, south, east, north = to_native.transform_bounds(*grid.bounds)
    left, top = west - 3.3 * step, north + 3.7 * step
    shape = int((top - south) / step) + 4, int((east - left) / step) + 4
    codes = np.random.default_rng(1).choice([10, 30, 40, 50, 80], shape).astype("uint8")
    path = write_tile(tmp_path / "t.tif", codes, left, top, step, crs=crs)
    found = read(path, "worldcover", grid)
    x, y = np.meshgrid(LEFT + 10 * (np.arange(200) + 0.5), TOP - 10 * (np.arange(200) + 0.5))
    native_x, native_y = to_native.transform(x, y)
    expected = codes[((top - native_y) / step).astype(int), ((native_x - left) / step).astype(int)]
    assert np.array_equal(found, expected)
    shifted = codes[((top - native_y) / step + 0.5).astype(int), ((native_x - left) / step).astype(int)]
    assert (found != shifted).mean() > 0.2  # the comparison can tell half a native pixel


def test_coherence_lands_on_its_ground(tmp_path):
    coherence = np.zeros((40, 60), "f4")
    coherence[10:30, 20:50] = np.linspace(0.2, 0.9, 30)
    path = write_gunw(tmp_path / gunw_name(), coherence)
    grid = Grid(UTM, LEFT, TOP, 10, 200, 150)
    found = read(path, "s1_coherence", grid)
    to_native = Transformer.from_crs(UTM, 4326, always_xy=True)
    x, y = np.meshgrid(LEFT + 10 * (np.arange(200) + 0.5), TOP - 10 * (np.arange(150) + 0.5))
    lon, lat = to_native.transform(x, y)
    column, row = (lon - 14.99) * 1200, (52.36 - lat) * 1200
    inside = (column >= 0) & (column < 60) & (row >= 0) & (row < 40)
    observed = inside & (coherence[row.astype(int).clip(0, 39), column.astype(int).clip(0, 59)] > 0)
    assert 0.1 < observed.mean() < 0.9
    assert np.array_equal(found != 65535, observed)
    level = np.interp(column - 0.5, np.arange(20, 50), np.linspace(0.2, 0.9, 30))
    assert np.abs(found[observed] * 1e-4 - level[observed]).max() < 1e-4


def test_layer_table_is_found_by_name():
    assert find_layer("mod44b") is LABELS["mod44b"]
    with pytest.raises(TerraprobeError, match=r"layer s3: unknown\. Allowed: s2_l1c"):
        find_layer("s3")


def test_reading_does_not_keep_files_open(tmp_path):
    path = write_tile(tmp_path / "t.tif", np.ones((2, 2, 2), "float32"), LEFT, TOP, bands=("VV", "VH"))
    with open_raster(path) as dataset:
        pass
    assert dataset.closed
    assert rasterio.open(path).count == 2


@pytest.mark.parametrize("crs", [UTM, "EPSG:32634", "EPSG:4326"])
@pytest.mark.parametrize(("across", "down"), [(-250, -250), (100, -295), (199.4, 80), (60, 70)])
def test_only_what_a_tile_reaches_is_warped_and_nothing_changes(tmp_path, monkeypatch, crs, across, down):
    grid = Grid(UTM, LEFT, TOP, 10.0, 200, 200)
    left, top = Transformer.from_crs(UTM, crs, always_xy=True).transform(LEFT + across * 10, TOP - down * 10)
    pixel = 10.0 if crs != "EPSG:4326" else (1.4e-4, 9e-5)
    codes = np.random.default_rng(1).choice([0, 10, 40, 80], (300, 300)).astype("uint8")
    labels = write_tile(tmp_path / "l.tif", codes, left, top, pixel, crs=crs, nodata=0)
    levels = np.random.default_rng(2).uniform(-30, 5, (2, 300, 300)).astype("float32")
    radar = write_tile(tmp_path / "r.tif", levels, left, top, pixel, crs=crs, bands=["VV", "VH"])
    warped, real = [], warp._warp
    monkeypatch.setattr(warp, "_warp", lambda *args: warped.append(args[3]) or real(*args))
    parts = [read(labels, "worldcover", grid), read(radar, "s1_grd", grid)]
    assert all(part.width * part.height < 200 * 200 for part in warped)
    whole = (slice(0, 200), slice(0, 200)), grid
    monkeypatch.setattr(warp, "_reached", lambda *_: whole)
    for part, all_of_it in zip(parts, (read(labels, "worldcover", grid), read(radar, "s1_grd", grid)), strict=True):
        assert np.array_equal(part, all_of_it)
        assert (part != part.flat[0]).any()
