"""The chip grid: which squares of ground a collection is made of, before any pixel is read.

A chip lies on a 10 m grid of its own CRS; its id is its CRS and its rounded bounds, so equal ground has equal id
in every collection. Chips of a benchmark archive lie on the pixels of its images, and are called as these are; where
these have no place on Earth, chips have none: no geometry, no CRS, no transform.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from terraprobe.acquire.simulated.world import SimulatedWorld, place_grid
from terraprobe.artifacts import write_table
from terraprobe.collections.archivegrid import ArchiveGrid, archive_frame
from terraprobe.collections.areagrid import AreaGrid, area_rows
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M
from terraprobe.collections.foldergrid import FolderGrid, folder_rows
from terraprobe.collections.zones import CLIP, own_grounds
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import S2_RESOLUTION_M
from terraprobe.stage import Ins, Out, Recipe, progress

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd


class SceneGrid(Recipe):
    """Chips side by side over one scene, on the scene's own 10 m grid.

    Attributes:
        kind: `scene`.
        source: written into every row.
        chip_px: chip side in pixels.
        block_chips: side of a spatial block (the unit of the bootstrap) in chips.
    """

    kind: Literal["scene"] = "scene"
    source: str
    chip_px: int
    block_chips: int


class PlacesGrid(Recipe):
    """Chips side by side within each place of a simulated Earth; a place is a block.

    Attributes:
        kind: `places`.
        source: written into every row.
        chip_px: chip side in pixels.
        world: the simulated Earth.
        shards: the places of each storage shard.
    """

    kind: Literal["places"] = "places"
    source: str
    chip_px: int
    world: SimulatedWorld
    shards: list[list[int]]


class GridRecipe(Recipe):
    """Recipe of `lay_grid`.

    Attributes:
        area: what the chips cover.
    """

    area: Annotated[SceneGrid | PlacesGrid | AreaGrid | FolderGrid | ArchiveGrid, Field(discriminator="kind")]


def lay_grid(*, tiles: Ins, recipe: GridRecipe, grid: Out) -> None:
    """List the chips of a collection.

    Args:
        tiles: the scene's tiles, one of them on the 10 m grid; the file with the polygons of an area; for a folder
            the manifest of the layer whose tiles the chips lie on; for an archive the table of its images; none for a
            simulated Earth.
        recipe: what to cover.
        grid: GeoParquet, one row a chip in store order: `chip_id, geometry (EPSG:4326), crs, transform (a to f of
            the chip's 10 m grid, CRS units), block, shard, source`; metadata `chip_px`
            and, for an area, `clip`: the geometry is the ground that a chip owns within its UTM zone.

    Raises:
        TerraprobeError: no tile lies on a 10 m grid of a projected CRS, not one chip fits, or an area cannot be read.
    """
    area = recipe.area
    clip = CLIP if isinstance(area, AreaGrid) else {}
    if isinstance(area, ArchiveGrid):
        frame = archive_frame(tiles[0], area)
    else:
        frame = chip_frame(_rows(tiles, area), area.chip_px, clip=bool(clip))
    repeated = frame["chip_id"][frame["chip_id"].duplicated()]
    if len(repeated):
        raise TerraprobeError(f"{grid}: chip {repeated.iloc[0]} occurs twice: places overlap. Take fewer places.")
    write_table(grid, frame, {"chip_px": str(area.chip_px), **clip})
    progress(f"{len(frame)} chips of {area.chip_px} px in {frame['block'].nunique()} blocks")


def _rows(tiles: Ins, area: SceneGrid | PlacesGrid | AreaGrid | FolderGrid) -> "pd.DataFrame":
    if isinstance(area, AreaGrid):
        return area_rows(tiles[0], area)
    if isinstance(area, FolderGrid):
        return folder_rows(tiles[0], area)
    return _scene_rows(tiles, area) if isinstance(area, SceneGrid) else _place_rows(area)


def chip_frame(rows: "pd.DataFrame", chip_px: int, *, clip: bool = False) -> "gpd.GeoDataFrame":
    """Rows with `crs, left, top, block, shard, source` to a grid table.

    Args:
        rows: one a chip; `left` and `top` of its upper left corner in metres of `crs`.
        chip_px: chip side in pixels of 10 m.
        clip: whether a chip owns only the ground within its UTM zone.

    Returns:
        The columns of `grid.parquet`, in the order of `rows`.
    """
    import geopandas as gpd
    import pandas as pd
    import shapely

    side = chip_px * CHIP_RESOLUTION_M
    geometry = np.empty(len(rows), object)
    for crs, part in rows.groupby("crs"):
        left, top = part["left"].to_numpy(float), part["top"].to_numpy(float)
        if clip:
            ground = own_grounds(str(crs), left, top, chip_px)
        else:
            boxes = shapely.box(left, top - side, left + side, top)
            ground = gpd.GeoSeries(boxes, crs=crs).to_crs("EPSG:4326").to_numpy()
        geometry[rows.index.get_indexer(part.index)] = ground
    frame = pd.DataFrame(
        {
            "chip_id": [
                chip_id(crs, left, top, side)
                for crs, left, top in zip(rows["crs"], rows["left"], rows["top"], strict=True)
            ],
            "crs": rows["crs"],
            "transform": [
                [CHIP_RESOLUTION_M, 0.0, float(left), 0.0, -CHIP_RESOLUTION_M, float(top)]
                for left, top in zip(rows["left"], rows["top"], strict=True)
            ],
            "block": rows["block"],
            "shard": rows["shard"],
            "source": rows["source"],
        }
    )
    return gpd.GeoDataFrame(frame, geometry=gpd.GeoSeries(geometry, index=frame.index, crs="EPSG:4326"))


def chip_id(crs: str, left: float, top: float, side: float) -> str:
    """Name of a chip from its CRS and its bounds rounded to metres: `32633_left_bottom_right_top`."""
    bounds = (left, top - side, left + side, top)
    return "_".join([crs.removeprefix("EPSG:"), *(str(round(value)) for value in bounds)])


def _scene_rows(tiles: list[Path], area: SceneGrid) -> "pd.DataFrame":
    import pandas as pd
    import rasterio

    reference = _ten_metre_tile(tiles)
    try:
        with rasterio.open(reference) as tile:
            crs, transform, width, height = tile.crs, tile.transform, tile.width, tile.height
    except rasterio.RasterioIOError as error:
        raise TerraprobeError(f"{reference}: cannot be read as a raster ({error}). Fetch it again.") from error
    epsg = crs.to_epsg() if crs is not None and crs.is_projected else None
    if epsg is None or transform[:2] + transform[3:5] != (CHIP_RESOLUTION_M, 0, 0, -CHIP_RESOLUTION_M):
        raise TerraprobeError(
            f"{reference}: CRS {crs}, transform {transform[:6]}; a chip grid needs a projected CRS with an EPSG code "
            f"and north-up pixels of {CHIP_RESOLUTION_M:g} m. Fetch it again or reproject it."
        )
    columns, rows = width // area.chip_px, height // area.chip_px
    if columns * rows == 0:
        raise TerraprobeError(
            f"{reference}: {width} x {height} px, smaller than one chip of {area.chip_px} px. Lower chip_px."
        )
    row, column = (axis.ravel() for axis in np.mgrid[:rows, :columns])
    side = area.chip_px * CHIP_RESOLUTION_M
    block = [f"{r:03d}-{c:03d}" for r, c in zip(row // area.block_chips, column // area.block_chips, strict=True)]
    return pd.DataFrame(
        {
            "crs": f"EPSG:{epsg}",
            "left": transform.c + column * side,
            "top": transform.f - row * side,
            "block": block,
            "shard": "000",
            "source": area.source,
        }
    )


def _ten_metre_tile(tiles: list[Path]) -> Path:
    ten = [band for band, metres in S2_RESOLUTION_M.items() if metres == CHIP_RESOLUTION_M]
    for tile in sorted(tiles):
        if tile.stem.split("_")[-1] in ten:
            return tile
    raise TerraprobeError(
        f"no 10 m band among {[t.name for t in tiles]}; the chip grid needs one of {ten}. Run fetch_scene again."
    )


def _place_rows(area: PlacesGrid) -> "pd.DataFrame":
    import pandas as pd

    per_side = area.world.place_px // area.chip_px
    side = area.chip_px * CHIP_RESOLUTION_M
    row, column = (axis.ravel() for axis in np.mgrid[:per_side, :per_side])
    parts = []
    for shard, places in enumerate(area.shards):
        for place in places:
            crs, transform, _, _ = place_grid(area.world, place)
            parts.append(
                pd.DataFrame(
                    {
                        "crs": crs,
                        "left": transform[2] + column * side,
                        "top": transform[5] - row * side,
                        "block": f"place-{place:04d}",
                        "shard": f"{shard:03d}",
                        "source": area.source,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)
