"""Stage `attribute-bands`: where in a band frozen encoders and their MLPs see a class (full gradients)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from terraprobe.artifacts import read_arrays, read_json, write_arrays
from terraprobe.classlists import one_hot
from terraprobe.collections.chiptable import drawn_first, read_classes
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.models.fullgrad import full_grad
from terraprobe.probes.inits import TRAINED
from terraprobe.probes.mlp import Heads
from terraprobe.probes.views import EncoderViews, View, views_drawn
from terraprobe.stage import In, Ins, Out, Recipe, progress

DRAWN = 2
"""Classes that are drawn where none is named."""


class BandAttributionRecipe(Recipe):
    """What is drawn.

    Attributes:
        evaluation: its name.
        collection: whose chips.
        label: chip-level classes, which the MLPs learnt.
        views: that are drawn; the first multispectral and the first radar one where none is named.
        drawn: classes; the `DRAWN` of the most test chips where none is named.
        shown: test chips of each.
        seed: of their choice.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    evaluation: str
    collection: str
    label: str
    views: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    shown: int = 3
    seed: int = 0
    cpu_threads: int = 1


def attribute_bands(
    *, chips: In, stores: Ins, context: Ins, cards: Ins, weights: Ins, heads: Ins, selections: Ins, labels: In,
    recipe: BandAttributionRecipe, maps: Out,
) -> None:  # fmt: skip
    """Draw a few test chips of some classes and say where each encoder sees the class; nothing is chosen by it.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modalities that the encoders see.
        context: its `context.parquet` where an encoder takes context; nothing elsewhere.
        cards: `card.json` of each encoder, whose network is of convolutions, batch norms and ReLUs alone.
        weights: `encoder.safetensors` of each, in the order of `cards`.
        heads: of `fit_mlp`, of each, in that order. The scores of all draws are averaged.
        selections: of `fit_mlp`, likewise.
        labels: `labels.parquet`, from which come the classes of the test chips.
        recipe: which views and classes, how many chips.
        maps: NumPy archive: `chip_ids` and `classes` (n,), a row for each chip of each class, which every encoder can
            see in each of these views that it has; `encoders`, `views` and `modalities` (p,), a row for each of these
            pairs; and `maps` (p, n, y, x): what the view's pixels and the batch norms behind it weigh for the class,
            the highest of a chip 1.

    Raises:
        TerraprobeError: files are not of the same encoders, or no encoder has a view or learnt a class that is named.
    """
    torch.set_num_threads(recipe.cpu_threads)
    if len({len(files) for files in (cards, weights, heads, selections)}) != 1:
        raise TerraprobeError(
            f"attribute-bands: {len(cards)} cards, {len(weights)} weights, {len(heads)} heads and {len(selections)} "
            "selections; give one of each for every encoder."
        )
    land = Land.open(recipe.collection, chips, stores, context)
    judges = [_Judge(land, *files) for files in zip(cards, heads, selections, strict=True)]
    views = views_drawn([judge.source.views for judge in judges], recipe.views, recipe.evaluation)
    pairs = [(judge, own) for view in views for judge in judges if (own := judge.source.own(view)) is not None]
    rows, names = _chosen(land, labels, recipe, pairs)
    found = {
        "chip_ids": land.table["chip_id"].to_numpy(str)[rows],
        "classes": names,
        "encoders": np.array([judge.source.name for judge, _ in pairs]),
        "views": np.array([view.name for _, view in pairs]),
        "modalities": np.array([view.modality for _, view in pairs]),
        "maps": np.stack([judge.maps(view, rows, names) for judge, view in pairs]),
    }
    write_arrays(maps, found)
    progress(f"{recipe.evaluation}: full gradients of {len(rows)} test chips by {len(judges)} encoders")


def _chosen(
    land: Land, labels: Path, recipe: BandAttributionRecipe, pairs: "list[tuple[_Judge, View]]"
) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Test chips that are drawn, and the class of each."""
    classes = [name for name in pairs[0][0].classes if all(name in judge.classes for judge, _ in pairs)]
    absent = [name for name in recipe.drawn if name not in classes]
    if absent:
        raise TerraprobeError(
            f"{recipe.evaluation}: cam_classes names {absent[0]}, but learnt are {', '.join(classes)}."
        )
    ids, split = land.table["chip_id"].to_numpy(str), land.table["split"].to_numpy(str)
    test = np.flatnonzero(split == "test")
    test = test[drawn_first(ids[test], recipe.seed)]
    held = one_hot(read_classes(labels, recipe.label, ids[test]), classes)
    seen = np.logical_and.reduce([judge.source.usable(view) for judge, view in pairs])[test]
    counts = held.sum(axis=0)
    most = [classes[k] for k in np.argsort(-counts, kind="stable")[:DRAWN] if counts[k]]
    parts = {name: test[held[:, classes.index(name)] & seen][: recipe.shown] for name in recipe.drawn or most}
    rows = np.concatenate([np.empty(0, np.intp), *parts.values()])
    return rows, np.array([name for name, part in parts.items() for _ in part], np.str_)


class _Judge:
    """An encoder with the MLPs that learnt from it."""

    def __init__(self, land: Land, card: Path, heads: Path, selection: Path) -> None:
        self._land, self._encoder = land, Encoder.load(card.parent)
        self.source = EncoderViews(land, self._encoder, 0)
        content = read_json(selection)
        if content["encoder_sha256"] != self.source.digest:
            raise TerraprobeError(f"{selection}: not made with these weights of {self.source.name}. Run fit_mlp again.")
        self.classes: list[str] = content["classes"]
        self._choices, self._heads = content["choices"], read_arrays(heads)

    def maps(self, own: View, rows: NDArray[np.intp], names: NDArray[np.str_]) -> NDArray[np.float32]:
        """Where in a view of its own it sees the class of each chip, (n, y, x)."""
        taken = self._encoder.inputs[own.tower]
        store = self._land.stores[own.modality]
        if not len(rows):
            return np.empty((0, store.chip_px, store.chip_px), np.float32)
        samples = np.full(len(rows), (own.samples or (0,))[0], np.intp)
        images, *_ = self._encoder.prepare(own.tower, store, rows, samples, self._land.entering(taken))
        w1, b1, w2, b2 = (torch.from_numpy(part).to(images.device) for part in self._head(own))
        wanted = torch.tensor([self.classes.index(name) for name in names], device=images.device)

        def score(features: Tensor) -> Tensor:
            hidden = (torch.matmul(features, w1) + b1[:, None]).relu()
            return torch.baddbmm(b2[:, None], hidden, w2).mean(dim=0).gather(1, wanted[:, None])[:, 0]

        found: NDArray[np.float32] = full_grad(self._encoder.module(own.tower), score, images).cpu().numpy()
        return found

    def _head(self, view: View) -> tuple[NDArray[Any], ...]:
        """The MLPs of the largest size, all draws."""
        trained = [k for k, c in enumerate(self._choices) if self._of(c, view)]
        largest = max(trained, key=lambda k: self._choices[k]["n_train"])
        head = Heads(*(self._heads[f"{largest}.{part}"] for part in ("w1", "b1", "w2", "b2")))
        return head.w1, head.b1, head.w2, head.b2

    @staticmethod
    def _of(choice: dict[str, Any], view: View) -> bool:
        return (choice["modality"], choice["view"], choice["init"]) == (view.modality, view.name, TRAINED)
