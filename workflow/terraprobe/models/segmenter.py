"""Heads that turn the features of an encoder into a class of every pixel."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from terraprobe.models.deeplab import Pyramid


def linear_head(channels: int, classes: int) -> nn.Sequential:
    """A 1 x 1 convolution on features brought to mean 0 and variance 1.

    The norm has no weights of its own, so that the head stays linear: features of encoders differ in scale by orders of
    magnitude, and one grid of learning rates then serves them all ([D], as in the linear probes of MAE).

    Args:
        channels: of the features.
        classes: how many.
    """
    return nn.Sequential(nn.BatchNorm2d(channels, affine=False), nn.Conv2d(channels, classes, 1))


PYRAMID, RATES = 256, (6, 12, 18)
"""Channels and dilations of the pyramid: DeepLabv3 (Chen et al. 2017) at output stride 16."""


def decoder_head(channels: int, classes: int) -> nn.Sequential:
    """The head of DeepLabv3: atrous spatial pyramid pooling, a 3 x 3 and a 1 x 1 convolution.

    Args:
        channels: of the features.
        classes: how many.
    """
    return nn.Sequential(
        Pyramid(channels, PYRAMID, RATES),
        nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1, bias=False),
        nn.BatchNorm2d(PYRAMID),
        nn.ReLU(inplace=True),
        nn.Conv2d(PYRAMID, classes, 1),
    )


class Segmenter(nn.Module):
    """A tower and a head: images to scores of each class at every pixel.

    Args:
        tower: with a method `pixels(images, context) -> (B, C, h, w)`.
        head: from features (B, C, h, w) to scores (B, classes, h, w).
    """

    def __init__(self, tower: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.tower, self.head = tower, head

    def forward(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Images (B, bands, H, W) and context (B, context) to scores (B, classes, H, W)."""
        features = self.tower.pixels(images, context)  # type: ignore[operator]
        return full_size(self.head(features), images.shape[-1])


def full_size(scores: Tensor, side_px: int) -> Tensor:
    """Scores (B, classes, h, w) interpolated bilinearly to the side of the chips."""
    return F.interpolate(scores, size=(side_px, side_px), mode="bilinear", align_corners=False)
