"""A user's own label layer: which code of a raster means which class."""

import re
import unicodedata
from types import MappingProxyType

import numpy as np
from pydantic import field_validator, model_validator

from terraprobe.modalities import LABELS, NO_CODES, LabelLayer, LabelValue
from terraprobe.stage import Recipe

_HIGHEST = int(np.iinfo(np.uint16).max)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = ("coverage", "class", "classes")


def class_name(value: object) -> str:
    """A class as a user's file names it, as it is written in a study: in a-z, 0-9 and _ after a letter.

    Args:
        value: text; a name that does not begin with a letter gets one, and so does one that a label is called by.
    """
    text = unicodedata.normalize("NFKD", str(value)).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", text).strip("_")
    return name if not name or (name[0].isalpha() and name not in _TAKEN) else f"c_{name}"


class ClassMap(Recipe):
    """Classes of an own label layer.

    Attributes:
        nodata: code that means "not known"; a nodata value that a file declares counts as not known beside it.
        codes: code of the raster to class name; every code that a file holds must be here.
    """

    nodata: int
    codes: dict[int, str]

    @field_validator("codes")
    @classmethod
    def _sort(cls, codes: dict[int, str]) -> dict[int, str]:
        """One order, whatever the order of the study or of JSON, which sorts codes as text."""
        return dict(sorted(codes.items()))

    @model_validator(mode="after")
    def _codes_fit(self) -> "ClassMap":
        wrong = [code for code in (self.nodata, *self.codes) if not 0 <= code <= _HIGHEST]
        names = list(self.codes.values())
        twice = sorted({name for name in names if names.count(name) > 1})
        if wrong:
            raise ValueError(f"found code {wrong[0]}, allowed 0 to {_HIGHEST}")
        if self.nodata in self.codes:
            raise ValueError(f"nodata {self.nodata} is also the code of {self.codes[self.nodata]!r}: name another")
        if twice:
            codes = [code for code, name in self.codes.items() if name == twice[0]]
            raise ValueError(f"class {twice[0]!r} has codes {codes}: each class one code; merge them in the files")
        if len(names) < 2:
            raise ValueError(f"found {names} as classes, allowed two or more: the share of a single one says nothing")
        unfit = [name for name in names if name in _TAKEN or not _NAME.fullmatch(name)]
        if unfit:
            raise ValueError(
                f"found class {unfit[0]!r}, allowed a-z, 0-9 and _ after a letter, not coverage, class or classes: "
                "it names a label"
            )
        return self

    def layer(self, name: str) -> LabelLayer:
        """The label layer that has these classes.

        Args:
            name: of the layer. Its chip-level labels are `<name>_<class>`, the share of the class among the known
                pixels, `<name>_class`, the most frequent one, and `<name>_classes`, all that are present.
        """
        return LabelLayer(
            name,
            self.nodata,
            "uint8" if max(self.nodata, *self.codes) <= np.iinfo(np.uint8).max else "uint16",
            "class",
            MappingProxyType(self.codes),
            (),
            NO_CODES,
            MappingProxyType({f"{name}_{title}": LabelValue("share", code) for code, title in self.codes.items()}),
            f"{name} (own classes)",
        )


def label_layer(name: str, classes: ClassMap | None) -> LabelLayer | None:
    """The own label layer that has these classes, else the shipped one of that name, None where there is none."""
    return classes.layer(name) if classes else LABELS.get(name)
