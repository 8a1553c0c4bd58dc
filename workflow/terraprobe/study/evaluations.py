"""What is measured."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from terraprobe.stage import Recipe
from terraprobe.study.names import Name, check_names
from terraprobe.study.probing import MlpProbe
from terraprobe.study.segmentations import Segmentation


class Evaluation(Recipe):
    """Few-shot random forests on frozen embeddings.

    Attributes:
        name: of its folder.
        probe: `forest`.
        collection: whose test chips are judged. `each: [north, south]` instead is short for one evaluation a
            collection, `<name>_north` and `<name>_south`.
        train_on: collections whose train and val chips are learnt from and chosen by; its own where none is named.
            Leave-one-collection-out over n collections is n evaluations, each of which names the others.
        encoders: names, or `all` that can embed the collection.
        reference: an encoder that learnt the classes of the same train chips from scratch, which the others are held
            against; it has seen all their labels, so it is no few-shot rival.
        tasks: chip-level labels, each a binary task at its train median.
        sizes: numbers of labelled train chips; `full` is all of them.
        repeats: draws of each size.
        full_repeats: forests on all of them, where only the forest's own seed differs.
        permute_labels: a null: labels change places block by block within each split, so that nothing can be known.
        draw: `uniform` at random as in the paper, or `stratified` by class.
        trees: numbers of trees to choose from on validation.
        depths: depths to choose from on validation.
        seed: of the draws, the same for every encoder.
    """

    name: Name
    probe: Literal["forest"]
    collection: str
    train_on: list[str] = []
    encoders: Literal["all"] | list[str] = "all"
    reference: str = ""
    tasks: list[str] = Field(min_length=1)
    sizes: list[Annotated[int, Field(ge=2)] | Literal["full"]] = Field([10, 100, "full"], min_length=1)
    repeats: int = Field(10, ge=1)
    full_repeats: int = Field(10, ge=1)
    permute_labels: bool = False
    draw: Literal["uniform", "stratified"] = "uniform"
    trees: list[Annotated[int, Field(ge=1)]] = Field([50], min_length=1)
    depths: list[Annotated[int, Field(ge=1)]] = Field([3, 7], min_length=1)
    seed: int = Field(0, ge=0, lt=2**63)

    @field_validator("tasks", "sizes", "trees", "depths")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        check_names(values, values)
        return values

    def forest_recipe(self) -> dict[str, Any]:
        """What `select_forest` and `score_forest` need to know: nothing about which encoders are compared."""
        content = self.model_dump(mode="json", exclude={"name", "probe", "encoders", "reference"})
        sizes = [0 if size == "full" else size for size in self.sizes]
        return {**content, "evaluation": self.name, "train_on": self.trained_on, "sizes": sizes}

    @property
    def trained_on(self) -> list[str]:
        """Names of the collections that the forests learn from."""
        return self.train_on or [self.collection]

    @property
    def collections(self) -> list[str]:
        """Names of all collections that it reads: those it learns from, then its own where it is another."""
        return list(dict.fromkeys([*self.trained_on, self.collection]))


class Classification(Recipe):
    """Classes that supervised encoders call by their own head, scored on the test chips once.

    Attributes:
        name: of its folder.
        probe: `classifier`.
        collection: whose chips are judged; each encoder was trained on it. `each: [north, south]` instead is short for
            one evaluation a collection, `<name>_north` and `<name>_south`.
        label: chip-level classes, which the encoders learnt.
        encoders: names, or `all` that learnt the label on the collection.
        efficiency_at: validation accuracy p of Eff-p, the epochs that it takes to reach it.
        gradcam: classes for which the report shows where in a chip the encoders see them; the two of the most test
            chips where none is named.
        resamples: of the test blocks, for the intervals.
        seed: of the resamples, and of the chips that the report shows.
    """

    name: Name
    probe: Literal["classifier"]
    collection: str
    label: str
    encoders: Literal["all"] | list[str] = "all"
    efficiency_at: float = Field(0.95, gt=0, le=1)
    gradcam: list[str] = []
    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def collections(self) -> list[str]:
        """Names of all collections that it reads."""
        return [self.collection]


class Reconstruction(Recipe):
    """How well autoencoders give test chips back, and what a support vector machine learns from their embeddings.

    Attributes:
        name: of its folder.
        probe: `reconstruction`.
        collection: whose chips are judged. `each: [north, south]` instead is short for one evaluation a collection,
            `<name>_north` and `<name>_south`.
        label: chip-level classes, one a chip, that the machine learns from all train chips; none: no machine.
        encoders: names, or `all` autoencoders that can embed the collection; their towers see the same bands.
        resamples: of the test blocks, for the intervals.
        seed: of the resamples, and of the chips that the report shows.
    """

    name: Name
    probe: Literal["reconstruction"]
    collection: str
    label: str = ""
    encoders: Literal["all"] | list[str] = "all"
    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def collections(self) -> list[str]:
        """Names of all collections that it reads."""
        return [self.collection]


AnyEvaluation = Annotated[
    Evaluation | Classification | Reconstruction | Segmentation | MlpProbe, Field(discriminator="probe")
]


class Pool(Recipe):
    """Evaluations whose comparisons are also made as one: worlds or areas that the same encoder was tried on.

    Attributes:
        name: of the pool.
        evaluations: names, all by forests, each of which must compare exactly one entry of `encoders`; or all by the
            encoders' own heads, all by MLPs, or all of pixels, each of which must compare the same arms by the same
            label on another collection.
        margin: of heads in accuracy, of MLPs in F1, of pixels in each score: two arms are called equal where the 90 %
            interval of their difference lies within this margin on both sides of 0 (two one-sided tests at 5 %), said
            beforehand; none: nothing is called equal.
    """

    name: Name
    evaluations: list[str] = Field(min_length=2)
    margin: float | None = Field(None, gt=0, lt=1)
