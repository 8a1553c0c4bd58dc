"""Pixels of a tile on the chip grid: decoded, checked, resampled by geotransform.

A pixel of the chip grid is missing exactly where the tile's own pixel that contains its centre is missing;
elsewhere bilinear weights run over the observed neighbours only, so that nodata never bleeds into a value.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.enums import TransformDirection
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from terraprobe.chips.tiles import Layer, Tile
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer, Modality

WARP_TOLERANCE_PX = 1e-9
"""GDAL's default, 0.125 px, makes pixels depend on how an area is cut into blocks. At 1e-6 nearest neighbours no
longer do, but interpolated coherence still did (up to 0.013 DN, which flips a rounding here and there); at 1e-9 every
position is computed exactly, at the same cost."""


@dataclass(frozen=True)
class Grid:
    """A north-up window of the chip grid.

    Attributes:
        crs: such as `EPSG:32633`.
        left: x of the upper left corner, CRS units.
        top: y of the upper left corner, CRS units.
        pixel: pixel side, CRS units.
        width: pixels.
        height: pixels.
    """

    crs: str
    left: float
    top: float
    pixel: float
    width: int
    height: int

    @property
    def transform(self) -> Affine:
        """From (column, row) to (x, y)."""
        return Affine(self.pixel, 0.0, self.left, 0.0, -self.pixel, self.top)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in CRS units."""
        return (self.left, self.top - self.height * self.pixel, self.left + self.width * self.pixel, self.top)


def find_window(tile: Tile, grid: Grid) -> Window | None:
    """The part of a tile that the grid needs, with a margin for the kernel; None where they do not touch.

    Returns:
        A window in whole pixels of the tile.
    """
    to_tile = _transformer(grid.crs, tile.crs.to_wkt())
    bounds = to_tile.transform_bounds(*grid.bounds, densify_pts=21)
    if not np.isfinite(bounds).all():
        return None
    left, bottom, right, top = bounds
    inverse = ~tile.transform
    columns, rows = zip(*(inverse @ (x, y) for x in (left, right) for y in (bottom, top)), strict=True)
    margin = 2 + np.ceil(1 / _kernel_scale(tile, grid))
    first_row, first_column = max(0, int(min(rows) - margin)), max(0, int(min(columns) - margin))
    end_row = min(tile.shape[0], int(np.ceil(max(rows) + margin)))
    end_column = min(tile.shape[1], int(np.ceil(max(columns) + margin)))
    if first_row >= end_row or first_column >= end_column:
        return None
    return Window(first_column, first_row, end_column - first_column, end_row - first_row)


def read_band(dataset: Any, tile: Tile, band: str, layer: Layer, grid: Grid) -> NDArray[Any] | None:
    """One band of a tile on the grid.

    Args:
        dataset: the open tile.
        tile: its description.
        band: one of `tile.bands`.
        layer: what it is a tile of.
        grid: the window of the chip grid.

    Returns:
        DN of the store, (height, width), the layer's integer type, nodata where nothing was observed; None where
        tile and grid do not touch.

    Raises:
        TerraprobeError: a value is outside what the layer allows.
    """
    window = find_window(tile, grid)
    if window is None:
        return None
    raw = dataset.read(tile.bands[band], window=window)
    transform = window_transform(window, tile.transform)
    reached, part = _reached(tile, transform, raw.shape, grid)
    pixels = np.full((grid.height, grid.width), layer.nodata, layer.dtype)
    if isinstance(layer, LabelLayer):
        pixels[reached] = _warp(_decode_labels(raw, tile, layer), transform, tile, part, layer.nodata)
    else:
        pixels[reached] = _quantise(_warp(_decode(raw, tile, band, layer), transform, tile, part, np.nan), layer)
    return pixels


