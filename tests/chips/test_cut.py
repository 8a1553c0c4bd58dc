"""Cutting chips: band alignment on genuine scenes, overlaps, missing tiles, independence of how the work is cut up."""

import os
import signal
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from chip_rasters import (
    LEFT,
    MONTHLY,
    TOP,
    UTM,
    cut,
    gunw_name,
    manifest_of,
    seal_and_open,
    write_grid,
    write_gunw,
    write_tile,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from terraprobe.chips import cut as cut_module
from terraprobe.chips.tiles import describe_tiles, open_raster
from terraprobe.chips.warp import Grid, read_band
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L1C_BANDS, LABELS, MODALITIES, OSM_CLASSES, S2_RESOLUTION_M


def edge_shift(one, other, smooth_px=3.0):
    """Shift (rows, columns) of `other` against `one`, in pixels, from the correlation of their edge strength."""
    edges = []
    for image in (one, other):
        rows, columns = np.gradient(gaussian_filter(image.astype(float), smooth_px))
        strength = np.hypot(rows, columns)
        window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
        edges.append(np.fft.fft2((strength - strength.mean()) * window))
    correlation = np.fft.fftshift(np.fft.ifft2(edges[0].conj() * edges[1]).real)
    peak = np.array(np.unravel_index(correlation.argmax(), correlation.shape))
    shift = []
    for axis in (0, 1):
        step = np.eye(2, dtype=int)[axis]
        low, middle, high = (correlation[tuple(peak + offset * step)] for offset in (-1, 0, 1))
        shift.append(peak[axis] - correlation.shape[axis] // 2 + 0.5 * (low - high) / (low - 2 * middle + high))
    return np.array(shift)


@pytest.fixture(scope="module")
def virginia(scene_dir):
    """Every band of virginia on its 10 m grid, and as a reader that goes by array shape would place it."""
    folder = scene_dir("virginia")
    layer, grid = MODALITIES["s2_l1c"], Grid("EPSG:32618", 435730, 4179460, 10, 1920, 1920)
    right, by_shape = {}, {}
    for tile in describe_tiles(folder.glob("*.jp2"), layer):
        band = next(iter(tile.bands))
        with open_raster(tile.path) as dataset:
            right[band] = read_band(dataset, tile, band, layer, grid)
            times = S2_RESOLUTION_M[band] // 10
            by_shape[band] = np.kron(dataset.read(1), np.ones((times, times)))[:1920, :1920]
    return right, by_shape


@pytest.mark.parametrize(
    ("band", "like", "smooth_px", "wrong_px"),
    [("B05", "B04", 1, 0.9), ("B03", "B04", 1, None), ("B01", "B02", 3, 2.0), ("B09", "B8A", 3, 1.8)],
)
def test_edges_of_virginia_agree_across_native_grids(virginia, band, like, smooth_px, wrong_px):
    """10, 20 and 60 m bands start at different corners; each is compared with the band next to it in wavelength."""
    right, by_shape = virginia
    assert np.abs(edge_shift(right[like], right[band], smooth_px)).max() < 0.3
    if wrong_px is not None:
        assert np.abs(edge_shift(right[like], by_shape[band], smooth_px)).max() > wrong_px


def test_virginia_and_havelland_are_cut_whole(scene_dir, tmp_path):
    for scene, left, top, columns, rows, crs in (
        ("virginia", 435730, 4179460, 3, 2, "EPSG:32618"),
        ("havelland", 330000, 5822040, 24, 12, "EPSG:32633"),
    ):
        folder = scene_dir(scene)
        corners = [(left + 640 * c, top - 640 * r) for r in range(rows) for c in range(columns)]
        (tmp_path / scene).mkdir()
        grid = write_grid(tmp_path / scene / "grid.parquet", corners, 64, crs=crs)
        chips, valid = cut(grid, folder.glob("*.jp2"), "s2_l1c")
        assert valid.min() > 0.95
        with rasterio.open(folder / f"{scene}_B04.jp2") as dataset:
            raw = dataset.read(1)
        assert np.array_equal(chips[columns + 1, 3], raw[64:128, 64:128])
    store = seal_and_open(grid, "s2_l1c")
    assert store.bands == L1C_BANDS
    assert store.chip(7).max() < 3  # reflectance


@pytest.mark.parametrize("kept", [0.001, 0.5, 0.9, 0.9999])
def test_a_truncated_scene_is_an_error_and_never_zeros(scene_dir, tmp_path, kept):
    """GDAL's threaded JPEG2000 reader returns zeros for these files, and no error."""
    for path in scene_dir("havelland").glob("*.jp2"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "havelland_B05.jp2"
    broken.write_bytes(broken.read_bytes()[: int(broken.stat().st_size * kept)])
    corners = [(330000 + 640 * c, 5822040 - 640 * r) for r in range(12) for c in range(24)]
    grid = write_grid(tmp_path / "grid.parquet", corners, 64, crs="EPSG:32633")
    with pytest.raises(TerraprobeError, match=r"havelland_B05\.jp2: cannot be read as a raster.*Delete it"):
        cut(grid, tmp_path.glob("*.jp2"), "s2_l1c")


def test_osm_polygons_of_havelland(scene_dir, tmp_path):
    corners = [(330000 + 640 * c, 5822040 - 640 * r) for r in range(12) for c in range(24)]
    grid = write_grid(tmp_path / "grid.parquet", corners, 64, crs="EPSG:32633")
    path = scene_dir("havelland") / "havelland_osm.gpkg"
    chips, valid = cut(grid, [path], "osm")
    assert set(np.unique(chips)) == {0, *OSM_CLASSES}
    assert set(gpd.read_file(path)["fclass"]) == set(OSM_CLASSES.values())
    assert 0.30 < valid.mean() < 0.32  # sources.md: 69 % unlabelled
    assert np.allclose(valid[:, 0], (chips[:, 0] != 0).mean(axis=(1, 2)))


def test_edges_of_a_synthetic_scene_agree(tmp_path):
    """One truth, block-averaged to 10, 20 and 60 m files with different corners: chips differ by the blur only."""
    rng = np.random.default_rng(3)
    truth = gaussian_filter(rng.normal(size=(720, 720)), 12)
    truth = (4000 + 2000 * truth / np.abs(truth).max()).astype("float64")
    for band in L1C_BANDS:
        metres = S2_RESOLUTION_M[band]
        times, skip = metres // 10, {10: 0, 20: 3, 60: 5}[metres]
        part = truth[skip:, skip:]
        count = len(part) // times
        coarse = part[: count * times, : count * times].reshape(count, times, count, times).mean(axis=(1, 3))
        left, top = LEFT + 10 * skip, TOP - 10 * skip
        write_tile(tmp_path / f"scene_{band}.tif", np.rint(coarse).astype("uint16"), left, top, metres)
    corners = [(LEFT + 10 * c, TOP - 10 * r) for r in range(64, 576, 64) for c in range(64, 576, 64)]
    grid = write_grid(tmp_path / "grid.parquet", corners, 64)
    chips, valid = cut(grid, tmp_path.glob("*.tif"), "s2_l1c")
    assert (valid == 1).all()
    mosaic = chips.reshape(8, 8, 13, 64, 64).transpose(2, 0, 3, 1, 4).reshape(13, 512, 512)
    for band in ("B05", "B01", "B10", "B8A"):
        assert np.abs(edge_shift(mosaic[3], mosaic[L1C_BANDS.index(band)])).max() < 0.1
    assert np.abs(edge_shift(mosaic[3], np.roll(mosaic[0], 1, axis=1))).max() > 0.7


def monthly_tile(path, value, *, left=LEFT, top=TOP, size=16, hole=None):
    pixels = np.full((9, size, size), value, "uint16")
    if hole is not None:
        pixels[:, hole] = 0
    return write_tile(path, pixels, left, top, bands=MONTHLY)


def test_first_tile_by_name_that_observed_a_pixel_wins(tmp_path):
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)])
    tiles = [
        monthly_tile(tmp_path / "b.tif", 200),
        monthly_tile(tmp_path / "a.tif", 100, hole=slice(0, 4)),
        monthly_tile(tmp_path / "c.tif", 300),
    ]
    chips, valid = cut(grid, tiles, "s2_rgb_monthly")
    assert (chips[0, :, :4] == 200).all()
    assert (chips[0, :, 4:] == 100).all()
    assert (valid == 1).all()


