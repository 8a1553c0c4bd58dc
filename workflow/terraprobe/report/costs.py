"""What trainings cost: seconds beside scores, alpha, Eff-p in relative epochs, on a page of its own beside the report.

Times differ between equal runs and the report's page must not: nothing of this enters a record or a comparison.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from terraprobe.artifacts import atomic_path
from terraprobe.report.html.render import render_costs
from terraprobe.report.inputs import TrainedEncoder
from terraprobe.report.notes import ClassificationNote, ReportRecipe
from terraprobe.report.tables import Column, Table, whole, write_tables

FOLDER = "cost"
"""Beside the page."""

PAPER_ALPHA = {"plain": 1.0, "emb": 1.080, "cbn": 1.242}
"""[P] docs/methods.md sec. 1: table 3 of Leonhardt et al., EuroSAT at full size."""

_MACHINE = ("device", "precision", "threads")


def epoch_seconds(encoder: TrainedEncoder) -> float:
    """Wall time of an epoch, the mean over seeds; NaN where a training has left no `cost.json`.

    All of an epoch counts: reading, steps, validation, checkpoints.
    """
    runs = zip(encoder.costs, encoder.histories, strict=True)
    return float(np.mean([cost.get("seconds", np.nan) / len(history) for cost, history in runs]))


def relative_cost(encoder: TrainedEncoder, reference: TrainedEncoder) -> float:
    """Alpha: time of an epoch over that of the reference.

    Args:
        encoder: whose.
        reference: that has 1.

    Returns:
        NaN where a time is not known, or not all trainings ran on the same device in the same way.
    """
    machines = {tuple(cost.get(key) for key in _MACHINE) for e in (encoder, reference) for cost in e.costs}
    base = epoch_seconds(reference)
    return epoch_seconds(encoder) / base if len(machines) == 1 and base > 0 else float("nan")


def _published(encoder: TrainedEncoder, conditioning: str) -> float:
    """Alpha in the paper of `bioclim`, which says nothing of other networks: NaN."""
    return PAPER_ALPHA[conditioning.lower()] if encoder.card["method"] == "bioclim_supervised" else float("nan")


def cost_table(note: ClassificationNote, arms: pd.DataFrame, encoders: Sequence[TrainedEncoder]) -> Table:
    """One row an encoder of an evaluation, in the order of the study; the first one is the reference.

    Args:
        note: the evaluation.
        arms: of `arms_of`, whose `epochs` are Eff-p.
        encoders: every encoder of the study.
    """
    by: dict[Any, dict[Any, Any]] = {row["arm"]: row for row in arms.to_dict("records")}
    judged = [encoder for encoder in encoders if encoder.note.name in by]
    rows = []
    for encoder in judged:
        arm, alpha = by[encoder.note.name], relative_cost(encoder, judged[0])
        rows.append(
            {
                **{key: arm[key] for key in ("arm", "data", "conditioning", "n_seeds", "parameters", "epochs")},
                **{key: ", ".join(sorted({str(cost.get(key, "")) for cost in encoder.costs})) for key in _MACHINE},
                "epoch_s": epoch_seconds(encoder),
                "alpha": alpha,
                "relative_epochs": alpha * arm["epochs"],
                "paper_alpha": _published(encoder, arm["conditioning"]),
            }
        )
    one, three = "{:.1f}".format, "{:.3f}".format
    columns = (
        Column("arm", "model"),
        Column("data", "data"),
        Column("conditioning", "conditioning"),
        Column("n_seeds", "seeds", whole, number=True),
        Column("parameters", "parameters", whole, number=True),
        Column("epoch_s", "seconds an epoch", "{:.3g}".format, number=True),
        Column("alpha", "α", three, number=True),
        Column("epochs", f"Eff-{note.efficiency_at:g}, epochs", one, number=True),
        Column("relative_epochs", f"Eff-{note.efficiency_at:g}, relative epochs", one, number=True),
        Column("paper_alpha", "α of the paper", three, number=True),
        *(Column(key, key) for key in _MACHINE),
    )
    caption = (
        f"α: time of an epoch, the mean over seeds, over that of {judged[0].note.name}; empty where the two were not "
        "trained on the same device in the same way. Relative epochs: epochs times α. The paper's α is that of "
        "ResNet18 on EuroSAT: plain 1, Emb 1.080, CBN 1.242."
    )
    return Table(note.name, caption, columns, pd.DataFrame(rows))


def write_costs(recipe: ReportRecipe, trainings: Table, items: Sequence[Mapping[str, Any]], page: Path) -> None:
    """Write `cost/index.html` and its tables beside the report; where nothing was trained what was left there goes.

    Args:
        recipe: what the study says about itself.
        trainings: of `trainings_table`.
        items: of each evaluation itself, a `note` that says whether its data is real, and its table as `cost`.
        page: of the report.
    """
    folder = page.parent / FOLDER
    if not len(trainings.frame):
        write_tables([], folder)
        (folder / "index.html").unlink(missing_ok=True)
        return
    write_tables([trainings, *(item["cost"] for item in items)], folder)
    html = render_costs({"recipe": recipe, "trainings": trainings, "items": items})
    with atomic_path(folder / "index.html") as temporary:
        temporary.write_text(html)
