"""An area of interest through the DAG: planned without credentials, refused without them, fetched with them, once."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import yaml
from dag import snakemake

from earthengine_scenes import scenes_of
from servers.earthengine import serve, write_key_file
from terraprobe.acquire.earthengine import access
from terraprobe.acquire.simulated.stages import simulate_places
from terraprobe.acquire.simulated.world import PlacesRecipe, SimulatedWorld, place_grid
from terraprobe.artifacts import read_table

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
