"""A small world for the tests of training and embedding: 40 chips of 32 px that share one latent pattern."""

import os
import signal
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from terraprobe.artifacts import read_table, write_table
from terraprobe.chips.store import StoreLayer, seal, write_shard
from terraprobe.collections.chiptable import CONTEXT
from terraprobe.modalities import MODALITIES
from terraprobe.train import PretrainRecipe, pretrain_encoder

CHIPS, SIDE = 40, 32
POISON = 7777
"""DN of every pixel of an unusable channel: none may ever be read."""

TINY: dict[str, Any] = {
    "width": 16,
    "depth": 2,
    "heads": 2,
    "patch_px": 8,
    "projection": 8,
    "epochs": 4,
    "batch_size": 8,
    "lr": 1e-3,
    "val_batches": 2,
}
TINY_BIOCLIM: dict[str, Any] = {
    "width": 4,
    "blocks": [1, 1],
    "epochs": 4,
    "batch_size": 8,
    "lr": 1e-3,
    "val_batches": 2,
}
TINY_SUPERVISED = {**TINY_BIOCLIM, "classes": ["dark", "mid", "bright"]}
TINY_RSBYOL: dict[str, Any] = {
    "width": 4,
    "blocks": [1, 1, 1, 1],
    "hidden": 16,
    "projection": 8,
    "epochs": 4,
    "batch_size": 8,
    "lr": 0.05,
    "restart_epochs": 1,
    "val_batches": 2,
}
TINY_SCRATCH: dict[str, Any] = {
    "width": 4,
    "blocks": [1, 1, 1, 1],
    "hidden": 8,
    "classes": ["dark", "mid", "bright"],
    "epochs": 4,
    "batch_size": 8,
    "lr": 1e-3,
    "val_batches": 2,
}
TINY_JOINT: dict[str, Any] = {
    "towers": {
        "s1": {"modality": "s1_grd_monthly", "bands": ["m2_VV"]},
        "s2": {"modality": "s2_rgb_monthly", "bands": ["m2_B04", "m1_B02"]},
    },
    "features": 2,
    "epochs": 3,
    "batch_size": 4,
    "lr": 1e-3,
    "val_batches": 2,
}
TINY_DEEPLAB = {**TINY_JOINT, "width": 2, "blocks": [1, 1, 1, 1], "output_stride": 8, "aspp": 8, "aspp_rates": [1, 2]}
TINY_PIXIF = {**TINY_DEEPLAB, "projection": 8, "superpixel_px": 4}
TINY_UNIFEAT = {**TINY_JOINT, "projection": 4, "crop_px": [8, 16]}
CHANNELS = {"s2_rgb_monthly": 9, "s1_grd_monthly": 9, "s1_coherence": 4}


