"""Stage `segment-floors`: what a pixel's own values say about its class, and what needs no look at all."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.artifacts import write_table
from terraprobe.encoders import Encoder
from terraprobe.land import Land
from terraprobe.probes.inits import FLOOR
from terraprobe.probes.labelled_pixels import UNKNOWN, LabelledLand
from terraprobe.probes.segmentation_fit import ProbeRecipe, Sight, batches, seen_by, sight_of, sight_text, units_of
from terraprobe.probes.segmentation_table import MAJORITY, PIXEL_VALUES, counts_table
from terraprobe.stage import In, Ins, Out, progress

TREES, DEPTH, TRAIN_PIXELS = 20, 12, 20_000
"""[D] A random forest on the values of the single pixel, learnt from so many pixels at most, as many of each chip."""


def segment_floors(
    *, chips: In, stores: Ins, truth: In, strata: Ins, cards: Ins, weights: Ins, recipe: ProbeRecipe, counts: Out
) -> None:
    """Call the pixels of the test chips without any network.

    Two floors, with the draws of the encoders: the most frequent class of the drawn chips' pixels, and a random forest
    on the values that the pixel itself has in the bands that a probe of an encoder sees.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modalities that the encoders see.
        truth: `spec.json` of the label layer.
        strata: `spec.json` of the layer whose classes pixels are also scored by, or nothing.
        cards: `card.json` of each encoder that is compared, beside its weights: they say what is seen.
        weights: `encoder.safetensors` of each.
        recipe: classes and draws.
        counts: Parquet, as of `segment_chips`; `tower` says which floor, `init` is empty.
    """
    land = Land.open(recipe.collection, chips, stores, [])
    labelled = LabelledLand.open(land, truth, recipe.classes, strata)
    test, ids = labelled.labelled("test"), land.table["chip_id"].to_numpy(str)
    tables = []
    for sight, seen in _sights(cards, land, recipe).items():
        judged = test[seen[test]]
        tower = PIXEL_VALUES if sight else MAJORITY
        for size in recipe.sizes:
            for repeat in range(recipe.repeats):
                drawn = labelled.drawn(seen, size, recipe.seed, repeat)
                if drawn is None or not len(judged):
                    continue
                floor = _Floor(labelled, sight, drawn, [recipe.seed, repeat])
                parts = [labelled.counts(part, floor.call(part)) for part in batches(judged)]
                what = {"init": FLOOR, "tower": tower, "band": "", "sees": sight_text(sight), "size": size,
                        "n_train": len(drawn), "repeat": repeat}  # fmt: skip
                tables.append(counts_table(np.concatenate(parts, axis=1), ids[judged], what, labelled.strata_names))
    write_table(counts, pd.concat(tables, ignore_index=True))
    progress(f"{recipe.evaluation}: {len(tables)} floors on {len(test)} labelled test chips")


def _sights(cards: Ins, land: Land, recipe: ProbeRecipe) -> dict[Sight, NDArray[np.bool_]]:
    """What the probes of the encoders see, and which chips have it, (chip,); nothing at all first."""
    found: dict[Sight, NDArray[np.bool_]] = {(): np.ones(len(land.table), np.bool_)}
    for card in cards:
        encoder = Encoder.load(card.parent)
        usable = land.usable(encoder)
        for unit in units_of(encoder, usable, recipe):
            found.setdefault(sight_of(encoder, unit), seen_by(unit, usable))
    return found


class _Floor:
    """The most frequent class and, where pixels are seen, a forest on their values.

    Args:
        labelled: the collection.
        sight: what is seen.
        drawn: train chips.
        seed: of the pixels and the forest.
    """

    def __init__(self, labelled: LabelledLand, sight: Sight, drawn: NDArray[np.intp], seed: list[int]) -> None:
        from sklearn.ensemble import RandomForestClassifier

        self._labelled, self._sight, self._forest = labelled, sight, None
        known = [truth[truth != UNKNOWN] for truth in map(labelled.truth, batches(drawn))]
        # Of several classes that tie, the first: the lowest code.
        self._majority = np.uint8(np.bincount(np.concatenate(known), minlength=len(labelled.classes)).argmax())
        if not sight:
            return
        sequence = np.random.SeedSequence(seed)
        values, classes = _sample(labelled, sight, drawn, np.random.Generator(np.random.PCG64(sequence)))
        if len(classes):
            state = int(sequence.generate_state(1)[0])
            self._forest = RandomForestClassifier(TREES, max_depth=DEPTH, random_state=state).fit(values, classes)

    def call(self, chips: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Number of the class that every pixel is called, (chip, y, x); the most frequent one where it is not seen."""
        truth = self._labelled.truth(chips)
        called = np.full(truth.shape, self._majority)
        if self._forest is None:
            return called
        values = _values(self._labelled, self._sight, chips)
        judged = (truth != UNKNOWN) & np.isfinite(values).all(axis=1)
        if judged.any():
            called[judged] = self._forest.predict(np.moveaxis(values, 1, -1)[judged])
        return called


def _sample(
    labelled: LabelledLand, sight: Sight, drawn: NDArray[np.intp], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Values (pixel, band) and classes (pixel,) of pixels that are known and seen, as many of each chip."""
    each = -(-TRAIN_PIXELS // len(drawn))
    values, classes = [], []
    for part in batches(drawn):
        for image, truth in zip(_values(labelled, sight, part), labelled.truth(part), strict=True):
            rows = np.flatnonzero((truth != UNKNOWN) & np.isfinite(image).all(axis=0))
            rows = rng.permutation(rows)[:each]
            values.append(image.reshape(len(image), -1).T[rows])
            classes.append(truth.reshape(-1)[rows])
    return np.concatenate(values), np.concatenate(classes)


def _values(labelled: LabelledLand, sight: Sight, chips: NDArray[np.intp]) -> NDArray[np.float32]:
    """Physical values of pixels, NaN where one was not observed, (chip, band, y, x)."""
    return np.concatenate([*_planes(labelled, sight, chips)], axis=1)


def _planes(labelled: LabelledLand, sight: Sight, chips: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
    for modality, bands in sight:
        store = labelled.land.stores[modality]
        columns = np.array([store.bands.index(band) for band in bands])
        planes = store.physical(np.repeat(chips, len(columns)), np.tile(columns, len(chips)))
        yield planes.reshape(len(chips), len(columns), *planes.shape[1:])
