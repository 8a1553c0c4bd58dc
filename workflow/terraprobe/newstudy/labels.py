"""A user's own labels as `new-study` finds them: which classes, under which codes, and on which chips."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.acquire.folder import is_polygons
from terraprobe.classmap import class_name
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LABELS, MODALITIES

if TYPE_CHECKING:
    import geopandas as gpd

MOST_CLASSES = 254
"""More look like measurements; probes of pixels take no more either."""

LEAST_SHARE = 0.05
"""A chip counts as labelled where so much of it is: `measure_labels` asks for the same share of its pixels."""

_UNKNOWN = (0, 65535)
"""Codes for "not known", the first that is no class."""


@dataclass(frozen=True)
class OwnLabels:
    """Labels that a user brings.

    Attributes:
        layer: name of the label layer.
        path: the file.
        column: that says the class of polygons; empty of a raster.
        nodata: code that means "not known".
        codes: code to class, the most frequent ones first.
        labelled: ids of the chips that are.
        note: what was taken for granted; empty where nothing was.
    """

    layer: str
    path: Path
    column: str
    nodata: int
    codes: dict[int, str]
    labelled: frozenset[str]
    note: str = ""


def read_labels(text: str, chips: "gpd.GeoDataFrame") -> OwnLabels:
    """Read polygons (`fields.gpkg:crop`) or a raster (`map.tif`).

    Args:
        text: as on the command line.
        chips: their ground, EPSG:4326.

    Raises:
        TerraprobeError: a file or column is absent, has no CRS or no classes, or no chip is labelled.
    """
    name, colon, column = text.rpartition(":")
    name, column = (name, column) if colon else (text, "")
    path = Path(name).expanduser()
    if not path.is_file():
        raise TerraprobeError(
            f"--labels: {path.absolute()} is absent. Give polygons and their column as fields.gpkg:crop, a raster as "
            "map.tif, or worldcover."
        )
    try:
        polygons = is_polygons(path)
    except ValueError as error:
        raise TerraprobeError(f"--labels: {error}.") from error
    if column and not polygons:
        raise TerraprobeError(f"--labels: {path} is a raster and has no column {column!r}. Give {path} alone.")
    labels = _polygon_labels(path, column, chips) if polygons else _raster_labels(path, chips)
    if len(labels.codes) < 2:
        raise TerraprobeError(
            f"--labels: {text} has the one class {next(iter(labels.codes.values()))!r} in the area, allowed two or "
            "more: the share of a single one says nothing. Label what is not of it as another class."
        )
    if not labels.labelled:
        raise TerraprobeError(
            f"--labels: {text} labels {LEAST_SHARE:.0%} or more of no chip. Label more, or larger pieces of ground."
        )
    return labels


def _polygon_labels(path: Path, column: str, chips: "gpd.GeoDataFrame") -> OwnLabels:
    import geopandas as gpd
    import pyogrio
    from pyogrio.errors import DataSourceError

    try:
        frame: Any = pyogrio.read_dataframe(path)
    except (DataSourceError, OSError) as error:
        raise TerraprobeError(f"--labels: {path} cannot be read as a vector file ({error}).") from error
    if not isinstance(frame, gpd.GeoDataFrame) or frame.crs is None:
        raise TerraprobeError(f"--labels: {path} has no CRS, so its place on Earth is unknown. Write it into the file.")
    columns = [c for c in frame.columns if c != "geometry"]
    if column not in columns:
        found = f"no column {column!r}" if column else "columns"
        raise TerraprobeError(
            f"--labels: {path} has {found}; give one of {', '.join(columns) or 'none'} as {path}:COLUMN."
        )
    known = frame[frame[column].notna() & (frame[column].astype(str).str.strip() != "")]
    if known.empty:
        raise TerraprobeError(f"--labels: column {column} of {path} is empty. Give a class to some of its polygons.")
    near = known.to_crs("EPSG:4326").cx[slice(*chips.total_bounds[::2]), slice(*chips.total_bounds[1::2])]
    shares = _covered(near.geometry, chips.geometry)
    if near.empty or not shares.any():
        raise _outside(path, known.to_crs("EPSG:4326").total_bounds, chips)
    values = known[column].value_counts().index.tolist()
    if any(not isinstance(v, str) and float(v) != int(v) for v in values) or len(values) > MOST_CLASSES:
        raise TerraprobeError(
            f"--labels: column {column} of {path} has {len(values)} values such as {values[0]!r}, which are no "
            "classes. Give a column of classes, as names or whole numbers."
        )
    if all(isinstance(v, str) for v in values):
        names = sorted({class_name(v) for v in values})
        place = {name: code for code, name in enumerate(names, 1)}
        codes = {place[class_name(v)]: class_name(v) for v in values}
    else:
        codes = {int(v): class_name(int(v)) for v in values}
    return OwnLabels(layer_name(column), path, column, _unknown(codes), codes, _ids(chips, shares >= LEAST_SHARE))


def _covered(polygons: "gpd.GeoSeries", grounds: "gpd.GeoSeries") -> NDArray[np.float64]:
    """Share of each ground that polygons cover, in degrees squared over degrees squared, (ground,)."""
    import shapely

    valid = shapely.make_valid(polygons.to_numpy())
    rows, others = grounds.sindex.query(valid, predicate="intersects")
    pieces = shapely.area(shapely.intersection(valid[rows], grounds.to_numpy()[others]))
    shares: NDArray[np.float64] = np.bincount(others, pieces, len(grounds)) / shapely.area(grounds.to_numpy())
    return shares


def _raster_labels(path: Path, chips: "gpd.GeoDataFrame") -> OwnLabels:
    import rasterio
    from rasterio.warp import transform, transform_bounds
    from rasterio.windows import Window, from_bounds

    try:
        dataset = rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        raise TerraprobeError(f"--labels: {path} cannot be read as a raster ({error}).") from error
    with dataset:
        if dataset.crs is None:
            raise TerraprobeError(f"--labels: {path} has no CRS, so its place on Earth is unknown. Write it into it.")
        if not dataset.dtypes[0].lstrip("u").startswith("int"):
            raise TerraprobeError(f"--labels: {path} holds {dataset.dtypes[0]}, allowed whole numbers, a code a class.")
        bounds = transform_bounds("EPSG:4326", dataset.crs, *chips.total_bounds)
        wanted = from_bounds(*bounds, transform=dataset.transform).round_offsets().round_lengths()
        whole = Window(0, 0, dataset.width, dataset.height)
        if not rasterio.windows.intersect(wanted, whole):
            raise _outside(path, transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds), chips)
        window = wanted.intersection(whole)
        pixels, declared = dataset.read(1, window=window), dataset.nodata
        centres = chips.geometry.representative_point()
        x, y = transform("EPSG:4326", dataset.crs, centres.x.tolist(), centres.y.tolist())
        row, column = (np.asarray(axis) for axis in rasterio.transform.rowcol(dataset.transform, x, y))
    values, counts = np.unique(pixels, return_counts=True)
    guessed = declared is None and 0 in values
    unknown = {int(declared)} if declared is not None else {0}
    kept = [int(v) for v in values[np.argsort(-counts, kind="stable")] if int(v) not in unknown]
    if not kept:
        raise TerraprobeError(f"--labels: {path} has no known pixel in the area. Give a raster that has.")
    if len(kept) > MOST_CLASSES or min(kept) < 0:
        raise TerraprobeError(
            f"--labels: {path} has {len(kept)} codes from {min(kept)} on, which are no classes; allowed at most "
            f"{MOST_CLASSES} codes from 0 to 65535."
        )
    codes = {code: class_name(code) for code in kept}
    row, column = row - int(window.row_off), column - int(window.col_off)
    inside = (row >= 0) & (row < pixels.shape[0]) & (column >= 0) & (column < pixels.shape[1])
    labelled = np.zeros(len(chips), bool)
    labelled[inside] = ~np.isin(pixels[row[inside], column[inside]], list(unknown))
    stated = int(declared) if declared is not None and 0 <= declared <= _UNKNOWN[1] else _unknown(codes)
    note = f"{path.name} declares no nodata value: its code 0 was taken for 'not known'" if guessed else ""
    return OwnLabels(layer_name(path.stem), path, "", stated, codes, _ids(chips, labelled), note)


def _ids(chips: "gpd.GeoDataFrame", labelled: NDArray[np.bool_]) -> frozenset[str]:
    return frozenset(chips["chip_id"][labelled])


def _unknown(codes: dict[int, str]) -> int:
    return next(code for code in _UNKNOWN if code not in codes)


def _outside(path: Path, bounds: Any, chips: "gpd.GeoDataFrame") -> TerraprobeError:
    return TerraprobeError(
        f"--labels: {path} lies outside the area: it spans {_span(bounds)}, the area {_span(chips.total_bounds)}. "
        "Give labels within the area; where they should be, check the CRS that the file states."
    )


def _span(bounds: Any) -> str:
    west, south, east, north = bounds
    return f"longitude {west:.3f} to {east:.3f}, latitude {south:.3f} to {north:.3f}"


def layer_name(text: str) -> str:
    """A label layer's name that terraprobe does not know yet."""
    name = class_name(text)[:30] or "own"
    return f"{name}_own" if name in (*LABELS, *MODALITIES) else name
