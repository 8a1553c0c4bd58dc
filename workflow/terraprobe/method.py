"""What every pretraining method gives the training loop, and the settings that they all have.

Nothing here or in a method's file imports torch at its top: a study file is checked against the recipes in every
Snakemake process, and torch takes seconds to import.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.errors import TerraprobeError
from terraprobe.health import RANK_SHARE
from terraprobe.stage import Recipe
from terraprobe.towers import SHARED

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool
    from terraprobe.towers import TowerRecipe

Batch = Mapping[str, Mapping[str, "Tensor"]]
"""What one step reads, still integers: part (such as a tower) to named tensors, moved to the device by the loop."""


@dataclass(frozen=True)
class Source:
    """Where a value of a recipe comes from.

    Attributes:
        mark: `P` stated in the paper, `C` read from code, `I` inferred or computed, `D` our own default.
        where: section of the paper, file, or reason.
    """

    mark: Literal["P", "C", "I", "D"]
    where: str


@dataclass(frozen=True)
class Note:
    """One decision of a method that is not a key of its recipe.

    Attributes:
        what: the part of the method.
        value: what is done here.
        source: where it comes from.
        default: False where this is a quirk of the paper that only paper mode reproduces.
    """

    what: str
    value: str
    source: Source
    default: bool = True


class TrainRecipe(Recipe):
    """Settings that every method has; each gives its own values and sources.

    Attributes:
        conditioning: whether and how context (climate and elevation) enters the towers; methods whose towers take none
            allow `none` alone.
        epochs: passes over the train chips.
        batch_size: chips a step, over all ranks.
        lr: peak learning rate.
        weight_decay: of weight matrices and convolutions; not of biases, norms, tokens and positions.
        warmup: share of all steps over which the learning rate rises.
        precision: `auto` is bf16 on a GPU and fp32 on a CPU, where bf16 was measured slower.
        val_batches: fixed batches whose mean loss chooses the checkpoint.
        cpu_threads: of one training job on a CPU. Part of the recipe: another number gives other bytes.
    """

    conditioning: Literal["none", "emb", "cbn"] = "none"
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Source("D", "sec. 2 Loss: bf16; on a CPU it took 1.6 x as long")
    ] = "auto"
    val_batches: Annotated[int, Field(ge=1), Source("D", "the same kind of batch and draw as in training")] = 8
    cpu_threads: Annotated[int, Field(ge=1), Source("D", "equal bytes need an equal thread count")] = 1

    @property
    def restarts(self) -> tuple[int, ...]:
        """Epochs before the last after which the weights are kept too."""
        return ()

    def learns(self, tower: "TowerRecipe") -> bool:
        """Whether training reads what a tower sees; any other tower is there for judging alone."""
        return True

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that the towers cannot take.

        Raises:
            ValueError: the side does not fit; says which key of the recipe it does not fit.
        """
        return


def sourced(recipe: TrainRecipe) -> dict[str, dict[str, Any]]:
    """Every key of a recipe with its value, the mark of its source and where that is."""
    found = {}
    values = recipe.model_dump(mode="json")
    defaults = type(recipe).model_validate({})
    for key, field in type(recipe).model_fields.items():
        source = next((m for m in field.metadata if isinstance(m, Source)), Source("D", ""))
        default = getattr(defaults, key)
        if getattr(recipe, key) != default:
            was = default if isinstance(default, int | float | str) else ", ".join(map(str, default or ()))
            source = Source("D", f"set in the study; the default is {was} [{source.mark}] {source.where}")
        found[key] = {"value": values[key], "mark": source.mark, "source": source.where}
    return found


