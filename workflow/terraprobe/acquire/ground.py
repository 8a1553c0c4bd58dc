"""The ground of the chips that raw files are fetched for."""

from pathlib import Path
from typing import TYPE_CHECKING

from terraprobe.artifacts import read_table
from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    import geopandas as gpd


def read_ground(grid: Path, shard: str = "") -> "gpd.GeoSeries":
    """Outlines of chips, EPSG:4326 (x = longitude, y = latitude).

    Args:
        grid: the collection's `grid.parquet`.
        shard: of one storage shard; of all where empty.

    Raises:
        TerraprobeError: there is no such shard.
    """
    frame = read_table(grid)
    chosen = frame[frame["shard"] == shard] if shard else frame
    if chosen.empty:
        raise TerraprobeError(f"{grid}: no shard {shard}; there are {sorted(set(frame['shard']))}.")
    return chosen.geometry
