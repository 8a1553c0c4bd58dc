"""Encoders side by side by pixels: arms, means over bands, shared chips, intervals, comparisons."""

import numpy as np
import pandas as pd
import pytest

from called_pixels import ALL, BLOCKS, CHIPS, CLASSES, FLOORS, chip_table, counts, floor, probe
from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.probes.segmentation_scores import SegmentationRecipe, score_segmentation

SIZES, REPEATS = (10, 0), (0, 1)
RECIPE = SegmentationRecipe(evaluation="cover", collection="land", label="osm", classes=CLASSES, resamples=300,
                            arms={"whole": ("whole_s0", "whole_s1"), "single": ("single",)})  # fmt: skip


def write_counts(folder, unseen=None, strata=("",)):
    """Two seeds of an encoder of whole chips, one of single bands, and the floors."""
    tables = {"whole_s0": [], "whole_s1": [], "single": [], "floors": []}
    for size in SIZES:
        for repeat in REPEATS:
            gain = 0.1 if size == 0 else 0.0
            for seed, name in enumerate(("whole_s0", "whole_s1")):
                for init, level in (("trained", 0.7), ("random-0", 0.5), ("random-1", 0.5)):
                    what = probe(init, "s2", "", ALL, size=size, repeat=repeat)
                    tables[name].append(counts(level + gain, what, seed, strata=strata))
            for band, level in (("B02", 0.6), ("B03", 0.8)):
                what = probe("trained", "s2", band, f"s2_l1c: {band}", size=size, repeat=repeat)
                tables["single"].append(counts(level, what, 5, unseen or range(CHIPS), strata))
            for tower, sees in FLOORS:
                what = floor(tower, sees, size, repeat)
                tables["floors"].append(counts(0.55 if sees else 0.5, what, 9, strata=strata))
    paths = [folder / f"{name}.parquet" for name in tables]
    for path, own in zip(paths, tables.values(), strict=True):
        write_table(path, pd.concat(own, ignore_index=True))
    return paths


def score(folder, recipe=RECIPE, **options):
    paths = write_counts(folder, **options)
    outs = {name: folder / f"out-{name}" for name in ("scores", "classes", "differences", "confusion", "samples")}
    score_segmentation(counts=paths, chips=chip_table(folder / "chips.parquet"), recipe=recipe, **outs)
    return {name: read_table(path) for name, path in outs.items()}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    return score(tmp_path_factory.mktemp("scored"))


def test_members_of_an_arm(scored):
    rows = scored["scores"].query("metric == 'miou' and size == 0").set_index(["arm", "init", "tower", "band"])
    assert rows["n_seeds"]["whole", "trained", "s2", ""] == 2
    assert rows["n_seeds"]["whole", "untrained", "s2", ""] == 4
    assert set(rows["n_repeats"]) == {2} and set(rows["n_blocks"]) == {BLOCKS} and set(rows["n_present"]) == {2}
    assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])).all()


def test_absent_classes_are_skipped_and_counted_as_zero(scored):
    rows = scored["scores"].pivot_table(index=["arm", "init", "tower", "band", "sees", "size"], columns="metric",
                                        values="value")  # fmt: skip
    np.testing.assert_allclose(rows["miou_zero"], rows["miou"] * 2 / 3)
    np.testing.assert_allclose(rows["aa_zero"], rows["aa"] * 2 / 3)
    snow = scored["classes"].query("`class` == 'snow'")
    assert snow["iou"].isna().all() and (snow["n_pixels"] == 0).all()


def test_the_mean_of_bands_is_the_mean(scored):
    rows = (
        scored["scores"]
        .query("metric == 'oa' and size == 0")
        .set_index(["arm", "init", "tower", "band"])
        .sort_index()["value"]
    )
    bands = [rows["single", "trained", "s2", band] for band in ("B02", "B03")]
    assert rows["single", "trained", "", "mean"] == pytest.approx(np.mean(bands))
    assert ("", "", "pixel values", "mean") in rows.index


def test_who_is_compared_with_whom(scored):
    rows = scored["differences"].query("metric == 'miou' and size == 0")
    found = {(r["arm"], r["band"], r["rival"], r["rival_init"], r["rival_tower"], r["rival_band"])
             for r in rows.to_dict("records")}  # fmt: skip
    own = {
        ("single", band, "", "", tower, "") for band in ("B02", "B03") for tower in ("majority class", "pixel values")
    }
    assert found == {
        *own,
        ("single", "mean", "", "", "majority class", ""), ("single", "mean", "", "", "pixel values", "mean"),
        ("whole", "", "whole", "untrained", "s2", ""), ("whole", "", "", "", "majority class", ""),
        ("whole", "", "", "", "pixel values", ""),
    }  # fmt: skip
    assert (rows["low"] <= rows["difference"]).all() and (rows["difference"] <= rows["high"]).all()
    clear = rows[(rows["arm"] == "whole") & (rows["rival"] == "whole")].iloc[0]
    assert clear["low"] > 0 and clear["p"] < 0.05


def test_all_stand_on_the_chips_that_all_see(tmp_path):
    found = score(tmp_path, unseen=range(10, CHIPS))["scores"]
    assert set(found["n_test"]) == {CHIPS - 10} and set(found["n_unseen"]) == {10}


def test_pixels_of_a_stratum_are_scored_apart(tmp_path, scored):
    found = score(tmp_path, strata=("", "clear", "cloud"))
    asked = "metric == 'miou' and size == 0 and arm == 'whole'"
    rows = found["scores"].query(asked).set_index(["init", "stratum"]).sort_index()
    expected = scored["scores"].query(asked).set_index("init")
    for stratum in ("", "clear", "cloud"):  # all hold the same pixels here
        for end in ("value", "low", "high"):
            assert rows[end]["trained", stratum] == pytest.approx(expected[end]["trained"])
    pixels = rows["n_pixels"].xs("trained")
    assert pixels["clear"] == pixels["cloud"] == pixels[""] / 3
    assert (found["differences"].groupby("stratum").size() == len(scored["differences"])).all()


def test_nothing_in_common_is_refused(tmp_path):
    paths = write_counts(tmp_path)
    table = read_table(tmp_path / "single.parquet")
    write_table(tmp_path / "single.parquet", table.assign(chip_id="elsewhere"))
    outs = {name: tmp_path / f"out-{name}" for name in ("scores", "classes", "differences", "confusion", "samples")}
    with pytest.raises(TerraprobeError, match="no labelled test chip of land is seen by every probe of whole, single"):
        score_segmentation(counts=paths, chips=chip_table(tmp_path / "chips.parquet"), recipe=RECIPE, **outs)
    with pytest.raises(TerraprobeError, match="no counts of floors"):
        score_segmentation(counts=paths[:-1], chips=tmp_path / "chips.parquet", recipe=RECIPE, **outs)
