"""Stage `score-mlp`: how right the MLPs of all encoders of an evaluation are, view by view, on the same test chips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_arrays, read_json, read_table, write_table
from terraprobe.classlists import class_numbers
from terraprobe.collections.chiptable import read_classes
from terraprobe.errors import TerraprobeError
from terraprobe.metrics import class_counts, class_f1, macro_f1, roc_auc
from terraprobe.probes.episodes import FULL
from terraprobe.probes.inits import FLOOR, IMAGE_STATS, TRAINED, UNTRAINED
from terraprobe.probes.mlp_lines import ALL, MAJORITY, PLACE, STATISTICS, Arm, compare_lines, group_of, places, stacked
from terraprobe.stage import In, Ins, Out, Recipe, progress
from terraprobe.statistics import MIN_BLOCKS, block_weights, interval, mean_over_seeds, resample, stream_seed

FLOORS = "floors"
"""Name of the file that stands for them."""

FALSE_POSITIVES = np.linspace(0, 1, 101)
"""False positive rates at which ROC curves are averaged."""

Counts = NDArray[np.float64]
"""(run, draw, block, class, 3), the last two as `metrics.class_counts` gives them; a run is an encoder's init."""


class MlpScoresRecipe(Recipe):
    """What is scored.

    Attributes:
        evaluation: its name.
        collection: whose chips.
        label: chip-level classes, one a chip.
        arms: name of each encoder entry and its encoders, one a seed, in study order: a pair is the later one minus
            the earlier one.
        roc: views whose ROC curves are kept; the first multispectral and the first radar one where none is named.
        resamples: of the test blocks.
        seed: of the resamples.
    """

    evaluation: str
    collection: str
    label: str
    arms: tuple[tuple[str, tuple[str, ...]], ...] = Field(min_length=1)
    roc: tuple[str, ...] = ()
    resamples: int = Field(2000, ge=100)
    seed: int = 0


def score_mlp(
    *, called: Ins, selections: Ins, chips: In, labels: In, recipe: MlpScoresRecipe, scores: Out, differences: Out,
    samples: Out, curves: Out,
) -> None:  # fmt: skip
    """Hold what the MLPs called the test chips against their classes; nothing else of a probe reads the test labels.

    Every arm stands on the same chips of a view: those of a class that a train chip has, which all arms with that view
    can see.

    Args:
        called: of `call_mlp`, one of each encoder of the recipe and `floors`.
        selections: of `fit_mlp`, likewise.
        chips: `chips.parquet`.
        labels: `labels.parquet`.
        recipe: the arms.
        scores: a row for each arm, `init` (`trained`, `untrained`, empty: a floor), size, view (empty: the mean over a
            `group` of views: `all`, `ms`, `sar`) and `metric`: `f1_macro` and `accuracy` with a 95 % interval over test
            blocks, then seeds, twins and draws; of a view `effective_rank`; of a view and class `f1` and `roc_auc`.
            `sd` over seeds (and twins); how many chips.
        differences: of `f1_macro`, of `mlp_lines.compare_lines`.
        samples: bootstrap values of `f1_macro` by arm and view, for pools.
        curves: ROC curves of the trained arms on the views of the recipe at the largest size: mean true positive rate
            over seeds and draws, by class.

    Raises:
        TerraprobeError: a file is absent or of another evaluation, or no test chip can be judged.
    """
    test = _Test(called, selections, chips, labels, recipe)
    lines, rows, drawn = [], [], []
    for place, arms in test.places():
        found = [_Answers(test, place, arm, runs) for arm, runs in arms.items()]
        lines += [answers.line() for answers in found]
        rows += [row for answers in found for row in answers.rows()]
        if place["view"] in test.drawn and place["n_shots"] == test.largest:
            drawn += [point for answers in found for point in answers.curves()]
    if not lines:
        raise TerraprobeError(
            f"score-mlp: no test chip of {recipe.collection} has a {recipe.label} that a train chip has too and can "
            f"be seen by all of {', '.join(name for name, _ in recipe.arms)}. Look at labels.parquet and at the split."
        )
    table = pd.DataFrame(lines)
    where = {"evaluation": recipe.evaluation, "collection": recipe.collection, "label": recipe.label}
    more = {**where, **test.counts, "few_blocks": test.n_blocks < MIN_BLOCKS}
    means = pd.DataFrame([*rows, *_means(table)])
    compared = compare_lines(table)
    write_table(scores, means.assign(**more))
    write_table(differences, compared.assign(**where, n_blocks=test.n_blocks, few_blocks=more["few_blocks"]))
    write_table(
        samples, table.drop(columns=["by_run", "accuracy", "effective_rank"]).assign(**where, n_blocks=test.n_blocks)
    )
    write_table(curves, pd.DataFrame(drawn, columns=_CURVE).assign(**where))
    told = means[(means["view"] == "") & (means["group"] == ALL) & (means["metric"] == "f1_macro")]
    named = told[told["init"] != UNTRAINED].to_dict("records")
    progress("; ".join(f"{r['arm']} F1 {r['value']:.3f} [{r['low']:.3f}, {r['high']:.3f}]" for r in named))


