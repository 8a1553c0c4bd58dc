"""A single-channel vision transformer (Dosovitskiy et al. 2021), read out at its CLS token."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that PyTorch itself uses

from terraprobe.errors import TerraprobeError

MLP_RATIO = 4
"""Hidden width of the feed-forward part over the model's width, as in ViT-B."""

TOKEN_STD = 0.02
"""Standard deviation of the initial CLS token and position embedding, as in ViT."""


class ViT(nn.Module):
    """Pre-norm vision transformer with GELU, a CLS token and a learned position embedding.

    Args:
        image_px: side of the image.
        patch_px: side of a patch; divides `image_px`.
        width: of the tokens; a multiple of `heads`.
        depth: number of layers.
        heads: attention heads.

    Raises:
        TerraprobeError: `patch_px` does not divide `image_px`, or `heads` not `width`.
    """

    def __init__(self, image_px: int, patch_px: int, width: int, depth: int, heads: int) -> None:
        if image_px % patch_px or width % heads:
            raise TerraprobeError(
                f"ViT: patch_px {patch_px} must divide the image side of {image_px} px, and heads {heads} the width "
                f"{width}. Change patch_px, width or heads in the encoder's recipe."
            )
        super().__init__()
        tokens = (image_px // patch_px) ** 2 + 1
        self.patches = nn.Conv2d(1, width, patch_px, stride=patch_px)
        self.cls = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=TOKEN_STD))
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, width), std=TOKEN_STD))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, MLP_RATIO * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: normalised, (B, 1, image_px, image_px).

        Returns:
            (B, width): the CLS token after the final LayerNorm.
        """
        cls: Tensor = self.norm(_cls_only(self.layers[-1], self._before_last(images)))
        return cls[:, 0]

    def pixels(self, images: Tensor) -> Tensor:
        """The tokens of the patches as a map.

        Args:
            images: normalised, (B, 1, image_px, image_px).

        Returns:
            (B, width, image_px / patch_px, image_px / patch_px), after the final LayerNorm.
        """
        tokens: Tensor = self.norm(self.layers[-1](self._before_last(images)))[:, 1:]
        side = images.shape[-1] // self.patches.kernel_size[0]
        return tokens.transpose(1, 2).reshape(len(images), -1, side, side)

    def _before_last(self, images: Tensor) -> Tensor:
        """All tokens, CLS first, before the last layer, (B, 1 + patches, width)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions
        for layer in self.layers[:-1]:
            x = layer(x)
        return x


class ProjectedViT(nn.Sequential):
    """A ViT and a linear projection of its embeddings.

    Args:
        vit: the transformer.
        projection: of what it gives.
    """

    def __init__(self, vit: ViT, projection: nn.Linear) -> None:
        super().__init__(OrderedDict(vit=vit, projection=projection))

    def pixels(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """The tokens of the patches as a map, before the projection; see `ViT.pixels`."""
        vit: ViT = self.vit  # type: ignore[assignment]
        return vit.pixels(images)


def _cls_only(layer: nn.Module, x: Tensor) -> Tensor:
    """The CLS row of a pre-norm encoder layer's output, (B, 1, width).

    The other rows of the last layer are never read: leaving them out is a third of a step at depth 3.
    """
    normed = layer.norm1(x)  # type: ignore[operator]
    attended = layer.self_attn(normed[:, :1], normed, normed, need_weights=False)[0]  # type: ignore[operator]
    cls = x[:, :1] + attended
    hidden = F.gelu(layer.linear1(layer.norm2(cls)))  # type: ignore[operator]
    return cls + layer.linear2(hidden)  # type: ignore[operator,no-any-return]
