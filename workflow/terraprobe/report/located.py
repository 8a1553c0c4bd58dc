"""Two chips located in the t-SNE of every modality, with their images beside it: Figure 6 of `clip3`'s paper."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.chips.store import MIN_VALID, ChipStore
from terraprobe.report.chipviews import frame_image
from terraprobe.report.drawing import BLUE, RED, RULE, Gallery, Picture, themed_figure
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.samples import choose_different, modality_rows

_COLOURS = {"A": BLUE, "B": RED}
_ROW_IN, _HEAD_IN = 1.6, 0.4


def draw_located(
    encoder: TrainedEncoder, collection: Collection, points: pd.DataFrame, gallery: Gallery
) -> list[Picture]:
    """Draw two chips that differ; no picture of an encoder that embeds fewer than two modalities of the collection.

    Args:
        encoder: whose embeddings these are.
        collection: whose chips.
        points: rows of `projections.parquet` of this encoder and collection.
        gallery: where pictures are saved.
    """
    modalities = [name for name in collection.modalities if (points["modality"] == name).any()]
    drawn = points[points["modality"].isin(modalities)].groupby("chip_id").size()
    everywhere = drawn.index[drawn == len(modalities)]
    if len(modalities) < 2 or len(everywhere) < len(_COLOURS):
        return []
    rows = np.sort(pd.Index(collection.chips["chip_id"]).get_indexer(everywhere))
    whole = rows[np.logical_and.reduce([_observed(collection.modalities[name])[rows] for name in modalities])]
    chips = choose_different(collection, whole if len(whole) >= len(_COLOURS) else rows, len(_COLOURS))
    marks = dict(zip(_COLOURS, collection.chips["chip_id"].to_numpy()[chips], strict=True))
    figure, axes = themed_figure(_HEAD_IN + _ROW_IN * len(modalities), len(modalities), 1 + len(marks))
    where = f"{encoder.note.name} on {collection.note.title} ({collection.note.kind})"
    figure.suptitle(where, x=0.02, ha="left", size=10)
    titles = []
    for name, (left, *images) in zip(modalities, axes, strict=True):
        own = points[points["modality"] == name].set_index("chip_id")
        left.scatter(own["x"], own["y"], s=2, color=RULE, linewidths=0, rasterized=True)
        shown = modality_rows(name, collection.modalities[name], chips)[0]
        titles.append(shown.title)
        for (mark, chip), ax, image in zip(marks.items(), images, shown.images, strict=True):
            x, y = own.loc[chip, ["x", "y"]]
            left.scatter(x, y, s=30, color=_COLOURS[mark], zorder=3)
            left.annotate(mark, (x, y), xytext=(5, 2), textcoords="offset points", color=_COLOURS[mark], weight="bold")
            frame_image(ax, image, shown.options, _COLOURS[mark])
            ax.set_xlabel(mark, color=_COLOURS[mark], weight="bold")
        left.set(xticks=[], yticks=[])
        left.set_title(" ", fontsize=9.5)  # keeps the height, as in `draw_rows`
        left.text(0, 1.05, shown.title, transform=left.transAxes, fontsize=9.5).set_in_layout(False)
        for side in ("left", "bottom"):
            left.spines[side].set_color(RULE)
    alt = f"Two chips, A and B, in the t-SNE of the embeddings of {where}, and as {'; '.join(titles)}."
    caption = (
        f"{where}: chips A ({marks['A']}) and B ({marks['B']}), chosen to differ, among {len(everywhere):,} in the "
        "t-SNE of each modality (left), and what that modality sees of them. Axes of the t-SNE have no unit."
    )
    return [gallery.add(f"located-{encoder.note.name}-{collection.name}", figure, alt, caption)]


def _observed(store: ChipStore) -> NDArray[np.bool_]:
    """Whether every band of a chip was observed; of coherence, whose pairs have no names, one pair."""
    valid = store.valid >= MIN_VALID
    return np.asarray(valid.any(axis=1) if store.layer.unit == "coherence" else valid.all(axis=1))