_CURVE = (*PLACE, "arm", "class_name", "fpr", "tpr")


def _means(lines: pd.DataFrame) -> list[dict[str, Any]]:
    """Means over the views of a group of every arm."""
    rows = []
    for (arm, init), own in lines.groupby(["arm", "init"], sort=False):
        for place, views in places(own):
            if place["view"]:
                continue
            first = views.iloc[0]
            base = {"arm": arm, "init": init, **place, "class_name": "", "n_runs": first["n_runs"],
                    "n_draws": first["n_draws"], "n_train": views["n_train"].max(), "n_test": views["n_test"].max(),
                    "n_views": len(views)}  # fmt: skip
            low, high = interval(stacked(views["samples"]).mean(axis=0))
            by_run = stacked(views["by_run"]).mean(axis=0)
            rows.append({**base, "metric": "f1_macro", "value": views["value"].mean(), "sd": _sd(by_run), "low": low,
                         "high": high})  # fmt: skip
            rows.append({**base, "metric": "accuracy", "value": views["accuracy"].mean()})
            rows.append({**base, "metric": "effective_rank", "value": views["effective_rank"].mean()})
    return rows


def _sd(by_run: NDArray[np.float64]) -> float:
    return float(by_run.std(ddof=1)) if len(by_run) > 1 else float("nan")


@dataclass(frozen=True)
class _Run:
    """What one encoder's init answered on one view.

    Attributes:
        probabilities: (draw, chip, class), NaN where the chip lacks the view.
        choice: of the selection.
    """

    probabilities: NDArray[np.float32]
    choice: dict[str, Any]


Place = tuple[int, str, str]
"""Size, modality and view."""


