"""Stage `score-segmentation`: all encoders of an evaluation of pixels side by side, with intervals over places."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.confusion import SCORES, class_scores, overall_scores
from terraprobe.probes.inits import FLOOR, TRAINED, UNTRAINED
from terraprobe.probes.segmentation_lines import COMPARED, Arm, Line, compare_lines
from terraprobe.probes.segmentation_table import FLOORS, MEAN_OF_BANDS, counts_array
from terraprobe.stage import In, Ins, Out, Recipe, progress
from terraprobe.statistics import MIN_BLOCKS, block_weights, interval, mean_over_seeds, stream_seed


class SegmentationRecipe(Recipe):
    """What is scored.

    Attributes:
        evaluation: its name.
        collection: whose chips.
        label: layer of pixel classes.
        classes: names, in the order of their numbers.
        arms: name of each encoder entry to its encoders, one a seed.
        resamples: of the test blocks.
        seed: of the resamples.
    """

    evaluation: str
    collection: str
    label: str
    classes: tuple[str, ...] = Field(min_length=2)
    arms: dict[str, tuple[str, ...]] = Field(min_length=1)
    resamples: int = Field(2000, ge=100)
    seed: int = 0


@dataclass(frozen=True)
class Points:
    """Scores of an arm.

    Attributes:
        members: of each seed or twin and draw, (seed, draw, score).
        samples: mean over these in every resample of blocks, seeds and draws, (resamples, score).
        n_train: train chips.
        counts: pixels over seeds and draws, (class, called class); none of a mean over bands.
        class_samples: accuracy and intersection over union of each class in every resample, (resamples, 2, class).
    """

    members: NDArray[np.float64]
    samples: NDArray[np.float64]
    n_train: int
    counts: NDArray[np.float64] | None = None
    class_samples: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean over seeds and draws, (score,)."""
        return np.asarray(self.members.mean(axis=(0, 1)))

    @property
    def line(self) -> Line:
        """What it is compared by."""
        places = {metric: SCORES.index(metric) for metric in COMPARED}
        values = {metric: float(self.means[k]) for metric, k in places.items()}
        return Line(values, {metric: self.samples[:, k] for metric, k in places.items()})


def score_segmentation(
    *, counts: Ins, chips: In, recipe: SegmentationRecipe, scores: Out, classes: Out, differences: Out, confusion: Out,
    samples: Out,
) -> None:  # fmt: skip
    """Hold what all encoders and floors call the pixels of the test chips that all of them see against the labels.

    Args:
        counts: of `segment_chips` of each encoder of the recipe, and of `segment_floors`.
        chips: `chips.parquet`.
        recipe: encoders and classes.
        scores: a row for each arm, `init` (`trained`, `untrained`, empty: a floor), tower, band, size, stratum (empty:
            all pixels) and metric (of `SCORES`): `value`, the mean over seeds and draws, `sd` over them, a 95 %
            interval over test blocks, then seeds and draws; how many chips, pixels, blocks and classes; `n_unseen`:
            labelled test chips left out because something that is compared cannot see them.
        classes: `accuracy` and `iou` of each class of the same arms, with intervals; NaN where no test pixel has it.
        differences: trained arms against their untrained twins, the pixel's own values, the majority class and each
            other, paired by block; `p_holm` over the rivals of one probe, by metric.
        confusion: pixels of class `truth` that were called class `called`, by arm, summed over seeds and draws.
        samples: of each arm and compared metric `value`, `n_train`, `n_test`, `n_blocks` and, as a list, `samples`:
            bootstrap values, which pools compare.

    Raises:
        TerraprobeError: counts of an encoder are absent, or no labelled test chip is seen by all.
    """
    found = _Compared(counts, chips, recipe)
    points = {arm: found.points(arm) for arm in found.tables}
    points |= dict(_means_of_bands(points))
    where = {"evaluation": recipe.evaluation, "collection": recipe.collection, "label": recipe.label}
    rows = [row for arm, point in points.items() for row in found.rows(arm, point)]
    by_class = [row for arm, point in points.items() for row in found.class_rows(arm, point)]
    lines = {arm: point.line for arm, point in points.items()}
    called = [row for arm, point in points.items() for row in _confusion(arm, point, recipe.classes)]
    drawn = [row for arm, point in points.items() for row in found.sample_rows(arm, point)]
    for path, table in ((scores, rows), (classes, by_class), (confusion, called), (samples, drawn)):
        write_table(path, pd.DataFrame(table).assign(**where))
    write_table(differences, compare_lines(lines).assign(**where))
    told = [r for r in rows if r["metric"] == "miou" and r["init"] == TRAINED]
    progress("; ".join(f"{r['arm']} {r['tower']} {r['band']} {r['size'] or 'full'}: mIoU {r['value']:.3f} "
                       f"[{r['low']:.3f}, {r['high']:.3f}]" for r in told))  # fmt: skip


