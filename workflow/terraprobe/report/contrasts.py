"""Paired differences between an encoder and what it is held against."""

from typing import TYPE_CHECKING

import pandas as pd

from terraprobe.report.curves import STYLES
from terraprobe.report.drawing import INK, MUTED, PAPER, Gallery, Picture, themed_figure
from terraprobe.report.notes import CollectionNote, EncoderNote
from terraprobe.report.results import RIVAL_TITLES, RIVALS, label_title, size_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_IN = 0.19


def draw_differences(
    name: str, encoder: EncoderNote, collection: CollectionNote, rows: pd.DataFrame, gallery: Gallery
) -> list[Picture]:
    """One line a task and rival: the difference and its interval; no picture where there is nothing to compare.

    Args:
        name: of the evaluation.
        encoder: that is compared.
        collection: whose chips.
        rows: of a `results.Headline`.
        gallery: where the picture is saved.
    """
    known = rows[rows["rival"].isin(RIVALS)] if len(rows) else rows
    if not len(known):
        return []
    size = size_words(int(known["n_shots"].iloc[0]))
    metric = str(known["metric"].iloc[0]).replace("_", " ")
    title = f"{collection.title} ({collection.kind}), {size}"
    figure = contrast_figure(known, title, f"trained minus rival, {metric}")
    caption = f"{encoder.title}, {size}: right of the line the trained embeddings win. {HOW_TO_READ}"
    return [gallery.add(f"differences-{name}-{encoder.name}", figure, contrast_words(known), caption)]


HOW_TO_READ = "Bars: paired 95 % intervals over test blocks. Filled: shown after Holm's correction; open: not shown."


def contrast_figure(rows: pd.DataFrame, title: str, axis: str) -> "Figure":
    """Differences and their intervals, by task and rival.

    Args:
        rows: with columns `task, rival, difference, low, high, verdict`; tasks in the order of the rows.
        title: of the figure.
        axis: what is measured.
    """
    tasks = list(dict.fromkeys(rows["task"]))
    figure, axes = themed_figure(1.0 + _ROW_IN * (len(rows) + 1.3 * len(tasks)))
    ax = axes[0, 0]
    ticks, labels, y = [], [], 0.0
    for task in tasks:
        ticks.append(y)
        labels.append(label_title(task))
        for rival in RIVALS:
            for _, row in rows[(rows["task"] == task) & (rows["rival"] == rival)].iterrows():
                y += 1
                colour = str(STYLES[rival]["color"])
                shown = row["verdict"] in ("better", "worse")
                ax.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
                ax.plot(row["difference"], y, "o", ms=5.5, mec=colour, mew=1.4, color=colour if shown else PAPER)
                ticks.append(y)
                labels.append(RIVAL_TITLES[rival])
        y += 1.3
    ax.axvline(0, color=INK, lw=0.9, zorder=0)
    ax.set_yticks(ticks, labels)
    for text in ax.get_yticklabels():
        text.set_weight("bold" if text.get_text() in map(label_title, tasks) else "normal")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    ax.set_ylim(y - 0.6, -0.7)
    ax.set_xlabel(axis, color=MUTED)
    ax.set_title(title, loc="left")
    return figure


def contrast_words(rows: pd.DataFrame) -> str:
    """The same in words."""
    lines = "; ".join(
        f"{label_title(str(row['task']))} against {RIVAL_TITLES[str(row['rival'])]} {row['difference']:+.3f}, "
        f"{row['verdict']}"
        for _, row in rows.iterrows()
    )
    return f"Differences by task: {lines}."
