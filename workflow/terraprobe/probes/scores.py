"""All scores of a study in one table, with the curves and comparisons that the report shows."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.forest_scores import FOREST_KEY
from terraprobe.probes.optimism import GAP_KEY
from terraprobe.probes.summary import compare, resample_points, summarise
from terraprobe.stage import Ins, Out, Recipe, progress


class SummaryRecipe(Recipe):
    """Parameters of the intervals over places.

    Attributes:
        resamples: bootstrap resamples [D].
        seed: of the resamples.
    """

    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0)


def gather_scores(
    *, scores: Ins, blocks: Ins, optimism: Ins, recipe: SummaryRecipe, table: Out, summary: Out, differences: Out,
    gaps: Out,
) -> None:  # fmt: skip
    """Concatenate the scores of all evaluations and put intervals on them.

    Args:
        scores: of `score_forest`.
        blocks: of `score_forest`.
        optimism: of `score_forest`.
        recipe: parameters of the bootstrap.
        table: every score row.
        summary: `summary.summarise`: the few-shot curves with intervals and dots.
        differences: `summary.compare`: trained encoders against their floors.
        gaps: every optimism gap; see `optimism.COLUMNS`.

    Raises:
        TerraprobeError: two files score the same forests, or a file is broken.
    """
    rows = _concat(scores, [*FOREST_KEY, "metric"])
    samples = resample_points(_concat(blocks, [*FOREST_KEY, "block"]), recipe.resamples, recipe.seed)
    points = summarise(rows, samples)
    compared = compare(points, samples)
    write_table(table, rows)
    write_table(summary, points)
    write_table(differences, compared)
    write_table(gaps, _concat(optimism, [*GAP_KEY]))
    progress(f"{len(rows)} scores, {len(points)} points of curves, {len(compared)} comparisons")


def _concat(paths: Sequence[Path], key: list[str]) -> pd.DataFrame:
    frames = [read_table(path) for path in paths]
    merged: pd.DataFrame = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)
    if merged.duplicated(key).any():
        first = merged[merged.duplicated(key)].iloc[0]
        named = ", ".join(f"{name}={first[name]}" for name in key)
        raise TerraprobeError(f"{', '.join(map(str, paths))}: scored twice: {named}. Give each file once.")
    return merged.sort_values(key, ignore_index=True)
