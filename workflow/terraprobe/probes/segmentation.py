"""Stages `select-segmentation` and `segment-chips`: classes of pixels, by heads on the features of one encoder.

The learning rate is chosen on validation chips and frozen in a file; test chips are seen by what was chosen alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from terraprobe.artifacts import read_json, write_arrays, write_json, write_table
from terraprobe.collections.chiptable import drawn_first
from terraprobe.encoders import Encoder, with_twins
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.probes.confusion import SCORES, overall_scores
from terraprobe.probes.feature_pictures import COLOURS, principal_colours
from terraprobe.probes.inits import TRAINED
from terraprobe.probes.labelled_pixels import LabelledLand, count_pixels
from terraprobe.probes.segmentation_fit import (
    Fitted,
    ProbeRecipe,
    Unit,
    View,
    batches,
    fit,
    seen_by,
    sight_of,
    sight_text,
    units_of,
)
from terraprobe.probes.segmentation_model import write_model
from terraprobe.probes.segmentation_table import counts_table
from terraprobe.stage import In, Ins, Out, progress

Choice = dict[str, Any]
"""What was chosen for one init, tower, band and size; a row of the selection file."""


def select_segmentation(
    *, chips: In, stores: Ins, context: Ins, truth: In, card: In, weights: In, recipe: ProbeRecipe, selection: Out
) -> None:
    """Choose the learning rate of every probe of an encoder and its twins on validation chips.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modalities that the encoder sees.
        context: its `context.parquet` where the encoder takes context; nothing elsewhere.
        truth: `spec.json` of the label layer; pixels of train and validation chips alone are read.
        card: `card.json` of the encoder, beside its weights.
        weights: `encoder.safetensors` of it.
        recipe: classes, protocol, draws and candidates.
        selection: JSON: `choices`, of each init, tower, band and size the learning rate with the highest mean
            intersection over union on all labelled validation chips, of the first draw (the first of equals), beside
            those of all candidates; `best`, the choice of the trained encoder with most labels that scores highest.

    Raises:
        TerraprobeError: the encoder cannot see the collection or has no features for each pixel, or there are no
            labelled chips to learn from or choose by.
    """
    probed = _Probed(chips, truth, recipe, stores=stores, context=context, card=card, weights=weights)
    validation = probed.labelled.labelled("val")
    choices: list[Choice] = []
    for init, view in probed.views():
        draws = {size: probed.draw(view, size, 0) for size in recipe.sizes}
        judged = validation[view.seen[validation]]
        if not len(judged):
            raise TerraprobeError(
                f"encoder {probed.encoder.name}, {view.unit.title}: sees no labelled validation chip of "
                f"{recipe.collection} to choose a learning rate by. Look at the split and at the label layer."
            )
        drawn = {size: rows for size, rows in draws.items() if rows is not None}
        probed.keep(view, [judged, *drawn.values()])
        for size, rows in drawn.items():
            tried = [(lr, _miou(fit(view, rows, recipe, lr, 0), judged))
                     for lr in recipe.lrs]  # fmt: skip
            lr, score = max(tried, key=lambda pair: pair[1])
            what = {"init": init, "tower": view.unit.tower, "band": view.unit.band, "size": size}
            choices.append({**what, "n_train": len(rows), "lr": lr, "val_miou": score, "candidates": tried})
    own = [choice for choice in choices if choice["init"] == TRAINED]
    if not own:
        raise TerraprobeError(
            f"encoder {probed.encoder.name}: none of the sizes {list(recipe.sizes)} can be drawn from the "
            f"{len(probed.labelled.train)} labelled train chips of {recipe.collection}. Give smaller ones."
        )
    best = max(own, key=lambda choice: (choice["n_train"], choice["val_miou"]))
    write_json(selection, {"encoder_sha256": probed.encoder.digest, "choices": choices, "best": best})
    progress(f"{recipe.evaluation} with {probed.encoder.name}: {len(choices)} choices; best on validation: "
             f"{best['tower']} {best['band']} with {best['n_train']} chips, mIoU {best['val_miou']:.4f}")  # fmt: skip


def segment_chips(
    *, chips: In, stores: Ins, context: Ins, truth: In, strata: Ins, card: In, weights: In, selection: In,
    recipe: ProbeRecipe, counts: Out, maps: Out, model: Out, model_card: Out,
) -> None:  # fmt: skip
    """Fit every probe of an encoder and its twins with what validation chose, and call the pixels of the test chips.

    Args:
        chips: `chips.parquet` of the collection.
        stores: `spec.json` of the modalities that the encoder sees.
        context: its `context.parquet` where the encoder takes context; nothing elsewhere.
        truth: `spec.json` of the label layer.
        strata: `spec.json` of the layer whose classes pixels are also scored by, or nothing.
        card: `card.json` of the encoder, beside its weights.
        weights: `encoder.safetensors` of it.
        selection: of `select_segmentation`.
        recipe: classes, protocol and draws.
        counts: Parquet: of each init, tower, band, size (0 = all), draw, stratum and labelled test chip that can be
            seen how many `pixels` of class `truth` were called class `called`, both numbers in the order of the
            classes; no row where there are none.
        maps: NumPy archive of a few test chips: `chip_ids` (n,), `truth` (n, y, x), `called` (probe, n, y, x), 255 =
            not known, and of each probe `inits`, `towers`, `bands`; largest size, first draw. `best`: tower and band
            that the selection calls so. `features` (n, h, w, 3): principal components of its features as colours, of an
            encoder that stays as it is; none of one that is fine-tuned, or has fewer than three features.
        model: safetensors of the selection's best probe, first draw: tower and head.
        model_card: JSON: what it is, for `terraprobe map`.

    Raises:
        TerraprobeError: the selection is of another encoder, or no labelled test chip can be seen.
    """
    probed = _Probed(chips, truth, recipe, stores=stores, context=context, card=card, weights=weights, strata=strata)
    chosen = read_json(selection)
    if chosen["encoder_sha256"] != probed.encoder.digest:
        raise TerraprobeError(f"{selection}: chosen for another encoder than {card.parent}. Run Snakemake again.")
    test = probed.labelled.labelled("test")
    tables, pictures, best = [], _Pictures(probed, test), chosen["best"]
    for init, view in probed.views():
        own = [c for c in chosen["choices"] if (c["init"], c["tower"], c["band"]) == (init, *view.unit.key)]
        judged = test[view.seen[test]]
        if not own or not len(judged):
            continue
        probed.keep(view, [judged, *(rows for choice in own for rows in probed.draws(view, choice["size"]))])
        for choice in own:
            for repeat, rows in enumerate(probed.draws(view, choice["size"])):
                fitted = fit(view, rows, recipe, choice["lr"], repeat)
                what = {"init": init, "tower": view.unit.tower, "band": view.unit.band,
                        "sees": sight_text(sight_of(view.encoder, view.unit)), "size": choice["size"],
                        "n_train": len(rows), "repeat": repeat}  # fmt: skip
                pixels = probed.labelled.counts(judged, fitted.call(judged))
                tables.append(counts_table(pixels, probed.ids[judged], what, probed.labelled.strata_names))
                if repeat == 0 and choice["size"] == best["size"]:
                    pictures.add(init, fitted)
                if repeat == 0 and choice == best:
                    pictures.keep_features(fitted)
                    write_model(model, model_card, fitted, recipe, choice)
    if not tables:
        raise TerraprobeError(
            f"encoder {probed.encoder.name}: sees no labelled test chip of {recipe.collection}. Look at the split and "
            "at the label layer."
        )
    frame = pd.concat(tables, ignore_index=True)
    write_table(counts, frame, {"encoder": probed.encoder.name, "encoder_sha256": probed.encoder.digest})
    write_arrays(maps, pictures.arrays(best))
    progress(f"{recipe.evaluation} with {probed.encoder.name}: {len(tables)} probes on {len(test)} labelled test chips")


def _miou(fitted: Fitted, judged: NDArray[np.intp]) -> float:
    land = fitted.view.labelled
    counts = count_pixels(land.truth(judged), fitted.call(judged), len(land.classes)).sum(axis=0).astype(np.float64)
    present = int((counts.sum(axis=1) > 0).sum())
    return float(overall_scores(counts, present)[SCORES.index("miou")])


class _Probed:
    """An encoder and its twins, and the labelled chips of a collection."""

    def __init__(
        self, chips: Path, truth: Path, recipe: ProbeRecipe, *, stores: list[Path], context: list[Path], card: Path,
        weights: Path, strata: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        torch.set_num_threads(recipe.cpu_threads)
        if weights.parent != card.parent:
            raise TerraprobeError(f"{card} and {weights} are of two encoders; give both of one.")
        self.recipe, self.encoder = recipe, Encoder.load(card.parent)
        land = Land.open(recipe.collection, chips, stores, context)
        self.labelled = LabelledLand.open(land, truth, recipe.classes, strata)
        self._usable = land.usable(self.encoder)
        self.units = units_of(self.encoder, self._usable, recipe)
        self.ids = land.table["chip_id"].to_numpy(str)

    def seen(self, unit: Unit) -> NDArray[np.bool_]:
        """Which chips a unit can see, (chip,)."""
        return seen_by(unit, self._usable)

    def views(self) -> Iterator[tuple[str, View]]:
        """Every unit of the encoder, then of each twin."""
        for init, encoder in with_twins(self.encoder, self.recipe.random_inits).items():
            for unit in self.units:
                yield init, View(encoder, self.labelled, unit, self.seen(unit))

    def keep(self, view: View, parts: Sequence[NDArray[np.intp]]) -> None:
        """Make the features of all chips that will be asked for once, where the encoder stays as it is."""
        if self.recipe.protocol != "finetune":
            view.keep(np.unique(np.concatenate(parts)))

    def draw(self, view: View, size: int, repeat: int) -> NDArray[np.intp] | None:
        """Train chips of a draw, None where there are too few."""
        return self.labelled.drawn(view.seen, size, self.recipe.seed, repeat)

    def draws(self, view: View, size: int) -> list[NDArray[np.intp]]:
        """Train chips of every draw; none where there are too few."""
        found = [self.draw(view, size, repeat) for repeat in range(self.recipe.repeats)]
        return [rows for rows in found if rows is not None]


class _Pictures:
    """A few test chips that every unit can see, and what probes call their pixels."""

    def __init__(self, probed: _Probed, test: NDArray[np.intp]) -> None:
        common = test[np.all([probed.seen(unit)[test] for unit in probed.units], axis=0)]
        order = drawn_first(probed.ids[common], probed.recipe.seed)
        self.rows = common[order[: probed.recipe.shown]]
        self._probed = probed
        self._found: list[tuple[str, Unit, NDArray[np.uint8]]] = []
        self._features = np.empty((0, 0, 0, COLOURS), np.uint8)

    def add(self, init: str, fitted: Fitted) -> None:
        """Keep what a probe calls them: the trained encoder's, and the first twin's."""
        if len(self.rows) and init in (TRAINED, "random-0"):
            self._found.append((init, fitted.view.unit, fitted.call(self.rows)))

    def keep_features(self, fitted: Fitted) -> None:
        """Keep what the encoder gives before the head, where it stays as it is."""
        if fitted.frozen and fitted.channels >= COLOURS and len(self.rows):
            with torch.no_grad():
                parts = [fitted.view.features(part) for part in batches(self.rows, fitted.view.batch)]
            self._features = principal_colours(torch.cat(parts))

    def arrays(self, best: Choice) -> dict[str, NDArray[Any]]:
        """What is kept, and which tower and band of it validation chose."""
        side = self._probed.labelled.labels.chip_px
        shape = (0, len(self.rows), side, side)
        called = np.stack([c for *_, c in self._found]) if self._found else np.empty(shape, np.uint8)
        truth = self._probed.labelled.truth(self.rows)
        return {
            "best": np.array([best["tower"], best["band"]], str),
            "features": self._features,
            "chip_ids": self._probed.ids[self.rows], "truth": truth, "called": called,
            "inits": np.array([init for init, *_ in self._found], str),
            "towers": np.array([unit.tower for _, unit, _ in self._found], str),
            "bands": np.array([unit.band for _, unit, _ in self._found], str),
        }  # fmt: skip
