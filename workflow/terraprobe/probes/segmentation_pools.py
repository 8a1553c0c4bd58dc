"""Stage `pool-segmentation`: arms whose features were probed pixel by pixel in several worlds or areas, as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.class_pools import equal_within, over_evaluations
from terraprobe.probes.segmentation_lines import Arm, Line, compare_lines
from terraprobe.stage import Ins, Out, Recipe, progress

_ARM = list(Arm.__dataclass_fields__)
_PAIR = [*_ARM, "rival", "rival_init", "rival_tower", "rival_band", "metric"]


class SegmentationPoolRecipe(Recipe):
    """What is compared.

    Attributes:
        pool: its name.
        evaluations: their names; each is another collection.
        entries: name of each encoder entry to that of its arm, the same arms in every evaluation.
        margin: see `study.Pool`, in each of the scores.
    """

    pool: str
    evaluations: tuple[str, ...] = Field(min_length=2)
    entries: dict[str, str]
    margin: float | None = None


def pool_segmentation(*, samples: Ins, recipe: SegmentationPoolRecipe, pooled: Out) -> None:
    """Compare arms over all evaluations of a pool, on what all of them have: tower, size and stratum.

    Evaluations are taken as they are: the blocks of each were resampled apart, its seeds and draws anew, and values
    are averaged, every evaluation counting alike.

    Args:
        samples: of `score_segmentation`, one of every evaluation.
        recipe: which arms.
        pooled: a row for each pair and metric of `segmentation_lines.compare_lines`; beside its columns `equal` where a
            margin was given, `n_evaluations`, `n_better` of them with a difference above 0, `spread`, the standard
            deviation of the difference over them, `n_train`, `n_test` and `n_blocks`.

    Raises:
        TerraprobeError: a file is broken, was resampled another number of times, or shares no arm with the others.
    """
    tables = [read_table(path) for path in samples]
    tables = [table.assign(arm=table["arm"].replace(recipe.entries)) for table in tables]
    worlds = [_lines(table) for table in tables]
    compared = compare_lines(_mean(worlds, samples))
    apart = pd.concat([compare_lines(world) for world in worlds], ignore_index=True)
    learnt = pd.concat(tables).groupby(_ARM)["n_train"].max().reset_index()
    table = over_evaluations(compared, apart, _PAIR).merge(learnt, on=_ARM, how="left")
    counted = {key: sum(int(own[key].iloc[0]) for own in tables) for key in ("n_test", "n_blocks")}
    equal = [equal_within(low, high, recipe.margin) for low, high in zip(table["low90"], table["high90"], strict=True)]
    margin = np.nan if recipe.margin is None else recipe.margin
    whole = table.assign(pool=recipe.pool, n_evaluations=len(worlds), **counted, margin=margin, equal=equal)
    write_table(pooled, whole)
    progress(f"{recipe.pool}: {len(whole)} differences over {len(worlds)} evaluations, {counted['n_blocks']} blocks")


def _lines(table: pd.DataFrame) -> dict[Arm, Line]:
    """Arms of one evaluation."""
    found = {}
    for key, own in table.groupby(_ARM, sort=False):
        arm = Arm(**cast("dict[str, Any]", dict(zip(_ARM, cast("tuple[Any, ...]", key), strict=True))))
        metrics = own["metric"].tolist()
        samples = {metric: np.asarray(drawn, np.float64) for metric, drawn in zip(metrics, own["samples"], strict=True)}
        found[arm] = Line(dict(zip(metrics, own["value"], strict=True)), samples)
    return found


def _mean(worlds: Sequence[dict[Arm, Line]], paths: Sequence[Path]) -> dict[Arm, Line]:
    """Means over evaluations of every arm that all of them have."""
    lengths = [len(next(iter(next(iter(world.values())).samples.values()))) for world in worlds]
    shared = [arm for arm in worlds[0] if all(arm in world for world in worlds)]
    if not shared or len(set(lengths)) > 1:
        told = ", ".join(f"{path.name} ({length} resamples)" for path, length in zip(paths, lengths, strict=True))
        raise TerraprobeError(
            f"pool-segmentation: {told} share no arm, tower and size, or were not resampled equally often. Give "
            "evaluations of the same arms, towers, sizes and resamples, on collections of the same bands."
        )
    return {
        arm: Line(
            {m: float(np.mean([world[arm].value[m] for world in worlds])) for m in worlds[0][arm].value},
            {m: np.mean([world[arm].samples[m] for world in worlds], axis=0) for m in worlds[0][arm].samples},
        )
        for arm in shared
    }
