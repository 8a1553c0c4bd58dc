"""Pools of evaluations of pixels: the same arms probed in several worlds or areas, compared as one."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from terraprobe.probes.class_pools import EQUAL
from terraprobe.probes.inits import FLOOR, TRAINED
from terraprobe.report.drawing import BLUE, INK, MUTED, PAPER, RULE, Gallery, Picture, themed_figure
from terraprobe.report.notes import ClassPoolNote
from terraprobe.report.results import VERDICTS, verdict
from terraprobe.report.segmentation import METRIC_TITLES, largest, model_title
from terraprobe.report.tables import DIFFERENCE, OVER_EVALUATIONS, Column, Table, margin_columns, score, signed, whole
from terraprobe.statistics import MIN_BLOCKS

_ROW_IN = 0.2
_ALL = "all pixels"


def judged_pixels(pooled: pd.DataFrame, note: ClassPoolNote) -> pd.DataFrame:
    """Rows of one pool with names for people and a verdict each.

    Args:
        pooled: of `pool_segmentation`, of one pool.
        note: the pool.
    """
    few = pooled["n_blocks"] < MIN_BLOCKS
    rows = pooled.reset_index(drop=True).assign(same_chips=True, few_blocks=few.to_numpy(), data=note.kind)
    rivals = rows[["rival", "rival_init", "rival_tower", "rival_band"]].set_axis(
        ["arm", "init", "tower", "band"], axis=1
    )
    return rows.assign(
        model=[model_title(row) for row in rows.to_dict("records")],
        against=[model_title(row) for row in rivals.to_dict("records")],
        stratum=rows["stratum"].replace("", _ALL),
        equal=rows["equal"].mask(rows["few_blocks"], EQUAL[0]),
        verdict=pd.Series([verdict(row) for _, row in rows.iterrows()], rows.index, dtype=object),
    )


def pixel_pool_sentences(rows: pd.DataFrame) -> list[str]:
    """What may be said: every probe with most labels against its floors, its twin and the arms after it, by mIoU.

    Args:
        rows: of `judged_pixels`.
    """
    first = rows.iloc[0]
    sentences = [
        f"{int(first['n_evaluations'])} evaluations, {int(first['n_test']):,} {first['data']} test chips in "
        f"{int(first['n_blocks'])} blocks; mean differences of mIoU over evaluations, 95 % intervals over blocks, then "
        "seeds and draws."
    ]
    for (model, stratum), own in _headline(rows).groupby(["model", "stratum"], sort=False):
        told = "; ".join(_told(row) for row in own.to_dict("records"))
        labels = int(own["n_train"].iloc[0])
        sentences.append(f"{model}, {stratum}, {labels:,} labelled chips: {score(own['value'].iloc[0])}; {told}.")
    return sentences


def _headline(rows: pd.DataFrame) -> pd.DataFrame:
    """Of mIoU with most labels: rivals that see the same, or are the same arm given other channels."""
    own = rows[(rows["metric"] == "miou") & (rows["size"] == largest(rows["size"]))]
    alike = (own["rival_tower"] == own["tower"]) & (own["rival_band"] == own["band"])
    return own[(own["rival_init"] == FLOOR) | alike | (own["rival"] == own["arm"])]


def _told(row: Mapping[Hashable, Any]) -> str:
    gap = f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]"
    equal = "" if row["equal"] in EQUAL[:1] else f", {'' if row['equal'] == EQUAL[1] else 'not shown to be '}equal"
    above = f"above 0 in {row['n_better']} of {row['n_evaluations']}"
    return f"against {row['against']} {gap}, {VERDICTS[row['verdict']]}{equal}, {above}"


def draw_pixel_pool(note: ClassPoolNote, rows: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """Differences of mIoU over all pixels between trained arms, and from their twins; nothing where there are none."""
    own = _headline(rows[rows["stratum"] == _ALL])
    own = own[own["rival_init"] != FLOOR].reset_index(drop=True)
    if not len(own):
        return []
    figure, axes = themed_figure(1.1 + _ROW_IN * len(own))
    ax = axes[0, 0]
    if note.margin is not None:
        ax.axvspan(-note.margin, note.margin, color=RULE, alpha=0.5, lw=0, zorder=0)
    for y, row in own.iterrows():
        ax.plot([row["low"], row["high"]], [y, y], color=BLUE, lw=1.6, solid_capstyle="butt")
        shown = row["verdict"] in ("better", "worse")
        ax.plot(row["difference"], y, "o", ms=5, mec=BLUE, mew=1.3, color=BLUE if shown else PAPER)
    ax.axvline(0, color=INK, lw=0.9, zorder=1)
    titles = [_pair_title(row) for row in own.to_dict("records")]
    ax.set_yticks(range(len(own)), titles)
    ax.set_ylim(len(own) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel("difference of mIoU", color=MUTED)
    ax.set_title(f"{note.title} ({note.kind})", loc="left")
    words = "; ".join(f"{title} {signed(gap)}" for title, gap in zip(titles, own["difference"], strict=True))
    margin = "" if note.margin is None else f" Grey: the margin of ±{note.margin:g} that was said beforehand."
    caption = (
        "All pixels, most labels. Right of the line the first of a pair is better. Bars: 95 % intervals over test "
        f"blocks. Filled: shown after Holm's correction; open: not shown.{margin}"
    )
    return [gallery.add(f"segmentation-pool-{note.name}", figure, f"Differences of mIoU: {words}.", caption)]


def _pair_title(row: Mapping[Hashable, Any]) -> str:
    if row["rival_init"] != TRAINED:
        return f"{row['model']} − untrained"
    if row["rival"] == row["arm"]:
        return f"{row['arm']}, {row['tower']} − {row['rival_tower']}"
    return f"{row['arm']} − {row['rival']}, {row['band'] or row['tower']}"


def pixel_pool_table(note: ClassPoolNote, rows: pd.DataFrame) -> Table:
    """Every pooled comparison."""
    columns = (
        Column("model", "model", filter=True),
        Column("data", "data"),
        Column("stratum", "pixels", filter=True),
        Column("n_train", "labelled chips", whole, number=True),
        Column("metric", "metric", METRIC_TITLES.__getitem__, filter=True),
        Column("value", "value", score, number=True),
        Column("against", "against", filter=True),
        Column("rival_value", "its value", score, number=True),
        *DIFFERENCE,
        *margin_columns(note.margin),
        *OVER_EVALUATIONS,
    )
    caption = "Mean paired differences over the evaluations of this pool; p over the rivals of one probe, by metric."
    return Table(f"segmentation-pool-{note.name}", caption, columns, rows, live=True)
