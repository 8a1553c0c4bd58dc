"""The index of a benchmark archive: which images it holds, where on Earth they are, their classes and files.

The archive's files are read where they are; nothing is copied, moved or changed. An image is the archive's own sample:
one file of EuroSAT, one folder of BigEarthNet. It becomes one chip, pixel by pixel.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from terraprobe.acquire.archive_image import Image
from terraprobe.acquire.archive_listing import list_images
from terraprobe.acquire.manifest import listed_name, write_manifest
from terraprobe.archives import ARCHIVES, Archive, ArchiveName
from terraprobe.artifacts import write_table
from terraprobe.chips.pictures import picture_shape
from terraprobe.chips.tiles import open_raster
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import MODALITIES
from terraprobe.stage import Ins, Out, Outs, Recipe, progress

if TYPE_CHECKING:
    import pandas as pd


class ArchiveRecipe(Recipe):
    """Recipe of `index_archive`.

    Attributes:
        archive: which one.
        path: its unpacked folder, relative to the folder of the run or absolute.
        modalities: whose files are listed, beside the archive's own Sentinel-2 images, which say where they are.
        labels: label layers whose maps are listed.
        scenes: from which share of the images to which, scenes whole and in the order of `in_scenes`.
    """

    archive: ArchiveName
    path: str
    modalities: tuple[str, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    scenes: tuple[float, float] = (0.0, 1.0)


def index_archive(*, exclude: Ins, recipe: ArchiveRecipe, images: Out, manifests: Outs) -> None:
    """List the images of an archive, and the files of each shard.

    Args:
        exclude: text files that name images to leave out, a line each (what follows a comma does not count).
        recipe: which archive, and where.
        images: Parquet, one row an image by name: `image, shard, crs, transform (a to f of its own pixels), split`
            (train, val, test; empty where the archive has none; `crs` and `transform` empty where its images have no
            place) and, where the archive has classes, those of the
            image in the column that labels have too; null where it has none.
        manifests: JSON, one a shard, `<shard>.json`: each file with its image, layer, bands, offset of its DN, bytes
            and SHA-256.

    Raises:
        TerraprobeError: the folder does not look like the archive, or an image is not what its kind is.
    """
    archive = ARCHIVES[recipe.archive]
    found = list_images(recipe.archive, Path(recipe.path), [*recipe.modalities, *recipe.labels])
    kept = _leave_out(in_scenes(found, *recipe.scenes), exclude)
    if len(kept) < len(manifests):
        raise TerraprobeError(f"{recipe.path}: {len(kept)} images make no {len(manifests)} shards. Lower shards.")
    shards = [k * len(manifests) // len(kept) for k in range(len(kept))]
    rows = _place(kept, archive)
    rows.insert(1, "shard", [manifests[shard].stem for shard in shards])
    if archive.label:
        rows[archive.label.class_label or archive.label.present_label] = [image.classes or None for image in kept]
    source = {"dataset": archive.title, "licence": archive.licence, "folder": recipe.path}
    starts = np.searchsorted(shards, range(len(manifests) + 1))
    for manifest, (first, end) in zip(manifests, pairwise(starts), strict=True):
        write_manifest(manifest, source, _listed(kept[first:end], archive, manifest))
    write_table(images, rows)
    without = sum(not image.classes for image in kept) if archive.label else 0
    progress(
        f"{archive.title}: {len(kept)} images "
        + (f"in {rows['crs'].nunique()} UTM zones" if archive.placed else "without a place on Earth")
        + (f"; {len(found) - len(kept)} left out by scene or name" if len(kept) < len(found) else "")
        + (f"; {without} without a class" if without else "")
    )


def in_scenes(images: Sequence[Image], first: float, end: float) -> list[Image]:
    """Images of the scenes that begin within a part of all images, scenes being ordered by the hash of their names.

    The order depends on nothing but names [D]; parts that do not overlap share no scene.

    Args:
        images: of an archive whose images are called by scene and patch (`ROIs1158_spring_s2_1_p30`).
        first: share of the images where the part begins, 0 to 1.
        end: where it ends.

    Returns:
        The images, in the order given.
    """
    if (first, end) == (0.0, 1.0):
        return list(images)
    sizes = Counter(_scene(image) for image in images)
    kept, before = set(), 0
    for scene in sorted(sizes, key=lambda name: sha256(name.encode()).digest()):
        if first <= before / len(images) < end:
            kept.add(scene)
        before += sizes[scene]
    return [image for image in images if _scene(image) in kept]


def _scene(image: Image) -> str:
    return image.name.rpartition("_")[0]


def _leave_out(images: Sequence[Image], exclude: Sequence[Path]) -> list[Image]:
    named = {line.partition(",")[0].strip() for path in exclude for line in _lines(path)}
    return [image for image in images if image.name not in named]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise TerraprobeError(f"{path}: is no text. Give names of images, one a line.") from error


def _listed(images: Sequence[Image], archive: Archive, manifest: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for image in images:
        for layer, files in image.files.items():
            for path, bands in files.items():
                facts: dict[str, Any] = {"image": image.name, "bands": list(bands)}
                if layer in MODALITIES and MODALITIES[layer].unit == "reflectance":
                    facts["offset_dn"] = 0
                if archive.codes.get(layer):
                    facts["codes"] = list(archive.codes[layer])
                yield listed_name(path, manifest), layer, facts


def _place(images: Sequence[Image], archive: Archive) -> "pd.DataFrame":
    """Where each image is, read off a file whose pixels are those of the chip."""
    import pandas as pd

    placed = [_read_place(image.reference, archive, len(image.bands)) for image in images]
    return pd.DataFrame(
        {
            "image": [image.name for image in images],
            "crs": [crs for crs, _ in placed],
            "transform": [transform for _, transform in placed],
            "split": [image.split for image in images],
        }
    )


def _check_shape(path: Path, found: tuple[int, ...], expected: tuple[int, int, int]) -> None:
    if found != expected:
        (height, width, bands), (rows, columns, wanted) = found, expected
        raise TerraprobeError(
            f"{path}: {width} x {height} px, {bands} bands; expected {columns} x {rows} px, {wanted} bands. Unpack the "
            "archive again, or take the file out."
        )


def _read_place(path: Path, archive: Archive, bands: int) -> tuple[str, list[float]]:
    expected = archive.chip_px, archive.chip_px, bands
    if not archive.placed:
        _check_shape(path, picture_shape(path), expected)
        return "", []
    with open_raster(path) as dataset:
        _check_shape(path, (*dataset.shape, dataset.count), expected)
        a, b, left, d, e, top = dataset.transform[:6]
        crs = _epsg(dataset.crs.to_wkt()) if dataset.crs is not None else ""
        if not crs or b or d or a <= 0 or e >= 0:
            raise TerraprobeError(
                f"{path}: CRS {dataset.crs}, transform {(a, b, left, d, e, top)}; an image needs a projected CRS with "
                "an EPSG code and north-up pixels. Unpack the archive again, or take the file out."
            )
        return crs, [a, b, left, d, e, top]


@lru_cache(maxsize=256)
def _epsg(wkt: str) -> str:
    """`EPSG:…` of a projected CRS, nothing for any other."""
    from rasterio.crs import CRS

    crs = CRS.from_wkt(wkt)
    code = crs.to_epsg() if crs.is_projected else None
    return f"EPSG:{code}" if code is not None else ""
