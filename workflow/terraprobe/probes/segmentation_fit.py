"""One head on the features of one tower, or one fine-tuned tower: what it sees, how it is fitted, what it calls."""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from terraprobe.chips.store import ChipStore
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.models.segmenter import Segmenter, decoder_head, full_size, linear_head
from terraprobe.probes.labelled_pixels import UNKNOWN, LabelledLand
from terraprobe.stage import Recipe
from terraprobe.towers import CONCAT

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""[D] methods.md sec. 4 Evaluation: SGD .01, momentum .9, wd 5e-4; the decay also of Adam."""

BATCH, BATCH_VALUES = 64, 1 << 22
"""Chips a forward pass where nothing is learnt, and values (band, y, x of all chips) that they may have together."""

KEPT_BYTES = 2 << 30
"""Frozen features of a probe that take more than this are made anew in every step instead of being kept."""

_STREAMS = {"weights": 1, "order": 2}


class ProbeRecipe(Recipe):
    """How pixels are probed; keys as in the study file (`terraprobe.study.segmentations`).

    Attributes:
        evaluation: its name.
        collection: whose chips.
        label: layer of pixel classes.
        classes: name to the layer's classes that it stands for.
        strata: layer whose classes pixels are also scored by; empty: none.
        protocol: `linear`, `decoder` or `finetune`.
        bands: of towers that take a channel at a time, those that are probed; empty: all.
        towers: that are probed; empty: of a joint encoder all together, of any other each.
        sizes: numbers of labelled train chips, 0 = all.
        repeats: draws of each size.
        optimiser: `sgd` or `adam`.
        lrs: learning rates to choose from.
        steps: of the optimiser.
        batch_size: chips a step.
        random_inits: untrained twins.
        seed: of draws, heads and order.
        shown: test chips whose classes are kept for pictures.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    evaluation: str
    collection: str
    label: str
    classes: dict[str, tuple[str, ...]] = Field(min_length=2)
    strata: str = ""
    protocol: Literal["linear", "decoder", "finetune"] = "linear"
    bands: tuple[str, ...] = ()
    towers: tuple[str, ...] = ()
    sizes: tuple[int, ...]
    repeats: int = 1
    optimiser: Literal["sgd", "adam"] = "sgd"
    lrs: tuple[float, ...]
    steps: int
    batch_size: int
    random_inits: int = 0
    seed: int = 0
    shown: int = 12
    cpu_threads: int = 1


