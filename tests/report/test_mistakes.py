"""Wrong calls by block: what they add up to is what the scores say."""

import json
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from terraprobe.artifacts import read_table, write_table
from terraprobe.report.errormap import mistakes_table
from terraprobe.report.mistakes import MistakesRecipe, gather_mistakes


def test_forests_add_up_to_their_accuracy(study) -> None:
    wrong = read_table(study.root / "mistakes.parquet")
    scores = read_table(study.root / "scores.parquet").query("metric == 'accuracy' and n_shots == 100")
    scores = scores.assign(features=scores["encoder"].where(scores["floor"] == "", scores["floor"]))
    kept = scores[(scores["init"] == "trained") | (scores["floor"] == "image_stats")]
    key = ["evaluation", "task", "features", "modality"]
    sums = wrong.groupby(key)[["wrong", "judged"]].sum()
    means = kept.groupby(key)["value"].mean()
    assert len(sums) == len(means) > 10 and set(wrong["n_shots"]) == {100}
    assert (1 - sums["wrong"] / sums["judged"]).to_numpy() == pytest.approx(means.loc[sums.index].to_numpy())


def test_heads_and_pixels_are_counted_by_block(tmp_path: Path) -> None:
    chips = tmp_path / "land/chips.parquet"
    squares = [box(k, 0, k + 1, 1) for k in range(3)]
    write_table(chips, gpd.GeoDataFrame({"chip_id": list("abc"), "block": ["p", "p", "q"]}, geometry=squares, crs=4326))
    heads = tmp_path / "heads.blocks.parquet"
    seeds = {"evaluation": "heads", "collection": "land", "arm": "net", "encoder": ["net_s0", "net_s1"]}
    write_table(heads, pd.DataFrame({**seeds, "block": "p", "right": [1.0, 2.0], "n_test": 2}))
    called = pd.DataFrame(
        {
            "init": ["trained", "trained", "trained", "trained", "random-0"], "size": [0, 0, 0, 50, 0],
            "chip_id": ["a", "b", "c", "c", "c"], "truth": [1, 1, 0, 0, 0], "called": [1, 2, 3, 3, 3],
            "pixels": [10, 30, 5, 99, 99],
        }
    )  # fmt: skip
    pixels = [tmp_path / f"cover/net_s{seed}.parquet" for seed in (0, 1)]
    for path in pixels:
        write_table(path, called)
    recipe = MistakesRecipe(arms={"net": ("net_s0", "net_s1")}, segmented={"cover": "land"})
    out = tmp_path / "mistakes.parquet"
    gather_mistakes(chips=[chips], blocks=[], class_blocks=[heads], pixels=pixels, recipe=recipe, mistakes=out)
    table = read_table(out)
    found = {(r["evaluation"], r["features"], r["block"]): (r["wrong"], r["judged"]) for r in table.to_dict("records")}
    assert found == {("heads", "net", "p"): (1, 4), ("cover", "net", "p"): (60, 80), ("cover", "net", "q"): (10, 10)}
    row = mistakes_table(table).frame.set_index("evaluation").loc["cover"]
    assert (row["share"], row["worst"], row["worst_share"], row["blocks"]) == (70 / 90, "q", 1.0, 2)


def test_a_study_without_calls_has_an_empty_table_and_a_map(study, tmp_path: Path) -> None:
    out = tmp_path / "mistakes.parquet"
    gather_mistakes(chips=[], blocks=[], class_blocks=[], pixels=[], recipe=MistakesRecipe(), mistakes=out)
    assert not len(read_table(out)) and not len(mistakes_table(read_table(out)).frame)


def test_the_map_holds_every_block_and_its_chips(page: Path, study) -> None:
    found = re.search(r'id="errors-data">(.*?)</script>', page.read_text())
    assert found
    data = json.loads(found[1])
    chips = read_table(study.root / "collections/sim/chips.parquet")
    sim = data["collections"]["sim"]
    assert sim["blocks"] == sorted(set(chips["block"]))
    assert len(data["calls"]) == len(mistakes_table(read_table(study.root / "mistakes.parquet")).frame)
    assert np.all([0 <= call["share"] <= 1 for call in data["calls"]])
