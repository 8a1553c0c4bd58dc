"""A small finished study, made up: every file the report reads, in the format that the stages write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from pyproj import Transformer
from shapely.geometry import box

from terraprobe.artifacts import write_json, write_table
from terraprobe.chips.store import StoreLayer, seal, write_shard
from terraprobe.collections.leakage import LeakageLimit, LeakageRecipe, audit_leakage
from terraprobe.modalities import LABELS, MODALITIES
from terraprobe.probes.optimism import COLUMNS, GAP_KEY
from terraprobe.probes.pooling import PoolRecipe
from terraprobe.probes.scores import SummaryRecipe, gather_scores
from terraprobe.report.mistakes import MistakesRecipe, gather_mistakes
from terraprobe.report.notes import CollectionNote, EncoderNote, EvaluationNote, PoolNote, ReportRecipe
from terraprobe.report.page import write_report
from terraprobe.report.projection import ProjectionRecipe, project_embeddings

PX = 16
SIDE_M = PX * 10
TASKS = {"scene": ("osm_forest", "osm_water"), "sim": ("vegetation", "water")}
TOWERS = {"clip3_s2": ("visible", "infrared", "concat"), "clip3_sim": ("s2", "s1", "coherence", "concat")}
ON = {"clip3_s2": "scene", "clip3_sim": "sim"}


POOLS = (PoolRecipe(name="both", evaluations=("forest_scene", "forest_sim")),)
RECIPE = ReportRecipe(
    study="made-up",
    title="A made-up study",
    about="Nothing here was measured.",
    collections=(
        CollectionNote(
            name="scene", title="Scene", simulated=False, source="Genuine Sentinel-2 L1C scene.", licence="CC0",
            attribution="© OpenStreetMap contributors, ODbL.",
        ),
        CollectionNote(name="sim", title="Simland", simulated=True, source="Made by a generator.", licence="MIT"),
    ),
    encoders=(
        EncoderNote(
            name="clip3_s2", title="Two towers", collections=("scene",), data="Scene (real)",
            deviations=("Bands, not sensors.",),
        ),
        EncoderNote(name="clip3_sim", title="Three towers", collections=("sim",), data="Simland (simulated)"),
    ),
    evaluations=(
        EvaluationNote(name="forest_scene", title="Few-shot forests on Scene", collection="scene"),
        EvaluationNote(name="forest_sim", title="Few-shot forests on Simland", collection="sim"),
    ),
    papers=("bioclim",),
    pools=(
        PoolNote(name="both", title="Both places", evaluations=("forest_scene", "forest_sim"), simulated=True),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """Where the files of the made-up study are, and what it says about itself."""

    root: Path
    recipe: ReportRecipe = RECIPE

    def arguments(self) -> dict[str, Any]:
        """Inputs of `write_report`."""
        root = self.root
        return {
            "chips": sorted(root.glob("collections/*/chips.parquet")),
            "labels": sorted(root.glob("collections/*/labels.parquet")),
            "specs": sorted(root.glob("collections/*/*/*/spec.json")),
            "cards": sorted(root.glob("encoders/*/card.json")),
            "histories": sorted(root.glob("encoders/*/history.parquet")),
            "projections": root / "projections.parquet",
            "scores": root / "scores.parquet",
            "summary": root / "summary.parquet",
            "differences": root / "differences.parquet",
            "classes": sorted(root.glob("classes/classes.parquet")),
            "class_differences": sorted(root.glob("classes/classes.differences.parquet")),
            "class_regions": sorted(root.glob("classes/classes.regions.parquet")),
            "class_pools": [],
            "mlp": [],
            "mlp_differences": [],
            "mlp_curves": [],
            "mlp_pools": [],
            "band_attributions": [],
            "band_projections": [],
            "views": [],
            "compute": [],
            "attributions": [],
            "reconstruction": [],
            "reconstruction_differences": [],
            "segmentation": [],
            "segmentation_classes": [],
            "segmentation_differences": [],
            "segmentation_pools": [],
            "pixel_maps": [],
            "images": [],
            "pooled": root / "pooled.parquet",
            "optimism": root / "optimism.parquet",
            "mistakes": root / "mistakes.parquet",
            "leakage": sorted(root.glob("collections/*/leakage.json")),
            "ledger": [root / "ledger.parquet"],
            "claim_ledger": [root / "ledger.claims.parquet"],
        }


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return fabricate(tmp_path_factory.mktemp("made-up"))


@pytest.fixture(scope="session")
def page(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "index.html"
    write_report(**study.arguments(), recipe=RECIPE, page=path)
    return path


def fabricate(root: Path, rows: int = 10, columns: int = 12, places: int = 80) -> Study:
    """Write every file of the study.

    Args:
        root: its results folder.
        rows: of chips in the scene.
        columns: of chips in the scene.
        places: of the simulated Earth, four chips each.
    """
    rng = np.random.default_rng(0)
    scene, sim = scene_chips(rows, columns), place_chips(places, rng)
    for name, chips in (("scene", scene), ("sim", sim)):
        write_table(root / "collections" / name / "chips.parquet", chips, {"chip_px": str(PX)})
    stores = root / "collections" / "scene" / "chips", root / "collections" / "sim" / "chips"
    fill_store(stores[0] / "s2_l1c", MODALITIES["s2_l1c"], scene, rng)
    for name in ("s2_rgb_monthly", "s1_grd_monthly", "s1_coherence"):
        fill_store(stores[1] / name, MODALITIES[name], sim, rng)
    for collection, chips, layers in (("scene", scene, ("osm",)), ("sim", sim, ("mod44b", "worldcover"))):
        for layer in layers:
            fill_labels(root / "collections" / collection / "labels" / layer, layer, chips, rng)
        values = {task: label_values(task, chips, rng) for task in TASKS[collection]}
        labels = pd.DataFrame({"chip_id": chips["chip_id"], **values})
        write_table(root / "collections" / collection / "labels.parquet", labels)
        folder = root / "collections" / collection
        audit_leakage(
            chips=folder / "chips.parquet", labels=[folder / "labels.parquet"], pretraining=[],
            recipe=LeakageRecipe(collection=collection, limit=LeakageLimit(pretraining_overlap=None)),
            leakage=folder / "leakage.json", picture=folder / "leakage.png",
        )  # fmt: skip
    scores, blocks = [], []
    for encoder, collection in ON.items():
        chips = {"scene": scene, "sim": sim}[collection]
        write_encoder(root / "encoders" / encoder, collection, TOWERS[encoder][:-1])
        write_table(root / "embeddings" / encoder / f"{collection}.parquet", embeddings(encoder, chips, rng))
        scored = score_rows(encoder, collection, chips, rng)
        scores.append(scored[0])
        blocks.append(scored[1])
    write_scores(root, scores, blocks)
    gather_mistakes(
        chips=sorted(root.glob("collections/*/chips.parquet")),
        blocks=sorted((root / "blocks").glob("*.parquet")), class_blocks=[], pixels=[],
        recipe=MistakesRecipe(), mistakes=root / "mistakes.parquet",
    )  # fmt: skip
    write_ledgers(root)
    project_embeddings(
        embeddings=sorted(root.glob("embeddings/*/*.parquet")),
        recipe=ProjectionRecipe(max_points=120, perplexity=20),
        projections=root / "projections.parquet",
    )
    return Study(root)


def _table(geometry: list[Any], **columns: Any) -> gpd.GeoDataFrame:
    frame = gpd.GeoDataFrame(columns, geometry=geometry, crs="EPSG:4326")
    frame.insert(0, "chip_id", [f"c{k:05d}" for k in range(len(frame))])
    return frame


def scene_chips(rows: int, columns: int) -> gpd.GeoDataFrame:
    """Chips side by side in UTM 33N, split by columns with a buffer."""
    lonlat = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    left, top = 300_000.0, 5_840_000.0
    geometry, transform, split, block = [], [], [], []
    for r in range(rows):
        for c in range(columns):
            x, y = left + c * SIDE_M, top - r * SIDE_M
            geometry.append(box(*lonlat.transform(x, y - SIDE_M), *lonlat.transform(x + SIDE_M, y)))
            transform.append([10.0, 0.0, x, 0.0, -10.0, y])
            part = c / columns
            split.append("train" if part < 0.5 else "val" if part < 0.65 else "buffer" if part < 0.75 else "test")
            block.append(f"{r // 2:03d}-{c // 2:03d}")
    n = len(geometry)
    return _table(geometry, crs=["EPSG:32633"] * n, transform=transform, block=block, shard=["000"] * n,
                  source=["scene"] * n, split=split, region=[""] * n)  # fmt: skip


def place_chips(places: int, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """Four chips a place, places strewn over 30 by 20 degrees in two zones."""
    geometry, transform, split, block, region, crs = [], [], [], [], [], []
    for place in range(places):
        lon, lat = rng.uniform(-5, 25), rng.uniform(38, 58)
        for k in range(4):
            x, y = lon + (k % 2) * 0.002, lat + (k // 2) * 0.0015
            geometry.append(box(x, y, x + 0.002, y + 0.0015))
            transform.append([10.0, 0.0, 5e5, 0.0, -10.0, 5e6])
            split.append(("train", "train", "train", "test", "val")[int(lat * 3) % 5])
            block.append(f"place-{place:04d}")
            region.append("alpine" if lat > 50 else "boreal" if lon > 10 else "")
            crs.append(f"EPSG:326{31 + int(lon > 10)}")
    n = len(geometry)
    return _table(geometry, crs=crs, transform=transform, block=block, shard=["000"] * n, source=["sim"] * n,
                  split=split, region=region)  # fmt: skip


def fill_store(folder: Path, modality: Any, chips: gpd.GeoDataFrame, rng: np.random.Generator) -> None:
    """A sealed store of smooth noise; the last chip lacks the first channel, one in ten all of a variable modality."""
    channels = 4 if modality.variable else len(modality.bands)
    low, high = {"reflectance": (300, 3000), "coherence": (1000, 9000)}.get(modality.unit, (-4000, -1000))
    waves = np.cumsum(rng.normal(size=(len(chips), channels, PX, PX)), axis=-1)
    waves = (waves - waves.min()) / np.ptp(waves)
    pixels = (low + waves * (high - low)).astype(modality.dtype)
    valid = np.ones((len(chips), channels), np.float32)
    valid[-1, 0] = 0
    if modality.variable:
        valid[::10] = 0
        valid[1::3, 2:] = 0
    pixels[valid == 0] = modality.nodata
    write_shard(folder, "000", pixels, valid)
    fields = ("name", "bands", "unit", "scale", "offset", "nodata", "dtype", "variable")
    seal(folder, StoreLayer(**{f: getattr(modality, f) for f in fields}), PX, {"000": len(chips)})


def fill_labels(folder: Path, name: str, chips: gpd.GeoDataFrame, rng: np.random.Generator) -> None:
    """A sealed label store of blobs of classes, or of a quantity."""
    layer = LABELS[name]
    codes = np.array([*(list(layer.classes)[:4] or [0, 30, 70, 100]), layer.nodata], layer.dtype)
    coarse = rng.choice(codes, size=(len(chips), 1, PX // 4, PX // 4))
    pixels = coarse.repeat(4, axis=2).repeat(4, axis=3)
    valid = (pixels != layer.nodata).mean(axis=(2, 3)).astype(np.float32)
    write_shard(folder, "000", pixels, valid)
    spec = StoreLayer(name, (name,), layer.unit, 1.0, 0.0, layer.nodata, layer.dtype, False)
    seal(folder, spec, PX, {"000": len(chips)})


def label_values(task: str, chips: gpd.GeoDataFrame, rng: np.random.Generator) -> np.ndarray:
    """Chip-level labels: mostly zero for water, and a tenth not known."""
    values = rng.beta(0.7, 3, len(chips))
    if "water" in task:
        values[rng.random(len(chips)) < 0.75] = 0
    values[rng.random(len(chips)) < 0.1] = np.nan
    return values


def write_encoder(folder: Path, collection: str, towers: tuple[str, ...]) -> None:
    """A card and a history of twenty epochs."""
    epoch = np.arange(1, 21)
    history = pd.DataFrame({"step": epoch * 10, "epoch": epoch, "loss": 3 * np.exp(-epoch / 9) + 1})
    history = history.assign(val_loss=history["loss"] + 0.2, lr=1e-3 * np.cos(epoch / 13) ** 2, grad_norm=1.0)
    history = history.assign(embedding_std=0.4 + epoch / 80, weakest_tower=towers[0])
    for k, tower in enumerate(towers):
        history[f"effective_rank_{tower}"] = 3 + k + epoch / 4
        history[f"random_init_rank_{tower}"] = 2.5 + k / 2
    write_table(folder / "history.parquet", history)
    tower = {"modality": "s2_l1c", "bands": ["B04", "B03"], "unit": "reflectance"}
    card = {
        "method": "clip3", "seed": 0, "collections": [collection], "parameters": {"total": 123456},
        "towers": dict.fromkeys(towers, tower),
        "best_epoch": 20, "best_val_loss": float(history["val_loss"].iloc[-1]), "chip_px": PX,
        "chips": {"train": 60, "val": 20}, "recipe": {"epochs": 20, "lr": 0.001},
        "recipe_sources": {"epochs": {"mark": "D", "source": "fits the time"}, "lr": {"mark": "P", "source": "sec. 2"}},
    }  # fmt: skip
    write_json(folder / "card.json", card)


def embeddings(encoder: str, chips: gpd.GeoDataFrame, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """Trained and random-init rows of every tower and of the concatenation."""
    parts = []
    for init in ("trained", "random-0"):
        for tower in TOWERS[encoder]:
            width = 24 if tower == "concat" else 8
            vectors = list(rng.normal(size=(len(chips), width)).astype(np.float32))
            columns = {"init": init, "modality": tower, "channels_used": 2}
            parts.append(chips[["chip_id", "geometry", "split"]].assign(**columns, embedding=vectors))
    return gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs="EPSG:4326")


def score_rows(
    encoder: str, collection: str, chips: gpd.GeoDataFrame, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score rows and counts per block, as `score_forest` writes them."""
    test = chips[chips["split"] == "test"]
    per_block = test.groupby("block").size()
    sources = [(encoder, "trained", "", m, 0.30) for m in TOWERS[encoder]]
    sources += [(encoder, f"random-{k}", "", m, 0.12) for m in TOWERS[encoder] for k in range(2)]
    sources += [
        ("", "", "image_stats", "concat", 0.22),
        ("", "", "coordinates", "", 0.06),
        ("", "", "majority", "", 0.0),
    ]
    where = {"evaluation": f"forest_{collection}", "collection": collection}
    rows, counts = [], []
    for task in TASKS[collection]:
        balanced = "water" not in task
        for source in sources:
            keys = dict(zip(("encoder", "init", "floor", "modality"), source[:4], strict=True))
            for n_shots, n_train, gain in ((10, 10, 0.4), (100, 60, 0.8), (0, 120, 1.0)):
                for episode in range(2):
                    key = {**where, **keys, "task": task, "n_shots": n_shots, "episode_seed": episode}
                    hits = rng.binomial(per_block, 0.5 + source[4] * gain)
                    positive = rng.binomial(per_block, 0.5)
                    found = np.minimum(hits, positive)
                    described = {
                        "encoder_sha256": "", "n_train": n_train, "n_test": len(test), "n_blocks": len(per_block),
                        "n_unlabelled": 3, "majority": 0.5, "balanced": balanced, "trees": 50, "depth": 7,
                        "constant": False, "test_set": "same", "note": "",
                    }  # fmt: skip
                    for metric in ("accuracy", "balanced_accuracy"):
                        rows.append({**key, **described, "metric": metric, "value": hits.sum() / len(test),
                                     "low": 0.0, "high": 1.0,
                                     "primary": (metric == "accuracy") == balanced})  # fmt: skip
                    counts += [
                        {**key, "block": block, "tp": tp, "tn": h - tp, "n_pos": p, "n_neg": n - p}
                        for block, h, tp, p, n in zip(per_block.index, hits, found, positive, per_block, strict=True)
                    ]
    rows.append({**rows[0], "task": "impossible", "n_shots": 0, "episode_seed": -1, "value": np.nan, "low": np.nan,
                 "high": np.nan, "note": "no train chip has a label of impossible", "primary": True})  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(counts)


