"""EuroSAT RGB and NWPU-RESISC45, generated in their official layouts, zipped as they are published.

Layouts: `EuroSAT_RGB/AnnualCrop/AnnualCrop_1.jpg` (EuroSAT_RGB.zip, doi 10.5281/zenodo.7711810), and
`NWPU-RESISC45/airplane/airplane_001.jpg` (torchgeo 067ae1af, datasets/resisc45.py).
"""

import io
import zipfile
from hashlib import sha256

import numpy as np
from PIL import Image

SIDES = {"eurosat_rgb": 64, "resisc45": 256}
TOPS = {"eurosat_rgb": "EuroSAT_RGB", "resisc45": "NWPU-RESISC45"}
CLASSES = {"eurosat_rgb": ("Forest", "Highway", "SeaLake"), "resisc45": ("airplane", "beach", "wetland")}
"""Some of the classes, which are enough to be an archive."""


def picture(name, side):
    """A JPEG whose colour tells its class and whose texture its name: bytes."""
    seed = int.from_bytes(sha256(name.encode()).digest()[:4])
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(sum(name.partition("_")[0].encode())).integers(40, 200, 3)
    coarse = rng.integers(-40, 40, (side // 8, side // 8, 3)).repeat(8, 0).repeat(8, 1)
    pixels = np.clip(base + coarse, 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=90)
    return content.getvalue()


def names(archive, per_class):
    """Class and name of each image."""
    digits = 3 if archive == "resisc45" else 0
    return [(c, f"{c}_{k:0{digits}d}") for c in CLASSES[archive] for k in range(1, per_class + 1)]


def zipped(path, archive, per_class):
    """Write the archive's zip file."""
    with zipfile.ZipFile(path, "w") as target:
        for folder, name in names(archive, per_class):
            target.writestr(f"{TOPS[archive]}/{folder}/{name}.jpg", picture(name, SIDES[archive]))
    return path


def write_lists(root, archive, per_class):
    """The published lists beside the images: of each class all but two train, one validates, one tests."""
    stem = "eurosat" if archive == "eurosat_rgb" else archive
    parts = {"train": [], "val": [], "test": []}
    for _, name in names(archive, per_class):
        number = int(name.rpartition("_")[2])
        parts["val" if number == 1 else "test" if number == 2 else "train"].append(f"{name}.jpg\n")
    for part, lines in parts.items():
        (root / f"{stem}-{part}.txt").write_text("".join(lines))
