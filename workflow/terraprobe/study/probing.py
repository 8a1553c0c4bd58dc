"""What a study says of MLPs on single views of a chip."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from terraprobe.stage import Recipe
from terraprobe.study.names import Name, check_names


class MlpProbe(Recipe):
    """Linear probing band by band: an MLP on frozen embeddings of each band, or of each tower that takes whole chips.

    Attributes:
        name: of its folder.
        probe: `mlp`.
        collection: whose chips are judged. `each: [north, south]` instead is short for one evaluation a collection,
            `<name>_north` and `<name>_south`.
        label: chip-level classes, one a chip, such as `worldcover_class`.
        encoders: names, or `all` that can embed the collection and learnt without labels.
        sizes: numbers of labelled train chips; `full` is all of them.
        repeats: draws of each size, each with first weights of its own.
        epochs: passes over the drawn chips; 100 in the paper of `rsbyol`.
        batch_size: chips a step.
        lrs: learning rates to choose from on validation.
        roc: bands whose ROC curves and t-SNE pictures the report shows, bands that enter together with `+` between; the
            first multispectral and the first radar one where none is named.
        cam: bands for which the report shows where in a chip encoders of `rsbyol` see a class, by full gradients; the
            first multispectral and the first radar one where none is named.
        cam_classes: classes that are shown so; the two of the most test chips where none is named.
        resamples: of the test blocks, for the intervals.
        seed: of draws, first weights and resamples, the same for every encoder.
    """

    name: Name
    probe: Literal["mlp"]
    collection: str
    label: str
    encoders: Literal["all"] | list[str] = "all"
    sizes: list[Annotated[int, Field(ge=2)] | Literal["full"]] = Field(["full"], min_length=1)
    repeats: int = Field(3, ge=1)
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(64, ge=2)
    lrs: list[Annotated[float, Field(gt=0)]] = Field([1e-3, 1e-2], min_length=1)
    roc: list[str] = []
    cam: list[str] = []
    cam_classes: list[str] = []
    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0, lt=2**63)

    @field_validator("sizes", "lrs", "roc", "cam", "cam_classes")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        check_names(values, values)
        return values

    @property
    def collections(self) -> list[str]:
        """Names of all collections that it reads."""
        return [self.collection]
