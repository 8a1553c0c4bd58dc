"""Tiles: which bands a raster file holds, by name, and whether it can be what it is taken for.

A band's name comes from the file name (`…_B8A.jp2`), from the band description (`VV`, `2020-01_B04`), or, for
coherence, from the pair of dates in the name of the interferogram (`S1-GUNW-….nc`). Never from its position.
"""

import math
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.warp import transform_bounds

from terraprobe.acquire.gunw import newest, parse_gunw
from terraprobe.classmap import ClassMap, label_layer
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LABELS, MODALITIES, MONTHS, S2_BASELINE_OFFSET_DN, LabelLayer, Modality

Layer = Modality | LabelLayer
EVERYWHERE = (-math.inf, -math.inf, math.inf, math.inf)

COHERENCE_PATH = "/science/grids/data/coherence"
"""Where ARIA GUNW products v2 and v3 keep the coherence (ASF, ARIA GUNW product guide)."""

DTYPES: Mapping[str, tuple[str, ...]] = {
    "reflectance": ("uint16", "int16"),
    "backscatter_db": ("float32", "float64"),
    "coherence": ("float32",),
}
"""Pixel types in which each unit is delivered. Labels: any integer type."""

_NOTHING: Mapping[str, Any] = {}
_MONTH = re.compile(r"(\d{4}-\d{2})_(.+)")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})(\d{2})_")


@dataclass(frozen=True)
class Tile:
    """One raster file and what it holds.

    Attributes:
        path: the file.
        uri: what rasterio opens.
        crs: `rasterio.crs.CRS`.
        transform: `affine.Affine` from (column, row) to (x, y) of `crs`.
        shape: (height, width).
        nodata: value that the file declares as not observed.
        bands: band name to band index, from 1.
        lonlat: (west, south, east, north) in degrees with a margin of one pixel, to tell quickly what cannot touch;
            infinite where the CRS does not allow to say.
        offset_dn: added to the DN of an observed pixel (Sentinel-2 baseline 04.00 and later).
        codes: of a map with codes of its own, what each stands for in the label layer, by code; else nothing.
    """

    path: Path
    uri: str
    crs: Any
    transform: Any
    shape: tuple[int, int]
    nodata: float | None
    bands: Mapping[str, int]
    lonlat: tuple[float, float, float, float]
    offset_dn: int = 0
    codes: tuple[int, ...] = ()


def find_layer(name: str, classes: ClassMap | None = None) -> Layer:
    """The modality or label layer of that name.

    Args:
        name: of the layer.
        classes: of an own label layer; None for any other.

    Raises:
        TerraprobeError: there is none.
    """
    layer = MODALITIES.get(name) or label_layer(name, classes)
    if layer is not None:
        return layer
    raise TerraprobeError(f"layer {name}: unknown. Allowed: {', '.join((*MODALITIES, *LABELS))}.")


def describe_tiles(paths: Iterable[Path], layer: Layer) -> list[Tile]:
    """Open every tile and say which bands of the layer it holds.

    Args:
        paths: raster files, in any order; or what the manifest says of each, of which `bands`, `offset_dn` and
            `codes`, where they are there, count before what the file says.
        layer: what they are tiles of.

    Returns:
        Tiles sorted by file name: where two overlap, the first that observed a pixel gives its value. Of several
        versions of one interferogram only the newest is returned.

    Raises:
        TerraprobeError: a file cannot be opened, has no CRS, another pixel type, or lacks a band.
    """
    rows = paths if isinstance(paths, Mapping) else dict.fromkeys(paths, _NOTHING)
    ordered = sorted(rows, key=lambda path: (path.name, str(path)))
    if isinstance(layer, LabelLayer):
        maps = (
            (path, rows[path].get("bands") or (layer.name,), tuple(rows[path].get("codes", ()))) for path in ordered
        )
        return [replace(_describe(path, layer, bands), codes=codes) for path, bands, codes in maps]
    if layer.variable:
        return [
            _describe(path, layer, (parse_gunw(str(path)).channel,)) for path in map(Path, newest(map(str, ordered)))
        ]
    tiles = [_describe(path, layer, rows[path].get("bands"), rows[path].get("offset_dn")) for path in ordered]
    if layer.bands[0].startswith(MONTHS[0]) and not any("bands" in row for row in rows.values()):
        tiles = _name_months(tiles, layer)
    _require_bands(tiles, layer)
    return tiles


@contextmanager
def open_raster(path: Path, uri: str | None = None) -> Iterator[Any]:
    """Open a raster; every read error inside the block becomes one that names the file.

    GDAL decodes JPEG2000 in one thread here: with more, it returns zeros for a truncated file and no error (3.10).

    Raises:
        TerraprobeError: the file is absent, not a raster, or cannot be decoded.
    """
    try:
        with rasterio.Env(GDAL_NUM_THREADS=1), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(uri or path) as dataset:
                yield dataset
    except (RasterioError, OSError) as error:
        state = "it is truncated, or another kind of file" if path.exists() else "it is absent"
        raise TerraprobeError(
            f"{path}: cannot be read as a raster: {state} (GDAL: {error.__cause__ or error}). "
            "Delete it and run the stage that fetched it again."
        ) from error