class _Test:
    """The labelled test chips, and what every arm called them."""

    def __init__(
        self, called: Sequence[Path], selections: Sequence[Path], chips: Path, labels: Path, recipe: MlpScoresRecipe
    ) -> None:
        self.recipe = recipe
        answers = {path.name.partition(".")[0]: path for path in called}
        choices = {path.stem: read_json(path) for path in selections}
        members = [*(m for _, own in recipe.arms for m in own), FLOORS]
        absent = [name for name in members if name not in answers or name not in choices]
        if absent:
            raise TerraprobeError(f"score-mlp: no answers of {absent[0]} among {', '.join(answers)}. Give them.")
        first = choices[FLOORS]
        unlike = [name for name in members if choices[name]["classes"] != first["classes"]]
        if unlike:
            raise TerraprobeError(
                f"score-mlp: {unlike[0]} has learnt {', '.join(choices[unlike[0]]['classes'])}, and the floors "
                f"{', '.join(first['classes'])}. Run fit_mlp again for both."
            )
        self.classes, self.majority = tuple(first["classes"]), first["classes"].index(first["majority"])
        table = read_table(chips)[["chip_id", "block", "split"]]
        test = table[table["split"] == "test"].sort_values("chip_id", ignore_index=True)
        names = read_classes(labels, recipe.label, test["chip_id"].to_numpy(str))
        self._chips = test["chip_id"].to_numpy(str)
        self.truth = class_numbers(names, self.classes)
        known = self.truth >= 0
        block, self._blocks = pd.factorize(test["block"].where(known), sort=True)
        self.block: NDArray[np.intp] = block
        self.n_blocks = len(self._blocks)
        unlabelled = names == ""
        out = {"n_unlabelled": int(unlabelled.sum()), "n_untaught": int((~known & ~unlabelled).sum())}
        self.counts = {"n_blocks": self.n_blocks, "n_classes": len(self.classes), "majority": first["majority"], **out}
        self.stream = stream_seed(recipe.seed, recipe.collection)
        self.weights = block_weights(max(1, self.n_blocks), recipe.resamples, self.stream)
        self._runs = self._read(answers, choices)
        self.largest = max((size for size, _, _ in self._runs), key=lambda n: (n == FULL, n))
        self.drawn = self._drawn()

    def _read(self, answers: dict[str, Path], choices: dict[str, Any]) -> dict[Place, dict[Arm, list[_Run]]]:
        found: dict[Place, dict[Arm, list[_Run]]] = {}
        arms = (*self.recipe.arms, (STATISTICS, (FLOORS,)))
        for arm, member in ((arm, m) for arm, own in arms for m in own):
            archive = read_arrays(answers[member])
            if archive["chip_ids"].tolist() != self._chips.tolist():
                raise TerraprobeError(f"{answers[member]}: of other test chips. Delete it and run call_mlp again.")
            for k, choice in enumerate(choices[member]["choices"]):
                init = choice["init"]
                kind = FLOOR if init == IMAGE_STATS else TRAINED if init == TRAINED else UNTRAINED
                place = choice["n_shots"], choice["modality"], choice["view"]
                found.setdefault(place, {}).setdefault((arm, kind), []).append(_Run(archive[str(k)], choice))
        return found

    def _drawn(self) -> list[str]:
        """Views whose ROC curves are kept."""
        groups = {view: group_of(modality) for _, modality, view in self._runs}
        absent = [view for view in self.recipe.roc if view not in groups]
        if absent:
            raise TerraprobeError(f"score-mlp: roc names {absent[0]}, but what is seen are {', '.join(groups)}.")
        first = {group: view for view, group in reversed(groups.items())}
        return list(self.recipe.roc) or list(first.values())

    def places(self) -> Iterator[tuple[dict[str, Any], dict[Arm, list[_Run]]]]:
        """Every view and size that an encoder has with at least one chip to judge: the place and its arms' runs."""
        for (n_shots, modality, view), arms in self._runs.items():
            kept = self._kept(arms)
            if kept.any() and any(init == TRAINED for _, init in arms):
                place = {"n_shots": n_shots, "group": group_of(modality), "modality": modality, "view": view}
                yield (
                    {**place, "kept": kept},
                    {**arms, (MAJORITY, FLOOR): [self._constant(next(iter(arms.values()))[0])]},
                )

    def _kept(self, arms: dict[Arm, list[_Run]]) -> NDArray[np.bool_]:
        """Labelled test chips that all runs have seen."""
        seen = [np.isfinite(run.probabilities).all(axis=(0, 2)) for runs in arms.values() for run in runs]
        return np.asarray(np.logical_and.reduce([self.truth >= 0, *seen]))

    def _constant(self, like: _Run) -> _Run:
        """Everything is the majority class."""
        answer = np.zeros((1, *like.probabilities.shape[1:]), np.float32)
        answer[..., self.majority] = 1
        return _Run(answer, {**like.choice, "effective_rank": float("nan")})


