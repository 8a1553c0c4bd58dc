"""What a probe sees of a chip at once, by encoder or without one: a single band, or the bands that enter together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import read_json, read_table
from terraprobe.encoders import Encoder, with_twins
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.normalisation import TowerInput
from terraprobe.probes.image_stats import STATISTICS
from terraprobe.probes.inits import IMAGE_STATS
from terraprobe.probes.mlp_lines import OPTICAL, RADAR, group_of

BATCH = 128
"""Images a forward pass: larger ones leave a CPU's cache."""

Features = dict[str, NDArray[np.float32]]
"""Init (`trained`, `random-0` …; `image_stats`) to features (n, D) of the same chips."""


@dataclass(frozen=True)
class View:
    """A sample of its own.

    Attributes:
        tower: that takes it.
        modality: of the bands.
        bands: that enter together; one name where the number of channels varies.
        samples: columns of what `TowerInput.samples` gives; None: the mean over all, where their number varies.
    """

    tower: str
    modality: str
    bands: tuple[str, ...]
    samples: tuple[int, ...] | None

    @property
    def name(self) -> str:
        """What it is in every table: encoders that see the same view are compared on it."""
        return "+".join(self.bands)


def views_of(inputs: Mapping[str, TowerInput], modalities: Sequence[str]) -> list[View]:
    """What towers see of a collection, one view after the other.

    Args:
        inputs: tower to what it takes.
        modalities: that the collection has.
    """
    found = []
    for tower, taken in inputs.items():
        if taken.modality not in modalities:
            continue
        if taken.whole or taken.variable:
            found.append(View(tower, taken.modality, taken.bands, None if taken.variable else (0,)))
        else:
            found += [View(tower, taken.modality, (band,), (k,)) for k, band in enumerate(taken.bands)]
    return found


def views_drawn(seen: Sequence[Sequence[View]], named: Sequence[str], where: str) -> list[View]:
    """Views that pictures show.

    Args:
        seen: views of each encoder.
        named: names of views; the first multispectral and the first radar one where there is none.
        where: the evaluation, for errors.

    Raises:
        TerraprobeError: no encoder sees one that is named.
    """
    found = list({(view.modality, view.name): view for views in seen for view in views}.values())
    absent = [name for name in named if name not in [view.name for view in found]]
    if absent:
        told = ", ".join(view.name for view in found)
        raise TerraprobeError(f"{where}: {absent[0]} is to be drawn, but what its encoders see is {told}.")
    if named:
        return [next(view for view in found if view.name == name) for name in named]
    groups = {group_of(view.modality): view for view in reversed(found)}
    return [groups[group] for group in (OPTICAL, RADAR) if group in groups]


class Source(Protocol):
    """Where features come from.

    Attributes:
        name: of the encoder, or `floors`.
        digest: of the encoder's weights; empty for floors.
        views: that have a usable chip.
    """

    name: str
    digest: str
    views: list[View]

    def usable(self, view: View) -> NDArray[np.bool_]:
        """Which chips of the collection the view can be taken of, (chip,)."""

    def features(self, view: View, chips: NDArray[np.intp]) -> Features:
        """Features of usable chips, by init."""


