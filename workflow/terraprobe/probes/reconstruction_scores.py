"""Stage `score-reconstruction`: autoencoders against each other, their untrained twins and answers without a look."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.collections.chiptable import read_classes
from terraprobe.errors import TerraprobeError
from terraprobe.probes.blockmeans import BlockMeans
from terraprobe.probes.inits import FLOOR, MEAN, TRAINED, UNTRAINED
from terraprobe.stage import In, Ins, Out, Recipe, progress
from terraprobe.statistics import MIN_BLOCKS, holm, interval, p_value, stream_seed

MEAN_CHIP, MAJORITY = "mean train chip", "majority class"
"""Arms that do not look at the chip: for the image, and for its class."""

METRICS = ("l1", "ssim", "svm")
LOWER_IS_BETTER = ("l1",)

Arm = tuple[str, str]
"""Name of the encoder entry or the floor, and which of `TRAINED`, `UNTRAINED` and `FLOOR`."""


class ReconstructionRecipe(Recipe):
    """What is scored.

    Attributes:
        evaluation: its name.
        collection: whose chips.
        label: chip-level classes, one a chip; empty: no machine has learnt any.
        classes: of the label; chips of any other are left out where classes are called.
        arms: name of each encoder entry to its encoders, one a seed.
        resamples: of the test blocks.
        seed: of the resamples.
    """

    evaluation: str
    collection: str
    label: str = ""
    classes: tuple[str, ...] = ()
    arms: dict[str, tuple[str, ...]] = Field(min_length=1)
    resamples: int = Field(2000, ge=100)
    seed: int = 0


def score_reconstruction(
    *, errors: Ins, chips: In, labels: Ins, recipe: ReconstructionRecipe, scores: Out, differences: Out
) -> None:
    """Put the errors of all autoencoders of an evaluation side by side, on the test chips that all of them can see.

    Args:
        errors: of `reconstruct_chips`, one of each encoder of the recipe.
        chips: `chips.parquet`.
        labels: `labels.parquet` where the recipe names a label, held against what the machines called; nothing else
            that scores autoencoders reads the test labels. Nothing elsewhere.
        recipe: encoders and classes.
        scores: a row for each arm, `init` (`trained`, `untrained`, empty: a floor), encoder (empty: the mean of the
            arm) and `metric` (`l1`, `ssim`, and `svm`: the share of chips whose class the machine calls right), with a
            95 % interval over test blocks (of an arm over blocks, then seeds and twins); `sd` over seeds; how many
            chips; `n_unseen, n_unlabelled`: test chips left out because an encoder cannot see them, or without a class.
        differences: trained arms against their twins, the floor and each other, by metric, paired by block; `p_holm`
            over all of them.

    Raises:
        TerraprobeError: errors of an encoder are absent, or no test chip can be judged.
    """
    rows, compared = [], []
    for values in _read(errors, chips, labels, recipe):
        rows += values.rows(recipe)
        compared += values.differences(recipe)
    frame = pd.DataFrame(compared)
    write_table(scores, pd.DataFrame(rows))
    write_table(differences, frame.assign(p_holm=holm(frame["p"].to_numpy(np.float64))))
    told = [r for r in rows if not r["encoder"] and r["init"] == TRAINED]
    progress("; ".join(f"{r['arm']} {r['metric']} {r['value']:.4f} [{r['low']:.4f}, {r['high']:.4f}]" for r in told))


@dataclass(frozen=True)
class _Values:
    """One metric of every arm on the same test chips.

    Attributes:
        metric: of `METRICS`.
        arms: members of each arm, by encoder and init, to a value a chip, (member, chip).
        counts: of chips, for the table.
        means: resamples of their blocks.
    """

    metric: str
    arms: dict[Arm, NDArray[np.float64]]
    counts: dict[str, int]
    means: BlockMeans

    def rows(self, recipe: ReconstructionRecipe) -> list[dict[str, Any]]:
        """Rows of every trained encoder, then of every arm."""
        where = {"evaluation": recipe.evaluation, "collection": recipe.collection, "label": recipe.label}
        n_blocks = self.means.n_blocks
        few = {**self.counts, "n_blocks": n_blocks, "few_blocks": n_blocks < MIN_BLOCKS}
        found = []
        for (arm, init), values in self.arms.items():
            by_encoder = values.mean(axis=1)
            own = {**where, "arm": arm, "init": init, "metric": self.metric}
            if init == TRAINED:
                samples = self.means.resampled(values)
                for k, member in enumerate(recipe.arms[arm]):
                    low, high = interval(samples[:, k])
                    found.append({**own, "encoder": member, "value": float(by_encoder[k]), "sd": np.nan,
                                  "low": low, "high": high, "n_seeds": 1, **few})  # fmt: skip
            low, high = interval(self.means.of_arm(values))
            sd = float(by_encoder.std(ddof=1)) if len(values) > 1 else np.nan
            found.append({**own, "encoder": "", "value": float(by_encoder.mean()), "sd": sd, "low": low, "high": high,
                          "n_seeds": len(values), **few})  # fmt: skip
        return found

    def differences(self, recipe: ReconstructionRecipe) -> list[dict[str, Any]]:
        """Every trained arm against its twins, the floor and the trained arms after it."""
        trained = [arm for arm in self.arms if arm[1] == TRAINED]
        pairs = [(arm, other) for arm in trained for other in ((arm[0], UNTRAINED), self._floor) if other in self.arms]
        samples = {arm: self.means.of_arm(values) for arm, values in self.arms.items()}
        found = []
        for one, other in [*pairs, *combinations(trained, 2)]:
            gap, values = samples[one] - samples[other], [float(self.arms[arm].mean()) for arm in (one, other)]
            low, high = interval(gap)
            found.append({"evaluation": recipe.evaluation, "collection": recipe.collection, "metric": self.metric,
                          "arm": one[0], "rival": other[0], "rival_init": other[1], "value": values[0],
                          "rival_value": values[1], "difference": values[0] - values[1], "low": low, "high": high,
                          "p": p_value(gap)})  # fmt: skip
        return found

    @property
    def _floor(self) -> Arm:
        return (MAJORITY if self.metric == "svm" else MEAN_CHIP), FLOOR


def _read(errors: Sequence[Path], chips: Path, labels: Sequence[Path], recipe: ReconstructionRecipe) -> list[_Values]:
    """Values of every metric."""
    found = _Errors.read(errors, recipe)
    table: pd.DataFrame = pd.DataFrame(read_table(chips)[["chip_id", "block", "split"]])
    test = table[table["split"] == "test"].sort_values("chip_id", ignore_index=True)
    kept = test[test["chip_id"].isin(found.seen)]
    if not len(kept):
        raise TerraprobeError(
            f"score-reconstruction: no test chip of {recipe.collection} can be seen by all of "
            f"{', '.join(recipe.arms)}. Look at the split, the stores and the context."
        )
    counts = {"n_test": len(kept), "n_unseen": len(test) - len(kept), "n_unlabelled": 0}
    values = [found.of_image(metric, kept, counts) for metric in ("l1", "ssim")]
    if not recipe.label:
        return values
    used = table[table["split"].isin(("train", "test"))]
    names = read_classes(labels[0], recipe.label, used["chip_id"].to_numpy(str))
    used = used.assign(truth=names)[np.isin(names, list(recipe.classes))]
    known = kept.merge(used[["chip_id", "truth"]], on="chip_id")
    if not len(known):
        raise TerraprobeError(
            f"score-reconstruction: no test chip of {recipe.collection} that all encoders can see has a known "
            f"{recipe.label}. Look at labels.parquet and at the split."
        )
    judged = {**counts, "n_test": len(known), "n_unlabelled": len(kept) - len(known)}
    train = used.loc[used["split"] == "train", "truth"]
    # Of several classes that tie, the first: the lowest code.
    majority = max(recipe.classes, key=train.tolist().count)
    return [*values, found.of_class(known, majority, judged)]


@dataclass(frozen=True)
class _Errors:
    """Tables of `reconstruct_chips`, by encoder."""

    tables: dict[str, pd.DataFrame]
    recipe: ReconstructionRecipe

    @classmethod
    def read(cls, paths: Sequence[Path], recipe: ReconstructionRecipe) -> "_Errors":
        by_name = {path.stem: path for path in paths}
        members = [m for own in recipe.arms.values() for m in own]
        absent = [m for m in members if m not in by_name]
        if absent:
            raise TerraprobeError(
                f"score-reconstruction: no errors of {absent[0]} among {', '.join(by_name) or 'none'}. Give them."
            )
        return cls({m: read_table(by_name[m]) for m in members}, recipe)

    @property
    def seen(self) -> set[str]:
        """Test chips that every encoder can see."""
        return set.intersection(*(set(table["chip_id"]) for table in self.tables.values()))

    def of_image(self, metric: str, chips: pd.DataFrame, counts: dict[str, int]) -> _Values:
        """`l1` or `ssim` of every arm."""
        arms = self._arms(chips, metric)
        arms[MEAN_CHIP, FLOOR] = self._columns(next(iter(self.tables)), chips, metric, [MEAN])
        return _Values(metric, arms, counts, self._means(chips))

    def of_class(self, chips: pd.DataFrame, majority: str, counts: dict[str, int]) -> _Values:
        """Whether the machines of every arm call the chips' `truth`."""
        truth = chips["truth"].to_numpy(str)
        arms = {arm: (called == truth).astype(np.float64) for arm, called in self._arms(chips, "called").items()}
        arms[MAJORITY, FLOOR] = (truth == majority)[None].astype(np.float64)
        return _Values("svm", arms, counts, self._means(chips))

    def _means(self, chips: pd.DataFrame) -> BlockMeans:
        stream = stream_seed(self.recipe.seed, self.recipe.collection)
        return BlockMeans(chips["block"].to_numpy(str), self.recipe.resamples, stream)

    def _arms(self, chips: pd.DataFrame, column: str) -> dict[Arm, NDArray[Any]]:
        """A column of every arm, (member, chip)."""
        arms: dict[Arm, NDArray[Any]] = {}
        for arm, own in self.recipe.arms.items():
            inits = list(dict.fromkeys(self.tables[own[0]]["init"]))
            kinds = {TRAINED: [TRAINED], UNTRAINED: [init for init in inits if init not in (TRAINED, MEAN)]}
            for kind, wanted in kinds.items():
                if wanted:
                    arms[arm, kind] = np.concatenate([self._columns(m, chips, column, wanted) for m in own])
        return arms

    def _columns(self, member: str, chips: pd.DataFrame, column: str, inits: list[str]) -> NDArray[Any]:
        """A column of one encoder for each init, (init, chip)."""
        by_init = self.tables[member].set_index(["init", "chip_id"])[column]
        return np.stack([by_init.loc[init].reindex(chips["chip_id"]).to_numpy() for init in inits])
