"""All scores of a study in one table, with the curves and comparisons that the report shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.forest_scores import FOREST_KEY
from terraprobe.probes.optimism import GAP_KEY
from terraprobe.probes.pooling import PoolRecipe, pool_evaluations
from terraprobe.probes.summary import POINT, compare, resample_points, summarise
from terraprobe.stage import Ins, Out, Recipe, progress

SUMMARY = (*POINT, "metric", "value", "low", "high", "primary", "balanced", "n_blocks")
"""Columns of a summary that every reader asks for, those of one without a row."""


class SummaryRecipe(Recipe):
    """Parameters of the intervals over places.

    Attributes:
        resamples: bootstrap resamples [D].
        seed: of the resamples.
        arms: encoders of several seeds by the name that they are judged under together.
        pools: evaluations that are also compared as one.
    """

    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0)
    arms: dict[str, tuple[str, ...]] = {}
    pools: tuple[PoolRecipe, ...] = ()


def gather_scores(
    *, scores: Ins, blocks: Ins, optimism: Ins, recipe: SummaryRecipe, table: Out, summary: Out, differences: Out,
    pooled: Out, gaps: Out,
) -> None:  # fmt: skip
    """Concatenate the scores of all evaluations and put intervals on them.

    Args:
        scores: of `score_forest`; none, and tables without a row, where the study has no forests.
        blocks: of `score_forest`.
        optimism: of `score_forest`.
        recipe: parameters of the bootstrap.
        table: every score row, by encoder and seed.
        summary: `summary.summarise`: the few-shot curves with intervals and dots.
        differences: `summary.compare`: trained encoders against their floors.
        pooled: `pooling.pool_evaluations`; no row where the study pools nothing.
        gaps: every optimism gap; see `optimism.COLUMNS`.

    Raises:
        TerraprobeError: two files score the same forests, or a file is broken.
    """
    if not scores:  # a study whose every evaluation is by the encoders' own heads
        for path, columns in (
            (table, FOREST_KEY),
            (summary, SUMMARY),
            (differences, ()),
            (pooled, ()),
            (gaps, GAP_KEY),
        ):
            write_table(path, pd.DataFrame(columns=[*columns]))
        return
    rows = _concat(scores, [*FOREST_KEY, "metric"])
    counts = _concat(blocks, [*FOREST_KEY, "block"])
    samples = resample_points(_as_arms(counts, recipe.arms), recipe.resamples, recipe.seed)
    points = summarise(_as_arms(rows, recipe.arms), samples)
    compared = compare(points, samples)
    write_table(table, rows)
    write_table(summary, points)
    write_table(differences, compared)
    write_table(pooled, pool_evaluations(points, samples, recipe.pools))
    write_table(gaps, _as_arms(_concat(optimism, [*GAP_KEY]), recipe.arms))
    progress(f"{len(rows)} scores, {len(points)} points of curves, {len(compared)} comparisons")


def _as_arms(frame: pd.DataFrame, arms: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Encoders that differ in their seed under one name, told apart by `init`: `trained-0`, `random-0-1`."""
    place = {member: (arm, f"-{k}") for arm, members in arms.items() for k, member in enumerate(members)}
    inits = zip(frame["encoder"], frame["init"], strict=True)
    named = [(*place.get(encoder, (encoder, "")), init) for encoder, init in inits]
    columns = {"encoder": [arm for arm, _, _ in named], "init": [init + seed for _, seed, init in named]}
    return frame.assign(**pd.DataFrame(columns, index=frame.index, dtype=str))


def _concat(paths: Sequence[Path], key: list[str]) -> pd.DataFrame:
    frames = [read_table(path) for path in paths]
    merged: pd.DataFrame = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)
    if merged.duplicated(key).any():
        first = merged[merged.duplicated(key)].iloc[0]
        named = ", ".join(f"{name}={first[name]}" for name in key)
        raise TerraprobeError(f"{', '.join(map(str, paths))}: scored twice: {named}. Give each file once.")
    return merged.sort_values(key, ignore_index=True)
