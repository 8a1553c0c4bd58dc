"""The simulated Earth: repeatable, in the providers' formats, and shaped as its switches say."""

import hashlib
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from pydantic import ValidationError
from pyproj import CRS, Transformer
from shapely import wkt
from shapely.geometry import Point, box

from terraprobe.acquire.simulated import (
    LAYERS,
    PlacesRecipe,
    SimulatedWorld,
    place_grid,
    raw_files,
    world_files,
)
from terraprobe.acquire.simulated.climate import CLIMATE_NAMES, REGIONS
from terraprobe.acquire.simulated.grids import MODIS_CRS
from terraprobe.acquire.simulated.land import MARGIN_PX, Cover, inner, make_land
from terraprobe.acquire.simulated.optical import monthly_rgb
from terraprobe.acquire.simulated.radar import backscatter, coherence
from terraprobe.acquire.simulated.stages import simulate_places, simulate_world
from terraprobe.acquire.simulated.world import pairs, place_lonlat
from terraprobe.chips.tiles import describe_tiles, find_layer
from terraprobe.errors import TerraprobeError

WORLD = SimulatedWorld(seed=3, n_places=8, place_px=128, missing_share=0.0, cloud_share=0.0)
PRODUCT = "/science/grids/data/"


def simulate(world: SimulatedWorld, places: tuple[int, ...], folder: Path, layers: tuple[str, ...] = LAYERS) -> Path:
    recipe = PlacesRecipe(world=world, places=places, layers=layers)
    simulate_places(recipe=recipe, manifest=folder / "manifest.json")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every layer of two places, as files."""
    return simulate(WORLD, (0, 1), tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def globe(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Climate and regions of the world, as files."""
    folder = tmp_path_factory.mktemp("world")
    files = {name: folder / file for name, file in world_files().items()}
    simulate_world(recipe=WORLD, **files)
    return SimpleNamespace(**files)


# --- the same world twice -------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(raw: Path, tmp_path: Path) -> None:
    again = simulate(WORLD, (0, 1), tmp_path / "again")
    assert contents(again) == contents(raw)
    other = WORLD.model_copy(update={"seed": 4})
    assert set(contents(simulate(other, (0,), tmp_path / "other")).values()).isdisjoint(contents(raw).values())


def test_a_place_does_not_depend_on_its_shard_nor_on_the_other_layers(raw: Path, tmp_path: Path) -> None:
    alone = contents(simulate(WORLD, (1,), tmp_path, ("mod44b", "s1_coherence", "s2_l1c")))
    assert alone
    assert alone.items() <= contents(raw).items()


def test_the_files_are_those_that_the_settings_promise(raw: Path) -> None:
    promised = [name for names in raw_files(WORLD, (0, 1)).values() for name in names]
    assert len(set(promised)) == len(promised)
    assert set(contents(raw)) == set(promised)


