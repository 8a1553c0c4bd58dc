"""A fitted probe on disk: weights, and the card without which they cannot be used."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from terraprobe.artifacts import read_json, write_json
from terraprobe.chips.store import ChipStore
from terraprobe.encoders import Encoder, read_weights, write_weights
from terraprobe.errors import TerraprobeError
from terraprobe.models.segmenter import Segmenter
from terraprobe.probes.segmentation_fit import Fitted, ProbeRecipe, Unit, batch_size, build_head, prepare, sight_of

MODEL, MODEL_CARD = "model.safetensors", "card.json"

KIND = "segmentation"
"""Says in a card that it is one of a probe."""


def write_model(weights: Path, card: Path, fitted: Fitted, recipe: ProbeRecipe, choice: dict[str, Any]) -> None:
    """Write a fitted probe.

    Args:
        weights: where its weights go: `tower.…` and `head.…`.
        card: where its card goes.
        fitted: the probe.
        recipe: how it was fitted.
        choice: row of the selection that it is.
    """
    encoder, unit = fitted.view.encoder, fitted.view.unit
    write_weights(weights, fitted.segmenter.state_dict())
    write_json(card, {
        "kind": KIND,
        "encoder": {"name": encoder.name, "sha256": encoder.digest, "card": dict(encoder.card)},
        "unit": asdict(unit),
        "protocol": recipe.protocol,
        "channels": fitted.channels,
        "classes": list(fitted.view.labelled.classes),
        "codes": fitted.view.labelled.codes,
        "label": recipe.label,
        "learnt": {"evaluation": recipe.evaluation, "collection": recipe.collection, **choice},
    })  # fmt: skip


class ProbeModel:
    """A fitted probe, read back.

    Args:
        card: what it is.
        encoder: normalisation, and the tower.
        segmenter: tower and head.

    Attributes:
        classes: names.
        codes: of the classes, 1 to 255.
        chip_px: side of the chips that it was made for.
        batch: chips a forward pass.
        bands: modality to the bands that it sees.
        title: what it is, in one line.
    """

    def __init__(self, card: Mapping[str, Any], encoder: Encoder, segmenter: Segmenter) -> None:
        self._encoder, self._segmenter, self._unit = (
            encoder,
            segmenter.to(encoder.device).eval(),
            Unit(**{**card["unit"], "parts": tuple(card["unit"]["parts"])}),
        )
        self.classes: list[str] = card["classes"]
        self.codes: list[int] = card["codes"]
        self.chip_px: int = encoder.card["chip_px"]
        self.batch = batch_size(encoder, self._unit)
        self.bands = dict(sight_of(encoder, self._unit))
        learnt = card["learnt"]
        self.title = (
            f"{encoder.name}, {self._unit.title}, {card['protocol']}, {learnt['n_train']} labelled chips of "
            f"{learnt['collection']} ({card['label']})"
        )

    @classmethod
    def load(cls, folder: Path) -> "ProbeModel":
        """Read a fitted probe.

        Raises:
            TerraprobeError: the folder holds none, its files do not belong together, or it takes context.
        """
        card = read_json(folder / MODEL_CARD)
        if not isinstance(card, dict) or card.get("kind") != KIND:
            raise TerraprobeError(
                f"{folder}: no fitted probe of pixels. Give results/<study>/segmentation/<evaluation>/<encoder>."
            )
        record = card["encoder"]
        encoder = Encoder.random_init(record["card"], 0, record["name"])
        if any(tower.context is not None for tower in encoder.inputs.values()):
            raise TerraprobeError(
                f"{folder}: encoder {record['name']} takes climate and elevation beside the image, which terraprobe "
                "map does not read. Give a probe of an encoder without conditioning."
            )
        head = build_head(card["protocol"], card["channels"], len(card["classes"]))
        segmenter = Segmenter(encoder.module(card["unit"]["parts"][0]), head)
        try:
            segmenter.load_state_dict(read_weights(folder / MODEL))
        except RuntimeError as error:
            raise TerraprobeError(
                f"{folder / MODEL}: not the weights that {folder / MODEL_CARD} describes "
                f"({' '.join(str(error).split())[:200]}). Delete both and run Snakemake again."
            ) from error
        return cls(card, encoder, segmenter)

    def probabilities(self, stores: Mapping[str, ChipStore], count: int) -> Tensor:
        """How probable each class is at every pixel of the first `count` chips, (chip, class, y, x), on the CPU."""
        with torch.inference_mode():
            inputs = prepare(self._encoder, self._unit, stores, np.arange(count))
            scores: Tensor = self._segmenter(*inputs)
            return scores.softmax(dim=1).float().cpu()
