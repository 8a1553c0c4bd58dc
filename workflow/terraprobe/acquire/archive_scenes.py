"""Images of SEN12MS and DFC2020: a file each of Sentinel-2, Sentinel-1 and land cover, told apart by their names."""

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from terraprobe.acquire.archive_image import Files, Image
from terraprobe.archives import BESIDE, DFC2020_SPLITS, MAP_BANDS, scene_folders
from terraprobe.collections.split_rules import PARTS
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import MODALITIES
from terraprobe.stage import progress

_PREFIX = {"s2_l1c": "s2", "s1_grd": "s1"}
_MAP_PREFIX = {"sen12ms": "lc", "dfc2020": "dfc"}
_VAL_OF_5128 = 1000
"""[P] sec. Data of `sscl`: of the 5,128 images of the folder `test` 1,000 are for validation; it does not say which."""


def list_sen12ms(root: Path, folders: Mapping[str, Path]) -> Iterator[Image]:
    """Images of SEN12MS by region and scene, with the split of the authors' lists where these lie beside them."""
    splits, left = listed_splits(root, "sen12ms", lambda line: line.strip().removesuffix(".tif")), 0
    for image in _list("sen12ms", root, folders):
        split = splits.get(image.name, "")
        if splits and not split:
            left += 1
            continue
        yield Image(image.name, "", split, image.reference, image.files)
    if left:
        progress(f"{root}: {left} images stand in none of {', '.join(BESIDE['sen12ms'])} and are left out")


def list_dfc2020(root: Path, folders: Mapping[str, Path]) -> Iterator[Image]:
    """Images of DFC2020: those of the folder `validation` test, and of the folder `test` train and validate."""
    images = list(_list("dfc2020", root, folders))
    splits = {image.name: DFC2020_SPLITS["_".join(image.name.split("_")[:2])] for image in images}
    # By a hash of the name, so that it depends on nothing else. [D]
    train = sorted((n for n, part in splits.items() if part == "train"), key=lambda n: sha256(n.encode()).digest())
    splits.update(dict.fromkeys(train[: round(len(train) * _VAL_OF_5128 / 5128)], "val"))
    for image in images:
        yield Image(image.name, "", splits[image.name], image.reference, image.files)


def _list(archive: str, root: Path, folders: Mapping[str, Path]) -> Iterator[Image]:
    prefixes = {layer: _PREFIX.get(layer) or _MAP_PREFIX[archive] for layer in folders}
    for scene in scene_folders(archive, root):
        number = scene.name.partition("_")[2]
        there = {
            layer: {path.name for path in scene.with_name(f"{prefix}_{number}").glob("*.tif")}
            for layer, prefix in prefixes.items()
        }
        for name in sorted(there["s2_l1c"]):
            files: dict[str, Files] = {}
            for layer, prefix in prefixes.items():
                own = name.replace("_s2_", f"_{prefix}_")
                if own in there[layer]:
                    files[layer] = {scene.with_name(f"{prefix}_{number}") / own: _bands(archive, layer)}
            yield Image(Path(name).stem, "", "", scene / name, files)


def _bands(archive: str, layer: str) -> tuple[str, ...]:
    """Names of the bands of a file: of Sentinel-2 B8A stands after B8, which is the order of the modality."""
    return MODALITIES[layer].bands if layer in MODALITIES else MAP_BANDS[archive]


def listed_splits(root: Path, archive: str, image_of: Callable[[str], str]) -> dict[str, str]:
    """Image to split, of the lists that were published with an archive; nothing where they are not beside it.

    Args:
        root: of the archive.
        archive: whose lists.
        image_of: from a line of a list to the image that it names.

    Raises:
        TerraprobeError: some of the lists are there and others are not.
    """
    lists = BESIDE[archive]
    absent = [name for name in lists if not (root / name).is_file()]
    if len(absent) == len(lists):
        return {}
    if absent:
        raise TerraprobeError(
            f"{root}: {absent[0]} is absent, and its images would be left out. Put all of {', '.join(lists)} there, or "
            "none of them."
        )
    found: dict[str, str] = {}
    for part, name in zip(PARTS, lists, strict=True):
        found.update({image_of(line): part for line in (root / name).read_text().splitlines()})
    return found
