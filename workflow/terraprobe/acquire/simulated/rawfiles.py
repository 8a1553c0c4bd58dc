"""Simulated measurements in the providers' own raw formats, so that the code for real data reads them.

Rasters are made in memory and written plainly: GDAL reports a full disk as it pleases, `write` clearly.
"""

from pathlib import Path

import netCDF4
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from terraprobe.acquire.simulated.grids import (
    GHS_CELL_M,
    GHS_CRS,
    GUNW_STEP,
    MODIS_CELL_M,
    MODIS_CRS,
    MODIS_ORIGIN,
    WORLDCOVER_STEP,
    Located,
    average,
    cells,
    nearest_in_degrees,
)
from terraprobe.acquire.simulated.land import Cover, Land
from terraprobe.acquire.simulated.radar import coherence_noise
from terraprobe.acquire.simulated.shapes import Image, fractal
from terraprobe.acquire.simulated.world import Pair, SimulatedWorld, generator
from terraprobe.artifacts import atomic_path, write_bytes
from terraprobe.errors import TerraprobeError

_WORLDCOVER = {
    Cover.CONIFER: 10, Cover.DECIDUOUS: 10, Cover.YOUNG: 10, Cover.SHRUB: 20, Cover.GRASS: 30,
    Cover.WINTER_CROP: 40, Cover.SUMMER_CROP: 40, Cover.BARE: 60, Cover.WATER: 80, Cover.WETLAND: 90,
}  # fmt: skip
_BUILT = 50
_WHOLE = 0.6  # share of a label cell that must lie on simulated land, else it is fill


def write_geotiff(
    path: Path, image: NDArray[np.generic], crs: str, grid: Affine, *, names: list[str], nodata: float
) -> None:
    """Write a tiled, compressed GeoTIFF with band descriptions.

    Args:
        path: where to.
        image: (band, y, x).
        crs: anything that rasterio understands.
        grid: transform of the upper left corner.
        names: description of each band.
        nodata: value that means "not observed".
    """
    floating = image.dtype.kind == "f"
    profile = {
        "driver": "GTiff", "dtype": image.dtype.name, "count": image.shape[0],
        "height": image.shape[1], "width": image.shape[2], "crs": CRS.from_string(crs), "transform": grid,
        "nodata": nodata, "tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band",
        "compress": "deflate", "zlevel": 1, "predictor": 3 if floating else 2,
    }  # fmt: skip
    with MemoryFile() as buffer:
        with buffer.open(**profile) as tile:
            tile.write(image)
            tile.descriptions = names
        write_bytes(path, buffer.read())


def write_worldcover(path: Path, land: Land, located: Located) -> None:
    """ESA WorldCover codes, EPSG:4326, 1/12000 degree, 0 = nodata."""
    codes = np.array([_WORLDCOVER[kind] for kind in Cover], np.uint8)[land.cover]
    hard = land.town.building + land.town.sealed
    codes = np.where((hard > 0.45) | (land.town.building > 0.2), _BUILT, codes).astype(np.uint8)
    image, grid = nearest_in_degrees(codes, located, WORLDCOVER_STEP)
    write_geotiff(path, image[None], "EPSG:4326", grid, names=["Map"], nodata=0)


def write_mod44b(path: Path, land: Land, located: Located) -> None:
    """Per cent tree cover, MODIS sinusoidal, 231.7 m, 200 = water, 253 = fill."""
    grid = cells(located, MODIS_CRS, MODIS_CELL_M, MODIS_ORIGIN)
    percent = np.nan_to_num(np.round(100 * average(land.tree_share, grid))).astype(np.uint8)
    wet = np.nan_to_num(average(land.cover == Cover.WATER, grid))
    image = np.where(grid.share < _WHOLE, 253, np.where(wet > 0.5, 200, percent)).astype(np.uint8)
    write_geotiff(path, image[None], MODIS_CRS, grid.transform, names=["Percent_Tree_Cover"], nodata=253)


def write_ghs_built(path: Path, land: Land, located: Located) -> None:
    """Built-up surface in m² per cell of 100 m, Mollweide, 65535 = nodata."""
    grid = cells(located, GHS_CRS, GHS_CELL_M, (0.0, 0.0))
    built = np.nan_to_num(np.round(GHS_CELL_M**2 * average(land.town.building, grid)))
    image = np.where(grid.share < _WHOLE, 65535, built).astype(np.uint16)
    write_geotiff(path, image[None], GHS_CRS, grid.transform, names=["built_surface"], nodata=65535)


