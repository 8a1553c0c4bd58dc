"""`pixif`: a rival of `sscl` on the same network, contrastive at the level of images and of superpixels.

After Chen and Bruzzone, "Self-supervised SAR-optical data fusion of Sentinel-1/-2 images" (doi
10.1109/TGRS.2021.3128072). Its text could not be read beyond the abstract: what is marked C comes from its authors'
code, github.com/yusin2it/SARoptical_fusion at 896da9f, whose early fusion (`train_Efusion.py`) this is.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from terraprobe.health import RANK_SHARE
from terraprobe.method import Batch, Note, Source
from terraprobe.methods._sscl import SHARED_NOTES, DeepLabRecipe, JointMethod

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput

_KIND, _FLIP, _DOWN, _ACROSS, _DRAWS = range(5)
_HALF = 0.5
DROPS = (650 / 700, 675 / 700)
"""[C] train_Efusion.py: the learning rate falls 50 and 25 epochs before the last of 700 …"""
DROP = 0.2
"""… to this share each time."""

_LOSS = Source("C", "utils/losses.py, HardNegtive_loss")
_ADAM = Source("C", "train_Efusion.py")
_D = Source("D", "theirs is for 1,000 crops of 32 px a step")


class PixifRecipe(DeepLabRecipe):
    """Recipe of PixIF on the network of `sscl`.

    Attributes:
        projection: features that similarities are taken of, of an image and of a superpixel.
        temperature: of the similarities.
        beta: how much hard negatives count.
        tau_plus: share of the negatives that is taken for positives.
        shift_share: largest shift between the views, of the chip's side.
        superpixel_px: side of the squares that superpixels start as.
    """

    projection: Annotated[int, Field(ge=1), Source("C", "networks/propnets.py, E_Fusion")] = 128
    temperature: Annotated[float, Field(gt=0), _LOSS] = 0.5
    beta: Annotated[float, Field(ge=0), _LOSS] = 1.0
    tau_plus: Annotated[float, Field(ge=0, lt=1), _LOSS] = 0.1
    shift_share: Annotated[float, Field(ge=0, le=0.25), Source("C", "train_Efusion.py: .2 of crops of 32 px")] = 0.2
    superpixel_px: Annotated[int, Field(ge=2), Source("D", "theirs hold 30 px at least")] = 16
    epochs: Annotated[int, Field(ge=1), _D] = 100
    batch_size: Annotated[int, Field(ge=2), _D] = 32
    lr: Annotated[float, Field(gt=0), _ADAM] = 3e-3
    weight_decay: Annotated[float, Field(ge=0), _ADAM] = 1e-4
    warmup: Annotated[float, Field(ge=0, lt=1), Source("D", "theirs: 50 steps")] = 0.02

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips whose halves, the views, do not fit the network or the superpixels.

        Raises:
            ValueError: half the side is below twice the output stride, or no multiple of it or of a superpixel's.
        """
        view = chip_px // 2
        if chip_px % 2 or view % self.output_stride or view < 2 * self.output_stride:
            raise ValueError(
                f"output_stride {self.output_stride} does not fit views of half of {chip_px} px, allowed sides of "
                f"which half is a multiple of it, at least {2 * self.output_stride} px"
            )
        if chip_px % self.superpixel_px:
            raise ValueError(f"superpixel_px {self.superpixel_px} does not divide the chips' side of {chip_px} px")


