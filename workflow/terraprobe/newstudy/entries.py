"""Encoders at a size for the machine, and evaluations that fit the labels."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from terraprobe.newstudy.choices import Choices

CHIPS_SEEN = 40_000
"""Train chips that an encoder sees in all without a GPU: 20 epochs of 2,000. [D]"""

MOST_EPOCHS = 20
LARGE_CHIP_PX = 128
"""Chips that patches of 16 px, as in the paper of clip3, cut into enough pieces. [D]"""

FEW = (10, 100)
"""Numbers of labelled train chips."""

MOST_TASKS = 8
"""Forests each have their own task: of own classes the most frequent ones."""

_LEARN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
    "clip3": {"width": 64, "depth": 3, "heads": 4, "projection": 64, "lr": 5e-4, "val_batches": 4},
    "bioclim": {"width": 16, "blocks": [1, 1, 1, 1], "lr": 1e-3},
    "bioclim_supervised": {"width": 16, "blocks": [1, 1, 1, 1], "lr": 1e-3, "patience": 5},
    "rsbyol": {"width": 8, "blocks": [1, 1, 1, 1], "lr": 0.05, "val_batches": 4},
    "rsbyol_supervised": {"width": 8, "blocks": [1, 1, 1, 1], "lr": 1e-3, "val_batches": 4},
    "simsiam": {"features": 4, "width": 8, "blocks": [1, 1, 1, 1], "output_stride": 8, "aspp": 32,
                "aspp_rates": [1, 2, 3], "projection": 128, "hidden": 32, "val_batches": 4},
    "pixif": {"features": 4, "width": 8, "blocks": [1, 1, 1, 1], "output_stride": 8, "aspp": 32,
              "aspp_rates": [1, 2, 3], "projection": 32, "superpixel_px": 8, "val_batches": 4},
    "sscl_unifeat": {"features": 4, "projection": 16, "lr": 3e-3, "val_batches": 4},
    "sscl": {"features": 4, "width": 8, "blocks": [1, 1, 1, 1], "output_stride": 8, "aspp": 32,
             "aspp_rates": [1, 2, 3], "lr": 1e-3, "val_batches": 4},
    }
)  # fmt: skip
"""Networks of the quickstart's size, for machines without a GPU."""

SUPERVISED = ("bioclim_supervised", "rsbyol_supervised")
"""Methods that learn the labels themselves, and are judged by heads of their own."""

RADAR = {"modality": "s1_grd"}
_TEN = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
_FOUR = ["B02", "B04", "B08", "B11"]


def encoders(chosen: Choices) -> list[dict[str, Any]]:
    """Encoder entries of a study, in the order that they build on each other."""
    entries: list[dict[str, Any]] = []
    for method in chosen.methods:
        if method == "sscl":
            entries.append(_entry("sscl_unifeat", chosen))
        more = {"sscl": {"start": "sscl_unifeat"}, **{key: {"label": f"{chosen.layer}_class"} for key in SUPERVISED}}
        entries.append(_entry(method, chosen, more.get(method, {})))
    return entries


def _entry(method: str, chosen: Choices, more: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    machine, chip_px, train = chosen.machine, chosen.ground.chip_px, chosen.ground.train
    recipe: dict[str, Any] = {"towers": _towers(method, chosen)}
    if method.startswith("bioclim"):
        recipe["conditioning"] = "cbn"
    if method == "sscl_unifeat":
        recipe["crop_px"] = [chip_px * 3 // 8, chip_px // 2]
    if method == "pixif" and chip_px < 64:
        recipe["output_stride"] = 8  # its views are halves of a chip
    if method == "clip3" and (not machine.gpus or chip_px < LARGE_CHIP_PX):
        recipe["patch_px"] = 8
    if not machine.gpus:
        epochs = max(2, min(MOST_EPOCHS, CHIPS_SEEN // max(train, 1)))
        recipe |= {**_LEARN[method], "epochs": epochs, "batch_size": machine.batch_size}
        if method == "rsbyol":
            recipe["restart_epochs"] = epochs  # one cycle of the learning rate
    return {"name": method, "method": method, "collections": ["area"], **more, "recipe": recipe}


def _towers(method: str, chosen: Choices) -> Mapping[str, Mapping[str, Any]]:
    inputs = chosen.inputs
    if method == "clip3":
        return inputs.towers
    if method.startswith("bioclim"):
        return {"s2": {"modality": inputs.optical}}
    if method == "rsbyol_supervised":
        return {"rgb": {"modality": inputs.optical, "bands": ["B04", "B03", "B02"]}}
    if method == "rsbyol":
        return {"ms": {"modality": inputs.optical, "bands": _TEN}, "sar": {**RADAR, "bands": ["VV", "VH"]}}
    return {"s1": RADAR, "s2": {"modality": inputs.optical, **({} if chosen.machine.gpus else {"bands": _FOUR})}}


def evaluations(chosen: Choices) -> list[dict[str, Any]]:
    """Evaluation entries of a study: those that fit the labels and the methods."""
    methods, layer, train = chosen.methods, chosen.layer, chosen.ground.labelled["train"]
    own = [f"{layer}_{name}" for name in list(chosen.own.codes.values())[:MOST_TASKS]] if chosen.own else []
    sizes = [*(n for n in FEW if n < train), "full"]
    found: list[dict[str, Any]] = []

    def measure(name: str, probe: str, **keys: Any) -> None:
        found.append({"name": name, "probe": probe, "collection": "area", **keys})

    if not set(methods) <= set(SUPERVISED):
        measure("few_labels", "forest", tasks=own or ["croplands", "water"], sizes=sizes, repeats=5)
    if joint := [method for method in methods if method in ("sscl", "simsiam", "pixif")]:
        steps = {} if chosen.machine.gpus else {"steps": 300, "lrs": [0.1, 0.01]}
        measure("pixels", "segmentation", label=layer, encoders=joint, sizes=sizes[-2:], repeats=2, **steps)
    if "rsbyol" in methods:
        measure("bands", "mlp", label=f"{layer}_class", encoders=["rsbyol"], sizes=["full"], repeats=2)
    if set(methods) & set(SUPERVISED):
        measure("heads", "classifier", label=f"{layer}_class")
    if "bioclim" in methods:
        measure("images", "reconstruction", label=f"{layer}_class")
    return found
