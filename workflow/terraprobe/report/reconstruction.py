"""Autoencoders: how well they give chips back, what z knows, and what their reconstructions look like."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.probes.inits import FLOOR, TRAINED, UNTRAINED
from terraprobe.probes.reconstruction_scores import LOWER_IS_BETTER, METRICS
from terraprobe.report.chipviews import Row, colours, draw_rows, limits, rows_of, shared_chips, shown_bands
from terraprobe.report.classes import CONDITIONING
from terraprobe.report.drawing import Gallery, Picture
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.maps import stretch
from terraprobe.report.notes import ReconstructionNote
from terraprobe.report.results import VERDICTS, verdict
from terraprobe.report.tables import Column, Table, score, whole
from terraprobe.statistics import MIN_BLOCKS

_TITLES = {"l1": "L1", "ssim": "SSIM", "svm": "SVM"}
_PART = {"encoder": ", encoder only", "decoder": ", decoder only"}

Images = Mapping[str, NDArray[Any]]
"""Of `reconstruct_chips`: `chip_ids`, `bands` and `images`."""


def _error(value: float) -> str:
    """L1 of reflectance and SSIM: four digits, as the paper gives them."""
    return f"{value:.4f}"


def _gap(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def reconstruction_arms(
    note: ReconstructionNote, scores: pd.DataFrame, encoders: Sequence[TrainedEncoder]
) -> pd.DataFrame:
    """One row an arm: trained autoencoders in the order of the study, their untrained twins, then the floors.

    Args:
        note: the evaluation.
        scores: of `score_reconstruction`, of all evaluations.
        encoders: every encoder of the study.
    """
    own = scores[(scores["evaluation"] == note.name) & (scores["encoder"] == "")]
    cards = {encoder.note.name: encoder.card for encoder in encoders}
    rows = []
    for (arm, init), found in own.groupby(["arm", "init"], sort=False):
        by = {str(row["metric"]): row for row in found.to_dict("records")}
        values = {
            f"{metric}{end}": by.get(metric, {}).get(key, np.nan)
            for metric in METRICS
            for end, key in (("", "value"), ("_sd", "sd"), ("_low", "low"), ("_high", "high"))
        }
        first = next(iter(by.values()))
        counts = {key: first[key] for key in ("n_seeds", "n_blocks", "few_blocks", "n_unseen")}
        chips = {
            "n_test": by.get("l1", {}).get("n_test", np.nan),
            "n_labelled": by.get("svm", {}).get("n_test", np.nan),
        }
        rows.append({"arm": arm, "weights": init, **_what(cards.get(str(arm))), **values, **counts, **chips,
                     "data": note.kind})  # fmt: skip
    order = {TRAINED: 0, UNTRAINED: 1, "": 2}
    return pd.DataFrame(rows).sort_values("weights", key=lambda init: init.map(order), kind="stable", ignore_index=True)


def _what(card: Mapping[str, Any] | None) -> dict[str, str]:
    """Conditioning and context of an arm; of a floor none."""
    if card is None:
        return {"conditioning": "", "context": ""}
    recipe = card["recipe"]
    part = _PART.get(recipe["cbn_in"], "")
    kind = recipe["conditioning"]
    return {"conditioning": CONDITIONING[kind] + part, "context": recipe["context"] if kind != "none" else "none"}


def reconstruction_table(note: ReconstructionNote, arms: pd.DataFrame) -> Table:
    """One row an arm; the paper's table 4."""
    columns = [
        Column("arm", "model"),
        Column("weights", "weights"),
        Column("data", "data"),
        Column("conditioning", "conditioning"),
        Column("context", "context"),
        Column("n_seeds", "runs", whole, number=True),
    ]
    for metric in _measured(note):
        show = score if metric == "svm" else _error
        columns += [Column(metric, _TITLES[metric], show, number=True),
                    Column(f"{metric}_low", "from", show, number=True),
                    Column(f"{metric}_high", "to", show, number=True)]  # fmt: skip
    columns += [Column("n_test", "test chips", whole, number=True)]
    columns += [Column("n_labelled", "with a class", whole, number=True)] if note.label else []
    columns += [Column("n_blocks", "test blocks", whole, number=True)]
    svm = (
        f" SVM: share of test chips whose {note.label} a support vector machine calls right, which learnt all train "
        "chips' z, min-max scaled."
        if note.label
        else ""
    )
    caption = (
        "L1: mean absolute difference of reflectance over bands and pixels, lower is better. SSIM: structural "
        f"similarity as in the loss, higher is better.{svm} Means over runs (seeds, and twins of an untrained model); "
        "95 % intervals over test blocks, then runs."
    )
    return Table(f"reconstruction-{note.name}", caption, tuple(columns), arms)


