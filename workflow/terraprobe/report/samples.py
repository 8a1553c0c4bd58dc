"""What the chips look like: a few of them, as every modality and label layer shows them."""

import itertools

import numpy as np
from numpy.typing import NDArray

from terraprobe.chips.store import MIN_VALID, ChipStore
from terraprobe.collections.chiptable import have_places
from terraprobe.modalities import MODALITIES, LabelLayer
from terraprobe.report.chipviews import Row, colours, draw_rows
from terraprobe.report.drawing import CYCLE, Gallery, Picture, colour_key
from terraprobe.report.inputs import Collection
from terraprobe.report.maps import stretch

N_SAMPLES = 4

# The colours of ESA WorldCover and the usual ones of land-use maps, by class name.
_CLASS_COLOURS = {
    "tree": "#006400", "forest": "#006400", "shrub": "#ffbb22", "scrub": "#ffbb22", "grass": "#ffff4c",
    "meadow": "#b5d33d", "crop": "#f096ff", "farm": "#f096ff", "built": "#fa0000", "residential": "#fa0000",
    "bare": "#b4b4b4", "snow": "#f0f0f0", "water": "#0064c8", "wetland": "#0096a0", "mangrove": "#00cf75",
    "moss": "#fae6a0",
}  # fmt: skip
_UNKNOWN = "#e3e3e3"
_UNITS = {"percent": "%", "m2": "m² a cell"}


def draw_samples(collection: Collection, gallery: Gallery) -> list[Picture]:
    """Sample chips of a collection; no picture where it has no store."""
    if not collection.modalities:
        return []
    chips = choose_samples(collection)
    rows = [row for name, store in collection.modalities.items() for row in modality_rows(name, store, chips)]
    labels = [(layer, store) for store in collection.layers.values() if (layer := store.label_layer)]
    rows += [_label_row(layer, store, chips) for layer, store in labels]
    figure = draw_rows(rows, f"{collection.note.title} ({collection.note.kind})")
    classes = dict(entry for layer, store in labels for entry in _key(layer, store, chips))
    if classes:
        colour_key(figure, classes)
    side_px = next(iter(collection.modalities.values())).chip_px
    side = f"{side_px * 10:,} m" if have_places(collection.chips) else f"{side_px} px"
    note = collection.note
    alt = f"{len(chips)} chips of {note.title} side by side; rows: {'; '.join(row.title for row in rows)}."
    caption = (
        f"{note.title} ({note.kind}): {len(chips)} train chips, {side} a side, chosen to differ. "
        "Each column is one chip."
    )
    return [gallery.add(f"samples-{collection.name}", figure, alt, caption)]


def choose_samples(collection: Collection) -> NDArray[np.intp]:
    """Train chips that have every modality and differ most, as rows of the collection's stores."""
    complete = collection.in_split("train").to_numpy().copy()
    if not complete.any():
        complete[:] = True
    whole = complete.copy()
    for store in collection.modalities.values():
        whole &= (store.valid >= MIN_VALID).any(axis=1)
    return choose_different(collection, np.flatnonzero(whole if whole.any() else complete), N_SAMPLES)


