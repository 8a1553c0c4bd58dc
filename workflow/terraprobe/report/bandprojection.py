"""Stage `project-bands`: where chips lie in what encoders say of a single band, in two dimensions.

Test chips are left out, as of every t-SNE picture.
"""

import json

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from terraprobe.artifacts import write_table
from terraprobe.encoders import Encoder
from terraprobe.land import Land
from terraprobe.probes.inits import TRAINED
from terraprobe.probes.views import EncoderViews, View, views_drawn
from terraprobe.report.projection import ProjectionRecipe, draw_chips, refusal, tsne
from terraprobe.stage import In, Ins, Out, progress

_COLUMNS = ["encoder", "modality", "view", "chip_id", "x", "y"]


class BandProjectionRecipe(ProjectionRecipe):
    """What is projected.

    Attributes:
        evaluation: its name.
        collection: whose chips.
        views: that are drawn; the first multispectral and the first radar one where none is named.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    evaluation: str
    collection: str
    views: tuple[str, ...] = ()
    cpu_threads: int = 1


def project_bands(
    *, chips: In, stores: Ins, context: Ins, cards: Ins, weights: Ins, recipe: BandProjectionRecipe, projections: Out
) -> None:
    """Project what each encoder says of single views to two dimensions; no label is read.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modalities that the encoders see.
        context: its `context.parquet` where an encoder takes context; nothing elsewhere.
        cards: `card.json` of each encoder, beside its weights.
        weights: `encoder.safetensors` of each.
        recipe: which views, how many chips.
        projections: Parquet with columns encoder, modality, view, chip_id, x, y (no unit): the same train and
            validation chips for every encoder that has a view. What could not be projected stands in the file's
            metadata under `skipped`.

    Raises:
        TerraprobeError: an encoder cannot see the collection, or none has a view that is named.
    """
    torch.set_num_threads(recipe.cpu_threads)
    land = Land.open(recipe.collection, chips, stores, context)
    encoders = [EncoderViews(land, Encoder.load(card.parent), 0) for card in cards]
    views = views_drawn([encoder.views for encoder in encoders], recipe.views, recipe.evaluation)
    ids = land.table["chip_id"].to_numpy(str)
    parts, skipped = [pd.DataFrame(columns=_COLUMNS)], []
    for view in views:
        seeing = {encoder: own for encoder in encoders if (own := encoder.own(view)) is not None}
        rows = _drawn(land, seeing, recipe)
        for encoder, own in seeing.items():
            where = {"encoder": encoder.name, "modality": view.modality, "view": view.name}
            vectors = encoder.features(own, rows)[TRAINED] if len(rows) else np.empty((0, 1), np.float32)
            reason = refusal(vectors)
            if reason:
                skipped.append({**where, "points": len(rows), "reason": reason})
                continue
            points = tsne(vectors, recipe)
            parts.append(pd.DataFrame({**where, "chip_id": ids[rows], "x": points[:, 0], "y": points[:, 1]}))
    table = pd.concat(parts, ignore_index=True)[_COLUMNS].astype({"x": np.float32, "y": np.float32})
    write_table(projections, table, {"skipped": json.dumps(skipped, sort_keys=True)})
    progress(f"{recipe.evaluation}: {len(parts) - 1} t-SNE of single bands; skipped {len(skipped)}")


def _drawn(land: Land, seeing: dict[EncoderViews, View], recipe: BandProjectionRecipe) -> NDArray[np.intp]:
    """Chips outside the test split that all encoders with a view can see in it, in the order of their ids."""
    ids, split = land.table["chip_id"].to_numpy(str), land.table["split"].to_numpy(str)
    seen = np.logical_and.reduce([encoder.usable(own) for encoder, own in seeing.items()])
    rows = np.flatnonzero(seen & np.isin(split, ("train", "val")))
    rows = rows[np.isin(ids[rows], draw_chips(ids[rows], recipe.max_points, np.random.default_rng(recipe.seed)))]
    return np.asarray(rows[np.argsort(ids[rows], kind="stable")])
