"""Probes band by band: how much each encoder's embedding of one band knows, with the floors beside it."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from terraprobe.probes.class_pools import EQUAL
from terraprobe.probes.episodes import FULL
from terraprobe.probes.inits import FLOOR, TRAINED, UNTRAINED
from terraprobe.probes.mlp_lines import ALL, MAJORITY, OPTICAL, RADAR
from terraprobe.report.notes import ClassPoolNote, MlpNote
from terraprobe.report.results import VERDICTS, size_words, verdict
from terraprobe.report.tables import DIFFERENCE, OVER_EVALUATIONS, Column, Table, score, signed, whole
from terraprobe.statistics import MIN_BLOCKS

GROUPS = {ALL: "all bands", OPTICAL: "multispectral", RADAR: "radar"}
"""Means over views, for people."""

_FEW = 3
"""Bands that a name lists before it gives the first and the last alone."""

_UNTRAINED = ", untrained"


def view_title(view: str, group: str = ALL) -> str:
    """Name of a view, or of the mean over a group of them."""
    bands = view.split("+")
    return GROUPS[group] if not view else view if len(bands) <= _FEW else f"{bands[0]} … {bands[-1]} ({len(bands)})"


def model_title(arm: str, init: str) -> str:
    """Name of an arm with its weights."""
    return arm + (_UNTRAINED if init == UNTRAINED else "")


def band_points(note: MlpNote, scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of one evaluation with names for people; views in the order of the collection, means over them first."""
    own = scores[scores["evaluation"] == note.name].reset_index(drop=True)
    titles = [view_title(view, group) for view, group in zip(own["view"], own["group"], strict=True)]
    models = [model_title(arm, init) for arm, init in zip(own["arm"], own["init"], strict=True)]
    own = own.assign(band=titles, model=models, data=note.kind, over=own["view"] == "")
    order = {group: k for k, group in enumerate(GROUPS)}
    return own.sort_values(["over", "group"], key=lambda c: ~c if c.name == "over" else c.map(order), kind="stable",
                           ignore_index=True)  # fmt: skip


def largest_size(points: pd.DataFrame) -> int:
    """The size that figures and sentences are about: all labels, or else the largest number of them."""
    sizes = set(points["n_shots"])
    return FULL if FULL in sizes else int(max(sizes))


def largest(points: pd.DataFrame) -> pd.DataFrame:
    """Rows of that size."""
    return points[points["n_shots"] == largest_size(points)]


def bands_table(note: MlpNote, points: pd.DataFrame) -> Table:
    """The paper's table I: macro F1 of every model on every band."""
    own = largest(points[points["metric"] == "f1_macro"])
    cells = own.assign(text=[_interval(row) for row in own.to_dict("records")])
    order = {key: k for k, key in enumerate(dict.fromkeys(zip(own["band"], own["modality"], strict=True)))}
    frame = cells.pivot_table(index=["band", "modality"], columns="model", values="text", aggfunc="first", sort=False)
    models = _models(own)
    frame = frame[models].reset_index()
    place = [order[key] for key in zip(frame["band"], frame["modality"], strict=True)]
    frame = frame.iloc[pd.Series(place).argsort()].reset_index(drop=True)
    columns = (Column("band", "band"), *(Column(name, name) for name in models))
    caption = (
        f"Macro F1 on {note.label} ({note.kind}), {size_words(largest_size(points))}: means over seeds, twins and "
        "draws with 95 % intervals over test blocks, then these. The first rows are means over bands."
    )
    return Table(f"bands-{note.name}", caption, columns, frame)


def _interval(row: Mapping[Hashable, Any]) -> str:
    if row["model"] == MAJORITY:
        return score(row["value"])
    return f"{score(row['value'])} [{score(row['low'])}, {score(row['high'])}]"


def _models(points: pd.DataFrame) -> list[str]:
    """Trained models, their twins, then floors."""
    order = {TRAINED: 0, UNTRAINED: 1, FLOOR: 2}
    return list(dict.fromkeys(points.sort_values("init", key=lambda c: c.map(order), kind="stable")["model"]))


def bands_scores_table(note: MlpNote, points: pd.DataFrame) -> Table:
    """Everything that was measured on every band and size, in rows."""
    keys = ["n_shots", "model", "band", "modality"]
    wide = points[points["class_name"] == ""]
    more = wide.pivot_table(index=keys, columns="metric", values="value", sort=False).reset_index()
    frame = wide[wide["metric"] == "f1_macro"].merge(more[[*keys, "accuracy", "effective_rank"]], on=keys, how="left")
    columns = (
        Column("model", "model", filter=True),
        Column("data", "data"),
        Column("n_shots", "labels", lambda n: size_words(int(n)).removesuffix(" labels"), filter=True),
        Column("band", "band", filter=True),
        Column("modality", "modality"),
        Column("value", "F1 macro", score, number=True),
        Column("low", "from", score, number=True),
        Column("high", "to", score, number=True),
        Column("sd", "SD over runs", score, number=True),
        Column("accuracy", "accuracy", score, number=True),
        Column("effective_rank", "effective rank", "{:.1f}".format, number=True),
        Column("n_runs", "runs", whole, number=True),
        Column("n_draws", "draws", whole, number=True),
        Column("n_train", "train chips", whole, number=True),
        Column("n_test", "test chips", whole, number=True),
    )
    caption = (
        "Runs: seeds, and twins of an untrained model. Effective rank: of the features of the train chips. Click a "
        "heading to sort."
    )
    return Table(f"bands-scores-{note.name}", caption, columns, frame, live=True)


