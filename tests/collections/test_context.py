"""Climate and region of a chip, from genuine and generated rasters and vectors."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from shapely.geometry import box

from terraprobe.artifacts import read_table, write_table
from terraprobe.collections.context import (
    BIOCLIM,
    CONTEXT,
    REGION_GROUPS,
    ContextRecipe,
    extract_context,
    sample_climate,
    sample_regions,
)
from terraprobe.errors import TerraprobeError

COLOGNE = (6.96, 50.94)
NODATA = -3.4e38
LIMIT_M = 50_000.0


def chips_at(*points):
    """Small chips around points (lon, lat)."""
    shapes = [box(x - 0.003, y - 0.003, x + 0.003, y + 0.003) for x, y in points]
    ids = [f"chip-{k}" for k in range(len(points))]
    return gpd.GeoDataFrame({"chip_id": ids}, geometry=shapes, crs="EPSG:4326")


def write_raster(path, bands, names, crs="EPSG:4326", transform=None, **more):
    """A GeoTIFF of float bands (band, y, x); by default 10' pixels from 6 E, 52 N."""
    bands = np.asarray(bands)
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "crs": crs}
    profile |= {"dtype": bands.dtype, "nodata": NODATA if bands.dtype.kind == "f" else -32768, **more}
    with rasterio.open(path, "w", transform=transform or from_origin(6, 52, 1 / 6, 1 / 6), **profile) as raster:
        raster.write(bands)
        for k, name in enumerate(names, 1):
            if name:
                raster.set_band_description(k, name)
    return path


def ramp(rows=12, columns=12, start=0.0):
    return np.float32(np.arange(rows * columns).reshape(1, rows, columns) + start)


def write_regions(path, names, shapes, crs="EPSG:4326", column="short_name"):
    gpd.GeoDataFrame({column: names}, geometry=shapes, crs=crs).to_file(path)
    return path


@pytest.fixture(scope="module")
def worldclim(shared_data):
    return shared_data / "worldclim" / "wc2.1_10m_bio_1-19_europe.tif"


@pytest.fixture(scope="module")
def eea(shared_data):
    return shared_data / "eea_biogeo" / "BiogeoRegions2016_10km_cells.gpkg"


