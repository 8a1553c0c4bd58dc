"""Our scores as the ledger reads them: one long table over all probes, and paired differences beside it."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from terraprobe.ledger.files import Answer
from terraprobe.ledger.notes import ArmNote, LedgerRecipe
from terraprobe.ledger.probe_scores import (
    APART,
    OVER_BLOCKS,
    mlp_differences,
    mlp_scores,
    pixel_differences,
    pixel_scores,
)
from terraprobe.metrics import epochs_to, first_crossing
from terraprobe.probes.inits import TRAINED
from terraprobe.statistics import LEVEL, block_weights, interval

EFFICIENCY_AT = 0.95
"""[P] methods.md sec. 1 Evaluation: Eff-0.95."""

_RESAMPLES = 2000
_EMPTY = {"sd": np.nan, "low": np.nan, "high": np.nan}
OVER_RUNS = "runs"
"""What the resamples behind an interval are of, where they are not of blocks."""


@dataclass(frozen=True)
class Trained:
    """What the trainings of a study left, by encoder.

    Attributes:
        cards: `card.json`.
        histories: `history.parquet`.
    """

    cards: Mapping[str, Mapping[str, Any]]
    histories: Mapping[str, pd.DataFrame]


def over_runs(values: NDArray[np.float64]) -> dict[str, float]:
    """Standard deviation over runs, and the 95 % t interval of their mean; NaN of a single run.

    Args:
        values: (run,).
    """
    if len(values) < 2:
        return dict(_EMPTY)
    sd = float(values.std(ddof=1))
    half = float(student.ppf((1 + LEVEL) / 2, len(values) - 1)) * sd / np.sqrt(len(values))
    mean = float(values.mean())
    return {"sd": sd, "low": mean - half, "high": mean + half}


def head_scores(classes: pd.DataFrame, recipe: LedgerRecipe, trained: Trained) -> list[dict[str, Any]]:
    """Scores of supervised encoders' own heads, with Eff-0.95 and the number of parameters.

    Args:
        classes: of `score_classes`, of all evaluations.
        recipe: of the ledger.
        trained: of all encoders.
    """
    rows: list[dict[str, Any]] = []
    if not len(classes):
        return rows
    for (evaluation, arm, metric), found in classes.groupby(["evaluation", "arm", "metric"], sort=False):
        if arm not in recipe.arms:  # the majority class
            continue
        mean = found[found["encoder"] == ""].iloc[0]
        own = over_runs(found.loc[found["encoder"] != "", "value"].to_numpy(np.float64))
        blocks = {"low": mean["low"], "high": mean["high"]} if pd.notna(mean["low"]) else {}
        rows.append({"evaluation": evaluation, "arm": arm, "metric": metric, "value": mean["value"], **own, **blocks,
                     "n_test": mean["n_test"], "over": OVER_BLOCKS if blocks else OVER_RUNS})  # fmt: skip
    judged = [row for row in rows if row["metric"] == "accuracy"]
    return rows + [extra for row in judged for extra in _of_training(row, recipe.arms[row["arm"]], trained)]


def _of_training(judged: Mapping[str, Any], arm: ArmNote, trained: Trained) -> Iterable[dict[str, Any]]:
    """What an arm's trainings say about it, beside its scores."""
    where = {key: judged[key] for key in ("evaluation", "arm", "n_test")}
    curves = [trained.histories[m]["val_accuracy"].to_numpy(np.float64) for m in arm.members]
    yield {**where, "metric": "efficiency", "value": epochs_to(EFFICIENCY_AT, curves), **_resampled(curves),
           "over": OVER_RUNS}  # fmt: skip
    count = float(trained.cards[arm.members[0]]["parameters"]["total"])
    yield {**where, "metric": "parameters", "value": count, "sd": 0.0, "low": count, "high": count, "over": ""}


