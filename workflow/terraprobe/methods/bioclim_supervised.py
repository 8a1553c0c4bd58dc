"""`bioclim_supervised`: the encoder of `bioclim` and a linear head, trained with chip-level classes (Leonhardt et al.).

The paper's supervised path, from scratch or from the weights of an autoencoder of the same shape. Section numbers
"sec. 1" are those of the specification in docs/methods.md.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.archiveclasses import EUROSAT_CLASSES
from terraprobe.classlists import ClassNames, has_classes, one_hot
from terraprobe.method import Batch, Note, Source, TrainRecipe
from terraprobe.methods._bioclim import SHARED_NOTES, ClimateResNet, ClimateResNetRecipe, added, norms, shape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.chips.store import StoreLayer
    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool


class BioclimSupervisedRecipe(ClimateResNetRecipe):
    """Recipe of `bioclim_supervised`; the defaults are those of the paper for EuroSAT.

    Attributes:
        classes: which of the label's classes, in the order of the head's outputs; chips of any other are left out. All
            classes of the label layer where a study names none.
        multi_label: whether a chip may have several classes; a study sets it by its label.
        epochs: passes over the train chips, at most.
        patience: epochs without a higher validation accuracy after which training ends.
        val_batches: fixed batches whose mean loss is shown; what chooses is the accuracy on all validation chips.
    """

    classes: Annotated[ClassNames, Source("P", "sec. 1 Data: EuroSAT, 10 classes")] = tuple(EUROSAT_CLASSES.values())
    multi_label: Annotated[bool, Source("P", "sec. 1 Data: EuroSAT one class, BigEarthNet several")] = False
    epochs: Annotated[int, Field(ge=1), Source("C", "sec. 1 Optimiser: at most")] = 100
    patience: Annotated[int, Field(ge=1), Source("P", "sec. 1 Optimiser: EuroSAT; 10 for BigEarthNet")] = 5
    val_batches: Annotated[int, Field(ge=1), Source("D", "shown beside the train loss; chooses nothing")] = 8


class BioclimSupervised(ClimateResNet):
    """ResNet18 over all bands at once with a linear head, plain or conditioned on context, trained with classes."""

    recipe_model: ClassVar[type[TrainRecipe]] = BioclimSupervisedRecipe
    supervised = True
    start_shape: ClassVar[tuple[str, ...]] = ("towers", "conditioning", "elevation", "stem_px", "width", "blocks")
    fresh: ClassVar[tuple[str, ...]] = ("head",)
    notes: ClassVar[tuple[Note, ...]] = (
        Note("loss", "cross entropy", Source("P", "sec. 1 Losses")),
        Note("loss, several classes", "binary cross entropy with logits", Source("C", "sec. 1 Losses")),
        Note("accuracy, several classes", "share of a chip's classes called right", Source("I", "sec. 1 table: 93.79")),
        Note("head", "Linear(512, classes), with bias", Source("C", "sec. 1 Parameter counts")),
        Note(
            "kept checkpoint, supervised",
            "highest validation accuracy, the first of equals",
            Source("C", "sec. 1 Optimiser"),
        ),
        Note(
            "start", "the autoencoder's encoder and its normalisation; a fresh head", Source("P", "sec. 1 table, ssl")
        ),
        Note(
            "layer of Grad-CAM",
            "output of the last residual block, before pooling",
            Source("D", "sec. 1 Evaluation: the last layer"),
        ),
        Note("unknown class", "leaves a chip out", Source("D", "EuroSAT has none")),
        Note("missing pixels, supervised", "0, in the image", Source("D", "EuroSAT has no gaps")),
        Note(
            "α",
            "wall time of an epoch over that of the first encoder, both means over seeds",
            Source("D", "sec. 1 Evaluation: over 10 epochs on one device"),
        ),
        *SHARED_NOTES,
    )

    def __init__(
        self,
        recipe: BioclimSupervisedRecipe,
        inputs: "Mapping[str, TowerInput]",
        layers: "Mapping[str, StoreLayer]",
        chip_px: int,
    ) -> None:
        from torch import nn

        super().__init__(recipe, inputs, layers, chip_px)
        self.network = nn.ModuleDict({"towers": self._towers})
        self._place = {name: place for place, name in enumerate(recipe.classes)}

    @staticmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """The encoder, which still gives z, and the head beside it."""
        from torch import nn

        from terraprobe.models.resnet import ResNetClassifier

        parts = norms(recipe, "encoder"), added(recipe)
        return nn.ModuleDict(
            {
                name: ResNetClassifier(shape(recipe, count), *parts, classes=len(recipe.classes))
                for name, count in bands.items()
            }
        )

    @property
    def patience(self) -> int:
        """Epochs without a gain after which training ends."""
        return int(self.recipe.patience)

    def eligible(self, pool: "ChipPool") -> NDArray[np.bool_]:
        """Chips that can be seen and whose class is known and among the recipe's; of several all are among them."""
        return super().eligible(pool) & has_classes(pool.classes, self.recipe.classes, self.recipe.multi_label)

    def fetch(self, pool: "ChipPool", chips: NDArray[np.intp], uniform: NDArray[np.float64]) -> Batch:
        """Bands, flips, context and the number of each chip's class, or whether it has each class (B, classes)."""
        import torch

        part = dict(super().fetch(pool, chips, uniform)[self.name])
        names = pool.classes[chips]
        if self.recipe.multi_label:
            part["target"] = torch.from_numpy(one_hot(names, self.recipe.classes))
        else:
            part["target"] = torch.tensor([self._place[name] for name in names])
        return {self.name: part}

    def loss(self, batch: Batch) -> "Tensor":
        """Cross entropy of the classes, of each by itself where a chip may have several."""
        from torch.nn import functional as F  # noqa: N812

        logits, target = self._logits(batch).float(), batch[self.name]["target"]
        if self.recipe.multi_label:
            return F.binary_cross_entropy_with_logits(logits, target.float())
        return F.cross_entropy(logits, target)

    def hits(self, batch: Batch) -> "Tensor":
        """Whether the class of each chip is called right, or the share of its classes that are, (B,)."""
        logits, target = self._logits(batch), batch[self.name]["target"]
        if self.recipe.multi_label:
            return ((logits > 0) == target).float().mean(dim=1)
        return (logits.argmax(dim=1) == target).float()

    def _logits(self, batch: Batch) -> "Tensor":
        head: nn.Module = self._towers[self.name].head  # type: ignore[assignment]
        logits: Tensor = head(self._encode(self._augmented(batch), batch))
        return logits


METHOD = BioclimSupervised