class Pixif(JointMethod):
    """The network of `sscl`, trained so that images and superpixels find themselves in a shifted view (PixIF)."""

    recipe_model = PixifRecipe
    keeps_last = True
    rank_share = RANK_SHARE  # what is contrasted spreads
    draws = _DRAWS
    notes = (
        Note("fusion", "early: all channels enter one network", Source("C", "train_Efusion.py, one of three")),
        Note("network", "extractor and DeepLabv3 of sscl", Source("I", "sec. 4 Evaluation: their own ResUNet")),
        Note("loss", "of images plus of superpixels, hard negatives, both views", _LOSS),
        Note("views", "two halves of the chip, one flipped and shifted; no colour changes", _ADAM),
        Note("image level", "linear layer on the mean of the last features", Source("D", "theirs: of the encoder's")),
        Note("superpixel level", "1x1 convolution, bilinear to full size, length 1, mean where both views see it",
             Source("I", "train_Efusion.py; its mask leaves one pixel of each")),
        Note("superpixels", "SLIC on the optical channels, else on all",
             Source("D", "datasets/superpixels_seg.py: Felzenszwalb, scale 200, of B02, B03, B04")),
        Note("schedule", "Adam, x .2 at 650 and 675 of 700 epochs", _ADAM),
        Note("kept weights", "the last epoch's", _ADAM),
        Note("usable chip", "every channel at least half observed", Source("D", "DFC2020 has no gaps")),
        Note("embedding", "features of places, averaged", Source("D", "sec. 4 has none")),
        *(note for note in SHARED_NOTES if note.what not in ("optimiser", "kept checkpoint")),
    )  # fmt: skip

    def __init__(
        self,
        recipe: PixifRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        super().__init__(recipe, inputs, layers, chip_px)
        self.image_head = nn.Linear(recipe.aspp, recipe.projection)
        self.pixel_head = nn.Conv2d(recipe.aspp, recipe.projection, 1)
        self.network = nn.ModuleDict(
            {"towers": self._towers, "image_head": self.image_head, "pixel_head": self.pixel_head}
        )
        units = [tower.unit for tower in inputs.values() for _ in tower.bands]
        optical = [place for place, unit in enumerate(units) if unit == "reflectance"]
        self._seen = optical or list(range(len(units)))

    def loss(self, batch: Batch) -> "Tensor":
        """Contrast of images, and of superpixels."""
        from torch.nn import functional as F  # noqa: N812

        from terraprobe.models.superpixels import superpixels
        from terraprobe.ranks import gather_rows

        images = self.images(batch)
        side = images.shape[-1]
        down, across = self.places(batch["draws"]["uniform"], side)
        margin, view = side // 4, side // 2
        maps = [
            self.encoder.pixels(images_of)
            for images_of in (_at(images, down, across), images[:, :, margin : margin + view, margin : margin + view])
        ]
        one, two = (gather_rows(F.normalize(self.image_head(m.mean(dim=(2, 3))).float(), dim=1)) for m in maps)
        labels = superpixels(images[:, self._seen], self.recipe.superpixel_px)
        patches = self._patches(maps, _at(labels[:, None], down, across)[:, 0], down - margin, across - margin)
        return self._contrast(one, two) + self._contrast(*patches)

    def places(self, uniform: "Tensor", side: int) -> "tuple[Tensor, Tensor]":
        """Rows and columns of each chip that the first view shows, flipped and shifted, (B, side / 2) each.

        Args:
            uniform: random numbers in [0, 1), (B, draws).
            side: of the chips.
        """
        import torch

        most = int(self.recipe.shift_share * side)
        steps = torch.arange(side // 2, device=uniform.device)
        flips = uniform[:, _FLIP] < _HALF
        upright = uniform[:, _KIND] < _HALF  # of the two flips the one that is tried
        found = []
        for flipped, shift in ((flips & upright, uniform[:, _DOWN]), (flips & ~upright, uniform[:, _ACROSS])):
            turned = torch.where(flipped[:, None], steps.flip(0), steps)
            found.append(turned + side // 4 + (shift * (2 * most + 1)).floor().long()[:, None] - most)
        return found[0], found[1]

    def _patches(
        self, maps: "list[Tensor]", labels: "Tensor", down: "Tensor", across: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        """Means over the superpixels of all ranks that both views see, (N, D) of each.

        Args:
            maps: last features of both views.
            labels: superpixels of the first view, (B, h, w).
            down: rows of the second view that the first shows, (B, h).
            across: columns, likewise.
        """
        from torch.nn import functional as F  # noqa: N812

        from terraprobe.models.segmenter import full_size
        from terraprobe.models.superpixels import segment_means
        from terraprobe.ranks import gather_rows

        view = labels.shape[-1]
        one, two = (F.normalize(full_size(self.pixel_head(m).float(), view), dim=1) for m in maps)
        inside = [(place >= 0) & (place < view) for place in (down, across)]
        both = inside[0][:, :, None] & inside[1][:, None, :]
        two = _at(two, down.clamp(0, view - 1), across.clamp(0, view - 1))
        count = (self.chip_px // self.recipe.superpixel_px) ** 2
        (first, pixels), (second, _) = (segment_means(f, labels, count, both) for f in (one, two))
        first, second, pixels = (gather_rows(rows) for rows in (first, second, pixels))
        seen = pixels > 0
        return first[seen], second[seen]

    def _contrast(self, one: "Tensor", two: "Tensor") -> "Tensor":
        from terraprobe.models.hard_contrast import hard_contrast

        return hard_contrast(one, two, self.recipe.temperature, self.recipe.beta, self.recipe.tau_plus)

    def optimiser(self) -> "Optimizer":
        """Adam, whose weight decay is part of the gradient."""
        import torch

        weights = self.network.parameters()
        return torch.optim.Adam(weights, self.recipe.lr, weight_decay=self.recipe.weight_decay, fused=True)

    def learning_rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then two steps down near the end."""
        rise = round(self.recipe.warmup * steps)
        fallen = sum(step >= drop * steps for drop in DROPS)
        return float(self.recipe.lr * min(1.0, (step + 1) / max(1, rise)) * DROP**fallen)


METHOD = Pixif


def _at(images: "Tensor", down: "Tensor", across: "Tensor") -> "Tensor":
    """Rows and columns of each image, (B, C, h, w)."""
    import torch

    chips = torch.arange(len(images), device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return images[chips, channels, down[:, None, :, None], across[:, None, None, :]]