@dataclass(frozen=True)
class Unit:
    """What one probe sees of an encoder.

    Attributes:
        tower: which one; `concat`: all towers of a joint encoder together.
        band: of a tower that takes one channel at a time, which; empty: the tower takes all of them.
        sample: column of what `TowerInput.samples` gives.
        parts: towers that are given; of `concat` all that can see the collection.
    """

    tower: str
    band: str
    sample: int
    parts: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Tower and band."""
        return self.tower, self.band

    @property
    def title(self) -> str:
        """For people."""
        if self.tower == CONCAT:
            return f"towers {', '.join(self.parts)} together"
        return f"band {self.band} of tower {self.tower}" if self.band else f"tower {self.tower}"


Usable = Mapping[str, NDArray[np.bool_]]
"""Which (chip, sample) can go through each tower, of `Land.usable`."""


def units_of(encoder: Encoder, usable: Usable, recipe: ProbeRecipe) -> list[Unit]:
    """What of an encoder is probed: each tower that takes whole chips, and each band of any other.

    Of a joint encoder it is all towers together, and one alone where the recipe names it.

    Args:
        encoder: the encoder.
        usable: towers that can see the collection.
        recipe: which bands.

    Raises:
        TerraprobeError: nothing can be.
    """
    found = []
    for tower in usable:
        wanted = encoder.inputs[tower]
        if wanted.whole:
            found.append(Unit(tower, "", 0, (tower,)))
        elif not wanted.variable:
            named = [(k, band) for k, band in enumerate(wanted.bands) if not recipe.bands or band in recipe.bands]
            found += [Unit(tower, band, k, (tower,)) for k, band in named]
    if encoder.joint:
        together = Unit(CONCAT, "", 0, tuple(usable))
        found = [together, *found] if recipe.towers else [together]
    if recipe.towers:
        found = [unit for unit in found if unit.tower in recipe.towers]
    if not found:
        raise TerraprobeError(
            f"encoder {encoder.name}: no tower or band to probe among {', '.join(usable)}: their channels have no "
            f"names, or {recipe.evaluation} names others. Take the encoder out of it, or name other bands and towers."
        )
    return found


Sight = tuple[tuple[str, tuple[str, ...]], ...]
"""Modalities and bands that something sees, in order."""


def sight_of(encoder: Encoder, unit: Unit) -> Sight:
    """What a unit of an encoder sees."""
    inputs = [encoder.inputs[tower] for tower in unit.parts]
    return tuple((wanted.modality, (unit.band,) if unit.band else wanted.bands) for wanted in inputs)


def sight_text(sight: Sight) -> str:
    """The same as text, by which probes that see the same are put together; empty for nothing."""
    return "; ".join(f"{modality}: {', '.join(bands)}" for modality, bands in sight)


def seen_by(unit: Unit, usable: Usable) -> NDArray[np.bool_]:
    """Which chips a unit can see, (chip,)."""
    seen: NDArray[np.bool_] = np.logical_and.reduce([usable[tower][:, unit.sample] for tower in unit.parts])
    return seen


def prepare(
    encoder: Encoder,
    unit: Unit,
    stores: Mapping[str, ChipStore],
    chips: NDArray[np.intp],
    context: NDArray[np.float64] | None = None,
) -> tuple[Tensor, ...]:
    """What the tower of a unit takes, images first.

    Args:
        encoder: the encoder.
        unit: what is seen.
        stores: modality to the chips.
        chips: rows of the stores, (B,).
        context: that enters each chip of the stores, (chip, values).
    """
    if unit.tower == CONCAT:
        return (encoder.joint_images(stores, chips, unit.parts),)
    store = stores[encoder.inputs[unit.tower].modality]
    return encoder.prepare(unit.tower, store, chips, np.full_like(chips, unit.sample), context)


class View:
    """The chips of a collection as one unit of an encoder sees them.

    Args:
        encoder: the encoder, or a twin.
        labelled: the collection.
        unit: what is probed.
        seen: which chips can be seen, (chip,).
    """

    def __init__(self, encoder: Encoder, labelled: LabelledLand, unit: Unit, seen: NDArray[np.bool_]) -> None:
        self.encoder, self.labelled, self.unit, self.seen = encoder, labelled, unit, seen
        self._context = labelled.land.entering(encoder.inputs[unit.parts[0]])
        self.batch = batch_size(encoder, unit)
        self._kept: Tensor | None = None
        self._place = np.zeros(len(seen), np.intp)

    def inputs(self, chips: NDArray[np.intp]) -> tuple[Tensor, ...]:
        """What the tower takes, images first."""
        return prepare(self.encoder, self.unit, self.labelled.land.stores, chips, self._context)

    def features(self, chips: NDArray[np.intp]) -> Tensor:
        """What the frozen tower gives, (chip, C, h, w); of chips that were kept, where any were."""
        if self._kept is not None:
            return self._kept[self._place[chips]]
        return self.encoder.pixels(self.unit.parts[0], self.inputs(chips))

    def keep(self, chips: NDArray[np.intp]) -> None:
        """Make the features of all chips that will be asked for once, where they take little enough memory."""
        if self.features(chips[:1]).nbytes * len(chips) > KEPT_BYTES:
            return
        self._place[chips] = np.arange(len(chips))
        self._kept = torch.cat([self.features(part) for part in batches(chips, self.batch)])


def batches(chips: NDArray[np.intp], size: int = BATCH) -> Iterator[NDArray[np.intp]]:
    """Chips in order, some at a time."""
    return (chips[k : k + size] for k in range(0, len(chips), size))


def batch_size(encoder: Encoder, unit: Unit) -> int:
    """Chips a forward pass where nothing is learnt."""
    bands = sum(encoder.inputs[tower].sample_bands for tower in unit.parts)
    return max(1, min(BATCH, BATCH_VALUES // (bands * int(encoder.card["chip_px"]) ** 2)))


@dataclass(frozen=True)
class Fitted:
    """A fitted probe.

    Attributes:
        view: what it sees.
        segmenter: tower and head.
        frozen: whether the tower is the encoder's own.
        channels: of the features.
    """

    view: View
    segmenter: Segmenter
    frozen: bool
    channels: int

    def scores(self, chips: NDArray[np.intp]) -> Tensor:
        """Scores of each class at every pixel, (chip, class, y, x)."""
        if self.frozen:
            return full_size(self.segmenter.head(self.view.features(chips)), self.view.labelled.labels.chip_px)
        scores: Tensor = self.segmenter(*self.view.inputs(chips))
        return scores

    def call(self, chips: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Number of the class that every pixel is called, (chip, y, x)."""
        self.segmenter.eval()
        with torch.no_grad():
            found = [self.scores(part).argmax(dim=1).to(torch.uint8) for part in batches(chips, self.view.batch)]
        called: NDArray[np.uint8] = torch.cat(found).cpu().numpy()
        return called