def test_file_names_cost_no_heavy_import() -> None:
    code = (
        "import sys; from terraprobe.acquire.simulated import SimulatedWorld, raw_files, world_files;"
        "raw_files(SimulatedWorld(n_places=500), range(500)); world_files();"
        "print(sorted({'rasterio', 'scipy', 'torch', 'pandas', 'netCDF4'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --- where places are -----------------------------------------------------------------------------------------------


def test_places_lie_in_their_zone_on_whole_tens_of_metres_and_apart() -> None:
    world = SimulatedWorld(seed=1, n_places=300)
    centres = [place_lonlat(world, index) for index in range(300)]
    for (lon_a, lat_a), (lon_b, lat_b) in combinations(centres, 2):
        north = abs(lat_a - lat_b) * 111.195
        east = abs(lon_a - lon_b) * 111.195 * np.cos(np.radians(max(lat_a, lat_b)))
        assert max(north, east) > 2.56 + 0.8  # label margins of 400 m
    for index in range(0, 300, 30):
        crs, (a, b, left, d, e, top), lon, lat = place_grid(world, index)
        assert crs == f"EPSG:{32600 + int((lon + 180) // 6) + 1}"
        assert (a, b, d, e) == (10, 0, 0, -10)
        assert left % 10 == top % 10 == 0
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
        assert abs(left + 1280 - x) <= 5
        assert abs(top - 1280 - y) <= 5
    assert len({place_grid(world, index)[0] for index in range(300)}) == 4


# --- raw formats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_is_read_by_the_code_for_real_tiles(layer: str, raw: Path) -> None:
    known = find_layer(layer)
    tiles = describe_tiles(list((raw / layer).iterdir()), known)
    assert len(tiles) == len(raw_files(WORLD, (0, 1))[layer])
    for tile in tiles:
        with rasterio.open(tile.uri) as dataset:
            image = dataset.read(1, masked=True)
        assert image.count() > 0.5 * image.size


@pytest.mark.parametrize("layer", ["s2_rgb_monthly", "s2_l1c", "s1_grd_monthly", "s1_grd"])
def test_measurements_stand_on_the_grid_of_the_place(layer: str, raw: Path) -> None:
    crs, grid, _, _ = place_grid(WORLD, 1)
    with rasterio.open(raw / layer / "p00001.tif") as tile:
        assert (tile.crs, tuple(tile.transform)[:6], tile.shape) == (CRS(crs), grid, (128, 128))


def test_the_cloud_mask_is_that_of_the_scene(tmp_path: Path) -> None:
    world = WORLD.model_copy(update={"cloud_share": 1.0})
    folder = simulate(world, (0, 1), tmp_path, ("s2_l1c", "s2_cloud"))
    hidden = []
    for place in ("p00000", "p00001"):
        with (
            rasterio.open(folder / "s2_cloud" / f"{place}.tif") as mask,
            rasterio.open(folder / "s2_l1c" / f"{place}.tif") as scene,
        ):
            codes, cirrus = mask.read(1), scene.read(scene.descriptions.index("B10") + 1)
            assert (mask.crs, mask.transform) == (scene.crs, scene.transform)
        assert set(np.unique(codes)) <= {1, 2}
        hidden.append(cirrus[codes == 2])
        assert np.median(cirrus[codes == 2]) > np.median(cirrus[codes == 1]) + 80
    assert sum(map(len, hidden)) > 0
    with rasterio.open(simulate(WORLD, (0,), tmp_path / "clear", ("s2_cloud",)) / "s2_cloud/p00000.tif") as mask:
        assert (mask.read(1) == 1).all()


def test_band_names_and_values_are_the_providers(raw: Path) -> None:
    with rasterio.open(raw / "s1_grd_monthly" / "p00000.tif") as tile:
        assert tile.descriptions[:4] == ("2020-01_VV", "2020-01_VH", "2020-01_VV-VH", "2020-02_VV")
        vv, vh, difference = tile.read([1, 2, 3])
    assert np.array_equal(vv - vh, difference)
    assert -30 < np.median(vh) < np.median(vv) < 0
    with rasterio.open(raw / "s2_rgb_monthly" / "p00000.tif") as tile:
        assert tile.descriptions[:4] == ("2020-01_B04", "2020-01_B03", "2020-01_B02", "2020-02_B04")
        assert (tile.dtypes[0], tile.nodata) == ("uint16", 0)
        assert 100 < np.median(tile.read(1)) < 3000
    with rasterio.open(raw / "s2_l1c" / "p00000.tif") as tile:
        order = tile.descriptions
        coastal, blue, cirrus = (tile.read(order.index(band) + 1) for band in ("B01", "B02", "B10"))
    assert len(order) == 13
    assert order[-1] == "B8A"
    assert np.median(cirrus) < 60 < np.median(blue) < np.median(coastal)  # air scatters short waves most
    assert (coastal[:6, :6] == coastal[0, 0]).all()  # 60 m


def test_coherence_products_have_the_layout_and_place_of_aria_files(raw: Path) -> None:
    product = raw / "s1_coherence" / pairs(WORLD, 0)[0].name
    with rasterio.open(f"netcdf:{product}:{PRODUCT}coherence") as data:
        assert data.crs == CRS(4326)
        assert data.nodata == 0
        step = data.transform
        assert (step.a, step.e) == (pytest.approx(1 / 1200, abs=1e-10), pytest.approx(-1 / 1200, abs=1e-10))
        assert step.c * 1200 == pytest.approx(round(step.c * 1200), abs=1e-6)
        values, bounds = data.read(1), box(*data.bounds)
    assert values.max() < 1
    assert (values > 0).mean() > 0.8
    with rasterio.open(f"netcdf:{product}:{PRODUCT}connectedComponents") as data:
        assert data.nodata == -1
        assert np.array_equal(data.read(1) == -1, values == 0)
    import netCDF4

    with netCDF4.Dataset(product) as root:
        assert wkt.loads(root["productBoundingBox"][0]).normalize().equals_exact(bounds.normalize(), 1e-6)
        latitude = root[PRODUCT + "latitude"][:]
        assert (np.diff(latitude) < 0).all()
        assert {"amplitude", "unwrappedPhase"} <= set(root["/science/grids/data"].variables)


def test_pairs_end_within_the_months_and_start_at_most_48_days_before() -> None:
    for index in range(WORLD.n_places):
        found = pairs(WORLD, index)
        assert 1 <= len(found) <= 4
        assert len({pair.name for pair in found}) == len(found)
        for pair in found:
            assert f"{pair.later:%Y-%m}" in WORLD.months
            assert 0 < pair.days <= 48
            assert pair.name.split("-")[6] == f"{pair.later:%Y%m%d}_{pair.earlier:%Y%m%d}"


def test_no_two_places_share_a_product_of_one_track_and_time() -> None:
    world = SimulatedWorld(seed=9, n_places=2000, place_px=64, missing_share=0)
    keys = [tuple(name.split("-")[i] for i in (2, 4, 6, 7)) for name in raw_files(world, range(2000))["s1_coherence"]]
    assert len(set(keys)) == len(keys)


# --- one land below all sensors -------------------------------------------------------------------------------------


def sampled(path: str, crs: Any, columns: Any, rows: Any, index: int) -> Any:
    """Values of a raster at 10 m pixel centres of a place, located with pyproj alone."""
    utm, (_, _, left, _, _, top), _, _ = place_grid(WORLD, index)
    x, y = Transformer.from_crs(utm, crs, always_xy=True).transform(left + 10 * columns + 5, top - 10 * rows - 5)
    with rasterio.open(path) as tile:
        column, row = ~tile.transform @ (x, y)
        return tile.read(1)[np.floor(row).astype(int), np.floor(column).astype(int)]


def test_worldcover_agrees_with_the_land_pixel_by_pixel(raw: Path) -> None:
    land = make_land(WORLD, 0, "optical")
    rows, columns = np.mgrid[:128, :128]
    found = sampled(str(raw / "worldcover" / "p00000.tif"), "EPSG:4326", columns, rows, 0)
    crop = np.isin(inner(land.cover), (Cover.WINTER_CROP, Cover.SUMMER_CROP))
    hard = inner(land.town.building) + inner(land.town.sealed) > 0.3
    # The label's pixels are smaller than 10 m from west to east and nearly 10 m from north to south: half a pixel off.
    agree = ((found == 40) == crop)[~hard].mean()
    shifted = ((found == 40) == np.roll(crop, 2, 1))[~hard].mean()
    assert agree > 0.97
    assert agree > shifted + 0.02


@pytest.mark.parametrize(("layer", "crs", "cell_px"), [("mod44b", MODIS_CRS, 23), ("ghs_built", "ESRI:54009", 10)])
def test_coarse_labels_are_means_over_their_own_cells(layer: str, crs: str, cell_px: int, raw: Path) -> None:
    expected, found = [], []
    for index in (0, 1):
        land = make_land(WORLD, index, "optical")
        image = 100 * land.tree_share if layer == "mod44b" else 10_000 * land.town.building
        utm, (_, _, left, _, _, top), _, _ = place_grid(WORLD, index)
        with rasterio.open(raw / layer / f"p{index:05d}.tif") as tile:
            values = tile.read(1)
            rows, columns = np.nonzero(values != tile.nodata)
            x, y = tile.transform @ (columns + 0.5, rows + 0.5)
            assert CRS(tile.crs).is_projected
        x, y = Transformer.from_crs(crs, utm, always_xy=True).transform(x, y)
        half, n = cell_px // 2, image.shape[0]
        column = np.floor((np.array(x) - left) / 10).astype(int) + MARGIN_PX
        row = np.floor((top - np.array(y)) / 10).astype(int) + MARGIN_PX
        whole = (row > half) & (row < n - half) & (column > half) & (column < n - half) & (values[rows, columns] != 200)
        found += values[rows, columns][whole].tolist()
        for r, c in zip(row[whole], column[whole], strict=True):
            expected.append(image[r - half : r + half + 1, c - half : c + half + 1].mean())
    assert np.corrcoef(expected, found)[0, 1] > 0.9  # the windows are upright squares, the cells are not
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.1)


