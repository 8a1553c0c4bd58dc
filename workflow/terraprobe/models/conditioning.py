"""How context enters a network: by the affine of its batch norms (CBN), by an added embedding (Emb), or not at all.

Leonhardt et al. (`bioclim`). Context is a row of values for each chip; every layer here takes it beside the features,
so that a network is written once for all kinds of conditioning.
"""

from typing import Literal

import torch
from torch import Tensor, nn

CbnStart = Literal["paper", "identity"]
"""How the linear layers of CBN start: as any PyTorch linear layer, or so that CBN starts as a plain batch norm."""


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose affine is a linear function of each chip's context: gamma * normalised + beta.

    gamma itself is predicted, not 1 + gamma ([P, C] methods.md sec. 1).

    Args:
        channels: of the features.
        context: length of the context.
        start: of the linear layer; `identity` sets its weights to 0, gamma to 1 and beta to 0.
    """

    def __init__(self, channels: int, context: int, start: CbnStart) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(context, 2 * channels)
        if start == "identity":
            with torch.no_grad():
                self.affine.weight.zero_()
                self.affine.bias.copy_(torch.cat([torch.ones(channels), torch.zeros(channels)]))

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Normalise.

        Args:
            features: (B, channels, H, W).
            context: (B, context).

        Returns:
            (B, channels, H, W).
        """
        gamma, beta = self.affine(context)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(beta, gamma, self.norm(features))


class PlainBatchNorm(nn.BatchNorm2d):
    """Batch norm that takes context and leaves it aside."""

    def forward(self, features: Tensor, context: Tensor | None = None) -> Tensor:
        """Normalise features (B, channels, H, W)."""
        return super().forward(features)


def batch_norm(channels: int, context: int, start: CbnStart) -> nn.Module:
    """A batch norm conditioned on `context` values, a plain one where that is 0."""
    return ConditionalBatchNorm(channels, context, start) if context else PlainBatchNorm(channels)
