"""Full gradients (Srinivas and Fleuret 2019): where in an image a score comes from, at the image's own resolution.

A network of convolutions, batch norms and ReLUs is linear near an image. Its score is then the sum of pixels times
their gradients and of biases times theirs, and the bias of a batch norm has a gradient at every place.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses


def full_gradients(network: nn.Module, score: Callable[[Tensor], Tensor], images: Tensor) -> list[Tensor]:
    """What pixels and batch norms add to a score.

    Args:
        network: of convolutions without bias, batch norms and ReLUs, in evaluation mode, so that it mixes no chips.
        score: of each image, by what the network gives for them, (B,).
        images: (B, bands, H, W).

    Returns:
        (B, channels, h, w) of the pixels, then of each batch norm in the order of the network. All of a chip add up to
        its score, less what biases behind the network add.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: list[tuple[nn.BatchNorm2d, Tensor]] = []

    def keep(norm: nn.BatchNorm2d, _inputs: tuple[Tensor], output: Tensor) -> Tensor:
        seen.append((norm, output))
        return output.clone()  # what follows writes where it stands

    hooks = [norm.register_forward_hook(keep) for norm in norms]
    try:
        with torch.enable_grad():
            entered = images.detach().requires_grad_()
            asked = score(network(entered)).sum()
    finally:
        for hook in hooks:
            hook.remove()
    first, *others = torch.autograd.grad(asked, [entered, *(output for _, output in seen)])
    parts = [_bias(norm)[:, None, None] * gradient for (norm, _), gradient in zip(seen, others, strict=True)]
    return [part.detach() for part in (entered * first, *parts)]


def full_grad(network: nn.Module, score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Where a score comes from, whether it rises or falls by it: (B, H, W), the highest of a chip brought to 1.

    Of each layer the absolute values, its highest brought to 1, are upsampled bilinearly; channels and layers are
    summed [C] (idiap/fullgrad-saliency 26fb91b, `saliency/fullgrad.py`). Arguments as of `full_gradients`.
    """
    side = images.shape[-2:]
    total = images.new_zeros(len(images), *side)
    for part in full_gradients(network, score, images):
        scaled = _to_one(part.abs())
        total += F.interpolate(scaled, size=side, mode="bilinear", align_corners=False).sum(dim=1)
    return _to_one(total[:, None])[:, 0]


def _bias(norm: nn.BatchNorm2d) -> Tensor:
    """What a batch norm adds to its channels beside scaling them, (C,)."""
    state = norm.state_dict()
    scale = state["weight"] * (state["running_var"] + norm.eps).rsqrt()
    bias: Tensor = state["bias"] - scale * state["running_mean"]
    return bias


def _to_one(values: Tensor) -> Tensor:
    """Values (B, C, h, w) over the highest of each chip; a chip of zeros stays as it is."""
    highest = values.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(highest > 0, values / highest, values)
