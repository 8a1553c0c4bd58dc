"""Features of places as colours: what an encoder gives before it pools, for people to look at."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COLOURS = 3
"""Principal components that are shown, as red, green and blue."""

REACH = 2.0
"""[D] Standard deviations on both sides of the mean that the range of a colour covers."""


def principal_colours(features: Tensor) -> NDArray[np.uint8]:
    """The first three principal components of features over all places of some chips.

    Args:
        features: (chip, D, h, w), D at least 3.

    Returns:
        (chip, h, w, 3): 128 is the mean over all places; the largest weight of a component is positive, as signs are
        arbitrary. A component without spread is 128 throughout.
    """
    chips, size, height, width = features.shape
    places = features.double().cpu().permute(0, 2, 3, 1).reshape(-1, size)
    centred = places - places.mean(dim=0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes.flip(1)[:, :COLOURS]
    signs = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    found = centred @ (axes * signs)
    scaled = found / (REACH * found.std(dim=0, correction=0)).clamp(min=1e-12)
    scaled = torch.where(found.std(dim=0, correction=0) > 1e-9, scaled, 0.0)
    shown = (128 + 127 * scaled.clamp(-1, 1)).round().to(torch.uint8)
    colours: NDArray[np.uint8] = shown.reshape(chips, height, width, COLOURS).numpy()
    return colours
