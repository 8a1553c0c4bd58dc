"""The lattice of every UTM zone: own grounds tile an area that crosses zones, hemispheres or the antimeridian."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from terraprobe.collections.zones import foreign_pixels, lattice, own_grounds, zone_bounds
from terraprobe.errors import TerraprobeError

THREE_ZONES = shapely.box(11.5, 47.0, 18.5, 47.4)
ANTIMERIDIAN = shapely.MultiPolygon([shapely.box(179.5, -17.2, 180, -16.8), shapely.box(-180, -17.2, -179.5, -16.8)])


def grounds_of(rows, chip_px):
    parts = rows.groupby("crs", sort=False)
    return np.concatenate([own_grounds(crs, p["left"].to_numpy(), p["top"].to_numpy(), chip_px) for crs, p in parts])


def assert_tiled(area, chip_px):
    """Own grounds cover the area once, but for slivers of .3 m; squared metres in an equal-area projection."""
    rows = lattice(area, chip_px)
    grounds = grounds_of(rows, chip_px)
    assert not shapely.is_empty(grounds).any()
    first, second = shapely.STRtree(grounds).query(grounds, predicate="intersects")
    pairs = first < second
    shared = shapely.intersection(grounds[first[pairs]], grounds[second[pairs]])
    gap = area.difference(shapely.union_all(grounds, grid_size=1e-10))
    equal_area = [gpd.GeoSeries(g, crs="EPSG:4326").to_crs("ESRI:54034").area.sum() for g in (shared, [gap])]
    assert max(equal_area) < 0.3 * 2 * chip_px * 10
    return rows


@pytest.mark.parametrize(
    ("area", "chip_px", "zones"),
    [
        (THREE_ZONES, 224, [32632, 32633, 32634]),
        (shapely.box(17.8, -0.3, 18.3, 0.2), 64, [32633, 32733, 32634, 32734]),
        (ANTIMERIDIAN, 224, [32701, 32760]),
        (shapely.box(11.5, 83.6, 18.5, 84), 1024, [32632, 32633, 32634]),
        (shapely.Polygon([(11.9, 50), (12.3, 50.1), (12.0, 50.3), (11.7, 50.2)]).buffer(0.02), 64, [32632, 32633]),
    ],
)
def test_own_grounds_tile_an_area_without_gap_or_overlap(area, chip_px, zones):
    rows = assert_tiled(area, chip_px)
    assert list(dict.fromkeys(rows["crs"])) == [f"EPSG:{zone}" for zone in zones]


def test_every_chip_meets_the_area():
    area = shapely.Point(12, 50).buffer(0.05)
    grounds = grounds_of(lattice(area, 64), 64)
    assert shapely.intersects(area, grounds).all()
    assert len(grounds) > 20


@settings(max_examples=25, deadline=None)
@given(
    lon=st.floats(-179, 178.5),
    lat=st.floats(-79, 83),
    size=st.tuples(st.floats(0.01, 0.4), st.floats(0.01, 0.2)),
    chip_px=st.sampled_from([64, 224]),
)
def test_equal_ground_gives_equal_chips_whatever_the_area(lon, lat, size, chip_px):
    small = shapely.box(lon, lat, lon + size[0], lat + size[1])
    large = small.buffer(0.05).intersection(shapely.box(-180, -80, 180, 84))
    keys = [set(map(tuple, lattice(area, chip_px).to_numpy())) for area in (small, large)]
    assert keys[0] and keys[0] < keys[1]


def test_corners_are_multiples_of_the_side_and_rows_are_in_order():
    rows = lattice(THREE_ZONES, 224)
    np.testing.assert_array_equal(rows["left"], rows["column"] * 2240)
    np.testing.assert_array_equal(rows["top"], -rows["row"] * 2240)
    ordered = rows.sort_values(["crs", "row", "column"], ignore_index=True)
    assert rows.equals(ordered)
    assert not rows.duplicated().any()


def test_an_area_that_is_one_square_of_the_lattice_is_one_chip():
    square = gpd.GeoSeries([shapely.box(499_840, 10_000_000 - 640, 500_480, 10_000_000)], crs="EPSG:32733")
    rows = lattice(square.to_crs("EPSG:4326").iloc[0].intersection(shapely.box(-180, -80, 180, 0)), 64)
    assert rows.to_numpy().tolist() == [["EPSG:32733", 499_840, 10_000_000, 781, -15_625]]


def test_foreign_pixels_are_those_beyond_the_meridian():
    rows = lattice(shapely.box(11.99, 50, 12.01, 50.01), 16)
    foreign = foreign_pixels(rows["crs"].tolist(), rows["left"].to_numpy(), rows["top"].to_numpy(), 16)
    shares = {k: mask.mean() for k, mask in foreign.items()}
    side = 160.0
    for crs, part in rows.groupby("crs"):
        left, top = (part[name].to_numpy() for name in ("left", "top"))
        whole = gpd.GeoSeries(shapely.box(left, top - side, left + side, top), crs=crs).to_crs("EPSG:4326")
        cut = 1 - shapely.area(own_grounds(crs, left, top, 16)) / shapely.area(whole.to_numpy())
        found = [shares.get(k, 0.0) for k in part.index]
        np.testing.assert_allclose(found, cut, atol=0.06)
        assert max(found) > 0.3


@pytest.mark.parametrize(
    ("area", "word"),
    [
        (shapely.Point(3, 4), "found Point; a chip lattice needs polygons"),
        (shapely.Polygon(), "found Polygon EMPTY"),
        (shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), r"Self-intersection.*Mend the polygon"),
        (shapely.box(170, 0, 190, 1), r"longitude 170 to 190.*Cut the area"),
        (shapely.box(0, 80, 1, 85), r"latitude 80 to 85.*-80 to 84"),
        (shapely.box(-179, 0, 179, 1), r"spans 358° of longitude.*RFC 7946"),
    ],
)
def test_areas_that_no_lattice_fits(area, word):
    with pytest.raises(TerraprobeError, match=word):
        lattice(area, 64)


def test_bounds_of_zones():
    assert zone_bounds("EPSG:32601") == (-180, 0, -174, 84)
    assert zone_bounds("EPSG:32760") == (174, -80, 180, 0)
