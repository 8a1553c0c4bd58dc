"""A small made-up world of chips, labels, embeddings and floors, and its evaluation."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from terraprobe.artifacts import write_table
from terraprobe.probes.forest import ForestRecipe, score_forest, select_forest

SPLITS = np.array(["train", "train", "train", "val", "test"])
RECIPE = ForestRecipe(
    evaluation="few", collection="toy", train_on=("toy",), tasks=("green", "rare", "flat"), sizes=(0, 10, 1000),
    repeats=2, full_repeats=1, trees=(3, 6), depths=(2, 4), selection_shots=20, resamples=200, seed=5,
)  # fmt: skip


class World:
    """Tables in memory; `write` puts them into a folder. 40 blocks of 5 chips: 120 train, 40 val, 40 test."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        n = 200
        ids = [f"chip{i:03d}" for i in range(n)]
        block = np.arange(n) // 5
        split = SPLITS[block % 5]
        self.chips = pd.DataFrame({"chip_id": ids, "block": [f"p{b:02d}" for b in block], "split": split})
        green = rng.random(n)
        rare = np.where(rng.random(n) < 0.2, rng.random(n), 0.0)
        self.labels = pd.DataFrame({"chip_id": ids, "green": green, "rare": rare, "flat": 0.5})
        frames = []
        for init, signal in (("trained", 4.0), ("random-0", 0.5), ("random-1", 0.5)):
            x = rng.normal(size=(n, 6)).astype(np.float32)
            x[:, 0] += signal * green
            frames.append(pd.DataFrame({"chip_id": ids, "init": init, "modality": "optical", "embedding": list(x)}))
        self.embeddings = pd.concat(frames, ignore_index=True)
        xyz = rng.normal(size=(n, 3)).astype(np.float32)
        self.floors = pd.DataFrame({"chip_id": ids, "floor": "coordinates", "modality": "", "embedding": list(xyz)})

    def write(self, folder: Path) -> SimpleNamespace:
        """Write the tables; the paths of what stages make are named as well."""
        paths = SimpleNamespace(
            chips=folder / "chips.parquet", labels=folder / "labels.parquet", embeddings=folder / "enc.parquet",
            floors=folder / "floors.parquet", selection=folder / "sel.json", scores=folder / "s.parquet",
            blocks=folder / "b.parquet", optimism=folder / "o.parquet",
        )  # fmt: skip
        write_table(paths.chips, self.chips)
        write_table(paths.labels, self.labels)
        write_table(paths.embeddings, self.embeddings, {"encoder": "tiny", "encoder_sha256": "abc"})
        write_table(paths.floors, self.floors)
        return paths


def run(paths: SimpleNamespace, recipe: ForestRecipe = RECIPE) -> SimpleNamespace:
    """Both stages on an encoder and the floors at once."""
    inputs = {"embeddings": [paths.embeddings, paths.floors], "chips": [paths.chips], "labels": [paths.labels]}
    select_forest(**inputs, recipe=recipe, selection=paths.selection)
    outputs = {"scores": paths.scores, "blocks": paths.blocks, "optimism": paths.optimism}
    score_forest(**inputs, selection=paths.selection, recipe=recipe, **outputs)
    return paths