class _Compared:
    """Counts of every arm on the test chips that all of them see."""

    def __init__(self, counts: Sequence[Path], chips: Path, recipe: SegmentationRecipe) -> None:
        self.recipe = recipe
        by_name = {path.stem: read_table(path) for path in counts}
        absent = [m for m in (*(m for own in recipe.arms.values() for m in own), FLOORS) if m not in by_name]
        if absent:
            raise TerraprobeError(
                f"score-segmentation: no counts of {absent[0]} among {', '.join(by_name)}. Give them."
            )
        self._strata = sorted(set(by_name[FLOORS]["stratum"]) - {""})
        self.tables: dict[Arm, dict[tuple[int, int], pd.DataFrame]] = defaultdict(dict)
        for entry, members in [*recipe.arms.items(), ("", (FLOORS,))]:
            for seed, member in enumerate(members):
                self._add(entry, seed, by_name[member])
        whole = [table for arm, own in self.tables.items() if not arm.stratum for table in own.values()]
        seen = [set(table["chip_id"]) for table in whole]
        shared, every = set.intersection(*seen), set.union(*seen)
        if not shared:
            raise TerraprobeError(
                f"score-segmentation: no labelled test chip of {recipe.collection} is seen by every probe of "
                f"{', '.join(recipe.arms)}. Compare encoders that see the same modalities."
            )
        table = read_table(chips)
        block = table[table["chip_id"].isin(shared)].set_index("chip_id")["block"].astype(str)
        number, names = pd.factorize(block, sort=True)
        self._block, self.n_blocks = dict(zip(block.index, number.tolist(), strict=True)), len(names)
        self._stream = stream_seed(recipe.seed, recipe.collection)
        self._weights = block_weights(self.n_blocks, recipe.resamples, self._stream)
        parts = {"": whole[0], **{name: whole[0][whole[0]["stratum"] == name] for name in self._strata}}
        truth = {name: self._array(part).sum(axis=(0, 2)) for name, part in parts.items()}
        self._present = {name: int((pixels > 0).sum()) for name, pixels in truth.items()}
        self._pixels = {name: int(pixels.sum()) for name, pixels in truth.items()}
        self._facts = {"n_test": len(shared), "n_unseen": len(every - shared),
                       "n_classes": len(recipe.classes), "n_blocks": self.n_blocks,
                       "few_blocks": self.n_blocks < MIN_BLOCKS}  # fmt: skip

    def _add(self, entry: str, seed: int, table: pd.DataFrame) -> None:
        keys = ["init", "tower", "band", "sees", "size", "repeat"]
        twins = {init: place for place, init in enumerate(i for i in dict.fromkeys(table["init"]) if i != TRAINED)}
        for key, rows in table.groupby(keys, sort=False):
            init, tower, band, sees, size, repeat = cast("tuple[str, str, str, str, int, int]", key)
            kind = init if init in (TRAINED, FLOOR) else UNTRAINED
            member = seed if init in (TRAINED, FLOOR) else seed * len(twins) + twins[init]
            self.tables[Arm(entry, kind, tower, band, sees, size)][member, repeat] = rows
            for name in self._strata:
                part = rows[rows["stratum"] == name]
                self.tables[Arm(entry, kind, tower, band, sees, size, name)][member, repeat] = part

    def _array(self, table: pd.DataFrame) -> NDArray[np.float64]:
        return counts_array(table, self._block, self.n_blocks, len(self.recipe.classes))

    def points(self, arm: Arm) -> Points:
        """Scores of one arm."""
        tables, present = self.tables[arm], self._present[arm.stratum]
        seeds, draws = ({key[axis] for key in tables} for axis in (0, 1))
        stacked = [[self._array(tables[s, d]) for d in sorted(draws)]
                   for s in sorted(seeds)]  # fmt: skip
        counts = np.array(stacked)  # (seed, draw, block, class, called class)
        whole = counts.sum(axis=2)
        resampled = np.einsum("rb,sdbij->rsdij", self._weights, counts, optimize=True)
        scores = overall_scores(resampled, present)
        samples = np.stack([mean_over_seeds(scores[..., k], self._stream) for k in range(len(SCORES))], axis=-1)
        by_class = np.stack(class_scores(resampled), axis=-2)  # (resample, seed, draw, accuracy or iou, class)
        n_train = int(next(iter(self.tables[replace(arm, stratum="")].values()))["n_train"].iloc[0])
        return Points(overall_scores(whole, present), samples, n_train, whole.sum(axis=(0, 1)),
                      by_class.mean(axis=(1, 2)))  # fmt: skip

    def rows(self, arm: Arm, point: Points) -> Iterator[dict[str, Any]]:
        """One row a score."""
        spread = point.members.reshape(-1, len(SCORES))
        for k, metric in enumerate(SCORES):
            low, high = interval(point.samples[:, k])
            sd = float(spread[:, k].std(ddof=1)) if len(spread) > 1 else np.nan
            n_seeds, n_repeats, _ = point.members.shape
            yield {**vars(arm), "n_train": point.n_train, "metric": metric, "value": float(point.means[k]), "sd": sd,
                   "low": low, "high": high, "n_seeds": n_seeds, "n_repeats": n_repeats,
                   "n_pixels": self._pixels[arm.stratum], "n_present": self._present[arm.stratum],
                   **self._facts}  # fmt: skip

    def sample_rows(self, arm: Arm, point: Points) -> Iterator[dict[str, Any]]:
        """One row a compared score."""
        facts = {"n_train": point.n_train, "n_test": self._facts["n_test"], "n_blocks": self.n_blocks}
        for metric, value in point.line.value.items():
            own = point.line.samples[metric].astype(np.float32)
            yield {**vars(arm), "metric": metric, "value": value, "samples": own, **facts}

    def class_rows(self, arm: Arm, point: Points) -> Iterator[dict[str, Any]]:
        """One row a class."""
        if point.counts is None:
            return
        values = class_scores(point.counts)
        for k, name in enumerate(self.recipe.classes):
            row: dict[str, Any] = {**vars(arm), "class": name, "n_pixels": int(point.counts[k].sum())}
            for m, metric in enumerate(("accuracy", "iou")):
                low, high = interval(point.class_samples[:, m, k])
                row |= {metric: float(values[m][k]), f"{metric}_low": low, f"{metric}_high": high}
            yield row


