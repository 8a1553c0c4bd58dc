"""Fetching from Earth Engine in tests."""

from terraprobe.acquire.earthengine.fetch import FetchRecipe, fetch_earthengine
from terraprobe.acquire.earthengine.products import Composite

COMPOSITE = {"months": ["2020-01", "2020-02", "2020-03"]}


def fetch(area, folder, layer, **settings):
    """Fetch one layer of an area's only shard; returns its manifest."""
    recipe = FetchRecipe(layer=layer, shard="000", composite=Composite(**COMPOSITE | settings))
    manifest = folder / layer / "000.json"
    fetch_earthengine(grid=area / "grid.parquet", recipe=recipe, manifest=manifest)
    return manifest