def judged_bands(differences: pd.DataFrame, note: MlpNote | ClassPoolNote) -> pd.DataFrame:
    """Differences with names for people and a verdict each.

    Args:
        differences: of one evaluation or pool.
        note: of it.
    """
    few = differences["n_blocks"] < MIN_BLOCKS
    own = differences.reset_index(drop=True).assign(same_chips=True, few_blocks=few.to_numpy(), data=note.kind)
    return own.assign(
        band=[view_title(view, group) for view, group in zip(own["view"], own["group"], strict=True)],
        against=[model_title(arm, init) for arm, init in zip(own["rival"], own["rival_init"], strict=True)],
        verdict=pd.Series([verdict(row) for _, row in own.iterrows()], own.index, dtype=object),
    )


def bands_differences_table(name: str, rows: pd.DataFrame, pooled: bool = False) -> Table:
    """Every paired comparison."""
    ending = OVER_EVALUATIONS if pooled else (Column("verdict", "verdict", css="@value"),)
    columns = (
        Column("arm", "model", filter=True),
        Column("data", "data"),
        Column("n_shots", "labels", lambda n: size_words(int(n)).removesuffix(" labels"), filter=True),
        Column("band", "band", filter=True),
        Column("value", "F1", score, number=True),
        Column("against", "against", filter=True),
        Column("rival_value", "its F1", score, number=True),
        *DIFFERENCE,
        Column("p_views", "p, t-test over bands", "{:.3f}".format, number=True),
        *ending,
    )
    caption = (
        "Paired differences of macro F1 over the same resampled test blocks, then runs and draws; p (Holm) within a "
        "size: of single bands over the bands of a pair, of means over the rivals of a model. The t-test over bands is "
        "the paper's: it takes bands of the same chips for independent, so the verdict does not follow it."
    )
    return Table(name, caption, columns, rows, live=True)


def bands_sentences(note: MlpNote, points: pd.DataFrame, compared: pd.DataFrame) -> list[str]:
    """What may be said: every trained arm over bands against its twins and the floors, then arms against each other.

    Args:
        note: the evaluation.
        points: of `band_points`.
        compared: of `judged_bands`.
    """
    own = largest(points[points["metric"] == "f1_macro"])
    size, first, blocks = largest_size(points), own.iloc[0], int(own["n_blocks"].iloc[0])
    few = "" if blocks >= MIN_BLOCKS else f", fewer than the {MIN_BLOCKS} that would carry a claim"
    floor = own.loc[own["model"] == MAJORITY, "value"].iloc[0]
    sentences = [
        f"{int(first['n_classes'])} classes of {note.label}, {size_words(size)}, up to {int(own['n_test'].max()):,} "
        f"{note.kind} test chips in {blocks} blocks{few}; left out: {int(first['n_unlabelled'])} without a class, "
        f"{int(first['n_untaught'])} of a class that no train chip has. Calling every chip {first['majority']} gives a "
        f"macro F1 of {floor:.3f}."
    ]
    return sentences + arm_sentences(compared[compared["n_shots"] == size])


def arm_sentences(rows: pd.DataFrame) -> list[str]:
    """One sentence for each trained arm, and one for each two of them.

    Args:
        rows: of `judged_bands`, of one size.
    """
    sentences = []
    for arm, own in rows[rows["rival_init"] != TRAINED].groupby("arm", sort=False):
        means = own[own["view"] == ""]
        told = means.drop_duplicates("group").to_dict("records")
        values = ", ".join(f"{row['band']} ({row['n_views']}) {score(row['value'])}" for row in told)
        against = [f"against {row['against']} {_gap(row)}" for row in means[means["group"] == ALL].to_dict("records")]
        sentences.append(f"{arm}: mean F1 over {values}; {'; '.join(against)}.{_band_by_band(own[own['view'] != ''])}")
    pairs = rows[(rows["rival_init"] == TRAINED) & (rows["view"] == "")]
    for (one, rival), own in pairs.groupby(["arm", "rival"], sort=False):
        parts = [f"{row['band']} {_gap(row)}{_t_words(row)}" for row in own.to_dict("records")]
        sentences.append(f"{one} against {rival}: {'; '.join(parts)}.")
    return sentences


def _gap(row: Mapping[Hashable, Any]) -> str:
    found = f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}], {VERDICTS[row['verdict']]}"
    if "n_better" not in row:
        return found
    equal = "" if row["equal"] in EQUAL[:1] else f", {'' if row['equal'] == EQUAL[1] else 'not shown to be '}equal"
    return f"{found}{equal}, above 0 in {row['n_better']} of {row['n_evaluations']}"


def _t_words(row: Mapping[Hashable, Any]) -> str:
    """The paper's own test, where there are bands enough for one."""
    return (
        "" if pd.isna(row["p_views"]) else f" (the paper's t-test over {row['n_views']} bands: p {row['p_views']:.3f})"
    )


def _band_by_band(rows: pd.DataFrame) -> str:
    """On how many bands a trained arm is shown to differ from its twin."""
    twins = rows[rows["rival_init"] == UNTRAINED]
    if not len(twins) or (twins["verdict"] == "too few blocks").all():
        return ""
    counts = twins["verdict"].value_counts()
    return (
        f" Band by band better than its untrained twin on {counts.get('better', 0)} of {len(twins)}, worse on "
        f"{counts.get('worse', 0)}."
    )
