"""Stage `augment-chips`: the first batch of a training as its loss sees it."""

from pathlib import Path

import numpy as np
import torch

from terraprobe.artifacts import write_arrays
from terraprobe.checkpoints import StateFolder
from terraprobe.errors import TerraprobeError
from terraprobe.loop import Trainer
from terraprobe.pool import ChipPool
from terraprobe.stage import Ins, Out, progress
from terraprobe.train import PretrainRecipe, build_method


class AugmentRecipe(PretrainRecipe):
    """Recipe of the training, and how much of its batch is kept.

    Attributes:
        shown: chips.
    """

    shown: int = 6


def augment_chips(*, chips: Ins, stores: Ins, recipe: AugmentRecipe, views: Out) -> None:
    """Keep the views of the first chips of a training's first step, before and after augmentation.

    They are read, drawn and augmented by the code that trains.

    Args:
        chips: `chips.parquet` of each collection, in the recipe's order.
        stores: `spec.json` of every store that a tower reads.
        recipe: of the training.
        views: NumPy archive: `chip_ids` (n,); `bands` (view, n); `plain` and `augmented`, within [0, 1],
            (view, n, channels, y, x).

    Raises:
        TerraprobeError: a store or a table does not fit, or the method augments nothing.
    """
    settings = recipe.full
    torch.set_num_threads(settings.cpu_threads)
    pool = ChipPool(chips, stores)
    method = build_method(recipe, settings, pool)
    if not method.augments:
        raise TerraprobeError(f"augment-chips: {recipe.method} trains on chips as they are. Take its encoder out.")
    taken, batch = Trainer(method, pool, recipe.seed, StateFolder(Path())).batch(0)
    few = slice(recipe.shown)
    seen = method.augmented_views(batch)
    write_arrays(
        views,
        {
            "chip_ids": pool.chip_ids[taken][few].astype(str),
            "bands": np.array([names[few] for names in method.view_bands(batch)]),
            "plain": np.stack([plain[few].float().cpu().numpy() for plain, _ in seen]),
            "augmented": np.stack([after[few].float().cpu().numpy() for _, after in seen]),
        },
    )
    progress(f"augmented {len(taken[few])} chips of {', '.join(recipe.collections)}: {recipe.method}")
