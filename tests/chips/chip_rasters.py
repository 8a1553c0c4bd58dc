"""Small rasters, grids and cuts for the chip tests."""

import os

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from netCDF4 import Dataset
from rasterio.crs import CRS
from rasterio.transform import Affine

from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import write_table
from terraprobe.chips.cut import CutRecipe, SealRecipe, cut_chips, seal_store
from terraprobe.chips.store import ChipStore

UTM = "EPSG:32633"
LEFT, TOP = 500_000.0, 5_800_000.0
MONTHLY = [f"2020-{month:02d}_{part}" for month in (1, 4, 9) for part in ("B04", "B03", "B02")]


def gunw_name(pair="20200113_20200101", version="3_0_1", time="171000", letters="aaaa"):
    return f"S1-GUNW-A-R-044-tops-{pair}-{time}-00012E_00052N-PP-{letters}-v{version}.nc"


def write_gunw(path, coherence, west=14.99, north=52.36, step=1 / 1200):
    """The part of the ARIA GUNW v3 layout that is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Dataset(path, "w") as root:
        group = root.createGroup("science/grids/data")
        for name, size in (("latitude", coherence.shape[0]), ("longitude", coherence.shape[1])):
            group.createDimension(name, size)
        latitude = group.createVariable("latitude", "f8", ("latitude",))
        longitude = group.createVariable("longitude", "f8", ("longitude",))
        latitude[:] = north - step * (np.arange(coherence.shape[0]) + 0.5)
        longitude[:] = west + step * (np.arange(coherence.shape[1]) + 0.5)
        latitude.units, longitude.units = "degrees_north", "degrees_east"
        latitude.standard_name, longitude.standard_name = "latitude", "longitude"
        crs = group.createVariable("crs", "i4")
        wkt = CRS.from_epsg(4326).to_wkt()
        crs.setncatts({"grid_mapping_name": "latitude_longitude", "crs_wkt": wkt, "spatial_ref": wkt})
        variable = group.createVariable("coherence", "f4", ("latitude", "longitude"), fill_value=0.0, zlib=True)
        variable[:] = coherence
        variable.grid_mapping = "crs"
    return path


def write_tile(path, pixels, left, top, pixel=10.0, *, crs=UTM, nodata=None, bands=None, tags=None, **options):
    """Write (band, y, x) or (y, x) pixels as a GeoTIFF, whatever the suffix says; `pixel` may be (x, y)."""
    pixels = np.asarray(pixels)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    across, down = pixel if isinstance(pixel, tuple) else (pixel, pixel)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], **options}
    if crs is not None:
        profile |= {"crs": crs, "transform": Affine(across, 0, left, 0, -down, top)}
    with rasterio.open(path, "w", dtype=pixels.dtype, nodata=nodata, **profile) as dataset:
        dataset.write(pixels)
        for index, band in enumerate(bands or (), 1):
            dataset.set_band_description(index, band)
        dataset.update_tags(**(tags or {}))
    return path


def write_grid(path, corners, chip_px=16, *, crs=UTM, shards=None):
    """Write `grid.parquet` of chips whose upper left corners are given."""
    side = chip_px * 10
    boxes = [shapely.box(left, top - side, left + side, top) for left, top in corners]
    frame = gpd.GeoDataFrame(
        {
            "chip_id": [f"chip-{i}" for i in range(len(corners))],
            "crs": crs,
            "transform": [[10.0, 0.0, float(left), 0.0, -10.0, float(top)] for left, top in corners],
            "block": "b",
            "shard": shards or ["000"] * len(corners),
            "source": "test",
        },
        geometry=gpd.GeoSeries(boxes, crs=crs).to_crs("EPSG:4326"),
    )
    write_table(path, frame, {"chip_px": str(chip_px)})
    return path


def cut(grid, tiles, layer, shard="000"):
    """Cut one shard; pixels (chip, channel, y, x) and valid shares (chip, channel)."""
    folder = grid.parent / layer
    pixels, valid = folder / f"{shard}.npy", folder / f"{shard}.valid.npy"
    recipe = CutRecipe(layer=layer, shard=shard)
    listed = manifest_of(layer, tiles, grid.parent / f"{layer}-{shard}.json")
    cut_chips(grid=grid, manifest=listed, recipe=recipe, pixels=pixels, valid=valid)
    return np.load(pixels), np.load(valid)


def manifest_of(layer, tiles, path):
    """List tiles, wherever they are, as one layer of a source."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [os.path.relpath(tile, path.parent) for tile in tiles]
    write_manifest(path, {}, [(name, layer, {}) for name in names])
    return path


def seal_and_open(grid, layer, shards=("000",)):
    """Seal a cut layer and open it."""
    folder = grid.parent / layer
    files = [folder / f"{shard}{suffix}" for shard in shards for suffix in (".npy", ".valid.npy")]
    seal_store(grid=grid, shards=files, recipe=SealRecipe(layer=layer), spec=folder / "spec.json")
    return ChipStore.open(folder)


def unavailable(reason):
    """Skip, or fail in CI, where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; under CI=true this is a failure")
    pytest.skip(reason)
