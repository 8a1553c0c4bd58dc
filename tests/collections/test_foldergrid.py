"""Chips on a folder's tiles: a tile's own grid where it can be kept, a fixed lattice elsewhere, no ground twice."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import Affine, from_origin

from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import read_table
from terraprobe.collections.grid import GridRecipe, lay_grid
from terraprobe.errors import TerraprobeError

LEFT, TOP = 500_003.4, 5_800_007.8
UTM = "EPSG:32633"


def write(path, width=100, height=70, crs=UTM, transform=None):
    """A tile of ones."""
    transform = transform or from_origin(LEFT, TOP, 10, 10)
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint8", "crs": crs}
    with rasterio.open(path, "w", transform=transform, **profile) as tile:
        tile.write(np.ones((1, height, width), np.uint8))
    return path


def lay(tmp_path, tiles, chip_px=32, **more):
    """The grid of some tiles."""
    manifest = tmp_path / "s2_l2a.json"
    write_manifest(manifest, {}, [(str(tile), "s2_l2a", {}) for tile in tiles])
    area = {"kind": "folder", "layer": "s2_l2a", "chip_px": chip_px, "block_chips": 2, "shards": 1, **more}
    lay_grid(tiles=[manifest], recipe=GridRecipe(area=area), grid=tmp_path / "grid.parquet")
    return read_table(tmp_path / "grid.parquet")


def no_ground_twice(frame):
    """Whether chips share no more than the rounding of their edges."""
    total = 0.0
    equal_area = frame.geometry.to_crs("EPSG:6933")
    for one in range(len(frame)):
        total += equal_area.iloc[one + 1 :].intersection(equal_area.iloc[one]).area.sum()
    return total < 1.0


def within(frame, tile):
    """Whether every chip's corners lie within a tile's own pixels."""
    with rasterio.open(tile) as dataset:
        for row in frame.itertuples():
            side = row.transform[0] * 32
            x = row.transform[2] + np.array([0, side, 0, side])
            y = row.transform[5] - np.array([0, 0, side, side])
            to_tile = Transformer.from_crs(row.crs, dataset.crs, always_xy=True)
            column, line = ~dataset.transform @ np.array(to_tile.transform(x, y))
            if min(*column, *line) < 0 or max(column) > dataset.width or max(line) > dataset.height:
                return False
    return True


def test_a_tile_of_10_m_in_utm_keeps_its_own_grid(tmp_path):
    frame = lay(tmp_path, [write(tmp_path / "a.tif")])
    assert len(frame) == 3 * 2
    assert list(frame["transform"].iloc[4]) == [10, 0, LEFT + 320, 0, -10, TOP - 320]
    assert set(frame["crs"]) == {UTM}
    assert set(frame["source"]) == {"a"}
    assert frame["block"].tolist() == ["a-000-000", "a-000-000", "a-000-001"] * 2


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", from_origin(14.98, 52.36, 1.5e-4, 9e-5)),
        ("EPSG:3035", from_origin(4_600_003, 3_300_007, 10, 10)),
        (UTM, from_origin(LEFT, TOP, 20, 20)),
        (UTM, Affine(9.97, 0, LEFT, 0, -9.97, TOP)),
        (UTM, Affine(8, 6, LEFT, 6, -8, TOP)),
    ],
)
def test_any_other_tile_gets_chips_of_the_lattice_that_lie_within_it(tmp_path, crs, transform):
    tile = write(tmp_path / "a.tif", 150, 150, crs, transform)
    frame = lay(tmp_path, [tile])
    corners = np.stack(frame["transform"].to_list())
    assert (corners[:, [2, 5]] % 320 == 0).all()
    assert (corners[:, 0] == 10).all()
    assert set(frame["crs"].str[:8]) == {"EPSG:326"}
    assert within(frame, tile)
    assert no_ground_twice(frame)
    outline = shapely.Polygon([transform @ point for point in ((0, 0), (150, 0), (150, 150), (0, 150))])
    metres = gpd.GeoSeries([outline], crs=crs).to_crs(UTM).area[0]
    assert len(frame) > 0.3 * metres / 320**2


def test_a_tile_across_two_zones_has_chips_of_both_and_no_ground_twice(tmp_path):
    frame = lay(tmp_path, [write(tmp_path / "a.tif", 300, 150, "EPSG:4326", from_origin(11.98, 52.0, 1.5e-4, 9e-5))])
    assert set(frame["crs"]) == {"EPSG:32632", "EPSG:32633"}
    assert no_ground_twice(frame)


def test_ground_that_two_tiles_share_is_the_first_ones(tmp_path, capsys):
    shifted = from_origin(LEFT + 500, TOP, 10, 10)
    tiles = [write(tmp_path / "b.tif", transform=shifted), write(tmp_path / "a.tif"), write(tmp_path / "c.tif")]
    frame = lay(tmp_path, tiles)
    assert frame["source"].value_counts().to_dict() == {"a": 6, "b": 2}
    assert no_ground_twice(frame)
    assert "10 chips left out: they overlap" in capsys.readouterr().err


def test_tiles_side_by_side_lose_nothing(tmp_path):
    beside = from_origin(LEFT + 960 - 1e-7, TOP, 10, 10)
    frame = lay(tmp_path, [write(tmp_path / "a.tif", 96), write(tmp_path / "b.tif", 96, transform=beside)])
    assert frame["source"].value_counts().to_dict() == {"a": 6, "b": 6}


def test_lattice_tiles_that_overlap_share_their_chips(tmp_path):
    transform = from_origin(14.98, 52.36, 1.5e-4, 9e-5)
    tiles = [write(tmp_path / f"{name}.tif", 150, 150, "EPSG:4326", transform) for name in "ab"]
    both, alone = lay(tmp_path, tiles), lay(tmp_path, tiles[:1])
    assert both["chip_id"].tolist() == alone["chip_id"].tolist()


def test_shards_take_equal_parts_of_the_chips_in_order(tmp_path):
    frame = lay(tmp_path, [write(tmp_path / "a.tif"), write(tmp_path / "small.tif", 20, 20)], shards=4)
    assert frame["shard"].tolist() == ["000", "000", "001", "002", "002", "003"]


def test_a_tile_without_a_whole_chip_is_named(tmp_path, capsys):
    far = from_origin(LEFT + 9000, TOP, 10, 10)
    lay(tmp_path, [write(tmp_path / "a.tif"), write(tmp_path / "small.tif", 20, 20, transform=far)])
    assert "1 tiles hold no whole chip of 32 px: small.tif" in capsys.readouterr().err


def test_too_few_chips_are_refused(tmp_path):
    with pytest.raises(TerraprobeError, match="0 chips of 64 px fit into 1 tiles of s2_l2a, needed at least 1"):
        lay(tmp_path, [write(tmp_path / "a.tif", 60, 60)], chip_px=64)
    with pytest.raises(TerraprobeError, match="needed at least 7"):
        lay(tmp_path, [write(tmp_path / "a.tif")], shards=7)