def fit(view: View, chips: NDArray[np.intp], recipe: ProbeRecipe, lr: float, repeat: int) -> Fitted:
    """Fit one probe on labelled chips, for the recipe's number of steps.

    Args:
        view: what it sees.
        chips: train chips.
        recipe: how.
        lr: learning rate at the start; it falls to 0 by a cosine [D].
        repeat: which draw; equal seeds and repeats give equal heads and orders.
    """
    frozen = recipe.protocol != "finetune"
    with torch.random.fork_rng():
        torch.manual_seed(int(_sequence(recipe, "weights", repeat).generate_state(1)[0]))
        channels = view.features(chips[:1]).shape[1]
        head = build_head(recipe.protocol, channels, len(view.labelled.classes)).to(view.encoder.device)
        tower = view.encoder.module(view.unit.parts[0])
        segmenter = Segmenter(tower if frozen else copy.deepcopy(tower), head)
        fitted = Fitted(view, segmenter, frozen, channels)
        learning: nn.Module = head if frozen else segmenter
        optimiser = _optimiser(learning, recipe, lr)
        learning.train()
        for step, batch in enumerate(_order(chips, recipe, repeat)):
            for group in optimiser.param_groups:
                group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
            truth = torch.from_numpy(view.labelled.truth(batch)).to(view.encoder.device, torch.long)
            loss = F.cross_entropy(fitted.scores(batch), truth, ignore_index=UNKNOWN)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return fitted


def build_head(protocol: str, channels: int, classes: int) -> nn.Module:
    """A fresh head of a protocol."""
    return (decoder_head if protocol == "decoder" else linear_head)(channels, classes)


def _optimiser(module: nn.Module, recipe: ProbeRecipe, lr: float) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(module.parameters(), lr, weight_decay=WEIGHT_DECAY)
    return torch.optim.SGD(module.parameters(), lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def _order(chips: NDArray[np.intp], recipe: ProbeRecipe, repeat: int) -> Iterator[NDArray[np.intp]]:
    """Chips of each step: shuffled epochs, one after the other."""
    rng = np.random.Generator(np.random.PCG64(_sequence(recipe, "order", repeat)))
    size = min(recipe.batch_size, len(chips))
    left: NDArray[np.intp] = np.empty(0, np.intp)
    for _ in range(recipe.steps):
        if len(left) < size:
            left = rng.permutation(chips)
        yield left[:size]
        left = left[size:]


def _sequence(recipe: ProbeRecipe, stream: str, repeat: int) -> Any:
    return np.random.SeedSequence([recipe.seed, repeat, _STREAMS[stream]])
