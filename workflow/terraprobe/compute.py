"""Stage `count-compute`: what every training of a comparison saw and cost, for budgets to be held against."""

from typing import Any

import numpy as np
import pandas as pd

from terraprobe.artifacts import read_json, read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.flops import flops_per_chip
from terraprobe.methods import recipe_model
from terraprobe.stage import Ins, Out, Recipe, progress


class ComputeRecipe(Recipe):
    """Whose compute is counted.

    Attributes:
        encoders: name of each encoder, of a single seed, to those whose training it stands on: its own last.
    """

    encoders: dict[str, tuple[str, ...]]


def count_compute(*, cards: Ins, histories: Ins, recipe: ComputeRecipe, compute: Out) -> None:
    """Count chips and floating-point operations of trainings, those that an encoder started from among them.

    Validation is not counted, nor is what happened before published weights were published.

    Args:
        cards: `card.json` of every encoder that the recipe names.
        histories: `history.parquet` of each.
        recipe: which encoders.
        compute: Parquet, a row an encoder: `encoder`, `parameters` of its towers, `chips_seen` (a chip counts once an
            epoch), `flops`, and `stands_on`, the names of the trainings that are in both, with a space between.

    Raises:
        TerraprobeError: a card or history is absent, or a card's recipe fits no method.
    """
    card_of, history_of = ({path.parent.name: path for path in paths} for paths in (cards, histories))
    wanted = list(dict.fromkeys(name for chain in recipe.encoders.values() for name in chain))
    absent = [name for name in wanted if name not in card_of or name not in history_of]
    if absent:
        raise TerraprobeError(f"count-compute: no card.json or no history.parquet of {absent[0]}. Give both.")
    counted: dict[str, tuple[int, float]] = {}
    tried: dict[str, float] = {}
    for name in wanted:
        card, history = read_json(card_of[name]), read_table(history_of[name])
        alike = repr([card["method"], card["recipe"], card["chip_px"], card["batch"]["train"]])
        if alike not in tried:  # seeds, and epochs that differ, cost a chip the same
            tried[alike] = _flops(card)
        chips = int(history["step"].iloc[-1]) * int(card["batch"]["train"])
        counted[name] = chips, chips * tried[alike]
        progress(f"compute of {name}: {chips:,} chips, {counted[name][1] / 1e12:.3g} TFLOP")
    rows = [
        {
            "encoder": name,
            "parameters": int(read_json(card_of[name])["parameters"]["total"]),
            "chips_seen": sum(counted[one][0] for one in chain),
            "flops": float(np.sum([counted[one][1] for one in chain])),
            "stands_on": " ".join(chain),
        }
        for name, chain in recipe.encoders.items()
    ]
    write_table(compute, pd.DataFrame(rows))


def _flops(card: dict[str, Any]) -> float:
    recipe = recipe_model(card["method"]).model_validate(card["recipe"])
    return flops_per_chip(card["method"], recipe, int(card["chip_px"]), int(card["batch"]["train"]))
