"""Label layers that a user describes: what collections that take them share."""

from typing import Any

from pydantic import field_validator, model_validator

from terraprobe.classmap import ClassMap, label_layer
from terraprobe.modalities import LABELS, MODALITIES, LabelLayer
from terraprobe.study.collections import Collection
from terraprobe.study.names import Name, check_names


class OwnClasses(Collection):
    """What every collection that takes label layers of your own has.

    Attributes:
        labels: label layers to cut, names of the label table or of `classes`.
        classes: own label layers: name to `nodata` and `codes`, which maps each code to a class name.
    """

    classes: dict[Name, ClassMap] = {}

    @field_validator("modalities", "labels")
    @classmethod
    def _known(cls, names: list[str], info: Any) -> list[str]:
        """Own labels are known with `classes` alone: names are checked when all is read."""
        return names

    @model_validator(mode="after")
    def _classes_fit(self) -> "OwnClasses":
        taken = [name for name in self.classes if name in MODALITIES or name in LABELS]
        if taken:
            raise ValueError(f"classes: {taken[0]} is a layer that terraprobe knows; give your own layer another name")
        check_names(self.classes, self.labels, "classes", "listed in labels")
        values = [value for layer in self.label_layers for value in layer.values]
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ValueError(f"classes: two label layers would both give {twice[0]}; rename a layer or a class")
        return self

    @property
    def label_layers(self) -> list[LabelLayer]:
        """What its label layers are."""
        found = [label_layer(name, self.classes.get(name)) for name in self.labels]
        return [layer for layer in found if layer is not None]

    def own_classes(self, layer: str) -> dict[str, Any]:
        """Classes of an own label layer as a stage's recipe takes them; nothing for any other layer."""
        return {"classes": self.classes[layer].model_dump(mode="json")} if layer in self.classes else {}