def test_chips_without_a_tile_are_recorded_missing(tmp_path):
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP), (LEFT + 5000, TOP), (LEFT + 80, TOP)])
    chips, valid = cut(grid, [monthly_tile(tmp_path / "a.tif", 100)], "s2_rgb_monthly")
    assert valid[:, 0].tolist() == [1, 0, 0.5]
    assert (chips[1] == 0).all()
    assert (chips[2, :, :, :8] == 100).all()
    assert (chips[2, :, :, 8:] == 0).all()
    assert seal_and_open(grid, "s2_rgb_monthly").valid[1].max() == 0


@pytest.mark.parametrize("tiles", ["nodata", "none", "elsewhere"])
def test_a_layer_that_observed_nothing_cannot_be_sealed(tmp_path, tiles):
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)])
    paths = {
        "nodata": lambda: [monthly_tile(tmp_path / "a.tif", 0)],
        "none": list,
        "elsewhere": lambda: [monthly_tile(tmp_path / "a.tif", 9, left=LEFT + 90_000)],
    }[tiles]()
    chips, valid = cut(grid, paths, "s2_rgb_monthly")
    assert chips.max() == valid.max() == 0
    with pytest.raises(TerraprobeError, match="no chip has one valid pixel of s2_rgb_monthly: the tiles hold nodata"):
        seal_and_open(grid, "s2_rgb_monthly")
    assert not (tmp_path / "s2_rgb_monthly" / "spec.json").exists()


