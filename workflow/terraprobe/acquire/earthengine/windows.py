"""Windows of the chip grid: what one request to Earth Engine asks for."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from terraprobe.acquire.earthengine.products import Product, window_shape

PIXEL_M = 10.0
"""Chips over an area lie on 10 m pixels."""


@dataclass(frozen=True)
class Window:
    """Pixels of neighbouring chips.

    Attributes:
        name: of its file: zone, then line and column among all windows of the zone.
        crs: as `EPSG:32633`.
        left: x of its upper left corner, metres.
        top: y of it.
        width: pixels.
        height: pixels.
    """

    name: str
    crs: str
    left: float
    top: float
    width: int
    height: int

    @property
    def transform(self) -> tuple[float, ...]:
        """(a, b, c, d, e, f) from (column, row) to (x, y)."""
        return (PIXEL_M, 0.0, self.left, 0.0, -PIXEL_M, self.top)

    @property
    def grid(self) -> dict[str, Any]:
        """The same as Earth Engine reads it."""
        scale_x, shear_x, left, shear_y, scale_y, top = self.transform
        return {
            "dimensions": {"width": self.width, "height": self.height},
            "affineTransform": {
                "scaleX": scale_x, "shearX": shear_x, "translateX": left,
                "shearY": shear_y, "scaleY": scale_y, "translateY": top,
            },
            "crsCode": self.crs,
        }  # fmt: skip

    def lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east, north that hold it, degrees; beyond 180 where it crosses that meridian."""
        from pyproj import Transformer

        right, bottom = self.left + self.width * PIXEL_M, self.top - self.height * PIXEL_M
        to_degrees = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        west, south, east, north = to_degrees.transform_bounds(self.left, bottom, right, self.top)
        return west, south, east + 360 * (east < west), north


def shard_windows(frame: Any, chip_px: int, product: Product) -> list[Window]:
    """Windows that hold all chips of a shard, each within the limits of a request.

    Chips of neighbouring places on the lattice share a window, which is no larger than they need.

    Args:
        frame: rows of `grid.parquet`: `crs, transform`.
        chip_px: side of a chip.
        product: whose pixels they are asked for.

    Returns:
        By zone, then from north to south and west to east.
    """
    columns, rows, pieces = window_shape(product, chip_px)
    corners = np.stack(frame["transform"].to_list())[:, [2, 5]]
    place = np.rint(corners / (chip_px * PIXEL_M)).astype(int)
    group = np.stack([-place[:, 1] // rows, place[:, 0] // columns], axis=1)
    windows = []
    for crs in sorted(set(frame["crs"])):
        here = (frame["crs"] == crs).to_numpy()
        for line, column in np.unique(group[here], axis=0).tolist():
            within = corners[here & (group == (line, column)).all(axis=1)]
            (left, bottom), (right, top) = within.min(axis=0), within.max(axis=0)
            name = f"{crs.removeprefix('EPSG:')}_{line}_{column}"
            width = round((right - left) / PIXEL_M) + chip_px
            height = round((top - bottom) / PIXEL_M) + chip_px
            windows += cut_window(Window(name, crs, float(left), float(top), width, height), pieces)
    return windows


def cut_window(window: Window, pieces: int) -> list[Window]:
    """A window in so many pieces a side, from north to south and west to east."""
    if pieces == 1:
        return [window]
    edges = [window.width * k // pieces for k in range(pieces + 1)]
    return [
        Window(
            f"{window.name}_{i}_{j}",
            window.crs,
            window.left + edges[j] * PIXEL_M,
            window.top - edges[i] * PIXEL_M,
            edges[j + 1] - edges[j],
            edges[i + 1] - edges[i],
        )
        for i in range(pieces)
        for j in range(pieces)
    ]
