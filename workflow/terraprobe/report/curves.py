"""Few-shot curves: score against the number of labels, with floors, intervals and both 95 % dots."""

from typing import Any

import numpy as np
import pandas as pd

from terraprobe.probes.episodes import FULL
from terraprobe.report.drawing import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    Gallery,
    Picture,
    themed_figure,
)
from terraprobe.report.notes import CollectionNote, EncoderNote, EvaluationNote
from terraprobe.report.results import TRAINED, floors_of, label_title

STYLES: dict[str, dict[str, Any]] = {
    TRAINED: {"color": BLUE, "lw": 2.2, "label": "trained", "zorder": 4},
    "image_stats": {"color": RED, "lw": 1.5, "ls": (0, (4, 1.5)), "label": "image statistics", "zorder": 3},
    "mean_sd": {"color": RED, "lw": 1.1, "ls": (0, (1, 1.5)), "label": "mean and SD", "zorder": 2},
    "random": {"color": PURPLE, "lw": 1.5, "ls": (0, (1, 1)), "label": "random init", "zorder": 3},
    "climate": {"color": GREEN, "lw": 1.1, "ls": (0, (6, 1.5, 1, 1.5)), "label": "climate", "zorder": 2},
    "coordinates": {"color": ORANGE, "lw": 1.1, "ls": (0, (6, 1.5, 1, 1.5)), "label": "coordinates", "zorder": 2},
    "majority": {"color": MUTED, "lw": 1.0, "ls": ":", "label": "majority class", "zorder": 1},
}
"""Line of each kind of features; the same in every panel."""


def draw_curves(
    evaluation: EvaluationNote, encoder: EncoderNote, collection: CollectionNote, table: pd.DataFrame, gallery: Gallery
) -> list[Picture]:
    """One picture a task, one panel a modality.

    Args:
        evaluation: what is measured.
        encoder: whose embeddings.
        collection: whose chips.
        table: rows of `results.curve_points` of this encoder and of the floors in this evaluation.
        gallery: where pictures are saved.
    """
    pictures = []
    for task in dict.fromkeys(table["task"]):
        rows = table[table["task"] == task]
        trained = rows[rows["source"] == TRAINED]
        modalities = sorted(set(trained["modality"]), key=lambda m: (m == "concat", m))
        if not modalities:
            continue
        figure, axes = themed_figure(1.4 + 2.0 * -(-len(modalities) // 2), -(-len(modalities) // 2), 2, sharey=True)
        for ax, modality in zip(axes.flat, modalities, strict=False):
            _panel(ax, floors_of(rows, modality), modality)
        for ax in axes.flat[len(modalities) :]:
            ax.set_visible(False)
        for ax in axes.flat[max(0, len(modalities) - 2) : len(modalities)]:
            ax.set_xlabel("labelled train chips")
        for ax in axes[:, 0]:
            ax.set_ylabel(str(trained["metric"].iloc[0]).replace("_", " "))
        _key(figure, rows)
        figure.suptitle(f"{label_title(task)}, {collection.title} ({collection.kind})", x=0.02, ha="left", size=11)
        name = f"curves-{evaluation.name}-{encoder.name}-{task}"
        pictures.append(gallery.add(name, figure, *_words(encoder, collection, task, trained)))
    return pictures


def _panel(ax: Any, rows: pd.DataFrame, title: str) -> None:
    # Sizes stand side by side: on an axis of numbers, "all" can fall on top of the largest size short of it.
    sizes = sorted(set(rows["n_shots"]), key=lambda n: (n == FULL, n))
    rows = rows.assign(place=rows["n_shots"].map(sizes.index))
    for source, style in STYLES.items():
        line = rows[rows["source"] == source].sort_values("place")
        if not len(line):
            continue
        ax.plot(line["place"], line["value"], **style)
        if source == TRAINED:
            ax.fill_between(line["place"], line["low"], line["high"], color=style["color"], alpha=0.18, lw=0)
            _dots(ax, line)
    ax.set_xticks(range(len(sizes)), ["all" if n == FULL else f"{n:,}" for n in sizes])
    ax.grid(True, axis="y")
    ax.set_title(title)


def _dots(ax: Any, line: pd.DataFrame) -> None:
    """The paper's dot, filled, and the dot of the gain over the majority class, open."""
    for column, face, size in (("gain_dot", PAPER, 46), ("dot", INK, 20)):
        at = line[line[column]]
        ax.scatter(at["place"], at["value"], s=size, facecolor=face, edgecolor=INK, lw=1.2, zorder=6)


def _key(figure: Any, rows: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    present = set(rows["source"])
    handles = [Line2D([], [], **style) for source, style in STYLES.items() if source in present]
    dot: dict[str, Any] = {"marker": "o", "ls": "", "markeredgecolor": INK}
    handles += [
        Line2D([], [], markersize=4.5, color=INK, label="95 % of full", **dot),
        Line2D([], [], markersize=6.5, markerfacecolor=PAPER, label="95 % of gain", **dot),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=2.0, columnspacing=0.9,
                  handletextpad=0.5)  # fmt: skip


def _words(encoder: EncoderNote, collection: CollectionNote, task: str, trained: pd.DataFrame) -> tuple[str, str]:
    """Alternative text and caption."""
    full = trained[trained["n_shots"] == FULL]
    best = (full if len(full) else trained).sort_values("value").iloc[-1]
    metric = str(best["metric"]).replace("_", " ")
    title = f"{label_title(task)} on {collection.title} ({collection.kind})"
    alt = (
        f"Few-shot curves of {title}: {metric} of {encoder.title} against the number of labels, by modality, with "
        f"floors. With all labels {best['modality']} reaches {best['value']:.3f}."
    )
    balanced = "" if bool(best["balanced"]) else " Unbalanced task: no headline rests on it."
    blocks = int(np.max(trained["n_blocks"]))
    caption = (
        f"{title[0].upper()}{title[1:]}, {encoder.title}. Band: 95 % interval over {blocks} test blocks.{balanced}"
    )
    return alt, caption
