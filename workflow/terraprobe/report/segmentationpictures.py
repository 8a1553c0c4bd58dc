"""Classes of pixels in pictures: few labels, class by class, and maps of test chips beside the truth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.classcolours import UNKNOWN_COLOUR, class_colours, rgb
from terraprobe.probes.inits import FLOOR, TRAINED
from terraprobe.probes.segmentation_table import MAJORITY, MEAN_OF_BANDS
from terraprobe.report.chipviews import Row, colours, draw_rows, limits, rows_of, shared_chips, view
from terraprobe.report.drawing import CYCLE, MUTED, Gallery, Picture, colour_key, themed_figure
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.maps import stretch
from terraprobe.report.notes import SegmentationNote
from terraprobe.report.segmentation import largest, leading, model_title

N_CHIPS = 4

Archive = Mapping[str, NDArray[Any]]
"""Of `segment_chips`: `chip_ids`, `truth`, `called`, `inits`, `towers`, `bands`, `best`."""


def draw_scarcity(note: SegmentationNote, points: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """MIoU against the number of labelled chips; no picture of a single size."""
    rows = leading(points[points["stratum"] == ""])
    rows = rows[(rows["band"] != "") | (rows["init"] != FLOOR) | (rows["tower"] == MAJORITY) | _whole(rows)]
    if rows["size"].nunique() < 2:
        return []
    # With all chips not every probe has as many: they stand in one place all the same.
    rows = rows.assign(n_train=rows.groupby("size")["n_train"].transform("max"))
    figure, axes = themed_figure(4.2)
    ax = axes[0, 0]
    colour = {arm: CYCLE[k % len(CYCLE)] for k, arm in enumerate(dict.fromkeys(rows["arm"]))} | {"": MUTED}
    drawn = rows.groupby(["arm", "init", "tower", "band", "sees"], sort=False)
    dashes = {TRAINED: "-", FLOOR: (0, (1, 1.5))}
    for k, (_, line) in enumerate(drawn):
        ordered, first = line.sort_values("n_train"), line.iloc[0]
        style = dashes.get(first["init"], (0, (4, 1.5)))
        if first["init"] == TRAINED:
            ax.fill_between(ordered["n_train"], ordered["miou_low"], ordered["miou_high"],
                            color=colour[first["arm"]], alpha=0.15, lw=0)  # fmt: skip
        ax.plot(ordered["n_train"], ordered["miou"], color=colour[first["arm"]], ls=style, marker="os^Dv"[k % 5],
                ms=4, label=model_title(first))  # fmt: skip
    ax.set_xscale("log")
    ax.set(xlabel="labelled train chips", ylabel="mIoU", title=f"Few labels ({note.collection}, {note.kind})")
    ticks = sorted(set(rows["n_train"]))
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y")
    figure.legend(loc="outside lower left", ncols=1)
    told = "; ".join(
        f"{row['model']} {row['miou']:.3f}" for row in rows[rows["n_train"] == max(ticks)].to_dict("records")
    )
    alt = f"mIoU against the number of labelled chips of {note.title}; with most labels: {told}."
    caption = (
        f"Label scarcity: mIoU on the same test chips ({note.title}, {note.kind}); means over seeds and draws. Bands: "
        "95 % interval over test blocks, of trained encoders. Dashed: untrained. Dotted: no network."
    )
    return [gallery.add(f"segmentation-{note.name}-labels", figure, alt, caption)]


def _whole(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Floors that see what a whole-chip probe sees."""
    wanted = set(rows.loc[(rows["init"] != FLOOR) & (rows["band"] != MEAN_OF_BANDS), "sees"])
    return rows["sees"].isin(wanted)


