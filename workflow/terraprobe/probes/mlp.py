"""Many small classifiers at once: an MLP for each set of frozen features, trained side by side (Jain et al.).

Linear to 128 [P], batch normalisation, ReLU [P], linear to the classes, softmax [P]. The first layer has no bias, which
batch normalisation would cancel. Every member of a stack sees its own features and nothing of the others: their
gradients are those of training each alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

HIDDEN = 128
"""[P] methods.md sec. 3 Evaluation."""

MOMENTUM = 0.1
"""Of the running mean and variance, as PyTorch sets it."""

EPSILON = 1e-5
"""Added to every variance, as PyTorch sets it."""


@dataclass(frozen=True)
class Heads:
    """Trained classifiers; scaling and batch normalisation are folded into the first layer.

    Attributes:
        w1: (member, D, HIDDEN).
        b1: (member, HIDDEN).
        w2: (member, HIDDEN, class).
        b2: (member, class).
    """

    w1: NDArray[np.float32]
    b1: NDArray[np.float32]
    w2: NDArray[np.float32]
    b2: NDArray[np.float32]

    def members(self, rows: Sequence[int]) -> "Heads":
        """Some of them."""
        chosen = list(rows)
        return Heads(self.w1[chosen], self.b1[chosen], self.w2[chosen], self.b2[chosen])

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of the classes by every member.

        Args:
            x: features, the same for all members, (n, D).

        Returns:
            (member, n, class).
        """
        w1, b1, w2, b2 = (torch.from_numpy(array) for array in (self.w1, self.b1, self.w2, self.b2))
        hidden = torch.matmul(torch.from_numpy(x), w1).add_(b1[:, None]).relu_()
        logits = torch.baddbmm(b2[:, None], hidden, w2)
        found: NDArray[np.float32] = logits.softmax(dim=2).numpy()
        return found


def train_heads(
    x: NDArray[np.float32],
    y: NDArray[np.intp],
    n_classes: int,
    *,
    seeds: Sequence[int],
    lr: float,
    epochs: int,
    batch_size: int,
) -> Heads:
    """Train one classifier a member.

    Features are brought to mean 0 and standard deviation 1 over the member's chips. Adam, a cosine from `lr` to zero,
    batches of nearly equal size, none of them left out.

    Args:
        x: features, (member, n, D), n at least 2.
        y: number of the class, (member, n).
        n_classes: how many there are.
        seeds: of the first weights and the order of the chips, one a member.
        lr: learning rate.
        epochs: passes over the chips.
        batch_size: chips a step, at most.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    members, n, size = x.shape
    mean, std = x.mean(axis=1, keepdims=True, dtype=np.float64), x.std(axis=1, keepdims=True, dtype=np.float64)
    std = np.maximum(std, 1e-6 * np.maximum(std.max(axis=2, keepdims=True), 1e-6))  # a constant feature says nothing
    inputs = torch.from_numpy(((x - mean) / std).astype(np.float32)).to(device)
    targets = torch.from_numpy(y).to(device)
    unique = {seed: torch.Generator().manual_seed(seed) for seed in dict.fromkeys(seeds)}
    first = {seed: _first_weights(size, n_classes, generator) for seed, generator in unique.items()}
    w1, w2, b2 = (torch.stack([first[s][k] for s in seeds]).to(device).requires_grad_() for k in range(3))
    gain = torch.ones(members, HIDDEN, device=device, requires_grad=True)
    shift = torch.zeros(members, HIDDEN, device=device, requires_grad=True)
    centre, spread = torch.zeros(members, HIDDEN, device=device), torch.ones(members, HIDDEN, device=device)
    optimiser = torch.optim.Adam([w1, gain, shift, w2, b2], lr=lr, fused=True)
    steps = min(-(-n // batch_size), n // 2)  # batch normalisation needs two chips
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps)
    row = torch.arange(members, device=device)[:, None]
    for _ in range(epochs):
        drawn = {seed: torch.randperm(n, generator=generator) for seed, generator in unique.items()}
        order = torch.stack([drawn[seed] for seed in seeds]).to(device)
        for batch in order.tensor_split(steps, dim=1):
            hidden = torch.bmm(inputs[row, batch], w1)
            middle = hidden.mean(dim=1)
            centred = hidden - middle[:, None]
            variance = centred.square().mean(dim=1)  # `torch.var_mean` takes five times as long here
            with torch.no_grad():
                count = batch.shape[1]
                centre.lerp_(middle, MOMENTUM)
                spread.lerp_(variance * (count / (count - 1)), MOMENTUM)
            scale = gain * (variance + EPSILON).rsqrt()
            hidden = torch.relu(torch.addcmul(shift[:, None], centred, scale[:, None]))
            logits = torch.baddbmm(b2[:, None], hidden, w2)
            loss = functional.cross_entropy(logits.flatten(0, 1), targets[row, batch].flatten(), reduction="sum")
            optimiser.zero_grad()
            (loss / count).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return _folded(mean, std, (w1, gain, shift, centre, spread), w2, b2)


def _first_weights(size: int, n_classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's own: uniform within 1 / sqrt(inputs) of a layer."""
    shapes = ((size, HIDDEN, size), (HIDDEN, n_classes, HIDDEN), (n_classes, HIDDEN))
    drawn = [(torch.rand(*shape[:-1], generator=generator) * 2 - 1) / shape[-1] ** 0.5 for shape in shapes]
    return drawn[0], drawn[1], drawn[2]


def _folded(
    mean: NDArray[np.float64], std: NDArray[np.float64], first: Sequence[Tensor], w2: Tensor, b2: Tensor
) -> Heads:
    w1, gain, shift, centre, spread = (tensor.detach().cpu().double().numpy() for tensor in first)
    scale = gain / np.sqrt(spread + EPSILON)
    weights = w1 * scale[:, None] / std.transpose(0, 2, 1)
    bias = shift - centre * scale - np.einsum("md,mdh->mh", mean[:, 0], weights)
    last = (tensor.detach().cpu().numpy() for tensor in (w2, b2))
    return Heads(weights.astype(np.float32), bias.astype(np.float32), *last)
