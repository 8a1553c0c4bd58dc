"""Pictures of probes band by band: F1 on every band, F1 of every class over bands, ROC curves."""

from typing import Any

import numpy as np
import pandas as pd

from terraprobe.probes.inits import FLOOR, TRAINED, UNTRAINED
from terraprobe.probes.mlp_lines import ALL, MAJORITY, STATISTICS
from terraprobe.report.bands import view_title
from terraprobe.report.drawing import CYCLE, INK, MUTED, PAPER, Gallery, Picture, colour_key, themed_figure
from terraprobe.report.notes import ClassPoolNote, MlpNote
from terraprobe.report.results import size_words
from terraprobe.report.tables import score, signed

_LINE_IN = 0.13
_GAP = 0.8
"""Between bands, in lines."""


def _colours(arms: "pd.Series[str]") -> dict[str, str]:
    """A colour for each arm, in their order; they come round again."""
    return {arm: CYCLE[k % len(CYCLE)] for k, arm in enumerate(dict.fromkeys(arms))}


def draw_bands(note: MlpNote, points: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """The paper's figure 3: macro F1 of every model on every band, means over bands first.

    Args:
        note: the evaluation.
        points: of `bands.band_points`, of one size.
        gallery: for the figure.
    """
    rows = points[points["metric"] == "f1_macro"]
    colours = _colours(rows.loc[rows["init"] == TRAINED, "arm"])
    bands = list(rows.groupby(["over", "group", "modality", "view"], sort=False))
    figure, axes = themed_figure(1.3 + _LINE_IN * len(bands) * (len(colours) + _GAP))
    ax, ticks, y = axes[0, 0], [], 0.0
    for _, own in bands:
        ticks.append(y + (len(colours) - 1) / 2)
        for k, (arm, colour) in enumerate(colours.items()):
            _dots(ax, own[own["arm"] == arm], y + k, colour)
        for _, row in own[own["arm"] == STATISTICS].iterrows():
            ax.plot([row["value"]] * 2, [y - 0.4, y + len(colours) - 0.6], color=INK, lw=1.6, zorder=2)
        y += len(colours) + _GAP
    floor = rows.loc[rows["arm"] == MAJORITY, "value"]
    ax.axvline(float(floor.iloc[0]), color=MUTED, lw=1, ls=":", zorder=1)
    ax.set_yticks(ticks, [own["band"].iloc[0] for _, own in bands])
    for text, ((over, *_), _) in zip(ax.get_yticklabels(), bands, strict=True):
        text.set_weight("bold" if over else "normal")
    ax.set_ylim(y - _GAP, -1)
    _tidy(ax)
    ax.set_xlabel("macro F1", color=MUTED)
    size = size_words(int(rows["n_shots"].iloc[0]))
    ax.set_title(f"{note.collection} ({note.kind})", loc="left")
    colour_key(figure, colours)
    means = rows[rows["over"] & (rows["group"] == ALL)]
    alt = "Macro F1, mean over bands: " + "; ".join(
        f"{r['model']} {score(r['value'])}" for r in means.to_dict("records")
    )
    caption = (
        f"Macro F1 with {size}, of {note.label}. Filled: trained, with 95 % intervals over test blocks, then seeds and "
        "draws; open: its untrained twins; black line: image statistics of the band; dotted: every chip the majority "
        "class. Bold: means over bands."
    )
    return [gallery.add(f"bands-{note.name}", figure, f"{alt}.", caption)]


def _dots(ax: Any, own: pd.DataFrame, y: float, colour: str) -> None:
    for _, row in own[own["init"] != FLOOR].iterrows():
        trained = row["init"] == TRAINED
        if trained:
            ax.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.4, solid_capstyle="butt", zorder=3)
        ax.plot(row["value"], y, "o", ms=4.5, mec=colour, mew=1.2, mfc=colour if trained else "none", zorder=4)


def _tidy(ax: Any) -> None:
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=5)


