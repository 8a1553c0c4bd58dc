"""OpenStreetMap polygons to pixel labels on the chip grid."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from rasterio.features import rasterize

from terraprobe.chips.warp import Grid
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer

CLASS_COLUMN = "fclass"
"""Geofabrik's extracts keep the class of an OpenStreetMap polygon in this column."""


class PolygonTile:
    """A vector file of classified polygons.

    Args:
        path: the file, one layer.
        layer: whose classes the polygons carry, by name.

    Raises:
        TerraprobeError: the file cannot be read, has no CRS, no class column, or a class that the layer lacks.
    """

    def __init__(self, path: Path, layer: LabelLayer) -> None:
        self.layer = layer
        try:
            frame = pyogrio.read_dataframe(path)
        except (DataSourceError, OSError) as error:
            raise TerraprobeError(
                f"{path}: cannot be read as a vector file ({error}). Delete it and run the stage that fetched it again."
            ) from error
        if not isinstance(frame, gpd.GeoDataFrame) or frame.crs is None or CLASS_COLUMN not in frame:
            raise TerraprobeError(
                f"{path}: needs polygons, a CRS and the column {CLASS_COLUMN}; its columns are "
                f"{', '.join(frame.columns)}. Take another extract."
            )
        codes = {name: code for code, name in layer.classes.items()}
        unknown = sorted({str(name) for name in set(frame[CLASS_COLUMN]) - set(codes)})
        if unknown:
            raise TerraprobeError(
                f"{path}: {CLASS_COLUMN} {', '.join(unknown)} has no code in {layer.name}; "
                f"known: {', '.join(codes)}. Add it to OSM_CLASSES in modalities.py or drop those polygons."
            )
        self._frame = gpd.GeoDataFrame(geometry=frame.geometry, crs=frame.crs).assign(
            code=frame[CLASS_COLUMN].map(codes)
        )
        self._projected: dict[str, gpd.GeoDataFrame] = {}

    def rasterise(self, grid: Grid) -> NDArray[Any]:
        """Codes on the grid: (height, width), the layer's type, nodata where no polygon holds the pixel's centre.

        Where polygons overlap the smaller one wins, because a pond in a forest is mapped on top of the forest;
        equal areas go by the order in the file.
        """
        frame = self._in_crs(grid.crs)
        left, bottom, right, top = grid.bounds
        near = frame.cx[left:right, bottom:top]
        shape = (grid.height, grid.width)
        if near.empty:
            return np.full(shape, self.layer.nodata, self.layer.dtype)
        codes: NDArray[Any] = rasterize(
            zip(near.geometry, near["code"], strict=True),
            out_shape=shape,
            transform=grid.transform,
            fill=self.layer.nodata,
            dtype=self.layer.dtype,
            all_touched=False,
        )
        return codes

    def _in_crs(self, crs: str) -> gpd.GeoDataFrame:
        """All polygons in a CRS, largest first, so that the smaller ones are painted last."""
        if crs not in self._projected:
            frame = self._frame.to_crs(crs)
            order = np.argsort(-frame.area.to_numpy(), kind="stable")
            self._projected[crs] = frame.iloc[order]
        return self._projected[crs]
