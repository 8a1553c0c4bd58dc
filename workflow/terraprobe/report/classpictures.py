"""Classes in pictures: how common they are by region, what one of them looks like there, and where heads see them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.chips.store import MIN_VALID
from terraprobe.classlists import has_classes, one_hot
from terraprobe.collections.chiptable import drawn_first
from terraprobe.report.chipviews import Row, colours, draw_rows, limits, rows_of, view
from terraprobe.report.drawing import CYCLE, Gallery, Picture, colour_key, themed_figure
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.maps import stretch
from terraprobe.report.notes import ClassificationNote

N_CHIPS = 4

Archive = Mapping[str, NDArray[Any]]
"""Of `attribute_classes`: `encoders` and, a row a chip, `chip_ids`, `classes` and `maps`."""


def class_counts(collection: Collection, note: ClassificationNote) -> pd.DataFrame:
    """Train chips of each class (rows, by code) in each region (columns); no column where chips have no region.

    A chip of several classes counts for each of them.
    """
    held, regions, _ = _train_classes(collection, note)
    names = sorted(set(regions.tolist()) - {""})
    counts = {name: held[regions == name].sum(axis=0) for name in names}
    return pd.DataFrame(counts, index=list(note.classes))


def class_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Share of each class among all that are counted in a region; a region without any is left out."""
    return counts.loc[:, counts.sum() > 0] / counts.sum()[counts.sum() > 0]


def draw_regions(collection: Collection, note: ClassificationNote, gallery: Gallery) -> list[Picture]:
    """Prior and covariate shift; no picture where chips have no class or lie in fewer than two regions."""
    if note.label not in collection.classes:
        return []
    counts = class_counts(collection, note)
    shares = class_shares(counts)
    if shares.shape[1] < 2:
        return []
    return [_prior(collection, note, shares, counts, gallery), *_covariate(collection, note, counts, gallery)]


def _train_classes(
    collection: Collection, note: ClassificationNote
) -> tuple[NDArray[np.bool_], NDArray[np.str_], NDArray[np.intp]]:
    """Whether each train chip has each class, its region, and its row."""
    rows = np.flatnonzero(collection.in_split("train"))
    names = collection.classes[note.label].fillna("").to_numpy(str)[rows]
    known = has_classes(names, note.classes, several=True)  # one class is a list of one
    held = one_hot(names[known], note.classes)
    return held, collection.chips["region"].to_numpy(str)[rows[known]], rows[known]


def _prior(
    collection: Collection, note: ClassificationNote, shares: pd.DataFrame, counts: pd.DataFrame, gallery: Gallery
) -> Picture:
    """Paper, figure 2: bars of each class, one a region."""
    shown = shares[shares.sum(axis=1) > 0]
    regions, thick = [str(name) for name in shown], 0.8 / shown.shape[1]
    figure, axes = themed_figure(1.1 + 0.115 * shown.size + 0.12 * len(shown))
    ax = axes[0, 0]
    key = {}
    for k, region in enumerate(regions):
        key[region] = CYCLE[k % len(CYCLE)]
        places = np.arange(len(shown)) + (k - (len(regions) - 1) / 2) * thick
        ax.barh(places, 100 * shown[region], height=thick * 0.9, color=CYCLE[k % len(CYCLE)])
    ax.set_yticks(range(len(shown)), list(shown.index))
    ax.invert_yaxis()
    ax.set(title=f"Classes by region, {collection.note.title} ({note.kind})", xlabel="share of the region, %")
    ax.grid(True, axis="x")
    ax.set_axisbelow(True)
    colour_key(figure, key)
    most = ", ".join(f"{region}: {shown[region].idxmax()} {shown[region].max():.0%}" for region in regions)
    alt = f"Bars of the share of each class of {note.label} among train chips, a bar a region; most common: {most}."
    counted = ", ".join(f"{region} {int(counts[region].sum()):,}" for region in regions)
    caption = (
        f"Prior shift: how common each class of {note.label} is among the train chips of each region "
        f"({collection.note.title}, {note.kind}). Counted: {counted}."
    )
    return gallery.add(f"classes-{note.name}-regions", figure, alt, caption)


