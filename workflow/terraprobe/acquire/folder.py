"""A folder of the user's own GeoTIFFs: which files are there, and what each one holds.

The files are read where they are; nothing is copied, moved or changed. What a band is and whether a DN carries an
offset is never guessed: it stands in the file, or in the study. The listing is read when a study is parsed, so this
module imports nothing heavy.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terraprobe.acquire.manifest import listed_name, write_manifest
from terraprobe.classmap import ClassMap
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer, Modality
from terraprobe.stage import Out, Recipe, progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".tif", ".tiff")
POLYGON_SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb")
"""Vector files that are one file each: a shapefile's classes stand in another one, which no hash would watch."""


class IndexRecipe(Recipe):
    """Recipe of `index_folder`.

    Attributes:
        layer: a modality or label layer.
        folder: where its GeoTIFFs are, relative to the folder of the run or absolute; of an own label layer of an area
            its one file.
        bands: names of the bands of files that do not name them, in the order of the files; None where none do.
        offset_dn: added to every DN; None where the study does not say.
        classes: of an own label layer; None for any other.
        column: that says the class of each polygon; empty where the files are rasters.
    """

    layer: str
    folder: str
    bands: tuple[str, ...] | None = None
    offset_dn: int | None = None
    classes: ClassMap | None = None
    column: str = ""


def is_polygons(path: Path) -> bool:
    """Whether an own label file holds polygons, by its suffix; else it is a raster.

    Raises:
        ValueError: the suffix is of neither.
    """
    if path.suffix.lower() not in (*SUFFIXES, *POLYGON_SUFFIXES):
        raise ValueError(f"{path} ends on none of {', '.join((*SUFFIXES, *POLYGON_SUFFIXES))}; convert it (ogr2ogr)")
    return path.suffix.lower() in POLYGON_SUFFIXES