def make_store(folder: Path, modality: str, pixels: np.ndarray, valid: np.ndarray, **other: Any) -> Path:
    """Write and seal a store; `other` replaces what the modality table says of it."""
    entry = MODALITIES[modality]
    known = {
        "name": modality, "bands": entry.bands, "unit": entry.unit, "scale": entry.scale, "offset": entry.offset,
        "nodata": entry.nodata, "dtype": entry.dtype, "variable": entry.variable,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(folder, "000", pixels.astype(entry.dtype), valid)
    seal(folder, StoreLayer(**(known | other)), pixels.shape[-1], {"000": len(pixels)})
    return folder / "spec.json"


def make_collection(
    root: Path, seed: int = 0, modalities: tuple[str, ...] = tuple(CHANNELS), order: Any = None
) -> Path:
    """Write `chips.parquet` and stores; some channels and some modalities are missing. Returns the folder."""
    rng = np.random.default_rng(seed)
    pattern = rng.normal(size=(CHIPS, 1, SIDE // 8, SIDE // 8)).repeat(8, 2).repeat(8, 3)
    order = np.arange(CHIPS) if order is None else order
    for modality in modalities:
        entry, channels = MODALITIES[modality], CHANNELS[modality]
        noise = rng.normal(size=(CHIPS, channels, SIDE, SIDE))
        dn = np.round(2000 + 300 * pattern + 30 * noise).astype(entry.dtype)
        dn[rng.random(dn.shape) < 0.02] = entry.nodata
        valid = np.full((CHIPS, channels), 0.98, np.float32)
        gone = rng.random(valid.shape) < 0.2
        gone[2] = modality != "s2_rgb_monthly"  # chip 2 is in no pair
        gone[5] = modality == "s1_coherence"
        dn[gone], valid[gone] = POISON, 0.3
        make_store(root / "chips" / modality, modality, dn[order], valid[order])
    _write_chips(root, np.arange(CHIPS)[order])
    return root


def _write_chips(root: Path, rows: Any) -> None:
    frame = gpd.GeoDataFrame(
        {
            "chip_id": [f"chip{row:03d}" for row in rows],
            "split": np.array(["train", "train", "train", "val", "test"])[rows % 5],
        },
        geometry=[shapely.box(row * 0.01, 0, row * 0.01 + 0.01, 0.01) for row in rows],
        crs=4326,
    )
    write_table(root / "chips.parquet", frame)


def make_optical(root: Path, seed: int = 0, order: Any = None) -> Path:
    """Write chips of 13 bands and their context; chip 1 lacks band B10, chip 2 a climate value. Returns the folder.

    Brightness follows the first value of the context, so that context can help.
    """
    rng = np.random.default_rng(seed)
    order = np.arange(CHIPS) if order is None else order
    context = rng.uniform(-10, 30, (CHIPS, len(CONTEXT)))
    pattern = rng.normal(size=(CHIPS, 1, SIDE // 8, SIDE // 8)).repeat(8, 2).repeat(8, 3)
    noise = rng.normal(size=(CHIPS, 13, SIDE, SIDE))
    dn = np.round(3000 + 40 * context[:, :1, None, None] + 600 * pattern + 60 * noise)
    dn[rng.random(dn.shape) < 0.02] = MODALITIES["s2_l1c"].nodata
    valid = np.full((CHIPS, 13), 0.98, np.float32)
    dn[1, 10], valid[1, 10] = POISON, 0.3
    context[2, 4] = np.nan
    make_store(root / "chips/s2_l1c", "s2_l1c", dn[order], valid[order])
    _write_chips(root, np.arange(CHIPS)[order])
    table = pd.DataFrame(context, columns=list(CONTEXT))
    table.insert(0, "chip_id", [f"chip{row:03d}" for row in range(CHIPS)])
    write_table(root / "context.parquet", table)
    return root


def make_pairs(root: Path, seed: int = 0) -> Path:
    """Write chips of Sentinel-2 and Sentinel-1 that share a pattern; returns the folder.

    Chip 1 lacks all SAR, chip 2 VH, chip 3 all MS bands but B02 and B03, chip 5 B04.
    """
    rng = np.random.default_rng(seed)
    pattern = rng.normal(size=(CHIPS, 1, SIDE // 8, SIDE // 8)).repeat(8, 2).repeat(8, 3)
    lost = {"s2_l1c": [(3, slice(3, 13)), (3, 0), (5, 3)], "s1_grd": [(1, slice(None)), (2, 1)]}
    for modality, middle, spread in (("s2_l1c", 3000, 900), ("s1_grd", -2400, 600)):
        channels = len(MODALITIES[modality].bands)
        dn = np.round(middle + spread * pattern + spread / 10 * rng.normal(size=(CHIPS, channels, SIDE, SIDE)))
        valid = np.full((CHIPS, channels), 0.98, np.float32)
        for gone in lost[modality]:
            dn[gone], valid[gone] = POISON, 0.3
        make_store(root / "chips" / modality, modality, dn, valid)
    _write_chips(root, np.arange(CHIPS))
    return root


def add_classes(root: Path) -> Path:
    """Write `labels.parquet`: classes by the first value of the context; chip 3 (val) and chip 5 have none."""
    chips, context = read_table(root / "chips.parquet"), read_table(root / "context.parquet").set_index("chip_id")
    value = context["bio01"].reindex(chips["chip_id"]).to_numpy()
    names = np.array(["dark", "mid", "bright"], object)[np.digitize(value, [5.0, 18.0])]
    names[chips["chip_id"].isin(["chip003", "chip005"]).to_numpy()] = None
    several = np.array(
        [None if name is None else f"{name} wet" if k % 2 else name for k, name in enumerate(names)], object
    )
    table = {"chip_id": chips["chip_id"], "cover_class": names, "cover_classes": several}
    write_table(root / "labels.parquet", pd.DataFrame(table))
    return root


def specs(collection: Path) -> list[Path]:
    """`spec.json` of every store of a collection."""
    return sorted(collection.glob("chips/*/spec.json"))


def pretrain(
    collection: Path, out: Path, seed: int = 0, method: str = "clip3", start: Path | None = None, **overrides: Any
) -> Path:
    """Train a tiny encoder, with the collection's context where it has one; returns the encoder's folder."""
    small = {
        "clip3": TINY,
        "bioclim": TINY_BIOCLIM,
        "bioclim_supervised": TINY_SUPERVISED,
        "rsbyol": TINY_RSBYOL,
        "rsbyol_supervised": TINY_SCRATCH,
        "sscl_unifeat": TINY_UNIFEAT,
        "sscl": TINY_DEEPLAB,
        "simsiam": TINY_DEEPLAB,
        "pixif": TINY_PIXIF,
    }[method]
    supervised = method.endswith("_supervised")
    recipe = PretrainRecipe(
        method=method,
        collections=[collection.name],
        seed=seed,
        recipe={**small, **overrides},
        label=("cover_classes" if overrides.get("multi_label") else "cover_class") if supervised else "",
    )
    pretrain_encoder(
        chips=[collection / "chips.parquet"],
        stores=specs(collection),
        context=sorted(collection.glob("context.parquet")),
        labels=[collection / "labels.parquet"] if supervised else [],
        start=[start / "card.json", start / "encoder.safetensors"] if start else [],
        recipe=recipe,
        weights=out / "encoder.safetensors",
        card=out / "card.json",
        history=out / "history.parquet",
    )
    return out


def in_child(work: Any) -> int:
    """Run `work()` in a child process; returns its status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            work()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def make_land(method: str, root: Path) -> tuple[Path, dict[str, Any]]:
    """Write what a method can train on; returns the folder, and what `pretrain` is given besides the method."""
    optical = ("bioclim", "bioclim_supervised", "rsbyol_supervised")
    land = (make_optical if method in optical else make_pairs if method == "rsbyol" else make_collection)(root)
    if method.endswith("_supervised"):
        add_classes(land)
    return land, {"conditioning": "cbn"} if method.startswith("bioclim") else {}


MOMENTS = ("after the step", "half a state written", "before the rename")


def kill_at(step: int, moment: str) -> None:
    """Make this process die at a step: after it, while its state is written, or between two renames."""
    from terraprobe.loop import Trainer

    real_step, real_write, real_replace = Trainer._train_step, Path.write_bytes, Path.replace
    prefix = f".step-{step:09d}-"  # of the temporary name of its state

    def train_step(self: Trainer) -> None:
        real_step(self)
        if self.step == step and moment == MOMENTS[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_bytes(self: Path, content: Any) -> int:
        if self.name.startswith(prefix) and moment == MOMENTS[1]:
            real_write(self, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real_write(self, content)

    def replace(self: Path, target: Path) -> Path:
        if self.name.startswith(prefix) and moment == MOMENTS[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real_replace(self, target)

    Trainer._train_step, Path.write_bytes, Path.replace = train_step, write_bytes, replace


def signal_at(step: int, number: int) -> None:
    """Make this process send itself a signal after a step."""
    from terraprobe.loop import Trainer

    real = Trainer._train_step

    def train_step(self: Trainer) -> None:
        real(self)
        if self.step == step:
            os.kill(os.getpid(), number)

    Trainer._train_step = train_step


def pretrain_until_killed(step: int, *args: Any, **options: Any) -> None:
    """`pretrain`, whose process is killed after a step; for a child process alone."""
    signal_at(step, signal.SIGKILL)
    pretrain(*args, **options)
