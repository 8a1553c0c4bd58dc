"""Stage `pool-mlp`: arms that were probed in several worlds or areas, compared as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.class_pools import equal_within, over_evaluations
from terraprobe.probes.mlp_lines import PLACE, compare_lines, stacked
from terraprobe.stage import Ins, Out, Recipe, progress

_PAIR = ("arm", "init", "rival", "rival_init", *PLACE)


class MlpPoolRecipe(Recipe):
    """What is compared.

    Attributes:
        pool: its name.
        evaluations: their names; each is another collection.
        entries: name of each encoder entry to that of its arm, the same arms in every evaluation.
        margin: see `study.Pool`, in F1.
    """

    pool: str
    evaluations: tuple[str, ...] = Field(min_length=2)
    entries: dict[str, str]
    margin: float | None = None


def pool_mlp(*, samples: Ins, recipe: MlpPoolRecipe, pooled: Out) -> None:
    """Compare arms over all evaluations of a pool, on the views and sizes that all of them have.

    Evaluations are taken as they are: the blocks of each were resampled apart, its seeds and draws anew, and values
    are averaged, every evaluation counting alike.

    Args:
        samples: of `score_mlp`, one of every evaluation.
        recipe: which arms.
        pooled: a row for each pair and place of `mlp_lines.compare_lines`; beside its columns `equal` where a margin
            was given, `n_evaluations`, `n_better` of them with a difference above 0, `spread`, the standard deviation
            of the difference over them, and `n_blocks`.

    Raises:
        TerraprobeError: a file is broken, was resampled another number of times, or shares no view with the others.
    """
    worlds = [_renamed(read_table(path), recipe) for path in samples]
    lines = _mean(worlds, samples)
    compared = compare_lines(lines)
    apart = pd.concat([compare_lines(world) for world in worlds], ignore_index=True)
    table = over_evaluations(compared, apart, list(_PAIR))
    margin = np.nan if recipe.margin is None else recipe.margin
    n_blocks = sum(int(world["n_blocks"].iloc[0]) for world in worlds)
    equal = [equal_within(low, high, recipe.margin) for low, high in zip(table["low90"], table["high90"], strict=True)]
    write_table(pooled, table.assign(pool=recipe.pool, n_evaluations=len(worlds), n_blocks=n_blocks, margin=margin,
                                     equal=equal))  # fmt: skip
    progress(f"{recipe.pool}: {len(table)} differences over {len(worlds)} evaluations, {n_blocks} test blocks")


def _renamed(table: pd.DataFrame, recipe: MlpPoolRecipe) -> pd.DataFrame:
    """Entries of one evaluation under the names of their arms."""
    return table.assign(arm=table["arm"].replace(recipe.entries))


def _mean(worlds: Sequence[pd.DataFrame], paths: Sequence[Path]) -> pd.DataFrame:
    """Means over evaluations of every arm, at the places that all of them have."""
    lengths = [len(world["samples"].iloc[0]) for world in worlds]
    keys = ["arm", "init", *PLACE]
    together = pd.concat(worlds, ignore_index=True).groupby(keys, sort=False)
    rows = [
        {**dict(zip(keys, key, strict=True)), "value": own["value"].mean(), "n_test": own["n_test"].sum(),
         "samples": stacked(own["samples"]).mean(axis=0)}
        for key, own in together
        if len(own) == len(worlds) and len(set(lengths)) == 1
    ]  # fmt: skip
    if not rows:
        told = ", ".join(f"{path.name} ({length} resamples)" for path, length in zip(paths, lengths, strict=True))
        raise TerraprobeError(
            f"pool-mlp: {told} share no arm, view and size, or were not resampled equally often. Give evaluations of "
            "the same arms, sizes and resamples, on collections of the same bands."
        )
    return pd.DataFrame(rows)
