"""Scores of the probes `mlp` and `segmentation` as the ledger reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from terraprobe.ledger.notes import ArmNote, LedgerRecipe
from terraprobe.probes.inits import TRAINED

OVER_BLOCKS = "test blocks, then runs"
APART = ("protocol", "tower", "band", "view", "class_name", "pretrained")
"""Columns of these scores, beside the size, that `Answer.at`, `at_least` and `at_most` may name."""


def mlp_scores(
    mlps: pd.DataFrame, recipe: LedgerRecipe, cards: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Macro F1 of MLPs on frozen embeddings, by `view` (empty: the mean over all) and `n_shots`.

    Args:
        mlps: scores of `score_mlp`, of all evaluations.
        recipe: of the ledger.
        cards: of every encoder.
    """
    if not len(mlps):
        return []
    own = _own(mlps[(mlps["metric"] == "f1_macro") & ((mlps["view"] != "") | (mlps["group"] == "all"))], recipe)
    keys = ("evaluation", "arm", "metric", "value", "sd", "low", "high", "n_test", "n_shots", "view")
    return [
        {**{key: row[key] for key in keys}, **_pretrained(recipe.arms[row["arm"]], cards), "over": OVER_BLOCKS}
        for row in own
    ]


def pixel_scores(
    pixels: pd.DataFrame, classes: pd.DataFrame, recipe: LedgerRecipe, cards: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Scores of heads for pixels: `oa`, `aa`, `miou`, and `class_accuracy` by `class_name`.

    Those of all pixels alone; by `protocol`, `tower`, `band` (`mean`: over all that enter one at a time) and `n_shots`.

    Args:
        pixels: scores of `score_segmentation`, of all evaluations.
        classes: its accuracies by class, likewise.
        recipe: of the ledger.
        cards: of every encoder.
    """
    rows: list[dict[str, Any]] = []
    if not len(pixels):
        return rows
    whole = _own(pixels[pixels["stratum"] == ""], recipe)
    tested = {row["evaluation"]: row["n_test"] for row in whole}
    for row in whole:
        numbers = {key: row[key] for key in ("metric", "value", "sd", "low", "high", "n_test")}
        rows.append({**_place(row, recipe, cards), **numbers})
    for row in _own(classes[classes["stratum"] == ""], recipe):
        numbers = {"value": row["accuracy"], "low": row["accuracy_low"], "high": row["accuracy_high"]}
        named = {"metric": "class_accuracy", "class_name": row["class"], "n_test": tested[row["evaluation"]]}
        rows.append({**_place(row, recipe, cards), **named, **numbers, "sd": float("nan")})
    return rows


def mlp_differences(mlps: pd.DataFrame) -> list[pd.DataFrame]:
    """Differences of `score_mlp` between trained arms, by `view` and `n_shots` as in `mlp_scores`; none of none."""
    if not len(mlps):
        return []
    return [_between_trained(mlps[(mlps["view"] != "") | (mlps["group"] == "all")]).assign(metric="f1_macro")]


def pixel_differences(pixels: pd.DataFrame) -> list[pd.DataFrame]:
    """Differences of `score_segmentation` on all pixels between trained arms, by `tower`, `band` and `n_shots`."""
    if not len(pixels):
        return []
    return [_between_trained(pixels[pixels["stratum"] == ""]).rename(columns={"size": "n_shots"})]


def _between_trained(differences: pd.DataFrame) -> pd.DataFrame:
    return differences[(differences["init"] == TRAINED) & (differences["rival_init"] == TRAINED)]


def _own(scores: pd.DataFrame, recipe: LedgerRecipe) -> Sequence[Mapping[Any, Any]]:
    """Rows of trained arms, in evaluations that the ledger knows."""
    known = scores["arm"].isin(recipe.arms) & scores["evaluation"].isin(recipe.evaluations)
    return scores[known & (scores["init"] == TRAINED)].to_dict("records")


def _place(row: Mapping[Any, Any], recipe: LedgerRecipe, cards: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a score of pixels is of."""
    return {
        **{key: row[key] for key in ("evaluation", "arm", "tower", "band")},
        "protocol": recipe.evaluations[row["evaluation"]].protocol,
        "n_shots": row["size"],
        **_pretrained(recipe.arms[row["arm"]], cards),
        "over": OVER_BLOCKS,
    }


def _pretrained(arm: ArmNote, cards: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Chips that an arm was pretrained on, those that chose its checkpoint included."""
    chips = cards[arm.members[0]]["chips"]
    return {"pretrained": float(chips["train"] + chips["val"])}
