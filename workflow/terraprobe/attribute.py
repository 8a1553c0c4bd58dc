"""Stage `attribute-classes`: where in a chip supervised encoders see a class (Grad-CAM)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from terraprobe.artifacts import write_arrays
from terraprobe.classlists import has_classes, one_hot
from terraprobe.collections.chiptable import drawn_first, read_classes
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.models.gradcam import enlarge
from terraprobe.stage import In, Ins, Out, Recipe, progress

DRAWN = 2
"""Classes that are drawn where none is named, as in the paper (Highway and River)."""


class AttributeRecipe(Recipe):
    """What is drawn.

    Attributes:
        collection: whose chips.
        label: chip-level classes, which the encoders learnt.
        classes: that they tell apart, by code.
        multi_label: whether a chip may have several.
        drawn: which of them are drawn; empty: the `DRAWN` of the most test chips.
        shown: test chips of each.
        seed: of their choice.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    collection: str
    label: str
    classes: tuple[str, ...]
    multi_label: bool = False
    drawn: tuple[str, ...] = ()
    shown: int = 3
    seed: int = 0
    cpu_threads: int = 1


def attribute_classes(
    *, chips: In, stores: Ins, context: Ins, cards: Ins, weights: Ins, labels: In, recipe: AttributeRecipe, maps: Out
) -> None:
    """Draw a few test chips of some classes and say where encoders see the class; nothing is chosen by it.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modalities that the encoders see.
        context: its `context.parquet` where an encoder takes context; what enters is what enters its predictions.
        cards: `card.json` of each encoder, beside its weights.
        weights: `encoder.safetensors` of each encoder, in the order of `cards`.
        labels: `labels.parquet`, from which come the classes of the test chips.
        recipe: which classes, how many chips.
        maps: NumPy archive: `encoders` (m,); `chip_ids` and `classes` (n,), a row for each chip of each class, all of
            which every encoder can see; and `maps` (m, n, y, x): how much the last features that are pooled speak for
            the class, the highest of a chip brought to 1, upsampled bicubically.

    Raises:
        TerraprobeError: an encoder did not learn these classes, or cannot see the collection.
    """
    torch.set_num_threads(recipe.cpu_threads)
    encoders = [_load(card, recipe) for card in cards]
    if [card.parent for card in cards] != [file.parent for file in weights]:
        raise TerraprobeError("attribute-classes: cards and weights are not of the same encoders, in the same order.")
    land = Land.open(recipe.collection, chips, stores, context)
    ids, split = land.table["chip_id"].to_numpy(str), land.table["split"].to_numpy(str)
    test = np.flatnonzero(split == "test")
    test = test[drawn_first(ids[test], recipe.seed)]
    names = read_classes(labels, recipe.label, ids[test])
    known = has_classes(names, recipe.classes, recipe.multi_label)
    held = one_hot(names, recipe.classes) & known[:, None]
    wanted = [recipe.classes.index(name) for name in recipe.drawn] or _most_frequent(held)
    towers = [(encoder, *_tower(land, encoder)) for encoder in encoders]
    seen = np.logical_and.reduce([usable for _, _, usable in towers])
    chosen = [test[held[:, number] & seen[test]][: recipe.shown] for number in wanted]
    rows = np.concatenate([np.empty(0, np.intp), *chosen])
    numbers = np.repeat(np.array(wanted, np.int64), [len(part) for part in chosen])
    found = {
        "encoders": np.array([encoder.name for encoder in encoders]),
        "chip_ids": ids[rows],
        "classes": np.array(recipe.classes)[numbers],
        "maps": np.stack([_maps(land, encoder, tower, rows, numbers) for encoder, tower, _ in towers]),
    }
    write_arrays(maps, found)
    bare = [recipe.classes[number] for number, part in zip(wanted, chosen, strict=True) if not len(part)]
    progress(
        f"attribute {recipe.collection}: {len(rows)} test chips, {len(encoders)} encoders"
        + (f"; no test chip of {', '.join(bare)} that all can see" if bare else "")
    )


def _load(card: Path, recipe: AttributeRecipe) -> Encoder:
    encoder = Encoder.load(card.parent)
    learnt = encoder.card.get("classes", [])
    if learnt != list(recipe.classes):
        raise TerraprobeError(
            f"{card}: classes {', '.join(learnt) or 'none'}, expected {', '.join(recipe.classes)}. Give the cards of "
            "encoders that learnt them."
        )
    return encoder


def _most_frequent(held: NDArray[np.bool_]) -> list[int]:
    """Classes of the most chips, in descending order; of several that tie the one of the lowest code first."""
    counts = held.sum(axis=0)
    return [int(k) for k in np.argsort(-counts, kind="stable")[:DRAWN] if counts[k]]


def _tower(land: Land, encoder: Encoder) -> tuple[str, NDArray[np.bool_]]:
    """The one tower of a supervised encoder, and which chips it can see, (chip,)."""
    ((tower, usable),) = land.usable(encoder).items()
    return tower, usable[:, 0]


def _maps(
    land: Land, encoder: Encoder, tower: str, rows: NDArray[np.intp], classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    wanted = encoder.inputs[tower]
    store = land.stores[wanted.modality]
    if not len(rows):
        return np.empty((0, store.chip_px, store.chip_px), np.float32)
    inputs = encoder.prepare(tower, store, rows, np.zeros_like(rows), land.entering(wanted))
    raw = encoder.grad_cam(tower, inputs, torch.from_numpy(classes).to(encoder.device))
    found: NDArray[np.float32] = enlarge(raw, store.chip_px).cpu().numpy()
    return found
