"""The chip grid: equal ground has an equal id, and the geometry lies where the transform says."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.transform import from_origin

from terraprobe.acquire.simulated.world import SimulatedWorld, place_grid
from terraprobe.artifacts import read_table, table_metadata
from terraprobe.collections.chiptable import chip_centres
from terraprobe.collections.grid import GridRecipe, chip_frame, chip_id, lay_grid
from terraprobe.errors import TerraprobeError

LEFT, TOP = 435_733.0, 4_179_457.0
COLUMNS = ["chip_id", "geometry", "crs", "transform", "block", "shard", "source"]


def write_tile(path, width=150, height=100, crs="EPSG:32618", transform=None):
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint16", "crs": crs}
    with rasterio.open(path, "w", transform=transform or from_origin(LEFT, TOP, 10, 10), **profile) as tile:
        tile.write(np.ones((1, height, width), np.uint16))
    return path


def scene(chip_px=32, block_chips=2):
    area = {"kind": "scene", "source": "virginia", "chip_px": chip_px, "block_chips": block_chips}
    return GridRecipe(area=area)


def lay(tmp_path, tiles, recipe):
    lay_grid(tiles=tiles, recipe=recipe, grid=tmp_path / "grid.parquet")
    return read_table(tmp_path / "grid.parquet")


def corners(row, chip_px):
    """Corners of a chip from its transform, (4, 2) as lon, lat."""
    a, _, left, _, e, top = row.transform
    to_degrees = Transformer.from_crs(row.crs, "EPSG:4326", always_xy=True)
    x, y = [left, left + a * chip_px], [top, top + e * chip_px]
    return np.array([to_degrees.transform(px, py) for px in x for py in y])


def assert_geometry_agrees(frame, chip_px):
    for row in frame.itertuples():
        outline = np.array(row.geometry.exterior.coords)
        for corner in corners(row, chip_px):
            assert np.abs(outline - corner).max(axis=1).min() < 1e-6


def test_a_scene_with_an_odd_origin(tmp_path):
    frame = lay(tmp_path, [write_tile(tmp_path / "T18_B02.tif")], scene())
    assert list(frame.columns) == COLUMNS or set(frame.columns) == set(COLUMNS)
    assert frame.crs == "EPSG:4326"
    assert table_metadata(tmp_path / "grid.parquet")["chip_px"] == "32"
    assert len(frame) == 4 * 3  # 150 x 100 px: the remainders of 22 and 4 px are dropped
    assert frame["chip_id"].is_unique
    assert set(frame["crs"]) == {"EPSG:32618"}
    assert set(frame["shard"]) == {"000"}
    assert set(frame["source"]) == {"virginia"}
    assert list(frame["transform"].iloc[0]) == [10, 0, LEFT, 0, -10, TOP]
    assert list(frame["transform"].iloc[5]) == [10, 0, LEFT + 320, 0, -10, TOP - 320]
    assert frame["chip_id"].iloc[5] == "32618_436053_4178817_436373_4179137"
    assert_geometry_agrees(frame, 32)


def test_blocks_are_squares_of_chips(tmp_path):
    frame = lay(tmp_path, [write_tile(tmp_path / "T18_B02.tif")], scene())
    assert frame["block"].value_counts().to_dict() == {"000-000": 4, "000-001": 4, "001-000": 2, "001-001": 2}
    assert list(frame["block"].iloc[[0, 1, 4, 5]]) == ["000-000"] * 4


def test_a_scene_of_exactly_one_chip(tmp_path):
    assert len(lay(tmp_path, [write_tile(tmp_path / "T18_B02.tif", 32, 32)], scene())) == 1


def test_the_grid_follows_a_10_m_band_whatever_the_order(tmp_path):
    coarse = write_tile(tmp_path / "T18_B01.tif", 25, 17, transform=from_origin(LEFT - 10, TOP + 20, 60, 60))
    fine = write_tile(tmp_path / "T18_B03.tif")
    first = lay(tmp_path, [coarse, fine], scene())
    second = lay(tmp_path, [fine, coarse], scene())
    assert first.equals(second)
    assert first["transform"].iloc[0][2] == LEFT


def test_equal_input_gives_equal_bytes(tmp_path):
    tile = write_tile(tmp_path / "T18_B02.tif")
    for name in ("a", "b"):
        lay_grid(tiles=[tile], recipe=scene(), grid=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("tile", "word"),
    [
        ({"crs": None}, "CRS None"),
        ({"crs": "EPSG:4326", "transform": from_origin(7, 51, 1e-4, 1e-4)}, "projected CRS"),
        ({"transform": from_origin(LEFT, TOP, 20, 20)}, "pixels of 10 m"),
        ({"transform": rasterio.Affine(10, 1, LEFT, 1, -10, TOP)}, "north-up"),
        ({"width": 31}, "31 x 100 px, smaller than one chip of 32 px"),
    ],
)
def test_a_tile_that_carries_no_grid(tmp_path, tile, word):
    path = write_tile(tmp_path / "T18_B02.tif", **tile)
    with pytest.raises(TerraprobeError, match=rf"T18_B02\.tif: .*{word}"):
        lay(tmp_path, [path], scene())
    assert not (tmp_path / "grid.parquet").exists()


def test_a_broken_tile(tmp_path):
    path = tmp_path / "T18_B02.tif"
    path.write_bytes(b"II*\0 cut")
    with pytest.raises(TerraprobeError, match=r"T18_B02\.tif: cannot be read as a raster"):
        lay(tmp_path, [path], scene())


def test_no_10_m_band(tmp_path):
    with pytest.raises(TerraprobeError, match=r"no 10 m band among .*T18_B01\.tif.*B02"):
        lay(tmp_path, [write_tile(tmp_path / "T18_B01.tif")], scene())


def test_places_across_utm_zones(tmp_path):
    world = SimulatedWorld(seed=5, n_places=24, place_px=72, bbox=(-4.0, 42.0, 20.0, 56.0))
    shards = [list(range(12)), list(range(12, 24))]
    area = {"kind": "places", "source": "land", "chip_px": 32, "world": world, "shards": shards}
    frame = lay(tmp_path, [], GridRecipe(area=area))
    assert len(frame) == 24 * 4  # 72 px: a remainder of 8 px is dropped
    assert frame["chip_id"].is_unique
    assert frame["crs"].nunique() >= 3
    assert frame["block"].nunique() == 24
    assert frame["shard"].value_counts().to_dict() == {"000": 48, "001": 48}
    assert frame["shard"].is_monotonic_increasing
    assert len(frame[["block", "crs"]].drop_duplicates()) == 24
    lon, _ = chip_centres(frame)
    zones = np.floor((lon + 180) / 6).astype(int) + 1
    near = [int(crs.removeprefix("EPSG:326")) - zone for crs, zone in zip(frame["crs"], zones, strict=True)]
    assert set(near) <= {-1, 0, 1}
    assert_geometry_agrees(frame, 32)
    for place in (0, 23):
        crs, transform, _, _ = place_grid(world, place)
        first = frame[frame["block"] == f"place-{place:04d}"].iloc[0]
        assert first["crs"] == crs
        assert list(first["transform"]) == list(transform)


@settings(max_examples=30, deadline=None)
@given(
    zone=st.sampled_from([32601, 32618, 32633, 32660, 32733]),
    left=st.integers(20_000, 90_000),
    top=st.integers(10_000, 900_000),
    chip_px=st.sampled_from([16, 64, 224]),
    steps=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12, unique=True),
)
def test_ids_are_unique_and_hold_the_bounds(zone, left, top, chip_px, steps):
    side = chip_px * 10
    rows = pd.DataFrame(
        {
            "crs": f"EPSG:{zone}",
            "left": [left * 10 + side * c for c, _ in steps],
            "top": [top * 10 + side * r for _, r in steps],
            "block": "b",
            "shard": "000",
            "source": "s",
        }
    )
    frame = chip_frame(rows, chip_px)
    assert frame["chip_id"].is_unique
    for row, given_left, given_top in zip(frame.itertuples(), rows["left"], rows["top"], strict=True):
        code, west, south, east, north = map(int, row.chip_id.split("_"))
        assert code == zone
        assert (west, north) == (given_left, given_top) == (row.transform[2], row.transform[5])
        assert east - west == north - south == side
        assert chip_id(row.crs, west, north, side) == row.chip_id


def test_a_table_with_any_index_keeps_its_rows(tmp_path):
    rows = pd.DataFrame(
        {
            "crs": ["EPSG:32633", "EPSG:32632", "EPSG:32633"],
            "left": [500_000.0, 600_000.0, 510_000.0],
            "top": [5_600_000.0] * 3,
            "block": list("abc"),
            "shard": "000",
            "source": "s",
        },
        index=[7, 3, 5],
    )
    frame = chip_frame(rows, 64)
    assert list(frame["block"]) == ["a", "b", "c"]
    assert_geometry_agrees(frame, 64)
