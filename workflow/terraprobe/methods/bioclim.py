"""`bioclim`: an autoencoder over all bands at once, plain or conditioned on climate (Leonhardt et al.).

The paper's self-supervised path: ResNet18 and the decoder that mirrors it learn to reconstruct. Section numbers
"sec. 1" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from terraprobe.method import Batch, Note, Source
from terraprobe.methods._bioclim import SHARED_NOTES, ClimateResNet, ClimateResNetRecipe, norms, shape
from terraprobe.models.ssim import WINDOW_PX
from terraprobe.towers import DECODER

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput


class BioclimRecipe(ClimateResNetRecipe):
    """Recipe of `bioclim`; the defaults are those of the paper's EuroSAT autoencoder.

    Attributes:
        cbn_in: where batch norms are conditional.
        ssim_weight: lambda of the loss.
    """

    cbn_in: Annotated[Literal["both", "encoder", "decoder"], Source("P", "sec. 1 CBN")] = "both"
    ssim_weight: Annotated[float, Field(ge=0, le=1), Source("P", "sec. 1 Losses: lambda")] = 0.1
    epochs: Annotated[int, Field(ge=1), Source("P", "sec. 1 Optimiser: autoencoder")] = 200

    @model_validator(mode="after")
    def _cbn_fits(self) -> "BioclimRecipe":
        if self.cbn_in != "both" and self.conditioning != "cbn":
            raise ValueError(f"cbn_in: found {self.cbn_in!r}, allowed both where conditioning is {self.conditioning}")
        return self

    def conditional(self, part: str) -> bool:
        """Whether the batch norms of the `encoder` or the `decoder` are conditional."""
        return super().conditional(part) and self.cbn_in in ("both", part)

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that the decoder could not give back.

        Raises:
            ValueError: the side is no multiple of what the encoder shrinks by, or below the window of the SSIM.
        """
        if chip_px % self.shrink or chip_px < WINDOW_PX:
            raise ValueError(
                f"stem_px {self.stem_px} and {len(self.blocks)} stages of blocks do not fit chips of {chip_px} px, "
                f"allowed multiples of {self.shrink} px, at least {WINDOW_PX}"
            )


class Bioclim(ClimateResNet):
    """ResNet18 over all bands at once, plain or conditioned on context, trained as an autoencoder."""

    recipe_model = BioclimRecipe
    autoencoder = True
    notes = (
        Note("loss", "(1 - lambda) L1 + lambda (1 - SSIM)", Source("P", "sec. 1 Losses")),
        Note("SSIM", "11 x 11 Gaussian, sigma 1.5 px, K1 .01, K2 .03", Source("D", "sec. 1 gives no window")),
        Note("SVM on z", "RBF, min-max scaled by train chips", Source("C", "sec. 1 Evaluation")),
        Note(
            "C and width of the SVM",
            "1 and 1 / (values x variance), as scikit-learn's",
            Source("D", "stated nowhere"),
        ),
        Note("kept checkpoint", "lowest validation loss, fixed batches", Source("C", "sec. 1 Optimiser")),
        Note("decoder", "ConvT(512, 512, 4), the stages mirrored, ConvT k2 s2, sigmoid", Source("C", "sec. 1 Decoder")),
        Note(
            "stages of the decoder",
            "512-256-128-64-64, transposed 3x3 throughout; no norm after the first layer",
            Source("I", "sec. 1 Parameter counts: 9,772,109 and 9,871,949"),
        ),
        Note("missing pixels", "0, in the image and in the loss", Source("D", "EuroSAT has no gaps")),
        *SHARED_NOTES,
    )

    def __init__(
        self,
        recipe: BioclimRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        super().__init__(recipe, inputs, layers, chip_px)
        self._decoder = self.build_decoder(recipe, {self.name: len(self.input.bands)}, chip_px)
        self.network = nn.ModuleDict({"towers": self._towers, "decoder": self._decoder})

    @staticmethod
    def build_decoder(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.Module":
        """The mirrored ResNet."""
        from terraprobe.models.resnet import ResNetDecoder

        (count,) = bands.values()
        return ResNetDecoder(shape(recipe, count), chip_px, norms(recipe, "decoder"))

    @property
    def kept(self) -> "nn.ModuleDict":
        """Encoder and decoder."""
        from torch import nn

        return nn.ModuleDict({self.name: self._towers[self.name], DECODER: self._decoder})

    def loss(self, batch: Batch) -> "Tensor":
        """(1 - lambda) L1 + lambda (1 - SSIM) between image and reconstruction."""
        from torch.nn import functional as F  # noqa: N812

        from terraprobe.models.ssim import ssim

        images = self._augmented(batch)
        again = self._decoder(self._encode(images, batch), batch[self.name].get("context")).float()
        weight = self.recipe.ssim_weight
        total: Tensor = (1 - weight) * F.l1_loss(again, images) + weight * (1 - ssim(again, images))
        return total


METHOD = Bioclim
