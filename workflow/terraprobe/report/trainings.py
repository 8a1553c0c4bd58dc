"""Cost against score: what every training took, beside what each evaluation says of its encoder."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from terraprobe.probes.episodes import FULL
from terraprobe.report.inputs import TrainedEncoder
from terraprobe.report.notes import EvaluationNote
from terraprobe.report.results import TRAINED, curve_points, headline_size, size_words, widest
from terraprobe.report.tables import Column, Table, score, whole

Scores = Mapping[str, Mapping[str, float]]
"""What is scored, in words, to the score of each encoder."""


def few_shot_scores(summary: pd.DataFrame, titles: Mapping[EvaluationNote, str]) -> dict[str, dict[str, float]]:
    """Means over tasks of few-shot scores, of each encoder as a whole, at the size that headlines are about.

    Args:
        summary: of `gather_scores`.
        titles: of evaluations by forests.
    """
    found = {}
    for evaluation, title in titles.items():
        points = curve_points(summary, evaluation)
        own = points[points["arm"] == TRAINED]
        size = headline_size(own)
        found[f"{title}, {size_words(size)}: accuracy"] = {
            str(name): float(rows.loc[rows["modality"] == widest(rows), "value"].mean())
            for name, rows in own[own["n_shots"] == size].groupby("encoder")
        }
    return found


def probe_scores(
    table: pd.DataFrame, titles: Mapping[str, str], metric: str, words: str
) -> dict[str, dict[str, float]]:
    """Scores of any other probe with most labels, the mean over all that an encoder is judged by.

    Args:
        table: scores of all evaluations by that probe, of trained encoders.
        titles: of these evaluations.
        metric: that is shown.
        words: what it is called.
    """
    found: dict[str, dict[str, float]] = {}
    for name, title in titles.items():
        rows = table[(table["evaluation"] == name) & (table["metric"] == metric)]
        for size in {"size", "n_shots"} & set(rows):
            rows = rows[rows[size] == (FULL if (rows[size] == FULL).any() else rows[size].max())]
        found[f"{title}: {words}"] = {str(arm): float(own["value"].mean()) for arm, own in rows.groupby("arm")}
    return found


def trainings_table(encoders: Sequence[TrainedEncoder], scores: Scores) -> Table:
    """One row an arm: seconds of its trainings, where they ran, and its scores.

    Args:
        encoders: the first seed of each arm.
        scores: of these arms.
    """
    rows = [
        {
            "encoder": encoder.note.name,
            "method": encoder.card["method"],
            "parameters": encoder.card["parameters"]["total"],
            "train_chips": encoder.card["chips"]["train"],
            "epochs": float(np.mean([len(history) for history in encoder.histories])),
            "seconds": float(np.mean([cost.get("seconds", np.nan) for cost in encoder.costs])),
            "machine": "; ".join(sorted({f"{c['device']}, threads: {c['threads']}" for c in encoder.costs if c})),
            **{title: values.get(encoder.note.name, np.nan) for title, values in scores.items()},
        }
        for encoder in encoders
    ]
    columns = (
        Column("encoder", "encoder"), Column("method", "method"),
        Column("parameters", "parameters", whole, number=True),
        Column("train_chips", "train chips", whole, number=True),
        Column("epochs", "epochs", "{:.0f}".format, number=True), Column("seconds", "seconds", whole, number=True),
        *(Column(title, title, score, number=True) for title in scores), Column("machine", "on"),
    )  # fmt: skip
    caption = (
        "What each training took here, the mean over seeds, without what it was begun from; and what its encoder then "
        "scores. Wall time, whatever else the machine did meanwhile."
    )
    frame = pd.DataFrame(rows, columns=[column.source for column in columns])
    return Table("trainings", caption, columns, frame)
