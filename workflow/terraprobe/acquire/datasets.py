"""Datasets that come as zip files: fetched, unpacked without trust, checked, kept once for all studies."""

import shutil
from pathlib import Path
from typing import Any

from terraprobe.acquire.http import download_all, explain_writes
from terraprobe.acquire.manifest import write_manifest
from terraprobe.acquire.partial import hold
from terraprobe.acquire.remote import EnvironmentSession, RemoteFile, Terms, shown
from terraprobe.acquire.unpack import unpack
from terraprobe.artifacts import atomic_path
from terraprobe.errors import TerraprobeError
from terraprobe.sources import Download, Expects
from terraprobe.stage import Out, Outs, Recipe, progress


class DatasetRecipe(Recipe):
    """Recipe of `fetch_dataset`.

    Attributes:
        dataset: a name of the registry.
        version: as its provider calls it.
        licence: as its provider states it.
        downloads: the zip files that make it up.
    """

    dataset: str
    version: str
    licence: str
    downloads: tuple[Download, ...]


def fetch_dataset(*, recipe: DatasetRecipe, files: Outs, manifest: Out) -> None:
    """Fetch the zip files of a dataset and keep the files in them that are wanted.

    Args:
        recipe: which, and where they come from.
        files: one path for each member of each download, in the folder of the manifest or its sub-folders.
        manifest: JSON: where the files come from, and bytes, SHA-256 and status of each. Written last.

    Raises:
        TerraprobeError: a zip file cannot be fetched or is refused, or a file in it is not what it should be. Nothing
            of that zip is then left under a final name by this call.
    """
    folder = manifest.parent
    named = {folder / part.into / name: part for part in recipe.downloads for name in part.members}
    if set(named) != set(files):
        raise TerraprobeError(f"fetch_dataset {recipe.dataset}: asked for {sorted(files)}, it has {sorted(named)}.")
    zips = {folder / f".{recipe.dataset}-{k}.zip": part for k, part in enumerate(recipe.downloads)}
    session = EnvironmentSession()
    wanted = {path: RemoteFile(part.urls, part.bytes, part.sha256, part.md5) for path, part in zips.items()}
    with explain_writes(manifest), hold(manifest, f"{recipe.dataset}: another job fetches it; waiting"):
        download_all(recipe.dataset, wanted, Terms(session, check=require_zip))
        for path, part in zips.items():
            keep_members(path, part, folder / part.into)
        _describe(recipe, named, manifest)
        for path in zips:
            path.unlink()
    progress(f"{recipe.dataset}: {len(files)} files in {folder}")


def _describe(recipe: DatasetRecipe, named: dict[Path, Download], manifest: Path) -> None:
    """Write the manifest of files that are in place."""
    rows = [
        (str(path.relative_to(manifest.parent)), recipe.dataset, {"source": shown(part.urls[0]), "status": "ok"})
        for path, part in named.items()
    ]
    source = {"dataset": recipe.dataset, "version": recipe.version, "licence": recipe.licence, "credentials": "none"}
    write_manifest(manifest, source, rows)


def require_zip(path: Path) -> None:
    """Refuse what does not end as a zip file.

    Raises:
        TerraprobeError: it does not.
    """
    import zipfile

    if not zipfile.is_zipfile(path):
        raise TerraprobeError("it is no whole zip file")


def keep_members(archive: Path, part: Download, folder: Path) -> None:
    """Unpack what is wanted of a zip file, check it, and put it in place; a file of that name is replaced.

    Raises:
        TerraprobeError: the zip file is refused (and deleted), a file in it is not what it should be, or the disk is
            full.
    """
    scratch = archive.with_suffix(".unpack")  # of a name that does not change: what a kill left behind goes
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with explain_writes(scratch):
            scratch.mkdir()
            for path in _unpack_checked(archive, part, scratch):
                with atomic_path(folder / path.name) as temporary:
                    path.replace(temporary)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack_checked(archive: Path, part: Download, scratch: Path) -> list[Path]:
    try:
        unpacked = unpack(archive, scratch, part.members)
        for path in unpacked:
            _check(path, part.expects)
    except TerraprobeError:
        archive.unlink()
        raise
    return unpacked


def _check(path: Path, expects: Expects) -> None:
    """Refuse a raster or vector file that is not what it should be; its companions go unchecked."""
    if path.suffix == ".tif":
        found = _describe_raster(path)
    elif path.suffix == ".shp":
        found = _describe_vector(path, expects.field)
    else:
        return
    wrong = {key: (found[key], value) for key, value in expects.model_dump().items() if value and found[key] != value}
    if wrong:
        said = "; ".join(f"{key} {seen}, expected {value}" for key, (seen, value) in wrong.items())
        raise TerraprobeError(f"{path.name}: {said}. Is it another version? Nothing was kept of its zip file.")


def _describe_raster(path: Path) -> dict[str, Any]:
    import rasterio

    try:
        with rasterio.open(path) as dataset:
            dataset.read(1)
            crs = dataset.crs.to_string() if dataset.crs else "none"
            return {"crs": crs, "width": dataset.width, "height": dataset.height}
    except rasterio.errors.RasterioError as error:
        raise TerraprobeError(f"{path.name}: no whole raster ({error}). Nothing was kept of its zip file.") from error


def _describe_vector(path: Path, field: str) -> dict[str, Any]:
    import pyogrio
    from pyproj import CRS

    try:
        info = pyogrio.read_info(path)
    except pyogrio.errors.DataSourceError as error:
        raise TerraprobeError(f"{path.name}: no vector file ({error}). Nothing was kept of its zip file.") from error
    code = CRS.from_user_input(info["crs"]).to_epsg() if info["crs"] else None
    return {"crs": f"EPSG:{code}", "field": field if field in info["fields"] else "none"}
