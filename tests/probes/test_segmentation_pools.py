"""Arms probed pixel by pixel in several worlds, as one: means, pairs, equality, and the page's part of it."""

import numpy as np
import pandas as pd
import pytest

from called_pixels import ALL, BLOCKS, CLASSES, FLOORS, chip_table, counts, floor, probe
from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.segmentation_pools import SegmentationPoolRecipe, pool_segmentation
from terraprobe.probes.segmentation_scores import SegmentationRecipe, score_segmentation
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.notes import ClassPoolNote
from terraprobe.report.segmentationpools import (
    draw_pixel_pool,
    judged_pixels,
    pixel_pool_sentences,
    pixel_pool_table,
)

WORLDS = ("east", "west")
ENTRIES = {f"{arm}_{world}": arm for arm in ("good", "alike") for world in WORLDS}
RECIPE = SegmentationPoolRecipe(pool="both", evaluations=("e", "w"), entries=ENTRIES, margin=0.05)
NOTE = ClassPoolNote(name="both", title="Both", evaluations=("e", "w"), simulated=True, margin=0.05)
LEVELS = {"good": 0.7, "alike": 0.7}


def score(folder, world, seed, resamples=300):
    """Two arms, given all channels or some of them, and their twins, in one world."""
    tables = {f"{arm}_{world}": [] for arm in LEVELS} | {"floors": []}
    for k, (arm, level) in enumerate(LEVELS.items()):
        for tower, sees, lost in (("concat", ALL, 0), ("s2", "s2_l1c: B02", 0.2)):
            for init, less in (("trained", 0), ("random-0", 0.2)):
                what = probe(init, tower, "", sees, size=10)
                tables[f"{arm}_{world}"].append(counts(level - lost - less, what, 10 * seed + k, strata=("", "cloud")))
    for tower, sees in FLOORS:
        tables["floors"].append(counts(0.4, floor(tower, sees, 10), 7, strata=("", "cloud")))
    paths = [folder / f"{name}.parquet" for name in tables]
    for path, own in zip(paths, tables.values(), strict=True):
        write_table(path, pd.concat(own, ignore_index=True))
    outs = {name: folder / f"{world}.{name}.parquet"
            for name in ("scores", "classes", "differences", "confusion", "samples")}  # fmt: skip
    arms = {name: (name,) for name in tables if name != "floors"}
    recipe = SegmentationRecipe(
        evaluation=world[0], collection=world, label="osm", classes=CLASSES, resamples=resamples, arms=arms
    )
    score_segmentation(counts=paths, chips=chip_table(folder / "chips.parquet"), recipe=recipe, **outs)
    return outs


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    root = tmp_path_factory.mktemp("pooled")
    scored = [score(root, world, seed) for seed, world in enumerate(WORLDS)]
    path = root / "both.parquet"
    pool_segmentation(samples=[one["samples"] for one in scored], recipe=RECIPE, pooled=path)
    return {"root": root, "path": path, "table": read_table(path), "scored": scored}


def one(table, **wanted):
    """The only row of all pixels and mIoU that has these values."""
    wanted = {"stratum": "", "metric": "miou", **wanted}
    rows = table[np.logical_and.reduce([table[key] == value for key, value in wanted.items()])]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_pooled_difference_is_the_mean_over_worlds(pooled):
    row = one(pooled["table"], arm="good", tower="concat", rival="good", rival_init="untrained")
    found = [
        one(read_table(own["differences"]), arm=f"good_{world}", tower="concat", rival=f"good_{world}",
            rival_init="untrained")["difference"]
        for own, world in zip(pooled["scored"], WORLDS, strict=True)
    ]  # fmt: skip
    assert row["difference"] == pytest.approx(np.mean(found))
    assert row["spread"] == pytest.approx(np.std(found, ddof=1))
    assert (row["n_evaluations"], row["n_better"], row["n_blocks"], row["n_train"]) == (2, 2, 2 * BLOCKS, 10)
    assert 0 < row["low"] < row["difference"] < row["high"] and row["equal"] == "not shown"


def test_arms_alike_are_equal_and_channels_are_compared_within_an_arm(pooled):
    row = one(pooled["table"], arm="good", tower="concat", rival="alike", rival_tower="concat")
    assert row["equal"] == "equal" and -0.05 < row["low90"] < row["high90"] < 0.05
    channels = one(pooled["table"], arm="good", tower="concat", rival="good", rival_tower="s2")
    assert channels["low"] > 0


def test_holm_corrects_over_the_rivals_of_one_probe(pooled):
    own = pooled["table"].query("arm == 'good' and tower == 'concat' and stratum == 'cloud' and metric == 'oa'")
    assert (own["p_holm"] >= own["p"]).all()
    assert own["p_holm"].max() <= own["p"].max() * len(own)
    assert one(own, stratum="cloud", metric="oa", rival_init="untrained")["p_holm"] < 0.05


def test_worlds_without_a_shared_arm_are_refused(pooled, tmp_path):
    samples = [own["samples"] for own in pooled["scored"]]
    with pytest.raises(TerraprobeError, match="share no arm, tower and size"):
        apart = tmp_path / "apart.parquet"
        write_table(apart, read_table(samples[1]).assign(tower="elsewhere", sees="nothing"))
        pool_segmentation(samples=[samples[0], apart], recipe=RECIPE, pooled=tmp_path / "x.parquet")
    with pytest.raises(TerraprobeError, match=r"\(100 resamples\)"):
        other = score(tmp_path, "west", 1, resamples=100)["samples"]
        pool_segmentation(samples=[samples[0], other], recipe=RECIPE, pooled=tmp_path / "x.parquet")


def test_what_the_page_says(pooled, tmp_path):
    rows = judged_pixels(pooled["table"], NOTE)
    said = pixel_pool_sentences(rows)
    assert said[0].startswith(f"2 evaluations, 160 simulated test chips in {2 * BLOCKS} blocks")
    (row,) = [s for s in said if s.startswith("good, concat, all pixels, 10 labelled chips: 0.")]
    assert "against good, concat, untrained +0." in row and "against good, s2 +0." in row
    assert "against alike, concat" in row and ", equal, above 0 in" in row
    assert "alike, s2 " not in row  # another arm given other channels
    with house_style():
        (picture,) = draw_pixel_pool(NOTE, rows, Gallery(tmp_path))
    assert "good − alike, concat" in picture.svg and "good, concat − s2" in picture.svg
    few = judged_pixels(pooled["table"].assign(n_blocks=10), NOTE)
    assert set(few["verdict"]) == {"too few blocks"} and set(few["equal"]) == {""}
    assert len(pixel_pool_table(NOTE, rows).rows) == len(pooled["table"])