def _describe(path: Path, layer: Layer, names: Sequence[str] | None, offset_dn: int | None = None) -> Tile:
    uri = f"netcdf:{path}:{COHERENCE_PATH}" if path.suffix == ".nc" else str(path)
    with open_raster(path, uri) as dataset:
        if dataset.crs is None or dataset.transform.is_identity:
            raise TerraprobeError(
                f"{path}: has no CRS or no geotransform, or was cut short: its place on Earth is unknown. "
                "Fetch it again, or write both into the file (gdal_edit -a_srs … -a_ullr …)."
            )
        _check_dtypes(path, dataset.dtypes, layer)
        if names is None:
            names = _band_names(path, dataset.descriptions)
        elif dataset.count != len(names):
            raise TerraprobeError(f"{path}: {dataset.count} bands, expected one band of {layer.name}.")
        if len(set(names)) != len(names):
            raise TerraprobeError(f"{path}: two bands have one name: {', '.join(names)}. Name each band once.")
        return Tile(
            path=path,
            uri=uri,
            crs=dataset.crs,
            transform=dataset.transform,
            shape=dataset.shape,
            nodata=dataset.nodata,
            bands={name: index for index, name in enumerate(names, 1)},
            lonlat=_lonlat(dataset),
            offset_dn=offset_dn if offset_dn is not None else _found_offset(path, dataset.tags(), layer),
        )


def _lonlat(dataset: Any) -> tuple[float, float, float, float]:
    corners = [dataset.transform @ (x, y) for x in (-1, dataset.width + 1) for y in (-1, dataset.height + 1)]
    xs, ys = zip(*corners, strict=True)
    return lonlat_bounds(dataset.crs, (min(xs), min(ys), max(xs), max(ys)))


def lonlat_bounds(crs: Any, bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Bounds in degrees; the whole Earth where the corner has no longitude or the 180th meridian is crossed."""
    try:
        west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
    except CPLE_BaseError:
        return EVERYWHERE
    return (west, south, east, north) if np.isfinite((west, south, east, north)).all() and west < east else EVERYWHERE


def _found_offset(path: Path, tags: Mapping[str, str], layer: Layer) -> int:
    return baseline_offset(path, tags) if isinstance(layer, Modality) and layer.unit == "reflectance" else 0


def _check_dtypes(path: Path, found: tuple[str, ...], layer: Layer) -> None:
    if isinstance(layer, Modality):
        good, expected = set(found) <= set(DTYPES[layer.unit]), " or ".join(DTYPES[layer.unit])
    else:
        good, expected = all(dtype.lstrip("u").startswith("int") for dtype in found), "an integer type"
    if not good:
        raise TerraprobeError(
            f"{path}: pixels are {', '.join(sorted(set(found)))}, expected {expected} for {layer.name} ({layer.unit}). "
            "Units are never guessed: deliver the tile in its provider's own type."
        )


def _band_names(path: Path, descriptions: tuple[str | None, ...]) -> tuple[str, ...]:
    if len(descriptions) == 1 and not _looks_like_band(descriptions[0]):
        return (path.stem.rsplit("_", 1)[-1],)
    return tuple(description or f"unnamed {index}" for index, description in enumerate(descriptions, 1))


def _looks_like_band(description: str | None) -> bool:
    known = {band for modality in MODALITIES.values() for band in modality.bands}
    return description is not None and (description in known or _MONTH.fullmatch(description) is not None)


def baseline_offset(path: Path, tags: Mapping[str, str]) -> int:
    """DN offset of the processing baseline: from the tag `PROCESSING_BASELINE`, else from the product's name."""
    named = _BASELINE_IN_NAME.search(str(path))
    text = tags.get("PROCESSING_BASELINE") or (f"{named[1]}.{named[2]}" if named else "")
    if not text:
        return 0
    if not re.fullmatch(r"\d\d\.\d\d", text):
        raise TerraprobeError(f"{path}: tag PROCESSING_BASELINE is {text!r}, expected a number such as 05.10.")
    return S2_BASELINE_OFFSET_DN if text >= "04.00" else 0


def _name_months(tiles: list[Tile], layer: Modality) -> list[Tile]:
    """Rename `2020-01_B04` to `m1_B04`: the calendar months of all tiles, sorted."""
    parsed = {name: _MONTH.fullmatch(name) for tile in tiles for name in tile.bands}
    months = sorted({match[1] for match in parsed.values() if match})
    if tiles and len(months) != len(MONTHS):
        raise TerraprobeError(
            f"{tiles[0].path} and {len(tiles) - 1} more tiles of {layer.name}: bands of {len(months)} months "
            f"({', '.join(months) or 'none'}), expected {len(MONTHS)}. Band descriptions read like 2020-01_B04."
        )
    order = dict(zip(months, MONTHS, strict=True)) if tiles else {}
    renamed = {name: f"{order[match[1]]}_{match[2]}" if match else name for name, match in parsed.items()}
    return [replace(tile, bands={renamed[name]: index for name, index in tile.bands.items()}) for tile in tiles]


def _require_bands(tiles: list[Tile], layer: Modality) -> None:
    """Every scene holds every band: a scene is one file, or the one-band files of one folder with one name stem."""
    scenes: defaultdict[str, set[str]] = defaultdict(set)
    for tile in tiles:
        scene = str(tile.path) if len(tile.bands) > 1 else f"{str(tile.path.with_suffix('')).rpartition('_')[0]}_*"
        scenes[scene] |= set(tile.bands)
    for scene, found in scenes.items():
        missing = [band for band in layer.bands if band not in found]
        if missing:
            raise TerraprobeError(
                f"{scene}: band {', '.join(missing)} of {layer.name} is missing; found {', '.join(sorted(found))}; "
                f"expected {', '.join(layer.bands)}. Fetch the tile again, or name its bands."
            )
