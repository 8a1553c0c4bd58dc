"""ResNet18 as `bioclim` builds it, and the decoder that mirrors it (Leonhardt et al., methods.md sec. 1).

Against the usual ResNet18: a stem of one strided convolution without overlap and without max-pool, 3x3 shortcuts
where the shape changes, a bias on every convolution. The parameter counts of the paper's table 3 pin all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from terraprobe.models.conditioning import CbnStart, batch_norm


@dataclass(frozen=True)
class ResNetShape:
    """What encoder and decoder share.

    Attributes:
        bands: channels of the image.
        stem_px: kernel and stride of the first convolution, and of the decoder's last.
        width: channels of the first stage; each further stage has twice as many.
        blocks: residual blocks of each stage.
    """

    bands: int
    stem_px: int
    width: int
    blocks: Sequence[int]

    @property
    def widths(self) -> list[int]:
        """Channels of each stage; the last is the length of the embedding."""
        return [self.width * 2**stage for stage in range(len(self.blocks))]

    @property
    def shrink(self) -> int:
        """Side of the image over that of the last features."""
        return int(self.stem_px * 2 ** (len(self.blocks) - 1))


@dataclass(frozen=True)
class Norms:
    """Which batch norms a network has.

    Attributes:
        context: length of the context that conditions them, 0 for plain ones.
        start: how conditioned ones start.
    """

    context: int = 0
    start: CbnStart = "paper"

    def __call__(self, channels: int) -> nn.Module:
        """One of them."""
        return batch_norm(channels, self.context, self.start)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a 3x3 shortcut where the shape changes.

    Args:
        into: channels of the input.
        out: channels of the output.
        stride: 2 halves the side, or doubles it in a decoder.
        norms: its batch norms.
        up: whether the convolutions are transposed, as the decoder's are.
    """

    def __init__(self, into: int, out: int, stride: int, norms: Norms, *, up: bool = False) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv3(into, out, stride, up), norms(out)
        self.conv2, self.norm2 = _conv3(out, out, 1, up), norms(out)
        changes = stride != 1 or into != out
        self.shortcut = _conv3(into, out, stride, up) if changes else None
        self.shortcut_norm = norms(out) if changes else None

    def forward(self, features: Tensor, context: Tensor | None) -> Tensor:
        """Features (B, into, H, W) to (B, out, H', W')."""
        hidden = F.relu(self.norm1(self.conv1(features), context), inplace=True)
        hidden = self.norm2(self.conv2(hidden), context)
        if self.shortcut is not None and self.shortcut_norm is not None:
            features = self.shortcut_norm(self.shortcut(features), context)
        hidden += features  # no gradient needs what a norm gives: its place is free
        return F.relu(hidden, inplace=True)


class ResNetEncoder(nn.Module):
    """Image to embedding.

    Args:
        shape: of the network.
        norms: its batch norms.
        added: length of the context whose linear embedding is added to the image's (Emb), 0 for none.
    """

    def __init__(self, shape: ResNetShape, norms: Norms, added: int = 0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape.bands, shape.width, shape.stem_px, stride=shape.stem_px)
        self.stem_norm = norms(shape.width)
        steps = zip(pairwise([shape.width, *shape.widths]), shape.blocks, strict=True)
        self.stages = nn.ModuleList(
            _stage(into, out, count, 1 if stage == 0 else 2, norms) for stage, ((into, out), count) in enumerate(steps)
        )
        self.added = nn.Linear(added, shape.widths[-1]) if added else None
        _lay_channels_last(self)

    def forward(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """Embed images.

        Args:
            images: reflectance in [0, 1], (B, bands, H, W).
            context: (B, context), None for a network without conditioning.

        Returns:
            (B, width of the last stage).
        """
        embedded: Tensor = self.pixels(images, context).mean(dim=(2, 3))
        return embedded if self.added is None else embedded + self.added(context)

    def pixels(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """The last features before they are pooled.

        Args:
            images: reflectance in [0, 1], (B, bands, H, W).
            context: (B, context), None for a network without conditioning.

        Returns:
            (B, width of the last stage, H / shrink, W / shrink).
        """
        features: Tensor = F.relu(self.stem_norm(self.stem(images), context), inplace=True)
        for stage in self.stages:
            for block in stage:  # type: ignore[attr-defined]
                features = block(features, context)
        return features


class ResNetClassifier(ResNetEncoder):
    """Image to embedding, with a linear head beside it that turns embeddings into classes.

    Args:
        shape: of the network.
        norms: its batch norms.
        added: length of the context whose linear embedding is added to the image's (Emb), 0 for none.
        classes: outputs of the head.
    """

    def __init__(self, shape: ResNetShape, norms: Norms, added: int = 0, *, classes: int) -> None:
        super().__init__(shape, norms, added)
        self.head = nn.Linear(shape.widths[-1], classes)


class ResNetDecoder(nn.Module):
    """Embedding to image: the encoder's stages in reverse, with transposed convolutions and a sigmoid.

    The first layer unfolds the embedding to the encoder's last features; it has no batch norm, as the count of
    9,772,109 parameters leaves none for it ([I]; [C] gives the layers).

    Args:
        shape: of the encoder.
        image_px: side of the image, a multiple of `shape.shrink`.
        norms: its batch norms.
    """

    def __init__(self, shape: ResNetShape, image_px: int, norms: Norms) -> None:
        super().__init__()
        widths = shape.widths[::-1]
        self.unfold = nn.ConvTranspose2d(widths[0], widths[0], image_px // shape.shrink)
        steps = list(zip(pairwise([*widths, widths[-1]]), shape.blocks[::-1], strict=True))
        self.stages = nn.ModuleList(
            _stage(into, out, count, 1 if into == out else 2, norms, up=True) for (into, out), count in steps
        )
        self.image = nn.ConvTranspose2d(shape.width, shape.bands, shape.stem_px, stride=shape.stem_px)
        _lay_channels_last(self)

    def forward(self, embeddings: Tensor, context: Tensor | None = None) -> Tensor:
        """Embeddings (B, D) and context (B, context) to images in [0, 1], (B, bands, image_px, image_px)."""
        features = self.unfold(embeddings[:, :, None, None])
        for stage in self.stages:
            for block in stage:  # type: ignore[attr-defined]
                features = block(features, context)
        return torch.sigmoid(self.image(features))


def _stage(into: int, out: int, count: int, stride: int, norms: Norms, *, up: bool = False) -> nn.ModuleList:
    """Residual blocks, the first of which changes the shape."""
    first = ResidualBlock(into, out, stride, norms, up=up)
    return nn.ModuleList([first, *(ResidualBlock(out, out, 1, norms, up=up) for _ in range(count - 1))])


def _lay_channels_last(network: nn.Module) -> None:
    """Keep the channels of a pixel side by side: features follow the kernels, and convolutions were measured faster."""
    network.to(memory_format=torch.channels_last)


def _conv3(into: int, out: int, stride: int, up: bool) -> nn.Module:
    if up:
        return nn.ConvTranspose2d(into, out, 3, stride, padding=1, output_padding=stride - 1)
    return nn.Conv2d(into, out, 3, stride, padding=1)