class Method(ABC):
    """A pretraining method: networks, loss, what one step reads.

    Args:
        recipe: the method's recipe.
        inputs: tower to what it takes, normalisation included.
        layers: modality to scale, offset and nodata of its stores.
        chip_px: side of the chips.

    Raises:
        TerraprobeError: the recipe does not fit chips of that side.

    Attributes:
        recipe_model: class of the recipe.
        notes: decisions that are no key of the recipe.
        paper_chip_px: side of the chips in the paper.
        whole_chips: whether all bands of a chip enter a tower together, or one channel at a time.
        supervised: whether it learns with chip-level classes, and accuracy on validation chips chooses.
        autoencoder: whether it learns to give chips back; its decoder is kept then.
        any_size: whether an encoder made for chips of one side takes chips of any other that fits its recipe.
        shared: whether all towers are one network, the module `SHARED` of what `build_towers` gives: they differ in
            what they take.
        joint: of a shared network: whether all towers enter it together, one after the other along the channels in the
            order of their names; the channels of a tower that is not given are zero.
        keeps_last: whether the last epoch's weights are kept, as validation loss says nothing about them.
        takes_weights: whether its one network can start from published weights of a ResNet.
        residual_fresh: names of that ResNet's weights that they do not set.
        start_shape: keys of the recipe that an encoder must have alike to start this one's training; none: training
            starts afresh.
        fresh: parts of the towers that such an encoder need not have.
        variants: differences of the recipe whose parameters `terraprobe describe` counts beside the recipe's own.
        augments: whether its loss sees random views of chips, which `augmented_views` and `view_bands` tell of.
        full_gradient: whether its networks are convolutions without bias, batch norms and ReLUs alone, so that full
            gradients say where in a chip they look.
        rank_share: least share of the untrained network's effective rank that is no collapse.
        draws: random numbers in [0, 1) that one chip takes in one step.
        network: everything that is trained.
    """

    recipe_model: ClassVar[type[TrainRecipe]]
    notes: ClassVar[tuple[Note, ...]]
    paper_chip_px: ClassVar[int]
    whole_chips: ClassVar[bool] = False
    supervised: ClassVar[bool] = False
    autoencoder: ClassVar[bool] = False
    any_size: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    joint: ClassVar[bool] = False
    keeps_last: ClassVar[bool] = False
    takes_weights: ClassVar[bool] = False
    residual_fresh: ClassVar[tuple[str, ...]] = ()
    start_shape: ClassVar[tuple[str, ...]] = ()
    fresh: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    augments: ClassVar[bool] = False
    full_gradient: ClassVar[bool] = False
    rank_share: ClassVar[float] = RANK_SHARE
    draws: int
    network: "nn.Module"

    def __init__(
        self, recipe: Any, inputs: "Mapping[str, TowerInput]", layers: "Mapping[str, StoreLayer]", chip_px: int
    ) -> None:
        try:
            recipe.check_chip(chip_px)
        except ValueError as error:
            raise TerraprobeError(f"recipe: {error}. Change the recipe or the side of the chips.") from error
        self.recipe = recipe
        self.inputs = dict(inputs)
        self.layers = dict(layers)
        self.chip_px = chip_px

    @classmethod
    def fit_inputs(cls, recipe: Any, pool: "ChipPool", chips: NDArray[np.intp], seed: int) -> "dict[str, TowerInput]":
        """What each tower takes: by default one channel, brought to mean 0 and standard deviation 1.

        Args:
            recipe: the method's recipe.
            pool: the chips.
            chips: train chips, (chip,).
            seed: of the choice of chips to measure on.

        Raises:
            TerraprobeError: a store, a band or the context that a tower takes is absent.
        """
        from terraprobe.normalisation import fit_input

        return {name: fit_input(pool, tower, chips, seed, name) for name, tower in recipe.towers.items()}

    @staticmethod
    @abstractmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """Freshly initialised towers.

        Args:
            recipe: the method's recipe.
            bands: tower to how many bands it sees.
            chip_px: side of the chips.

        Returns:
            Name to a module from what `TowerInput.prepare` gives, and context (B, values) where the recipe asks for
            conditioning, to embeddings (B, D).
        """

    @staticmethod
    def build_decoder(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.Module":
        """A freshly initialised decoder; of an autoencoder. Arguments as of `build_towers`.

        Returns:
            A module from embeddings (B, D) and context, as the tower takes it, to images (B, bands, chip_px, chip_px).
        """
        raise NotImplementedError

    @staticmethod
    @abstractmethod
    def embedding_size(recipe: Any) -> int:
        """D, the length of a tower's embeddings."""

    @property
    @abstractmethod
    def towers(self) -> "nn.ModuleDict":
        """The towers in training."""

    @property
    def residual(self) -> "nn.Module":
        """The ResNet that published weights are for; of a method that takes them."""
        return self.towers[SHARED]

    @property
    def kept(self) -> "nn.ModuleDict":
        """What the best checkpoint is kept of: the towers, and the decoder of an autoencoder beside them."""
        return self.towers

    @abstractmethod
    def eligible(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Which chips of the pool the loss can use, (chip,)."""

    @abstractmethod
    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """Read what one step needs.

        Args:
            pool: the chips.
            chips: which ones, (B,).
            uniform: random numbers in [0, 1), (B, draws).
        """

    @abstractmethod
    def embed(self, batch: Batch) -> "dict[str, tuple[Tensor, Tensor]]":
        """Tower to embeddings (B, D), zero where the chip lacks the tower, and whether it has it (B,)."""

    @abstractmethod
    def loss(self, batch: Batch) -> "Tensor":
        """The loss of one batch, a scalar."""

    def augmented_views(self, batch: Batch) -> "list[tuple[Tensor, Tensor]]":
        """Each view of every chip as it was read and as the loss sees it, (B, channels, H, W) in [0, 1] each."""
        raise NotImplementedError

    def view_bands(self, batch: Batch) -> list[list[str]]:
        """Of each view the bands that were drawn for every chip, with `+` between those that enter together."""
        raise NotImplementedError

    def hits(self, batch: Batch) -> "Tensor":
        """How right each chip's classes are called, in [0, 1], (B,); of a supervised method."""
        raise NotImplementedError

    @property
    def patience(self) -> int | None:
        """Epochs without a gain on validation chips after which training ends; None: it goes on to the last one."""
        return None

    def after_start(self) -> None:
        """What follows when the towers were given weights to start from: copies of them."""
        return

    def after_step(self) -> None:
        """What follows an optimiser step: a clamp, a moving average."""
        return

    def optimiser(self) -> "Optimizer":
        """AdamW with weight decay on matrices and convolutions only."""
        import torch

        weights = [p for p in self.network.parameters() if p.ndim in (2, 4)]
        others = [p for p in self.network.parameters() if p.ndim not in (2, 4)]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": self.recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.recipe.lr, fused=True)

    def learning_rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then a cosine to zero; a function of the step alone, so that nothing needs restoring."""
        rise = round(self.recipe.warmup * steps)
        if step < rise:
            return float(self.recipe.lr * (step + 1) / rise)
        return float(self.recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))))
