"""DeepLabv3 up to its head: a dilated ResNet and atrous spatial pyramid pooling (Chen et al. 2017).

Sizes of the head are those of torchvision 0.28 (`torchvision/models/segmentation/deeplabv3.py`), whose dropout is left
out: the paper names none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from terraprobe.models.bottleneck import BottleneckResNet, embedding_size

STEM_STRIDE = 4
"""Side of an image over that of what leaves the stem and its max-pooling."""


@dataclass(frozen=True)
class DeepLabShape:
    """Sizes of a DeepLabv3.

    Attributes:
        width: of the ResNet, 64 in ResNet50.
        blocks: of its four stages, 3, 4, 6 and 3 in ResNet50.
        output_stride: side of an image over that of the features.
        aspp: channels of each branch of the pyramid, and of what leaves it.
        rates: dilations of its 3x3 convolutions.
    """

    width: int
    blocks: Sequence[int]
    output_stride: int
    aspp: int
    rates: Sequence[int]


class DeepLab(nn.Module):
    """Images or features to features of places, which a 1x1 convolution turns into classes.

    Args:
        channels: that enter.
        shape: of the network.
    """

    def __init__(self, channels: int, shape: DeepLabShape) -> None:
        super().__init__()
        self.resnet = DilatedResNet(channels, shape)
        self.aspp = Pyramid(embedding_size(shape.width), shape.aspp, shape.rates)
        self.merge = _convolution(shape.aspp, shape.aspp, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, aspp, H / output_stride, W / output_stride)."""
        features: Tensor = self.merge(self.aspp(self.resnet.pixels(images)))
        return features


class DilatedResNet(BottleneckResNet):
    """A ResNet whose last stages are dilated instead of strided.

    Args:
        channels: that enter.
        shape: of the network.
    """

    def __init__(self, channels: int, shape: DeepLabShape) -> None:
        super().__init__(channels, shape.width, shape.blocks)
        self.output_stride = shape.output_stride

    def pixels(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, channels, H, W) to (B, 32 * width, H / output_stride, W / output_stride)."""
        features = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        for block in self.layer1:
            features = block(features)
        stride, dilation = STEM_STRIDE, 1
        for layer in (self.layer2, self.layer3, self.layer4):
            if stride < self.output_stride:
                stride *= 2
                features = layer(features)
                continue
            first, *others = layer
            features = first(features, dilation=dilation)  # of the stage before, as in torchvision
            dilation *= 2
            for block in others:
                features = block(features, dilation=dilation)
        pixels: Tensor = features
        return pixels


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: places seen alone, at several distances, and as one whole.

    Args:
        into: channels that enter.
        out: channels of each branch, and of what leaves.
        rates: dilations of the 3x3 convolutions.
    """

    def __init__(self, into: int, out: int, rates: Sequence[int]) -> None:
        super().__init__()
        dilated = (_convolution(into, out, 3, rate) for rate in rates)
        self.branches = nn.ModuleList([_convolution(into, out, 1, 1), *dilated])
        self.whole = _convolution(into, out, 1, 1)
        self.project = _convolution((len(rates) + 2) * out, out, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, into, h, w) to (B, out, h, w)."""
        whole = self.whole(features.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *features.shape[2:])
        seen: Tensor = self.project(torch.cat([*(branch(features) for branch in self.branches), whole], dim=1))
        return seen


def _convolution(into: int, out: int, side: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv2d(into, out, side, padding=dilation * (side // 2), dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
