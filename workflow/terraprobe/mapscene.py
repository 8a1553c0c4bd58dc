"""A scene of GeoTIFFs on one grid, read a strip at a time, as the store of its chips would give it."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from terraprobe.acquire.folder import IndexRecipe, list_geotiffs, read_facts
from terraprobe.chips.cut import store_layer
from terraprobe.chips.store import ChipStore
from terraprobe.chips.tiles import Tile, describe_tiles, open_raster
from terraprobe.chips.warp import Grid, read_band
from terraprobe.collections.areagrid import OUTLINE_PIECES
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M
from terraprobe.collections.foldergrid import utm
from terraprobe.collections.zones import UTM_NORTH, UTM_SOUTH, zone_of
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import MODALITIES

SLAB_BYTES = 64 << 20
"""About as much of a scene is read at once: few large reads are faster than many small ones."""

MAX_SIDE = 1 << 17
"""Pixels along a side of a map; more (1,300 km) means files that do not lie side by side."""


class Scene:
    """GeoTIFFs of one or more modalities on one north-up grid of 10 m.

    Args:
        tiles: modality to its files.
        bands: modality to the bands that are read.
        grid: of the map.
        ground: polygons of the only ground that is mapped, in the CRS of the grid; None: all of it.
    """

    def __init__(
        self, tiles: Mapping[str, list[Tile]], bands: Mapping[str, tuple[str, ...]], grid: Grid, ground: Any = None
    ) -> None:
        self.grid, self._ground = grid, ground
        self._tiles, self._bands = dict(tiles), dict(bands)
        size = sum(np.dtype(MODALITIES[name].dtype).itemsize * len(own) for name, own in bands.items())
        self._slab_rows = max(1, SLAB_BYTES // (size * grid.width))
        self._first = 0
        self._rows = {name: np.empty((len(own), 0, grid.width), MODALITIES[name].dtype) for name, own in bands.items()}

    @classmethod
    def open(cls, paths: Sequence[Path], bands: Mapping[str, tuple[str, ...]], offset_dn: int | None) -> "Scene":
        """Describe the files of a scene.

        Args:
            paths: GeoTIFFs or a folder of them; of several modalities a folder with a sub-folder for each.
            bands: modality to the bands that are read.
            offset_dn: added to every DN of reflectance; None where it is not said.

        Raises:
            TerraprobeError: a path is absent or holds no GeoTIFF, or a file's bands, units or place are not known for
                sure.
        """
        tiles = {}
        for name in bands:
            files = scene_files(paths, name, alone=len(bands) == 1)
            layer = MODALITIES[name]
            offset = offset_dn if layer.unit == "reflectance" else None
            recipe = IndexRecipe(layer=name, folder=str(files[0].parent), offset_dn=offset)
            tiles[name] = describe_tiles({path: read_facts(path, layer, recipe) for path in files}, layer)
        return cls(tiles, bands, _lay_grid([tile for own in tiles.values() for tile in own]))

    def within(self, area: Any) -> "Scene":
        """The part of it around polygons, beyond which nothing is mapped.

        Args:
            area: shapely Polygon or MultiPolygon in EPSG:4326, (x, y) = (lon, lat).

        Raises:
            TerraprobeError: they lie outside the scene.
        """
        import geopandas as gpd
        import shapely

        grid = self.grid
        west, south, east, north = area.bounds
        pieces = shapely.segmentize(area, max(east - west, north - south) / OUTLINE_PIECES)
        ground = gpd.GeoSeries([pieces], crs="EPSG:4326").to_crs(grid.crs).iloc[0]
        left, bottom, right, top = ground.bounds
        # Pixels whose centre lies within the bounds.
        columns = np.clip(np.rint((np.array([left, right]) - grid.left) / grid.pixel), 0, grid.width).astype(int)
        rows = np.clip(np.rint((grid.top - np.array([top, bottom])) / grid.pixel), 0, grid.height).astype(int)
        (width,), (height,) = np.diff(columns).tolist(), np.diff(rows).tolist()
        if not width or not height:
            raise TerraprobeError(
                f"--aoi: longitude {west:.3f} to {east:.3f}, latitude {south:.3f} to {north:.3f} lies outside the "
                "files of --input. Give files that show it; where they should, check the CRS of both."
            )
        corner = grid.left + columns[0] * grid.pixel, grid.top - rows[0] * grid.pixel
        part = Grid(grid.crs, float(corner[0]), float(corner[1]), grid.pixel, width, height)
        return Scene(self._tiles, self._bands, part, ground)

    def inside(self, top: int, rows: int) -> NDArray[np.bool_]:
        """Which pixels of some rows are mapped, (row, column)."""
        from rasterio.features import geometry_mask

        shape = (rows, self.grid.width)
        if self._ground is None:
            return np.ones(shape, np.bool_)
        transform = self.grid.transform @ self.grid.transform.translation(0, top)
        mask: NDArray[np.bool_] = geometry_mask([self._ground], shape, transform, invert=True)
        return mask

    def strip(self, top: int, chip_px: int) -> "Strip":
        """As many rows as a chip has, from `top` on; to be asked for from top to bottom."""
        last = min(top + chip_px, self.grid.height)
        end = self._first + next(iter(self._rows.values())).shape[1]
        while end < last:
            rows = min(max(self._slab_rows, last - end), self.grid.height - end)
            keep = max(0, top - self._first)
            for name, held in self._rows.items():
                self._rows[name] = np.concatenate([held[:, keep:], self._read(name, end, rows)], axis=1)
            self._first, end = self._first + keep, end + rows
        skip = top - self._first
        planes = {name: held[:, skip : skip + chip_px] for name, held in self._rows.items()}
        return Strip(planes, self._bands, chip_px)

    def _read(self, name: str, top: int, rows: int) -> NDArray[Any]:
        """DN of the store of some rows of one modality, (band, row, column)."""
        layer, grid = MODALITIES[name], self.grid
        window = Grid(grid.crs, grid.left, grid.top - top * grid.pixel, grid.pixel, grid.width, rows)
        planes = np.full((len(self._bands[name]), rows, grid.width), layer.nodata, layer.dtype)
        with ExitStack() as stack:
            for tile in self._tiles[name]:
                dataset = stack.enter_context(open_raster(tile.path, tile.uri))
                for plane, band in zip(planes, self._bands[name], strict=True):
                    found = read_band(dataset, tile, band, layer, window)
                    if found is not None:
                        np.copyto(plane, found, where=plane == layer.nodata)
        return planes


class Strip:
    """Some rows of a scene.

    Args:
        rows: modality to DN of its store, (band, row, column).
        bands: modality to the names of these bands.
        chip_px: rows, and least columns; where the scene has fewer, what is beyond was not observed.

    Attributes:
        observed: where every band was, (chip_px, column).
    """

    def __init__(self, rows: Mapping[str, NDArray[Any]], bands: Mapping[str, tuple[str, ...]], chip_px: int) -> None:
        self._rows, self._bands, self._px = {}, bands, chip_px
        for name, planes in rows.items():
            short = [(0, 0), *((0, max(0, chip_px - side)) for side in planes.shape[1:])]
            self._rows[name] = np.pad(planes, short, constant_values=MODALITIES[name].nodata)
        found = [(planes != MODALITIES[name].nodata).all(axis=0) for name, planes in self._rows.items()]
        self.observed: NDArray[np.bool_] = np.logical_and.reduce(found)

    def stores(self, lefts: Sequence[int]) -> dict[str, ChipStore]:
        """The chips that begin at some columns, by modality, as stores give them."""
        columns = np.array(lefts)[:, None] + np.arange(self._px)
        return {
            name: _StripStore(name, self._bands[name], np.moveaxis(planes[:, :, columns], 2, 0))
            for name, planes in self._rows.items()
        }


class _StripStore(ChipStore):
    """Chips of a strip.

    Args:
        modality: of which.
        bands: names of its channels.
        pixels: DN, (chip, channel, y, x).
    """

    def __init__(self, modality: str, bands: tuple[str, ...], pixels: NDArray[Any]) -> None:
        self.folder, self.chip_px, self.channels = Path(modality), pixels.shape[-1], len(bands)
        self.layer = replace(store_layer(MODALITIES[modality]), bands=bands)
        self._pixels = pixels

    def digital(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """One (chip, channel) pair a row: integer DN (B, chip_px, chip_px)."""
        return self._pixels[chips, channels]


def scene_files(paths: Sequence[Path], modality: str, alone: bool) -> list[Path]:
    """GeoTIFFs of one modality.

    Args:
        paths: GeoTIFFs or a folder of them; of several modalities a folder with a sub-folder for each.
        modality: which.
        alone: whether it is the only one.

    Raises:
        TerraprobeError: a path is absent or holds no GeoTIFF, or there are several where one is wanted.
    """
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise TerraprobeError(f"{absent[0]}: not found. Give GeoTIFFs, or a folder of them.")
    folders = [path for path in paths if path.is_dir()]
    if not folders and alone:
        return list(paths)
    if len(paths) > 1 or not folders:
        wanted = "GeoTIFFs or one folder" if alone else "one folder with a sub-folder for each modality that it sees"
        raise TerraprobeError(f"--input: found {len(paths)} paths, the model takes {wanted}.")
    folder = paths[0] if alone and not (paths[0] / modality).is_dir() else paths[0] / modality
    try:
        return list_geotiffs(folder)
    except ValueError as error:
        raise TerraprobeError(f"{modality}: {error}.") from error


def _lay_grid(tiles: Sequence[Tile]) -> Grid:
    """A grid of 10 m over all tiles: on the first one's own pixels where these are of 10 m in UTM."""
    first = tiles[0]
    own, (a, b, left, d, e, top) = utm(first.crs), tuple(first.transform)[:6]
    fits = own and (a, b, d, e) == (CHIP_RESOLUTION_M, 0, 0, -CHIP_RESOLUTION_M)
    crs = own or _utm_of(first)
    origin = (left, top) if fits else (0.0, 0.0)
    bounds = np.array([_bounds(tile, crs) for tile in tiles])
    low = (np.array([bounds[:, 0].min(), -bounds[:, 3].max()]) - (origin[0], -origin[1])) / CHIP_RESOLUTION_M
    high = (np.array([bounds[:, 2].max(), -bounds[:, 1].min()]) - (origin[0], -origin[1])) / CHIP_RESOLUTION_M
    # What is beyond a whole pixel by rounding alone is no pixel of its own.
    begin, end = np.floor(low + _ROUNDING).astype(int), np.ceil(high - _ROUNDING).astype(int)
    width, height = (end - begin).tolist()
    if max(width, height) > MAX_SIDE:
        raise TerraprobeError(
            f"--input: the files span {width:,} x {height:,} pixels of 10 m in {crs}, at most {MAX_SIDE:,} a side. Map "
            "places that lie far apart one by one."
        )
    x, y = origin[0] + begin[0] * CHIP_RESOLUTION_M, origin[1] - begin[1] * CHIP_RESOLUTION_M
    return Grid(crs, float(x), float(y), CHIP_RESOLUTION_M, width, height)


_ROUNDING = 1e-3


def _utm_of(tile: Tile) -> str:
    """The UTM zone of a tile's middle."""
    west, south, east, north = tile.lonlat
    lon, lat = (west + east) / 2, (south + north) / 2
    if not np.isfinite((lon, lat)).all() or not UTM_SOUTH <= lat <= UTM_NORTH:
        raise TerraprobeError(f"{tile.path}: lies beyond the latitudes {UTM_SOUTH} to {UTM_NORTH} that UTM covers, or "
                              "across the 180th meridian. Warp it to a UTM CRS first.")  # fmt: skip
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone_of(lon)}"


def _bounds(tile: Tile, crs: str) -> tuple[float, float, float, float]:
    """Bounds of a tile in another CRS."""
    height, width = tile.shape
    xs, ys = zip(
        *(tile.transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))), strict=True
    )
    found: tuple[float, float, float, float] = transform_bounds(tile.crs, crs, min(xs), min(ys), max(xs), max(ys))
    return found
