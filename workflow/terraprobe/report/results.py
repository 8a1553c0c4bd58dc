"""Scores as the report reads them, and what may be said about them.

No sentence here is chosen by looking: each follows from numbers by a fixed rule, so a gain that does not show is
reported as not shown. The headline of an encoder is its widest feature set, named before any score is known;
taking the best of several on the test split would flatter it.
"""

from dataclasses import dataclass

import pandas as pd

from terraprobe.errors import TerraprobeError
from terraprobe.probes.episodes import FULL
from terraprobe.report.notes import EvaluationNote
from terraprobe.statistics import MIN_BLOCKS

TRAINED = "trained"
ALPHA = 0.05
RIVALS = ("image_stats", "mean_sd", "random", "climate", "coordinates", "majority")
"""What an encoder is held against, in the order of the page."""

RIVAL_TITLES = {
    "image_stats": "image statistics",
    "mean_sd": "mean and SD",
    "random": "random init",
    "climate": "climate",
    "coordinates": "coordinates",
    "majority": "majority class",
}


def curve_points(summary: pd.DataFrame, evaluation: EvaluationNote) -> pd.DataFrame:
    """Scored points of an evaluation in the metric that judges each task, with `source`: the kind of features.

    Raises:
        TerraprobeError: the evaluation has no row at all.
    """
    rows = summary[summary["evaluation"] == evaluation.name]
    if not len(rows):
        found = ", ".join(sorted(set(summary["evaluation"]))) or "none"
        raise TerraprobeError(
            f"report: no score of evaluation {evaluation.name}; the table holds {found}. "
            "Give the scores of every evaluation of the recipe."
        )
    rows = rows[rows["primary"] & rows["value"].notna()]
    return rows.assign(source=rows["arm"].where(rows["arm"] != "floor", rows["floor"]))


def floors_of(points: pd.DataFrame, modality: str) -> pd.DataFrame:
    """Points to compare in one panel: this modality, and of each floor its own feature set or else the widest."""
    kept = [points[(points["modality"] == modality) & (points["arm"] != "floor")]]
    for _, floor in points[points["arm"] == "floor"].groupby("floor"):
        names = set(floor["modality"])
        chosen = modality if modality in names else ("concat" if "concat" in names else min(names))
        kept.append(floor[floor["modality"] == chosen])
    return pd.concat(kept)


def refused(summary: pd.DataFrame, evaluation: EvaluationNote) -> dict[str, str]:
    """Tasks and sizes without any score, and why."""
    rows = summary[(summary["evaluation"] == evaluation.name) & summary["primary"]]
    reasons: dict[str, str] = {}
    for (task, n_shots), points in rows.groupby(["task", "n_shots"], sort=True):
        if points["value"].isna().all() and points["note"].astype(str).any():
            name = str(task) if n_shots == FULL else f"{task}, {n_shots} labels"
            reasons[name] = str(next(note for note in points["note"] if note))
    whole = [name for name in reasons if ", " not in name]
    return {name: why for name, why in reasons.items() if name in whole or name.split(", ")[0] not in whole}


def widest(points: pd.DataFrame) -> str:
    """The feature set that a headline is about: the concatenation, or the only one there is."""
    modalities = sorted(set(points.loc[points["arm"] == TRAINED, "modality"]))
    return "concat" if "concat" in modalities else modalities[0]


def headline_size(points: pd.DataFrame) -> int:
    """The size that a headline is about: the largest number of labels short of all of them, else all."""
    sizes = sorted(set(points["n_shots"]) - {FULL})
    return int(sizes[-1]) if sizes else FULL


def verdict(row: "pd.Series[float]") -> str:
    """What a paired difference allows to say: `better`, `worse`, `not shown`, `too few blocks` or `other chips`."""
    if not row["same_chips"]:
        return "other chips"
    if row["few_blocks"]:
        return "too few blocks"
    if row["p_holm"] >= ALPHA or row["low"] <= 0 <= row["high"]:
        return "not shown"
    return "better" if row["difference"] > 0 else "worse"


def label_title(task: str) -> str:
    """Name of a label for people: `OSM forest`."""
    return task.replace("osm_", "OSM ").replace("builtup", "built-up").replace("_", " ")


@dataclass(frozen=True)
class Headline:
    """What is said first about one encoder in one evaluation.

    Attributes:
        sentences: plain text, made of numbers by rule.
        rows: one a balanced task: the trained score and its differences from the floors.
    """

    sentences: list[str]
    rows: pd.DataFrame


