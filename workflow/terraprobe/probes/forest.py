"""Few-shot random forests on frozen features, in two stages.

`select_forest` chooses the number of trees and their depth on the validation split and reads no test row;
`score_forest` takes that frozen choice and looks at the test split once.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from sklearn.ensemble import RandomForestClassifier

from terraprobe.artifacts import read_json, write_json, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.metrics import METRICS, block_counts
from terraprobe.probes.bench import Bench, Problem, Source
from terraprobe.probes.episodes import FULL, forest_seed
from terraprobe.probes.features import KEYS, FeatureSet
from terraprobe.probes.forest_scores import ScoreBook, Setting
from terraprobe.probes.optimism import Judge, deal_at_random, optimism_row, optimism_table
from terraprobe.probes.tasks import Task
from terraprobe.stage import In, Ins, Out, Recipe, progress

MAJORITY = "majority"
"""The floor that answers with the more frequent class of the drawn train labels, and "negative" on a tie."""


class ForestRecipe(Recipe):
    """Parameters of a few-shot evaluation by random forests.

    Attributes:
        evaluation: its name.
        collection: the collection whose test chips are judged.
        train_on: the collections whose train and val chips are learnt from and chosen by.
        tasks: columns of `labels.parquet`.
        sizes: numbers of labelled train chips; 0 is all of them. The paper's are
            5, 10, 100, 250, 500, 1000, 5000, 20000 and all [P].
        repeats: episodes of each size; 10 in the paper [P].
        full_repeats: episodes of the full size, where only the forest's seed differs; 10 in the paper [P].
        permute_labels: a null: labels change places block by block within each split.
        draw: `uniform` at random [P], or `stratified` by class.
        trees: numbers of trees to choose from; validation chose 50 in the paper [P].
        depths: tree depths to choose from; validation chose 7 in the paper [P].
        selection_shots: size at which they are chosen, 0 for all train chips; all where there are fewer [D]: a choice
            that needs the labels of every chip would not be few-shot.
        selection_repeats: episodes over which the validation metric is averaged [D].
        resamples: bootstrap resamples behind each interval [D].
        seed: of draws, forests and resamples.
    """

    evaluation: str
    collection: str
    train_on: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    sizes: tuple[int, ...] = Field(min_length=1)
    repeats: int = Field(3, ge=1)
    full_repeats: int = Field(3, ge=1)
    permute_labels: bool = False
    draw: Literal["uniform", "stratified"] = "uniform"
    trees: tuple[int, ...] = Field((50,), min_length=1)
    depths: tuple[int, ...] = Field((7,), min_length=1)
    selection_shots: int = Field(100, ge=0)
    selection_repeats: int = Field(1, ge=1)
    resamples: int = Field(1000, ge=100)
    seed: int = Field(0, ge=0)

    @field_validator("sizes", "trees", "depths")
    @classmethod
    def _ascending(cls, values: tuple[int, ...], info: Any) -> tuple[int, ...]:
        lowest = FULL if info.field_name == "sizes" else 1
        if min(values) < lowest or len(set(values)) < len(values):
            raise ValueError(f"{list(values)}: give different whole numbers from {lowest} on")
        return tuple(sorted(values, key=lambda v: (v == FULL, v)))


def predict_forest(
    x_train: NDArray[np.float32],
    y_train: NDArray[np.bool_],
    x: NDArray[np.float32],
    *,
    trees: Sequence[int],
    depth: int,
    seed: int,
) -> NDArray[np.bool_]:
    """Fit one random forest and predict with its first trees.

    scikit-learn seeds the trees of a forest one after the other, so the first k trees of a forest *are* the forest
    of k trees of that seed: one fit serves every number of trees.

    Args:
        x_train: (n_train, n_features).
        y_train: (n_train,). With one class the forest is the constant predictor of that class.
        x: (n, n_features).
        trees: numbers of trees to predict with.
        depth: deepest level of a tree.
        seed: of the forest.

    Returns:
        Whether each chip is called positive, (len(trees), n). A tie is negative.
    """
    if y_train.all() or not y_train.any():
        return np.full((len(trees), len(x)), y_train[0])
    forest = RandomForestClassifier(max(trees), max_depth=depth, random_state=seed, n_jobs=1).fit(x_train, y_train)
    votes = np.cumsum([tree.predict_proba(x, check_input=False) for tree in forest.estimators_], axis=0)
    chosen = votes[np.asarray(trees) - 1]
    called: NDArray[np.bool_] = chosen[..., 1] > chosen[..., 0]
    return called


def select_forest(*, embeddings: Ins, chips: Ins, labels: Ins, recipe: ForestRecipe, selection: Out) -> None:
    """Choose trees and depth of every feature set and task on the validation split.

    Args:
        embeddings: files of embeddings, floors or both: those of each collection of `train_on` in turn, equally many.
        chips: `chips.parquet` of each; only train and val rows are read, of this and of every other file.
        labels: `labels.parquet` of each.
        recipe: the evaluation.
        selection: JSON: `recipe`, `tasks` (threshold, balance, reason if impossible) and `choices`.

    Raises:
        TerraprobeError: an input is broken or lacks what the recipe names.
    """
    splits = {name: ["train", "val"] for name in recipe.train_on}
    bench = _bench(embeddings, chips, labels, splits, recipe)
    tasks = [bench.task(name) for name in recipe.tasks]
    choices = [_choose(bench, task, recipe) for task in tasks if not task.reason]
    write_json(
        selection,
        {
            "recipe": recipe.model_dump(mode="json"),
            "tasks": {t.name: {**t.__dict__, "balanced": t.balanced, "metric": t.metric} for t in tasks},
            "choices": [choice for group in choices for choice in group],
        },
    )
    possible = sum(not task.reason for task in tasks)
    progress(f"{recipe.evaluation}: {possible} of {len(tasks)} tasks possible, {len(bench.sets)} feature sets selected")


def _bench(embeddings: Ins, chips: Ins, labels: Ins, splits: dict[str, list[str]], recipe: ForestRecipe) -> Bench:
    """What is read of each collection, whose files come in the order of `splits`."""
    each, rest = divmod(len(embeddings), len(splits))
    if not len(chips) == len(labels) == len(splits) or rest:
        raise TerraprobeError(
            f"{recipe.evaluation}: {len(chips)} chips, {len(labels)} labels and {len(embeddings)} embeddings; expected "
            f"one of each, or equally many embeddings, of {', '.join(splits)}. Give the files in this order."
        )
    groups = [embeddings[k * each : (k + 1) * each] for k in range(len(splits))]
    sources = [Source(*files) for files in zip(groups, chips, labels, splits.values(), strict=True)]
    return Bench.load(
        sources,
        tasks=recipe.tasks,
        seed=recipe.seed,
        stratified=recipe.draw == "stratified",
        permuted=recipe.permute_labels,
    )


def _choose(bench: Bench, task: Task, recipe: ForestRecipe) -> list[dict[str, Any]]:
    return [
        {
            **features.key,
            "task": task.name,
            **_choose_one(Problem(bench, features, task.name, task.threshold), task, recipe),
        }
        for features in bench.sets
    ]


def _choose_one(problem: Problem, task: Task, recipe: ForestRecipe) -> dict[str, Any]:
    """Trees and depth with the best validation metric; the smaller forest where two are equal."""
    val = problem.labelled("val")
    sizes = {"n_train": len(problem.train), "n_val": len(val)}
    simplest = {"trees": recipe.trees[0], "depth": recipe.depths[0]}
    if not len(problem.train):
        return {**sizes, **simplest, "grid": [], "reason": "no train chip has both these features and a label"}
    if len(recipe.trees) * len(recipe.depths) == 1:
        return {**sizes, **simplest, "grid": [], "reason": ""}
    if not len(val):
        return {**sizes, **simplest, "grid": [], "reason": "no val chip has both these features and a label"}
    values = np.mean([_validate(problem, val, task.metric, recipe, e) for e in range(recipe.selection_repeats)], axis=0)
    if np.isnan(values).any():
        return {**sizes, **simplest, "grid": [], "reason": f"the val chips are of one class: no {task.metric}"}
    grid = [
        {"trees": trees, "depth": depth, "value": float(values[d, t])}
        for t, trees in enumerate(recipe.trees)
        for d, depth in enumerate(recipe.depths)
    ]
    best = max(grid, key=lambda point: point["value"])
    return {**sizes, "trees": best["trees"], "depth": best["depth"], "grid": grid, "reason": ""}


def _validate(
    problem: Problem, val: NDArray[np.intp], metric: str, recipe: ForestRecipe, episode: int
) -> NDArray[np.float64]:
    """Validation metric of every candidate, (depths, trees)."""
    drawn = problem.draw(episode, recipe.selection_shots or len(problem.train))
    inputs = problem.x(drawn), problem.positive[drawn], problem.x(val)
    seed = forest_seed(recipe.seed, episode)
    whole = np.zeros(len(val), np.intp)
    return np.array(
        [
            [
                METRICS[metric](block_counts(problem.positive[val], called, whole, 1)[0])
                for called in predict_forest(*inputs, trees=recipe.trees, depth=depth, seed=seed)
            ]
            for depth in recipe.depths
        ]
    )


def score_forest(
    *, embeddings: Ins, chips: Ins, labels: Ins, selection: In, recipe: ForestRecipe, scores: Out,
    blocks: Out, optimism: Out,
) -> None:  # fmt: skip
    """Score the frozen choice on the test split, once.

    Args:
        embeddings: the files that the selection was made with, then those of `collection` where it is not among them.
        chips: `chips.parquet` of each; only train rows of `train_on` and test rows of `collection` are read.
        labels: `labels.parquet` of each.
        selection: of `select_forest`.
        recipe: the one of the selection.
        scores: one row per feature set, task, size, episode and metric; see `forest_scores`.
        blocks: the counts behind each row, per block of test chips.
        optimism: one row per feature set and task: what a random split would have promised; see `optimism`.

    Raises:
        TerraprobeError: the selection was made with another recipe or other features, or an input is broken.
    """
    frozen = read_json(selection)
    if frozen["recipe"] != recipe.model_dump(mode="json"):
        raise TerraprobeError(f"{selection}: made with another recipe. Run select-forest again with this one.")
    own = recipe.train_on == (recipe.collection,)
    splits = {name: ["train"] for name in recipe.train_on}
    splits.setdefault(recipe.collection, []).extend(["val", "test"] if own else ["test"])
    bench = _bench(embeddings, chips, labels, splits, recipe)
    dealt, gaps = deal_at_random(bench), []
    choices = {(*(c[k] for k in KEYS), c["task"]): c for c in frozen["choices"]}
    book = ScoreBook(bench, recipe.evaluation, recipe.collection, recipe.resamples)
    sets = [*bench.sets, *_majority(bench)]
    for done, name in enumerate(recipe.tasks, 1):
        task = frozen["tasks"][name]
        for features in sets:
            problem = Problem(bench, features, name, task["threshold"])
            choice = choices.get((*features.key.values(), name))
            trees, depth = _forest(choice)
            # Kept: the gap asks again for the first forest on all train chips.
            judge = cache(partial(_call, trees=trees, depth=depth, seed=recipe.seed))
            _score_one(book, problem, task, choice, recipe, judge=judge)
            if own and not _reason(problem, task, choice):  # chips of two collections cannot be dealt as one
                gaps.append(optimism_row(problem, dealt, task, judge))
        progress(f"{recipe.evaluation}: task {done} of {len(recipe.tasks)} ({name}) scored")
    write_table(scores, book.scores())
    write_table(blocks, book.blocks())
    write_table(optimism, optimism_table(gaps, recipe.evaluation, recipe.collection))


def _forest(choice: dict[str, Any] | None) -> tuple[int, int]:
    """Trees and depth; none for the majority class."""
    return (choice["trees"], choice["depth"]) if choice else (0, 0)


def _majority(bench: Bench) -> list[FeatureSet]:
    """The floor that looks at nothing, on the chips of every modality that a floor was measured on."""
    chips: dict[str, NDArray[np.intp]] = {}
    for floor in (s for s in bench.sets if s.floor):
        chips[floor.modality] = np.union1d(chips.get(floor.modality, floor.chips), floor.chips)
    none = np.empty((len(bench.chips), 0), np.float32)
    return [FeatureSet("", "", MAJORITY, name, "", rows, none[: len(rows)]) for name, rows in chips.items()]


def _score_one(
    book: ScoreBook,
    problem: Problem,
    task: dict[str, Any],
    choice: dict[str, Any] | None,
    recipe: ForestRecipe,
    *,
    judge: Judge,
) -> None:
    """Score every size and episode of one task on one feature set."""
    reason = _reason(problem, task, choice)
    for n_shots in recipe.sizes:
        n = n_shots or len(problem.train)
        if reason or n > len(problem.train):
            book.refuse(problem, task, n_shots, reason or f"not available: {len(problem.train)} labelled train chips")
            continue
        for episode in range(recipe.repeats if n_shots else recipe.full_repeats):
            y = problem.positive[problem.draw(episode, n)]
            setting = Setting(n_shots, episode, n, *_forest(choice), constant=bool(y.all() or not y.any()))
            book.add(problem, task, setting, judge(problem, episode, n))


def _reason(problem: Problem, task: dict[str, Any], choice: dict[str, Any] | None) -> str:
    """Why there is nothing to score, or nothing."""
    if task["reason"]:
        return str(task["reason"])
    if not len(problem.train):
        return "no train chip has both these features and a label"
    if not len(problem.test):
        return "no test chip has both these features and a label"
    if choice is None and problem.features.floor != MAJORITY:
        raise TerraprobeError(
            f"selection of {problem.features.name}, {problem.task}: absent. Run select-forest again with these files."
        )
    return str(choice["reason"]) if choice else ""


def _call(problem: Problem, episode: int, n: int, *, trees: int, depth: int, seed: int) -> NDArray[np.bool_]:
    """Train on an episode's draw of `n` chips and call the test chips."""
    drawn, test = problem.draw(episode, n), problem.test
    y = problem.positive[drawn]
    if not trees:
        return np.full(len(test), y.mean() > 0.5)
    inputs = problem.x(drawn), y, problem.x(test)
    called: NDArray[np.bool_] = predict_forest(*inputs, trees=(trees,), depth=depth, seed=forest_seed(seed, episode))[0]
    return called
