"""Where encoders err: the share of wrong calls in each block of test chips, of everything that was judged by calls."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from terraprobe.artifacts import read_table, write_table
from terraprobe.collections.chiptable import read_chips
from terraprobe.probes.episodes import FULL
from terraprobe.probes.inits import TRAINED
from terraprobe.stage import Ins, Out, Recipe, progress

COLUMNS = ("evaluation", "collection", "task", "features", "modality", "n_shots", "block", "wrong", "judged")
_FLOOR = "image_stats"
"""The floor whose mistakes are shown beside those of encoders."""


class MistakesRecipe(Recipe):
    """Recipe of `gather_mistakes`.

    Attributes:
        arms: encoders of several seeds by the name that they are judged under together.
        segmented: collections whose pixels are called, by evaluation.
    """

    arms: dict[str, tuple[str, ...]] = {}
    segmented: dict[str, str] = {}


def gather_mistakes(
    *, chips: Ins, blocks: Ins, class_blocks: Ins, pixels: Ins, recipe: MistakesRecipe, mistakes: Out
) -> None:
    """Count wrong calls by block.

    Of few-shot forests at one size, the largest number of labels short of all; of heads; of called pixels at the
    largest size.

    Args:
        chips: `chips.parquet` of every collection.
        blocks: of `score_forest`.
        class_blocks: of `score_classes`.
        pixels: of `segment_chips`, `<evaluation>/<encoder>.parquet`.
        recipe: parameters.
        mistakes: a row for each evaluation, task, kind of features (an encoder, or `image_stats`), modality and block:
            `wrong` of `judged` calls, over all seeds, draws and test chips of the block (of pixels: pixels).

    Raises:
        TerraprobeError: a file is absent or broken.
    """
    arm_of = {member: arm for arm, members in recipe.arms.items() for member in members}
    block_of = {path.parent.name: read_chips(path).set_index("chip_id")["block"] for path in chips}
    parts = [
        *(_of_forests(read_table(path)) for path in blocks),
        *(_of_heads(read_table(path)) for path in class_blocks),
        *(_of_pixels(path, recipe.segmented[path.parent.name], block_of) for path in pixels),
    ]
    key = [name for name in COLUMNS if name not in ("wrong", "judged")]
    table = pd.concat([pd.DataFrame(columns=[*COLUMNS]), *(p for p in parts if len(p))], ignore_index=True)
    table["features"] = table["features"].map(lambda name: arm_of.get(name, name))
    table = table.astype({"wrong": float, "judged": float}).groupby(key, as_index=False)[["wrong", "judged"]].sum()
    write_table(mistakes, table[table["judged"] > 0][[*COLUMNS]].reset_index(drop=True))
    progress(f"mistakes: {len(table)} counts by block")


def _of_forests(rows: pd.DataFrame) -> pd.DataFrame:
    kept = rows[(rows["init"].str.startswith(TRAINED)) | (rows["floor"] == _FLOOR)]
    sizes = sorted(set(kept["n_shots"]) - {FULL})
    kept = kept[kept["n_shots"] == (sizes[-1] if sizes else FULL)]
    judged = kept["n_pos"] + kept["n_neg"]
    return kept.assign(
        features=kept["encoder"].where(kept["floor"] == "", kept["floor"]),
        judged=judged,
        wrong=judged - kept["tp"] - kept["tn"],
    )[[*COLUMNS]]


def _of_heads(rows: pd.DataFrame) -> pd.DataFrame:
    wrong = rows["n_test"] - rows["right"]
    named = rows.assign(task="", modality="", n_shots=FULL, features=rows["arm"], judged=rows["n_test"], wrong=wrong)
    return named[[*COLUMNS]]


def _of_pixels(path: Path, collection: str, block_of: Mapping[str, "pd.Series[str]"]) -> pd.DataFrame:
    rows: pd.DataFrame = read_table(path)
    kept = rows[rows["init"] == TRAINED]
    kept = kept[kept["size"] == (FULL if (kept["size"] == FULL).any() else kept["size"].max())]
    return kept.assign(
        evaluation=path.parent.name, collection=collection, task="", modality="", features=path.stem,
        n_shots=kept["size"], block=kept["chip_id"].map(block_of[collection]),
        judged=kept["pixels"], wrong=kept["pixels"].where(kept["truth"] != kept["called"], 0),
    )[[*COLUMNS]]  # fmt: skip
