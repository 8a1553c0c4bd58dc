"""Stages `fit-mlp` and `call-mlp`: an MLP for every view of a chip, learnt without and then shown the test chips."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_arrays, read_json, write_arrays, write_json
from terraprobe.classlists import class_numbers
from terraprobe.collections.chiptable import drawn_first, read_classes
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.health import measure_health
from terraprobe.land import Land
from terraprobe.metrics import class_counts, macro_f1
from terraprobe.probes.episodes import FULL, draw_uniform, episode_order, forest_seed
from terraprobe.probes.mlp import Heads, train_heads
from terraprobe.probes.views import EncoderViews, Source, StatisticViews, View
from terraprobe.stage import In, Ins, Out, Recipe, progress

TOGETHER = 1 << 28
"""Bytes of features that are trained on side by side: more views at a time cost memory, fewer cost time."""

RANK_CHIPS = 1000
"""[D] Drawn train chips that the effective rank is measured on, at most."""


class MlpRecipe(Recipe):
    """Parameters of a probe by MLPs.

    Attributes:
        evaluation: its name.
        collection: whose chips.
        label: chip-level classes, one a chip.
        classes: of the label, by code. Those without a train chip cannot be learnt: their chips are left out.
        sizes: numbers of labelled train chips; 0 is all of them.
        repeats: draws of each size, each with first weights and an order of its own.
        epochs: passes over the drawn chips; 100 in the paper [P].
        batch_size: chips a step [D].
        lrs: learning rates that validation chooses from [D].
        random_inits: how many untrained twins stand beside an encoder.
        seed: of draws, first weights and order; the same for every encoder and view.
        cpu_threads: on a CPU; another number gives other bytes.
    """

    evaluation: str
    collection: str
    label: str
    classes: tuple[str, ...]
    sizes: tuple[int, ...] = Field((FULL,), min_length=1)
    repeats: int = Field(3, ge=1)
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(64, ge=2)
    lrs: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-3, 1e-2), min_length=1)
    random_inits: int = 3
    seed: int = Field(0, ge=0)
    cpu_threads: int = 1


def fit_mlp(
    *, chips: In, stores: Ins, context: Ins, cards: Ins, weights: Ins, floors: Ins, labels: In, recipe: MlpRecipe,
    heads: Out, selection: Out,
) -> None:  # fmt: skip
    """Train an MLP on train chips for every view, init, size and draw; validation chooses the learning rate.

    No test chip is read, neither its pixels nor its label.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modalities that are seen.
        context: its `context.parquet` where the encoder takes context; nothing elsewhere.
        cards: `card.json` of the encoder; with `floors`, of every encoder that is compared.
        weights: `encoder.safetensors` of the encoder; nothing with `floors`.
        floors: of `measure_floors`, whose image statistics are learnt from instead; nothing for an encoder.
        labels: `labels.parquet`.
        recipe: the evaluation.
        heads: NumPy archive: of choice k the arrays `<k>.w1, <k>.b1, <k>.w2, <k>.b2` of `mlp.Heads`, a member a draw.
        selection: JSON: `recipe`; `classes`, those that a train chip has; `majority`, the most frequent of them;
            `choices`: a view, init and size each, with the learning rate that has the highest macro F1 on validation
            chips (mean over draws; the smaller of two that are equal), `grid`, `n_train`, `n_val` and the
            `effective_rank` of the features.

    Raises:
        TerraprobeError: the encoder cannot see the collection, or its labels do not suffice.
    """
    torch.set_num_threads(recipe.cpu_threads)
    land = Land.open(recipe.collection, chips, stores, context)
    lesson = _Lesson(land, labels, recipe)
    source = _source(land, cards, weights, floors, recipe)
    choices: list[dict[str, Any]] = []
    archive: dict[str, NDArray[Any]] = {}
    for group in _together(_samples(source, lesson)):
        for chosen, learnt in _learn(group, lesson):
            for part in ("w1", "b1", "w2", "b2"):
                archive[f"{len(choices)}.{part}"] = getattr(learnt, part)
            choices.append(chosen)
    if not choices:
        raise TerraprobeError(
            f"fit-mlp: {source.name} can see no train chip of {recipe.collection} with a known {recipe.label}. Look at "
            "the split, the stores and labels.parquet."
        )
    write_arrays(heads, archive)
    content = {"recipe": recipe.model_dump(mode="json"), "source": source.name, "encoder_sha256": source.digest,
               "classes": list(lesson.classes), "majority": lesson.majority, "choices": choices}  # fmt: skip
    write_json(selection, content)
    progress(f"{recipe.evaluation}: {len(choices)} MLPs of {recipe.repeats} draws learnt from {source.name}")


def _source(land: Land, cards: Ins, weights: Ins, floors: Ins, recipe: MlpRecipe) -> Source:
    if floors:
        return StatisticViews(land, floors[0], cards)
    if [card.parent for card in cards] != [file.parent for file in weights] or len(cards) != 1:
        raise TerraprobeError(f"probe: {len(cards)} cards and {len(weights)} weights; give both of one encoder.")
    return EncoderViews(land, Encoder.load(cards[0].parent), recipe.random_inits)


class _Lesson:
    """What there is to learn: train and validation chips in the order of their ids, and their classes."""

    def __init__(self, land: Land, labels: Any, recipe: MlpRecipe) -> None:
        self.recipe = recipe
        ids, split = land.table["chip_id"].to_numpy(str), land.table["split"].to_numpy(str)
        by_id = np.argsort(ids, kind="stable")
        self.rows = {part: by_id[split[by_id] == part] for part in ("train", "val")}
        named = {part: read_classes(labels, recipe.label, ids[rows]) for part, rows in self.rows.items()}
        counts = {name: int((named["train"] == name).sum()) for name in recipe.classes}
        self.classes = tuple(name for name, count in counts.items() if count)
        if len(self.classes) < 2:
            raise TerraprobeError(
                f"{labels}: train chips of {recipe.collection} have {len(self.classes)} of the classes of "
                f"{recipe.label} ({', '.join(self.classes) or 'none'}); a probe needs two. Look at the labels and at "
                "the split."
            )
        # Of several classes that tie, the first: the lowest code.
        self.majority = max(self.classes, key=counts.__getitem__)
        self.truth = {part: class_numbers(names, self.classes) for part, names in named.items()}
        self.ids = ids

    def drawn(self, available: NDArray[np.bool_], size: int, where: str) -> list[NDArray[np.intp]]:
        """Places of the train chips of each draw of a size, (n,), nested over sizes and the same for every view."""
        recipe, count = self.recipe, int(available.sum())
        if max(size, 2) > count:
            raise TerraprobeError(
                f"{recipe.evaluation}: {count} train chips of {recipe.collection} have a known {recipe.label} and "
                f"{where}; size {size or 'full'} needs {max(size, 2)}. Name smaller sizes or `full`."
            )
        orders = [episode_order(len(available), recipe.seed, draw) for draw in range(recipe.repeats)]
        return [draw_uniform(order, available)[: size or count] for order in orders]


@dataclass(frozen=True)
class _Sample:
    """Features of one view by one init.

    Attributes:
        view: which.
        init: who made them.
        drawn: size to the rows of `train` of each draw.
        train: features of train chips, (n, D), and `y`, their classes.
        val: features of validation chips, and `y_val`, their classes.
        rank: effective rank of the train features.
    """

    view: View
    init: str
    drawn: dict[int, list[NDArray[np.intp]]]
    train: NDArray[np.float32]
    y: NDArray[np.intp]
    val: NDArray[np.float32]
    y_val: NDArray[np.intp]
    rank: float


def _samples(source: Source, lesson: _Lesson) -> Iterator[_Sample]:
    """Every view and init of a source that has labelled chips."""
    recipe = lesson.recipe
    for view in source.views:
        usable = source.usable(view)
        known = {part: usable[rows] & (lesson.truth[part] >= 0) for part, rows in lesson.rows.items()}
        where = f"{view.name} of {view.modality}"
        if not known["train"].any():
            progress(f"{recipe.evaluation}: no labelled train chip has {where}; left out")
            continue
        if len(recipe.lrs) == 1:
            known["val"][:] = False  # there is nothing to choose
        elif not known["val"].any():
            raise TerraprobeError(
                f"{recipe.evaluation}: no val chip of {recipe.collection} has a known {recipe.label} and {where} to "
                "choose a learning rate by. Change the split, or name a single one (lrs)."
            )
        draws = {size: lesson.drawn(known["train"], size, where) for size in recipe.sizes}
        known["train"] = np.isin(
            np.arange(len(known["train"])), np.concatenate([d for own in draws.values() for d in own])
        )
        place = np.cumsum(known["train"]) - 1
        drawn = {size: [place[rows] for rows in own] for size, own in draws.items()}
        chips = {part: lesson.rows[part][known[part]] for part in known}
        few = drawn_first(lesson.ids[chips["train"]], recipe.seed)[:RANK_CHIPS]
        y, y_val = (lesson.truth[part][known[part]] for part in ("train", "val"))
        for init, values in source.features(view, np.concatenate([chips["train"], chips["val"]])).items():
            train, val = values[: len(y)], values[len(y) :]
            rank = measure_health(train[np.sort(few)]).rank
            yield _Sample(view, init, drawn, train, y, val, y_val, rank)


def _together(samples: Iterator[_Sample]) -> Iterator[list[_Sample]]:
    """As many at a time as `TOGETHER` allows, at least one."""
    group: list[_Sample] = []
    for sample in samples:
        if group and sum(s.train.nbytes for s in group) + sample.train.nbytes > TOGETHER:
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def _learn(group: list[_Sample], lesson: _Lesson) -> Iterator[tuple[dict[str, Any], Heads]]:
    """Train all draws of all samples by every learning rate; keep the best one of each sample and size."""
    recipe = lesson.recipe
    alike: defaultdict[tuple[int, int, int], list[_Sample]] = defaultdict(list)
    for sample in group:
        for size, drawn in sample.drawn.items():
            alike[size, len(drawn[0]), sample.train.shape[1]].append(sample)
    for (size, n, _), samples in alike.items():
        x = np.stack([s.train[rows] for s in samples for rows in s.drawn[size]])
        y = np.stack([s.y[rows] for s in samples for rows in s.drawn[size]])
        seeds = [forest_seed(recipe.seed, draw) for _ in samples for draw in range(recipe.repeats)]
        fit = partial(train_heads, x, y, len(lesson.classes), epochs=recipe.epochs, batch_size=recipe.batch_size)
        trained = {lr: fit(seeds=seeds, lr=lr) for lr in sorted(recipe.lrs)}
        for k, sample in enumerate(samples):
            own = range(k * recipe.repeats, (k + 1) * recipe.repeats)
            members = {lr: heads.members(own) for lr, heads in trained.items()}
            grid = {lr: _validate(heads, sample, len(lesson.classes)) for lr, heads in members.items()}
            best = max(grid, key=lambda lr: grid[lr]) if len(grid) > 1 else recipe.lrs[0]
            yield _choice(sample, size, n, best, grid), members[best]


def _validate(heads: Heads, sample: _Sample, n_classes: int) -> float:
    """Macro F1 on validation chips, mean over draws; 0 where there is none."""
    if not len(sample.val):
        return 0.0
    called = heads.probabilities(sample.val).argmax(axis=2)
    whole = np.zeros(len(sample.val), np.intp)
    return float(np.mean([macro_f1(class_counts(sample.y_val, own, whole, 1, n_classes)[0]) for own in called]))


def _choice(sample: _Sample, size: int, n: int, best: float, grid: dict[float, float]) -> dict[str, Any]:
    view = sample.view
    return {
        "tower": view.tower, "modality": view.modality, "view": view.name, "init": sample.init, "n_shots": size,
        "n_train": n, "n_val": len(sample.val), "lr": best, "effective_rank": sample.rank,
        "grid": [{"lr": lr, "f1_macro": value} for lr, value in grid.items()],
    }  # fmt: skip


def call_mlp(
    *, chips: In, stores: Ins, context: Ins, cards: Ins, weights: Ins, floors: Ins, heads: In, selection: In,
    recipe: MlpRecipe, called: Out,
) -> None:  # fmt: skip
    """Show the test chips to the frozen MLPs; no label is read.

    Args:
        chips: as in `fit_mlp`, and so are `stores`, `context`, `cards`, `weights` and `floors`.
        stores: see there.
        context: see there.
        cards: see there.
        weights: see there.
        floors: see there.
        heads: of `fit_mlp`.
        selection: of `fit_mlp`.
        recipe: the one of the selection.
        called: NumPy archive: `chip_ids`, the test chips, `classes`, and for choice k `<k>`, the probabilities of the
            classes, (draw, chip, class), NaN where a chip lacks the view.

    Raises:
        TerraprobeError: the selection was made by another recipe or with other weights.
    """
    torch.set_num_threads(recipe.cpu_threads)
    frozen, trained = read_json(selection), read_arrays(heads)
    land = Land.open(recipe.collection, chips, stores, context)
    source = _source(land, cards, weights, floors, recipe)
    if frozen["recipe"] != recipe.model_dump(mode="json") or frozen["encoder_sha256"] != source.digest:
        raise TerraprobeError(
            f"{selection}: not made by this recipe and these weights of {source.name}. Delete it and run again."
        )
    ids, split = land.table["chip_id"].to_numpy(str), land.table["split"].to_numpy(str)
    test = np.flatnonzero(split == "test")
    test = test[np.argsort(ids[test], kind="stable")]
    found: dict[str, NDArray[Any]] = {"chip_ids": ids[test], "classes": np.array(frozen["classes"])}
    views = {(view.modality, view.name): view for view in source.views}
    wanted: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for k, choice in enumerate(frozen["choices"]):
        wanted[choice["modality"], choice["view"]].append((k, choice["init"]))
    for key, numbers in wanted.items():
        seen = source.usable(views[key])[test]
        features = source.features(views[key], test[seen]) if seen.any() else {}
        for k, init in numbers:
            head = Heads(*(trained[f"{k}.{part}"] for part in ("w1", "b1", "w2", "b2")))
            shown = np.full((len(head.w1), len(test), len(frozen["classes"])), np.nan, np.float32)
            if init in features:
                shown[:, seen] = head.probabilities(features[init])
            found[str(k)] = shown
    write_arrays(called, found)
    progress(f"{recipe.evaluation}: {len(test)} test chips shown to {len(frozen['choices'])} MLPs of {source.name}")
