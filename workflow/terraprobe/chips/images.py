"""Chips that are an archive's own images: no square is cut, nothing is moved, coarser bands are interpolated."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.chips.pictures import read_picture
from terraprobe.chips.tiles import Layer, Tile, describe_tiles, open_raster
from terraprobe.chips.warp import Grid, read_whole
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer, Modality

_SAME_GROUND_M = 0.5  # edges of an image's files may differ by rounding, never by a pixel


def are_images(tiles: Mapping[Path, Mapping[str, Any]]) -> bool:
    """Whether raw files are an archive's images, by their manifest."""
    return any("image" in facts for facts in tiles.values())


def read_images(
    tiles: Mapping[Path, Mapping[str, Any]], frame: Any, layer: Layer, chip_px: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Pixels of each chip.

    Args:
        tiles: files of one layer, with `image` and `bands` of each.
        frame: rows of `grid.parquet`; `chip_id` is the image's name.
        layer: the modality or label layer.
        chip_px: side of the chips.

    Yields:
        Place in the frame, and DN of the store (band, y, x): nodata where nothing was observed, or where the image has
        no file of the layer.

    Raises:
        TerraprobeError: a file is broken, or covers other ground than its image.
    """
    files: defaultdict[str, dict[Path, Mapping[str, Any]]] = defaultdict(dict)
    for path, facts in tiles.items():
        files[facts["image"]][path] = facts
    if isinstance(layer, Modality) and layer.unit == "display":
        yield from _displayed(files, frame, layer, chip_px)
        return
    bands = (layer.name,) if isinstance(layer, LabelLayer) else layer.bands
    for row, (name, crs, place) in enumerate(zip(frame["chip_id"], frame["crs"], frame["transform"], strict=True)):
        image = np.full((len(bands), chip_px, chip_px), layer.nodata, layer.dtype)
        grid = Grid(crs, place[2], place[5], place[0], chip_px, chip_px)
        bottom = place[5] + chip_px * place[4]
        for tile in describe_tiles(files[name], layer) if name in files else []:
            _check_ground(tile, (place[2], bottom, place[2] + chip_px * place[0], place[5]))
            with open_raster(tile.path, tile.uri) as dataset:
                for channel, band in enumerate(bands):
                    if band in tile.bands:
                        image[channel] = read_whole(dataset, tile, band, layer, grid)
        yield row, image


def _displayed(
    files: Mapping[str, Mapping[Path, Any]], frame: Any, layer: Modality, chip_px: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Images of 8 bits that are somewhere on Earth, nobody knows where: pixels as they are, every one observed."""
    for row, name in enumerate(frame["chip_id"]):
        (path,) = files[name]
        raw = read_picture(path)
        if raw.shape != (len(layer.bands), chip_px, chip_px) or raw.dtype != np.uint8:
            raise TerraprobeError(
                f"{path}: {raw.shape[2]} x {raw.shape[1]} px, {raw.shape[0]} bands of {raw.dtype}; expected {chip_px} "
                f"x {chip_px} px, {len(layer.bands)} bands of uint8. Unpack the archive again, or take the image out."
            )
        yield row, raw.astype(layer.dtype)


def _check_ground(tile: Tile, bounds: tuple[float, float, float, float]) -> None:
    left, top = tile.transform @ (0, 0)
    right, bottom = tile.transform @ tile.shape[::-1]
    if not np.allclose((left, bottom, right, top), bounds, rtol=0, atol=_SAME_GROUND_M):
        raise TerraprobeError(
            f"{tile.path}: {tile.shape[1]} x {tile.shape[0]} px over {(left, bottom, right, top)}, but its image "
            f"covers {bounds}. Unpack the archive again, or take the image out."
        )
