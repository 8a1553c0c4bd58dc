"""Classified polygons, of OpenStreetMap or your own, to pixel labels on the chip grid."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from rasterio.features import rasterize

from terraprobe.chips.warp import Grid
from terraprobe.classmap import class_name
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer

CLASS_COLUMN = "fclass"
"""Geofabrik's extracts keep the class of an OpenStreetMap polygon in this column."""


class PolygonTile:
    """A vector file of classified polygons.

    Args:
        path: the file, one layer.
        layer: whose classes the polygons carry, by name or by code.
        column: that says which; a polygon without a value there is not labelled.

    Raises:
        TerraprobeError: the file cannot be read, has no CRS, no such column, or a class that the layer lacks.
    """

    def __init__(self, path: Path, layer: LabelLayer, column: str = CLASS_COLUMN) -> None:
        self.layer = layer
        try:
            frame = pyogrio.read_dataframe(path)
        except (DataSourceError, OSError) as error:
            raise TerraprobeError(
                f"{path}: cannot be read as a vector file ({error}). Delete it and run the stage that fetched it again."
            ) from error
        if not isinstance(frame, gpd.GeoDataFrame) or frame.crs is None or column not in frame:
            raise TerraprobeError(
                f"{path}: needs polygons, a CRS and the column {column}; its columns are "
                f"{', '.join(frame.columns)}. Mend the file, or name another column."
            )
        frame = frame[frame[column].notna() & (frame[column].astype(str).str.strip() != "")]
        codes = {class_name(name): code for code, name in layer.classes.items()}
        found = {value: _code(value, codes) for value in frame[column].unique()}
        unknown = sorted({str(value) for value, code in found.items() if code is None})
        if unknown:
            raise TerraprobeError(
                f"{path}: {column} {', '.join(unknown)} has no code in {layer.name}; known: {', '.join(codes)}. Add it "
                "to classes in the study (for osm: OSM_CLASSES in modalities.py), or drop those polygons."
            )
        self._frame = gpd.GeoDataFrame(geometry=frame.geometry, crs=frame.crs).assign(code=frame[column].map(found))
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


def _code(value: Any, codes: dict[str, int]) -> int | None:
    """Code of a class that a column names or numbers; None where the layer lacks it."""
    if isinstance(value, str):
        return codes.get(class_name(value))
    return int(value) if value in codes.values() else None