def write_gunw(path: Path, world: SimulatedWorld, index: int, pair: Pair, *, mean_10m: Image, located: Located) -> None:
    """One interferometric product in the layout of ARIA GUNW version 3.

    Layout: DockerizedTopsApp `nc_packaging_template.json` (commit ebe052c2), the groups that data users read.

    Args:
        path: where to.
        world: the simulated Earth.
        index: place.
        pair: dates.
        mean_10m: expected coherence at 10 m with margin, (n, n).
        located: where that is.
    """
    grid = cells(located, "EPSG:4326", GUNW_STEP, (0.0, 90.0))
    mean = average(mean_10m, grid)
    estimate = coherence_noise(world, index, pair, np.nan_to_num(mean))
    seen = (grid.share > _WHOLE) & _in_frame(world, index, grid.shape)
    rng = generator(world, index, f"phase {pair.later} {pair.earlier}")
    side = max(grid.shape)
    phase = 4 * fractal(rng, side, 1.6)[: grid.shape[0], : grid.shape[1]]
    phase = phase + (1 - estimate) * rng.standard_normal(grid.shape, dtype=np.float32)
    amplitude = rng.standard_gamma(6.0, grid.shape, dtype=np.float32) * (0.5 + estimate) * 400
    layers = {
        "coherence": (np.where(seen, estimate, 0), 0.0, "unitless"),
        "amplitude": (np.where(seen, amplitude, 0), 0.0, "watt"),
        "unwrappedPhase": (np.where(seen, phase, 0), 0.0, "rad"),
        "connectedComponents": (np.where(seen, 1.0 * (estimate > 0.15), -1), -1.0, "unitless"),
    }
    try:
        with atomic_path(path) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as product:
            _describe(product, grid.transform, grid.shape)
            data = product.createGroup("science/grids/data")
            _geographic_axes(data, grid.transform, grid.shape)
            for name, (image, fill, unit) in layers.items():
                variable = data.createVariable(
                    name, "f4", ("latitude", "longitude"), zlib=True, complevel=2, fill_value=fill
                )
                variable.grid_mapping, variable.units = "crs", unit
                variable[:] = image.astype(np.float32)
    except RuntimeError as error:
        raise TerraprobeError(
            f"{path}: the NetCDF library cannot write it ({error}). Nothing was kept. Is the disk full? Free space, "
            "then run the same command again."
        ) from error


def _in_frame(world: SimulatedWorld, index: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the radar frame reaches: some places lie across its edge, which is the same for all their pairs."""
    rng = generator(world, index, "frame")
    if rng.random() >= 0.5 * world.missing_share:
        return np.ones(shape, bool)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25)
    y, x = np.mgrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]
    return np.asarray(x * np.cos(angle) + y * np.sin(angle) > offset)


def _describe(product: netCDF4.Dataset, grid: Affine, shape: tuple[int, int]) -> None:
    product.title = "Simulated land in the layout of an ARIA standard product UNW GEO IFG"
    product.Conventions, product.version, product.product_type = "CF-1.6", "1c", "UNW GEO IFG"
    west, north = grid.c, grid.f
    east, south = west + shape[1] * grid.a, north + shape[0] * grid.e
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    wkt = "POLYGON ((" + ", ".join(f"{x:.8f} {y:.8f}" for x, y in corners) + "))"
    product.createDimension("wkt_count", 1)
    box = product.createVariable("productBoundingBox", str, ("wkt_count",))
    box[0] = wkt
    radar = product.createGroup("science/radarMetaData")
    radar.createVariable("wavelength", "f8", ())[...] = 0.05546576  # Sentinel-1 C band, m


def _geographic_axes(data: netCDF4.Dataset, grid: Affine, shape: tuple[int, int]) -> None:
    """Coordinates of cell centres, latitude from north to south, and the CRS."""
    crs = data.createVariable("crs", "i4", ())
    crs.grid_mapping_name, crs.longitude_of_prime_meridian = "latitude_longitude", 0.0
    crs.semi_major_axis, crs.inverse_flattening = 6378137.0, 298.257223563
    crs.crs_wkt = crs.spatial_ref = CRS.from_epsg(4326).to_wkt()
    for axis, (name, unit) in enumerate((("latitude", "degrees_north"), ("longitude", "degrees_east"))):
        first, step = (grid.f, grid.e) if axis == 0 else (grid.c, grid.a)
        data.createDimension(name, shape[axis])
        variable = data.createVariable(name, "f8", (name,))
        variable.standard_name, variable.units = name, unit
        variable[:] = first + (np.arange(shape[axis]) + 0.5) * step
