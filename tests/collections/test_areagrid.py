"""Chips over a polygon file: the lattice's own, in blocks that do not depend on the area."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from terraprobe.artifacts import read_table, table_metadata
from terraprobe.collections.areagrid import read_area
from terraprobe.collections.grid import GridRecipe, lay_grid
from terraprobe.collections.zones import lattice
from terraprobe.errors import TerraprobeError

AREA = shapely.box(11.9, 47.0, 12.1, 47.1)


def write_area(path, shapes=(AREA,), crs="EPSG:4326"):
    gpd.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(path)
    return path


def lay(tmp_path, path, **changes):
    area = {"kind": "area", "source": "alps", "chip_px": 64, "block_chips": 4, "shards": 3, **changes}
    lay_grid(tiles=[path], recipe=GridRecipe(area=area), grid=tmp_path / "grid.parquet")
    return read_table(tmp_path / "grid.parquet")


@pytest.mark.parametrize("name", ["area.geojson", "area.gpkg", "area.fgb"])
def test_chips_are_the_lattice_and_own_what_lies_in_their_zone(tmp_path, name):
    frame = lay(tmp_path, write_area(tmp_path / name))
    expected = lattice(AREA, 64)
    found = {(crs, t[2], t[5]) for crs, t in zip(frame["crs"], frame["transform"], strict=True)}
    assert found == set(zip(expected["crs"], expected["left"], expected["top"], strict=True))
    assert len(frame) == len(expected)
    assert set(frame["source"]) == {"alps"}
    bounds = frame.bounds
    assert (bounds.loc[frame["crs"] == "EPSG:32632", "maxx"] <= 12).all()
    assert (bounds.loc[frame["crs"] == "EPSG:32633", "minx"] >= 12).all()
    metadata = table_metadata(tmp_path / "grid.parquet")
    assert (metadata["chip_px"], metadata["clip"]) == ("64", "utm-zone")


def test_blocks_are_squares_of_the_lattice_whatever_the_area(tmp_path):
    large = lay(tmp_path, write_area(tmp_path / "large.fgb")).set_index("chip_id")["block"]
    small = lay(tmp_path, write_area(tmp_path / "small.fgb", [AREA.buffer(-0.02)])).set_index("chip_id")["block"]
    assert small.equals(large.loc[small.index])
    assert large.value_counts().max() == 16
    frame = read_table(tmp_path / "grid.parquet")
    corner = np.stack(frame["transform"].to_list())[:, [2, 5]]
    spread = pd.DataFrame(corner).groupby(frame["block"]).agg(np.ptp)
    assert spread.to_numpy().max() == 3 * 640


def test_chips_are_dealt_evenly_and_whole_rows_follow_each_other(tmp_path):
    frame = lay(tmp_path, write_area(tmp_path / "area.fgb"), shards=7)
    sizes = frame["shard"].value_counts()
    assert sorted(sizes.index) == [f"{k:03d}" for k in range(7)]
    assert sizes.max() - sizes.min() <= 1
    assert frame["shard"].is_monotonic_increasing
    assert (frame["block"] != frame["block"].shift()).sum() == frame["block"].nunique()


def test_equal_input_gives_equal_bytes(tmp_path):
    path = write_area(tmp_path / "area.fgb")
    lay(tmp_path, path)
    first = (tmp_path / "grid.parquet").read_bytes()
    lay(tmp_path, path)
    assert (tmp_path / "grid.parquet").read_bytes() == first


def test_an_area_in_another_crs_covers_the_same_ground(tmp_path):
    # A long edge along a parallel is curved in a conic projection: read as straight there, it covers more ground.
    square = gpd.GeoSeries([shapely.box(4_000_000, 2_500_000, 4_400_000, 2_900_000)], crs="EPSG:3035")
    path = write_area(tmp_path / "area.gpkg", square, "EPSG:3035")
    back = gpd.GeoSeries([read_area(path)], crs="EPSG:4326").to_crs("EPSG:3035").iloc[0]
    assert back.symmetric_difference(square.iloc[0]).area < 1e-6 * square.iloc[0].area


def test_polygons_are_one_area(tmp_path):
    halves = [shapely.box(11.9, 47.0, 12.02, 47.1), shapely.box(11.98, 47.0, 12.1, 47.1)]
    assert read_area(write_area(tmp_path / "area.fgb", halves)).equals(AREA)


@pytest.mark.parametrize(
    ("shapes", "crs", "words"),
    [
        ([shapely.Point(3, 4)], "EPSG:4326", "feature 0: Point; a chip lattice needs valid polygons"),
        ([AREA, shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])], "EPSG:4326", "feature 1: Self-intersection"),
        ([shapely.box(0, 84, 1, 85)], "EPSG:4326", "latitude 84 to 85"),
        ([AREA], None, "no CRS"),
    ],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_areas_that_cannot_be_laid(tmp_path, shapes, crs, words):
    path = write_area(tmp_path / "area.gpkg", shapes, crs)
    with pytest.raises(TerraprobeError, match=rf"area\.gpkg: .*{words}"):
        lay(tmp_path, path)
    assert not (tmp_path / "grid.parquet").exists()


def test_more_shards_than_chips(tmp_path):
    path = write_area(tmp_path / "area.fgb", [AREA.buffer(-0.04)])
    with pytest.raises(TerraprobeError, match=r"area\.fgb: \d+ chips of 64 px, at most so many shards"):
        lay(tmp_path, path, shards=1000)


def test_a_broken_file(tmp_path):
    (tmp_path / "area.gpkg").write_bytes(b"no vectors")
    with pytest.raises(TerraprobeError, match=r"area\.gpkg: cannot be read as a vector file"):
        lay(tmp_path, tmp_path / "area.gpkg")