def test_cologne_in_the_genuine_data(tmp_path, worldclim, eea):
    write_table(tmp_path / "grid", chips_at(COLOGNE), {"chip_px": "64"})
    arguments = {"grid": tmp_path / "grid", "climate": [worldclim], "regions": eea, "recipe": ContextRecipe()}
    for name in ("a", "b"):
        extract_context(**arguments, context=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    frame = read_table(tmp_path / "a")
    assert list(frame.columns) == ["chip_id", *CONTEXT, "region", "distance_m"]
    row = frame.iloc[0]
    assert row["bio01"] == pytest.approx(10.7, abs=0.3)
    assert row["bio12"] == pytest.approx(745, abs=40)
    assert row["bio05"] == pytest.approx(23.5, abs=0.5)
    assert not row[list(BIOCLIM)].isna().any()
    assert np.isnan(row["elevation"])  # the crop has no such band
    assert row["region"] == "atlantic"
    assert 0 < row["distance_m"] < 12_000  # half the diagonal of a 10' pixel


def test_the_genuine_regions_at_known_places(eea):
    places = {
        "alpine": (11.4, 47.1),  # Tyrol
        "boreal": (25.7, 62.2),  # central Finland
        "atlantic": (-1.5, 52.5),  # English Midlands
        "mediterranean": (-4.0, 38.0),  # Andalusia
        "continental": (19.5, 51.8),  # Poland
    }
    assert list(sample_regions(chips_at(*places.values()), eea, LIMIT_M)) == list(places)


def test_overlapping_genuine_regions_take_the_first_by_name(eea):
    # Tromso: alpine and atlantic; Geneva: alpine and continental.
    assert list(sample_regions(chips_at((18.96, 69.65), (6.15, 46.2)), eea, LIMIT_M)) == ["alpine", "alpine"]


def test_a_region_without_a_group_yields_to_one_with(eea):
    # Western Anatolia: anatolian, which stands first but belongs to no group, and mediterranean.
    overlap, inside = (30.843, 38.717), (33.0, 39.5)
    assert list(sample_regions(chips_at(overlap, inside), eea, LIMIT_M)) == ["mediterranean", ""]


def test_the_open_sea_has_no_region(eea):
    assert list(sample_regions(chips_at((-20.0, 50.0)), eea, LIMIT_M)) == [""]


def test_the_nearest_genuine_pixel_serves_a_chip_off_the_coast(worldclim):
    # 4.0 E, 52.2 N lies in the North Sea, some 25 km off Holland; 2.5 E, 56 N in the middle of it.
    values, distance = sample_climate(chips_at((4.0, 52.2), (2.5, 56.0)), [worldclim], LIMIT_M)
    assert values["bio01"][0] == pytest.approx(10.3, abs=0.7)
    assert 5_000 < distance[0] < LIMIT_M
    assert np.isnan(values["bio01"][1])
    assert np.isnan(distance[1])


def test_the_value_is_that_of_the_pixel_a_centre_lies_in(tmp_path):
    bands = np.concatenate([ramp(), ramp(start=1000)])
    path = write_raster(tmp_path / "climate.tif", bands, ["bio_1", "elev"])
    centre = (6 + 2.5 / 6, 52 - 3.5 / 6)
    values, distance = sample_climate(chips_at(centre, (centre[0] + 0.07, centre[1])), [path], LIMIT_M)
    assert list(values["bio01"]) == [3 * 12 + 2] * 2
    assert list(values["elevation"]) == [1000 + 3 * 12 + 2] * 2
    assert distance[0] == pytest.approx(0, abs=1)
    assert distance[1] == pytest.approx(0.07 * 111_195 * np.cos(np.radians(centre[1])), rel=0.01)


def test_a_coastal_chip_takes_the_nearest_pixel_with_data(tmp_path):
    bands = ramp()
    bands[0, 3, 2] = NODATA
    bands[0, 3, 1] = np.nan
    path = write_raster(tmp_path / "climate.tif", bands, ["bio_1"])
    values, distance = sample_climate(chips_at((6 + 2.5 / 6, 52 - 3.5 / 6)), [path], LIMIT_M)
    assert values["bio01"][0] == 3 * 12 + 3  # east is nearer than north; the western pixel has no data either
    assert distance[0] == pytest.approx(111_195 / 6 * np.cos(np.radians(52 - 3.5 / 6)), rel=0.01)


def test_beyond_the_limit_there_is_no_value(tmp_path):
    path = write_raster(tmp_path / "climate.tif", ramp(), ["bio_1"])
    near = (8.1, 51.0)  # the raster ends at 8.0 E
    values, distance = sample_climate(chips_at(near, (10.0, 51.0)), [path], LIMIT_M)
    assert np.isfinite([values["bio01"][0], distance[0]]).all()
    assert np.isnan([values["bio01"][1], distance[1]]).all()
    assert np.isnan(sample_climate(chips_at(near), [path], 1000.0)[1]).all()


def test_the_distance_is_that_of_the_farthest_value(tmp_path):
    one, two = ramp(), ramp()
    two[0, 3, 2] = NODATA
    path = write_raster(tmp_path / "climate.tif", np.concatenate([one, two]), ["bio_1", "bio_2"])
    values, distance = sample_climate(chips_at((6 + 2.5 / 6, 52 - 3.5 / 6)), [path], LIMIT_M)
    assert (values["bio01"][0], values["bio02"][0]) == (38, 39)
    assert distance[0] > 10_000


def test_a_raster_of_nodata_only_gives_no_value(tmp_path):
    path = write_raster(tmp_path / "climate.tif", np.full((1, 12, 12), NODATA, np.float32), ["bio_1"])
    values, distance = sample_climate(chips_at((7.0, 51.0)), [path], LIMIT_M)
    assert np.isnan(values["bio01"]).all()
    assert np.isnan(distance).all()


@pytest.mark.parametrize("description", [None, "Band 1"])
def test_single_bands_named_as_worldclim_names_its_files(tmp_path, description):
    names = [*(f"wc2.1_10m_bio_{k}" for k in range(1, 20)), "wc2.1_10m_elev"]
    files = [write_raster(tmp_path / f"{n}.tif", ramp(start=1000 * k), [description]) for k, n in enumerate(names)]
    values, _ = sample_climate(chips_at((6 + 0.5 / 6, 52 - 0.5 / 6)), files[::-1], LIMIT_M)
    assert [values[name][0] for name in CONTEXT] == [1000 * k for k in range(20)]


@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:32632"])
def test_a_projected_raster(tmp_path, crs):
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*COLOGNE)
    transform = from_origin(x - 2500, y + 2500, 1000, 1000)
    path = write_raster(tmp_path / "climate.tif", ramp(5, 5), ["bio_1"], crs, transform)
    values, distance = sample_climate(chips_at(COLOGNE), [path], LIMIT_M)
    assert values["bio01"][0] == 12  # the middle of 5 x 5
    assert distance[0] < 20


def test_a_world_map_whose_corners_are_not_on_earth(tmp_path):
    transform = from_origin(-18_040_000, 9_020_000, 451_000, 451_000)
    path = write_raster(tmp_path / "climate.tif", ramp(40, 80), ["bio_1"], "ESRI:54009", transform)
    values, _ = sample_climate(chips_at((0.5, 0.5)), [path], 500_000.0)
    assert values["bio01"][0] in (19 * 80 + 39, 19 * 80 + 40)