def _means_of_bands(points: dict[Arm, Points]) -> Iterator[tuple[Arm, Points]]:
    """Of encoders that take one band at a time the mean over bands, and of the pixels' own values over the same."""
    sets: dict[tuple[str, str, int, str], list[Arm]] = defaultdict(list)
    for arm in points:
        if arm.band:
            sets[arm.arm, arm.init, arm.size, arm.stratum].append(arm)
    floors = {(arm.sees, arm.size, arm.stratum): arm for arm in points if arm.init == FLOOR}
    for (entry, init, size, stratum), arms in sets.items():
        sees = " | ".join(sorted(arm.sees for arm in arms))
        if len(arms) > 1:
            yield Arm(entry, init, "", MEAN_OF_BANDS, sees, size, stratum), _mean([points[arm] for arm in arms])
            own = [floors[k] for k in ((arm.sees, size, stratum) for arm in arms) if k in floors]
            if len(own) == len(arms):
                yield (
                    Arm("", FLOOR, own[0].tower, MEAN_OF_BANDS, sees, size, stratum),
                    _mean([points[arm] for arm in own]),
                )


def _mean(points: Sequence[Points]) -> Points:
    members, samples = (np.mean([getattr(p, name) for p in points], axis=0) for name in ("members", "samples"))
    return Points(members, samples, points[0].n_train)


def _confusion(arm: Arm, point: Points, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    if point.counts is not None:
        for truth, called in np.argwhere(point.counts > 0):
            yield {**vars(arm), "truth": classes[truth], "called": classes[called],
                   "pixels": int(point.counts[truth, called])}  # fmt: skip