def choose_different(collection: Collection, candidates: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Chips that differ most: farthest points in the standardised chip-level values, from the most usual one on.

    Values are the labels, or the mean of each channel where there are none.

    Args:
        collection: whose chips.
        candidates: rows of its stores.
        count: how many; fewer where there are fewer candidates.
    """
    values = _chip_values(collection, candidates)
    values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    chosen = [int(np.argmin((values**2).sum(axis=1)))]
    while len(chosen) < min(count, len(candidates)):
        distance = np.min([((values - values[k]) ** 2).sum(axis=1) for k in chosen], axis=0)
        chosen.append(int(np.argmax(distance)))
    samples: NDArray[np.intp] = candidates[chosen]
    return samples


def _chip_values(collection: Collection, chips: NDArray[np.intp]) -> NDArray[np.float64]:
    labels = collection.labels.to_numpy(np.float64)[chips]
    if labels.shape[1]:
        return np.asarray(np.nan_to_num(labels))
    store = next(iter(collection.modalities.values()))
    channels = np.arange(min(store.channels, 8))
    means = [np.nan_to_num(store.physical(np.full_like(channels, c), channels)).mean(axis=(1, 2)) for c in chips]
    return np.asarray(means, np.float64)


def modality_rows(name: str, store: ChipStore, chips: NDArray[np.intp]) -> list[Row]:
    """Images of chips as one modality shows them: in natural and infrared colours, in dB, or in the unit of coherence.

    Args:
        name: of the modality.
        store: its store.
        chips: rows of the store.
    """
    title = MODALITIES[name].title if name in MODALITIES else name
    if store.layer.unit == "reflectance":
        return _reflectance_rows(title, store, chips)
    if store.layer.unit == "display":
        return [Row(title, list(colours(store, chips, range(3))))]
    if store.layer.unit == "coherence":
        best = np.argmax(store.valid[chips], axis=1)
        images = list(store.physical(chips, best))
        return [Row(f"{title}, 0 to 1", images, options={"cmap": "gray", "vmin": 0, "vmax": 1})]
    band = next(b for b in store.bands if b.endswith("VV"))
    images = list(store.physical(chips, np.full(len(chips), store.bands.index(band))))
    options = {"cmap": "gray", "vmin": -22, "vmax": 0}
    return [Row(f"{title}: {band.replace('_', ' ')}, −22 to 0 dB", images, options=options)]


def _reflectance_rows(title: str, store: ChipStore, chips: NDArray[np.intp]) -> list[Row]:
    rows = []
    for words, wanted in (("bands 4, 3, 2", ("B04", "B03", "B02")), ("bands 8, 4, 3", ("B08", "B04", "B03"))):
        channels = [next((k for k, b in enumerate(store.bands) if b.endswith(band)), -1) for band in wanted]
        if min(channels) < 0:
            continue
        images = list(stretch(colours(store, chips, channels)))
        month = store.bands[channels[0]].partition("_")[0]
        rows.append(Row(f"{title}: {words}" + (f", {month}" if month != wanted[0] else ""), images))
    return rows


def class_colours(layer: LabelLayer) -> dict[int, str]:
    """Code to colour: the usual one of a class by its name or that without an s, else the next of a cycle."""
    spare = itertools.cycle(CYCLE[1:])  # the first is close to water
    usual = {code: (name, name.removesuffix("s")) for code, name in layer.classes.items()}
    return {
        code: next((_CLASS_COLOURS[name] for name in names if name in _CLASS_COLOURS), None) or next(spare)
        for code, names in usual.items()
    }


def _label_row(layer: LabelLayer, store: ChipStore, chips: NDArray[np.intp]) -> Row:
    from matplotlib.colors import to_rgb

    raw = store.digital(chips, np.zeros_like(chips))
    if not layer.classes:
        quantity = raw.astype(np.float32)
        for code, stands_for in layer.stands_for.items():
            quantity[raw == code] = stands_for
        quantity[raw == layer.nodata] = np.nan
        high = float(np.nanmax(quantity)) if np.isfinite(quantity).any() else 1.0
        title = f"{layer.title}, 0 to {high:,.4g} {_UNITS.get(layer.unit, layer.unit)}"
        return Row(title, list(quantity), options={"cmap": "viridis", "vmin": 0, "vmax": max(high, 1e-6)})
    painted = np.full((*raw.shape, 3), to_rgb(_UNKNOWN))
    for code, colour in class_colours(layer).items():
        painted[raw == code] = to_rgb(colour)
    return Row(layer.title, list(painted))


def _key(layer: LabelLayer, store: ChipStore, chips: NDArray[np.intp]) -> list[tuple[str, str]]:
    """Class names and colours that the chips show."""
    raw = store.digital(chips, np.zeros_like(chips))
    present = [(layer.classes[code], colour) for code, colour in class_colours(layer).items() if (raw == code).any()]
    return present + ([("not labelled", _UNKNOWN)] if layer.classes and (raw == layer.nodata).any() else [])