@pytest.mark.parametrize("layer", ["s1_coherence", "worldcover", "s2_l1c", "osm"])
def test_pixels_do_not_depend_on_how_the_work_is_cut_up(tmp_path, monkeypatch, layer):
    """One cell or many, one shard or three: equal bytes, also where the tile is in another projection."""
    rng = np.random.default_rng(5)
    corners = [(LEFT + 160 * c + (7.3 if c > 8 else 0), TOP - 160 * r) for r in range(10) for c in range(12)]
    if layer == "s1_coherence":
        coherence = rng.uniform(0.01, 1, (40, 60)).astype("f4")
        coherence[rng.random((40, 60)) < 0.1] = 0
        tiles = [write_gunw(tmp_path / gunw_name(), coherence)]
    elif layer == "worldcover":
        codes = rng.choice([0, 10, 40, 80], (600, 900)).astype("uint8")
        tiles = [write_tile(tmp_path / "t.tif", codes, 14.995, 52.352, 1 / 12000, crs="EPSG:4326", nodata=0)]
    elif layer == "s2_l1c":
        noise = {m: rng.integers(0, 9000, (2400 // m, 2400 // m)).astype("uint16") for m in (10, 20, 60)}
        tiles = [
            write_tile(tmp_path / f"s_{band}.tif", noise[m], LEFT - m, TOP + m, m)
            for band, m in S2_RESOLUTION_M.items()
        ]
    else:
        tiles = [write_polygons(tmp_path / "p.gpkg", rng)]
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    chips, valid = cut(write_grid(tmp_path / "one" / "grid.parquet", corners), tiles, layer)
    assert 0.3 < valid.mean() <= 1
    monkeypatch.setattr(cut_module, "CELL_PX", 24)
    shards = sorted(f"{i % 3}" for i in range(len(corners)))
    grid = write_grid(tmp_path / "three" / "grid.parquet", corners, shards=shards)
    parts = [cut(grid, tiles, layer, shard) for shard in "012"]
    assert np.array_equal(chips, np.concatenate([part[0] for part in parts]))
    assert np.array_equal(valid, np.concatenate([part[1] for part in parts]))


@settings(max_examples=50, deadline=None)
@given(
    corners=st.lists(st.tuples(st.integers(-3000, 3000), st.integers(-3000, 3000)), min_size=1, max_size=30),
    phases=st.sampled_from([(0.0,), (0.0, 3.3), (0.0, 5.0, 9.99)]),
    side_px=st.sampled_from([16, 64, 2048]),
)
def test_every_chip_lies_once_in_a_window_that_is_mostly_chips(corners, phases, side_px):
    transforms = np.array(
        [
            [10.0, 0, LEFT + 10 * column + phases[i % len(phases)], 0, -10.0, TOP - 10 * line]
            for i, (column, line) in enumerate(corners)
        ]
    )
    cells = list(cut_module._cells([UTM] * len(corners), transforms, 16, side_px))
    assert sorted(row for cell in cells for row, _, _ in cell.chips) == list(range(len(corners)))
    for cell in cells:
        for row, column, line in cell.chips:
            corner = (cell.grid.left + 10 * column, cell.grid.top - 10 * line)
            assert np.allclose(corner, transforms[row, [2, 5]], rtol=0, atol=1e-6)
            assert 0 <= column <= cell.grid.width - 16
            assert 0 <= line <= cell.grid.height - 16
        assert cell.grid.width * cell.grid.height <= 4 * 16**2 * len(cell.chips)


def write_polygons(path, rng, crs="EPSG:4326"):
    centres = rng.uniform((LEFT, TOP - 1600), (LEFT + 1900, TOP), (60, 2))
    shapes = shapely.buffer(shapely.points(centres), rng.uniform(50, 400, 60))
    frame = gpd.GeoDataFrame({"fclass": rng.choice([*OSM_CLASSES.values()], 60)}, geometry=shapes, crs=UTM)
    frame.to_crs(crs).to_file(path, driver="GPKG")
    return path


def test_smaller_polygon_wins_and_nothing_is_not_a_class(tmp_path):
    forest = shapely.box(LEFT, TOP - 160, LEFT + 120, TOP)
    pond = shapely.box(LEFT + 20, TOP - 100, LEFT + 60, TOP - 60)
    for order in ([0, 1], [1, 0]):
        frame = gpd.GeoDataFrame({"fclass": ["forest", "water"]}, geometry=[forest, pond], crs=UTM).iloc[order]
        frame.to_file(tmp_path / "p.gpkg", driver="GPKG")
        chips, valid = cut(write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)]), [tmp_path / "p.gpkg"], "osm")
        expected = np.zeros((16, 16), "uint8")
        expected[:, :12] = 1
        expected[6:10, 2:6] = 6
        assert np.array_equal(chips[0, 0], expected)
        assert valid[0, 0] == 0.75


