"""Fetching from Earth Engine in tests."""

import numpy as np

from terraprobe.acquire.earthengine.fetch import FetchRecipe, fetch_earthengine
from terraprobe.acquire.earthengine.products import Composite
from terraprobe.chips.cut import CutRecipe, cut_chips

COMPOSITE = {"months": ["2020-01", "2020-02", "2020-03"]}


def fetch(area, folder, layer, **settings):
    """Fetch one layer of an area's only shard; returns its manifest."""
    recipe = FetchRecipe(layer=layer, shard="000", composite=Composite(**COMPOSITE | settings))
    manifest = folder / layer / "000.json"
    fetch_earthengine(grid=area / "grid.parquet", recipe=recipe, manifest=manifest)
    return manifest


def cut(area, manifest, layer, folder):
    """Chips (chip, channel, y, x) and their shares of observed pixels."""
    folder.mkdir(exist_ok=True)
    pixels, valid = folder / "p.npy", folder / "v.npy"
    recipe = CutRecipe(layer=layer, shard="000")
    cut_chips(grid=area / "grid.parquet", manifest=manifest, recipe=recipe, pixels=pixels, valid=valid)
    return np.load(pixels), np.load(valid)
