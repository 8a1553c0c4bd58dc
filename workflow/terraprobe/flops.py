"""What training costs, counted and not timed: floating-point operations of a step, read off the step itself.

Matrix products, convolutions and attention count, a multiplication and an addition as two, forwards and backwards, as
PyTorch's own counter has them; what is recomputed backwards counts again. What an element-wise function takes does not:
it waits for memory. Equal recipes give equal numbers on any machine, which no time does.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from terraprobe.chips.cut import store_layer
from terraprobe.collections.chiptable import CONTEXT
from terraprobe.conditioning import ContextScale, Places
from terraprobe.methods import load_method
from terraprobe.modalities import MODALITIES
from terraprobe.pool import ChipPool

TRIED = (2, 4)
"""Chips of the steps that are counted. Similarities over a batch grow with its square, all else in step with it, so two
batches tell both parts, and a batch of any size from them, without the memory of a large one."""

_HALF = 0.5
"""Stands for every random number of a step: crops of the middle size, one of the middle bands."""


def flops_per_chip(method: str, recipe: Any, chip_px: int, batch_size: int) -> float:
    """Floating-point operations that a train chip takes in one pass of a training.

    Args:
        method: name of the method table.
        recipe: its recipe, whole.
        chip_px: side of the chips.
        batch_size: chips a step.

    Raises:
        TerraprobeError: the recipe does not fit chips of that side.
    """
    few, more = TRIED
    one, other = (_step_flops(method, recipe, chip_px, count) / count for count in TRIED)
    slope = (other - one) / (more - few)
    return one + slope * (batch_size - few)


def _step_flops(method: str, recipe: Any, chip_px: int, count: int) -> int:
    kind, pool = load_method(method), BlankPool(recipe, chip_px, count)
    chips = np.arange(count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = kind(recipe, kind.fit_inputs(recipe, pool, chips, 0), pool.layers, chip_px)
    built.network.train()
    batch = built.fetch(pool, chips, np.full((count, built.draws), _HALF))
    with FlopCounterMode(display=False) as counter:
        built.loss(batch).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


class BlankPool(ChipPool):
    """Chips that hold every band that a recipe asks for, and nothing in them: a step on them costs what any does.

    Args:
        recipe: of a method.
        chip_px: side of the chips.
        count: number of chips.
    """

    def __init__(self, recipe: Any, chip_px: int, count: int) -> None:
        names = sorted({tower.modality for tower in recipe.towers.values()})
        self.collections, self.chip_px = ["none"], chip_px
        self.layers = {name: store_layer(MODALITIES[name]) for name in names}
        self.chip_ids, self.split = np.arange(count).astype(str), np.full(count, "train")
        self.context = np.random.Generator(np.random.PCG64(0)).random((count, len(CONTEXT)))
        self.classes = np.full(count, getattr(recipe, "classes", ("",))[0])

    def __len__(self) -> int:
        return len(self.chip_ids)

    @cached_property
    def places(self) -> list[Places]:
        """The chips as context sees them, without a region."""
        import pandas as pd

        return [Places(pd.DataFrame({"chip_id": self.chip_ids, "split": self.split, "region": ""}), self.context)]

    def entering(self, scale: ContextScale) -> NDArray[np.float64]:
        """As many values as enter, whatever they stand for, (chip, values)."""
        return self.context[:, : len(scale.names)]

    def usable(self, modality: str) -> NDArray[np.bool_]:
        """Every channel of every chip."""
        return np.ones((len(self), len(self.layers[modality].bands)), np.bool_)

    def digital(self, modality: str, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """The same DN at every pixel, one that is not nodata."""
        layer = self.layers[modality]
        return np.full((len(chips), self.chip_px, self.chip_px), 0 if layer.nodata else 1, layer.dtype)
