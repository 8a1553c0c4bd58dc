"""One interleaved run: every network in every round, in another order each time."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from benchmarks.train.arms import Arm, Work, count


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        warm_steps: of each network before the first round.
        rounds: in which every network has its turn.
        steps: of a turn.
    """

    warm_steps: int
    rounds: int
    steps: int


@dataclass(frozen=True)
class Row:
    """Time that a network takes for a step.

    Attributes:
        arm: name of the network.
        parameters: of it.
        batch: images of a step.
        rounds: seconds for one step, a value a round.
        peak_bytes: most memory that one training of it holds on a GPU; 0 where none is used.
    """

    arm: str
    parameters: int
    batch: int
    rounds: tuple[float, ...]
    peak_bytes: int = 0


class Stepper(ABC):
    """What takes training steps on a device, and how long one takes."""

    device: torch.device

    @abstractmethod
    def step(self) -> float:
        """One training step; returns the loss."""

    def seconds(self, steps: int) -> float:
        """Wall time of one step, the mean of some."""
        self._wait()
        began = time.perf_counter()
        for _ in range(steps):
            self.step()
        self._wait()
        return (time.perf_counter() - began) / steps

    def _wait(self) -> None:
        """A GPU works on after its calls have returned."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Training(Stepper):
    """One network in training on random images, without reading and augmentation.

    Args:
        network: from images and context to logits.
        work: what is trained on.
        device: where; on a GPU in bf16, on a CPU in fp32, as `precision: auto` of the recipes.
    """

    def __init__(self, network: nn.Module, work: Work, device: torch.device) -> None:
        recipe = work.conditioned("none")
        self.device, self.bf16, self.multi_label = device, device.type == "cuda", recipe.multi_label
        self.network = network.to(device).train()
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.lr, fused=True)
        images, context = work.images(recipe.batch_size)
        target = torch.arange(recipe.batch_size) % len(recipe.classes)
        if self.multi_label:
            target = F.one_hot(target, len(recipe.classes)).float()
        self.images, self.context, self.target = (t.to(device) for t in (images, context, target))

    def step(self) -> float:
        """Forward, loss, backward, Adam; returns the loss, which the training loop looks at, too."""
        self.optimiser.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.network(self.images, self.context).float()
        loss = (F.binary_cross_entropy_with_logits if self.multi_label else F.cross_entropy)(logits, self.target)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())


def measure(arms: Mapping[str, Arm], work: Work, plan: Plan, device: torch.device) -> list[Row]:
    """Train all networks in turn.

    Args:
        arms: name to network.
        work: what is trained on.
        plan: how much.
        device: where.
    """
    peaks = {arm: _peak(build, work, plan, device) for arm, build in arms.items()}
    trainings: dict[str, Training] = {}
    for arm, build in arms.items():
        torch.manual_seed(0)
        trainings[arm] = Training(build(work), work, device)
        trainings[arm].seconds(plan.warm_steps)
    times = take_turns(trainings, plan)
    return [
        Row(arm, count(training.network), len(training.images), tuple(times[arm]), peaks[arm])
        for arm, training in trainings.items()
    ]


class Timed(Protocol):
    """Something that can take steps."""

    def seconds(self, steps: int) -> float:
        """Wall time of one step, the mean of some."""


def take_turns(trainings: Mapping[str, Timed], plan: Plan) -> dict[str, list[float]]:
    """Seconds for one step of each, a value a round; every round has another order.

    Args:
        trainings: name to what takes steps, warmed up.
        plan: how much.
    """
    names = list(trainings)
    times: dict[str, list[float]] = {name: [] for name in names}
    shuffle = np.random.default_rng(4)
    for _ in range(plan.rounds):
        for place in shuffle.permutation(len(names)):
            times[names[place]].append(trainings[names[place]].seconds(plan.steps))
    return times


def _peak(build: Arm, work: Work, plan: Plan, device: torch.device) -> int:
    """Peak memory of one network that has the GPU to itself: weights, Adam's state, batch and activations."""
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    Training(build(work), work, device).seconds(plan.warm_steps)
    return torch.cuda.max_memory_allocated(device) - before
