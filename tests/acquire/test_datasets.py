"""WorldClim, the EEA's regions and GHS-BUILT-S, from servers that speak for their providers, to files."""

import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely import box

from anyhost import Stored, cut, html, status
from served_files import TEN_MINUTES, raster, zipped
from terraprobe.acquire.datasets import DatasetRecipe, fetch_dataset
from terraprobe.acquire.ghs import NORTH_M, TILE_M, WEST_M, GhsRecipe, fetch_ghs, touched_tiles
from terraprobe.acquire.manifest import layer_tiles
from terraprobe.artifacts import read_json, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.sources import Source, read_sources


@pytest.fixture(scope="module")
def world():
    """A raster on WorldClim's grid."""
    return raster(np.zeros((1080, 2160), np.float32), "EPSG:4326", TEN_MINUTES, -3.4e38)


@pytest.fixture(scope="module")
def shapefile(tmp_path_factory):
    """Files of a shapefile with one region."""
    folder = tmp_path_factory.mktemp("regions")
    frame = gpd.GeoDataFrame({"short_name": ["alpine"]}, geometry=[box(4e6, 2e6, 5e6, 3e6)], crs="EPSG:3035")
    frame.to_file(folder / "BiogeoRegions2016.shp")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def serve_worldclim(loopback, world):
    bio, elevation = read_sources()["worldclim"].downloads
    served = [Stored(zipped(dict.fromkeys(bio.members, world))), Stored(zipped({"wc2.1_10m_elev.tif": world}))]
    for part, stored in zip((bio, elevation), served, strict=True):
        loopback.put(part.urls[0], stored)
    return served


def fetch(source, folder):
    recipe = DatasetRecipe.model_validate(source.recipe())
    fetch_dataset(recipe=recipe, files=[folder / name for name in source.files], manifest=folder / "manifest.json")


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_worldclim_lands_where_studies_look_for_it(loopback, world, tmp_path):
    serve_worldclim(loopback, world)
    source = read_sources()["worldclim"]
    fetch(source, tmp_path)
    assert left(tmp_path) == sorted(["manifest.json", *source.files])
    assert len(layer_tiles(tmp_path / "manifest.json", "worldclim")) == 20
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["version"] == "2.1"
    assert {row["status"] for row in manifest["files"]} == {"ok"}
    with rasterio.open(tmp_path / "wc2.1_10m_bio/wc2.1_10m_bio_19.tif") as dataset:
        assert dataset.shape == (1080, 2160)


def test_a_mirror_helps_and_what_is_whole_is_not_fetched_twice(loopback, world, tmp_path):
    bio, _ = serve_worldclim(loopback, world)
    source = read_sources()["worldclim"]
    loopback.put(source.downloads[0].urls[0], lambda _: html())
    with pytest.raises(TerraprobeError, match=r"geodata\.ucdavis\.edu/.*web page.*biogeo\.ucdavis\.edu/.*HTTP 404"):
        fetch(source, tmp_path)
    assert not (tmp_path / "manifest.json").exists()
    loopback.put(source.downloads[0].urls[1], bio)
    fetch(source, tmp_path)
    assert len(layer_tiles(tmp_path / "manifest.json", "worldclim")) == 20


