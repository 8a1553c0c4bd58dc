"""A small made-up world of answers by MLPs, as `call_mlp` and `fit_mlp` write them."""

import numpy as np
import pandas as pd

from terraprobe.artifacts import read_table, write_arrays, write_json, write_table
from terraprobe.probes.mlp_scores import MlpScoresRecipe, score_mlp

CLASSES = ("crop", "tree", "water")
VIEWS = (("s2_l1c", "B04"), ("s2_l1c", "B08"), ("s1_grd", "VV"))
ARMS = {"good": ("good_s0", "good_s1"), "bad": ("bad_s0", "bad_s1")}
WRONG = {"good_s0": 0.1, "good_s1": 0.15, "bad_s0": 0.5, "bad_s1": 0.6, "floors": 0.4}
DRAWS, BLOCKS, PER_BLOCK = 2, 8, 5


def write_world(folder, collection="land", seed=0, twins=1):
    """Eight blocks of test chips; answers that are wrong on a known share of them; chip 3 lacks radar for `bad_s0`."""
    rng = np.random.default_rng(seed)
    n = BLOCKS * PER_BLOCK
    ids = [f"c{k:03d}" for k in range(n)]
    chips = pd.DataFrame({"chip_id": ids, "block": [f"b{k // PER_BLOCK}" for k in range(n)], "split": "test"})
    more = pd.DataFrame({"chip_id": ["t0", "t1"], "block": "b9", "split": ["train", "val"]})
    write_table(folder / "chips.parquet", pd.concat([chips, more], ignore_index=True))
    truth = rng.integers(0, 3, n)
    names = np.array(CLASSES, object)[truth]
    names[7], names[8] = None, "moss"
    write_table(folder / "labels.parquet", pd.DataFrame({"chip_id": ids, "cover_class": names}))
    for member, wrong in WRONG.items():
        inits = ["image_stats"] if member == "floors" else ["trained", *(f"random-{k}" for k in range(twins))]
        choices, archive = [], {"chip_ids": np.array(ids), "classes": np.array(CLASSES)}
        for modality, view in VIEWS:
            for init in inits:
                share = wrong if init in ("trained", "image_stats") else 0.7
                choices.append({"modality": modality, "view": view, "init": init, "n_shots": 0, "n_train": 30,
                                "effective_rank": 2.5, "lr": 0.01})  # fmt: skip
                archive[str(len(choices) - 1)] = answers(truth, share, rng)
        if member == "bad_s0":
            for k, choice in enumerate(choices):
                if choice["view"] == "VV":
                    archive[str(k)][:, 3] = np.nan
        write_arrays(folder / "mlp" / f"{member}.called.npz", archive)
        content = {"classes": list(CLASSES), "majority": "tree", "choices": choices}
        write_json(folder / "mlp" / f"{member}.json", content)
    return folder


def answers(truth, wrong, rng):
    """Probabilities of draws that are wrong on a share of the chips."""
    called = np.where(rng.random((DRAWS, len(truth))) < wrong, (truth + 1) % 3, truth)
    noise = rng.uniform(0, 0.3, (DRAWS, len(truth), 3))
    p = noise + np.eye(3)[called]
    return (p / p.sum(axis=2, keepdims=True)).astype(np.float32)


def score(world, **changes):
    """`score_mlp`; returns its tables by name."""
    told = {
        "evaluation": "e",
        "collection": "land",
        "label": "cover_class",
        "arms": tuple(ARMS.items()),
        "resamples": 300,
    }
    outputs = {name: world / f"{name}.parquet" for name in ("scores", "differences", "samples", "curves")}
    score_mlp(
        called=sorted(world.glob("mlp/*.npz")), selections=sorted(world.glob("mlp/*.json")),
        chips=world / "chips.parquet", labels=world / "labels.parquet",
        recipe=MlpScoresRecipe(**{**told, **changes}), **outputs,
    )  # fmt: skip
    return {name: read_table(path) for name, path in outputs.items()}
