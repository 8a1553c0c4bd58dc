"""Grad-CAM (Selvaraju et al. 2017): where in an image a network sees a class."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses


def grad_cam(forward: Callable[[], Tensor], layer: nn.Module, classes: Tensor) -> Tensor:
    """Features of a layer, weighted by how much each raises the score of a class; what lowers it counts as 0.

    Args:
        forward: runs the network, which must not mix chips (batch norms frozen), and gives scores, (B, classes).
        layer: within it, whose output is features (B, C, h, w).
        classes: number of the class that is asked for, of each chip, (B,).

    Returns:
        (B, h, w), at least 0.
    """
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        with torch.enable_grad():
            asked = forward().gather(1, classes[:, None]).sum()
    finally:
        hook.remove()
    (features,) = seen
    (gradient,) = torch.autograd.grad(asked, features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return F.relu((weights * features).sum(dim=1)).detach().float()


def enlarge(maps: Tensor, side: int) -> Tensor:
    """Maps (B, h, w) to (B, side, side), bicubically ([P] sec. 1 Evaluation), each brought to a maximum of 1 before.

    A map that is 0 everywhere stays 0. The cubic overshoots: values a little below 0 and above 1 may occur.
    """
    highest = maps.amax(dim=(1, 2), keepdim=True)
    scaled = torch.where(highest > 0, maps / highest, maps)
    return F.interpolate(scaled[:, None], size=(side, side), mode="bicubic", align_corners=False)[:, 0]
