"""ResNet with bottleneck blocks, such as ResNet50, without a head (He et al. 2016).

Names and shapes of the weights are those of torchvision 0.28 (`torchvision/models/resnet.py`, class `ResNet`), so that
published weights fit: the stride of a block is in its 3x3 convolution, and convolutions before a batch norm have no
bias.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from terraprobe.models.byol import mlp

EXPANSION = 4
"""Channels that leave a block over those of its 3x3 convolution (He et al. 2016)."""

SHRINK = 32
"""Side of an image over that of the last features."""


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm, and a 1x1 shortcut where the shape changes.

    Args:
        into: channels of the input.
        width: channels of the 3x3 convolution.
        stride: 2 halves the side.
    """

    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1, self.bn1 = nn.Conv2d(into, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or into != out:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, features: Tensor, dilation: int = 0) -> Tensor:
        """Features (B, into, H, W) to (B, out, H', W').

        Args:
            features: of the block before.
            dilation: of the 3x3 convolution, whose stride is then left out; 0: the block as it is.
        """
        hidden = F.relu(self.bn1(self.conv1(features)), inplace=True)
        hidden = self.conv2(hidden) if not dilation else _unstrided(self.conv2, hidden, dilation)
        hidden = self.bn3(self.conv3(F.relu(self.bn2(hidden), inplace=True)))
        if self.downsample is not None:
            convolution, norm = self.downsample
            features = norm(_unstrided(convolution, features) if dilation else convolution(features))
        hidden += features  # no gradient needs what a norm gives: its place is free
        return F.relu(hidden, inplace=True)


class BottleneckResNet(nn.Module):
    """Image to embedding: stem, four stages, global average pooling.

    Args:
        bands: channels of the image.
        width: channels of the 3x3 convolutions of the first stage, 64 in ResNet50; each further stage has twice as
            many.
        blocks: of each of the four stages, 3, 4, 6 and 3 in ResNet50.
    """

    def __init__(self, bands: int, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.bands = bands
        self.conv1, self.bn1 = nn.Conv2d(bands, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        first, second, third, fourth = blocks
        out = EXPANSION * width
        self.layer1 = _stage(width, width, first, 1)
        self.layer2 = _stage(out, 2 * width, second, 2)
        self.layer3 = _stage(2 * out, 4 * width, third, 2)
        self.layer4 = _stage(4 * out, 8 * width, fourth, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # measured faster on a CPU; features follow the kernels

    def forward(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Embed images.

        Args:
            images: (B, bands, H, W), or of one band (B, 1, H, W), which enters in the place of each.
            context: none enters.

        Returns:
            (B, 32 * width).
        """
        embedded: Tensor = self.layer4(self._first_stages(images)).mean(dim=(2, 3))
        return embedded

    def pixels(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Features of places, as DeepLabv3 takes them: the last stage dilated instead of strided.

        As `replace_stride_with_dilation=(False, False, True)` of torchvision: the first block of the stage keeps its
        kernel, the others are dilated by 2.

        Args:
            images: as `forward` takes them.
            context: none enters.

        Returns:
            (B, 32 * width, H / 16, W / 16).
        """
        features = self._first_stages(images)
        for place, block in enumerate(self.layer4):
            features = block(features, dilation=1 if place == 0 else 2)
        return features

    def _first_stages(self, images: Tensor) -> Tensor:
        images = images.expand(-1, self.bands, -1, -1)
        features = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        third: Tensor = self.layer3(self.layer2(self.layer1(features)))
        return third


class BottleneckClassifier(BottleneckResNet):
    """Image to embedding, with a head beside it that turns embeddings into classes: linear, batch norm, ReLU, linear.

    Args:
        bands: channels of the image.
        width: of the ResNet.
        blocks: of the ResNet.
        hidden: width of the head.
        classes: its outputs.
    """

    def __init__(self, bands: int, width: int, blocks: Sequence[int], hidden: int, classes: int) -> None:
        super().__init__(bands, width, blocks)
        self.head = mlp(embedding_size(width), hidden, classes)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The four stages, the last one last."""
        return self.layer1, self.layer2, self.layer3, self.layer4


def embedding_size(width: int) -> int:
    """Length of the embeddings of a network of that width; 2048 of 64."""
    return 8 * EXPANSION * width


def _stage(into: int, width: int, count: int, stride: int) -> nn.Sequential:
    """Blocks, the first of which changes the shape."""
    others = (Bottleneck(EXPANSION * width, width, 1) for _ in range(count - 1))
    return nn.Sequential(Bottleneck(into, width, stride), *others)


def _unstrided(convolution: nn.Module, features: Tensor, dilation: int = 1) -> Tensor:
    """A convolution without its stride, dilated."""
    weight: Tensor = convolution.weight  # type: ignore[assignment]
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(features, weight, None, 1, padding, dilation)
