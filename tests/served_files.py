"""What WorldClim, the EEA, the JRC and ASF would serve over a simulated Earth: its raw files, as they publish them."""

import io
import zipfile
from pathlib import Path

import geopandas as gpd
import netCDF4
import numpy as np
import rasterio
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.windows import Window

from anyhost import Loopback, Stored
from earthdata_service import Earthdata
from terraprobe.acquire.ghs import CRS, NORTH_M, TILE_M, WEST_M
from terraprobe.sources import read_sources

TEN_MINUTES = Affine(1 / 6, 0, -180, 0, -1 / 6, 90)
"""WorldClim's grid, 2160 x 1080."""


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def raster(image: np.ndarray, crs: str, transform: Affine, nodata: float, compress: str = "deflate") -> bytes:
    """A GeoTIFF of one band."""
    profile = {"driver": "GTiff", "count": 1, "height": image.shape[0], "width": image.shape[1], "dtype": image.dtype}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=crs, transform=transform, nodata=nodata, compress=compress) as dataset:
            dataset.write(image, 1)
        return bytes(memory.read())


def offer_climate(server: Loopback, climate: Path) -> None:
    """Serve the climate of a simulated Earth as WorldClim's rasters of the whole Earth; elsewhere they have no data."""
    with rasterio.open(climate) as dataset:
        bands, nodata = dataset.read(), dataset.nodata
        column, row = (round(value) for value in ~TEN_MINUTES @ (dataset.transform.c, dataset.transform.f))
    bio, elevation = read_sources()["worldclim"].downloads
    files = []
    for band in bands:
        world = np.full((1080, 2160), nodata, np.float32)
        world[row : row + band.shape[0], column : column + band.shape[1]] = band
        files.append(raster(world, "EPSG:4326", TEN_MINUTES, nodata))
    server.put(bio.urls[0], Stored(zipped(dict(zip(bio.members, files[:19], strict=True)))))
    server.put(elevation.urls[0], Stored(zipped({elevation.members[0]: files[19]})))


def offer_regions(server: Loopback, regions: Path, scratch: Path) -> None:
    """Serve the regions of a simulated Earth as the EEA's shapefile."""
    scratch.mkdir()
    gpd.read_file(regions).to_file(scratch / "BiogeoRegions2016.shp")
    members = {f"zipped/{path.name}": path.read_bytes() for path in scratch.iterdir()}
    server.put(read_sources()["regions"].downloads[0].urls[0], Stored(zipped(members)))


def offer_built(server: Loopback, folder: Path) -> None:
    """Serve rasters of built-up surface as the tiles of 1,000 km that they lie in."""
    url, cell_m = read_sources()["ghs_built"].tiles, 100
    lying: dict[str, list[tuple[np.ndarray, tuple[float, ...]]]] = {}
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as dataset:
            image, bounds = dataset.read(1), tuple(dataset.bounds)
        corners = [(int((bounds[k] - WEST_M) // TILE_M), int((NORTH_M - bounds[k + 1]) // TILE_M)) for k in (0, 2)]
        assert corners[0] == corners[1], f"{path} lies across two tiles"
        lying.setdefault(f"R{corners[0][1] + 1}_C{corners[0][0] + 1}", []).append((image, bounds))
    for tile, images in lying.items():
        row, column = (int(part[1:]) - 1 for part in tile.split("_"))
        transform = Affine(cell_m, 0, WEST_M + column * TILE_M, 0, -cell_m, NORTH_M - row * TILE_M)
        side = TILE_M // cell_m
        profile = {"driver": "GTiff", "count": 1, "height": side, "width": side, "dtype": "uint16", "nodata": 65535}
        with MemoryFile() as memory:
            with memory.open(**profile, crs=CRS, transform=transform, compress="deflate", sparse_ok=True) as dataset:
                for image, bounds in images:
                    dataset.write(image, 1, window=_window(image, bounds, transform))
            name = url.rpartition("/")[2].format(tile=tile)
            content = zipped({name.replace(".zip", ".tif"): bytes(memory.read())})
        server.put(url.format(tile=tile), Stored(content))


def _window(image: np.ndarray, bounds: tuple[float, ...], transform: Affine) -> Window:
    column, row = (round(value) for value in ~transform @ (bounds[0], bounds[3]))
    return Window(column, row, image.shape[1], image.shape[0])


def offer_products(service: Earthdata, folder: Path) -> None:
    """Serve interferograms as ASF does."""
    for path in sorted(folder.glob("*.nc")):
        with netCDF4.Dataset(path) as product:
            lat, lon = (product[f"/science/grids/data/{axis}"][:] for axis in ("latitude", "longitude"))
        box = (float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max()))
        service.add(path.stem, path.read_bytes(), box)
