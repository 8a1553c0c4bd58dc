"""`simsiam`: the rival of `sscl` on the same network, two views of a whole chip (Chen and He 2021).

Section numbers "sec. 4" are those of the specification in docs/methods.md; "SimSiam" is that method's own paper.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from terraprobe.augmentation import DRAWS, Augmentation
from terraprobe.method import Batch, Method, Note, Source
from terraprobe.methods._sscl import SHARED_NOTES, DeepLabRecipe, JointMethod

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput

UNBOUNDED = (-float("inf"), float("inf"))

_P = Source("P", "SimSiam, sec. 3: baseline settings")
_D = Source("D", "sec. 4: geometric transformations and blur, no ranges")
Share = Annotated[float, Field(ge=0, le=1)]


class SimSiamRecipe(DeepLabRecipe):
    """Recipe of SimSiam on the network of `sscl`.

    Attributes:
        projection: width of the projector, and what it gives.
        hidden: width of the predictor.
        momentum: of SGD.
        crop_area: smallest and largest share of the chip that a view shows.
        rotation_deg: largest rotation of a view, both ways.
        blur_share: how many views are blurred.
        blur_px: smallest and largest standard deviation of the blur.
    """

    projection: Annotated[int, Field(ge=1), _P] = 2048
    hidden: Annotated[int, Field(ge=1), _P] = 512
    momentum: Annotated[float, Field(ge=0, lt=1), _P] = 0.9
    weight_decay: Annotated[float, Field(ge=0), _P] = 1e-4
    epochs: Annotated[int, Field(ge=1), _P] = 100
    lr: Annotated[float, Field(gt=0), Source("P", "SimSiam, sec. 3: .05 x batch / 256")] = 0.00625
    val_batches: Annotated[int, Field(ge=1), Source("D", "shown beside the train loss; chooses nothing")] = 8
    crop_area: Annotated[tuple[Share, Share], _D] = (0.2, 1.0)
    rotation_deg: Annotated[float, Field(ge=0, le=180), _D] = 180.0
    blur_share: Annotated[Share, _D] = 0.5
    blur_px: Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=4)]], _D] = (0.1, 2.0)

    @field_validator("crop_area", "blur_px")
    @classmethod
    def _smallest_first(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] <= ends[1]:
            raise ValueError(f"found {list(ends)}, allowed two numbers above 0, the smaller one first")
        return ends


class SimSiam(JointMethod):
    """The network of `sscl`, trained so that two views of a chip agree (Chen and He 2021)."""

    recipe_model = SimSiamRecipe
    keeps_last = True
    draws = 2 * DRAWS
    notes = (
        Note("loss", "negative cosine of prediction and projection, both ways", Source("P", "SimSiam, sec. 3")),
        Note("stop-gradient", "what is predicted gets no gradient", Source("P", "SimSiam, sec. 3")),
        Note("projector", "3 linear layers, BN after each, ReLU between", Source("P", "SimSiam, sec. 3")),
        Note("predictor", "2 linear layers, BN and ReLU between", Source("P", "SimSiam, sec. 3")),
        Note("views", "crop, flips and rotation in one interpolation, then blur", Source("P", "sec. 4 Evaluation")),
        Note(
            "kept weights", "the last epoch's: constant outputs have the lowest loss", Source("D", "sec. 4 gives none")
        ),
        Note("schedule", "SGD, cosine to zero", Source("P", "SimSiam, sec. 3")),
        Note("usable chip", "every channel at least half observed", Source("D", "DFC2020 has no gaps")),
        Note("embedding", "features of places, averaged", Source("D", "sec. 4 has none")),
        *(note for note in SHARED_NOTES if note.what not in ("optimiser", "kept checkpoint")),
    )

    def __init__(
        self,
        recipe: SimSiamRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        super().__init__(recipe, inputs, layers, chip_px)
        width, hidden = recipe.projection, recipe.hidden
        self.projector = nn.Sequential(
            *_norm(recipe.aspp, width), nn.ReLU(inplace=True), *_norm(width, width), nn.ReLU(inplace=True),
            *_norm(width, width),
        )  # fmt: skip
        self.predictor = nn.Sequential(*_norm(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width))
        self.network = nn.ModuleDict({"towers": self._towers, "projector": self.projector, "predictor": self.predictor})
        self.views = Augmentation(
            recipe.crop_area, recipe.rotation_deg, recipe.blur_share, recipe.blur_px, 0.0, (0.1, 0.1), 0.0, UNBOUNDED
        )

    def loss(self, batch: Batch) -> "Tensor":
        """Negative cosine between what one view predicts and what the other projects to, both ways."""
        images = self.images(batch)
        one, two = (
            self.projector(self.encoder(self.views(images, numbers.to(images.dtype))))
            for numbers in batch["draws"]["uniform"].chunk(2, dim=1)
        )
        return (distance(self.predictor(one), two) + distance(self.predictor(two), one)) / 2

    def optimiser(self) -> "Optimizer":
        """SGD with momentum."""
        import torch

        recipe = self.recipe
        weights = self.network.parameters()
        return torch.optim.SGD(weights, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)

    def learning_rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then a cosine to zero."""
        return Method.learning_rate(self, step, steps)


METHOD = SimSiam


def distance(prediction: "Tensor", projection: "Tensor") -> "Tensor":
    """Mean over chips of minus the cosine, without a gradient to the projection: -1 where both agree."""
    from torch.nn import functional as F  # noqa: N812

    return -F.cosine_similarity(prediction.float(), projection.detach().float(), dim=1).mean()


def _norm(into: int, out: int) -> "list[nn.Module]":
    from torch import nn

    return [nn.Linear(into, out), nn.BatchNorm1d(out)]
