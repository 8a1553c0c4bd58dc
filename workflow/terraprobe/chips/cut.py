"""Cut chips out of tiles into a shard of the chip store, and seal a store."""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.acquire.folder import POLYGON_SUFFIXES
from terraprobe.acquire.manifest import layer_tiles
from terraprobe.artifacts import read_table, table_metadata
from terraprobe.chips.arrays import open_array, write_array
from terraprobe.chips.images import are_images, read_images
from terraprobe.chips.polygons import CLASS_COLUMN, PolygonTile
from terraprobe.chips.store import StoreLayer, seal
from terraprobe.chips.tiles import Layer, Tile, describe_tiles, find_layer, lonlat_bounds, open_raster
from terraprobe.chips.warp import Grid, read_band
from terraprobe.classmap import ClassMap
from terraprobe.collections.zones import CLIP, foreign_pixels
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer
from terraprobe.stage import In, Ins, Out, Recipe, progress

CELL_PX = 2048
"""Chips whose corner lies in one square of this side are cut together: one read of a tile serves them all, and
13 bands of such a square take 110 MB. The pixels do not depend on it."""

Tiles = Mapping[Path, Mapping[str, Any]]
"""Raw files, and what the manifest says of each."""

Bounds = tuple[float, float, float, float]
"""(west, south, east, north) in degrees."""


class CutRecipe(Recipe):
    """Recipe of `cut_chips`.

    Attributes:
        layer: a modality or label layer.
        shard: the rows of the grid to cut.
        classes: of an own label layer; None for any other.
    """

    layer: str
    shard: str
    classes: ClassMap | None = None


class SealRecipe(Recipe):
    """Recipe of `seal_store`.

    Attributes:
        layer: a modality or label layer.
        classes: of an own label layer, kept in the store; None for any other.
    """

    layer: str
    classes: ClassMap | None = None


@dataclass(frozen=True)
class Cell:
    """Chips that are cut together.

    Attributes:
        grid: the window that holds them all.
        chips: (row in the shard, first column, first row in the window) of each.
    """

    grid: Grid
    chips: list[tuple[int, int, int]]


def cut_chips(*, grid: In, manifest: In, recipe: CutRecipe, pixels: Out, valid: Out) -> None:
    """Cut every chip of one shard out of the tiles of one layer.

    Every band is resampled to the chip's own 10 m grid by geotransform: bilinear for measurements, nearest for
    labels. Where tiles overlap, the first by name that observed a pixel gives it. What no tile observed is
    nodata with a valid share of 0. Where the grid says `clip: utm-zone`, so are pixels whose centre lies beyond the
    chip's own zone: a chip of the neighbouring zone has them. For coherence a chip's own pairs come
    first, in order of their dates. Of an archive each chip is an image of its own, pixel by pixel.

    Args:
        grid: the collection's `grid.parquet`.
        manifest: of the source; its raster files of the layer (for `osm` vector files) are read.
        recipe: which layer and shard.
        pixels: `.npy`, axes (chip, channel, y, x), integer DN of the store.
        valid: `.npy`, float32, axes (chip, channel), share of observed pixels.

    Raises:
        TerraprobeError: a tile is broken, lacks a band or a CRS, or holds a value that the layer does not allow.
    """
    layer = find_layer(recipe.layer, recipe.classes)
    frame, chip_px = _read_shard(grid, recipe.shard)
    tiles = layer_tiles(manifest, recipe.layer)
    if are_images(tiles):
        channels = 1 if isinstance(layer, LabelLayer) else len(layer.bands)
        images = read_images(tiles, frame, layer, chip_px)
    else:
        cutter = _choose_cutter(layer, tiles, frame)
        channels, images = cutter.channels, _cut(cutter, frame, _foreign_pixels(grid, frame, chip_px), chip_px)
    shares = np.zeros((len(frame), channels), np.float32)
    with open_array(pixels, (len(frame), channels, chip_px, chip_px), layer.dtype) as writer:
        for row, image in images:
            writer.put(row, image[None])
            shares[row] = (image != layer.nodata).mean(axis=(1, 2))
    write_array(valid, shares)
    missing = 1 - float(shares.mean())
    progress(f"{recipe.layer} {recipe.shard}: {len(frame)} chips, {channels} channels, {missing:.1%} missing")