def _covariate(
    collection: Collection, note: ClassificationNote, counts: pd.DataFrame, gallery: Gallery
) -> list[Picture]:
    """Paper, figure 3: chips of one class, a row a region. The class that is there in most regions, then most chips."""
    if not collection.modalities:
        return []
    there = pd.DataFrame({"regions": (counts > 0).sum(axis=1), "chips": counts.sum(axis=1)})
    name = str(there.sort_values(["regions", "chips"], ascending=False, kind="stable").index[0])
    held, regions, rows = _train_classes(collection, note)
    own = held[:, list(note.classes).index(name)]
    store, channels, words = view(collection)
    ids = collection.chips["chip_id"].to_numpy(str)
    seen = np.asarray((store.valid[:, channels] >= MIN_VALID).all(axis=1))
    chosen: dict[str, NDArray[np.intp]] = {}
    for region in map(str, counts):
        inside = rows[own & (regions == region) & seen[rows]]
        if len(inside):
            chosen[region] = inside[drawn_first(ids[inside], note.seed)[:N_CHIPS]]
    if not chosen:
        return []
    pixels = np.concatenate([colours(store, chips, channels) for chips in chosen.values()])
    images = stretch(pixels, limits(pixels))
    parts = np.split(images, np.cumsum([len(chips) for chips in chosen.values()])[:-1])
    drawn = [Row(region, list(part)) for region, part in zip(chosen, parts, strict=True)]
    figure = draw_rows(drawn, f"Class {name}, region by region ({collection.note.title}, {note.kind})")
    alt = f"Chips of class {name} of {collection.note.title} in {words}, a row for each region: {', '.join(chosen)}."
    caption = (
        f"Covariate shift: train chips of one class, {name}, in {words} and one stretch, drawn by seed; a row is a "
        f"region ({collection.note.title}, {note.kind}). White: not observed, or brighter than the stretch."
    )
    return [gallery.add(f"classes-{note.name}-one-class", figure, alt, caption)]


def mean_maps(found: Archive, runs: Sequence[str], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Mean over runs of some maps, (row, y, x).

    Args:
        found: of `attribute_classes`.
        runs: names of encoders.
        rows: which maps, (row,).
    """
    members = np.flatnonzero(np.isin(found["encoders"], list(runs)))
    maps = found["maps"][members][:, rows]
    return np.asarray(maps.mean(axis=0, dtype=np.float64), np.float32)


def draw_attributions(
    collection: Collection,
    note: ClassificationNote,
    encoders: Sequence[TrainedEncoder],
    found: Archive,
    gallery: Gallery,
) -> list[Picture]:
    """Paper, figure 5: for each class that was drawn, its chips and where the model of each row sees the class.

    Args:
        collection: whose test chips.
        note: the evaluation.
        encoders: that it judges.
        found: of `attribute_classes`.
        gallery: for the figures.
    """
    store, channels, words = view(collection)
    pictures = []
    for name in dict.fromkeys(found["classes"].tolist()):
        own = np.flatnonzero(found["classes"] == name)
        pixels = colours(store, rows_of(collection, found["chip_ids"][own].tolist()), channels)
        images = list(stretch(pixels, limits(pixels)))
        rows = [Row(words, images)]
        for encoder in encoders:
            runs = encoder.note.runs
            many = f", mean of {len(runs)} runs" if len(runs) > 1 else ""
            rows.append(Row(f"{encoder.note.name}{many}", images, list(mean_maps(found, runs, own))))
        figure = draw_rows(rows, f"Where models see {name} ({collection.note.title}, {note.kind})")
        models = ", ".join(encoder.note.name for encoder in encoders)
        count = f"{len(own)} test chip{'s' if len(own) > 1 else ''}"
        alt = f"{count} of class {name} side by side; rows: the chip in {words}, then Grad-CAM of {models}."
        caption = (
            f"Grad-CAM of class {name} on {count} of it, drawn by seed ({collection.note.title}, {note.kind}): bright "
            "where the last features before pooling speak for the class, dark where they do not. Each run is brought "
            "to a maximum of 1, upsampled bicubically, then averaged over seeds. Context enters as in the predictions."
        )
        pictures.append(gallery.add(f"classes-{note.name}-gradcam-{name}", figure, alt, caption))
    return pictures
