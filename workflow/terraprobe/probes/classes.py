"""Stage `score-classes`: how right supervised encoders are on test chips that none of them has seen."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_table, table_metadata, write_table
from terraprobe.classlists import has_classes, one_hot
from terraprobe.collections.chiptable import read_classes
from terraprobe.errors import TerraprobeError
from terraprobe.metrics import f1_scores, regional_gap
from terraprobe.probes.blockmeans import BlockMeans
from terraprobe.stage import In, Ins, Out, Recipe, progress
from terraprobe.statistics import MIN_BLOCKS, holm, interval, p_value, stream_seed

SPLITS = ("train", "val", "test")
HALF = 0.5

MAJORITY = "majority"
"""The arm that calls every chip by the most frequent train class, or by all classes that most train chips have."""

DIFFERENCES = ("evaluation", "collection", "arm", "rival", "value", "rival_value", "difference", "low", "high", "p")


class ClassesRecipe(Recipe):
    """What is scored.

    Attributes:
        evaluation: its name.
        collection: whose chips.
        label: chip-level classes.
        classes: that the encoders tell apart, by code; chips of any other are left out.
        multi_label: whether a chip may have several.
        arms: name of each encoder entry to its encoders, one a seed.
        resamples: of the test blocks.
        seed: of the resamples.
    """

    evaluation: str
    collection: str
    label: str
    classes: tuple[str, ...]
    multi_label: bool = False
    arms: dict[str, tuple[str, ...]] = Field(min_length=1)
    resamples: int = Field(2000, ge=100)
    seed: int = 0


def score_classes(
    *, predictions: Ins, chips: In, labels: In, recipe: ClassesRecipe, scores: Out, regions: Out, differences: Out,
    blocks: Out,
) -> None:  # fmt: skip
    """Hold predicted classes against the true ones; nothing else that scores heads reads the test labels.

    Every encoder stands on the same chips: those of a known class that all of them can see.

    Args:
        predictions: of `predict_classes`, one of each encoder of the recipe.
        chips: `chips.parquet`.
        labels: `labels.parquet`.
        recipe: encoders and classes.
        scores: a row for each arm, encoder (empty: the mean of the arm) and `metric`: `accuracy` on the test chips with
            a 95 % interval over their blocks (of an arm over blocks, then seeds), `train_accuracy`, `val_accuracy`,
            `gen_ml` (train minus test accuracy), `gen_geo` (`metrics.regional_gap`), `f1_macro` (`metrics.f1_scores`);
            where a chip may have several classes, accuracy is the share of them that is called right, and `f1_micro`
            stands beside it; `sd` over seeds; how many chips;
            `n_unlabelled, n_unseen`: test chips left out without a class, or because an encoder cannot see them.
        regions: `accuracy` of every encoder on the `n_test` chips of each region.
        differences: arms against the majority class and each other, paired by block, `p_holm` over all of them.
        blocks: `right` (sum of how right each chip is called) of `n_test` test chips, by arm, encoder and block.

    Raises:
        TerraprobeError: predictions of an encoder are absent, or no train or test chip can be judged.
    """
    table = _read(chips, labels, predictions, recipe)
    right = _Right(table, recipe)
    rows = [row for arm, members in recipe.arms.items() for row in right.arm(arm, members)]
    rows += right.arm(MAJORITY, (MAJORITY,))[-1:]
    digests = {path.parent.name: table_metadata(path).get("encoder_sha256", "") for path in predictions}
    frame = pd.DataFrame(rows)
    frame["encoder_sha256"] = frame["encoder"].map(digests).fillna("")
    write_table(scores, frame)
    write_table(regions, right.regions())
    write_table(differences, right.differences())
    write_table(blocks, right.blocks())
    told = frame[(frame["encoder"] == "") & (frame["metric"] == "accuracy")]
    progress("; ".join(f"{r.arm} {r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in told.itertuples()))


def _read(chips: Path, labels: Path, predictions: Sequence[Path], recipe: ClassesRecipe) -> pd.DataFrame:
    """Chips in a split: `chip_id, block, split, region, truth` and a column of predictions for each encoder."""
    table: pd.DataFrame = pd.DataFrame(read_table(chips)[["chip_id", "block", "split", "region"]])
    table = table[table["split"].isin(SPLITS)].sort_values("chip_id", ignore_index=True)
    table["truth"] = read_classes(labels, recipe.label, table["chip_id"].to_numpy(str))
    by_name = {path.parent.name: path for path in predictions}
    for member in (m for members in recipe.arms.values() for m in members):
        if member not in by_name:
            raise TerraprobeError(f"score-classes: no predictions of {member} among {', '.join(by_name)}. Give them.")
        called = read_table(by_name[member]).set_index("chip_id")["predicted"]
        table[f"called {member}"] = called.reindex(table["chip_id"]).to_numpy(object)
    return table


class _Right:
    """Which chips were called right, by encoder."""

    def __init__(self, table: pd.DataFrame, recipe: ClassesRecipe) -> None:
        self.recipe = recipe
        columns = [name for name in table if str(name).startswith("called ")]
        known = has_classes(table["truth"].to_numpy(), recipe.classes, recipe.multi_label)
        labelled, seen = pd.Series(known), table[columns].notna().all(axis=1)
        test = table["split"] == "test"
        self.counts = {"n_unlabelled": int((test & ~labelled).sum()), "n_unseen": int((test & labelled & ~seen).sum())}
        chips = table[labelled & seen].reset_index(drop=True)
        self.chips, self.rows = chips, {part: np.flatnonzero(chips["split"] == part) for part in SPLITS}
        empty = [part for part in ("train", "test") if not len(self.rows[part])]
        if empty:
            raise TerraprobeError(
                f"score-classes: no {empty[0]} chip of {recipe.collection} has a known {recipe.label} and can be seen "
                f"by all of {', '.join(recipe.arms)}. Look at labels.parquet and at the split."
            )
        self.truth = one_hot(chips["truth"].to_numpy(), recipe.classes)
        self.called = {str(n).removeprefix("called "): one_hot(chips[n].to_numpy(), recipe.classes) for n in columns}
        often = self.truth[self.rows["train"]].mean(axis=0)
        # Of several classes that tie, the first: the lowest code.
        constant = often > HALF if recipe.multi_label else np.arange(len(often)) == np.argmax(often)
        self.majority = " ".join(np.array(recipe.classes)[constant])
        self.called[MAJORITY] = np.broadcast_to(constant, self.truth.shape)
        agree = {name: self.truth == called for name, called in self.called.items()}
        self.right: dict[str, NDArray[np.float64]] = {
            name: (same.mean(axis=1) if recipe.multi_label else same.all(axis=1).astype(np.float64))
            for name, same in agree.items()
        }
        blocks = chips["block"].iloc[self.rows["test"]].to_numpy(str)
        self.means = BlockMeans(blocks, recipe.resamples, stream_seed(recipe.seed, recipe.collection))
        self.n_blocks = self.means.n_blocks
        self.counts |= {**{f"n_{part}": len(rows) for part, rows in self.rows.items()}, "n_blocks": self.n_blocks}

    def hits(self, members: Sequence[str]) -> NDArray[np.float64]:
        """How right each test chip is called, (member, chip)."""
        return np.stack([self.right[m][self.rows["test"]] for m in members])

    def metrics(self, member: str) -> dict[str, float]:
        """Every metric of one encoder."""
        shares = {part: float(self.right[member][rows].mean()) if len(rows) else np.nan
                  for part, rows in self.rows.items()}  # fmt: skip
        test = self.rows["test"]
        f1 = f1_scores(self.truth[test], self.called[member][test])
        return {
            "accuracy": shares["test"],
            "train_accuracy": shares["train"],
            "val_accuracy": shares["val"],
            "gen_ml": shares["train"] - shares["test"],
            "gen_geo": regional_gap(self.right[member][test], self.chips["region"].to_numpy(str)[test]),
            **(f1 if self.recipe.multi_label else {"f1_macro": f1["f1_macro"]}),  # micro is the accuracy then
        }

    def arm(self, arm: str, members: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of every encoder of an arm, then those of the arm itself, accuracy last."""
        found = {m: self.metrics(m) for m in members}
        lasts = [name for name in found[members[0]] if name != "accuracy"] + ["accuracy"]
        samples = self.means.resampled(self.hits(members))
        rows = [
            self._row(arm, m, name, values[name], samples[:, k] if name == "accuracy" else None)
            for k, (m, values) in enumerate(found.items())
            for name in lasts
        ]
        for name in lasts:
            values = np.array([found[m][name] for m in members])
            of_arm = self.means.of_arm(self.hits(members)) if name == "accuracy" else None
            row = self._row(arm, "", name, float(values.mean()), of_arm)
            rows.append(row | {"sd": float(values.std(ddof=1)) if len(values) > 1 else np.nan, "n_seeds": len(values)})
        return rows

    def _row(
        self, arm: str, encoder: str, metric: str, value: float, samples: NDArray[np.float64] | None
    ) -> dict[str, Any]:
        low, high = (np.nan, np.nan) if samples is None else interval(samples)
        recipe = self.recipe
        where = {"evaluation": recipe.evaluation, "collection": recipe.collection, "label": recipe.label}
        told = {"metric": metric, "value": value, "sd": np.nan, "low": low, "high": high, "n_seeds": 1}
        few = {"few_blocks": self.n_blocks < MIN_BLOCKS, "n_classes": len(recipe.classes), "majority": self.majority}
        return {**where, "arm": arm, "encoder": encoder, **told, **self.counts, **few}

    def regions(self) -> pd.DataFrame:
        """Accuracy of every encoder in every region of the test chips."""
        rows = []
        test = self.rows["test"]
        region = self.chips["region"].to_numpy(str)[test]
        members = [(arm, m) for arm, names in self.recipe.arms.items() for m in names]
        for arm, member in [*members, (MAJORITY, MAJORITY)]:
            for name in sorted(set(region)):
                inside = self.right[member][test][region == name]
                rows.append({"evaluation": self.recipe.evaluation, "arm": arm, "encoder": member, "region": name,
                             "n_test": len(inside), "accuracy": float(inside.mean())})  # fmt: skip
        return pd.DataFrame(rows)

    def blocks(self) -> pd.DataFrame:
        """What intervals are made of: test chips of every block, and how many of them every encoder calls right."""
        recipe, names = self.recipe, self.means.names
        members = [(arm, m) for arm, found in recipe.arms.items() for m in found] + [(MAJORITY, MAJORITY)]
        counts = self.means.counts(self.hits([m for _, m in members]))
        where = {"evaluation": recipe.evaluation, "collection": recipe.collection}
        frames = [
            pd.DataFrame({**where, "arm": arm, "encoder": m, "block": names, "right": own[:, 0], "n_test": own[:, 1]})
            for (arm, m), own in zip(members, counts, strict=True)
        ]
        return pd.concat(frames, ignore_index=True).astype({"n_test": int})

    def differences(self) -> pd.DataFrame:
        """Arms against the majority class and against each other, on the same resampled blocks."""
        arms = {**self.recipe.arms, MAJORITY: (MAJORITY,)}
        samples = {arm: self.means.of_arm(self.hits(members)) for arm, members in arms.items()}
        value = {arm: float(np.mean([self.metrics(m)["accuracy"] for m in members])) for arm, members in arms.items()}
        rows = []
        for a, b in combinations(arms, 2):
            gap = samples[a] - samples[b]
            where = (self.recipe.evaluation, self.recipe.collection, a, b)
            found = (value[a], value[b], value[a] - value[b], *interval(gap), p_value(gap))
            rows.append(dict(zip(DIFFERENCES, (*where, *found), strict=True)))
        frame = pd.DataFrame(rows)
        return frame.assign(p_holm=holm(frame["p"].to_numpy(np.float64)))
