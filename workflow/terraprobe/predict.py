"""Stage `predict-classes`: the class that a supervised encoder calls each chip of a collection. Reads no label."""

import numpy as np
import pandas as pd
import torch

from terraprobe.artifacts import write_table
from terraprobe.classlists import as_text
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.stage import In, Ins, Out, Recipe, progress

HALF = 0.5

BATCH = 256
"""Chips a forward pass."""


class PredictRecipe(Recipe):
    """How to predict.

    Attributes:
        collection: whose chips.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    collection: str
    cpu_threads: int = 1


def predict_classes(
    *, chips: In, stores: Ins, context: Ins, card: In, weights: In, recipe: PredictRecipe, predictions: Out
) -> None:
    """Call the class of every chip that the frozen encoder can see.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modality that the encoder sees.
        context: its `context.parquet` where the encoder takes context; nothing elsewhere.
        card: `card.json` of the encoder, beside its weights.
        weights: `encoder.safetensors` of the encoder.
        recipe: which collection.
        predictions: Parquet, a row for each chip that the encoder can see, in the order of `chips`: `chip_id`,
            `predicted`, a name of the card's classes, or those of them above one half with a space between where a chip
            may have several, and `probability`, the highest of a class.

    Raises:
        TerraprobeError: the encoder learnt no classes, or cannot see the collection.
    """
    torch.set_num_threads(recipe.cpu_threads)
    encoder = Encoder.load(card.parent)
    if weights.parent != card.parent or "classes" not in encoder.card:
        raise TerraprobeError(f"{card}: no card of an encoder that learnt classes beside {weights}. Give those of one.")
    land = Land.open(recipe.collection, chips, stores, context)
    ((tower, usable),) = land.usable(encoder).items()
    store, entering = land.stores[encoder.inputs[tower].modality], land.entering(encoder.inputs[tower])
    rows = np.flatnonzero(usable[:, 0])
    parts = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        inputs = encoder.prepare(tower, store, batch, np.zeros_like(batch), entering)
        parts.append(encoder.classify(tower, inputs).cpu().numpy())
    shares, classes = np.concatenate(parts), encoder.card["classes"]
    best = shares.argmax(axis=1)[:, None] == np.arange(len(classes))
    held = shares > HALF if encoder.card["recipe"]["multi_label"] else best
    frame = pd.DataFrame(
        {
            "chip_id": land.table["chip_id"].to_numpy()[rows],
            "predicted": as_text(held, classes),
            "probability": shares.max(axis=1),
        }
    )
    write_table(predictions, frame, {"encoder": encoder.name, "encoder_sha256": encoder.digest})
    progress(f"predict {recipe.collection} with {encoder.name}: {len(frame)} of {len(land.table)} chips")
