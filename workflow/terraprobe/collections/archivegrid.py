"""Chips of a benchmark archive: one for each of its images, on the image's own pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from terraprobe.artifacts import read_table
from terraprobe.stage import Recipe

if TYPE_CHECKING:
    import geopandas as gpd


class ArchiveGrid(Recipe):
    """Chips on the images of an archive.

    Attributes:
        kind: `archive`.
        chip_px: side of its images in pixels.
        block_km: side of a spatial block, the unit of the bootstrap.
    """

    kind: Literal["archive"] = "archive"
    chip_px: int
    block_km: float = Field(gt=0)


def archive_frame(images: Path, area: ArchiveGrid) -> "gpd.GeoDataFrame":
    """List the chips of an archive.

    A chip is called as its image, not by its bounds: an archive may hold the same ground twice, at two dates. Blocks
    are squares of each UTM zone, counted from its origin. Images without a place have no geometry, and each is a block
    of its own.

    Args:
        images: table of `index_archive`.
        area: size of chips and blocks.

    Returns:
        The columns of `grid.parquet`, in the order of the images.
    """
    import geopandas as gpd
    import pandas as pd
    import shapely

    table = read_table(images)
    if (table["crs"] == "").all():
        known = {"chip_id": table["image"], "crs": "", "transform": table["transform"], "block": table["image"]}
        unplaced = pd.DataFrame({**known, "shard": table["shard"], "source": table["image"]})
        return gpd.GeoDataFrame(unplaced, geometry=gpd.GeoSeries([None] * len(table), crs="EPSG:4326"))
    width, _, left, _, height, top = np.stack(table["transform"].to_list()).T
    right, bottom = left + width * area.chip_px, top + height * area.chip_px
    boxes = shapely.box(left, bottom, right, top)
    ground = np.empty(len(table), object)
    for crs, rows in table.groupby("crs").indices.items():
        ground[rows] = gpd.GeoSeries(boxes[rows], crs=str(crs)).to_crs("EPSG:4326").to_numpy()
    side = area.block_km * 1000
    line, column = (np.floor((low + high) / 2 / side).astype(int) for low, high in ((bottom, top), (left, right)))
    zone = table["crs"].str.removeprefix("EPSG:")
    frame = pd.DataFrame(
        {
            "chip_id": table["image"],
            "crs": table["crs"],
            "transform": table["transform"].map(lambda values: [float(v) for v in values]),
            "block": [f"{z}-{y:04d}-{x:04d}" for z, y, x in zip(zone, line, column, strict=True)],
            "shard": table["shard"],
            "source": table["image"],
        }
    )
    return gpd.GeoDataFrame(frame, geometry=gpd.GeoSeries(ground, index=frame.index, crs="EPSG:4326"))