def reconstruction_differences(note: ReconstructionNote, differences: pd.DataFrame, few_blocks: bool) -> Table:
    """Every trained arm against its twins, the floor and every other, by metric."""
    own = differences[differences["evaluation"] == note.name]
    own = own.assign(same_chips=True, few_blocks=few_blocks, data=note.kind)
    sign = np.where(own["metric"].isin(LOWER_IS_BETTER), -1.0, 1.0)
    gains = own.assign(difference=own["difference"] * sign)
    own = own.assign(verdict=pd.Series([verdict(row) for _, row in gains.iterrows()], own.index, dtype=object))
    own["against"] = [
        r if i != UNTRAINED else f"{r}, untrained" for r, i in zip(own["rival"], own["rival_init"], strict=True)
    ]
    columns = (
        Column("arm", "model"),
        Column("data", "data"),
        Column("metric", "metric", _TITLES.__getitem__),
        Column("value", "value", _error, number=True),
        Column("against", "against"),
        Column("rival_value", "its value", _error, number=True),
        Column("difference", "difference", _gap, number=True),
        Column("low", "from", _gap, number=True),
        Column("high", "to", _gap, number=True),
        Column("p_holm", "p (Holm)", "{:.3f}".format, number=True),
        Column("verdict", "verdict", css="@value"),
    )
    caption = (
        "Paired differences over the same resampled test blocks, then runs; p over all of them. A smaller L1 is "
        "better, and a larger SSIM and SVM."
    )
    return Table(f"reconstruction-differences-{note.name}", caption, columns, own)


def reconstruction_sentences(note: ReconstructionNote, arms: pd.DataFrame, compared: pd.DataFrame) -> list[str]:
    """What may be said: every trained arm with its intervals, and how it stands to its floors.

    Args:
        note: the evaluation.
        arms: of `reconstruction_arms`.
        compared: rows of `reconstruction_differences`.
    """
    first, blocks = arms.iloc[0], int(arms["n_blocks"].iloc[0])
    few = "" if blocks >= MIN_BLOCKS else f", fewer than the {MIN_BLOCKS} that would carry a claim"
    kind = "simulated " if note.simulated else ""
    sentences = [
        f"{int(first['n_test']):,} {kind}test chips in {blocks} blocks{few}; left out: {int(first['n_unseen'])} that "
        "not every model can see."
    ]
    for arm in arms[arms["weights"] == TRAINED].to_dict("records"):
        rows = compared[(compared["arm"] == arm["arm"]) & (compared["rival_init"] != TRAINED)]
        rival = rows["rival"].where(rows["rival_init"] == FLOOR, "untrained twin")
        against = [
            f"against the {name} {', '.join(_compared(row) for row in own.to_dict('records'))}"
            for name, own in rows.groupby(rival, sort=False)
        ]
        sentences.append(f"{arm['arm']}: {', '.join(_value(arm, m) for m in _measured(note))}; {'; '.join(against)}.")
    return sentences


def _measured(note: ReconstructionNote) -> tuple[str, ...]:
    return METRICS if note.label else METRICS[:2]


def _value(arm: dict[Any, Any], metric: str) -> str:
    show = score if metric == "svm" else _error
    return f"{_TITLES[metric]} {show(arm[metric])} [{show(arm[f'{metric}_low'])}, {show(arm[f'{metric}_high'])}]"


def _compared(row: dict[Any, Any]) -> str:
    """A difference and what it allows to say; nothing where too few blocks allow nothing."""
    said = "" if row["verdict"] == "too few blocks" else f" ({VERDICTS[row['verdict']]})"
    return f"{_TITLES[row['metric']]} {_gap(row['difference'])}{said}"


def draw_reconstructions(
    collection: Collection,
    note: ReconstructionNote,
    encoders: Sequence[TrainedEncoder],
    images: Mapping[str, Images],
    gallery: Gallery,
) -> list[Picture]:
    """Paper, figure 4: a few test chips as they are, and as each autoencoder gives them back.

    Args:
        collection: whose test chips.
        note: the evaluation.
        encoders: that it judges.
        images: of the first run of each, by the name of its folder.
        gallery: for the figure.
    """
    given = {encoder.note.name: images[encoder.note.runs[0]] for encoder in encoders}
    first = next(iter(given.values()))
    chips = shared_chips(given.values())
    if not chips:
        return []
    shown, words = shown_bands(first["bands"].tolist())
    (tower,) = encoders[0].card["towers"].values()
    store = collection.modalities[tower["modality"]]
    channels = [store.bands.index(str(first["bands"][k])) for k in shown]
    truth = colours(store, rows_of(collection, chips), channels)
    rows = [Row(f"test chip, {words}", list(stretch(truth, limits(truth))))]
    for name, one in given.items():
        place = {chip: k for k, chip in enumerate(one["chip_ids"].tolist())}
        again = np.moveaxis(one["images"][[place[chip] for chip in chips]][:, shown], 1, -1)
        rows.append(Row(name, list(stretch(again, limits(truth)))))
    figure = draw_rows(rows, f"Chips and reconstructions ({collection.note.title}, {note.kind})")
    told = "; ".join(row.title for row in rows)
    alt = f"{len(chips)} test chips of {collection.note.title} side by side; rows: {told}."
    caption = (
        f"{len(chips)} test chips of {collection.note.title} ({note.kind}), drawn by seed: as they are, and as each "
        f"autoencoder gives them back from z, in {words} and with the stretch of the chips as they are. Each column is "
        "one chip; of several seeds the first is shown."
    )
    return [gallery.add(f"reconstruction-{note.name}", figure, alt, caption)]
