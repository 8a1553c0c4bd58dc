"""Networks that see many channels at once: what each channel becomes, and what all of them become together.

Montanaro et al., methods.md sec. 4. Inputs are images (B, C, H, W), normalised, with 0 in channels that are not given.
"""

import torch
from torch import Tensor, nn

LAYERS = 3
"""[P] sec. 4 Architecture: 3 x (3x3 convolution, BN, ReLU) for each channel."""


class SharedExtractor(nn.Module):
    """One small convolutional network that every channel goes through by itself.

    Args:
        features: that it makes of a channel.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        widths = [1] + [features] * LAYERS
        self.layers = nn.Sequential(*(_layer(into, features) for into in widths[:-1]))
        self.to(memory_format=torch.channels_last)  # measured: half the time of a step on a CPU

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W), for any C, to features (B, C * features, H, W), channel by channel."""
        side = images.shape[2:]
        folded: Tensor = self.layers(images.reshape(-1, 1, *side))
        return folded.reshape(len(images), -1, *side)


class EarlyFusion(nn.Module):
    """The control: one layer that sees all channels at once and makes as many features of them.

    Args:
        channels: of the images.
        features: for each channel.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.layers = _layer(channels, channels * features)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, C * features, H, W)."""
        fused: Tensor = self.layers(images)
        return fused


class JointNetwork(nn.Module):
    """An extractor and, behind it, the network that brings its features together.

    Args:
        extractor: of features at full resolution.
        deeplab: from these to features of places; None: they are left as they are.
    """

    def __init__(self, extractor: nn.Module, deeplab: nn.Module | None = None) -> None:
        super().__init__()
        self.extractor = extractor
        self.deeplab = deeplab

    def forward(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Embed images: the mean of `pixels` over the places, (B, D)."""
        embedded: Tensor = self.pixels(images).mean(dim=(2, 3))
        return embedded

    def pixels(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Features of places.

        Args:
            images: normalised, 0 in channels that are not given, (B, C, H, W).
            context: none enters.

        Returns:
            (B, D, h, w).
        """
        features: Tensor = self.extractor(images)
        return features if self.deeplab is None else self.deeplab(features)


def _layer(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))