def _reached(tile: Tile, transform: Affine, shape: tuple[int, int], grid: Grid) -> tuple[tuple[slice, slice], Grid]:
    """The part of a grid that pixels of a tile can give values to: (rows, columns), and as a grid of its own.

    Of most tiles that touch a grid only an edge does: the rest of the grid need not be warped.
    """
    corners = [transform @ (x, y) for x in (0, shape[1]) for y in (0, shape[0])]
    xs, ys = zip(*corners, strict=True)
    to_tile = _transformer(grid.crs, tile.crs.to_wkt())
    bounds = to_tile.transform_bounds(
        min(xs), min(ys), max(xs), max(ys), densify_pts=21, direction=TransformDirection.INVERSE
    )
    rows, columns = slice(0, grid.height), slice(0, grid.width)
    if np.isfinite(bounds).all():
        left, bottom, right, top = bounds
        rows = _span((grid.top - top) / grid.pixel, (grid.top - bottom) / grid.pixel, grid.height)
        columns = _span((left - grid.left) / grid.pixel, (right - grid.left) / grid.pixel, grid.width)
    part = replace(
        grid,
        left=grid.left + columns.start * grid.pixel,
        top=grid.top - rows.start * grid.pixel,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )
    return (rows, columns), part


def _span(start: float, stop: float, size: int) -> slice:
    """Whole pixels with a margin of two, which is at least one pixel of the grid's."""
    first = min(max(0, math.floor(start) - 2), size - 1)
    return slice(first, max(first + 1, min(size, math.ceil(stop) + 2)))


def read_whole(dataset: Any, tile: Tile, band: str, layer: Layer, grid: Grid) -> NDArray[Any]:
    """One band of a tile that covers exactly the ground of a grid.

    Args:
        dataset: the open tile.
        tile: its description.
        band: one of `tile.bands`.
        layer: what it is a tile of.
        grid: the same ground; where it has more pixels than the tile, these are interpolated bilinearly, codes nearest.

    Returns:
        DN of the store, (height, width): the tile's own pixels where it has as many as the grid.

    Raises:
        TerraprobeError: a value is outside what the layer allows.
    """
    raw = dataset.read(tile.bands[band])
    same = raw.shape == (grid.height, grid.width)
    if isinstance(layer, LabelLayer):
        codes = _decode_labels(raw, tile, layer)
        return codes if same else _warp(codes, tile.transform, tile, grid, layer.nodata)
    dn = _decode(raw, tile, band, layer)
    if not same:
        dn = _warp(dn, tile.transform, tile, grid, np.nan)
    return _quantise(dn, layer)


def _decode(raw: NDArray[Any], tile: Tile, band: str, layer: Modality) -> NDArray[np.float32]:
    """Raw values as real-valued DN of the store, NaN where not observed."""
    missing = ~np.isfinite(raw) if raw.dtype.kind == "f" else np.zeros(raw.shape, bool)
    if tile.nodata is not None:
        missing |= raw == tile.nodata
    if layer.unit in ("reflectance", "coherence"):
        missing |= raw == 0  # DN 0 of Sentinel-2 and fill 0 of GUNW both mean "not observed"
    values = raw.astype(np.float32)
    if layer.unit == "reflectance":
        dn = values if tile.offset_dn == 0 else np.maximum(values + tile.offset_dn, 1)
        values = values * np.float32(layer.scale)
    else:
        dn = (values - np.float32(layer.offset)) / np.float32(layer.scale)
    low, high = layer.valid_range
    wrong = ~missing & ((values < low) | (values > high * (1 + 1e-6)))
    if wrong.any():
        raise TerraprobeError(
            f"{tile.path}: band {band} holds {values[wrong][0]:.6g}, outside {low} to {high} {layer.unit} "
            f"of {layer.name}: another unit, or another nodata value than the file declares ({tile.nodata})."
        )
    dn[missing] = np.nan
    return dn


