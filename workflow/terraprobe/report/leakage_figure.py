"""The picture of a leakage audit, for its own PNG file and for the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terraprobe.artifacts import atomic_path
from terraprobe.report.drawing import BLUE, INK, MUTED, ORANGE, RULE, house_style, themed_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Audit = Mapping[str, Any]

MARKS_KM = (0, 1, 10, 25)
"""Distances whose shares are told; 0 is touching."""

_PANEL_IN = 2.3


def save_picture(audit: Audit, path: Path) -> None:
    """Draw an audit into a PNG file with equal bytes for equal audits."""
    with house_style(), atomic_path(path) as temporary:
        leakage_figure(audit, str(audit["collection"]), None).savefig(
            temporary, format="png", dpi=160, facecolor="white", transparent=False, metadata={"Software": None}
        )


def leakage_figure(audit: Audit, title: str, planted_km: float | None) -> "Figure":
    """Distances of test chips to train, and below them the correlograms where there are labels; a word without places.

    Args:
        audit: content of `leakage.json`.
        title: of the figure.
        planted_km: autocorrelation length that a simulator planted, marked where it is known.
    """
    if audit["test_to_train"] is None:
        figure, axes = themed_figure(_PANEL_IN / 2)
        axes[0, 0].set_axis_off()
        axes[0, 0].set_title(title)
        axes[0, 0].text(0.5, 0.5, "The images have no place on Earth: no distances.", ha="center", va="center")
        return figure
    told = audit["correlogram"] is not None
    figure, axes = themed_figure(_PANEL_IN * (1 + told), 1 + told)
    _draw_distances(axes[0, 0], audit)
    axes[0, 0].set_title(title)
    if told:
        _draw_correlograms(axes[1, 0], audit, planted_km)
    return figure


def _draw_distances(ax: "Axes", audit: Audit) -> None:
    ecdf = audit["test_to_train"]["ecdf"]
    km = [metres / 1000 for metres in ecdf["distance_m"]]
    reach = max(30.0, 1.2 * km[-1])
    ax.set_xscale("symlog", linthresh=1)
    for mark in MARKS_KM:
        ax.axvline(mark, color=RULE, lw=0.9, zorder=0)
    ax.step([0, *km, reach], [0.0, *ecdf["share"], 1.0], where="post", color=BLUE)
    ticks = [*MARKS_KM, *(far for far in (100, 1000) if far < reach)]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlim(-0.05, reach)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("km to the nearest train chip", color=MUTED)
    ax.set_ylabel("share of test chips", color=MUTED)


def _draw_correlograms(ax: "Axes", audit: Audit, planted_km: float | None) -> None:
    for label in audit["labels"].values():
        ax.plot(label["correlogram"]["distance_km"], label["correlogram"]["correlation"], color=RULE, lw=1)
    every = audit["correlogram"]
    ax.plot(every["distance_km"], every["correlation"], "o-", color=BLUE, ms=3.5)
    ax.axhline(0, color=INK, lw=0.9, zorder=0)
    for km, colour, style, name in (
        (every["length_km"], ORANGE, "-", "length found"),
        (planted_km, INK, ":", "length planted"),
    ):
        if km is not None:
            ax.axvline(km, color=colour, ls=style, lw=1.4, label=f"{name}, {km:.3g} km")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_xlabel("km between two chips", color=MUTED)
    ax.set_ylabel("correlation of labels", color=MUTED)
