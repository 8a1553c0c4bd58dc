"""Pools of supervised encoders: the same arms tried on several worlds or areas, compared as one."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from terraprobe.probes.class_pools import EQUAL
from terraprobe.probes.classes import MAJORITY
from terraprobe.report.drawing import BLUE, INK, MUTED, PAPER, RULE, Gallery, Picture, themed_figure
from terraprobe.report.notes import ClassPoolNote
from terraprobe.report.results import VERDICTS, verdict
from terraprobe.report.tables import DIFFERENCE, OVER_EVALUATIONS, Column, Table, margin_columns, score, signed
from terraprobe.statistics import MIN_BLOCKS

_ROW_IN = 0.24


def judged_classes(pooled: pd.DataFrame, note: ClassPoolNote) -> pd.DataFrame:
    """Rows of one pool, each with its verdict.

    Args:
        pooled: of `pool_classes`, of all pools.
        note: the pool.
    """
    rows = pooled[pooled["pool"] == note.name].reset_index(drop=True)
    few = rows["n_blocks"] < MIN_BLOCKS
    rows = rows.assign(same_chips=True, few_blocks=few, data=note.kind, equal=rows["equal"].mask(few, EQUAL[0]))
    return rows.assign(verdict=pd.Series([verdict(row) for _, row in rows.iterrows()], rows.index, dtype=object))


def _reference(rows: pd.DataFrame) -> str:
    """The first arm of the study: nothing but the majority class is earlier than it."""
    return str(rows.loc[rows["rival"] == MAJORITY, "arm"].iloc[0])


def class_pool_sentences(note: ClassPoolNote, rows: pd.DataFrame) -> list[str]:
    """What may be said: every arm against the first one.

    Args:
        note: the pool.
        rows: of `judged_classes`.
    """
    first, reference = rows.iloc[0], _reference(rows)
    own = rows[rows["rival"] == reference]
    base = rows[(rows["arm"] == reference) & (rows["rival"] == MAJORITY)].iloc[0]
    sentences = [
        f"{int(first['n_evaluations'])} evaluations, {int(first['n_test']):,} {note.kind} test chips in "
        f"{int(first['n_blocks'])} blocks; mean differences over evaluations, 95 % intervals over blocks, then seeds. "
        f"{reference}: accuracy {base['value']:.3f}, against the majority class {signed(base['difference'])} "
        f"[{signed(base['low'])}, {signed(base['high'])}], {VERDICTS[base['verdict']]}."
    ]
    for row in own.to_dict("records"):
        sentences.append(
            f"{row['arm']}: {row['value']:.3f}, against {reference} {signed(row['difference'])} "
            f"[{signed(row['low'])}, {signed(row['high'])}], {VERDICTS[row['verdict']]}{_equal_words(row)}; above "
            f"{reference} in {row['n_better']} of {row['n_evaluations']}, SD over them {row['spread']:.3f}."
        )
    return sentences


def _equal_words(row: Mapping[Hashable, Any]) -> str:
    """Whether two arms are equal, where a margin was given."""
    if row["equal"] == EQUAL[0]:
        return ""
    said = "equal" if row["equal"] == EQUAL[1] else "not shown to be equal"
    return f"; {said} within ±{row['margin']:g}, 90 % interval [{signed(row['low90'])}, {signed(row['high90'])}]"


def draw_class_pool(note: ClassPoolNote, rows: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """Every arm minus the first one: 95 % and 90 % intervals, and the margin; nothing where the first is alone."""
    reference = _reference(rows)
    own = rows[rows["rival"] == reference].reset_index(drop=True)
    if not len(own):
        return []
    figure, axes = themed_figure(1.1 + _ROW_IN * len(own))
    ax = axes[0, 0]
    if note.margin is not None:
        ax.axvspan(-note.margin, note.margin, color=RULE, alpha=0.5, lw=0, zorder=0)
    for y, row in own.iterrows():
        ax.plot([row["low"], row["high"]], [y, y], color=BLUE, lw=1.2, solid_capstyle="butt")
        ax.plot([row["low90"], row["high90"]], [y, y], color=BLUE, lw=3.2, solid_capstyle="butt")
        shown = row["verdict"] in ("better", "worse")
        ax.plot(row["difference"], y, "o", ms=5.5, mec=BLUE, mew=1.4, color=BLUE if shown else PAPER)
    ax.axvline(0, color=INK, lw=0.9, zorder=1)
    ax.set_yticks(range(len(own)), own["arm"])
    ax.set_ylim(len(own) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(f"accuracy minus that of {reference}", color=MUTED)
    ax.set_title(f"{note.title} ({note.kind})", loc="left")
    words = "; ".join(f"{r['arm']} {signed(r['difference'])}, {r['verdict']}" for r in own.to_dict("records"))
    margin = "" if note.margin is None else f" Grey: the margin of ±{note.margin:g} that was said beforehand."
    caption = (
        f"Right of the line an arm is better than {reference}. Thin bars: 95 % intervals over test blocks; thick: "
        f"90 %. Filled: shown after Holm's correction; open: not shown.{margin}"
    )
    return [gallery.add(f"class-pool-{note.name}", figure, f"Differences from {reference}: {words}.", caption)]


def class_pool_table(note: ClassPoolNote, rows: pd.DataFrame) -> Table:
    """Every two arms of a pool."""
    columns = (
        Column("arm", "model", filter=True),
        Column("data", "data"),
        Column("value", "accuracy", score, number=True),
        Column("rival", "against", lambda name: "majority class" if name == MAJORITY else name, filter=True),
        Column("rival_value", "its accuracy", score, number=True),
        *DIFFERENCE,
        *margin_columns(note.margin),
        *OVER_EVALUATIONS,
    )
    caption = "Mean paired differences of test accuracy over the evaluations of this pool; p corrected over all rows."
    return Table(f"class-pool-{note.name}", caption, columns, rows, live=True)
