"""Pools: the same encoder tried on several worlds or areas, compared as one."""

import pandas as pd

from terraprobe.probes.pooling import ALL_TASKS
from terraprobe.report.contrasts import HOW_TO_READ, contrast_figure, contrast_words
from terraprobe.report.drawing import Gallery, Picture
from terraprobe.report.notes import PoolNote
from terraprobe.report.results import (
    RIVAL_TITLES,
    RIVALS,
    VERDICTS,
    capitalised,
    features_words,
    headline_size,
    label_title,
    size_words,
    verdict,
)
from terraprobe.report.tables import DIFFERENCE, OVER_EVALUATIONS, Column, Table, score, signed
from terraprobe.statistics import MIN_BLOCKS

_EVERY = "all tasks"


def judged(pooled: pd.DataFrame, note: PoolNote) -> pd.DataFrame:
    """Rows of one pool, each with its verdict; all tasks first, rivals in the order of the page."""
    rows = pooled[(pooled["pool"] == note.name) & pooled["rival"].isin(RIVALS)]
    rows = rows.assign(
        same_chips=True,
        few_blocks=rows["n_blocks"] < MIN_BLOCKS,
        order=rows["rival"].map({rival: k for k, rival in enumerate(RIVALS)}),
    )
    rows = rows.sort_values(["n_shots", "modality", "task", "order"], ignore_index=True).drop(columns="order")
    verdicts = [verdict(row) for _, row in rows.iterrows()]
    return rows.assign(task=rows["task"].replace(ALL_TASKS, _EVERY), verdict=pd.Series(verdicts, dtype=object))


def pool_sentences(note: PoolNote, rows: pd.DataFrame) -> list[str]:
    """One sentence a modality: over all balanced tasks at the headline's size, against every rival."""
    if not len(rows):
        return ["No evaluation of this pool has a balanced task that could be scored."]
    size = headline_size(rows)
    chosen = rows[(rows["n_shots"] == size) & (rows["task"] == _EVERY)]
    first = chosen.iloc[0]
    sentences = [
        f"Over {len(note.evaluations)} evaluations with {size_words(size)}: mean differences over evaluations and "
        f"balanced tasks ({int(first['n_pairs'])} pairs of them), 95 % intervals over {int(first['n_blocks'])} test "
        "blocks, then seeds and draws."
    ]
    for modality in _modalities(chosen):
        own = chosen[chosen["modality"] == modality]
        parts = [
            f"{RIVAL_TITLES[row['rival']]} {signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}], "
            f"{VERDICTS[row['verdict']]}"
            for _, row in own.iterrows()
        ]
        what = capitalised(features_words(modality))
        sentences.append(f"{what}, {score(own['value'].mean())}, against {'; '.join(parts)}.")
    return sentences


def draw_pool(note: PoolNote, rows: pd.DataFrame, gallery: Gallery) -> list[Picture]:
    """One picture a modality at the headline's size: one line a task and rival."""
    if not len(rows):
        return []
    size = headline_size(rows)
    pictures = []
    for modality in _modalities(rows):
        own = rows[(rows["n_shots"] == size) & (rows["modality"] == modality)]
        title = f"{note.title} ({note.kind}), {size_words(size)}"
        figure = contrast_figure(own, title, f"trained minus rival, {modality}")
        caption = f"{capitalised(features_words(modality))} over {len(note.evaluations)} evaluations. {HOW_TO_READ}"
        pictures.append(gallery.add(f"pool-{note.name}-{modality}", figure, contrast_words(own), caption))
    return pictures


def _modalities(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["modality"]), key=lambda m: (m != "concat", m))


def pool_table(note: PoolNote, rows: pd.DataFrame) -> Table:
    """Every pooled comparison."""
    columns = (
        Column("modality", "features", filter=True),
        Column("n_shots", "labels", lambda n: size_words(int(n)).removesuffix(" labels"), filter=True),
        Column("task", "task", label_title, filter=True),
        Column("value", "trained", score, number=True),
        Column("rival", "against", lambda name: RIVAL_TITLES[name], filter=True),
        Column("rival_value", "its score", score, number=True),
        *DIFFERENCE,
        *OVER_EVALUATIONS,
    )
    caption = "Mean paired differences over the evaluations of this pool; p corrected over the rivals of a size."
    return Table(f"pool-{note.name}", caption, columns, rows, live=True)