def test_labels_cover_the_whole_place(raw: Path) -> None:
    edge = np.array([0, 127, 0, 127, 64, 64, 0, 127]), np.array([0, 0, 127, 127, 0, 127, 64, 64])
    for layer, crs, fill in (
        ("worldcover", "EPSG:4326", 0),
        ("mod44b", MODIS_CRS, 253),
        ("ghs_built", "ESRI:54009", 65535),
    ):
        assert (sampled(str(raw / layer / "p00001.tif"), crs, *edge, 1) != fill).all()


def test_coherence_lies_where_the_land_is(raw: Path) -> None:
    land, pair = make_land(WORLD, 1, "coherence"), pairs(WORLD, 1)[0]
    mean = inner(coherence(WORLD, 1, land, pair))
    rows, columns = np.mgrid[8:120, 8:120]
    uri = f"netcdf:{raw / 's1_coherence' / pair.name}:{PRODUCT}coherence"
    found = sampled(uri, "EPSG:4326", columns, rows, 1)

    def agreement(dy: int, dx: int) -> float:
        return float(np.corrcoef(mean[8 + dy : 120 + dy, 8 + dx : 120 + dx].ravel(), found.ravel())[0, 1])

    best = agreement(0, 0)
    assert best > 0.4
    assert all(agreement(dy, dx) < best for dy, dx in ((8, 0), (-8, 0), (0, 8), (0, -8)))


