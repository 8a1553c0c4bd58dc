"""The three stages that are measured, on one land, and what a run of each costs."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from types import MappingProxyType
from typing import Any

from benchmarks.scale.land import LAYER, Land
from terraprobe.chips.cut import CutRecipe, SealRecipe, cut_chips, seal_store
from terraprobe.embed import EmbedRecipe, embed_chips
from terraprobe.probes.forest import ForestRecipe, score_forest, select_forest
from terraprobe.train import PretrainRecipe, pretrain_encoder

SAMPLE_SECONDS = 0.01
ENCODER: Mapping[str, Any] = MappingProxyType({"width": 8, "blocks": [1, 1], "epochs": 1, "batch_size": 64})
"""A small `bioclim`: a chip costs what it costs, however many there are."""


@dataclass(frozen=True)
class Cost:
    """What one run of a stage took.

    Attributes:
        seconds: of CPU time, starting the process and importing left out.
        peak: most bytes of its own, beyond those it began with; pages of files are not its own.
    """

    seconds: float
    peak: int


def cut(land: Land, encoder: Path) -> None:
    """Cut and seal all chips."""
    pixels, valid = land.path(f"chips/{LAYER}/000.npy"), land.path(f"chips/{LAYER}/000.valid.npy")
    pixels.parent.mkdir(parents=True, exist_ok=True)
    inputs = {"grid": land.path("grid.parquet"), "manifest": land.path("manifest.json")}
    cut_chips(**inputs, recipe=CutRecipe(layer=LAYER, shard="000"), pixels=pixels, valid=valid)
    seal_store(grid=inputs["grid"], shards=[pixels, valid], recipe=SealRecipe(layer=LAYER), spec=_store(land))


def embed(land: Land, encoder: Path) -> None:
    """Embed all chips by one encoder."""
    embed_chips(
        chips=land.path("chips.parquet"), stores=[_store(land)], context=[], cards=[encoder / "card.json"],
        weights=[encoder / "encoder.safetensors"], recipe=EmbedRecipe(collection="land", random_inits=0),
        embeddings=[land.path("embeddings.parquet")],
    )  # fmt: skip


def forests(land: Land, encoder: Path) -> None:
    """Choose and score forests that learn from 100 and from all train chips."""
    recipe = ForestRecipe(evaluation="e", collection="land", train_on=("land",), tasks=("bright",), sizes=(100, 0))
    inputs: dict[str, Any] = {
        name: [land.path(f"{name}.parquet")] for name in ("embeddings", "chips", "labels")
    }  # fmt: skip
    selection = land.path("selection.json")
    select_forest(**inputs, recipe=recipe, selection=selection)
    outputs: dict[str, Any] = {name: land.path(f"{name}.parquet") for name in ("scores", "blocks", "optimism")}
    score_forest(**inputs, selection=selection, recipe=recipe, **outputs)


STAGES: Mapping[str, Callable[[Land, Path], None]] = MappingProxyType({"cut": cut, "embed": embed, "forests": forests})


def train(land: Land, out: Path) -> Path:
    """An encoder to embed with, trained for one epoch on a land that has been cut."""
    pretrain_encoder(
        chips=[land.path("chips.parquet")], stores=[_store(land)], context=[], labels=[], start=[],
        recipe=PretrainRecipe(method="bioclim", collections=["land"], recipe=dict(ENCODER)),
        weights=out / "encoder.safetensors", card=out / "card.json", history=out / "history.parquet",
    )  # fmt: skip
    return out


def measure(stage: str, land: Land, encoder: Path) -> Cost:
    """Run a stage in a process of its own, which has everything imported already."""
    context = get_context("fork")
    theirs, ours = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(stage, land, encoder, ours))
    child.start()
    ours.close()
    cost: Cost = theirs.recv()
    child.join()
    return cost


def _run(stage: str, land: Land, encoder: Path, answer: Any) -> None:
    before, over, peak = _own_bytes(), Event(), [0]

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], _own_bytes())

    watching = Thread(target=watch)
    watching.start()
    began = time.process_time()
    try:
        STAGES[stage](land, encoder)
    finally:
        seconds = time.process_time() - began
        over.set()
        watching.join()
    answer.send(Cost(seconds, max(0, peak[0] - before)))


def _own_bytes() -> int:
    """Memory of this process that is not a file's."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def _store(land: Land) -> Path:
    return land.path(f"chips/{LAYER}/spec.json")