def write_scores(root: Path, scores: list[pd.DataFrame], blocks: list[pd.DataFrame]) -> None:
    """Concatenate as the pipeline does."""
    for k, (table, counts) in enumerate(zip(scores, blocks, strict=True)):
        write_table(root / "scores" / f"{k}.parquet", table)
        write_table(root / "blocks" / f"{k}.parquet", counts)
        names = table[table["primary"] & table["value"].notna()].drop_duplicates([*GAP_KEY])
        gaps = names.assign(value_random=names["value"] + 0.0625, value_spatial=names["value"], gap=0.0625)
        write_table(root / "optimism" / f"{k}.parquet", gaps[list(COLUMNS)])
    gather_scores(
        scores=sorted((root / "scores").glob("*.parquet")),
        blocks=sorted((root / "blocks").glob("*.parquet")),
        recipe=SummaryRecipe(resamples=200, pools=POOLS),
        table=root / "scores.parquet",
        summary=root / "summary.parquet",
        differences=root / "differences.parquet",
        pooled=root / "pooled.parquet",
        optimism=sorted((root / "optimism").glob("*.parquet")),
        gaps=root / "optimism.parquet",
    )


def write_ledgers(root: Path) -> None:
    """Published numbers and claims beside scores, one of each verdict."""
    answered = {"value": 96.1234567, "low": 95.1, "high": 97.2, "sd": 0.3, "over": "runs", "evaluation": "forest_sim",
                "arm": "clip3_sim", "data": "simulated", "chips": 320, "epochs": 20, "runs": 1}  # fmt: skip
    verdicts = ("reproduced", "not reproduced", "not comparable", "not run")
    cells = [
        {"paper": "bioclim", "table": "1", "row": "cbn", "column": f"column_{k}", "published": 96.93,
         "spread": np.nan if k else 0.61, **answered, "verdict": verdict, "why": "simulated data; 1 runs, the paper 10"}
        for k, verdict in enumerate(verdicts)
    ]  # fmt: skip
    cells[-1] |= {**dict.fromkeys(("value", "low", "high", "sd", "chips", "epochs", "runs"), np.nan),
                  **dict.fromkeys(("over", "evaluation", "arm", "data"), "")}  # fmt: skip
    said = {"paper": "bioclim", "id": "cbn_above_plain", "where": "Table 1", "sentence": "CBN is better.",
            "test": "higher", "scores": 1, "rival": "clip3_s2", "holds": "yes"}  # fmt: skip
    write_table(root / "ledger.parquet", pd.DataFrame(cells))
    write_table(root / "ledger.claims.parquet", pd.DataFrame([{**cells[2], **said}]))
