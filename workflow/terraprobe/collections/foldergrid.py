"""Chips on the tiles of a folder: on a tile's own grid where that has pixels of 10 m in UTM, else on a fixed lattice.

The lattice of each UTM zone is that of `terraprobe.collections.zones`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from terraprobe.acquire.manifest import layer_tiles
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M
from terraprobe.collections.zones import lattice
from terraprobe.errors import TerraprobeError
from terraprobe.stage import Recipe, progress

if TYPE_CHECKING:
    import pandas as pd

SHARED_M = CHIP_RESOLUTION_M / 2
"""Chips overlap where they share more ground than a strip of this width on each side, half a pixel: neighbours whose
edges differ by rounding do not."""


class FolderGrid(Recipe):
    """Chips on the tiles of one layer of a folder.

    Attributes:
        kind: `folder`.
        layer: whose tiles they lie on.
        chip_px: chip side in pixels.
        block_chips: side of a spatial block (the unit of the bootstrap) in chips.
        shards: number of storage shards; each takes as many chips, in order.
    """

    kind: Literal["folder"] = "folder"
    layer: str
    chip_px: int
    block_chips: int
    shards: int


def folder_rows(manifest: Path, area: FolderGrid) -> "pd.DataFrame":
    """List the chips of a folder.

    A north-up tile of 10 m in a UTM CRS is cut from its upper left corner on its own grid, so that its pixels are
    not resampled. On any other the chips are those of the fixed lattice of each UTM zone that lie wholly within it.

    Args:
        manifest: of the layer.
        area: which layer, and the size of chips, blocks and shards.

    Returns:
        One row a chip, tile after tile by name: `crs, left, top, block, shard, source`. A chip that overlaps one
        before it is left out.

    Raises:
        TerraprobeError: a tile cannot be read, or fewer chips fit than there are shards.
    """
    import pandas as pd

    tiles = sorted(layer_tiles(manifest, area.layer), key=lambda path: path.name)
    parts = [_tile_rows(tile, area) for tile in tiles]
    empty = [tile.name for tile, part in zip(tiles, parts, strict=True) if part.empty]
    rows = pd.concat(parts, ignore_index=True)
    kept = rows[_first_on_its_ground(rows, area.chip_px)].reset_index(drop=True)
    if len(kept) < area.shards:
        raise TerraprobeError(
            f"{manifest}: {len(kept)} chips of {area.chip_px} px fit into {len(tiles)} tiles of {area.layer}, needed "
            f"at least {area.shards}. Lower chip_px or shards, or give larger tiles."
        )
    if len(kept) < len(rows):
        progress(f"{len(rows) - len(kept)} chips left out: they overlap chips of a tile before theirs by name")
    if empty:
        progress(f"{len(empty)} tiles hold no whole chip of {area.chip_px} px: {', '.join(empty[:5])}")
    return kept.assign(shard=[f"{k * area.shards // len(kept):03d}" for k in range(len(kept))])


def _tile_rows(path: Path, area: FolderGrid) -> "pd.DataFrame":
    import rasterio

    try:
        with rasterio.open(path) as tile:
            crs, transform, width, height = tile.crs, tile.transform, tile.width, tile.height
    except rasterio.RasterioIOError as error:
        raise TerraprobeError(f"{path}: cannot be read as a raster ({error}). Mend it or take it out.") from error
    own = utm(crs)
    if own and transform[:2] + transform[3:5] == (CHIP_RESOLUTION_M, 0, 0, -CHIP_RESOLUTION_M):
        rows = _side_by_side(own, transform, width, height, area.chip_px)
    else:
        rows = _on_lattice(crs, transform, width, height, area.chip_px)
    square = rows["row"] // area.block_chips, rows["column"] // area.block_chips
    names = [f"{path.stem}-{row:03d}-{column:03d}" for row, column in zip(*square, strict=True)]
    return rows[["crs", "left", "top"]].assign(block=names, source=path.stem)


def utm(crs: Any) -> str:
    """EPSG code of a UTM CRS, nothing for any other."""
    from pyproj import CRS

    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg is not None and CRS.from_epsg(epsg).utm_zone else ""


def _side_by_side(crs: str, transform: Any, width: int, height: int, chip_px: int) -> "pd.DataFrame":
    import pandas as pd

    row, column = (axis.ravel() for axis in np.mgrid[: height // chip_px, : width // chip_px])
    side = chip_px * CHIP_RESOLUTION_M
    left, top = transform.c + column * side, transform.f - row * side
    return pd.DataFrame({"crs": crs, "left": left, "top": top, "row": row, "column": column})


def _on_lattice(crs: Any, transform: Any, width: int, height: int, chip_px: int) -> "pd.DataFrame":
    """Chips of the zones' lattices whose four corners lie within the tile; rows and columns count from the first."""
    import geopandas as gpd
    import pandas as pd
    import shapely
    from pyproj import Transformer

    corners = shapely.Polygon([transform @ point for point in ((0, 0), (width, 0), (width, height), (0, height))])
    outline = shapely.segmentize(corners, corners.length / _OUTLINE_POINTS)
    footprint = gpd.GeoSeries([outline], crs=crs).to_crs("EPSG:4326").iloc[0]
    side = chip_px * CHIP_RESOLUTION_M
    parts = []
    for name, part in lattice(footprint, chip_px).groupby("crs", sort=False):
        to_tile = Transformer.from_crs(name, crs.to_wkt(), always_xy=True)
        x = part["left"].to_numpy(float)[:, None] + np.array([0, side, 0, side])
        y = part["top"].to_numpy(float)[:, None] - np.array([0, 0, side, side])
        column, row = ~transform @ np.array(to_tile.transform(x, y))
        inside = ((column >= 0) & (column <= width) & (row >= 0) & (row <= height)).all(axis=1)
        within = part[inside]
        first = within[["row", "column"]].min()
        parts.append(within.assign(row=within["row"] - first["row"], column=within["column"] - first["column"]))
    rows: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return rows


_OUTLINE_POINTS = 400
"""The edges of a tile are curved in degrees: they are followed from so many points."""


def _first_on_its_ground(rows: "pd.DataFrame", chip_px: int) -> NDArray[np.bool_]:
    """Whether each chip overlaps none that is kept before it."""
    import geopandas as gpd
    import shapely

    kept = np.ones(len(rows), bool)
    side = chip_px * CHIP_RESOLUTION_M
    ground = np.empty(len(rows), object)
    for crs, part in rows.groupby("crs"):
        left, top = part["left"].to_numpy(float) + SHARED_M, part["top"].to_numpy(float) - SHARED_M
        squares = shapely.box(left, top - side + 2 * SHARED_M, left + side - 2 * SHARED_M, top)
        ground[part.index] = gpd.GeoSeries(squares, crs=crs).to_crs("EPSG:4326").to_numpy()
    later, earlier = shapely.STRtree(ground).query(ground, predicate="intersects")
    order = np.lexsort((earlier, later))
    for one, other in zip(later[order].tolist(), earlier[order].tolist(), strict=True):
        if other < one and kept[other]:
            kept[one] = False
    return kept