def test_the_regions_come_as_a_shapefile_and_context_reads_them(loopback, shapefile, tmp_path):
    source = read_sources()["regions"]
    loopback.put(source.downloads[0].urls[0], Stored(zipped({f"deep/{n}": c for n, c in shapefile.items()})))
    fetch(source, tmp_path)
    assert set(left(tmp_path)) == {"manifest.json", *source.files}
    assert list(gpd.read_file(tmp_path / "BiogeoRegions2016.shp")["short_name"]) == ["alpine"]


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ("crs", "wc2.1_10m_elev.tif: crs EPSG:3857, expected EPSG:4326"),
        ("size", "width 10, expected 2160"),
        ("cut", "wc2.1_10m_elev.tif: no whole raster"),
        ("member", "holds no wc2.1_10m_elev.tif"),
        ("zip", "it is no whole zip file, twice"),
        ("escape", "leads out of its folder"),
    ],
)
def test_what_is_not_the_dataset_is_refused_and_leaves_nothing(loopback, world, tmp_path, spoilt, said):
    _, elevation = serve_worldclim(loopback, world)
    small = np.zeros((10, 10), np.float32)
    content = {
        "crs": lambda: zipped({"wc2.1_10m_elev.tif": raster(small, "EPSG:3857", Affine(1, 0, 5, 0, -1, 5), 0)}),
        "size": lambda: zipped({"wc2.1_10m_elev.tif": raster(small, "EPSG:4326", Affine(1, 0, 5, 0, -1, 5), 0)}),
        "cut": lambda: zipped({"wc2.1_10m_elev.tif": world[: len(world) // 2]}),
        "member": lambda: zipped({"readme.txt": b"moved"}),
        "zip": lambda: elevation.body[:-30],
        "escape": lambda: zipped({"../wc2.1_10m_elev.tif": world}),
    }
    elevation.body = content[spoilt]()
    with pytest.raises(TerraprobeError, match=said):
        fetch(read_sources()["worldclim"], tmp_path)
    assert not (tmp_path / "manifest.json").exists()
    assert not (tmp_path / "wc2.1_10m_elev.tif").exists()


def test_a_disk_that_fills_while_a_zip_file_is_unpacked_leaves_nothing_of_it(loopback, world, tmp_path, small_disk):
    _, elevation = serve_worldclim(loopback, world)
    plain = raster(np.zeros((1080, 2160), np.float32), "EPSG:4326", TEN_MINUTES, -3.4e38, compress="none")
    elevation.body = zipped({"wc2.1_10m_elev.tif": plain})
    with small_disk(5_000_000), pytest.raises(TerraprobeError, match=r"cannot be written .File too large.*Free space"):
        fetch(read_sources()["worldclim"], tmp_path)
    assert not [name for name in left(tmp_path) if "elev" in name or "manifest" in name]
    fetch(read_sources()["worldclim"], tmp_path)
    assert left(tmp_path) == sorted(["manifest.json", *read_sources()["worldclim"].files])


def chips(*places):
    """Outlines of chips of some 2 km at places (longitude, latitude)."""
    return gpd.GeoSeries([box(x - 0.01, y - 0.01, x + 0.01, y + 0.01) for x, y in places], crs="EPSG:4326")


def test_tiles_of_ghs_are_counted_from_the_upper_left_corner():
    assert touched_tiles(chips((8.63, 45.81))) == ["R4_C19"]  # Ispra, whose tile the data package shows
    assert touched_tiles(chips((106.83, -6.2))) == ["R10_C29"]  # Jakarta
    assert touched_tiles(chips((14, 49), (8, 45), (8.1, 45))) == ["R4_C19", "R4_C20"]


def fetch_tiles(tmp_path, study, *places):
    grid, source = tmp_path / study / "grid.parquet", read_sources()["ghs_built"]
    write_table(grid, gpd.GeoDataFrame({"shard": "000"}, index=range(len(places)), geometry=chips(*places)))
    recipe = GhsRecipe(shard="000", cache=str(tmp_path / "cache"), **source.tiles_recipe())
    fetch_ghs(grid=grid, recipe=recipe, manifest=tmp_path / study / "ghs_built.json")


def serve_tile(loopback, tile, faults=()):
    url = read_sources()["ghs_built"].tiles.format(tile=tile)
    name = url.rpartition("/")[2].replace(".zip", ".tif")
    row, column = (int(part[1:]) - 1 for part in tile.split("_"))
    grid = Affine(1000, 0, WEST_M + column * TILE_M, 0, -1000, NORTH_M - row * TILE_M)
    image = np.full((1000, 1000), row * 100 + column, np.uint16)
    content = zipped({name: raster(image, "ESRI:54009", grid, 65535), "readme.pdf": b"x"})
    loopback.put(url, Stored(content, list(faults)))
    return name


def test_the_tiles_of_an_area_are_kept_once_for_all(loopback, tmp_path):
    name = serve_tile(loopback, "R4_C19", [lambda _: status(503), cut(200)])
    loopback.put(read_sources()["ghs_built"].tiles.format(tile="R4_C20"), lambda _: status(404))
    for study in ("one", "two"):
        fetch_tiles(tmp_path, study, (8, 45), (14, 49))
        assert [path.name for path in layer_tiles(tmp_path / study / "ghs_built.json", "ghs_built")] == [name]
    assert read_json(tmp_path / "two/ghs_built.json")["empty"] == ["R4_C20"]
    assert left(tmp_path / "cache") == [name]
    assert sum(request.method == "GET" for request in loopback.asked) == 3


def test_tiles_that_are_nowhere_are_an_error(loopback, tmp_path):
    with pytest.raises(TerraprobeError, match="none of the tiles R4_C19 is published at https://jeodpp"):
        fetch_tiles(tmp_path, "one", (8.63, 45.81))


def test_every_source_is_described():
    sources = read_sources()
    for source in sources.values():
        assert source.needs
        assert source.licence
        assert all(url.startswith("https://") for part in source.downloads for url in part.urls)
    assert {"worldclim", "regions", "ghs_built", "gunw", "earth_engine", "eurosat"} <= set(sources)


def test_a_broken_registry_is_one_sentence(tmp_path):
    (tmp_path / "sources.yaml").write_text("- dataset: x\n")
    with pytest.raises(TerraprobeError, match="cannot be read as the registry of sources"):
        read_sources(tmp_path / "sources.yaml")
    assert Source.model_fields.keys() >= {"licence", "needs"}


def test_a_rule_fetches_a_dataset_for_all_studies(loopback, shapefile, tmp_path, repository):
    source = read_sources()["regions"]
    loopback.put(source.downloads[0].urls[0], Stored(zipped(shapefile), [lambda _: status(503), cut(200)]))
    study = repository / "tests/studies/mini.yaml"
    command = [sys.executable, "-m", "snakemake", "fetch_regions", "--snakefile", str(repository / "Snakefile")]
    command += ["--cores", "1", "--directory", str(tmp_path), "--configfile", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "regions: 4 files in resources/downloads/eea" in done.stderr
    assert len(layer_tiles(tmp_path / "resources/downloads/eea/manifest.json", "regions")) == 4
