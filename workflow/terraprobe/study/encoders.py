"""What is pretrained."""

from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from terraprobe.explain import explain
from terraprobe.methods import METHODS, recipe_model
from terraprobe.stage import Recipe
from terraprobe.study.names import Name, check_names


class EncoderEntry(Recipe):
    """One encoder to pretrain.

    Attributes:
        name: of its folder.
        method: name of the method table.
        collections: whose train chips it learns from.
        seed: of initialisation, order and draws.
        recipe: what differs from the method's own recipe (`terraprobe describe METHOD` prints it).
    """

    name: Name
    method: str
    collections: list[str] = Field(min_length=1)
    seed: int = Field(0, ge=0, lt=2**63)
    recipe: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _not_the_floors(cls, name: str) -> str:
        if name == "floors":
            raise ValueError("found 'floors', allowed any other name: files of that name hold the floors")
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

    @property
    def takes_context(self) -> bool:
        """Whether climate and elevation enter it."""
        return bool(self.full_recipe.conditioning != "none")

    @property
    def full_recipe(self) -> Any:
        """The method's recipe with this entry's differences."""
        return recipe_model(self.method).model_validate(self.recipe)
