"""What is pretrained."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from terraprobe.explain import explain
from terraprobe.methods import METHODS, load_method, recipe_model
from terraprobe.published import LAYOUTS
from terraprobe.stage import Recipe
from terraprobe.study.names import Name, check_names

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class PublishedWeights(Recipe):
    """Weights from a file that an encoder starts from.

    Attributes:
        file: safetensors, or what `torch.save` wrote of tensors. No code of it runs.
        layout: `resnet50` (ImageNet: torchvision, timm), `deeplabv3_resnet50` (COCO: torchvision), `byol`
            (ImageNet-BYOL: yaox12/BYOL-PyTorch), `seco` (ServiceNow/seasonal-contrast), `terraprobe` (an encoder of
            the same method).
    """

    file: str = Field(min_length=1)
    layout: str

    @field_validator("layout")
    @classmethod
    def _known(cls, layout: str) -> str:
        check_names([layout], LAYOUTS)
        return layout

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.file).expanduser()


class EncoderEntry(Recipe):
    """One encoder to pretrain.

    Attributes:
        name: of its folder.
        method: name of the method table.
        collections: whose train chips it learns from. `each: [north, south]` instead is short for one entry a
            collection, `<name>_north` and `<name>_south`, whose arm is `<name>` where no other is given; `start` then
            names the encoder of the same collection where that one is spread too.
        seed: of initialisation, order and draws.
        seeds: several of them instead: one encoder each, `<name>_s<seed>`, judged together as one arm.
        arm: name that pools hold it under, beside entries trained on other collections; its own where none is given.
        label: chip-level classes that it learns, such as `worldcover_class`; of a supervised method alone.
        start: name of the encoder whose weights it starts from, of the same shape and trained without labels; of its
            seeds the same one, or its only one. Of `bioclim_supervised` and `sscl` alone.
        weights: a file of published weights that it starts from; of `rsbyol` and `sscl` alone.
        recipe: what differs from the method's own recipe (`terraprobe describe METHOD` prints it).
        group: it sees collections of the same group alone; none: those of none.
        budgets: `chips`, `compute` or both: what all encoders of an evaluation that name the same one were given alike,
            train chips seen or floating-point operations; the report sets them side by side and says how alike.
    """

    name: Name
    method: str
    collections: list[str] = Field(min_length=1)
    seed: Seed = 0
    seeds: list[Seed] = []
    arm: Name | Literal[""] = ""
    label: str = ""
    start: str = ""
    weights: PublishedWeights | None = None
    recipe: dict[str, Any] = {}
    group: str = ""
    budgets: list[Literal["chips", "compute"]] = []

    @field_validator("name", "arm")
    @classmethod
    def _not_the_floors(cls, name: str) -> str:
        if name in ("floors", "majority"):
            raise ValueError(f"found {name!r}, allowed any other name: floors go by that one")
        return name

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        check_names([method], METHODS)
        return method

    @model_validator(mode="after")
    def _recipe_fits(self) -> "EncoderEntry":
        model = recipe_model(self.method)
        try:
            model.model_validate(self.recipe)
        except ValidationError as error:
            raise ValueError(explain(error, model, "recipe")) from error
        return self

    @model_validator(mode="after")
    def _seeds_once(self) -> "EncoderEntry":
        check_names(self.seeds, self.seeds, "seeds")
        check_names(self.budgets, self.budgets, "budgets")
        if self.seeds and "seed" in self.model_fields_set:
            raise ValueError(f"seed: found {self.seed} beside seeds {self.seeds}, allowed: one of the two keys")
        return self

    @model_validator(mode="after")
    def _labels_fit(self) -> "EncoderEntry":
        if self.supervised and not self.label:
            raise ValueError(f"label: required, {self.method} learns chip-level classes such as worldcover_class")
        if self.label and not self.supervised:
            allowed = ", ".join(name for name in METHODS if load_method(name).supervised)
            raise ValueError(f"label: found {self.label!r}, allowed none: {self.method} learns without labels, as all "
                             f"methods but {allowed} do")  # fmt: skip
        if self.start and not load_method(self.method).start_shape:
            allowed = ", ".join(name for name in METHODS if load_method(name).start_shape)
            raise ValueError(f"start: found {self.start!r}, allowed none: {self.method} starts afresh, as all methods "
                             f"but {allowed} do")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _weights_fit(self) -> "EncoderEntry":
        if self.weights is not None and not load_method(self.method).takes_weights:
            allowed = ", ".join(name for name in METHODS if load_method(name).takes_weights)
            raise ValueError(f"weights: found {self.weights.layout!r}, allowed none: only {allowed} starts from a file")
        if self.weights is not None and self.start:
            raise ValueError(f"start: found {self.start!r} beside weights, allowed: one of the two keys")
        return self

    @property
    def supervised(self) -> bool:
        """Whether it learns with labels."""
        return load_method(self.method).supervised

    @property
    def autoencoder(self) -> bool:
        """Whether it learns to give chips back."""
        return load_method(self.method).autoencoder

    @property
    def members(self) -> "list[EncoderEntry]":
        """One encoder a seed; this one where it names a single seed."""
        if not self.seeds:
            return [self]
        return [self.model_copy(update={"name": f"{self.name}_s{s}", "seed": s, "seeds": []}) for s in self.seeds]

    @property
    def takes_context(self) -> bool:
        """Whether climate and elevation enter it."""
        return bool(self.full_recipe.conditioning != "none")

    @property
    def full_recipe(self) -> Any:
        """The method's recipe with this entry's differences."""
        return recipe_model(self.method).model_validate(self.recipe)
