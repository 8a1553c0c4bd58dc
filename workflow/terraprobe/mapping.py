"""`terraprobe map`: land cover of a scene, by a probe that a study fitted, or one that is fitted here on a few labels.

The scene is cut into chips that overlap by half; each is called by itself, and where they overlap their probabilities
are blended with weights that fall to nothing at a chip's edge, so that no seam shows. Memory holds a strip of it.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from terraprobe.artifacts import atomic_path
from terraprobe.classcolours import class_colours, rgb
from terraprobe.mapscene import Scene, Strip
from terraprobe.probes.segmentation_model import ProbeModel
from terraprobe.stage import progress

CACHE_MB = 128
"""What GDAL may keep of the file that is written."""

NO_CLASS = 0
"""Value of both bands where a pixel has no class: a band that the model sees was not observed."""


def map_command(argv: Sequence[str]) -> int:
    """Map the land cover of a scene."""
    parser = argparse.ArgumentParser(prog="terraprobe map", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, metavar="FOLDER",
                        help="of a fitted probe: results/<study>/segmentation/<evaluation>/<encoder>")  # fmt: skip
    source.add_argument("--encoder", type=Path, metavar="FOLDER",
                        help="of an encoder, results/<study>/encoders/<name>: a probe learns --labels")  # fmt: skip
    parser.add_argument("--labels", metavar="fields.gpkg:crop|map.tif",
                        help="beside --encoder: polygons and the column of their class, or a raster")  # fmt: skip
    parser.add_argument("--aoi", type=Path, metavar="FILE",
                        help="beside --encoder: polygons of the ground that is learnt from and mapped")  # fmt: skip
    parser.add_argument("--input", required=True, type=Path, nargs="+", metavar="PATH",
                        help="GeoTIFFs, or a folder of them; of a model that sees several modalities a folder with a "
                        "sub-folder for each")  # fmt: skip
    parser.add_argument("--output", required=True, type=Path, metavar="MAP.tif")
    parser.add_argument("--offset-dn", type=int, metavar="N",
                        help="added to DN of Sentinel-2: -1000 where that of baseline 04.00 is in them")  # fmt: skip
    given = parser.parse_args(argv)
    if given.encoder is not None:
        if given.labels is None or given.aoi is None:
            parser.error("--encoder needs --labels and --aoi beside it")
        from terraprobe.maplabels import Wanted, map_from_labels

        map_from_labels(Wanted(given.encoder, given.labels, given.aoi, given.input, given.offset_dn), given.output)
        return 0
    if given.labels is not None or given.aoi is not None:
        parser.error("--labels and --aoi stand beside --encoder; a fitted probe (--model) has learnt already")
    model = ProbeModel.load(given.model)
    scene = Scene.open(given.input, model.bands, given.offset_dn)
    write_map(model, scene, given.output)
    return 0


def write_map(model: ProbeModel, scene: Scene, path: Path, facts: Mapping[str, object] = MappingProxyType({})) -> None:
    """Call every pixel of a scene.

    Args:
        model: a fitted probe.
        scene: what it sees.
        path: GeoTIFF of two bands of bytes, on the scene's grid: the class as a code with its colour (0: a band was not
            observed, or it lies outside what is mapped), and how probable it is, in per cent.
        facts: written into its metadata besides.

    Raises:
        TerraprobeError: an input cannot be read, or the disk is full.
    """
    grid = scene.grid
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": 2, "dtype": "uint8",
        "crs": grid.crs, "transform": grid.transform, "nodata": NO_CLASS, "compress": "deflate",
        "tiled": True, "blockxsize": 256, "blockysize": 256, "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    colours = {code: (*rgb(colour), 255) for code, colour in
               zip(model.codes, class_colours(model.classes).values(), strict=True)}  # fmt: skip
    names = {f"class_{code}": name for code, name in zip(model.codes, model.classes, strict=True)}
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_MB),
        atomic_path(path) as temporary,
        rasterio.open(temporary, "w", **profile) as out,
    ):
        out.write_colormap(1, {NO_CLASS: (0, 0, 0, 0), **colours})
        out.descriptions = ("class", "probability (%)")
        out.update_tags(1, **names)
        out.update_tags(model=model.title, **{name: str(value) for name, value in facts.items()})
        told = 0
        for top, rows in map_rows(model, scene):
            out.write(rows, window=Window(0, top, grid.width, rows.shape[1]))
            if (share := 10 * (top + rows.shape[1]) // grid.height) > told:
                told = share
                progress(f"map: {10 * share} % of {grid.height:,} rows")
    progress(f"map: {grid.width:,} x {grid.height:,} pixels, {len(model.classes)} classes: {path}")


def map_rows(model: ProbeModel, scene: Scene) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Finished rows of a map from top to bottom: first row, and class and probability, (2, row, column)."""
    px, grid = model.chip_px, scene.grid
    tops, lefts = _starts(grid.height, px), _starts(grid.width, px)
    taper = _taper(px)
    across = _total(lefts, taper, max(grid.width, px))
    down = _total(tops, taper, max(grid.height, px))
    blend = torch.zeros(len(model.classes), px, max(grid.width, px))
    codes = np.array(model.codes, np.uint8)
    for top, following in zip(tops, [*tops[1:], grid.height], strict=True):
        strip = scene.strip(top, px)
        _add_chips(blend, model, strip, lefts, taper)
        rows = min(following - top, grid.height - top)
        weight = torch.from_numpy(down[top : top + rows, None] * across[None])
        best, place = (blend[:, :rows] / weight).max(dim=0)
        seen = strip.observed[:rows]
        called = np.where(seen, codes[place.numpy()], NO_CLASS)
        percent = np.where(seen, np.rint(100 * best.numpy()), NO_CLASS)
        found = np.stack([called, percent])[:, :, : grid.width].astype(np.uint8)
        found[:, ~scene.inside(top, rows)] = NO_CLASS
        yield top, found
        blend = torch.cat([blend[:, rows:], torch.zeros(len(blend), rows, blend.shape[2])], dim=1)


def _add_chips(
    blend: torch.Tensor, model: ProbeModel, strip: Strip, lefts: list[int], taper: NDArray[np.float32]
) -> None:
    """Add the weighted probabilities of the chips of one strip; of chips without an observed pixel nothing."""
    px = model.chip_px
    kept = [left for left in lefts if strip.observed[:, left : left + px].any()]
    weight = torch.from_numpy(taper[:, None] * taper[None])
    for start in range(0, len(kept), model.batch):
        part = kept[start : start + model.batch]
        shares = model.probabilities(strip.stores(part), len(part)) * weight
        for share, left in zip(shares, part, strict=True):
            blend[:, :, left : left + px] += share


def _starts(length: int, px: int) -> list[int]:
    """Where chips begin along one side: half a chip apart, the last at the end."""
    if length <= px:
        return [0]
    return [*range(0, length - px, px // 2), length - px]


def _taper(px: int) -> NDArray[np.float32]:
    """Weight of each pixel along a chip's side: largest in the middle, near nothing at the edges, (px,)."""
    place = np.arange(px, dtype=np.float32) + np.float32(0.5)
    return np.asarray(np.minimum(place, px - place) / np.float32(px / 2), np.float32)


def _total(starts: list[int], taper: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Sum of the weights of all chips along one side, (length,)."""
    total = np.zeros(length, np.float32)
    for start in starts:
        total[start : start + len(taper)] += taper
    return total
