"""A small results tree with whole records, made without running any stage."""

import numpy as np
import pandas as pd

from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import record_provenance, write_json, write_table
from terraprobe.chips.store import StoreLayer, seal, write_shard
from terraprobe.probes.forest_scores import FOREST_KEY

LAYER = StoreLayer("mod44b", ("tree",), "share", 0.01, 0.0, 255, "uint8", False)
STUDY = "results/tiny"
LAND = f"{STUDY}/collections/land"


def make_results(folder, monkeypatch, *, shift=0, seed=3, code="c0de", test_set="t1", blocks=40):
    """Write `folder/results/tiny` as a run from `folder` does; returns that results folder.

    Args:
        folder: the folder of the run.
        monkeypatch: to change the current folder, since records hold relative paths.
        shift: added to the hits of the trained encoder, so that two trees differ in their scores.
        seed: in the recipe of the simulated places.
        code: digest of the code of every stage.
        test_set: digest of the test chips.
        blocks: number of test blocks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        _make_land(seed, code)
        _make_scores(shift, code, test_set, blocks)
    return folder / STUDY


def _make_land(seed, code):
    from pathlib import Path

    land, store = Path(LAND), Path(LAND, "labels/mod44b")
    tiles = land / "tiles"
    (tiles / "mod44b").mkdir(parents=True)
    for name in ("p0.tif", "p1.tif"):
        (tiles / "mod44b" / name).write_bytes(f"{name} of world {seed}".encode())
    listed = [(f"mod44b/{name}", "mod44b", {}) for name in ("p0.tif", "p1.tif")]
    write_manifest(tiles / "000.json", {"dataset": "simulated Earth"}, listed)
    record_provenance([tiles / "000.json"], [], "simulate-places", {"world": {"seed": seed}}, code)
    write_table(land / "grid.parquet", pd.DataFrame({"chip_id": ["a", "b"]}))
    record_provenance([land / "grid.parquet"], [], "lay-grid", {"chip_px": 8}, code)
    write_shard(store, "000", np.full((2, 1, 8, 8), 7, np.uint8), np.ones((2, 1), np.float32))
    shards = [store / "000.npy", store / "000.valid.npy"]
    record_provenance(shards, [land / "grid.parquet", tiles / "000.json"], "cut-chips", {"layer": "mod44b"}, code)
    seal(store, LAYER, 8, {"000": 2})
    record_provenance([store / "spec.json"], [land / "grid.parquet", *shards], "seal-store", {"layer": "mod44b"}, code)


def _make_scores(shift, code, test_set, n_blocks):
    from pathlib import Path

    root = Path(STUDY)
    encoder = root / "encoders/e"
    encoder.mkdir(parents=True)
    write_json(encoder / "card.json", {"seed": 0})
    spec = Path(LAND, "labels/mod44b/spec.json")
    record_provenance([encoder / "card.json"], [spec], "pretrain-encoder", {"seed": 0}, code)
    scores = [root / "scores/cover/e.parquet", root / "scores/cover/e.blocks.parquet"]
    counts = _counts(shift, n_blocks)
    write_table(scores[0], _scores(counts, test_set))
    write_table(scores[1], counts)
    record_provenance(scores, [encoder / "card.json"], "score-forest", {"seed": 0}, code)
    write_table(root / "scores.parquet", _scores(counts, test_set))
    record_provenance([root / "scores.parquet"], scores, "gather-scores", {"resamples": 2000}, code)
    for name in ("logs/pretrain_encoder/e.log", "benchmarks/pretrain_encoder/e.tsv", "encoders/e/state-1a/step.pt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"took {shift} s")
    (encoder / "cost.json").write_text(f'{{"seconds": {shift}}}')


def _counts(shift, n_blocks):
    """Ten test chips a block, five of either class; some are hit."""
    hits = np.random.default_rng(0).integers(0, 4, n_blocks)
    key = dict(zip(FOREST_KEY, ("cover", "land", "e", "trained", "", "concat", "water", 10, 0), strict=True))
    names = [f"b{k:03d}" for k in range(n_blocks)]
    return pd.DataFrame({**key, "block": names, "tp": hits + shift, "tn": hits, "n_pos": 5, "n_neg": 5})


def _scores(counts, test_set):
    value = (counts["tp"] + counts["tn"]).sum() / (counts["n_pos"] + counts["n_neg"]).sum()
    row = {**counts.iloc[0][list(FOREST_KEY)].to_dict(), "metric": "accuracy", "value": value}
    more = {"n_train": 10, "n_test": 10 * len(counts), "n_blocks": len(counts), "majority": 0.5, "balanced": True}
    return pd.DataFrame([{**row, **more, "primary": True, "test_set": test_set, "note": ""}])
