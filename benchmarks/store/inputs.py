"""The same pixels as a chip store, one plain `.npy`, and GeoTIFFs: aligned uncompressed, and as files usually are."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from terraprobe.chips.arrays import open_array
from terraprobe.chips.store import StoreLayer, seal, write_shard
from terraprobe.modalities import MODALITIES

_S2 = MODALITIES["s2_l1c"]
CHANNELS = len(_S2.bands)

MARGIN_PX = 96
"""The usual file begins this far before the first chip: no chip of 64 or 256 px begins on a block."""

USUAL_BLOCK_PX = 256
"""GDAL's default block of a tiled GeoTIFF."""

PIXEL_M = 10.0
ORIGIN_XY = (500_000.0, 5_000_000.0)
CRS = "EPSG:32633"


@dataclass(frozen=True)
class Pixels:
    """Size of the inputs.

    Attributes:
        tiles: rasters, one shard of the store each.
        tile_px: side of a raster.
    """

    tiles: int
    tile_px: int

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return self.tiles * CHANNELS * self.tile_px**2 * 2

    def origin(self, tile: int) -> tuple[float, float]:
        """Upper left corner (x, y) in metres; the rasters do not touch, so that a chip never lies in two."""
        return ORIGIN_XY[0] + tile * (self.tile_px + 4 * MARGIN_PX) * PIXEL_M, ORIGIN_XY[1]


@dataclass(frozen=True)
class Inputs:
    """Files of one chip size.

    Attributes:
        pixels: their size.
        chip_px: side of a chip.
        store: folder of the chip store.
        plain: one `.npy`, axes (chip, channel, y, x).
        aligned: tiled by chip, uncompressed, channel by channel.
        usual: tiled, deflate, all channels of a pixel together.
        conversion_s: seconds from the usual files to the sealed store.
    """

    pixels: Pixels
    chip_px: int
    store: Path
    plain: Path
    aligned: list[Path]
    usual: list[Path]
    conversion_s: float

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(chip, channel, y, x)."""
        return (self.pixels.tiles * self.side**2, CHANNELS, self.chip_px, self.chip_px)

    @property
    def side(self) -> int:
        """Chips along the side of a raster."""
        return self.pixels.tile_px // self.chip_px

    def place(self, chip: int) -> tuple[int, int, int]:
        """Raster, and first row and column of a chip in it."""
        tile, rest = divmod(chip, self.side**2)
        row, column = divmod(rest, self.side)
        return tile, row * self.chip_px, column * self.chip_px


def write_usual(folder: Path, pixels: Pixels) -> list[Path]:
    """Draw the pixels and write them as GeoTIFFs that begin `MARGIN_PX` before the first chip.

    Smooth land with sensor noise, so that compression has something to do and does not win by far.
    """
    folder.mkdir(parents=True)
    side = pixels.tile_px + 2 * MARGIN_PX
    paths = []
    for tile in range(pixels.tiles):
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, tile])))
        coarse = rng.integers(200, 4000, (CHANNELS, math.ceil(side / 32), math.ceil(side / 32)), np.uint16)
        smooth = coarse.repeat(32, axis=1).repeat(32, axis=2)[:, :side, :side]
        x, y = pixels.origin(tile)
        corner = (x - MARGIN_PX * PIXEL_M, y + MARGIN_PX * PIXEL_M)
        usual = {"blockxsize": USUAL_BLOCK_PX, "blockysize": USUAL_BLOCK_PX, "compress": "deflate", "predictor": 2}
        noise = rng.integers(0, 64, smooth.shape, np.uint16)
        paths.append(_write_tif(folder / f"{tile}.tif", smooth + noise, corner, **usual))
    return paths


def make_inputs(folder: Path, pixels: Pixels, usual: list[Path], chip_px: int) -> Inputs:
    """Convert the usual files to a store, and write the same pixels for the other readers.

    Args:
        folder: to write in, does not exist yet.
        pixels: what `usual` was written with.
        usual: the files of `write_usual`.
        chip_px: side of a chip, divides the rasters' side and is a multiple of 16, as blocks of GeoTIFFs are.
    """
    folder.mkdir(parents=True)
    began = time.perf_counter()
    store = _convert(folder / "store", usual, pixels, chip_px)
    conversion_s = time.perf_counter() - began
    aligned = []
    for tile, path in enumerate(usual):
        options = {"blockxsize": chip_px, "blockysize": chip_px, "interleave": "band"}
        aligned.append(_write_tif(folder / f"{tile}.tif", _read_tile(path, pixels), pixels.origin(tile), **options))
    inputs = Inputs(pixels, chip_px, store, folder / "plain.npy", aligned, usual, conversion_s)
    with open_array(inputs.plain, inputs.shape, "uint16") as out:
        for tile in range(pixels.tiles):
            out.put(tile * inputs.side**2, np.load(store / f"{tile}.npy"))
    return inputs


def _convert(folder: Path, usual: list[Path], pixels: Pixels, chip_px: int) -> Path:
    side = pixels.tile_px // chip_px
    for tile, path in enumerate(usual):
        blocks = _read_tile(path, pixels).reshape(CHANNELS, side, chip_px, side, chip_px)
        chips = blocks.transpose(1, 3, 0, 2, 4).reshape(-1, CHANNELS, chip_px, chip_px)
        write_shard(folder, str(tile), chips, np.ones(chips.shape[:2], np.float32))
    layer = StoreLayer("s2_l1c", tuple(_S2.bands), "reflectance", 1e-4, 0.0, 0, "uint16", False)
    seal(folder, layer, chip_px, {str(tile): side**2 for tile in range(pixels.tiles)})
    return folder


def _read_tile(path: Path, pixels: Pixels) -> NDArray[np.uint16]:
    window = rasterio.windows.Window(MARGIN_PX, MARGIN_PX, pixels.tile_px, pixels.tile_px)
    with rasterio.open(path) as source:
        values: NDArray[np.uint16] = source.read(window=window)
        return values


def _write_tif(path: Path, values: NDArray[np.uint16], corner: tuple[float, float], **options: Any) -> Path:
    channels, height, width = values.shape
    transform = from_origin(*corner, PIXEL_M, PIXEL_M)
    profile = {"driver": "GTiff", "dtype": "uint16", "count": channels, "height": height, "width": width, "crs": CRS}
    with rasterio.open(path, "w", **profile, transform=transform, tiled=True, num_threads=2, **options) as target:
        target.write(values)
    return path
