"""What was asked for, and what was chosen for it."""

from dataclasses import dataclass
from pathlib import Path

from terraprobe.newstudy.ground import Ground
from terraprobe.newstudy.inputs import Inputs
from terraprobe.newstudy.labels import OwnLabels
from terraprobe.newstudy.machine import Machine


@dataclass(frozen=True)
class Choices:
    """All that a study is written of.

    Attributes:
        out: the study file.
        aoi: file of the area's polygons.
        km2: their ground.
        methods: names of the method table.
        inputs: months, modalities and towers.
        ground: chips and split.
        own: the user's labels; None for WorldCover.
        machine: that it is sized for.
    """

    out: Path
    aoi: Path
    km2: float
    methods: list[str]
    inputs: Inputs
    ground: Ground
    own: OwnLabels | None
    machine: Machine

    @property
    def layer(self) -> str:
        """Name of the label layer."""
        return self.own.layer if self.own else "worldcover"

    @property
    def notes(self) -> list[str]:
        """What could not be had, and what is done instead."""
        notes = [*self.inputs.notes, *self.ground.notes]
        if self.own and self.own.note:
            notes.append(self.own.note)
        if self.own is None and any(month[:4] != "2020" for month in self.inputs.months):
            notes.append(
                "no WorldCover of these dates: the map of 2020 stands in; what changed since is labelled wrong"
            )
        if not self.machine.gpus:
            notes.append("no GPU: small networks and few epochs, as in the quickstart, not those of the papers")
        return notes

    @property
    def counted(self) -> str:
        """Labelled chips of each side of the split, for people."""
        return ", ".join(f"{number} {part}" for part, number in self.ground.labelled.items())
