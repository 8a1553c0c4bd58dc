"""t-SNE pictures, coloured by label, and the labels' quantiles with the threshold of each task."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.chips.store import ChipStore
from terraprobe.report.drawing import BLUE, RED, RULE, Gallery, Picture, themed_figure
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.results import label_title

if TYPE_CHECKING:
    from matplotlib.colors import Normalize

_FEW_DECADES = 30.0  # [D] largest over smallest: beyond it, ticks between powers of ten run into each other
_SKEWED = 3.0  # [D] mean over median of the positive values: beyond it, colours go by the logarithm


def draw_projections(
    encoder: TrainedEncoder, collection: Collection, points: pd.DataFrame, tasks: list[str], gallery: Gallery
) -> list[Picture]:
    """One picture a label, one panel a modality; by the mean of one band where there is no label.

    Args:
        encoder: whose embeddings these are.
        collection: whose chips.
        points: rows of `projections.parquet` of this encoder and collection.
        tasks: labels to colour by.
        gallery: where pictures are saved.
    """
    rows = pd.Index(collection.chips["chip_id"]).get_indexer(points["chip_id"])
    title = f"{encoder.note.name} on {collection.note.title} ({collection.note.kind})"
    name = f"tsne-{encoder.note.name}-{collection.name}"
    if not tasks:
        first = next(iter(collection.modalities.values()))
        label = f"mean of {first.bands[0]} ({first.layer.unit})"
        shown = Shown(f"{name}-brightness", title, label, _brightness(first)[rows])
        return [_draw(points, shown, gallery)]
    columns = {task: collection.labels[task].to_numpy(np.float64)[rows] for task in tasks}
    return [
        _draw(points, Shown(f"{name}-{task}", title, label_title(task), values), gallery)
        for task, values in columns.items()
    ]


@dataclass(frozen=True)
class Shown:
    """What colours a picture.

    Attributes:
        name: of its files.
        where: encoder and collection, for people.
        label: what the colours mean.
        values: by point, NaN where not known.
    """

    name: str
    where: str
    label: str
    values: NDArray[np.float64]

    @property
    def skewed(self) -> bool:
        """Whether colours go by the logarithm."""
        known = self.values[np.isfinite(self.values)]
        positive = known[known > 0]
        return len(positive) > 1 and bool(positive.mean() > _SKEWED * np.median(known))

    def scaled(self) -> tuple[NDArray[np.float64], "Normalize"]:
        """Values and the scale that turns them into colours; on a logarithmic one, zeros take the lowest colour."""
        from matplotlib.colors import LogNorm, Normalize

        known = self.values[np.isfinite(self.values)]
        if not self.skewed:
            low, high = np.quantile(known, [0.02, 0.98]) if len(known) else (0.0, 1.0)
            return self.values, Normalize(low, max(high, low + 1e-9), clip=True)
        low, high = np.quantile(known[known > 0], [0.02, 0.99])
        return np.where(self.values <= 0, low, self.values), LogNorm(low, max(high, low * 1.01), clip=True)


def _brightness(store: ChipStore) -> NDArray[np.float64]:
    """Mean of the first channel, by chip; NaN where it is missing."""
    step = max(1, store.chip_px // 16)
    values = np.full(len(store), np.nan)
    for chip in range(len(store)):
        dn = store.read(chip, 0)[::step, ::step]
        known = dn != store.layer.nodata
        if known.any():
            values[chip] = dn[known].mean() * store.layer.scale + store.layer.offset
    return values


def _draw(points: pd.DataFrame, shown: Shown, gallery: Gallery) -> Picture:
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import LogLocator, MaxNLocator

    modalities = sorted(set(points["modality"]), key=lambda m: (m == "concat", m))
    columns = 2 if len(modalities) > 1 else 1
    lines = -(-len(modalities) // columns)
    figure, axes = themed_figure(0.9 + (4.1 if columns == 1 else 2.05) * lines, lines, columns)
    figure.suptitle(shown.where, x=0.02, ha="left", size=10)
    values, norm = shown.scaled()
    for ax, modality in zip(axes.flat, modalities, strict=False):
        mask = (points["modality"] == modality).to_numpy()
        x, y, c = points["x"].to_numpy()[mask], points["y"].to_numpy()[mask], values[mask]
        known = np.isfinite(c)
        ax.scatter(x[~known], y[~known], s=4, color=RULE, linewidths=0, rasterized=True)
        ax.scatter(x[known], y[known], s=5, c=c[known], cmap="viridis", norm=norm, linewidths=0, rasterized=True)
        ax.set(xticks=[], yticks=[], title=modality)
        for side in ("left", "bottom"):
            ax.spines[side].set_color(RULE)
    for ax in axes.flat[len(modalities) :]:
        ax.set_visible(False)
    bar = figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes, location="bottom", shrink=0.9, aspect=40, pad=0.02)
    bar.set_label(shown.label + (" (logarithmic)" if shown.skewed else ""))
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    if shown.skewed:
        ends = norm.inverse(np.array([0.0, 1.0]))
        subs = (1, 2, 5) if ends[1] / ends[0] < _FEW_DECADES else (1,)
        bar.ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
        bar.ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        bar.ax.minorticks_off()
    counts = points["modality"].value_counts()
    size = f"{counts.max():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
    alt = f"t-SNE of the embeddings of {shown.where}, panels {', '.join(modalities)}, coloured by {shown.label}."
    caption = f"{shown.where}, coloured by {shown.label}. {size} chips a panel. Axes have no unit."
    return gallery.add(shown.name, figure, alt, caption)


def draw_quantiles(collection: Collection, thresholds: dict[str, float], gallery: Gallery) -> list[Picture]:
    """Quantiles of the train labels with the median that splits each task.

    Args:
        collection: with labels.
        thresholds: of each task; a chip above is positive.
        gallery: where pictures are saved.
    """
    pictures = []
    train = collection.in_split("train").to_numpy()
    for task, threshold in thresholds.items():
        values = np.sort(collection.labels[task].to_numpy(np.float64)[train])
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        figure, axes = themed_figure(2.2)
        ax = axes[0, 0]
        share = (np.arange(len(values)) + 0.5) / len(values)
        ax.plot(share, values, color=BLUE)
        ax.axhline(threshold, color=RED, lw=1.2, ls="--")
        ax.annotate(f"train median {threshold:.3g}", (0.01, threshold), xytext=(0, 3), textcoords="offset points",
                    color=RED, va="bottom", ha="left")  # fmt: skip
        ax.grid(True, axis="y")
        ax.set(xlim=(0, 1), xlabel="share of the train chips", ylabel=label_title(task))
        ax.set_title(f"{collection.note.title} ({collection.note.kind}): {label_title(task)}")
        zero = float((values == 0).mean())
        positive = float((values > threshold).mean())
        caption = f"{len(values):,} labelled train chips; {zero:.0%} are zero; {positive:.0%} lie above the median."
        alt = f"Sorted labels {label_title(task)} of {collection.note.title}, with the train median {threshold:.3g}."
        pictures.append(gallery.add(f"quantiles-{collection.name}-{task}", figure, alt, caption))
    return pictures
