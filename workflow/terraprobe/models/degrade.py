"""What is done to images before a network gives back what they were: channels dropped, a square cut out, blur."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

BLUR_REACH = 3.0
"""[D] The blur's kernel ends after so many of its largest standard deviations."""


def drop_channels(images: Tensor, count: Tensor, order: Tensor) -> Tensor:
    """Set whole channels to 0.

    Args:
        images: (B, C, H, W).
        count: how many channels of each image go, (B,).
        order: random numbers, (B, C): the channels with the smallest go.
    """
    rank = order.argsort(dim=1).argsort(dim=1)
    return images.masked_fill((rank < count[:, None])[:, :, None, None], 0.0)


def cut_out(images: Tensor, share: float, corner: Tensor) -> Tensor:
    """Set a square of all channels to 0.

    Args:
        images: (B, C, H, W) with H = W.
        share: of the area that the square covers.
        corner: of the square, from 0 to 1 over the places that it fits in: down and across, (B, 2).
    """
    side = images.shape[-1]
    length = round(side * math.sqrt(share))
    start = (corner * (side - length + 1)).floor()
    places = torch.arange(side, device=images.device)
    down, across = ((places >= s[:, None]) & (places < s[:, None] + length) for s in start.unbind(dim=1))
    return images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0.0)


def blur(images: Tensor, sigma_px: Tensor, largest_px: float) -> Tensor:
    """Gaussian blur, edges mirrored.

    Args:
        images: (B, C, H, W).
        sigma_px: standard deviation of each image's kernel, above 0, (B,).
        largest_px: of all that can come; every kernel reaches three times as far, within the image.
    """
    batch, side = len(images), images.shape[-1]
    reach = min(math.ceil(BLUR_REACH * largest_px), side - 1)
    away = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = (-0.5 * (away / sigma_px[:, None].to(images.dtype)) ** 2).exp()
    kernel = (kernel / kernel.sum(dim=1, keepdim=True))[:, None, None]  # (B, 1, 1, length): one group a chip
    by_chip = F.pad(images, (reach,) * 4, "reflect").transpose(0, 1)  # (C, B, y, x)
    by_chip = F.conv2d(by_chip, kernel.transpose(2, 3), groups=batch)
    return F.conv2d(by_chip, kernel, groups=batch).transpose(0, 1)