def test_unknown_polygon_class_is_refused(tmp_path):
    frame = gpd.GeoDataFrame({"fclass": ["castle"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM)
    frame.to_file(tmp_path / "p.gpkg", driver="GPKG")
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)])
    with pytest.raises(TerraprobeError, match=r"p\.gpkg: fclass castle has no code in osm; known: forest"):
        cut(grid, [tmp_path / "p.gpkg"], "osm")
    (tmp_path / "q.gpkg").write_bytes((tmp_path / "p.gpkg").read_bytes()[:3000])
    with pytest.raises(TerraprobeError, match=r"q\.gpkg: cannot be read as a vector file"):
        cut(grid, [tmp_path / "q.gpkg"], "osm")


def test_each_chip_has_its_own_pairs_first(tmp_path):
    full, west = np.full((60, 60), 0.5, "f4"), np.full((60, 60), 0.25, "f4")
    west[:, 15:] = 0  # the eastern chip has no pixel of this pair, although the file's bounds touch it
    late = np.full((60, 60), 0.75, "f4")
    names = [("20200113_20200101", west), ("20200125_20200113", full), ("20200206_20200125", late)]
    tiles = [write_gunw(tmp_path / gunw_name(pair), values) for pair, values in reversed(names)]
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP), (LEFT + 1000, TOP), (LEFT + 90_000, TOP)])
    chips, valid = cut(grid, tiles, "s1_coherence")
    assert chips[0, :, 8, 8].tolist() == [2500, 5000, 7500]
    assert chips[1, :, 8, 8].tolist() == [5000, 7500, 65535]
    assert (valid[2] == 0).all()
    store = seal_and_open(grid, "s1_coherence")
    assert store.bands == ("coherence_0", "coherence_1", "coherence_2")
    assert np.isnan(store.chip(1)[2]).all()
    assert np.allclose(store.chip(1)[0], 0.5)