def draw_class_scores(note: SegmentationNote, classes: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """Intersection over union of each class with most labels: a dot for each probe, those of one encoder in a row."""
    own = classes[(classes["evaluation"] == note.name) & classes["iou"].notna()]
    own = own[(own["size"] == largest(own["size"])) & (own["tower"] != MAJORITY) & (own["stratum"] == "")]
    names = [name for name in note.classes if name in set(own["class"])]
    kinds = list(dict.fromkeys(zip(own["arm"], own["init"], strict=True)))
    figure, axes = themed_figure(1.3 + len(names) * (0.16 * len(kinds) + 0.12) + 0.2 * len(kinds))
    ax = axes[0, 0]
    key = {}
    for k, (arm, init) in enumerate(kinds):
        rows = own[(own["arm"] == arm) & (own["init"] == init)]
        what = (arm or str(rows["tower"].iloc[0])) + ("" if init in (TRAINED, FLOOR) else ", untrained")
        key[what] = CYCLE[k % len(CYCLE)]
        places = np.array([names.index(name) for name in rows["class"]]) + (k - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
        ax.hlines(places, rows["iou_low"], rows["iou_high"], color=key[what], lw=1.0, alpha=0.5)
        ax.plot(rows["iou"], places, ls="", marker="o", ms=4, color=key[what], alpha=0.85)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="IoU", title=f"Class by class ({note.collection}, {note.kind})")
    ax.grid(axis="x")
    colour_key(figure, key)
    alt = f"Intersection over union of {', '.join(names)} by {', '.join(key)}, with most labels."
    caption = (
        f"IoU of each class with most labels and its 95 % interval over test blocks ({note.title}, {note.kind}); a dot "
        "for each probe: an encoder that takes one band at a time has one for each band, pixel values have one for "
        "each set of bands that a probe sees."
    )
    return [gallery.add(f"segmentation-{note.name}-classes", figure, alt, caption)]


def draw_predictions(
    collection: Collection,
    note: SegmentationNote,
    encoders: Sequence[TrainedEncoder],
    found: Mapping[str, Archive],
    gallery: Gallery,
) -> list[Picture]:
    """A few test chips, their labels, and what the best probe on validation of each encoder calls their pixels.

    Args:
        collection: whose test chips.
        note: the evaluation.
        encoders: that it judges.
        found: of the first run of each, by the name of its folder.
        gallery: for the figure.
    """
    given = {encoder.note.name: found[encoder.note.runs[0]] for encoder in encoders}
    first = next(iter(given.values()))
    chips = shared_chips(given.values())[:N_CHIPS]
    if not chips:
        return []
    key = class_colours(note.classes)
    store, channels, words = view(collection)
    pixels = colours(store, rows_of(collection, chips), channels)
    place = {chip: k for k, chip in enumerate(first["chip_ids"].tolist())}
    truth = first["truth"][[place[chip] for chip in chips]]
    rows = [Row(words, list(stretch(pixels, limits(pixels)))), Row("labels", list(_painted(truth, list(key.values()))))]
    shown = [truth]
    for name, one in given.items():
        place = {chip: k for k, chip in enumerate(one["chip_ids"].tolist())}
        tower, band = one["best"].tolist()
        probe = (one["inits"] == TRAINED) & (one["towers"] == tower) & (one["bands"] == band)
        called = one["called"][np.flatnonzero(probe)[0]][[place[chip] for chip in chips]]
        shown.append(called)
        rows.append(Row(f"{name}, {band or tower}", list(_painted(called, list(key.values())))))
    figure = draw_rows(rows, f"Land cover of test chips ({collection.note.title}, {note.kind})")
    used = {int(k) for k in np.unique(np.stack(shown))}
    legend = {name: colour for k, (name, colour) in enumerate(key.items()) if k in used}
    colour_key(figure, legend | ({"not labelled": UNKNOWN_COLOUR} if (truth >= len(key)).any() else {}))
    told = "; ".join(row.title for row in rows)
    alt = f"{len(chips)} test chips of {collection.note.title} side by side; rows: {told}."
    caption = (
        f"{len(chips)} test chips of {collection.note.title} ({note.kind}), drawn by seed: the image ({words}), its "
        "labels, and what the head of each encoder calls its pixels, with most labels; of several bands or towers the "
        "one that was best on validation chips, of several seeds and draws the first. Each column is one chip."
    )
    return [gallery.add(f"segmentation-{note.name}-maps", figure, alt, caption)]


def _painted(numbers: NDArray[np.uint8], palette: Sequence[str]) -> NDArray[np.uint8]:
    """Numbers of classes as colours, (…, 3)."""
    table = np.array([rgb(UNKNOWN_COLOUR)] * 256, np.uint8)
    table[: len(palette)] = [rgb(colour) for colour in palette]
    painted: NDArray[np.uint8] = table[numbers]
    return painted
