"""A contrastive loss that counts hard negatives more, and corrects for negatives that are positives after all."""

import math

import torch
from torch import Tensor


def hard_contrast(one: Tensor, two: Tensor, temperature: float, beta: float, tau_plus: float) -> Tensor:
    """How well each of some features finds itself in another view, among the others of both views.

    Robinson et al. 2021, "Contrastive learning with hard negative samples", eq. 4: negatives are weighted by
    exp(beta similarity / temperature), and a share tau_plus of them is taken for positives.

    Args:
        one: features, at most of length 1, (N, D).
        two: the same in the other view, (N, D).
        temperature: of the dot products.
        beta: how much hard negatives count; 0: all alike.
        tau_plus: share of the negatives that are of the same class.

    Returns:
        Mean of -log(p / (p + g)) over both views, a scalar, with p = exp(positive) and g the sum over 2 N - 2
        negatives: log(2 N - 1) where all features are alike.
    """
    with torch.autocast(one.device.type, enabled=False):
        every = torch.cat([one, two]).float()
        count = 2 * len(one) - 2
        similar = every @ every.T / temperature
        rows = torch.arange(len(every), device=every.device)
        twins = rows.roll(len(one))
        positive = similar[rows, twins]
        hidden = torch.eye(len(every), dtype=torch.bool, device=every.device)
        hidden = hidden | hidden[twins]
        negatives = similar.masked_fill(hidden, float("-inf"))
        weighted = (
            ((1 + beta) * negatives).logsumexp(dim=1) - (beta * negatives).logsumexp(dim=1)
            if beta
            else (negatives.logsumexp(dim=1) - math.log(count))
        )
        corrected = count * (weighted.exp() - tau_plus * positive.exp()) / (1 - tau_plus)
        least = count * math.exp(-1 / temperature)
        return (torch.log(positive.exp() + corrected.clamp(min=least)) - positive).mean()