def headline(points: pd.DataFrame, differences: pd.DataFrame, evaluation: EvaluationNote, encoder: str) -> Headline:
    """Compare one encoder with its floors on the balanced tasks at one size.

    Args:
        points: of `curve_points`.
        differences: of `gather_scores`.
        evaluation: whose headline.
        encoder: name of the encoder.
    """
    own = points[points["encoder"].isin([encoder, ""])]
    judged = own[own["balanced"]]
    left_out = sorted(set(own["task"]) - set(judged["task"]))
    trained = judged[judged["arm"] == TRAINED]
    if not len(trained):
        why = (
            f"every task is unbalanced ({', '.join(map(label_title, left_out))})"
            if left_out
            else "no task could be scored"
        )
        return Headline([f"No headline: {why}. The curves and the table below show what there is."], pd.DataFrame())
    modality, size = widest(judged), headline_size(judged)
    rows = trained[(trained["modality"] == modality) & (trained["n_shots"] == size)].set_index("task")
    compared = differences[
        (differences["evaluation"] == evaluation.name)
        & (differences["encoder"] == encoder)
        & (differences["modality"] == modality)
        & (differences["n_shots"] == size)
        & differences["task"].isin(rows.index)
    ]
    compared = compared.assign(verdict=[verdict(row) for _, row in compared.iterrows()])
    sentences = [_opening(rows, modality, size)]
    sentences += [_against(compared[compared["rival"] == rival], rival) for rival in ("image_stats", "random")]
    sentences.append(_dots(judged[(judged["modality"] == modality) & (judged["arm"] == TRAINED)]))
    if left_out:
        sentences.append(f"Left out of this headline because unbalanced: {_listed(left_out)}.")
    return Headline([s for s in sentences if s], compared.reset_index(drop=True))


def mean_gap(gaps: pd.DataFrame, task: str, encoder: str, features: str, modality: str) -> float:
    """Optimism gap of one kind of features, the mean over the seeds of random init; NaN where there is none.

    Args:
        gaps: of `gather_scores`, of one evaluation.
        task: whose gap.
        encoder: its name, empty for a floor.
        features: `trained`, `random` or the name of a floor.
        modality: of the features.
    """
    source = gaps["floor"].where(gaps["encoder"] == "", gaps["init"].str.partition("-")[0])
    own = (gaps["encoder"] == encoder) & (source == features) & (gaps["modality"] == modality)
    return float(gaps.loc[own & (gaps["task"] == task), "gap"].mean())


def size_words(n_shots: int) -> str:
    """`100 labels` or `all labels`."""
    return "all labels" if n_shots == FULL else f"{n_shots:,} labels"


def features_words(modality: str) -> str:
    """`the concatenated embeddings` or `the s1_grd embeddings`."""
    return "the concatenated embeddings" if modality == "concat" else f"the {modality} embeddings"


def capitalised(words: str) -> str:
    """With a capital letter at the beginning, for names in the middle to stay as they are."""
    return words[:1].upper() + words[1:]


def _listed(tasks: list[str]) -> str:
    return ", ".join(map(label_title, tasks))


def _opening(rows: pd.DataFrame, modality: str, size: int) -> str:
    scores = "; ".join(
        f"{label_title(str(task))} {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        for task, row in rows.iterrows()
    )
    blocks = int(rows["n_blocks"].min())
    few = "" if blocks >= MIN_BLOCKS else f", fewer than the {MIN_BLOCKS} that would carry a claim"
    metric = rows["metric"].iloc[0].replace("_", " ")
    return (
        f"With {size_words(size)}, forests on {features_words(modality)} reach {metric}: {scores} "
        f"(95 % intervals over {blocks} test blocks{few})."
    )


def _against(rows: pd.DataFrame, rival: str) -> str:
    """One sentence on one rival, with every task in it."""
    if not len(rows):
        return ""
    groups = {word: list(rows.loc[rows["verdict"] == word, "task"]) for word in VERDICTS}
    parts = [f"{VERDICTS[word]} on {_listed(tasks)}" for word, tasks in groups.items() if tasks]
    return f"Against {RIVAL_TITLES[rival]} on the same labels: {'; '.join(parts)}."


VERDICTS = {
    "better": "better",
    "worse": "worse",
    "not shown": "no difference shown",
    "too few blocks": f"not judged (fewer than {MIN_BLOCKS} test blocks)",
    "other chips": "not judged (other test chips)",
}
"""What `verdict` says, in a sentence."""


def _dots(curve: pd.DataFrame) -> str:
    """Labels needed for 95 % of the full-data score and of its gain over the majority class."""
    parts = []
    for column, words in (("dot", "score"), ("gain_dot", "gain over the majority class")):
        at = curve[curve[column]].sort_values("n_train")
        sizes = [
            f"{size_words(int(str(n_shots)))} on {_listed(sorted(rows['task']))}"
            for n_shots, rows in at.groupby("n_shots", sort=False)
        ]
        if sizes:
            parts.append(f"95 % of the full-data {words} is first reached with {'; '.join(sizes)}.")
    return " ".join(parts)
