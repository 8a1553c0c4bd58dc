"""Chips of neighbouring UTM zones share no pixel of ground and leave none out."""

import numpy as np
import pytest
import shapely
from chip_rasters import cut, seal_and_open, write_tile
from pyproj import Transformer

from terraprobe.artifacts import read_table, write_table
from terraprobe.collections.grid import chip_frame
from terraprobe.collections.zones import CLIP, lattice

CHIP_PX, STEP = 32, 1e-3
MERIDIAN = shapely.box(11.97, 49.985, 12.03, 50.015)
CROSSING = shapely.box(17.985, -0.015, 18.015, 0.015)
"""Around 18° E on the equator, where four CRS meet."""


def lay(folder, area, *, clip=True):
    """A grid over an area, and a raster in degrees whose value is the number of its column, modulo 101."""
    rows = lattice(area, CHIP_PX).assign(block="b", shard="000", source="s")
    grid = folder / "grid.parquet"
    write_table(grid, chip_frame(rows, CHIP_PX, clip=clip), {"chip_px": str(CHIP_PX), **(CLIP if clip else {})})
    west, south, east, north = np.array(area.bounds) + np.array([-1, -1, 1, 1]) * 0.05
    shape = round((north - south) / STEP), round((east - west) / STEP)
    pixels = np.broadcast_to((np.arange(shape[1]) % 101).astype("uint8"), shape)
    tile = write_tile(folder / "tile.tif", pixels, west, north, STEP, crs="EPSG:4326", nodata=253)
    return grid, tile, west


def owners(grid, chips, lon, lat):
    """For each point the chips that hold it in a valid pixel, and that pixel's value."""
    frame = read_table(grid)
    transforms = np.stack(frame["transform"].to_list())
    found = [[] for _ in lon]
    for crs in sorted(set(frame["crs"])):
        of_crs = np.flatnonzero(frame["crs"] == crs)
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
        for chip in of_crs:
            column = np.floor((x - transforms[chip, 2]) / 10).astype(int)
            row = np.floor((transforms[chip, 5] - y) / 10).astype(int)
            for k in np.flatnonzero((column >= 0) & (column < CHIP_PX) & (row >= 0) & (row < CHIP_PX)):
                if chips[chip, 0, row[k], column[k]] != 253:
                    found[k].append(int(chips[chip, 0, row[k], column[k]]))
    return found


@pytest.mark.parametrize("area", [MERIDIAN, CROSSING])
def test_every_point_is_valid_in_exactly_one_chip(tmp_path, area):
    grid, tile, west = lay(tmp_path, area)
    chips, valid = cut(grid, [tile], "mod44b")
    np.testing.assert_allclose(valid[:, 0], (chips[:, 0] != 253).mean(axis=(1, 2)), rtol=1e-6)
    assert 0 < valid.min() < 0.9 < valid.max() == 1
    rng = np.random.default_rng(0)
    lon = rng.uniform(area.bounds[0], area.bounds[2], 4000)
    lat = rng.uniform(area.bounds[1], area.bounds[3], 4000)
    found = owners(grid, chips, lon, lat)
    # The pixel that a border runs through goes with its centre, up to 7.1 m from the point.
    near = (np.abs(lon - round(area.centroid.x)) < 1.2e-4) | (np.abs(lat) < 7e-5)
    counts = np.array([len(values) for values in found])
    assert set(counts[~near]) == {1}
    assert 10 < near.sum() < 200 and set(counts[near]) <= {0, 1, 2, 3, 4}
    expected = np.floor((lon - west) / STEP)
    inner = ~near & (np.abs((lon - west) / STEP % 1 - 0.5) < 0.35)
    assert [values[0] for values, kept in zip(found, inner, strict=True) if kept] == list(expected[inner] % 101)


def test_without_the_clip_chips_of_both_zones_hold_the_border(tmp_path):
    grid, tile, _ = lay(tmp_path, MERIDIAN, clip=False)
    chips, valid = cut(grid, [tile], "mod44b")
    assert valid.min() == 1
    found = owners(grid, chips, np.array([12.0005, 11.9995]), np.array([50.0, 50.0]))
    assert [len(values) for values in found] == [2, 2]


def test_a_clipped_store_is_sealed_like_any_other(tmp_path):
    grid, tile, _ = lay(tmp_path, MERIDIAN)
    _, valid = cut(grid, [tile], "mod44b")
    store = seal_and_open(grid, "mod44b")
    np.testing.assert_array_equal(store.valid, valid)
