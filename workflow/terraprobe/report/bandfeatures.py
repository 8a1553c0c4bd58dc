"""What single bands look like to encoders: t-SNE of their features, and where in a chip a class is seen."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.classcolours import class_colours
from terraprobe.report.bands import view_title
from terraprobe.report.chipviews import Row, colours, draw_rows, limits, rows_of
from terraprobe.report.drawing import RULE, Gallery, Picture, colour_key, themed_figure
from terraprobe.report.inputs import Collection
from terraprobe.report.maps import stretch
from terraprobe.report.notes import MlpNote

_PANEL_IN, _HEAD_IN = 2.05, 1.2


def draw_band_projections(
    collection: Collection, note: MlpNote, points: pd.DataFrame, gallery: Gallery
) -> list[Picture]:
    """The paper's figure 9: one picture a view, one panel an encoder, coloured by class.

    Args:
        collection: whose chips.
        note: the evaluation.
        points: of `project_bands`.
        gallery: for the figures.
    """
    names = collection.classes[note.label].set_axis(collection.chips["chip_id"].astype(str))
    known = names[points["chip_id"]].dropna()
    palette = class_colours(sorted(set(known) - {""}))
    pictures: list[Picture] = []
    for (modality, view), own in points.groupby(["modality", "view"], sort=False):
        panels = list(own.groupby("encoder", sort=False))
        columns = min(2, len(panels))
        lines = -(-len(panels) // columns)
        figure, axes = themed_figure(_HEAD_IN + (2 / columns) * _PANEL_IN * lines, lines, columns)
        figure.suptitle(f"{view_title(str(view))}, {collection.note.title} ({note.kind})", x=0.02, ha="left", size=11)
        for ax, (encoder, rows) in zip(axes.flat, panels, strict=False):
            held = names[rows["chip_id"]].fillna("").to_numpy(str)
            ax.scatter(rows["x"], rows["y"], s=6, c=[palette.get(name, RULE) for name in held], linewidths=0,
                       rasterized=True)  # fmt: skip
            ax.set(xticks=[], yticks=[])
            ax.set_title(str(encoder), size=9.5)
            for side in ("left", "bottom"):
                ax.spines[side].set_color(RULE)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        colour_key(figure, palette)
        encoders = ", ".join(str(encoder) for encoder, _ in panels)
        alt = f"t-SNE of what {encoders} say of {view_title(str(view))}, coloured by {note.label}."
        caption = (
            f"t-SNE of the features of {view_title(str(view))} ({modality}), a panel an encoder, coloured by "
            f"{note.label}: the same {len(panels[0][1]):,} train and validation chips ({note.kind}). Axes have no unit."
        )
        pictures.append(gallery.add(f"bands-{note.name}-tsne-{len(pictures)}", figure, alt, caption))
    return pictures


def draw_band_attributions(
    collection: Collection, note: MlpNote, found: Mapping[str, NDArray[Any]], gallery: Gallery
) -> list[Picture]:
    """The paper's figure 8: for each class its chips, and where in a band each encoder sees it.

    Args:
        collection: whose test chips.
        note: the evaluation.
        found: of `attribute_bands`.
        gallery: for the figures.
    """
    pictures = []
    for name in dict.fromkeys(found["classes"].tolist()):
        own = np.flatnonzero(found["classes"] == name)
        chips = rows_of(collection, found["chip_ids"][own].tolist())
        rows, shown = [], ""
        for place, (encoder, modality, view) in enumerate(
            zip(found["encoders"], found["modalities"], found["views"], strict=True)
        ):
            images = _images(collection, str(modality), str(view), chips)
            if view != shown:
                rows.append(Row(view_title(str(view)), images))
                shown = view
            rows.append(Row(f"{view_title(str(view))}, {encoder}", images, list(found["maps"][place, own])))
        figure = draw_rows(rows, f"Where bands show {name} ({collection.note.title}, {note.kind})")
        views = ", ".join(dict.fromkeys(view_title(str(view)) for view in found["views"]))
        count = f"{len(own)} test chip{'s' if len(own) > 1 else ''}"
        alt = f"{count} of class {name}; rows: {views}, each with the full gradients of every encoder laid over it."
        caption = (
            f"Full gradients of class {name} on {count} of it, drawn by seed ({collection.note.title}, {note.kind}): "
            "bright where pixels and batch norms weigh most in the score that the MLP gives the class, for or against "
            "it; the mean score of all draws, the first seed of an encoder, the highest of a chip 1."
        )
        pictures.append(gallery.add(f"bands-{note.name}-cam-{name}", figure, alt, caption))
    return pictures


def _images(collection: Collection, modality: str, view: str, chips: NDArray[np.intp]) -> list[NDArray[Any]]:
    """Chips in the bands of a view: one in grey, or the first three in red, green and blue."""
    store, bands = collection.modalities[modality], view.split("+")
    channels = [store.bands.index(band) for band in (bands if len(bands) >= 3 else bands[:1] * 3)[:3]]
    pixels = colours(store, chips, channels)
    return list(stretch(pixels, limits(pixels)))
