"""A page whose explorer shows many chips: those of a made-up collection in place of the page's own."""

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely import box

from terraprobe.chips.store import ChipStore, StoreLayer, seal, write_shard
from terraprobe.report.explorer import explorer
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.notes import CollectionNote, EncoderNote
from terraprobe.report.projection import nearest_rows

PX = 64
BANDS = ("m1_B04", "m1_B03", "m1_B02")


def with_chips(html: str, count: int, folder: Path, *, placed: bool = True) -> str:
    """The page with an explorer of `count` chips in three modalities, somewhere on Earth or nobody knows where."""
    rng = np.random.default_rng(0)
    collection = many(count, folder / "chips", rng)
    if not placed:
        collection.chips["geometry"] = None
    vectors = rng.normal(size=(count, 16)).astype(np.float32)
    near, cosines = nearest_rows(vectors, 8)
    ids = collection.chips["chip_id"].to_numpy()
    where = {"encoder": "net", "collection": "many", "chip_id": ids, "x": vectors[:, 0], "y": vectors[:, 1]}
    views = [
        pd.DataFrame({**where, "modality": modality, "nearest": list(ids[near]), "cosines": list(cosines)})
        for modality in ("concat", "s1", "s2")
    ]
    note = EncoderNote(name="net", title="net", collections=("many",), data="made up")
    found = explorer([collection], [TrainedEncoder(note, ({},), (), ())], pd.concat(views))
    sheets = "".join(f'<script type="text/plain" id="{k}">{v}</script>\n' for k, v in found["sheets"].items())
    start = '<script type="application/json" id="explorer-data">'
    script = f"{start}{found['data']}</script>\n{sheets}"
    return re.sub(rf"{start}.*?</script>", lambda _: script, html, flags=re.DOTALL)


def many(count: int, folder: Path, rng: np.random.Generator) -> Collection:
    """Chips of smooth noise, a hundred different ones over and over, strewn over 40 by 20 degrees."""
    coarse = rng.uniform(300, 3000, size=(100, len(BANDS), PX // 8, PX // 8)).repeat(8, axis=2).repeat(8, axis=3)
    different = (coarse + rng.normal(0, 120, size=coarse.shape)).clip(1).astype(np.uint16)
    pixels = np.tile(different, (-(-count // 100), 1, 1, 1))[:count]
    write_shard(folder, "000", pixels, np.ones(pixels.shape[:2], np.float32))
    seal(folder, StoreLayer("s2_rgb_monthly", BANDS, "reflectance", 1e-4, 0.0, 0, "uint16", False), PX, {"000": count})
    lon, lat = rng.uniform(-10, 30, count), rng.uniform(35, 55, count)
    chips = gpd.GeoDataFrame(
        {
            "chip_id": [f"c{k:05d}" for k in range(count)], "block": [f"b{k // 10}" for k in range(count)],
            "split": rng.choice(["train", "val", "test"], count), "region": rng.choice(["alpine", "boreal"], count),
        },
        geometry=box(lon, lat, lon + 0.01, lat + 0.01), crs="EPSG:4326",
    )  # fmt: skip
    labels = pd.DataFrame({"vegetation": rng.beta(0.7, 3, count), "water": rng.beta(0.2, 3, count)})
    note = CollectionNote(name="many", title="Many", simulated=True, source="", licence="")
    classes = pd.DataFrame(index=labels.index)
    return Collection(note, chips, labels, classes, {"s2_rgb_monthly": ChipStore.open(folder)}, {}, {})