def test_no_pair_at_all_is_one_missing_channel(tmp_path):
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)])
    chips, valid = cut(grid, [], "s1_coherence")
    assert chips.shape == (1, 1, 16, 16)
    assert (chips == 65535).all()
    assert valid.max() == 0


def test_frames_of_one_pair_are_one_channel(tmp_path):
    south = np.full((60, 60), 0.3, "f4")
    south[:30] = 0
    north = np.full((60, 60), 0.6, "f4")
    north[30:] = 0
    for time_of_day, values in (("171000", north), ("171025", south)):
        write_gunw(tmp_path / gunw_name(time=time_of_day), values)
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP), (LEFT, TOP - 3000)])
    chips, _ = cut(grid, tmp_path.glob("*.nc"), "s1_coherence")
    assert chips[:, :, 8, 8].ravel().tolist() == [6000, 3000]


def test_unknown_shard_and_broken_grid_are_refused(tmp_path):
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)] * 3, shards=["0", "1", "0"])
    with pytest.raises(TerraprobeError, match=r"no shard 7; there are \['0', '1'\]"):
        cut(grid, [], "osm", "7")
    tile = monthly_tile(tmp_path / "a.tif", 5)
    for shard in "01":
        cut(grid, [tile], "s2_rgb_monthly", shard)
    with pytest.raises(TerraprobeError, match="rows of one shard do not follow each other"):
        seal_and_open(grid, "s2_rgb_monthly", "01")
    with pytest.raises(TerraprobeError, match=r"shards \['0'\], expected \['0', '1'\]"):
        seal_and_open(grid, "s2_rgb_monthly", "0")


def test_a_broken_tile_leaves_no_shard(tmp_path):
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)])
    tile = monthly_tile(tmp_path / "a.tif", 5, size=400)
    tile.write_bytes(tile.read_bytes()[:200_000])
    with pytest.raises(TerraprobeError, match=r"a\.tif: cannot be read as a raster"):
        cut(grid, [tile], "s2_rgb_monthly")
    assert list(tmp_path.glob("s2_rgb_monthly/*")) == []


