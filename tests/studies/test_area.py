"""An area of interest through the DAG: planned without credentials, refused without them, fetched with them, once.

One study is made twice, of the files of a simulated Earth and of what services on this machine answer from them: Earth
Engine, ASF with its Earthdata login, WorldClim, the EEA and the JRC, by their own protocols and to the real clients.
"""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import yaml
from dag import snakemake

from anyhost import HOSTS, Loopback, certificate
from earthdata_service import Earthdata
from earthengine_scenes import scenes_of
from served_files import offer_built, offer_climate, offer_products, offer_regions
from servers.earthengine import serve, write_key_file
from terraprobe.acquire.earthengine import access
from terraprobe.acquire.simulated.stages import simulate_places
from terraprobe.acquire.simulated.world import PlacesRecipe, SimulatedWorld, place_grid
from terraprobe.artifacts import read_json, read_table
from terraprobe.chips.store import ChipStore
from terraprobe.cli import main
from terraprobe.collections.context import sample_climate, sample_regions
from terraprobe.modalities import LABELS, MODALITIES

# The place stands in zone 33 beside zone 32, and the area reaches into both.
WORLD = SimulatedWorld(seed=4, n_places=1, place_px=64, bbox=(11.965, 47.0, 12.04, 47.06), missing_share=0.0)
LAYERS = ("s2_rgb_monthly", "worldcover")


