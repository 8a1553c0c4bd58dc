"""Superpixels: patches of neighbouring pixels that look alike, by simple linear iterative clustering.

Achanta et al. 2012, "SLIC superpixels compared to state-of-the-art superpixel methods", for a batch of images at once.
Patches are not made connected afterwards.
"""

import torch
from torch import Tensor

STEPS = 5
"""[D] Times that pixels are dealt anew to the nearest of the nine patches around them; SLIC's paper: 10 suffice."""

COMPACTNESS = 1.0
"""[D] What a spacing between two places counts: as much as channels that differ by one standard deviation each."""


def superpixels(images: Tensor, spacing_px: int) -> Tensor:
    """Number of the patch that every pixel belongs to.

    Args:
        images: channels of standard deviation about 1, (B, C, H, W) with H and W multiples of the spacing.
        spacing_px: side of the squares that patches start as.

    Returns:
        From 0 to (H / spacing) (W / spacing) - 1, (B, H, W).
    """
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        features = _with_places(images.float(), spacing_px)
        height, width = (side // spacing_px for side in images.shape[2:])
        rows, columns = (torch.arange(side, device=images.device) // spacing_px for side in images.shape[2:])
        start = (rows[:, None] * width + columns).expand(len(images), -1, -1)
        labels = start
        for _ in range(STEPS):
            centres = segment_means(features, labels, height * width)[0]
            nearest = torch.full(labels.shape, float("inf"), device=images.device)
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    row, column = rows[:, None] + down, columns + across
                    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                    cell = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).expand_as(labels)
                    away = (features - _of(centres, cell)).square().sum(dim=1).masked_fill(~inside, float("inf"))
                    labels = torch.where(away < nearest, cell, labels)
                    nearest = torch.minimum(away, nearest)
        return labels


def segment_means(features: Tensor, labels: Tensor, count: int, counted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean over the pixels of each patch.

    Args:
        features: (B, D, H, W).
        labels: below `count`, (B, H, W).
        count: patches of an image.
        counted: pixels that enter, (B, H, W); all where none are named.

    Returns:
        Means (B, count, D), 0 where a patch has no pixel, and its pixels (B, count).
    """
    batch, size = features.shape[:2]
    weights = torch.ones_like(labels) if counted is None else counted
    weights = weights.to(features.dtype).reshape(-1)
    places = (labels + count * torch.arange(batch, device=labels.device)[:, None, None]).reshape(-1)
    flat = features.permute(0, 2, 3, 1).reshape(-1, size) * weights[:, None]
    total = torch.zeros(batch * count, size, device=flat.device, dtype=flat.dtype).index_add(0, places, flat)
    pixels = torch.zeros(batch * count, device=flat.device, dtype=flat.dtype).index_add(0, places, weights)
    means = total / pixels.clamp(min=1)[:, None]
    return means.reshape(batch, count, size), pixels.reshape(batch, count)


def _with_places(images: Tensor, spacing_px: int) -> Tensor:
    """Channels, scaled so that their number does not matter, and places in units of the spacing."""
    height, width = images.shape[2:]
    down = torch.arange(height, device=images.device, dtype=images.dtype)[:, None].expand(height, width)
    across = torch.arange(width, device=images.device, dtype=images.dtype).expand(height, width)
    places = torch.stack([down, across]).expand(len(images), -1, -1, -1) * (COMPACTNESS / spacing_px)
    return torch.cat([images / images.shape[1] ** 0.5, places], dim=1)


def _of(centres: Tensor, cell: Tensor) -> Tensor:
    """Centre of a cell for every pixel, (B, D, H, W)."""
    picked = centres[torch.arange(len(centres), device=cell.device)[:, None, None], cell]
    return picked.permute(0, 3, 1, 2)
