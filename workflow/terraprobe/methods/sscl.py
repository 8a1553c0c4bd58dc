"""`sscl`: context reconstruction (CoRe) over the channels of several modalities at once (Montanaro et al.).

The second stage: it starts from an encoder of `sscl_unifeat`, whose extractor it takes over; without a start it is the
paper's "CoRe only". Section numbers "sec. 4" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import Field, model_validator

from terraprobe.method import Batch, Note, Source
from terraprobe.methods._sscl import SHARED_NOTES, DeepLabRecipe, JointMethod

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.chips.store import StoreLayer
    from terraprobe.models.deeplab import DeepLab
    from terraprobe.normalisation import TowerInput

_COUNT, _DOWN, _ACROSS, _SIGMA, _CHANNELS = range(5)


class SsclRecipe(DeepLabRecipe):
    """Recipe of CoRe.

    Attributes:
        degradations: what is done to the input, in this order; one that is left out is switched off.
        drop_share: at most this share of the channels is dropped, at least one.
        cutout_share: of the area that is cut out.
        blur_px: smallest and largest standard deviation of the blur.
        epochs: passes over the train chips; 0 keeps the encoder as it starts.
    """

    degradations: Annotated[
        tuple[Literal["dropout", "cutout", "blur"], ...], Source("P", "sec. 4 CoRe: all three; the order is ours")
    ] = ("dropout", "cutout", "blur")
    drop_share: Annotated[float, Field(gt=0, lt=1), Source("D", "sec. 4 CoRe: 1 to C / 2 channels")] = 0.5
    cutout_share: Annotated[float, Field(gt=0, lt=1), Source("D", "sec. 4 CoRe: 1/4 of the area")] = 0.25
    blur_px: Annotated[
        tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], Source("D", "sec. 4 CoRe: sigma .1 to 2")
    ] = (0.1, 2.0)
    epochs: Annotated[int, Field(ge=0), Source("D", "sec. 4 CoRe")] = 100
    lr: Annotated[float, Field(gt=0), Source("D", "sec. 4 CoRe: Adam")] = 1e-4

    @model_validator(mode="after")
    def _degradations_fit(self) -> "SsclRecipe":
        if len(set(self.degradations)) < len(self.degradations):
            raise ValueError(f"degradations: found {list(self.degradations)}, allowed each at most once")
        if self.blur_px[0] > self.blur_px[1]:
            raise ValueError(f"blur_px: found {list(self.blur_px)}, allowed two numbers, the smaller one first")
        return self


class Sscl(JointMethod):
    """Shared single-channel extractor and DeepLabv3, trained to give degraded chips back whole (UniFeat + CoRe)."""

    recipe_model = SsclRecipe
    start_shape = ("towers", "conditioning", "extractor", "features", "despeckle")
    fresh = ("deeplab",)
    takes_weights = True
    residual_fresh = ("conv1.weight",)  # it takes features of channels, not an image
    variants = ({"extractor": "early_fusion"},)
    notes = (
        Note("loss", "L1 between the clean chip and what is made of the degraded one", Source("P", "sec. 4 CoRe")),
        Note("first stage", "the extractor of sscl_unifeat, by start; without one, CoRe only", Source("P", "sec. 4")),
        Note(
            "ImageNet",
            "by weights: all but extractor, first convolution and pyramid",
            Source("D", "sec. 4 Evaluation: extractor and first convolution random"),
        ),
        Note("dropped channels", "0 in the input, and part of what must be given back", Source("P", "sec. 4 CoRe")),
        Note("cut-out", "one square of all channels, wholly inside", Source("D", "sec. 4 gives no shape")),
        Note(
            "reconstruction head", "1x1 convolution, bilinear to full size, dropped later", Source("I", "sec. 4 CoRe")
        ),
        Note("DeepLabv3", "no dropout in the pyramid, where torchvision has .5", Source("D", "its paper names none")),
        Note(
            "early-fusion control",
            "one 3x3 convolution, BN, ReLU from all channels to as many features",
            Source("I", "sec. 4 Architecture: comparable number of parameters"),
        ),
        Note("usable chip", "every channel at least half observed", Source("D", "DFC2020 has no gaps")),
        Note("embedding", "last features before the head, averaged over the places", Source("D", "sec. 4 has none")),
        *SHARED_NOTES,
    )

    def __init__(
        self,
        recipe: SsclRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        super().__init__(recipe, inputs, layers, chip_px)
        self.channels = sum(len(tower.bands) for tower in inputs.values())
        self.draws = _CHANNELS + self.channels
        self.head = nn.Conv2d(recipe.aspp, self.channels, 1)
        self.network = nn.ModuleDict({"towers": self._towers, "head": self.head})

    @property
    def residual(self) -> "nn.Module":
        """The ResNet of DeepLabv3."""
        deeplab = cast("DeepLab", self.encoder.deeplab)
        return deeplab.resnet

    def degrade(self, images: "Tensor", uniform: "Tensor") -> "Tensor":
        """Degrade each chip by its own random numbers, (B, draws)."""
        from terraprobe.models.degrade import blur, cut_out, drop_channels

        recipe, most = self.recipe, max(1, int(self.recipe.drop_share * self.channels))
        least_px, most_px = recipe.blur_px
        for kind in recipe.degradations:
            if kind == "dropout":
                images = drop_channels(images, 1 + (uniform[:, _COUNT] * most).floor(), uniform[:, _CHANNELS:])
            elif kind == "cutout":
                images = cut_out(images, recipe.cutout_share, uniform[:, [_DOWN, _ACROSS]])
            else:
                images = blur(images, least_px + uniform[:, _SIGMA] * (most_px - least_px), most_px)
        return images

    def loss(self, batch: Batch) -> "Tensor":
        """L1 between clean chips and what the network makes of degraded ones."""
        from torch.nn import functional as F  # noqa: N812

        clean = self.images(batch)
        made = self.head(self.encoder.pixels(self.degrade(clean, batch["draws"]["uniform"])))
        full = F.interpolate(made.float(), size=clean.shape[2:], mode="bilinear", align_corners=False)
        return F.l1_loss(full, clean)


METHOD = Sscl
