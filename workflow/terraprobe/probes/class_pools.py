"""Stage `pool-classes`: arms of supervised encoders over several worlds or areas, compared as one."""

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.metrics import hit_share
from terraprobe.probes.classes import MAJORITY
from terraprobe.stage import Ins, Out, Recipe, progress
from terraprobe.statistics import (
    EQUIVALENCE_LEVEL,
    block_weights,
    holm,
    interval,
    mean_over_seeds,
    p_value,
    resample,
    stream_seed,
)

EQUAL = ("", "equal", "not shown")
"""Of a difference: nothing was said beforehand; its 90 % interval lies within the margin; or it does not."""


class ClassPoolRecipe(Recipe):
    """What is compared.

    Attributes:
        pool: its name.
        evaluations: their names; each is another collection.
        arms: their names in study order; the report holds the others against the first.
        entries: name of each encoder entry to that of its arm, the same arms in every evaluation.
        margin: see `study.Pool`.
        resamples: of the test blocks.
        seed: of the resamples.
    """

    pool: str
    evaluations: tuple[str, ...] = Field(min_length=2)
    arms: tuple[str, ...] = Field(min_length=1)
    entries: dict[str, str]
    margin: float | None = None
    resamples: int = Field(2000, ge=100)
    seed: int = 0


def pool_classes(*, blocks: Ins, recipe: ClassPoolRecipe, pooled: Out) -> None:
    """Compare every two arms over all evaluations of a pool.

    Evaluations are taken as they are: the blocks of each are resampled apart, its seeds anew, and the differences
    averaged, every evaluation counting alike.

    Args:
        blocks: of `score_classes`, one of every evaluation.
        recipe: which arms.
        pooled: one row for every two arms, the later minus the earlier, or minus the majority class: `value,
            rival_value, difference, low, high, p`; `low90, high90` and, where a margin was given, `equal`; `p_holm`
            over all rows; `n_evaluations`, `n_better` of them with a difference above 0, `spread`, the standard
            deviation of the difference over them, and `n_blocks, n_test`.

    Raises:
        TerraprobeError: a file is broken, or lacks an arm.
    """
    tables = [read_table(path) for path in blocks]
    arms = [*recipe.arms, MAJORITY]
    found = [_arms(table, recipe) for table in tables]
    for path, world in zip(blocks, found, strict=True):
        lacking = [arm for arm in arms if arm not in world]
        if lacking:
            raise TerraprobeError(
                f"pool-classes: no counts of the arm {lacking[0]} in {path}, which holds {', '.join(world)}. Give the "
                "counts of evaluations that compare all arms of the recipe."
            )
    n_blocks = sum(table["block"].nunique() for table in tables)
    n_test = sum(int(table.drop_duplicates("block")["n_test"].sum()) for table in tables)
    rows = []
    for a, b in ((a, b) if b == MAJORITY else (b, a) for a, b in combinations(arms, 2)):
        values = np.array([[world[arm][0] for arm in (a, b)] for world in found])
        gap = np.mean([world[a][1] - world[b][1] for world in found], axis=0)
        each = values[:, 0] - values[:, 1]
        low90, high90 = interval(gap, EQUIVALENCE_LEVEL)
        low, high = interval(gap)
        rows.append(
            {
                "pool": recipe.pool, "arm": a, "rival": b, "value": values[:, 0].mean(),
                "rival_value": values[:, 1].mean(), "difference": each.mean(), "low": low, "high": high,
                "low90": low90, "high90": high90, "equal": equal_within(low90, high90, recipe.margin),
                "p": p_value(gap),
                "n_evaluations": len(found), "n_better": int((each > 0).sum()), "spread": each.std(ddof=1),
                "n_blocks": n_blocks, "n_test": n_test, "margin": np.nan if recipe.margin is None else recipe.margin,
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    write_table(pooled, table.assign(p_holm=holm(table["p"].to_numpy(np.float64))))
    progress(f"{recipe.pool}: {len(arms)} arms over {len(found)} evaluations, {n_blocks} test blocks")


def _arms(table: pd.DataFrame, recipe: ClassPoolRecipe) -> dict[str, tuple[float, NDArray[np.float64]]]:
    """Mean test accuracy over seeds of each arm of one evaluation, as it is and in every resample."""
    stream = stream_seed(recipe.seed, str(table["collection"].iloc[0]))
    weights = block_weights(table["block"].nunique(), recipe.resamples, stream)
    names, found = {**recipe.entries, MAJORITY: MAJORITY}, {}
    for entry, own in table[table["arm"].isin(list(names))].groupby("arm", sort=False):
        members = own.groupby("encoder", sort=False)
        counts = np.stack([m[["right", "n_test"]].to_numpy(np.float64) for _, m in members])
        samples = mean_over_seeds(resample(hit_share, counts, weights)[:, :, None], stream)
        found[names[str(entry)]] = (float(hit_share(counts.sum(axis=1)).mean()), samples)
    return found


def over_evaluations(compared: pd.DataFrame, apart: pd.DataFrame, pair: list[str]) -> pd.DataFrame:
    """Differences of a pool with what its evaluations say of each.

    Args:
        compared: a row for each pair.
        apart: rows of the same pairs in every single evaluation.
        pair: columns that name one.

    Returns:
        `compared` with `spread`, the standard deviation of a difference over evaluations, and `n_better`, how many of
        these have it above 0.
    """
    gaps = apart.groupby(pair)["difference"]
    each = pd.DataFrame({"spread": gaps.std(ddof=1), "n_better": gaps.agg(lambda gap: int((gap > 0).sum()))})
    return compared.merge(each.reset_index(), on=pair, how="left")


def equal_within(low90: float, high90: float, margin: float | None) -> str:
    """What a 90 % interval says of two arms, one of `EQUAL`."""
    if margin is None:
        return EQUAL[0]
    return EQUAL[1] if -margin < low90 and high90 < margin else EQUAL[2]
