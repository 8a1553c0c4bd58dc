"""A small area with Earth Engine on loopback."""

import geopandas as gpd
import pytest
import shapely

from earthengine_scenes import scenes_of
from servers.earthengine import serve, write_key_file
from terraprobe.acquire.earthengine import access, client
from terraprobe.acquire.simulated.stages import simulate_places
from terraprobe.acquire.simulated.world import PlacesRecipe, SimulatedWorld, place_grid
from terraprobe.collections.grid import GridRecipe, lay_grid

WORLD = SimulatedWorld(
    seed=5, n_places=1, place_px=64, bbox=(13.5, 47.0, 13.6, 47.06), cloud_share=1.0, missing_share=0.0
)
LAYERS = ("s2_rgb_monthly", "s1_grd_monthly", "mod44b", "worldcover")
CHIP_PX = 32


@pytest.fixture(scope="session")
def simulated_area(tmp_path_factory):
    """Folder with `grid.parquet` of chips over one simulated place, and `tiles/` with `manifest.json`."""
    folder = tmp_path_factory.mktemp("area")
    simulate_places(recipe=PlacesRecipe(world=WORLD, places=(0,), layers=LAYERS), manifest=folder / "tiles/000.json")
    crs, (_, _, left, _, _, top), _, _ = place_grid(WORLD, 0)
    ground = gpd.GeoSeries([shapely.box(left - 60, top - 500, left + 500, top + 60)], crs=crs).to_crs("EPSG:4326")
    ground.to_file(folder / "area.geojson")
    area = {"kind": "area", "source": "here", "chip_px": CHIP_PX, "block_chips": 2, "shards": 1}
    lay_grid(tiles=[folder / "area.geojson"], recipe=GridRecipe(area=area), grid=folder / "grid.parquet")
    return folder


@pytest.fixture(scope="session")
def scenes(simulated_area):
    """Scenes whose composites are the simulated tiles."""
    return scenes_of(simulated_area / "tiles")


@pytest.fixture
def server(scenes, tmp_path, monkeypatch):
    """Earth Engine on loopback, with a service account that it knows and no way to any other server."""
    with serve(scenes) as running:
        monkeypatch.setenv(access.KEY_FILE, str(write_key_file(tmp_path / "key.json", running)))
        monkeypatch.setenv(access.URL, running.url)
        monkeypatch.delenv(access.PROJECT, raising=False)
        monkeypatch.setattr(client, "WAIT_S", 0.001)
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield running