def _cut(
    cutter: "_Cutter", frame: Any, foreign: Mapping[int, NDArray[np.bool_]], chip_px: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Place in the frame and pixels (channel, y, x) of each chip; `foreign` pixels of a place are missing."""
    for cell in _cells(frame["crs"].tolist(), np.stack(frame["transform"].to_list()), chip_px, CELL_PX):
        for (row, _, _), image in zip(cell.chips, cutter.cut(cell, chip_px), strict=True):
            if row in foreign:
                image[:, foreign[row]] = cutter.layer.nodata
            yield row, image


def seal_store(*, grid: In, shards: Ins, recipe: SealRecipe, spec: Out) -> None:
    """Check the shards of a store and write its `spec.json`.

    Args:
        grid: the collection's `grid.parquet`.
        shards: the `.npy` files of all shards, in the folder of `spec`.
        recipe: which layer.
        spec: `spec.json` of the store.

    Raises:
        TerraprobeError: a shard is absent, broken or of another shape, or nothing was observed at all.
    """
    layer = find_layer(recipe.layer, recipe.classes)
    frame = read_table(grid)
    names = frame["shard"].drop_duplicates().tolist()
    counts = {name: int((frame["shard"] == name).sum()) for name in names}
    given = {path.name.split(".")[0] for path in shards}
    if given != set(names):
        raise TerraprobeError(f"{spec.parent}: shards {sorted(given)}, expected {names} as in {grid}.")
    if not frame["shard"].equals(frame["shard"].sort_values(key=lambda s: s.map(names.index), kind="stable")):
        raise TerraprobeError(f"{grid}: the rows of one shard do not follow each other. Lay the grid again.")
    seal(spec.parent, store_layer(layer), int(table_metadata(grid)["chip_px"]), counts, recipe.classes)


def store_layer(layer: Layer) -> StoreLayer:
    """What the pixels of a store of a layer mean."""
    if isinstance(layer, LabelLayer):
        return StoreLayer(layer.name, (layer.name,), layer.unit, 1.0, 0.0, layer.nodata, layer.dtype, False)
    return StoreLayer(
        layer.name, layer.bands, layer.unit, layer.scale, layer.offset, layer.nodata, layer.dtype, layer.variable
    )


def _read_shard(grid: Path, shard: str) -> tuple[Any, int]:
    frame = read_table(grid)
    chosen = frame[frame["shard"] == shard]
    if chosen.empty:
        raise TerraprobeError(f"{grid}: no shard {shard}; there are {sorted(set(frame['shard']))}.")
    return chosen, int(table_metadata(grid)["chip_px"])


def _foreign_pixels(grid: Path, frame: Any, chip_px: int) -> dict[int, NDArray[np.bool_]]:
    """Pixels beyond the own zone by row of the shard, where the grid's chips are clipped."""
    if not CLIP.items() <= table_metadata(grid).items():
        return {}
    transforms = np.stack(frame["transform"].to_list())
    return foreign_pixels(frame["crs"].tolist(), transforms[:, 2], transforms[:, 5], chip_px)


def _cells(crs: list[str], transforms: NDArray[np.float64], chip_px: int, side_px: int) -> Iterator[Cell]:
    """Group chips that share a CRS and a pixel lattice by squares of that lattice."""
    groups: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row, (name, (a, b, left, d, e, top)) in enumerate(zip(crs, transforms, strict=True)):
        if b != 0 or d != 0 or a <= 0 or e != -a:
            raise TerraprobeError(f"chip {row}: transform {(a, b, left, d, e, top)} is not a north-up square grid.")
        column, line = math.floor(left / a + 1e-6), math.floor(-top / a + 1e-6)
        phase = (round(left / a - column, 6), round(-top / a - line, 6))
        groups[name, float(a), phase, column // side_px, line // side_px].append(row)
    for (name, pixel, *_), rows in groups.items():
        lefts, tops = transforms[rows, 2], transforms[rows, 5]
        columns = np.rint((lefts - lefts.min()) / pixel).astype(int)
        lines = np.rint((tops.max() - tops) / pixel).astype(int)
        width, height = int(columns.max()) + chip_px, int(lines.max()) + chip_px
        if width * height > 4 * len(rows) * chip_px**2 and side_px > chip_px:
            # Lone chips far apart: reading the ground between them would cost more than reading twice.
            for cell in _cells([name] * len(rows), transforms[rows], chip_px, side_px // 2):
                yield Cell(cell.grid, [(rows[i], column, line) for i, column, line in cell.chips])
            continue
        window = Grid(name, float(lefts.min()), float(tops.max()), pixel, width, height)
        yield Cell(window, list(zip(rows, columns.tolist(), lines.tolist(), strict=True)))


class _Cutter(ABC):
    """Cuts the chips of a cell: (chip, channel, y, x)."""

    def __init__(self, layer: Layer, channels: int) -> None:
        self.layer, self.channels = layer, channels

    @abstractmethod
    def cut(self, cell: Cell, chip_px: int) -> NDArray[Any]: ...

    def empty(self, *shape: int) -> NDArray[Any]:
        return np.full(shape, self.layer.nodata, self.layer.dtype)

    def fill(self, image: NDArray[Any], more: NDArray[Any] | None) -> None:
        if more is not None:
            np.copyto(image, more, where=image == self.layer.nodata)


class _BandCutter(_Cutter):
    """Rasters whose bands are the channels."""

    def __init__(self, layer: Layer, tiles: Tiles) -> None:
        self.bands = (layer.name,) if isinstance(layer, LabelLayer) else layer.bands
        super().__init__(layer, len(self.bands))
        described = describe_tiles(tiles, layer)
        # What a manifest states counts before what a file says: Earth Engine's files name no nodata value.
        self.tiles = [replace(tile, nodata=tiles[tile.path].get("nodata", tile.nodata)) for tile in described]

    def cut(self, cell: Cell, chip_px: int) -> NDArray[Any]:
        image = self.empty(self.channels, cell.grid.height, cell.grid.width)
        for tile in _near(self.tiles, _lonlat(cell)):
            with open_raster(tile.path, tile.uri) as dataset:
                for channel, band in enumerate(self.bands):
                    if band in tile.bands:
                        self.fill(image[channel], read_band(dataset, tile, band, self.layer, cell.grid))
        return _chips(image, cell, chip_px)


class _PolygonCutter(_Cutter):
    """Vector files, rasterised to one channel."""

    def __init__(self, layer: LabelLayer, tiles: Tiles) -> None:
        super().__init__(layer, 1)
        self.tiles = [PolygonTile(path, layer, tiles[path].get("column", CLASS_COLUMN)) for path in sorted(tiles)]

    def cut(self, cell: Cell, chip_px: int) -> NDArray[Any]:
        image = self.empty(1, cell.grid.height, cell.grid.width)
        for tile in self.tiles:
            self.fill(image[0], tile.rasterise(cell.grid))
        return _chips(image, cell, chip_px)


class _PairCutter(_Cutter):
    """One file, one channel: each chip's own pairs first, in order of their names."""

    def __init__(self, layer: Layer, tiles: Tiles, frame: Any) -> None:
        self.pairs: defaultdict[str, list[Tile]] = defaultdict(list)
        for tile in describe_tiles(tiles, layer):
            self.pairs[next(iter(tile.bands))].append(tile)
        super().__init__(layer, max(1, int(_touching(self.pairs, frame).max())))

    def cut(self, cell: Cell, chip_px: int) -> NDArray[Any]:
        chips = self.empty(len(cell.chips), self.channels, chip_px, chip_px)
        used, bounds = np.zeros(len(cell.chips), int), _lonlat(cell)
        for pair in sorted(self.pairs):
            near = _near(self.pairs[pair], bounds)
            if not near:
                continue
            image = self.empty(1, cell.grid.height, cell.grid.width)
            for tile in near:
                with open_raster(tile.path, tile.uri) as dataset:
                    self.fill(image[0], read_band(dataset, tile, pair, self.layer, cell.grid))
            for chip, (own,) in enumerate(_chips(image, cell, chip_px)):
                if (own != self.layer.nodata).any():
                    chips[chip, used[chip]] = own
                    used[chip] += 1
        return chips


def _touching(pairs: dict[str, list[Tile]], frame: Any) -> NDArray[np.intp]:
    """Number of pairs whose bounds touch each chip: an upper bound that needs no pixel."""
    bounds = tuple(frame.geometry.bounds.to_numpy().T)
    count = np.zeros(len(frame), np.intp)
    for tiles in pairs.values():
        count += np.any([_meet(tile.lonlat, bounds) for tile in tiles], axis=0)
    return count


def _meet(one: tuple[Any, ...], other: tuple[Any, ...]) -> Any:
    """Whether bounds (west, south, east, north) touch; each may be an array."""
    return (one[0] <= other[2]) & (other[0] <= one[2]) & (one[1] <= other[3]) & (other[1] <= one[3])


def _lonlat(cell: Cell) -> Bounds:
    return lonlat_bounds(cell.grid.crs, cell.grid.bounds)


def _near(tiles: list[Tile], bounds: Bounds) -> list[Tile]:
    return [tile for tile in tiles if _meet(tile.lonlat, bounds)]


def _choose_cutter(layer: Layer, tiles: Tiles, frame: Any) -> _Cutter:
    if isinstance(layer, LabelLayer):
        vector = bool(tiles) and all(path.suffix.lower() in POLYGON_SUFFIXES for path in tiles)
        return _PolygonCutter(layer, tiles) if vector else _BandCutter(layer, tiles)
    return _PairCutter(layer, tiles, frame) if layer.variable else _BandCutter(layer, tiles)


def _chips(image: NDArray[Any], cell: Cell, chip_px: int) -> NDArray[Any]:
    """(channel, height, width) to (chip, channel, y, x)."""
    return np.stack([image[:, y : y + chip_px, x : x + chip_px] for _, x, y in cell.chips])