class EncoderViews:
    """Embeddings of a frozen encoder and its untrained twins; each sample is read once for all of them.

    Args:
        land: the collection.
        encoder: the trained one.
        random_inits: how many twins.

    Raises:
        TerraprobeError: the encoder can see no chip of the collection, or two of its towers see the same bands.
    """

    def __init__(self, land: Land, encoder: Encoder, random_inits: int) -> None:
        self.name, self.digest = encoder.name, encoder.digest
        self._land, self._family, self._usable = land, with_twins(encoder, random_inits), land.usable(encoder)
        views = views_of(encoder.inputs, list(land.stores))
        self.views = [view for view in views if view.tower in self._usable and self.usable(view).any()]
        keys = [(view.modality, view.name) for view in self.views]
        twice = [f"{name} of {modality}" for modality, name in keys if keys.count((modality, name)) > 1]
        if twice:
            raise TerraprobeError(
                f"encoder {encoder.name}: two of its towers see {twice[0]}, and a probe takes each view once. Leave "
                "the encoder out of the evaluation."
            )

    def own(self, view: View) -> View | None:
        """The same view as a tower of this encoder takes it; None where none does."""
        return next((v for v in self.views if (v.modality, v.name) == (view.modality, view.name)), None)

    def usable(self, view: View) -> NDArray[np.bool_]:
        """Which chips of the collection the view can be taken of, (chip,)."""
        return np.asarray(self._columns(view).any(axis=1))

    def _columns(self, view: View) -> NDArray[np.bool_]:
        usable = self._usable[view.tower]
        return usable if view.samples is None else usable[:, list(view.samples)]

    def features(self, view: View, chips: NDArray[np.intp]) -> Features:
        """Embeddings of usable chips, by init."""
        trained = self._family["trained"]
        taken = trained.inputs[view.tower]
        store, context = self._land.stores[taken.modality], self._land.entering(taken)
        usable = self._columns(view)[chips]
        places, columns = np.nonzero(usable)
        samples = columns if view.samples is None else np.array(view.samples)[columns]
        sums: dict[str, NDArray[np.float64]] = {}
        for rows in _batches(len(places)):
            inputs = trained.prepare(view.tower, store, chips[places[rows]], samples[rows], context)
            for init, encoder in self._family.items():
                values = encoder.forward(view.tower, inputs).cpu().numpy()
                np.add.at(sums.setdefault(init, np.zeros((len(chips), values.shape[1]))), places[rows], values)
        count = usable.sum(axis=1)[:, None]
        return {init: (total / count).astype(np.float32) for init, total in sums.items()}


def _batches(count: int) -> Iterator[slice]:
    for start in range(0, count, BATCH):
        yield slice(start, start + BATCH)


class StatisticViews:
    """Image statistics of every view that some encoders see: a floor.

    Args:
        land: the collection.
        floors: of `measure_floors`.
        cards: `card.json` of the encoders.

    Raises:
        TerraprobeError: the floors lack a modality.
    """

    def __init__(self, land: Land, floors: Path, cards: Sequence[Path]) -> None:
        self.name, self.digest = "floors", ""
        found: dict[tuple[str, str], View] = {}
        for path in cards:
            inputs = {name: TowerInput.from_card(record) for name, record in read_json(path)["towers"].items()}
            found |= {(view.modality, view.name): view for view in views_of(inputs, list(land.stores))}
        self._values = _statistics(floors, land, {modality for modality, _ in found})
        self._bands = {name: store.layer.bands for name, store in land.stores.items()}
        self.views = [view for view in found.values() if self.usable(view).any()]

    def usable(self, view: View) -> NDArray[np.bool_]:
        """Which chips of the collection the view can be taken of, (chip,)."""
        return np.asarray(np.isfinite(self._of(view)).all(axis=1))

    def features(self, view: View, chips: NDArray[np.intp]) -> Features:
        """Statistics of usable chips."""
        return {IMAGE_STATS: self._of(view)[chips]}

    def _of(self, view: View) -> NDArray[np.float32]:
        values, size = self._values[view.modality], len(STATISTICS)
        places = [0] if view.samples is None else [self._bands[view.modality].index(band) for band in view.bands]
        return values[:, [place * size + k for place in places for k in range(size)]]


def _statistics(floors: Path, land: Land, modalities: set[str]) -> dict[str, NDArray[np.float32]]:
    """Statistics of all chips, NaN where there are none, by modality."""
    table = read_table(floors)
    rows = {chip: k for k, chip in enumerate(land.table["chip_id"])}
    found = {}
    for name in sorted(modalities):
        own = table[(table["floor"] == IMAGE_STATS) & (table["modality"] == name)]
        if not len(own):
            raise TerraprobeError(f"{floors}: no image statistics of {name}. Delete it and run measure_floors again.")
        matrix = np.stack(own["embedding"].to_list()).astype(np.float32)
        values = np.full((len(rows), matrix.shape[1]), np.nan, np.float32)
        values[[rows[chip] for chip in own["chip_id"]]] = matrix
        found[name] = values
    return found