def list_geotiffs(folder: Path) -> list[Path]:
    """GeoTIFFs of a folder by name: files that end on `.tif` or `.tiff` and are not hidden.

    Raises:
        ValueError: the folder is absent, holds none, or holds two files whose names differ by the suffix alone.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is {'no folder' if folder.exists() else 'absent'}; give the folder of the files")
    files = sorted(
        f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".") and f.is_file()
    )
    if not files:
        raise ValueError(f"{folder} holds no GeoTIFF; allowed {' and '.join(f'*{s}' for s in SUFFIXES)}, not deeper")
    stems = [f.stem for f in files]
    twice = [f.name for f in files if stems.count(f.stem) > 1] if len(set(stems)) < len(stems) else []
    if twice:
        raise ValueError(f"{folder} holds {' and '.join(twice[:2])}: rename one, a tile is known by its name")
    return files


def index_folder(*, recipe: IndexRecipe, manifest: Out) -> None:
    """Open every file of one layer and list what it holds.

    Args:
        recipe: which layer, and what the study says of its files.
        manifest: JSON: name (relative to the manifest where the folder is relative), bytes and SHA-256 of each
            file; of a modality also `bands` in the order of the file and `offset_dn`, of polygons their `column`.

    Raises:
        TerraprobeError: a file does not open, has no CRS, has pixels of another type or unit, or its bands are not
            known for sure.
    """
    from terraprobe.chips.tiles import describe_tiles, find_layer

    layer, where = find_layer(recipe.layer, recipe.classes), Path(recipe.folder)
    rows: dict[Path, dict[str, Any]]
    if recipe.column and isinstance(layer, LabelLayer):
        from terraprobe.chips.polygons import PolygonTile

        PolygonTile(where, layer, recipe.column)
        rows = {where: {"column": recipe.column}}
    else:
        try:
            files = [where] if where.is_file() else list_geotiffs(where)
        except ValueError as error:
            raise TerraprobeError(f"{recipe.layer}: {error}.") from error
        rows = {path: read_facts(path, layer, recipe) for path in files}
        # The tiles are described as they will be when chips are cut: what is accepted here can be cut.
        describe_tiles(rows, layer)
    what = "files" if where.is_file() else "GeoTIFFs"
    write_manifest(
        manifest,
        {"dataset": f"own {what} in {recipe.folder}"},
        [(listed_name(path, manifest), layer.name, facts) for path, facts in rows.items()],
    )
    total = sum(path.stat().st_size for path in rows)
    beside = where.iterdir() if where.is_dir() else ()
    others = sum(1 for f in beside if f not in rows and not f.name.startswith("."))
    left = f"; {others} other files and folders left alone" if others else ""
    progress(f"{layer.name}: {len(rows)} {what}, {total / 1e6:.1f} MB in {recipe.folder}{left}")


def read_facts(path: Path, layer: Modality | LabelLayer, recipe: IndexRecipe) -> dict[str, Any]:
    """What the manifest says of one file: of a modality its bands and the offset of its DN.

    Args:
        path: the file.
        layer: what it is of.
        recipe: what is said of it besides.

    Raises:
        TerraprobeError: it does not open, has no CRS or linear power, or its bands or offset are not known for sure.
    """
    import rasterio

    from terraprobe.chips.tiles import baseline_offset

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            dataset = rasterio.open(path)
        with dataset:
            if dataset.crs is None or dataset.transform.is_identity:
                raise TerraprobeError(
                    f"{path}: has no CRS or no geotransform, so its place on Earth is unknown. Write both into the "
                    "file (gdal_edit.py -a_srs EPSG:… -a_ullr left top right bottom), or take it out of the folder."
                )
            if isinstance(layer, LabelLayer):
                return {}
            bands = name_bands(path, dataset.descriptions, layer, recipe.bands)
            if layer.unit == "backscatter_db":
                for index in (bands.index(band) + 1 for band in layer.bands if "-" not in band):
                    _refuse_power(path, bands[index - 1], _blocks(dataset, index))
            offset = recipe.offset_dn
            if layer.unit == "reflectance" and offset is None and baseline_offset(path, dataset.tags()):
                raise TerraprobeError(
                    f"{path}: says that it is of processing baseline 04.00 or later, whose DN carry an offset of 1000 "
                    f"unless it was taken out. Say which in the study: offset_dn: {{{layer.name}: -1000}} where it is "
                    f"still in them, {{{layer.name}: 0}} where it is not."
                )
            return {"bands": list(bands), "offset_dn": offset or 0}
    except (rasterio.errors.RasterioError, OSError) as error:
        raise TerraprobeError(
            f"{path}: cannot be read as a raster (GDAL: {error.__cause__ or error}). Mend it, or take it out of the "
            "folder."
        ) from error


def name_bands(
    path: Path, descriptions: Sequence[str | None], layer: Modality, stated: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Names of a file's bands: its own where it names every band of the modality, else those that the study states.

    Args:
        path: for errors.
        descriptions: band descriptions of the file.
        layer: the modality.
        stated: `bands` of the study, None where it says nothing.

    Returns:
        One name a band; other bands than the modality's keep their descriptions.

    Raises:
        TerraprobeError: file and study contradict each other, or neither names every band.
    """
    named = [name for name in descriptions if name in layer.bands]
    if len(named) != len(set(named)):
        raise TerraprobeError(f"{path}: two bands are described as {_twice(named)}. {_how_to_name(layer)}")
    if stated is not None:
        if len(stated) != len(descriptions):
            raise TerraprobeError(
                f"{path}: {len(descriptions)} bands, but bands of {layer.name} in the study names {len(stated)}: "
                f"{', '.join(stated)}. Give one name for each band of the file."
            )
        for index, (own, name) in enumerate(zip(descriptions, stated, strict=True), 1):
            if own in layer.bands and own != name:
                raise TerraprobeError(
                    f"{path}: band {index} is described as {own}, but the study calls it {name}. Correct bands of "
                    f"{layer.name} in the study, or the description in the file."
                )
        return stated
    if set(layer.bands) <= set(named):
        return tuple(name or f"unnamed {index}" for index, name in enumerate(descriptions, 1))
    count = len(descriptions)
    found = ", ".join(name or "unnamed" for name in dict.fromkeys(descriptions))
    if count < len(layer.bands):
        raise TerraprobeError(
            f"{path}: {count} bands ({found}), expected all of {', '.join(layer.bands)} of {layer.name} in one file. "
            "Put them together (gdalbuildvrt -separate, then gdal_translate), or take the file out of the folder."
        )
    order = (
        f"If their order is that of the modality, add to the collection: bands: {{{layer.name}: "
        f"[{', '.join(layer.bands)}]}}"
        if count == len(layer.bands)
        else f"Add to the collection: bands: {{{layer.name}: [… {count} names, {', '.join(layer.bands)} among them]}}"
    )
    raise TerraprobeError(
        f"{path}: its {count} bands are described as {found}, which does not say which is which of "
        f"{', '.join(layer.bands)}; an order is never guessed. {order}. {_how_to_name(layer)}"
    )


def _how_to_name(layer: Modality) -> str:
    return f"Or name them in the file (rasterio: dataset.set_band_description(1, {layer.bands[0]!r}))."


def _twice(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _blocks(dataset: Any, index: int) -> "Iterator[NDArray[np.float64]]":
    """Observed values of one band, block by block."""
    import numpy as np

    for _, window in dataset.block_windows(index):
        values = dataset.read(index, window=window)
        observed = np.isfinite(values) & (values != dataset.nodata if dataset.nodata is not None else True)
        yield values[observed]


def _refuse_power(path: Path, band: str, blocks: "Iterator[NDArray[np.float64]]") -> None:
    """Refuse a band of backscatter without one value below 0 dB: no ground sends back that much, but power is so."""
    seen = False
    for values in blocks:
        if (values < 0).any():
            return
        seen = seen or bool(values.size)
    if seen:
        raise TerraprobeError(
            f"{path}: band {band} holds no value below 0 dB, which no ground sends back: is it linear power or "
            "amplitude? Units are never guessed: write decibels (10 * log10 of power) into the file."
        )