def test_kill_while_cutting_leaves_no_final_name(tmp_path):
    """SIGKILL at several moments; the shard is either absent or whole."""
    corners = [(LEFT + 160 * c, TOP - 160 * r) for r in range(40) for c in range(40)]
    grid = write_grid(tmp_path / "grid.parquet", corners)
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 9000, (9, 640, 640)).astype("uint16")
    tile = write_tile(tmp_path / "a.tif", pixels, LEFT, TOP, bands=MONTHLY)
    whole, _ = cut(grid, [tile], "s2_rgb_monthly")
    final = tmp_path / "s2_rgb_monthly" / "000.npy"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from terraprobe.chips import cut\n"
        "whole = cut._cut\n"
        "def slow(*given):\n"
        "    for count, chip in enumerate(whole(*given)):\n"
        "        yield chip\n"
        "        if count % 100 == 0: print('wrote', flush=True); time.sleep(0.05)\n"
        "cut._cut, cut.CELL_PX = slow, 160\n"
        "grid, listed, pixels = map(Path, sys.argv[1:])\n"
        "recipe = cut.CutRecipe(layer='s2_rgb_monthly', shard='000')\n"
        "valid = pixels.with_suffix('.valid.npy')\n"
        "cut.cut_chips(grid=grid, manifest=listed, recipe=recipe, pixels=pixels, valid=valid)\n"
    )
    final.unlink()
    listed = manifest_of("s2_rgb_monthly", [tile], tmp_path / "manifest.json")
    for written in (1, 9):
        command = [sys.executable, "-c", code, str(grid), str(listed), str(final)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(written):
            assert process.stdout.readline() == "wrote\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not final.exists()
    again, _ = cut(grid, [tile], "s2_rgb_monthly")
    assert np.array_equal(again, whole)


@pytest.mark.parametrize("place", ["282D_485L_3_3", "38D_378R_2_3", "609U_541L_3_0", "637U_59R_1_3"])
def test_genuine_paired_tiles(shared_data, tmp_path, place):
    """Sentinel-1, Sentinel-2 L2A and land cover of one place, named by band, are cut pixel for pixel."""
    codes = {1: 80, 2: 10, 3: 90, 4: 40, 5: 50, 6: 60, 7: 70, 9: 30}  # its own land-cover codes to WorldCover's
    sources = {
        "s1_grd": ("S1RTC", lambda raw: raw),
        "s2_l2a": ("S2L2A", lambda raw: raw),
        "worldcover": ("LULC", lambda raw: np.vectorize(lambda code: codes.get(code, 0))(raw).astype("uint8")),
    }
    for layer, (folder, convert) in sources.items():
        with rasterio.open(shared_data / "terramesh" / folder / f"{place}.tif") as dataset:
            raw, crs, transform = convert(dataset.read()), dataset.crs.to_string(), dataset.transform
        bands = MODALITIES[layer].bands if layer in MODALITIES else None
        tile = write_tile(tmp_path / f"{layer}.tif", raw, transform.c, transform.f, crs=crs, bands=bands)
        corners = [(transform.c + 640 * c, transform.f - 640 * r) for r in range(3) for c in range(3)]
        grid = write_grid(tmp_path / "grid.parquet", corners, 64, crs=crs)
        chips, valid = cut(grid, [tile], layer)
        mosaic = chips.reshape(3, 3, len(raw), 64, 64).transpose(2, 0, 3, 1, 4).reshape(len(raw), 192, 192)
        own = raw[:, :192, :192]
        if layer == "s1_grd":
            assert np.abs(mosaic * 0.005 - own).max() <= 0.00251
        else:
            assert np.array_equal(mosaic, own)
        assert valid.min() > 0.9
        assert seal_and_open(grid, layer).layer.unit in {"backscatter_db", "reflectance", "class"}
    with pytest.raises(TerraprobeError, match=r"which is not a value of worldcover|B01"):
        cut(grid, [shared_data / "terramesh" / "LULC" / f"{place}.tif"], "worldcover")


def test_genuine_worldcover_in_degrees(shared_data, tmp_path):
    """São Tomé from EPSG:4326 to UTM 32N: class shares of the ground covered stay the same within a half per cent."""
    path = shared_data / "worldcover" / "ESA_WorldCover_10m_2020_v100_N00E006_Map_saotome.tif"
    left, top = 240_000.0, 40_000.0
    corners = [(left + 640 * c, top - 640 * r) for r in range(8) for c in range(8)]
    grid = write_grid(tmp_path / "grid.parquet", corners, 64, crs="EPSG:32632")
    chips, _ = cut(grid, [path], "worldcover")
    with rasterio.open(path) as dataset:
        bounds = rasterio.warp.transform_bounds("EPSG:32632", dataset.crs, left, top - 5120, left + 5120, top)
        raw = dataset.read(1, window=rasterio.windows.from_bounds(*bounds, dataset.transform))
    for code in np.unique(chips):
        assert abs((chips == code).mean() - (raw == code).mean()) < 0.005
    assert set(np.unique(chips)) <= {0, *LABELS["worldcover"].classes}
