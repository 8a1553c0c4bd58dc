"""Less speckle: Lee's filter on log-intensity, where speckle adds to what is there."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

LOOKS = 4.4
"""[D] Equivalent looks of Sentinel-1 IW GRD at high resolution (ESA, Sentinel-1 Product Definition)."""

WINDOW_PX = 7
"""[D] Side of the window whose mean and variance a pixel is judged by, as is usual for Lee's filter."""


def speckle_db2(looks: float = LOOKS) -> float:
    """Variance of speckle in dB squared: that of the logarithm of a mean of so many exponential intensities."""
    return float((10 / math.log(10)) ** 2 * torch.polygamma(1, torch.tensor(looks, dtype=torch.float64)))


def despeckle(images: Tensor, observed: Tensor, speckle: Tensor) -> Tensor:
    """Bring each pixel to the mean of its window, the more the less the window varies beyond speckle (Lee 1980).

    Args:
        images: log-intensity, of any mean and scale, (B, C, H, W).
        observed: which pixels were, (B, C, H, W); others count for nothing and stay as they are.
        speckle: variance of speckle in the images' own scale, (C,).

    Returns:
        (B, C, H, W).
    """
    weight = observed.to(images.dtype)
    share = _window(weight).clamp_min(1e-6)
    mean = _window(images * weight) / share
    variance = (_window(images.square() * weight) / share - mean.square()).clamp_min(0)
    kept = (1 - speckle[:, None, None] / variance.clamp_min(1e-12)).clamp_min(0)
    return torch.where(observed, mean + kept * (images - mean), images)


def _window(images: Tensor) -> Tensor:
    """Mean over the window of each pixel; beyond the edge there is nothing."""
    return F.avg_pool2d(images, WINDOW_PX, stride=1, padding=WINDOW_PX // 2, count_include_pad=True)
