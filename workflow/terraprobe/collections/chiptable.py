"""The table of chips that every later stage reads, and where on Earth they are."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import read_table
from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

CHIP_RESOLUTION_M = 10.0
"""Pixel size of every chip: the finest of Sentinel-1 GRD and Sentinel-2."""

BIOCLIM = tuple(f"bio{k:02d}" for k in range(1, 20))
CONTEXT = (*BIOCLIM, "elevation")
"""The 20 values, in order (Leonhardt et al., `bioclim`, [P]): WorldClim 2.1 BIO1 to BIO19, then elevation."""

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth (IUGG)."""


def read_chips(path: Path) -> "gpd.GeoDataFrame":
    """Read `grid.parquet` or `chips.parquet`.

    Returns:
        One row a chip, in store order.
    """
    frame: gpd.GeoDataFrame = read_table(path)
    return frame


def read_context(path: Path, chip_ids: NDArray[Any]) -> NDArray[np.float64]:
    """Context of chips.

    Args:
        path: `context.parquet`.
        chip_ids: (N,).

    Returns:
        The values of `CONTEXT`, (N, 20), in WorldClim's units; NaN where one is not known or the table lacks the chip.

    Raises:
        TerraprobeError: the table lacks a column.
    """
    table = read_table(path)
    missing = [c for c in ("chip_id", *CONTEXT) if c not in table]
    if missing:
        raise TerraprobeError(f"{path}: no column {missing[0]}; climate needs {', '.join(CONTEXT)}. Rerun the context.")
    rows = table.set_index("chip_id")[list(CONTEXT)].reindex(chip_ids)
    values: NDArray[np.float64] = rows.to_numpy(np.float64)
    return values


def read_classes(path: Path, label: str, chip_ids: NDArray[Any]) -> NDArray[Any]:
    """Chip-level classes of some chips; those of no other chip are read.

    Args:
        path: `labels.parquet`.
        label: column of classes, such as `worldcover_class`.
        chip_ids: (N,).

    Returns:
        Names of classes, empty where one is not known, (N,).

    Raises:
        TerraprobeError: the file is broken or has no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not len(chip_ids):
        return np.array([], str)
    try:
        table = pq.read_table(path, columns=["chip_id", label], filters=[("chip_id", "in", chip_ids.tolist())])
        known = dict(zip(table["chip_id"].to_pylist(), table[label].to_pylist(), strict=True))
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        said = str(error).partition("\n")[0]
        raise TerraprobeError(f"{path}: no chip-level classes {label} ({said}). Delete it and run again.") from error
    return np.array([known.get(chip) or "" for chip in chip_ids.tolist()], str)


def drawn_first(chip_ids: NDArray[Any], seed: int) -> NDArray[np.intp]:
    """Order in which chips are drawn for a picture, (N,): by a hash of their id.

    Those of two chips that both are there always come in the same order, whatever other chips are.

    Args:
        chip_ids: (N,).
        seed: another one gives another order.
    """
    keys = [hashlib.sha256(f"{seed} {chip}".encode()).hexdigest() for chip in chip_ids.tolist()]
    return np.argsort(np.array(keys, str), kind="stable")


def number_labels(table: "pd.DataFrame") -> list[str]:
    """Columns of `labels.parquet` that are numbers: neither a class nor how much of a layer is known.

    Args:
        table: as it was read, with `chip_id` or without.
    """
    return [str(n) for n in table.select_dtypes("number") if not str(n).endswith("_coverage")]


def have_places(chips: "gpd.GeoDataFrame") -> bool:
    """Whether it is known where on Earth chips are: of a collection either all or, in some archives, none."""
    return not bool(chips.geometry.isna().any())


def chip_centres(chips: "gpd.GeoDataFrame") -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude (N,) of the chip centres, degrees."""
    # The mean of a small box's bounds is its centre to far less than a pixel.
    bounds = chips.geometry.bounds.to_numpy()
    return (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2


def unit_sphere(lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
    """Longitude and latitude in degrees to points (N, 3) on the unit sphere."""
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