def _quantise(dn: NDArray[np.float32], layer: Modality) -> NDArray[Any]:
    """Real-valued DN to the store's integers; an observed pixel never becomes nodata."""
    info = np.iinfo(layer.dtype)
    low = info.min + (layer.nodata == info.min)
    high = info.max - (layer.nodata == info.max)
    missing = np.isnan(dn)
    whole = np.clip(np.floor(np.where(missing, 0, dn) + np.float32(0.5)), low, high)
    return np.where(missing, layer.nodata, whole).astype(layer.dtype)


def _decode_labels(raw: NDArray[Any], tile: Tile, layer: LabelLayer) -> NDArray[Any]:
    missing = np.zeros(raw.shape, bool) if tile.nodata is None else raw == tile.nodata
    if tile.codes:
        foreign = raw[~missing & ((raw < 0) | (raw >= len(tile.codes)))]
        if foreign.size:
            raise TerraprobeError(
                f"{tile.path}: holds {foreign[0]}, which is no code of its map; allowed 0 to {len(tile.codes) - 1}. "
                "Is it another product, or another version of it?"
            )
        raw = np.array(tile.codes, layer.dtype)[np.where(missing, 0, raw)]
    missing |= raw == layer.nodata
    known = np.isin(raw, [*layer.classes, *layer.stands_for])
    if layer.quantity:
        known |= (raw >= layer.quantity[0]) & (raw <= layer.quantity[1])
    wrong = ~missing & ~known
    if wrong.any():
        raise TerraprobeError(
            f"{tile.path}: holds {raw[wrong][0]}, which is not a value of {layer.name}; allowed: {layer.allowed}. "
            "Is it another product, or another version of it?"
        )
    return np.where(missing, layer.nodata, raw).astype(layer.dtype)


def _warp(pixels: NDArray[Any], transform: Affine, tile: Tile, grid: Grid, nodata: float) -> NDArray[Any]:
    """Resample to the grid: real values bilinear, integers (classes) nearest."""
    resampling = Resampling.bilinear if pixels.dtype.kind == "f" else Resampling.nearest
    scale = _kernel_scale(tile, grid)
    profile = {"driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": 1}
    with MemoryFile() as memory:
        with memory.open(**profile, dtype=pixels.dtype, nodata=nodata, crs=tile.crs, transform=transform) as dataset:
            dataset.write(pixels, 1)
        with (
            memory.open() as dataset,
            WarpedVRT(
                dataset,
                src_crs=tile.crs,
                src_transform=transform,
                crs=grid.crs,
                transform=grid.transform,
                width=grid.width,
                height=grid.height,
                resampling=resampling,
                src_nodata=nodata,
                nodata=nodata,
                tolerance=WARP_TOLERANCE_PX,
                XSCALE=scale,
                YSCALE=scale,
            ) as warped,
        ):
            result: NDArray[Any] = warped.read(1)
            return result


@lru_cache(maxsize=256)
def _transformer(grid_crs: str, tile_wkt: str) -> Transformer:
    return Transformer.from_crs(grid_crs, tile_wkt, always_xy=True)


def _kernel_scale(tile: Tile, grid: Grid) -> float:
    """Size of the tile's pixels in pixels of the grid, at most 1, to one decimal.

    Below 1 the kernel widens so that no native pixel is skipped. It is fixed per tile because GDAL's own choice
    depends on the block.
    """
    to_tile = _transformer(grid.crs, tile.crs.to_wkt())
    row, column = tile.shape[0] / 2, tile.shape[1] / 2
    points = [tile.transform @ p for p in ((column, row), (column + 1, row), (column, row + 1))]
    xs, ys = zip(*points, strict=True)
    x, y = to_tile.transform(xs, ys, direction=TransformDirection.INVERSE)
    sides = np.hypot(np.asarray(x[1:]) - x[0], np.asarray(y[1:]) - y[0]) / grid.pixel
    return min(1.0, max(0.1, round(float(sides.max()), 1))) if np.isfinite(sides).all() else 1.0
