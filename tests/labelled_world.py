"""The small world of the tests of training, with a class of every pixel that one band gives away."""

from pathlib import Path
from typing import Any

import numpy as np

from pretraining import CHIPS, SIDE, make_optical
from terraprobe.artifacts import read_table, write_table
from terraprobe.chips.store import ChipStore, StoreLayer, seal, write_shard
from terraprobe.modalities import LABELS

WATER, TREE, CROP = 80, 10, 40
CLASSES = {"tree": ["tree"], "crop": ["crop"], "water": ["water"]}
UNLABELLED_CHIP = 6  # of the train split


def make_labelled(root: Path) -> Path:
    """Chips of 13 bands whose darkest pixels are water and whose brightest are crops; left columns have no label."""
    make_optical(root)
    store = ChipStore.open(root / "chips/s2_l1c")
    bright = np.stack([store.chip(chip)[3] for chip in range(CHIPS)])
    codes = np.where(np.nan_to_num(bright) < 0.28, WATER, np.where(np.nan_to_num(bright) > 0.36, CROP, TREE))
    codes[:, :, :3] = LABELS["worldcover"].nodata
    codes[UNLABELLED_CHIP] = LABELS["worldcover"].nodata
    write_labels(root, codes)
    chips = read_table(root / "chips.parquet")
    write_table(root / "chips.parquet", chips.assign(block=chips["chip_id"]))
    return root


def write_labels(root: Path, codes: np.ndarray) -> None:
    """Write and seal the label store, (chip, y, x)."""
    folder, layer = root / "labels/worldcover", LABELS["worldcover"]
    folder.mkdir(parents=True, exist_ok=True)
    valid = (codes != layer.nodata).mean(axis=(1, 2))[:, None].astype(np.float32)
    write_shard(folder, "000", codes[:, None].astype(layer.dtype), valid)
    described = StoreLayer(layer.name, (layer.name,), layer.unit, 1.0, 0.0, layer.nodata, layer.dtype, False)
    seal(folder, described, SIDE, {"000": len(codes)})


def codes_of(root: Path) -> np.ndarray:
    """Codes of every pixel, (chip, y, x)."""
    store = ChipStore.open(root / "labels/worldcover")
    return store.whole(np.arange(len(store)))[:, 0].copy()


def inputs(root: Path, encoder: Path, **other: Any) -> dict[str, Any]:
    """What the stages of one encoder read."""
    return {
        "chips": root / "chips.parquet", "stores": [root / "chips/s2_l1c/spec.json"],
        "context": [root / "context.parquet"], "truth": root / "labels/worldcover/spec.json",
        "card": encoder / "card.json", "weights": encoder / "encoder.safetensors", **other,
    }  # fmt: skip
