"""Land of any size for the growth benchmark: tiles, grid, splits and labels, all alike but for the number of chips."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine

from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import write_table
from terraprobe.modalities import MODALITIES

LAYER = "s2_l1c"
CRS = "EPSG:32633"
LEFT, TOP = 500_000.0, 5_800_000.0
SHIFT_M = 4.0
"""Tiles lie so far beside the grid: every pixel is interpolated, as of tiles in another projection."""

BLOCK_CHIPS = 4
SPLITS = np.array(["train", "train", "train", "val", "test"])


@dataclass(frozen=True)
class Land:
    """A square of tiles, each full of chips.

    Attributes:
        folder: of its files.
        side: tiles along an edge.
        tile_px: side of a tile.
        chip_px: side of a chip, which divides a tile's.
    """

    folder: Path
    side: int
    tile_px: int = 2048
    chip_px: int = 64

    @property
    def across(self) -> int:
        """Chips along an edge."""
        return self.side * self.tile_px // self.chip_px

    @property
    def chips(self) -> int:
        """Number of chips."""
        return self.across**2

    def path(self, name: str) -> Path:
        """A file of this land."""
        return self.folder / name

    def make(self) -> "Land":
        """Write tiles, `manifest.json`, `grid.parquet`, `chips.parquet` and `labels.parquet`."""
        self.folder.mkdir(parents=True)
        names = []
        bands = MODALITIES[LAYER].bands
        for number in range(self.side**2):
            row, column = divmod(number, self.side)
            names.append(f"tile{number:02d}.tif")
            self._write_tile(self.path(names[-1]), row, column, bands)
        listed = [(name, LAYER, {"bands": list(bands), "offset_dn": 0}) for name in names]
        write_manifest(self.path("manifest.json"), {}, listed)
        frame = self._frame()
        write_table(self.path("grid.parquet"), frame, {"chip_px": str(self.chip_px)})
        blocks = frame["block"].astype("category").cat.codes.to_numpy()
        write_table(self.path("chips.parquet"), frame.assign(split=SPLITS[blocks % len(SPLITS)]))
        labels = frame[["chip_id"]].assign(bright=self._brightness())
        write_table(self.path("labels.parquet"), labels)
        return self

    def _write_tile(self, path: Path, row: int, column: int, bands: tuple[str, ...]) -> None:
        extent = self.tile_px * 10
        left, top = LEFT - SHIFT_M + column * extent, TOP + SHIFT_M - row * extent
        image = np.kron(self._means(row, column), np.ones((self.chip_px, self.chip_px)))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([row, column])))
        noise = rng.integers(-200, 200, image.shape)
        with rasterio.open(
            path, "w", driver="GTiff", count=len(bands), height=self.tile_px, width=self.tile_px, dtype="uint16",
            crs=CRS, transform=Affine(10, 0, left, 0, -10, top), tiled=True, interleave="band",
        ) as dataset:  # fmt: skip
            for band in range(len(bands)):
                dataset.write((2000 + 1000 * image + np.roll(noise, band * 7)).astype("uint16"), band + 1)

    def _means(self, row: int, column: int) -> NDArray[np.float64]:
        """Brightness of the chips of a tile, from 0 to 1, (y, x)."""
        side = self.tile_px // self.chip_px
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([row, column, 1])))
        return rng.random((side, side))

    def _brightness(self) -> NDArray[np.float64]:
        rows = [np.hstack([self._means(row, column) for column in range(self.side)]) for row in range(self.side)]
        return np.vstack(rows).ravel()

    def _frame(self) -> Any:
        row, column = np.divmod(np.arange(self.chips), self.across)
        size = self.chip_px * 10
        left, top = LEFT + column * size, TOP - row * size
        boxes = gpd.GeoSeries(shapely.box(left, top - size, left + size, top), crs=CRS).to_crs(4326)
        return gpd.GeoDataFrame(
            {
                "chip_id": [f"chip{number:06d}" for number in range(self.chips)],
                "crs": CRS,
                "transform": [[10.0, 0.0, x, 0.0, -10.0, y] for x, y in zip(left, top, strict=True)],
                "block": [f"b{r}-{c}" for r, c in zip(row // BLOCK_CHIPS, column // BLOCK_CHIPS, strict=True)],
                "shard": "000",
                "source": "benchmark",
            },
            geometry=boxes,
        )
