"""One image of a benchmark archive."""

from dataclasses import dataclass
from pathlib import Path

Files = dict[Path, tuple[str, ...]]
"""Files of one layer of an image, and the names of the bands of each, in their order."""


@dataclass(frozen=True)
class Image:
    """One image of an archive.

    Attributes:
        name: its own.
        classes: names of its classes in the archive's order, with a space between; empty where it has none.
        split: train, val or test; empty where the archive does not say.
        reference: the file whose pixels are those of the chip.
        files: of each layer.
    """

    name: str
    classes: str
    split: str
    reference: Path
    files: dict[str, Files]

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of the reference."""
        return next(files[self.reference] for files in self.files.values() if self.reference in files)
