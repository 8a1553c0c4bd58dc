"""Which images an unpacked archive holds: their files by band, their classes and the split they were published with."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from terraprobe.acquire.archive_image import Files, Image
from terraprobe.acquire.archive_scenes import list_dfc2020, list_sen12ms, listed_splits
from terraprobe.archiveclasses import BIGEARTHNET_CLASSES, CORINE_CLASSES
from terraprobe.archives import ARCHIVES, BESIDE, CLASS_FOLDERS, EUROSAT_BANDS, class_folders, layer_folder
from terraprobe.artifacts import read_table
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import MODALITIES
from terraprobe.stage import progress

_ORDER = tuple(BIGEARTHNET_CLASSES.values())
_PARTS = {"train": "train", "validation": "val", "test": "test"}
"""How BigEarthNet v2 calls the splits."""

_NO_ROW: Mapping[str, Any] = {"labels": (), "split": "", "s1_name": ""}


def list_images(archive: str, root: Path, layers: Sequence[str]) -> list[Image]:
    """Images of an archive by name.

    Args:
        archive: its name.
        root: its unpacked folder.
        layers: modalities and label layers whose files are wanted beside those of the archive's first modality.

    Raises:
        TerraprobeError: a folder, a file or a class is not what the archive has.
    """
    try:
        wanted = dict.fromkeys((next(iter(ARCHIVES[archive].folders)), *layers))
        folders = {modality: layer_folder(archive, root, modality) for modality in wanted}
    except ValueError as error:
        raise TerraprobeError(f"{error}.") from error
    images = sorted(_LISTS[archive](root, folders), key=lambda image: image.name)
    if not images:
        raise TerraprobeError(f"{root}: holds no image. Unpack the archive into this folder.")
    twice = next((a.name for a, b in pairwise(images) if a.name == b.name), "")
    if twice:
        raise TerraprobeError(f"{root}: two images are called {twice}. Take one of them out.")
    return images


def _by_class(archive: str, root: Path, folders: Mapping[str, Path]) -> Iterator[Image]:
    """Images of an archive that is a folder of files for each class."""
    ((layer, home),) = folders.items()
    classes, suffix = CLASS_FOLDERS[archive]
    known = class_folders(archive, home)
    foreign = [f.name for f in sorted(home.iterdir()) if f not in known and f.is_dir() and any(f.glob(f"*{suffix}"))]
    if foreign:
        title = ARCHIVES[archive].title.partition(" ")[0]
        raise TerraprobeError(
            f"{home}: {foreign[0]} is no class of {title}; allowed {', '.join(classes)}. Take it out."
        )
    bands = EUROSAT_BANDS if archive == "eurosat" else MODALITIES[layer].bands
    splits = listed_splits(root, archive, lambda line: Path(line.strip()).stem)
    left = 0
    for folder in known:
        for path in folder.iterdir():
            if path.suffix != suffix or path.name.startswith("."):
                continue
            if splits and path.stem not in splits:
                left += 1
                continue
            yield Image(path.stem, classes[folder.name], splits.get(path.stem, ""), path, {layer: {path: bands}})
    _say_left(root, left, f"of {', '.join(BESIDE[archive])}")


def _bigearthnet_v1(root: Path, folders: Mapping[str, Path]) -> Iterator[Image]:
    splits = listed_splits(root, "bigearthnet_v1", lambda line: line.partition(",")[0].strip())
    partners = _partners(folders["s1_grd"]) if "s1_grd" in folders else {}
    left = 0
    for folder in _subfolders(folders["s2_l2a"]):
        split = splits.get(folder.name, "")
        if splits and not split:
            left += 1
            continue
        named = [_known(folder, name, CORINE_CLASSES) for name in _json(folder, "labels")]
        yield _bigearthnet_image(folder, partners.get(folder.name), named, split, folders)
    _say_left(root, left, f"of train.csv, val.csv and test.csv{_SPOILT}")


def _bigearthnet_v2(root: Path, folders: Mapping[str, Path]) -> Iterator[Image]:
    rows = _metadata(root / BESIDE["bigearthnet_v2"][0])
    left = 0
    for scene in _subfolders(folders["s2_l2a"]):
        for folder in _subfolders(scene):
            row = rows.get(folder.name) if rows is not None else _NO_ROW
            if row is None:
                left += 1
                continue
            named = [_known(folder, name, BIGEARTHNET_CLASSES) for name in row["labels"]]
            partner = _v2_partner(folders.get("s1_grd"), str(row["s1_name"]))
            yield _bigearthnet_image(folder, partner, named, _PARTS.get(str(row["split"]), ""), folders)
    _say_left(root, left, f"of metadata.parquet{_SPOILT}")


_SPOILT = " (snow, cloud, shadow, no class)"


def _say_left(root: Path, left: int, lists: str) -> None:
    if left:
        progress(f"{root}: {left} images stand in no row {lists} and are left out")


_LISTS: Mapping[str, Callable[[Path, Mapping[str, Path]], Iterator[Image]]] = {
    **{name: partial(_by_class, name) for name in CLASS_FOLDERS},
    "bigearthnet_v1": _bigearthnet_v1,
    "bigearthnet_v2": _bigearthnet_v2,
    "sen12ms": list_sen12ms,
    "dfc2020": list_dfc2020,
}


def _bigearthnet_image(
    folder: Path, partner: Path | None, classes: Sequence[str], split: str, folders: Mapping[str, Path]
) -> Image:
    files = {"s2_l2a": _band_files(folder, "s2_l2a")}
    if "s1_grd" in folders and partner is not None:
        files["s1_grd"] = _band_files(partner, "s1_grd")
    text = " ".join(name for name in _ORDER if name in classes)
    return Image(folder.name, text, split, folder / f"{folder.name}_B02.tif", files)


def _band_files(folder: Path, layer: str) -> Files:
    """The file of each band of a folder that holds one image of BigEarthNet."""
    files: Files = {folder / f"{folder.name}_{band}.tif": (band,) for band in MODALITIES[layer].bands}
    there = {path.name for path in folder.iterdir()}
    absent = [path for path in files if path.name not in there]
    if absent:
        bands = ", ".join(band for path in absent for band in files[path])
        raise TerraprobeError(
            f"{folder}: band {bands} of {layer} is missing, there is no {absent[0].name}. Unpack the archive again, or "
            "name the image in a file of exclude."
        )
    return files


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _json(folder: Path, key: str) -> Any:
    """One entry of an image's own JSON."""
    path = folder / f"{folder.name}_labels_metadata.json"
    try:
        return json.loads(path.read_text())[key]
    except FileNotFoundError as error:
        raise TerraprobeError(f"{folder}: no {path.name}, which holds its classes. Unpack it again.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise TerraprobeError(f"{path}: no JSON with {key} ({error!r}). Unpack it again.") from error


def _known(where: Path, name: str, classes: Mapping[str, str]) -> str:
    if name not in classes:
        raise TerraprobeError(
            f"{where}: class {name!r}, which is none of the {len(classes)} of its archive (see archives.py). Is it "
            "another version of BigEarthNet?"
        )
    return classes[name]


def _partners(folder: Path) -> dict[str, Path]:
    """Sentinel-2 image to the folder of its Sentinel-1 image, which names it in its own JSON."""
    return {str(_json(path, "corresponding_s2_patch")): path for path in _subfolders(folder)}


def _metadata(path: Path) -> dict[str, Mapping[str, Any]] | None:
    """Rows of `metadata.parquet` by image; None where there is no such table."""
    if not path.is_file():
        return None
    table = read_table(path)
    absent = [name for name in ("patch_id", "labels", "split", "s1_name") if name not in table]
    if absent:
        raise TerraprobeError(f"{path}: no column {absent[0]}. Give the table that BigEarthNet v2 comes with.")
    rows = table[["patch_id", "labels", "split", "s1_name"]].to_dict("records")
    return {str(row["patch_id"]): row for row in rows}


def _v2_partner(folder: Path | None, name: str) -> Path | None:
    """Folder of a Sentinel-1 image: below that of its acquisition, whose name is the image's without tile and place."""
    if folder is None or not name:
        return None
    partner = folder / name.rsplit("_", 3)[0] / name
    return partner if partner.is_dir() else None