class _Answers:
    """One arm at one view and size, on the chips that all arms there have seen."""

    def __init__(self, test: _Test, place: dict[str, Any], arm: Arm, runs: Sequence[_Run]) -> None:
        self.test, self.runs = test, runs
        self.kept: NDArray[np.bool_] = place["kept"]
        self.truth, block = test.truth[self.kept], test.block[self.kept]
        self.given = np.stack([run.probabilities[:, self.kept] for run in runs])
        size = len(test.classes)
        called = self.given.argmax(axis=3)
        self.counts: Counts = np.stack([
            np.stack([class_counts(self.truth, one, block, test.n_blocks, size) for one in draws]) for draws in called
        ])  # fmt: skip
        self.base = {
            "arm": arm[0], "init": arm[1], **{name: place[name] for name in PLACE}, "n_runs": len(runs),
            "n_draws": called.shape[1], "n_train": runs[0].choice["n_train"], "n_test": len(self.truth), "n_views": 1,
        }  # fmt: skip
        self.whole = self.counts.sum(axis=2)
        self.by_run = macro_f1(self.whole).mean(axis=1)

        self.samples = self._resampled()

    def _resampled(self) -> NDArray[np.float64]:
        """Macro F1 in every resample of blocks, runs and draws, (resamples,)."""
        flat, shape = self.counts.reshape(*self.counts.shape[:3], -1), self.counts.shape[3:]
        found = resample(lambda c: macro_f1(c.reshape(*c.shape[:-1], *shape)), flat, self.test.weights)
        return mean_over_seeds(found, self.test.stream)

    @property
    def _accuracy(self) -> float:
        return float((self.whole[..., 0].sum(axis=-1) / len(self.truth)).mean())

    @property
    def _rank(self) -> float:
        return float(np.mean([run.choice["effective_rank"] for run in self.runs]))

    def line(self) -> dict[str, Any]:
        """What differences and means over views are made of."""
        return {**self.base, "value": float(self.by_run.mean()), "samples": self.samples, "by_run": self.by_run,
                "accuracy": self._accuracy, "effective_rank": self._rank}  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the table of scores."""
        low, high = interval(self.samples)
        base = {**self.base, "class_name": ""}
        rows = [
            {**base, "metric": "f1_macro", "value": float(self.by_run.mean()), "sd": _sd(self.by_run), "low": low,
             "high": high},
            {**base, "metric": "accuracy", "value": self._accuracy},
            {**base, "metric": "effective_rank", "value": self._rank},
        ]  # fmt: skip
        f1 = _known_mean(class_f1(self.whole).reshape(-1, len(self.test.classes)))
        for k, name in enumerate(self.test.classes):
            area = float(np.mean(roc_auc(self.truth == k, self.given[..., k])))
            own = {**base, "class_name": name, "n_test": int((self.truth == k).sum())}
            rows += [{**own, "metric": "f1", "value": f1[k]}, {**own, "metric": "roc_auc", "value": area}]
        return rows

    def curves(self) -> list[dict[str, Any]]:
        """Points of the ROC curve of every class that a chip here has, of a trained arm."""
        if self.base["init"] != TRAINED:
            return []
        where = {name: self.base[name] for name in (*PLACE, "arm")}
        points = []
        for k, name in enumerate(self.test.classes):
            inside = self.truth == k
            if inside.any() and not inside.all():
                rates = np.mean([roc_curve(inside, s) for s in self.given[..., k].reshape(-1, len(inside))], axis=0)
                points += [{**where, "class_name": name, "fpr": fpr, "tpr": tpr}
                           for fpr, tpr in zip(FALSE_POSITIVES, rates, strict=True)]  # fmt: skip
        return points


def _known_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over rows of what is known, (column,); NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    mean: NDArray[np.float64] = np.where(
        count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1), np.nan
    )
    return mean


def roc_curve(inside: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """True positive rate at each of `FALSE_POSITIVES`, straight between the thresholds.

    Args:
        inside: whether a chip is of the class, (chip,); some are and some are not.
        scores: higher is more likely, (chip,).
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of those with one score
    hits = np.concatenate([[0], np.cumsum(inside[order])[last]])
    false = np.concatenate([[0], np.cumsum(~inside[order])[last]])
    rates: NDArray[np.float64] = np.interp(FALSE_POSITIVES, false / false[-1], hits / hits[-1])
    return rates