@pytest.fixture
def study(tmp_path):
    """A study file over one place."""
    crs, (_, _, left, _, _, top), _, _ = place_grid(WORLD, 0)
    ground = gpd.GeoSeries([shapely.box(left, top - 640, left + 640, top)], crs=crs).to_crs("EPSG:4326")
    ground.to_file(tmp_path / "area.geojson")
    bands = {"red": ["m1_B04"], "blue": ["m1_B02"]}
    towers = {name: {"modality": "s2_rgb_monthly", "bands": own} for name, own in bands.items()}
    content = {
        "study": "mini",
        "collections": [
            {
                "name": "land",
                "kind": "area",
                "area": "area.geojson",
                "months": ["2020-01", "2020-02", "2020-03"],
                "modalities": ["s2_rgb_monthly"],
                "labels": ["worldcover"],
                "chip_px": 16,
                "block_chips": 1,
                "shards": 2,
                "split": {"kind": "geobands", "n_bands": 5},
            }
        ],
        "encoders": [{"name": "tiny", "method": "clip3", "collections": ["land"], "recipe": {"towers": towers}}],
        "evaluations": [{"name": "cover", "probe": "forest", "collection": "land", "tasks": ["water"]}],
    }
    content["encoders"][0]["recipe"]["patch_px"] = 8
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_an_area_is_planned_refused_fetched_and_not_fetched_again(study, tmp_path, monkeypatch):
    collection = tmp_path / "results/mini/collections/land"
    targets = [
        f"results/mini/collections/land/{store}/spec.json" for store in ("chips/s2_rgb_monthly", "labels/worldcover")
    ]
    simulate_places(
        recipe=PlacesRecipe(world=WORLD, places=(0,), layers=LAYERS), manifest=tmp_path / "simulated/000.json"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (access.KEY_FILE, access.PROJECT, "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    refused = snakemake(tmp_path, "--rerun-incomplete", *targets, study=study)
    assert refused.returncode
    assert refused.stdout.count("Earth Engine: no credentials found. Set GOOGLE_APPLICATION_CREDENTIALS") == 1
    assert not collection.exists()
    with serve(scenes_of(tmp_path / "simulated")) as server:
        monkeypatch.setenv(access.KEY_FILE, str(write_key_file(tmp_path / "key.json", server)))
        monkeypatch.setenv(access.URL, server.url)
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        done = snakemake(tmp_path, "--rerun-incomplete", *targets, study=study, network=True)
        assert done.returncode == 0, done.stdout[-3000:]
        asked = len(server.asked)
    grid = read_table(collection / "grid.parquet")
    assert set(grid["crs"]) == {"EPSG:32632", "EPSG:32633"}
    assert asked == len(LAYERS) * grid.groupby("shard")["crs"].nunique().sum()
    valid = np.concatenate([np.load(f) for f in sorted((collection / "chips/s2_rgb_monthly").glob("*.valid.npy"))])
    assert len(valid) == len(grid)
    for crs in set(grid["crs"]):
        assert valid[grid["crs"] == crs].max() > 0
    # The server is gone and so are the credentials: what is there is there.
    monkeypatch.delenv(access.KEY_FILE)
    again = snakemake(tmp_path, "--rerun-incomplete", *targets, study=study)
    assert "Nothing to be done" in again.stdout


def test_a_dry_run_needs_no_credentials(study, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(access.KEY_FILE, raising=False)
    done = snakemake(tmp_path, "-n", "--quiet", "rules", study=study)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "fetch_earthengine" in done.stdout


EARTH = SimulatedWorld(seed=6, n_places=15, place_px=64, bbox=(6.5, 46.5, 11.5, 51.5), missing_share=0.3)
MEASURED = ["s2_rgb_monthly", "s1_grd_monthly", "s1_coherence"]
MAPPED = ["mod44b", "worldcover", "ghs_built"]


def write_study(path, collection, encoder, evaluation):
    """A study of one collection, called `land`."""
    layers = {"modalities": MEASURED, "labels": MAPPED, "chip_px": 32, "split": {"kind": "geobands", "n_bands": 5}}
    content = {
        "study": path.stem,
        "random_inits": 1,
        "tsne_chips": 20,
        "collections": [{"name": "land", **layers, **collection}],
        "encoders": [{"name": "tiny", "method": "bioclim", "collections": ["land"], "recipe": encoder}],
        "evaluations": [{"name": "cover", "probe": "forest", "collection": "land", **evaluation}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Folder with the results of a study, once made of files (`files`) and once of what services answer (`fetched`)."""
    folder = tmp_path_factory.mktemp("both")
    encoder = {"towers": {"s2": {"modality": "s2_rgb_monthly"}}, "conditioning": "emb", "width": 8, "blocks": [1, 1]}
    encoder |= {"epochs": 2, "batch_size": 8}
    evaluation = {"tasks": ["vegetation"], "sizes": [5, "full"], "repeats": 2, "full_repeats": 1, "trees": [5]}
    kinds = {
        "files": {"kind": "simulated", "world": EARTH.model_dump(mode="json")},
        "fetched": {"kind": "area", "area": "area.geojson", "months": list(EARTH.months), "shards": 2},
    }
    grids = [place_grid(EARTH, k) for k in range(EARTH.n_places)]
    inner = [shapely.box(g[2] + 200, g[5] - 440, g[2] + 440, g[5] - 200) for _, g, _, _ in grids]
    assert {crs for crs, *_ in grids} == {"EPSG:32632"}
    gpd.GeoSeries(inner, crs="EPSG:32632").to_crs("EPSG:4326").to_file(folder / "area.geojson")
    studies = {
        name: write_study(folder / f"{name}.yaml", kind, encoder, {**evaluation, "depths": [2]})
        for name, kind in kinds.items()
    }
    land = folder / "results/files/collections/land"
    stores = [*(f"chips/{name}" for name in MEASURED), *(f"labels/{name}" for name in MAPPED)]
    made = [land / "tiles/climate.tif", *(land / store / "spec.json" for store in stores)]
    targets = [str(path.relative_to(folder)) for path in made]
    done = snakemake(folder, "--rerun-incomplete", *targets, study=studies["files"])
    assert done.returncode == 0, done.stdout[-3000:]
    with pytest.MonkeyPatch.context() as patched:
        done = run_from_services(folder, studies["fetched"], land / "tiles", patched)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder / "results"


def run_from_services(folder, study, tiles, patched):
    """Run a study in an environment whose services stand on this machine, and answer from raw files."""
    context, bundle = certificate(folder, HOSTS)
    providers = Loopback(context)
    offer_climate(providers, tiles / "climate.tif")
    offer_regions(providers, tiles / "regions.fgb", folder / "shapefile")
    offer_built(providers, tiles / "ghs_built")
    offer_products(Earthdata(providers), tiles / "s1_coherence")
    for name in ("HTTPS_PROXY", "https_proxy"):
        patched.setenv(name, providers.address)
    environment = {
        "no_proxy": "127.0.0.1",
        "REQUESTS_CA_BUNDLE": bundle,
        "HOME": folder,
        "EARTHDATA_TOKEN": "good-t0ken",
    }
    with serve(scenes_of(tiles)) as server:
        environment |= {access.KEY_FILE: write_key_file(folder / "key.json", server), access.URL: server.url}
        for name, value in environment.items():
            patched.setenv(name, str(value))
        for name in ("NO_PROXY", "NETRC", access.PROJECT, "TERRAPROBE_CONNECTIONS"):
            patched.delenv(name, raising=False)
        done = snakemake(folder, study=study, network=True)
    providers.shutdown()
    providers.server_close()
    return done


def pixels(results, layer):
    """Places of pixels, as one number each (N,), and their values (channel, N); all chips lie in one UTM zone."""
    land = results / "collections/land"
    store = ChipStore.open(land / ("chips" if layer in MODALITIES else "labels") / layer)
    corners = np.stack(read_table(land / "grid.parquet")["transform"].to_list())[:, [2, 5]] / 10
    side = np.arange(store.chip_px)
    columns = np.rint(corners[:, 0]).astype(int)[:, None, None] + side[None, None]
    rows = np.rint(corners[:, 1]).astype(int)[:, None, None] - side[None, :, None]
    values = [np.stack([store.read(chip, c) for chip in range(len(store))]).ravel() for c in range(store.channels)]
    return (rows * 10**6 + columns).ravel(), np.stack(values)


@pytest.mark.parametrize("layer", [*MEASURED, *MAPPED])
def test_pixels_that_services_answer_are_those_of_the_files(both, layer):
    (where, files), (there, fetched) = (pixels(both / name, layer) for name in ("files", "fetched"))
    shared, here, other = np.intersect1d(where, there, return_indices=True)
    assert len(shared) > 0.3 * len(where)
    files, fetched = files[:, here].astype(int), fetched[:, other].astype(int)
    nodata = (MODALITIES if layer in MODALITIES else LABELS)[layer].nodata
    np.testing.assert_array_equal(files == nodata, fetched == nodata)
    assert np.abs(files - fetched).max() <= (1 if layer.endswith("_monthly") else 0)
    assert len(np.unique(files)) > 3
    if layer in MEASURED:
        assert 0 < (files == nodata).mean() < 1


def test_climate_and_region_of_fetched_chips_are_those_of_the_files(both):
    chips, tiles = read_table(both / "fetched/collections/land/grid.parquet"), both / "files/collections/land/tiles"
    found = pd.read_parquet(both / "fetched/collections/land/context.parquet")
    values, _ = sample_climate(chips, [tiles / "climate.tif"], 50_000)
    for name, expected in values.items():
        np.testing.assert_array_equal(found[name], expected)
    assert list(found["region"]) == list(sample_regions(chips, tiles / "regions.fgb", 50_000))
    assert len(set(found["region"])) > 1


def test_what_was_fetched_becomes_scores_and_a_page(both, capsys):
    assert len(read_json(both / "fetched/encoders/tiny/card.json")["towers"]["s2"]["context"]["names"]) == 20
    scores = pd.read_parquet(both / "fetched/scores.parquet")
    assert "climate" in set(scores["floor"])
    assert "trained" in set(scores.loc[scores["encoder"] == "tiny", "init"])
    page = (both / "fetched/report/index.html").read_text()
    for words in ("COPERNICUS/S2_SR_HARMONIZED", "ARIA S1 GUNW by ASF", "GHS-BUILT-S", "WorldClim 2.1", "EEA biogeo"):
        assert words in page
    assert "simulated" not in page.partition("</h1>")[2].partition('id="provenance"')[0]
    assert main(["verify", str(both / "fetched")]) == 0
    assert "raw files" in capsys.readouterr().out


def test_no_secret_is_in_anything_that_a_whole_run_left(both):
    written = [p for p in both.parent.rglob("*") if p.is_file() and p.name not in ("key.json", "loopback.key")]
    assert any(path.suffix == ".log" for path in written)
    for secret in (b"good-t0ken", b"access-secret", b"PRIVATE KEY", b"c00kie", b"s1gned"):
        assert not [path for path in written if secret in path.read_bytes()]