def draw_classes(note: MlpNote, points: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """The paper's figure 7: F1 of every class over bands, one box for each trained model; nothing over a single band.

    Args:
        note: the evaluation.
        points: of `bands.band_points`, of one size.
        gallery: for the figure.
    """
    rows = points[(points["metric"] == "f1") & (points["init"] == TRAINED) & points["value"].notna()]
    if rows["view"].nunique() < 2:
        return []
    colours, classes = _colours(rows["arm"]), list(dict.fromkeys(rows["class_name"]))
    figure, axes = themed_figure(1.3 + 0.2 * len(classes) * (len(colours) + _GAP))
    ax, ticks, y, told = axes[0, 0], [], 0.0, []
    for name in classes:
        ticks.append(y + (len(colours) - 1) / 2)
        for k, (arm, colour) in enumerate(colours.items()):
            values = rows.loc[(rows["class_name"] == name) & (rows["arm"] == arm), "value"].to_numpy(float)
            if len(values):
                line = {"color": colour, "lw": 1.3}
                ax.boxplot(values, positions=[y + k], orientation="horizontal", widths=0.6, manage_ticks=False,
                           boxprops=line, whiskerprops=line, capprops=line, medianprops={"color": INK, "lw": 1.6},
                           flierprops={"marker": ".", "ms": 4, "mec": colour})  # fmt: skip
                told.append(f"{name} by {arm} {score(float(np.median(values)))}")
        y += len(colours) + _GAP
    ax.set_yticks(ticks, classes)
    ax.set_ylim(y - _GAP, -1)
    _tidy(ax)
    ax.set_xlabel("F1 of the class", color=MUTED)
    ax.set_title(f"{note.collection} ({note.kind})", loc="left")
    colour_key(figure, colours)
    caption = (
        f"F1 of each class over {rows['view'].nunique()} bands, mean over seeds and draws: median, quartiles, the "
        "farthest band within 1.5 of their distance, and bands beyond."
    )
    return [gallery.add(f"bands-{note.name}-classes", figure, f"Median F1 over bands: {'; '.join(told)}.", caption)]


def draw_curves_of(note: MlpNote, curves: pd.DataFrame, points: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """The paper's figure 5: ROC curves of every class on some bands, one picture a band and trained model.

    Args:
        note: the evaluation.
        curves: of `score_mlp`, of the evaluation.
        points: of `bands.band_points`, of one size, for the areas.
        gallery: for the figures.
    """
    areas = points[(points["metric"] == "roc_auc") & (points["init"] == TRAINED)]
    pictures: list[Picture] = []
    for (arm, modality, view), own in curves.groupby(["arm", "modality", "view"], sort=False):
        here = areas[(areas["arm"] == arm) & (areas["modality"] == modality) & (areas["view"] == view)]
        area = here.set_index("class_name")["value"]
        figure, axes = themed_figure(3.1)
        ax = axes[0, 0]
        for k, (name, line) in enumerate(own.groupby("class_name", sort=False)):
            style = ("-", "--")[k // len(CYCLE) % 2]
            label = f"{name} {area[name]:.2f}"
            ax.plot(line["fpr"], line["tpr"], color=CYCLE[k % len(CYCLE)], ls=style, lw=1.4, label=label)
        ax.plot([0, 1], [0, 1], color=MUTED, lw=0.9, ls=":")
        ax.set_xlabel("false positive rate", color=MUTED)
        ax.set_ylabel("true positive rate", color=MUTED)
        ax.set_aspect("equal")
        ax.grid(True)
        ax.set_title(f"{arm}, {view_title(str(view))} ({note.kind})", loc="left")
        ax.legend(title="area (AUC)", loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=1.4)
        told = "; ".join(f"{name} {area[name]:.2f}" for name in dict.fromkeys(own["class_name"]))
        caption = (
            f"ROC curves of {arm} on {view_title(str(view))} ({modality}), each class against all others, mean over "
            "seeds and draws. Dotted: chance."
        )
        stem = f"bands-{note.name}-roc-{arm}-{len(pictures)}"
        pictures.append(gallery.add(stem, figure, f"Areas under the ROC curves: {told}.", caption))
    return pictures


def draw_pooled_bands(note: ClassPoolNote, rows: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """Every arm minus its twins and minus the other arms, band by band over the evaluations of a pool.

    Args:
        note: the pool.
        rows: of `bands.judged_bands`, of one size.
        gallery: for the figures.
    """
    pictures: list[Picture] = []
    for (arm, rival, init), own in rows.groupby(["arm", "rival", "rival_init"], sort=False):
        if init == FLOOR:
            continue
        shown = own.sort_values("view", key=lambda view: view != "", kind="stable").reset_index(drop=True)
        against = "its untrained twins" if init == UNTRAINED else str(rival)
        figure, axes = themed_figure(1.0 + 0.2 * len(shown))
        ax, colour = axes[0, 0], CYCLE[0]
        for y, row in shown.iterrows():
            ax.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.4, solid_capstyle="butt")
            clear = row["verdict"] in ("better", "worse")
            ax.plot(row["difference"], y, "o", ms=5, mec=colour, mew=1.3, color=colour if clear else PAPER)
        ax.axvline(0, color=INK, lw=0.9, zorder=1)
        ax.set_yticks(range(len(shown)), shown["band"])
        for text, view in zip(ax.get_yticklabels(), shown["view"], strict=True):
            text.set_weight("normal" if view else "bold")
        ax.set_ylim(len(shown) - 0.4, -0.6)
        _tidy(ax)
        ax.set_xlabel(f"F1 minus that of {against}", color=MUTED)
        ax.set_title(f"{note.title}: {arm} ({note.kind})", loc="left")
        means = shown[shown["view"] == ""].to_dict("records")
        told = "; ".join(f"{row['band']} {signed(row['difference'])}, {row['verdict']}" for row in means)
        caption = (
            f"{arm} minus {against} over {len(note.evaluations)} evaluations: paired 95 % intervals over test blocks, "
            "then seeds and draws. Filled: shown after Holm's correction; open: not shown. Bold: means over bands."
        )
        stem = f"bands-pool-{note.name}-{len(pictures)}"
        pictures.append(gallery.add(stem, figure, f"Differences of F1 from {against}: {told}.", caption))
    return pictures
