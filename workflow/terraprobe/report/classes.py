"""Encoders trained with labels: how right their own heads are, by arm, with the floor and the control beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from terraprobe.metrics import epochs_to
from terraprobe.probes.classes import MAJORITY
from terraprobe.report.inputs import TrainedEncoder
from terraprobe.report.notes import ClassificationNote
from terraprobe.report.results import VERDICTS, verdict
from terraprobe.report.tables import DIFFERENCE, Column, Table, score, signed, whole
from terraprobe.statistics import MIN_BLOCKS

_MEANS = ("train_accuracy", "gen_ml", "gen_geo", "f1_micro", "f1_macro")
CONDITIONING = {"none": "plain", "emb": "Emb", "cbn": "CBN"}


def arms_of(note: ClassificationNote, scores: pd.DataFrame, encoders: Sequence[TrainedEncoder]) -> pd.DataFrame:
    """One row an arm in the order of the study, the majority class last: what it is, and its means over seeds.

    Args:
        note: the evaluation.
        scores: of `score_classes`, of all evaluations.
        encoders: every encoder of the study.
    """
    own = scores[(scores["evaluation"] == note.name) & (scores["encoder"] == "")]
    known = {encoder.note.name: encoder.card for encoder in encoders}
    efficiency = {e.note.name: _epochs(e, note.efficiency_at) for e in encoders if e.note.name in set(own["arm"])}
    rows = []
    order = [name for name in [*known, MAJORITY] if name in set(own["arm"])]
    for arm in order:
        found = own[own["arm"] == arm]
        by: dict[str, dict[Any, Any]] = {str(row["metric"]): row for row in found.to_dict("records")}
        accuracy, absent = by["accuracy"], {"value": float("nan"), "sd": float("nan")}
        values = {name: by.get(name, absent)["value"] for name in _MEANS}
        spread = {f"{name}_sd": by.get(name, absent)["sd"] for name in ("gen_ml", "gen_geo")}
        rows.append({**accuracy, **_what(known.get(arm)), **values, **spread,
                     "epochs": efficiency.get(arm, float("nan")), "data": note.kind})  # fmt: skip
    frame = pd.DataFrame(rows)
    floor = frame.loc[frame["arm"] == MAJORITY, "value"]
    return frame.assign(floor=float(floor.iloc[0]), several=bool((own["metric"] == "f1_micro").any()))


def _epochs(encoder: TrainedEncoder, level: float) -> float:
    return epochs_to(level, [history["val_accuracy"].to_numpy(float) for history in encoder.histories])


def _what(card: Mapping[str, Any] | None) -> dict[str, Any]:
    """Conditioning, context, start and size of an arm; of the majority class none."""
    if card is None:
        return {"conditioning": "", "context": "", "start": "", "parameters": 0}
    recipe = card["recipe"]
    conditioned = recipe["conditioning"] != "none"
    return {
        "conditioning": CONDITIONING[recipe["conditioning"]],
        "context": recipe["context"] if conditioned else "none",
        "start": ", ".join(card.get("start", {})) or "fresh",
        "parameters": card["parameters"]["total"],
    }


def classes_table(note: ClassificationNote, arms: pd.DataFrame) -> Table:
    """One row an arm."""
    columns = (
        Column("arm", "model", lambda name: "majority class" if name == MAJORITY else name),
        Column("data", "data"),
        Column("conditioning", "conditioning"),
        Column("context", "context"),
        Column("start", "weights from"),
        Column("n_seeds", "seeds", whole, number=True),
        Column("value", "test accuracy", score, number=True),
        Column("sd", "SD over seeds", score, number=True),
        Column("low", "from", score, number=True),
        Column("high", "to", score, number=True),
        Column("train_accuracy", "train accuracy", score, number=True),
        Column("gen_ml", "Gen-ML", signed, number=True),
        Column("gen_geo", "Gen-Geo", score, number=True),
        Column("parameters", "parameters", whole, number=True),
        Column("epochs", f"Eff-{note.efficiency_at:g}", "{:.1f}".format, number=True),
        *([Column("f1_micro", "F1 micro", score, number=True)] if arms["several"].any() else []),
        Column("f1_macro", "F1 macro", score, number=True),
        Column("floor", "majority class", score, number=True),
        Column("n_train", "train chips", whole, number=True),
        Column("n_test", "test chips", whole, number=True),
        Column("n_blocks", "test blocks", whole, number=True),
    )
    caption = (
        "Means over seeds; 95 % intervals over test blocks, then seeds. Gen-ML: train minus test accuracy. Gen-Geo: "
        "root mean square over regions of their accuracy minus the overall one. Shares, not per cent. Eff: epochs "
        "until the mean validation accuracy of all seeds reaches the level; weighted by their time they stand on the "
        "page of costs."
    )
    return Table(f"classes-{note.name}", caption, columns, arms)


def differences_table(note: ClassificationNote, differences: pd.DataFrame, few_blocks: bool) -> Table:
    """Every arm against the majority class and every other."""
    own = differences[differences["evaluation"] == note.name]
    own = own.assign(same_chips=True, few_blocks=few_blocks, data=note.kind)
    own = own.assign(verdict=pd.Series([verdict(row) for _, row in own.iterrows()], own.index, dtype=object))
    columns = (
        Column("arm", "model"),
        Column("data", "data"),
        Column("value", "accuracy", score, number=True),
        Column("rival", "against", lambda name: "majority class" if name == MAJORITY else name),
        Column("rival_value", "its accuracy", score, number=True),
        *DIFFERENCE,
        Column("verdict", "verdict", css="@value"),
    )
    caption = "Paired differences of test accuracy over the same resampled test blocks, then seeds; p over all of them."
    return Table(f"classes-differences-{note.name}", caption, columns, own)


def regions_table(note: ClassificationNote, regions: pd.DataFrame) -> Table:
    """One row a region: mean accuracy over seeds of every arm there.

    Args:
        note: the evaluation.
        regions: of `score_classes`, of all evaluations.
    """
    own = regions[regions["evaluation"] == note.name]
    arms = list(dict.fromkeys(own["arm"]))
    # An encoder may be called `region`.
    own = own.assign(arm="accuracy_" + own["arm"])
    table = own.pivot_table(index=["region", "n_test"], columns="arm", values="accuracy", sort=False)
    frame = table[[f"accuracy_{arm}" for arm in arms]].reset_index()
    frame["region"] = frame["region"].replace("", "none")
    titles = {MAJORITY: "majority class"}
    columns = (
        Column("region", "region"),
        Column("n_test", "test chips", whole, number=True),
        *(Column(f"accuracy_{arm}", titles.get(arm, arm), score, number=True) for arm in arms),
    )
    caption = f"Test accuracy by region ({note.kind}), mean over seeds: what Gen-Geo is made of."
    return Table(f"classes-regions-{note.name}", caption, columns, frame)


def classes_sentences(arms: pd.DataFrame, compared: pd.DataFrame) -> list[str]:
    """What may be said: every arm with its interval, and whether it beats the majority class.

    Args:
        arms: of `arms_of`.
        compared: rows of `differences_table`.
    """
    first = arms.iloc[0]
    blocks = int(first["n_blocks"])
    few = "" if blocks >= MIN_BLOCKS else f", fewer than the {MIN_BLOCKS} that would carry a claim"
    kind = "simulated " if first["data"] == "simulated" else ""
    sentences = [
        f"{first['n_classes']} classes of {first['label']}, {int(first['n_test']):,} {kind}test chips in {blocks} "
        f"blocks{few}; left out: {int(first['n_unlabelled'])} without a class, {int(first['n_unseen'])} that not every "
        f"model can see. {_floor_words(first)}"
    ]
    for arm in arms[arms["arm"] != MAJORITY].to_dict("records"):
        against = compared[(compared["arm"] == arm["arm"]) & (compared["rival"] == MAJORITY)].iloc[0]
        seeds = f"{arm['n_seeds']} seeds" if arm["n_seeds"] > 1 else "1 seed"
        sentences.append(
            f"{arm['arm']}: accuracy {arm['value']:.3f} [{arm['low']:.3f}, {arm['high']:.3f}], {seeds}; against the "
            f"majority class {signed(against['difference'])}: {VERDICTS[against['verdict']]}."
        )
    return sentences


def _floor_words(first: "pd.Series[Any]") -> str:
    if first["several"]:
        named = str(first["majority"]).replace(" ", ", ") or "nothing"
        return (
            f"A chip may have several classes, and accuracy is the share of them that is called right. Calling every "
            f"chip {named}, what most train chips have, reaches {first['floor']:.3f}."
        )
    return f"Calling every chip {first['majority']}, the most frequent train class, is right on {first['floor']:.3f}."
