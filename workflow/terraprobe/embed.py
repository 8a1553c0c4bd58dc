"""Stage `embed-chips`: one collection through every encoder that can read it.

An embedding is a tower's output, averaged over the chip's usable channels where the tower takes one at a time; in paper
mode it is that of one random usable channel. A tower that takes whole chips embeds those whose bands are all usable.
All towers together are their embeddings side by side. A joint encoder embeds those that the collection has at once, in
the chips that have them all.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from terraprobe.artifacts import write_table
from terraprobe.encoders import Encoder, with_twins
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.stage import In, Ins, Outs, Recipe, progress
from terraprobe.towers import CONCAT

BATCH = 128
"""Images a forward pass: larger ones leave a CPU's cache."""

Rows = tuple[NDArray[np.intp], NDArray[np.float32]]
"""Chips (n,) and their embeddings (n, D)."""


class EmbedRecipe(Recipe):
    """How to embed.

    Attributes:
        collection: whose chips.
        channels: `mean` over the usable channels [D], or one `random` usable channel [P], as the paper of clip3 does.
        random_inits: how many untrained twins of each encoder stand beside it.
        seed: of the random channels and the twins.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    collection: str
    channels: Literal["mean", "random"] = "mean"
    random_inits: int = 3
    seed: int = 0
    cpu_threads: int = 1


@dataclass(frozen=True)
class _Tower:
    """Embeddings of one tower.

    Attributes:
        chips: rows of the collection, (n,).
        used: channels that went into each, (n,).
        embeddings: init to (n, D).
    """

    chips: NDArray[np.intp]
    used: NDArray[np.intp]
    embeddings: dict[str, NDArray[np.float32]]


def embed_chips(
    *, chips: In, stores: Ins, context: Ins, cards: Ins, weights: Ins, recipe: EmbedRecipe, embeddings: Outs
) -> None:
    """Embed a collection with each encoder and its untrained twins.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of its modalities.
        context: its `context.parquet` where an encoder takes context; nothing elsewhere.
        cards: `card.json` of each encoder, beside its weights.
        weights: `encoder.safetensors` of each encoder, in the order of `cards`.
        recipe: which channels, how many twins, seed.
        embeddings: one table per encoder, in the order of `cards`.

    Raises:
        TerraprobeError: an encoder can read none of the modalities, was made for other units, bands or sizes, or no
            chip has a channel that it can use.
    """
    torch.set_num_threads(recipe.cpu_threads)
    land = Land.open(recipe.collection, chips, stores, context)
    if [card.parent for card in cards] != [file.parent for file in weights] or len(cards) != len(embeddings):
        counts = f"{len(cards)} cards, {len(weights)} weights and {len(embeddings)} outputs"
        raise TerraprobeError(f"embed-chips: {counts}; one each for every encoder, in the same order.")
    for card, out in zip(cards, embeddings, strict=True):
        encoder = Encoder.load(card.parent)
        usable = _usable_towers(encoder, land, recipe)
        family = with_twins(encoder, recipe.random_inits, recipe.seed)
        frame = _embed_all(family, land, usable)
        write_table(out, frame, _identity(family))
        progress(f"embed {recipe.collection} with {encoder.name}: {len(frame)} embeddings")


def _usable_towers(encoder: Encoder, land: Land, recipe: EmbedRecipe) -> dict[str, NDArray[np.bool_]]:
    """Which (chip, sample) goes through each tower; a tower without any is absent."""
    found = land.usable(encoder)
    if recipe.channels == "mean":
        return found
    ids = land.table["chip_id"].to_numpy()
    return {name: _one_each(usable, ids, name, recipe.seed) for name, usable in found.items()}


def _identity(family: dict[str, Encoder]) -> dict[str, str]:
    """Metadata of a table: who made it."""
    by_init = {init: encoder.digest for init, encoder in family.items()}
    return {
        "encoder": family["trained"].name,
        "encoder_sha256": by_init["trained"],
        "encoder_sha256_by_init": json.dumps(by_init, sort_keys=True),
    }


def _embed_all(family: dict[str, Encoder], land: Land, usable: dict[str, NDArray[np.bool_]]) -> Any:
    """Rows of one encoder: trained and untrained, every tower and all of them together."""
    inputs = family["trained"].inputs
    if family["trained"].joint and len(usable) > 1:
        towers = {CONCAT: _embed_together(family, land, usable)}
    else:
        towers = {name: _embed_tower(family, name, land, pairs) for name, pairs in usable.items()}
    parts = [_rows(land.table, tower, init, name) for init in family for name, tower in towers.items()]
    if len(towers) == len(inputs) > 1:
        parts += [_rows(land.table, _concat(towers), init, CONCAT) for init in family]
    return pd.concat(parts, ignore_index=True)


def _embed_tower(family: dict[str, Encoder], tower: str, land: Land, usable: NDArray[np.bool_]) -> _Tower:
    """Each usable (chip, sample) is read once and goes through the trained encoder and its twins."""
    trained = family["trained"]
    wanted = trained.inputs[tower]
    store = land.stores[wanted.modality]
    pairs, context = np.argwhere(usable), land.entering(wanted)
    sums: dict[str, NDArray[np.float64]] = {}
    for rows in _batches(len(pairs), trained):
        chips, samples = pairs[rows].T
        inputs = trained.prepare(tower, store, chips, samples, context)
        for init, encoder in family.items():
            values = encoder.forward(tower, inputs).cpu().numpy()
            total = sums.setdefault(init, np.zeros((len(usable), values.shape[1])))
            np.add.at(total, chips, values)
    used = usable.sum(axis=1)
    having = np.flatnonzero(used)
    means = {init: (total[having] / used[having, None]).astype(np.float32) for init, total in sums.items()}
    return _Tower(having, used[having] * wanted.sample_bands, means)


def _embed_together(family: dict[str, Encoder], land: Land, usable: dict[str, NDArray[np.bool_]]) -> _Tower:
    """The channels of several towers at once, for the chips that have them all."""
    trained = family["trained"]
    chips = np.flatnonzero(np.concatenate(list(usable.values()), axis=1).all(axis=1))
    if not len(chips):
        raise TerraprobeError(
            f"encoder {trained.name}, collection {land.name}: no chip has all bands of {', '.join(usable)}, which "
            "enter together. Look at the valid shares of the stores, or do not embed the collection with this encoder."
        )
    parts: dict[str, list[NDArray[np.float32]]] = {init: [] for init in family}
    for rows in _batches(len(chips), trained):
        images = trained.joint_images(land.stores, chips[rows], list(usable))
        for init, encoder in family.items():
            parts[init].append(encoder.forward(next(iter(usable)), (images,)).cpu().numpy())
    used = np.full(len(chips), sum(trained.inputs[name].sample_bands for name in usable), np.intp)
    return _Tower(chips, used, {init: np.concatenate(found) for init, found in parts.items()})


def _batches(count: int, encoder: Encoder) -> Iterator[slice]:
    """Rows of a forward pass; a joint encoder looks at each channel as at an image."""
    images = sum(len(tower.bands) for tower in encoder.inputs.values()) if encoder.joint else 1
    size = max(1, BATCH // images)
    for start in range(0, count, size):
        yield slice(start, start + size)


def _one_each(usable: NDArray[np.bool_], ids: NDArray[Any], tower: str, seed: int) -> NDArray[np.bool_]:
    """Keep one random usable channel of each chip, by its id: the order of the chips does not matter."""
    chosen = np.zeros_like(usable)
    for row in np.flatnonzero(usable.any(axis=1)):
        key = hashlib.sha256(f"{seed} {tower} {ids[row]}".encode()).digest()
        candidates = np.flatnonzero(usable[row])
        chosen[row, candidates[int.from_bytes(key[:8], "big") % len(candidates)]] = True
    return chosen


def _concat(towers: dict[str, _Tower]) -> _Tower:
    """All towers side by side, for the chips that have them all."""
    shared = sorted(set.intersection(*(set(tower.chips.tolist()) for tower in towers.values())))
    chips = np.array(shared, dtype=np.intp)
    places = {name: np.searchsorted(tower.chips, chips) for name, tower in towers.items()}
    used = np.sum([towers[name].used[place] for name, place in places.items()], axis=0)
    inits = next(iter(towers.values())).embeddings
    embeddings = {
        init: np.concatenate([towers[name].embeddings[init][place] for name, place in places.items()], axis=1)
        for init in inits
    }
    return _Tower(chips, used, embeddings)


def _rows(table: Any, tower: _Tower, init: str, modality: str) -> Any:
    """Rows of the output table."""
    rows = table.iloc[tower.chips][["chip_id", "geometry", "split"]].copy()
    rows["init"] = init
    rows["modality"] = modality
    rows["channels_used"] = tower.used
    rows["embedding"] = list(tower.embeddings[init])
    return rows