def test_optical_and_radar_edges_line_up() -> None:
    """A shore lies on the same pixels in both: the water mask explains each best without a shift."""
    for index in range(WORLD.n_places):
        land = make_land(WORLD, index, "optical")
        wet = inner(land.cover) == Cover.WATER
        if not 0.02 < wet.mean() < 0.5:
            continue
        for image in (backscatter(WORLD, index, land)[0][1], np.log(monthly_rgb(WORLD, index, land)[0][0])):

            def agreement(dx: int, image: Any = image, wet: Any = wet) -> float:
                return abs(float(np.corrcoef(image[:, 4:-4].ravel(), wet[:, 4 + dx : 124 + dx].ravel())[0, 1]))

            assert agreement(0) >= max(agreement(-3), agreement(3)) or agreement(0) < 0.1


# --- the whole world ------------------------------------------------------------------------------------------------


def test_the_climate_is_worldclims(globe: SimpleNamespace) -> None:
    with rasterio.open(globe.climate) as tile:
        assert tile.descriptions == CLIMATE_NAMES
        assert (tile.crs, tile.dtypes[0]) == (CRS(4326), "float32")
        assert tile.nodata == pytest.approx(-3.4e38)
        assert tile.transform.a == pytest.approx(1 / 6)
        assert box(*tile.bounds).contains(box(*WORLD.bbox))
        bio = dict(zip(CLIMATE_NAMES, tile.read(), strict=True))
    assert np.allclose(bio["bio07"], bio["bio05"] - bio["bio06"], atol=1e-3)
    assert np.allclose(bio["bio03"], 100 * bio["bio02"] / bio["bio07"], atol=1e-2)
    assert (bio["bio10"] >= bio["bio01"]).all()
    assert (bio["bio16"] <= bio["bio12"]).all()
    assert -10 < bio["bio01"].min() < bio["bio01"].max() < 25
    assert 200 < bio["bio12"].min() < bio["bio12"].max() < 4000


def test_regions_are_the_agencys_and_fill_the_world(globe: SimpleNamespace) -> None:
    regions = gpd.read_file(globe.regions)
    assert list(regions.columns) == ["PK_UID", "short_name", "pre_2012", "code", "name", "geometry"]
    assert sorted(regions["short_name"]) == sorted(REGIONS)
    assert regions.crs == CRS(3035)
    assert regions.is_valid.all()
    assert regions.area.sum() == pytest.approx(regions.union_all().area, rel=1e-6)  # no overlap
    degrees = regions.to_crs("EPSG:4326")
    for index in range(WORLD.n_places):
        assert degrees.contains(Point(place_lonlat(WORLD, index))).sum() == 1


def test_the_world_files_are_equal_bytes(globe: SimpleNamespace, tmp_path: Path) -> None:
    again = {name: tmp_path / file for name, file in world_files().items()}
    simulate_world(recipe=WORLD, **again)
    assert all(path.read_bytes() == getattr(globe, name).read_bytes() for name, path in again.items())


# --- bad settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n_places": 0}, "n_places"),
        ({"place_px": 100}, "place_px"),
        ({"bbox": (24, 42, 0, 56)}, "bbox"),
        ({"bbox": (0, 42, 0.1, 42.1)}, "n_places 180 of 256 px do not fit"),
        ({"months": ()}, "months"),
        ({"months": ("2020-1",)}, "'2020-1' is not of the form"),
        ({"months": ("2020-13",)}, "not a calendar month"),
        ({"months": ("2020-02", "2020-01")}, "in order of time"),
        ({"cloud_share": 1.5}, "cloud_share"),
        ({"autocorrelation_km": 0}, "autocorrelation_km"),
        ({"cloudshare": 0.5}, "cloudshare"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        SimulatedWorld(**settings)


def test_a_place_or_layer_that_is_not_there() -> None:
    with pytest.raises(TerraprobeError, match="no place 8; it has places 0 to 7"):
        raw_files(WORLD, [8])
    with pytest.raises(ValidationError, match="layers"):
        PlacesRecipe(world=WORLD, places=(0,), layers=("s3",))