def test_stored_integers_become_physical_values(tmp_path):
    path = write_raster(tmp_path / "climate.tif", np.full((1, 12, 12), 2838, np.int16), ["bio_1"])
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (0.1,), (-273.15,)
    values, _ = sample_climate(chips_at((7.0, 51.0)), [path], LIMIT_M)
    assert values["bio01"][0] == pytest.approx(10.65)


def test_bands_with_other_names_are_left_aside(tmp_path):
    path = write_raster(tmp_path / "climate.tif", np.concatenate([ramp()] * 4), ["bio_7", "bio_20", "tmin", None])
    assert set(sample_climate(chips_at((7.0, 51.0)), [path], LIMIT_M)[0]) == {"bio07"}


def test_a_raster_without_crs(tmp_path):
    path = write_raster(tmp_path / "climate.tif", ramp(), ["bio_1"], crs=None)
    with pytest.raises(TerraprobeError, match=r"climate\.tif: no CRS"):
        sample_climate(chips_at(COLOGNE), [path], LIMIT_M)


@pytest.mark.parametrize("names", [[None], ["red"], [None, None]])
def test_a_raster_without_a_named_band(tmp_path, names):
    path = write_raster(tmp_path / "climate.tif", np.concatenate([ramp()] * len(names)), names)
    with pytest.raises(TerraprobeError, match=r"climate\.tif: bands .*none of them bio_1 … bio_19 or elev"):
        sample_climate(chips_at(COLOGNE), [path], LIMIT_M)


def test_one_value_in_two_rasters(tmp_path):
    paths = [write_raster(tmp_path / f"{name}.tif", ramp(), ["bio_1"]) for name in "ab"]
    with pytest.raises(TerraprobeError, match=r"b\.tif: bio01 was read from another raster already"):
        sample_climate(chips_at(COLOGNE), paths, LIMIT_M)


def test_a_broken_raster(tmp_path):
    (tmp_path / "climate.tif").write_bytes(b"II*\0 cut")
    with pytest.raises(TerraprobeError, match=r"climate\.tif: cannot be read as a raster"):
        sample_climate(chips_at(COLOGNE), [tmp_path / "climate.tif"], LIMIT_M)


def test_generated_regions_tie_and_nearest(tmp_path):
    west, east, far = box(0, 50, 2, 52), box(1, 50, 3, 52), box(3.1, 50, 4, 52)
    path = write_regions(tmp_path / "regions.gpkg", ["continental", "atlantic", "pannonian"], [west, east, far])
    points = [(0.5, 51), (1.5, 51), (2.5, 51), (3.08, 51), (-0.1, 51), (-3.0, 51)]
    found = sample_regions(chips_at(*points), path, LIMIT_M)
    assert list(found) == ["continental", "atlantic", "atlantic", "continental", "continental", ""]


def test_regions_in_any_projection_and_file_format(tmp_path):
    shape = gpd.GeoSeries([box(6, 50, 8, 52)], crs="EPSG:4326").to_crs("EPSG:32632")
    for name in ("regions.gpkg", "regions.fgb", "regions.geojson", "regions.shp"):
        crs = "EPSG:4326" if name.endswith("json") else "EPSG:32632"
        path = write_regions(tmp_path / name, ["boreal"], shape.to_crs(crs), crs)
        assert list(sample_regions(chips_at(COLOGNE), path, LIMIT_M)) == ["boreal"]


def test_every_region_of_the_genuine_file_is_in_a_group_or_left_out_knowingly(eea):
    assert set(gpd.read_file(eea)["short_name"]) - set(REGION_GROUPS) == {"anatolian", "outside"}
    assert set(REGION_GROUPS.values()) == {"alpine", "atlantic", "boreal", "continental", "mediterranean"}


def test_a_vector_without_short_name(tmp_path):
    path = write_regions(tmp_path / "regions.gpkg", ["alpine"], [box(6, 50, 8, 52)], column="region")
    with pytest.raises(TerraprobeError, match=r"regions\.gpkg: CRS EPSG:4326, fields .*region.* short_name are needed"):
        sample_regions(chips_at(COLOGNE), path, LIMIT_M)


def test_a_vector_without_crs(tmp_path):
    path = write_regions(tmp_path / "regions.shp", ["alpine"], [box(6, 50, 8, 52)], crs=None)
    with pytest.raises(TerraprobeError, match=r"regions\.shp: CRS None"):
        sample_regions(chips_at(COLOGNE), path, LIMIT_M)


def test_a_table_without_geometry(shared_data):
    with pytest.raises(TerraprobeError, match=r"BiogeoRegions2016\.dbf: CRS None"):
        sample_regions(chips_at(COLOGNE), shared_data / "eea_biogeo" / "BiogeoRegions2016.dbf", LIMIT_M)


@pytest.mark.parametrize("content", [None, b"no vector"])
def test_a_vector_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "regions.gpkg"
    if content:
        path.write_bytes(content)
    with pytest.raises(TerraprobeError, match=r"regions\.gpkg: cannot be read as a vector file"):
        sample_regions(chips_at(COLOGNE), path, LIMIT_M)
