"""From a place's 10 m grid to the providers' own grids: MODIS sinusoidal, Mollweide, degrees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform

from terraprobe.acquire.simulated.land import MARGIN_PX
from terraprobe.acquire.simulated.world import PIXEL_M, SimulatedWorld, place_grid

MODIS_CRS = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
MODIS_CELL_M = 926.625433055833 / 4
"""Side of a 250 m cell: the 1 km grid has 1200 cells in a tile of 1111950.519667 m (MODIS Land grid)."""
MODIS_ORIGIN = (-20015109.354, 10007554.677)
GHS_CRS = "ESRI:54009"
GHS_CELL_M = 100.0
WORLDCOVER_STEP = 1 / 12000
GUNW_STEP = 1 / 1200
_NODE_PX = 8  # projections are exact on every eighth pixel and linear between: errors stay below a millimetre

Projection = Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[list[float], list[float]]]


@dataclass(frozen=True)
class Located:
    """A place's land with its margin on Earth.

    Attributes:
        crs: of its UTM zone.
        left: easting of the left edge in metres, margin included.
        top: northing of the upper edge in metres, margin included.
        n: side in pixels, margin included.
    """

    crs: str
    left: float
    top: float
    n: int


@dataclass(frozen=True)
class Cells:
    """A grid of another projection over a place.

    Attributes:
        transform: of the grid.
        shape: rows, columns.
        at: flat cell index of each 10 m pixel, (n, n).
        share: share of each cell that the simulated land covers, 0 to 1, of `shape`.
    """

    transform: Affine
    shape: tuple[int, int]
    at: NDArray[np.intp]
    share: NDArray[np.float32]


def locate(world: SimulatedWorld, index: int) -> Located:
    """Where the land of a place lies, margin included."""
    crs, grid, _, _ = place_grid(world, index)
    margin = MARGIN_PX * PIXEL_M
    return Located(crs, grid[2] - margin, grid[5] + margin, world.place_px + 2 * MARGIN_PX)


def cells(land: Located, crs: str, step: float, origin: tuple[float, float]) -> Cells:
    """Lay a grid with the given step, aligned to `origin` (x, y), over the land."""
    x, y = _projected(land, crs)
    column = np.floor((x - origin[0]) / step).astype(np.intp)
    row = np.floor((origin[1] - y) / step).astype(np.intp)
    first_row, first_column = int(row.min()), int(column.min())
    shape = (int(row.max()) - first_row + 1, int(column.max()) - first_column + 1)
    at = (row - first_row) * shape[1] + column - first_column
    count = np.bincount(at.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    share = np.minimum(count / np.median(count[count > 0.5 * count.max()]), 1).astype(np.float32)
    grid = Affine(step, 0, origin[0] + first_column * step, 0, -step, origin[1] - first_row * step)
    return Cells(grid, shape, at, share)


def average(image: NDArray[np.floating], grid: Cells) -> NDArray[np.float32]:
    """Mean of a 10 m image (n, n) over each cell; NaN where no pixel falls."""
    size = grid.shape[0] * grid.shape[1]
    total = np.bincount(grid.at.ravel(), weights=image.ravel(), minlength=size)
    count = np.bincount(grid.at.ravel(), minlength=size)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.asarray(mean.reshape(grid.shape), np.float32)


def nearest_in_degrees(codes: NDArray[np.uint8], land: Located, step: float) -> tuple[NDArray[np.uint8], Affine]:
    """Sample 10 m codes (n, n) at the cell centres of a grid in degrees; 0 where they end."""
    lon, lat = _projected(land, "EPSG:4326")
    west, east = np.floor(lon.min() / step), np.ceil(lon.max() / step)
    south, north = np.floor(lat.min() / step), np.ceil(lat.max() / step)
    shape = (int(north - south), int(east - west))
    x, y = _between_nodes(
        shape,
        lambda rows, columns: transform(
            "EPSG:4326", land.crs, ((west + columns) * step).tolist(), ((north - rows) * step).tolist()
        ),
    )
    column = np.floor((x - land.left) / PIXEL_M).astype(np.intp)
    row = np.floor((land.top - y) / PIXEL_M).astype(np.intp)
    inside = (row >= 0) & (row < land.n) & (column >= 0) & (column < land.n)
    found = np.where(inside, codes[row.clip(0, land.n - 1), column.clip(0, land.n - 1)], 0)
    return found.astype(np.uint8), Affine(step, 0, west * step, 0, -step, north * step)


def _projected(land: Located, crs: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (x, y) of every 10 m pixel centre in another CRS, each (n, n)."""
    return _between_nodes(
        (land.n, land.n),
        lambda rows, columns: transform(
            land.crs, crs, (land.left + columns * PIXEL_M).tolist(), (land.top - rows * PIXEL_M).tolist()
        ),
    )


def _between_nodes(shape: tuple[int, int], project: Projection) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project pixel centres: exactly at nodes, linearly between them.

    Args:
        shape: rows, columns of pixels.
        project: from flat arrays of rows and columns (centres at 0.5) to x and y.
    """
    node_rows = np.arange(0, shape[0] + _NODE_PX, _NODE_PX) + 0.5
    node_columns = np.arange(0, shape[1] + _NODE_PX, _NODE_PX) + 0.5
    rows, columns = np.meshgrid(node_rows, node_columns, indexing="ij")
    x, y = project(rows.ravel(), columns.ravel())
    return _spread(np.reshape(x, rows.shape), shape), _spread(np.reshape(y, rows.shape), shape)


def _spread(nodes: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Linear interpolation of node values to pixels, one axis after the other."""
    for axis, size in enumerate(shape):
        at, part = np.divmod(np.arange(size), _NODE_PX)
        weight = part / _NODE_PX
        weight = weight[:, None] if axis == 0 else weight
        nodes = nodes.take(at, axis) * (1 - weight) + nodes.take(at + 1, axis) * weight
    return nodes
