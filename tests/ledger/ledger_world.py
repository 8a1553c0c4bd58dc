"""Score files of a study, made up: what the stages before `write-ledger` would leave."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from terraprobe.artifacts import write_json, write_table
from terraprobe.ledger.notes import LedgerRecipe
from terraprobe.probes.inits import TRAINED
from terraprobe.probes.scores import SUMMARY

METRICS = {
    "classifier": ("accuracy", "gen_ml", "gen_geo", "f1_micro", "f1_macro"),
    "reconstruction": ("l1", "ssim", "svm"),
}
BLOCKS = ("accuracy", "l1", "ssim", "svm")
"""Metrics whose interval is over blocks."""
HALF_INTERVAL = 0.0005
REPOSITORY = Path(__file__).resolve().parents[2]

Values = Mapping[tuple[str, str], float]
"""Mean of an arm, by arm and metric, as a share; .5 of those that are not there."""


def write_encoders(root: Path, recipe: LedgerRecipe, values: Values, chips: Mapping[str, int]) -> None:
    """Cards and histories; a tenth of the chips of each collection are val chips, as many test chips."""
    collection_of = {arm: e.collection for e in recipe.evaluations.values() for arm in e.arms}
    for arm, note in recipe.arms.items():
        for member in note.members:
            n, folder = chips[collection_of[arm]], root / "encoders" / member
            card = {"chips": {"train": n * 8 // 10, "val": n // 10},
                    "parameters": {"total": int(values.get((arm, "parameters"), 1000))}}  # fmt: skip
            write_json(folder / "card.json", card)
            reached = values.get((arm, "efficiency"), np.nan)
            curve = 0.95 + 0.001 * (np.arange(1, 101) - reached)
            write_table(folder / "history.parquet", pd.DataFrame({"val_accuracy": np.nan_to_num(curve, nan=0.5)}))


def write_scores(root: Path, recipe: LedgerRecipe, values: Values, chips: Mapping[str, int]) -> None:
    """Scores and differences of every evaluation."""
    for name, e in recipe.evaluations.items():
        kind = "classes" if e.probe == "classifier" else "reconstruction"
        rows = [row for arm in e.arms for m in METRICS[e.probe] for row in _rows(recipe, arm, m, values)]
        frame = pd.DataFrame(rows).assign(evaluation=name, n_test=chips[e.collection] // 10, init=TRAINED)
        write_table(root / kind / f"{name}.parquet", frame)
        pairs = [_pair(a, b, m, values) for a, b in combinations(e.arms, 2) for m in METRICS[e.probe] if m in BLOCKS]
        write_table(root / kind / f"{name}.differences.parquet", pd.DataFrame(pairs).assign(evaluation=name))
    write_table(root / "summary.parquet", pd.DataFrame(columns=[*SUMMARY]))


def inputs(root: Path, encoders: Path | None = None) -> dict[str, Any]:
    """Arguments of `write_ledger` but recipe and outputs; `encoders` is where cards and histories are, if elsewhere."""
    shipped = {key: REPOSITORY / f"resources/published_{file}" for key, file in
               (("published", "results.csv"), ("answers", "answers.yaml"), ("claims", "claims.yaml"))}  # fmt: skip
    scores = {
        f"{key}{end}": sorted(p for p in root.glob(f"{folder}/*.parquet") if (".differences" in p.name) == bool(end))
        for folder, key in (("classes", "classes"), ("reconstruction", "reconstruction"))
        for end in ("", "_differences")
    }
    scores["class_differences"] = scores.pop("classes_differences")
    trained = encoders or root
    cards = {"cards": sorted(trained.glob("encoders/*/card.json")),
             "histories": sorted(trained.glob("encoders/*/history.parquet"))}  # fmt: skip
    probed: dict[str, list[Path]] = {
        key: [] for key in ("mlps", "mlp_differences", "pixels", "pixel_classes", "pixel_differences")
    }  # see test_probe_scores.py
    return {**shipped, **scores, **cards, **probed, "summary": root / "summary.parquet"}


def _rows(recipe: LedgerRecipe, arm: str, metric: str, values: Values) -> list[dict[str, Any]]:
    """A row for every run, which differ a little, and their mean with its interval over blocks."""
    mean, members = values.get((arm, metric), 0.5), recipe.arms[arm].members
    steps = (np.arange(len(members)) - (len(members) - 1) / 2) * 1e-5
    rows = [{"arm": arm, "encoder": m, "metric": metric, "value": mean + step, "sd": np.nan, "low": np.nan,
             "high": np.nan} for m, step in zip(members, steps, strict=True)]  # fmt: skip
    ends = (mean - HALF_INTERVAL, mean + HALF_INTERVAL) if metric in BLOCKS else (np.nan, np.nan)
    sd = float(steps.std(ddof=1)) if len(steps) > 1 else np.nan
    return [*rows, {"arm": arm, "encoder": "", "metric": metric, "value": mean, "sd": sd, "low": ends[0],
                    "high": ends[1]}]  # fmt: skip


def _pair(arm: str, rival: str, metric: str, values: Values) -> dict[str, Any]:
    gap = values.get((arm, metric), 0.5) - values.get((rival, metric), 0.5)
    return {"arm": arm, "rival": rival, "rival_init": TRAINED, "metric": metric, "difference": gap,
            "low": gap - HALF_INTERVAL, "high": gap + HALF_INTERVAL}  # fmt: skip
