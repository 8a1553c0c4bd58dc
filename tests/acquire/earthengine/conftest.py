"""A small area with Earth Engine on loopback."""

import geopandas as gpd
import pytest
import shapely

from earthengine_scenes import scenes_of
from servers.earthengine import serve, write_key_file
from terraprobe.acquire.earthengine import access, client, fetch
from terraprobe.acquire.simulated.stages import simulate_places
from terraprobe.acquire.simulated.world import PlacesRecipe, SimulatedWorld, place_grid
from terraprobe.collections.grid import GridRecipe, lay_grid

WORLD = SimulatedWorld(
    seed=5, n_places=1, place_px=64, bbox=(13.5, 47.0, 13.6, 47.06), cloud_share=1.0, missing_share=0.0
)
LAYERS = ("s2_rgb_monthly", "s2_l1c", "s1_grd_monthly", "mod44b", "worldcover")
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


@pytest.fixture(scope="session")
def running(scenes, tmp_path_factory):
    """Earth Engine on loopback, and the key file of a service account that it knows."""
    with serve(scenes) as server:
        yield server, write_key_file(tmp_path_factory.mktemp("key") / "key.json", server)


SESSION: list[object] = []
"""The one that tests share which do not log in themselves: logging in takes half a second."""


@pytest.fixture
def _reachable(running, scenes, monkeypatch):
    """Only the server on loopback is; it is as it began."""
    server, key = running
    server.reset(scenes)
    monkeypatch.setenv(access.KEY_FILE, str(key))
    monkeypatch.setenv(access.URL, server.url)
    monkeypatch.delenv(access.PROJECT, raising=False)
    monkeypatch.setattr(client, "WAIT_S", 0.001)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return server


@pytest.fixture
def server(_reachable, monkeypatch):
    """Earth Engine on loopback, logged in."""
    if not SESSION:
        SESSION.append(access.open_session())
    monkeypatch.setattr(fetch, "open_session", lambda: SESSION[0])
    return _reachable


@pytest.fixture
def closed_server(_reachable):
    """Earth Engine on loopback, before anyone has logged in."""
    yield _reachable
    SESSION.clear()
