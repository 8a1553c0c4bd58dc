"""Stage `reconstruct-chips`: how well an autoencoder gives test chips back, chip by chip, and what its z knows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from terraprobe.artifacts import write_arrays, write_table
from terraprobe.collections.chiptable import drawn_first
from terraprobe.encoders import Encoder, with_twins
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.methods import load_method
from terraprobe.models.ssim import ssim_map
from terraprobe.probes.inits import MEAN
from terraprobe.probes.svm import svm_calls
from terraprobe.stage import In, Ins, Out, Recipe, progress

BATCH = 256
"""Chips a forward pass."""


class ReconstructRecipe(Recipe):
    """What is reconstructed.

    Attributes:
        collection: whose chips.
        label: chip-level classes, one a chip, that a support vector machine learns from z; empty: none does.
        classes: of the label.
        random_inits: how many untrained twins stand beside the encoder; those of its embeddings.
        shown: test chips whose reconstruction is kept.
        seed: of the choice of these.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    collection: str
    label: str = ""
    classes: tuple[str, ...] = ()
    random_inits: int = 3
    shown: int = 4
    seed: int = 0
    cpu_threads: int = 1


def reconstruct_chips(
    *, chips: In, stores: Ins, context: Ins, card: In, weights: In, embeddings: In, labels: Ins,
    recipe: ReconstructRecipe, errors: Out, images: Out,
) -> None:  # fmt: skip
    """Give the test chips back by a trained autoencoder, by its untrained twins and by the mean train chip.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modality that the encoder sees.
        context: its `context.parquet` where the encoder takes context; nothing elsewhere.
        card: `card.json` of the autoencoder, beside its weights.
        weights: `encoder.safetensors` of it.
        embeddings: z of the collection's chips, of the encoder and its twins.
        labels: `labels.parquet` where the recipe names a label, of which train chips alone are read; nothing elsewhere.
        recipe: which collection, how many twins and chips to show.
        errors: Parquet, a row for each test chip that the encoder can see and `init` (`trained`, `random-0` …,
            `mean`): `l1`, the mean absolute difference of reflectance over bands and pixels, and `ssim`, as in the
            loss; `called`, the class that the support vector machine calls, null where there is none.
        images: NumPy archive of the trained encoder: `chip_ids` (n,), `bands`, and `images`, reflectance in [0, 1],
            (n, bands, y, x).

    Raises:
        TerraprobeError: the encoder is no autoencoder or cannot see a train and a test chip, or labels do not suffice.
    """
    torch.set_num_threads(recipe.cpu_threads)
    encoder = Encoder.load(card.parent)
    if weights.parent != card.parent or not load_method(encoder.card["method"]).autoencoder:
        raise TerraprobeError(f"{card}: no card of an autoencoder beside {weights}. Give those of one.")
    seen = _Seen(Land.open(recipe.collection, chips, stores, context), encoder)
    family = with_twins(encoder, recipe.random_inits)
    frame = _errors(seen, family)
    if recipe.label:
        calls = svm_calls(embeddings, chips, labels[0], recipe.label, recipe.classes)
        frame = frame.merge(calls, on=["chip_id", "init"], how="left")
    else:
        frame["called"] = None
    write_table(errors, frame, {"encoder": encoder.name, "encoder_sha256": encoder.digest})
    _write_images(images, seen, recipe)
    means = frame.groupby("init", sort=False)[["l1", "ssim"]].mean()
    told = "; ".join(f"{init}: L1 {row.l1:.4f}, SSIM {row.ssim:.4f}" for init, row in means.iterrows())
    progress(f"reconstruct {recipe.collection} with {encoder.name}: {told}")


class _Seen:
    """The train and test chips that an encoder can see."""

    def __init__(self, land: Land, encoder: Encoder) -> None:
        ((self.tower, usable),) = land.usable(encoder).items()
        self.encoder, self.store = encoder, land.stores[encoder.inputs[self.tower].modality]
        self.context = land.entering(encoder.inputs[self.tower])
        self.ids, split = land.table["chip_id"].to_numpy(str), land.table["split"].to_numpy(str)
        self.rows = {part: np.flatnonzero(usable[:, 0] & (split == part)) for part in ("train", "test")}
        empty = [part for part, rows in self.rows.items() if not len(rows)]
        if empty:
            raise TerraprobeError(
                f"encoder {encoder.name}: can see no {empty[0]} chip of {land.name}. Look at its split and its stores."
            )

    def inputs(self, rows: NDArray[np.intp]) -> tuple[Tensor, ...]:
        """What the tower takes, images first."""
        return self.encoder.prepare(self.tower, self.store, rows, np.zeros_like(rows), self.context)

    def batches(self, part: str) -> Iterator[tuple[Tensor, ...]]:
        """The same for all chips of a split, in order."""
        rows = self.rows[part]
        return (self.inputs(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH))


def _errors(seen: _Seen, family: dict[str, Encoder]) -> pd.DataFrame:
    mean = _mean_chip(seen)
    found: dict[str, list[NDArray[np.float32]]] = {init: [] for init in (*family, MEAN)}
    for inputs in seen.batches("test"):
        again = {init: encoder.reconstruct(seen.tower, inputs) for init, encoder in family.items()}
        for init, images in {**again, MEAN: mean.expand_as(inputs[0])}.items():
            found[init].append(chip_errors(images, inputs[0]).cpu().numpy())
    ids = seen.ids[seen.rows["test"]]
    parts = []
    for init, errors in found.items():
        l1, ssim = np.concatenate(errors, axis=1).astype(np.float64)
        parts.append(pd.DataFrame({"chip_id": ids, "init": init, "l1": l1, "ssim": ssim}))
    return pd.concat(parts, ignore_index=True)


def chip_errors(again: Tensor, images: Tensor) -> Tensor:
    """L1 and SSIM of each chip.

    Args:
        again: (B, bands, y, x), within [0, 1].
        images: the same shape.

    Returns:
        (2, B).
    """
    return torch.stack([(again - images).abs().mean(dim=(1, 2, 3)), ssim_map(again, images).mean(dim=(1, 2, 3))])


def _mean_chip(seen: _Seen) -> Tensor:
    """Mean over the train chips, (1, bands, y, x)."""
    sums = torch.stack([inputs[0].double().sum(dim=0) for inputs in seen.batches("train")])
    return (sums.sum(dim=0, keepdim=True) / len(seen.rows["train"])).float()


def _write_images(path: Path, seen: _Seen, recipe: ReconstructRecipe) -> None:
    test = seen.rows["test"]
    rows = test[drawn_first(seen.ids[test], recipe.seed)[: recipe.shown]]
    images = seen.encoder.reconstruct(seen.tower, seen.inputs(rows)).cpu().numpy()
    bands = np.array(seen.encoder.inputs[seen.tower].bands)
    write_arrays(path, {"chip_ids": seen.ids[rows], "bands": bands, "images": images})