def _resampled(curves: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Interval of `epochs_to`, which averages curves first, from resampled runs; those that never reach it count."""
    if len(curves) < 2:
        return dict(_EMPTY)
    longest = max(map(len, curves))
    padded = np.stack([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves])
    epochs = first_crossing(EFFICIENCY_AT, block_weights(len(curves), _RESAMPLES, 0) @ padded / len(curves))
    if np.isnan(epochs).any():
        return dict(_EMPTY)
    low, high = interval(epochs)
    return {"sd": float("nan"), "low": low, "high": high}


def autoencoder_scores(reconstruction: pd.DataFrame) -> list[dict[str, Any]]:
    """Scores of trained autoencoders: `l1`, `ssim`, `svm`.

    Args:
        reconstruction: scores of `score_reconstruction`, of all evaluations.
    """
    if not len(reconstruction):
        return []
    own = reconstruction[(reconstruction["encoder"] == "") & (reconstruction["init"] == TRAINED)]
    keys = ("evaluation", "arm", "metric", "value", "sd", "low", "high", "n_test")
    return [{**{key: row[key] for key in keys}, "over": OVER_BLOCKS} for row in own.to_dict("records")]


def forest_scores(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Points of few-shot curves of trained encoders, and where each curve reaches 95 % of its full-data value.

    Args:
        summary: of `gather_scores`.

    Returns:
        Rows with `modality, task, n_shots` beside the others; `metric` is `accuracy`, `sd` (over draws) or `dot_shots`
        (a row a curve, 0 = all labels).
    """
    own = summary[(summary["arm"] == TRAINED) & summary["primary"].astype(bool) & summary["value"].notna()]
    rows = []
    for point in own.to_dict("records"):
        keys = {key: point[key] for key in ("evaluation", "modality", "task", "n_shots", "n_test")}
        where = {**keys, "arm": point["encoder"], "over": OVER_BLOCKS}
        rows.append({**where, "metric": "accuracy", **{key: point[key] for key in ("value", "sd", "low", "high")}})
        rows.append({**where, "metric": "sd", **_EMPTY, "value": point["sd"]})
        if point["dot"]:
            rows.append(
                {**where, "metric": "dot_shots", **_EMPTY, "value": float(point["n_shots"] or point["n_train"])}
            )
    return rows


@dataclass(frozen=True)
class ScoreTables:
    """What the probes of a study left, of all evaluations.

    Attributes:
        classes: scores of `score_classes`.
        reconstruction: scores of `score_reconstruction`.
        summary: of `gather_scores`.
        mlps: scores of `score_mlp`.
        pixels: scores of `score_segmentation`.
        pixel_classes: its accuracies by class.
    """

    classes: pd.DataFrame
    reconstruction: pd.DataFrame
    summary: pd.DataFrame
    mlps: pd.DataFrame
    pixels: pd.DataFrame
    pixel_classes: pd.DataFrame


def own_scores(recipe: LedgerRecipe, trained: Trained, tables: ScoreTables) -> pd.DataFrame:
    """Every score of a trained arm: `evaluation, arm, metric, value, sd, low, high, over, n_test`, and `_APART`.

    Another probe's scores join the ledger by a function beside these.

    Args:
        recipe: of the ledger.
        trained: of all encoders.
        tables: of all probes.
    """
    rows = [
        *head_scores(tables.classes, recipe, trained),
        *autoencoder_scores(tables.reconstruction),
        *forest_scores(tables.summary),
        *mlp_scores(tables.mlps, recipe, trained.cards),
        *pixel_scores(tables.pixels, tables.pixel_classes, recipe, trained.cards),
    ]
    return pd.DataFrame(rows, columns=[*_COLUMNS, *_APART])


_COLUMNS = ("evaluation", "arm", "metric", "value", "sd", "low", "high", "over", "n_test")
_APART = ("modality", "task", "n_shots", *APART)
"""Columns that `Answer.at` may name."""


def own_differences(
    classes: pd.DataFrame, reconstruction: pd.DataFrame, mlps: pd.DataFrame, pixels: pd.DataFrame
) -> pd.DataFrame:
    """Paired differences between trained arms: `evaluation, arm, rival, metric, difference, low, high`, and `APART`.

    Args:
        classes: differences of `score_classes`, of all evaluations.
        reconstruction: differences of `score_reconstruction`, likewise.
        mlps: differences of `score_mlp`, likewise.
        pixels: differences of `score_segmentation`, likewise.
    """
    parts = [classes.assign(metric="accuracy")] if len(classes) else []
    parts += [table[table["rival_init"] == TRAINED] for table in (reconstruction,) if len(table)]
    parts += mlp_differences(mlps) + pixel_differences(pixels)
    return pd.DataFrame(pd.concat(parts, ignore_index=True) if parts else None, columns=[*_PAIRED, *_APART])


_PAIRED = ("evaluation", "arm", "rival", "metric", "difference", "low", "high")


def fits(name: str, recipe: LedgerRecipe, answer: Answer) -> bool:
    """Whether an arm is what an answer asks for."""
    arm, full = recipe.arms[name], recipe.recipe_of(name)
    asked = (
        (answer.start, bool(arm.start)),
        (answer.several, arm.several),
        (answer.frozen, full["epochs"] == 0),
        (answer.weights, arm.weights),
    )
    same = all(wanted is None or wanted == found for wanted, found in asked)
    alike = all(key in full and full[key] == value for key, value in answer.recipe.items())
    return same and alike and answer.method == arm.method


def found_scores(
    answer: Answer, recipe: LedgerRecipe, scores: pd.DataFrame, archive: str, every: bool = False
) -> pd.DataFrame:
    """Scores of ours that answer: of the first evaluation on the paper's data, else of the first at all.

    Args:
        answer: what is asked for.
        recipe: of the ledger.
        scores: of `own_scores`.
        archive: that holds the paper's data; empty: none does.
        every: take them of all arms and evaluations that fit, on data of the kind of the first.
    """
    judged = [(name, e) for name, e in recipe.evaluations.items() if e.probe == answer.probe]
    judged.sort(key=lambda item: recipe.collections[item[1].collection] != (archive or None))
    found: list[pd.DataFrame] = []
    kind = ""
    for name, evaluation in judged:
        data = recipe.collections[evaluation.collection]
        for arm in evaluation.arms:
            if kind in ("", data) and fits(arm, recipe, answer):
                rows = scores[(scores["evaluation"] == name) & (scores["arm"] == arm)]
                rows = _chosen(rows[rows["metric"] == answer.metric], answer)
                if len(rows) and not every:
                    return rows
                if len(rows):
                    found.append(rows)
                    kind = data
    return pd.concat(found) if found else scores.iloc[:0]


def _chosen(rows: pd.DataFrame, answer: Answer) -> pd.DataFrame:
    """Rows whose other columns are as asked for."""
    asked = ((answer.at, operator.eq), (answer.at_least, operator.ge), (answer.at_most, operator.le))
    for wanted, holds in asked:
        for column, value in wanted.items():
            rows = rows[holds(rows[column], value)]
    return rows
