"""Encoders that were given as much as each other, side by side: what they cost, what they know, what it adds.

A row is an encoder as a whole (all its towers together) under a budget, at one task and number of labels. Its score
stands beside the same forests on its untrained twin and on the reference, which learnt with labels from scratch.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from terraprobe.probes.episodes import FULL
from terraprobe.report.inputs import TrainedEncoder
from terraprobe.report.notes import EvaluationNote
from terraprobe.report.results import RIVAL_TITLES, TRAINED, headline_size, label_title, size_words, widest
from terraprobe.report.tables import Column, Table, score, signed, whole
from terraprobe.statistics import MIN_BLOCKS
from terraprobe.towers import CONCAT

BUDGETS = {"chips": "equal chips", "compute": "equal compute"}
REFERENCE, FLOOR = "reference", "floor"
"""What stands under `budget` of rows that have none."""

_PIXELS = ("image_stats", "mean_sd")
"""Floors that differ by what is seen."""

TERA = 1e12

Features = tuple[str, str, str]
"""What a forest learns from: encoder (empty: none), `trained`, `random` or the floor, and the modality."""

Gap = tuple[float, float, float]
"""A difference and the ends of its interval."""


class Gaps:
    """Paired differences, either way round.

    Args:
        differences: of `gather_scores`, of one evaluation.
    """

    def __init__(self, differences: pd.DataFrame) -> None:
        self._found: dict[tuple[Features, Features, str, int], Gap] = {}
        for row in differences.to_dict("records"):
            one = (row["encoder"], TRAINED, row["modality"])
            other = (row["rival_encoder"], row["rival"], row["rival_modality"])
            at = (row["task"], row["n_shots"])
            gap, low, high = row["difference"], row["low"], row["high"]
            self._found[one, other, *at] = gap, low, high
            self._found[other, one, *at] = -gap, -high, -low

    def between(self, one: Features, other: Features, task: str, n_shots: int) -> Gap:
        """The first minus the other; NaN where they were not compared."""
        return self._found.get((one, other, task, n_shots), (np.nan, np.nan, np.nan))

    def columns(self, into: str, *of: Any) -> dict[str, float]:
        """The same as columns of a row."""
        return dict(zip((into, f"{into}_low", f"{into}_high"), self.between(*of), strict=True))


def compared_rows(
    evaluation: EvaluationNote,
    encoders: Sequence[TrainedEncoder],
    points: pd.DataFrame,
    gaps: Gaps,
    compute: pd.DataFrame,
) -> pd.DataFrame:
    """One row a budget, encoder, task and number of labels short of all; then the reference, then the floors.

    Args:
        evaluation: whose.
        encoders: that it judges.
        points: of `curve_points`, of this evaluation.
        gaps: of this evaluation.
        compute: of `count_compute`.
    """
    few = points[points["n_shots"] != FULL] if (points["n_shots"] != FULL).any() else points
    trained = few[few["arm"] == TRAINED]
    features: dict[str, Features] = {
        str(name): (str(name), TRAINED, widest(own)) for name, own in trained.groupby("encoder")
    }
    reference = features.get(evaluation.reference, ("", "", ""))
    scored = [e for e in encoders if e.note.name in features]
    stated = [(title, e) for budget, title in BUDGETS.items() for e in scored if budget in e.note.budgets]
    stated += [(REFERENCE, e) for e in scored if e.note.name == evaluation.reference]
    counted, rows = compute.set_index("encoder"), []
    for budget, encoder in stated:
        own = features[encoder.note.name]
        name, _, modality = own
        cost = counted.loc[list(encoder.note.runs)].mean(numeric_only=True)
        facts = {
            "budget": budget, "arm": name, "method": encoder.card["method"],
            "climate": encoder.card["recipe"]["conditioning"], "sees": sees(encoder),
            "parameters": cost["parameters"], "chips_seen": cost["chips_seen"], "tflop": cost["flops"] / TERA,
        }  # fmt: skip
        for point in _points(trained[(trained["encoder"] == name) & (trained["modality"] == modality)]):
            at = point["task"], point["n_shots"]
            twin = gaps.columns("twin", own, (name, "random", modality), *at)
            rows.append({**facts, **point, **twin, **gaps.columns("reference", own, reference, *at)})
    seen = {modality for _, _, modality in features.values()}
    return pd.DataFrame([*rows, *_floor_rows(few, gaps, reference, seen)])


def _floor_rows(points: pd.DataFrame, gaps: Gaps, reference: Features, seen: set[str]) -> list[dict[str, Any]]:
    """Floors of everything that encoders as a whole see; those that see no pixel once."""
    rows = []
    for floor in (name for name in RIVAL_TITLES if name in set(points["floor"])):
        own = points[points["floor"] == floor]
        modalities = set(own["modality"])
        most = CONCAT if CONCAT in modalities else min(modalities)
        for modality in sorted(modalities & {*seen, most}) if floor in _PIXELS else [most]:
            facts = {"budget": FLOOR, "arm": RIVAL_TITLES[floor], "method": "", "climate": "",
                     "sees": modality if floor in _PIXELS else ""}  # fmt: skip
            for point in _points(own[own["modality"] == modality]):
                gap = gaps.columns("reference", ("", floor, modality), reference, point["task"], point["n_shots"])
                rows.append({**facts, **point, **gap})
    return rows


_POINT = ["task", "n_shots", "metric", "value", "low", "high", "n_test", "n_blocks", "few_blocks", "test_set"]


def _points(points: pd.DataFrame) -> list[dict[Any, Any]]:
    return list(points.sort_values(["task", "n_shots"])[_POINT].to_dict("records"))


def sees(encoder: TrainedEncoder) -> str:
    """Modalities of an encoder, in alphabetical order."""
    return ", ".join(sorted({tower["modality"] for tower in encoder.card["towers"].values()}))


def compared_sentences(
    evaluation: EvaluationNote, encoders: Sequence[TrainedEncoder], rows: pd.DataFrame, gaps: Gaps
) -> list[str]:
    """How equal the budgets are, what the reference is, who sees less, the means, and climate on minus off."""
    size = headline_size(rows)
    said = [*_spreads(rows), *_reference(evaluation, encoders), *_unlike(rows), *_means(rows, size)]
    said += _climate(encoders, rows[rows["n_shots"] == size], gaps, size_words(size))
    if rows["few_blocks"].any():
        said.append(
            f"Intervals stand on {int(rows['n_blocks'].min())} test blocks, fewer than the {MIN_BLOCKS} that would "
            "carry a claim."
        )
    return said


def _spreads(rows: pd.DataFrame) -> list[str]:
    said = []
    for budget, column, unit in (("chips", "chips_seen", "train chips"), ("compute", "tflop", "TFLOP of training")):
        own = rows[rows["budget"] == BUDGETS[budget]].drop_duplicates("arm")
        if len(own):
            least, most, arms = own[column].min(), own[column].max(), ", ".join(own["arm"])
            spread = f"{_amount(least)} to {_amount(most)} {unit}, the most {most / least - 1:.1%} above the least"
            alike = f"{_amount(least)} {unit} each" if most == least else spread
            said.append(f"{BUDGETS[budget].capitalize()} ({arms}): {alike}.")
    return said


def _amount(value: float) -> str:
    return whole(value) if value >= 1000 else f"{value:.3g}"


def _reference(evaluation: EvaluationNote, encoders: Sequence[TrainedEncoder]) -> list[str]:
    return [
        f"The reference, {e.note.name}, learnt {e.card['label']} of {e.card['chips']['train']:,} train chips from "
        "scratch and is then judged by the same forests: it has seen more labels than any row above it."
        for e in encoders
        if e.note.name == evaluation.reference
    ]


def _unlike(rows: pd.DataFrame) -> list[str]:
    """Who sees other sensors, and whether rows stand on other test chips."""
    said = []
    own = rows[rows["budget"] != FLOOR]
    held = own.drop_duplicates("arm").groupby("sees", sort=False)["arm"]
    if held.ngroups > 1:
        parts = [f"{sensors} by {', '.join(arms)}" for sensors, arms in held]
        said.append(f"Not all see the same sensors, because not every method can: {'; '.join(parts)}.")
    if own.groupby("task")["test_set"].nunique().max() > 1:
        said.append("Not all rows stand on the same test chips: an encoder is judged on those that have all its bands.")
    return said


def _means(rows: pd.DataFrame, size: int) -> list[str]:
    said = []
    for title in BUDGETS.values():
        own = rows[(rows["budget"] == title) & (rows["n_shots"] == size)]
        if len(own):
            tasks = ", ".join(map(label_title, dict.fromkeys(own["task"])))
            means = own.groupby("arm", sort=False)["value"].mean()
            listed = ", ".join(f"{arm} {score(value)}" for arm, value in means.items())
            said.append(f"At {title} with {size_words(size)}, mean over {tasks}: {listed}.")
    return said


def _climate(encoders: Sequence[TrainedEncoder], rows: pd.DataFrame, gaps: Gaps, labels: str) -> list[str]:
    """Encoders that take climate minus those of their method and budgets that do not."""
    said = []
    for one in (e for e in encoders if e.note.budgets and e.card["recipe"]["conditioning"] != "none"):
        for other in encoders:
            alike = (other.card["method"], other.note.budgets) == (one.card["method"], one.note.budgets)
            if not alike or other.card["recipe"]["conditioning"] != "none":
                continue
            (tower,) = one.card["towers"]
            parts = []
            for row in rows[rows["arm"] == one.note.name].drop_duplicates("task").to_dict("records"):
                own, rival = ((e.note.name, TRAINED, tower) for e in (one, other))
                gap, *ends = map(signed, gaps.between(own, rival, row["task"], row["n_shots"]))
                parts.append(f"{label_title(row['task'])} {gap} [{', '.join(ends)}]")
            if parts:
                what = f"{one.note.name} minus {other.note.name} with {labels}"
                said.append(f"Climate on minus off, {what}: {'; '.join(parts)}.")
    return said


def compared_table(evaluation: EvaluationNote, rows: pd.DataFrame) -> Table:
    """The rows as a table of the page."""
    shown = {"value": ("low", "high", score), **{i: (f"{i}_low", f"{i}_high", signed) for i in ("twin", "reference")}}
    frame = rows.assign(**{f"{into}_interval": _ends(rows, *ends) for into, ends in shown.items()})
    columns = (
        Column("budget", "budget", filter=True),
        Column("arm", "encoder", filter=True),
        Column("method", "method"),
        Column("climate", "climate"),
        Column("sees", "sees", css="words"),
        Column("task", "task", label_title, filter=True),
        Column("n_shots", "labels", whole, number=True),
        Column("value", "score", score, number=True),
        Column("value_interval", "95 %"),
        Column("twin", "minus untrained twin", signed, number=True),
        Column("twin_interval", "95 %"),
        Column("reference", "minus reference", signed, number=True),
        Column("reference_interval", "95 %"),
        Column("parameters", "parameters", whole, number=True),
        Column("chips_seen", "chips seen", whole, number=True),
        Column("tflop", "TFLOP", "{:.3g}".format, number=True),
    )
    caption = (
        "Methods side by side, by budget. Scores of forests with few labels, with 95 % intervals over test blocks, "
        "then seeds and draws; differences are paired by block. Parameters: of the towers; chips and TFLOP: of the "
        "whole training, what it started from among them, validation left out."
    )
    return Table(f"compared-{evaluation.name}", caption, columns, frame, live=True)


def _ends(rows: pd.DataFrame, low: str, high: str, show: Any) -> list[str]:
    pairs = zip(rows[low], rows[high], strict=True)
    return ["" if np.isnan(a) else f"[{show(a)}, {show(b)}]" for a, b in pairs]


def with_seconds(table: Table, encoders: Sequence[TrainedEncoder], compute: pd.DataFrame) -> Table:
    """The same table with what every training took here, its start among it; empty where that is not known.

    Args:
        table: of `compared_table`.
        encoders: every encoder of the study.
        compute: of `count_compute`, which says what a training stands on.
    """
    cost = {run: cost for e in encoders for run, cost in zip(e.note.runs, e.costs, strict=True)}
    chains = {row["encoder"]: row["stands_on"].split() for row in compute.to_dict("records")}
    taken, where = dict[str, float](), dict[str, str]()
    for encoder in (e for e in encoders if e.note.runs[0] in chains):
        runs = [[cost[run] for run in chains[member]] for member in encoder.note.runs]
        taken[encoder.note.name] = float(np.mean([sum(c.get("seconds", np.nan) for c in run) for run in runs]))
        machines = {f"{c['device']}, threads: {c['threads']}" for run in runs for c in run if c}
        where[encoder.note.name] = "; ".join(sorted(machines))
    arms = table.frame["arm"]
    frame = table.frame.assign(seconds=arms.map(taken).astype(float), machine=arms.map(where).fillna(""))
    columns = (*table.columns, Column("seconds", "seconds", "{:,.1f}".format, number=True), Column("machine", "on"))
    caption = f"{table.caption} Seconds: of work, wall time, the mean over seeds."
    return replace(table, columns=columns, frame=frame, caption=caption, live=False)
