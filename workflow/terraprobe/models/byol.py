"""Heads and loss of BYOL (Grill et al. 2020, as `rsbyol` uses them, methods.md sec. 3)."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses


def mlp(into: int, hidden: int, out: int) -> nn.Sequential:
    """Projector or predictor: linear, batch norm, ReLU, linear."""
    return nn.Sequential(nn.Linear(into, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, out))


def distance(predictions: Tensor, targets: Tensor) -> Tensor:
    """2 - 2 cos between rows, (B, D) each, of any length; the mean over rows, a scalar."""
    return (2 - 2 * F.cosine_similarity(predictions.float(), targets.float(), dim=1)).mean()


def project_batch(projector: nn.Module, features: Tensor) -> Tensor:
    """Projections by the statistics of this batch, as in training: an untrained projector has none of its own yet.

    Args:
        projector: what `mlp` gives.
        features: (B, D).

    Returns:
        (B, out).
    """
    first, norm, relu, last = projector.children()
    hidden = F.batch_norm(first(features), None, None, norm.weight, norm.bias, training=True)  # type: ignore[arg-type]
    projected: Tensor = last(relu(hidden))
    return projected
