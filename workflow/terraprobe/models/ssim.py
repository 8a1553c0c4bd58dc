"""Structural similarity of images (Wang et al. 2004), as a loss can use it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

WINDOW_PX = 11
SIGMA_PX = 1.5
"""Wang et al. 2004: a Gaussian window of 11 x 11 px with a standard deviation of 1.5 px, and K1 = .01, K2 = .03."""

C1, C2 = 0.01**2, 0.03**2


def ssim(one: "Tensor", two: "Tensor") -> "Tensor":
    """Mean structural similarity of images whose values lie in [0, 1].

    Args:
        one: (B, C, H, W), H and W at least `WINDOW_PX`.
        two: the same shape.

    Returns:
        A scalar: the mean over chips, channels and the places at which the whole window lies within the image.
    """
    return ssim_map(one, two).mean()


def ssim_map(one: "Tensor", two: "Tensor") -> "Tensor":
    """Structural similarity at every place at which the whole window lies within the image.

    Args:
        one: (B, C, H, W), values in [0, 1], H and W at least `WINDOW_PX`.
        two: the same shape.

    Returns:
        (B, C, H - WINDOW_PX + 1, W - WINDOW_PX + 1).
    """
    import torch

    # In 32 bits whatever the network runs in: variances are differences of nearly equal numbers.
    with torch.autocast(one.device.type, enabled=False):
        one, two = one.float(), two.float()
        rows, columns = (_windows(side, one) for side in one.shape[-2:])
        planes = torch.stack([one, two, one * one, two * two, one * two])
        mean_1, mean_2, square_1, square_2, product = (rows @ planes @ columns.T).unbind()
        covariance = product - mean_1 * mean_2
        variances = square_1 - mean_1**2 + square_2 - mean_2**2
        luminance = (2 * mean_1 * mean_2 + C1) / (mean_1**2 + mean_2**2 + C1)
        similarity: Tensor = luminance * (2 * covariance + C2) / (variances + C2)
        return similarity


def _windows(side: int, like: "Tensor") -> "Tensor":
    """Gaussian weights of every window along one axis, (side - WINDOW_PX + 1, side); each row sums to 1."""
    import torch

    places = torch.arange(side, device=like.device)
    starts = torch.arange(side - WINDOW_PX + 1, device=like.device)[:, None]
    distance = (places - starts - WINDOW_PX // 2).to(like.dtype)
    weights = torch.exp(-(distance**2) / (2 * SIGMA_PX**2)) * (distance.abs() <= WINDOW_PX // 2)
    return weights / weights.sum(dim=1, keepdim=True)
