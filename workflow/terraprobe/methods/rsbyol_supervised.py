"""`rsbyol_supervised`: the ResNet of `rsbyol` on one band or triplet, trained from scratch with chip-level classes.

"scratch" of the paper's Table II (Jain et al.): what the frozen encoders are held against. How it was trained is stated
nowhere; it learns here as `bioclim_supervised` does. Section numbers "sec. 3" are those of the specification in
docs/methods.md.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from terraprobe.archiveclasses import EUROSAT_CLASSES
from terraprobe.classlists import ClassNames
from terraprobe.method import Batch, Method, Note, Source, TrainRecipe
from terraprobe.methods._bioclim import flip
from terraprobe.methods._rsbyol import TRIPLET, check_bands, check_size
from terraprobe.methods.bioclim_supervised import BioclimSupervised
from terraprobe.methods.rsbyol import Rsbyol, in_unit_range
from terraprobe.towers import TowerRecipe, check_tower

if TYPE_CHECKING:
    from torch import Tensor, nn

    from terraprobe.normalisation import TowerInput
    from terraprobe.pool import ChipPool

_RGB = TowerRecipe(modality="s2_l1c", bands=("B04", "B03", "B02"))


class RsbyolSupervisedRecipe(TrainRecipe):
    """Recipe of `rsbyol_supervised`; the defaults are the paper's RGB on EuroSAT.

    Attributes:
        towers: the one tower, its name to the band or the three bands that enter the network.
        width: of the ResNet: channels of the 3x3 convolutions of its first stage.
        blocks: of its four stages.
        hidden: width of the head.
        classes: which of the label's classes, in the order of the head's outputs; chips of any other are left out. All
            classes of the label layer where a study names none.
        multi_label: whether a chip may have several classes; a study sets it by its label.
        epochs: passes over the train chips, at most.
        patience: epochs without a higher validation accuracy after which training ends.
        val_batches: fixed batches whose mean loss is shown; what chooses is the accuracy on all validation chips.
    """

    towers: Annotated[dict[str, TowerRecipe], Source("P", "sec. 3 Evaluation: RGB, RE5-6-7, SAR")] = {"rgb": _RGB}
    conditioning: Annotated[Literal["none"], Source("P", "sec. 3 Network takes an image alone")] = "none"
    width: Annotated[int, Field(ge=1), Source("P", "sec. 3 Network: ResNet50")] = 64
    blocks: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(min_length=4, max_length=4),
        Source("P", "sec. 3 Network: ResNet50"),
    ] = (3, 4, 6, 3)
    hidden: Annotated[int, Field(ge=1), Source("P", "sec. 3 Evaluation: MLP 128, batch norm, ReLU")] = 128
    classes: Annotated[ClassNames, Source("P", "sec. 3 Evaluation: EuroSAT")] = tuple(EUROSAT_CLASSES.values())
    multi_label: Annotated[bool, Source("P", "sec. 3 Evaluation: one class, softmax")] = False
    epochs: Annotated[int, Field(ge=1), Source("D", "sec. 3 Evaluation: 100 of the probes; at most")] = 100
    patience: Annotated[int, Field(ge=1), Source("D", "stated nowhere")] = 10
    batch_size: Annotated[int, Field(ge=2), Source("D", "sec. 3 Views: 32 in pretraining")] = 32
    lr: Annotated[float, Field(gt=0), Source("D", "stated nowhere; AdamW")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0), Source("D", "sec. 3 Optimiser: 1e-5 in pretraining")] = 1e-5
    warmup: Annotated[float, Field(ge=0, lt=1), Source("D", "stated nowhere")] = 0.05
    precision: Annotated[
        Literal["auto", "bf16", "fp32"], Source("D", "stated nowhere; bf16 on a GPU, the loss in fp32")
    ] = "auto"
    val_batches: Annotated[int, Field(ge=1), Source("D", "shown beside the train loss; chooses nothing")] = 8

    @model_validator(mode="after")
    def _one_tower(self) -> "RsbyolSupervisedRecipe":
        if len(self.towers) != 1:
            raise ValueError(f"towers: found {len(self.towers)}, allowed one, of one band or of three")
        for name, tower in self.towers.items():
            check_tower(name, tower, repeats=True)
            check_bands(name, tower)
            if len(tower.band_names) not in (1, TRIPLET):
                raise ValueError(f"towers.{name}.bands: found {len(tower.band_names)}, allowed one or three")
        return self

    def check_chip(self, chip_px: int) -> None:
        """Refuse chips that would shrink to nothing.

        Raises:
            ValueError: the side is below what the network shrinks by.
        """
        check_size(chip_px)


class RsbyolSupervised(BioclimSupervised):
    """ResNet50 of one band or triplet with an MLP head, trained with classes."""

    recipe_model = RsbyolSupervisedRecipe
    any_size = Rsbyol.any_size
    start_shape = ()
    fresh = ()
    notes = (
        Note("loss", "cross entropy; binary where a chip has several classes", Source("D", "sec. 3: softmax [P]")),
        Note("head", "linear, batch norm, ReLU, linear", Source("P", "sec. 3 Evaluation")),
        Note("optimiser", "AdamW, a cosine to zero", Source("D", "stated nowhere")),
        Note("augmentation", "flips of train chips, p = .5 each", Source("D", "stated nowhere")),
        Note("kept checkpoint", "highest validation accuracy, the first of equals", Source("D", "stated nowhere")),
        Note("normalisation", "as in rsbyol, clipped", Source("C", "sec. 3 Normalisation")),
        Note("missing pixels", "0 after normalisation", Source("D", "EuroSAT has none")),
        Note("usable chip", "every band at least half observed", Source("D", "EuroSAT has no gaps")),
        Note("unknown class", "leaves a chip out", Source("D", "EuroSAT has none")),
        Note("initialisation", "torchvision's", Source("D", "stated nowhere")),
    )

    @classmethod
    def fit_inputs(cls, recipe: Any, pool: "ChipPool", chips: NDArray[np.intp], seed: int) -> "dict[str, TowerInput]":
        """Bands in [0, 1] by fixed ranges, all together."""
        from terraprobe.normalisation import stored_bands

        for name, tower in recipe.towers.items():
            stored_bands(pool, tower, name)
        return {name: in_unit_range(tower, whole=True) for name, tower in recipe.towers.items()}

    @staticmethod
    def build_towers(recipe: Any, bands: Mapping[str, int], chip_px: int) -> "nn.ModuleDict":
        """The ResNet, which still gives embeddings, and the head beside it."""
        from torch import nn

        from terraprobe.models.bottleneck import BottleneckClassifier

        outputs = recipe.hidden, len(recipe.classes)
        return nn.ModuleDict(
            {name: BottleneckClassifier(n, recipe.width, recipe.blocks, *outputs) for name, n in bands.items()}
        )

    @staticmethod
    def embedding_size(recipe: Any) -> int:
        """Channels of the last stage."""
        return Rsbyol.embedding_size(recipe)

    def learning_rate(self, step: int, steps: int) -> float:
        """Linear warm-up, then a cosine to zero."""
        return Method.learning_rate(self, step, steps)

    def _augmented(self, batch: Batch) -> "Tensor":
        """Images, flipped in training."""
        images = self._images(batch)
        return flip(images, batch[self.name]["flips"]) if self.network.training else images


METHOD = RsbyolSupervised
