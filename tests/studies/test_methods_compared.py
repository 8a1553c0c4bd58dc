"""The four methods side by side, by `studies/compare_small.yaml`: on its simulated Earth, and on four genuine places.

CI runs each with fewer encoders, so that both together have them all; `make test-long` runs all of them on both.
"""

import os
import shutil

import pandas as pd
import pytest
import yaml
from dag import REPOSITORY, snakemake

from terraprobe.artifacts import read_json

SMALL = REPOSITORY / "studies/compare_small.yaml"
pytestmark = pytest.mark.long
FOLDERS = {"s2_l2a": "S2L2A", "s1_grd": "S1RTC", "lulc": "LULC"}
PLACES = {
    "name": "land", "kind": "folder", "path": "terramesh", "modalities": ["s2_l2a", "s1_grd"], "folders": FOLDERS,
    "bands": {"s2_l2a": ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"],
              "s1_grd": ["VV", "VH"]},
    "labels": ["lulc"], "chip_px": 32, "licence": "Apache-2.0",
    "classes": {"lulc": {"nodata": 0, "codes": {1: "water", 2: "trees", 4: "crops", 5: "built", 6: "bare", 7: "snow",
                                                9: "rangeland"}}},
    "split": {"kind": "stratified", "shares": {"train": 0.5, "val": 0.2, "test": 0.3}},
}  # fmt: skip


def run(folder, content, *encoders):
    """Run a study with some of its encoders; its results."""
    if not os.environ.get("TERRAPROBE_LONG"):
        keep_encoders(content, encoders)
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    done = snakemake(folder, study=folder / "study.yaml")
    assert done.returncode == 0, done.stdout
    return folder / "results" / content["study"]


def keep_encoders(content, names):
    content["encoders"] = [e for e in content["encoders"] if e["name"] in names]
    (evaluation,) = content["evaluations"]
    evaluation["encoders"] = [name for name in evaluation["encoders"] if name in names]
    held = [budget for e in content["encoders"] for budget in e.get("budgets", ())]
    for e in content["encoders"]:
        e["budgets"] = [budget for budget in e.get("budgets", ()) if held.count(budget) > 1]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Both budgets, climate on and off."""
    content = yaml.safe_load(SMALL.read_text())
    names = ("clip3_compute", "bioclim", "bioclim_cbn", "scratch")
    return run(tmp_path_factory.mktemp("simulated"), content, *names)


@pytest.fixture(scope="module")
def genuine(tmp_path_factory, shared_data):
    """All four methods after equal chips, on the same places, whose climate no file tells."""
    folder = tmp_path_factory.mktemp("genuine")
    for name in FOLDERS.values():
        shutil.copytree(shared_data / "terramesh" / name, folder / "terramesh" / name)
    content = yaml.safe_load(SMALL.read_text().replace("s2_l1c", "s2_l2a").replace("worldcover", "lulc"))
    content |= {"study": "compare_places", "title": "Four methods side by side: four places", "collections": [PLACES]}
    content["evaluations"][0]["tasks"] = ["lulc_crops"]
    keep_encoders(content, [e["name"] for e in content["encoders"] if e["name"] != "bioclim_cbn"])
    return run(folder, content, "clip3_chips", "bioclim", "rsbyol_chips", "unifeat", "sscl_chips", "scratch")


def compared(results):
    return pd.read_csv(results / "report/tables/compared-landcover.csv")


def test_budgets_are_kept_on_the_simulated_earth(simulated):
    table = compared(simulated)
    assert set(table["budget"]) == {"equal chips", "equal compute", "reference", "floor"}
    chips = table[table["budget"] == "equal chips"].groupby("arm")["chips_seen"].first()
    flops = table[table["budget"] == "equal compute"].groupby("arm")["tflop"].first()
    assert {"bioclim", "bioclim_cbn"} <= set(chips.index) and set(chips) == {640}
    assert {"clip3_compute", "bioclim", "bioclim_cbn"} <= set(flops.index) and flops.max() < 1.06 * flops.min()
    assert table[table["arm"] == "clip3_compute"]["chips_seen"].iloc[0] == 6 * chips["bioclim"]


def test_climate_on_and_off_the_floors_and_the_reference_stand_on_the_page(simulated):
    table, page = compared(simulated), (simulated / "report/index.html").read_text()
    assert {"image statistics", "mean and SD", "climate", "coordinates", "majority class"} <= set(table["arm"])
    trained = table[table["budget"].str.startswith("equal")]
    assert trained[["value", "low", "high", "twin", "reference", "parameters"]].notna().all(axis=None)
    assert 'id="compared">Methods side by side' in page and "Climate on minus off, bioclim_cbn minus bioclim" in page
    assert "The reference, scratch, learnt worldcover_class of " in page
    assert "simulated: scores on it show that the pipeline works" in page


def test_seconds_stand_on_the_page_of_costs_and_in_no_record(simulated):
    assert "seconds" not in compared(simulated)
    timed = pd.read_csv(simulated / "report/cost/compared-landcover.csv")
    assert (timed[timed["budget"].str.startswith("equal")]["seconds"] > 0).all()
    assert not (simulated / "report/cost/compared-landcover.csv.prov.json").exists()
    assert "cost.json" not in str(read_json(simulated / "compute.parquet.prov.json")["inputs"])


def test_all_four_methods_see_the_same_genuine_places(genuine):
    table = compared(genuine)
    equal = table[table["budget"] == "equal chips"]
    assert set(equal["method"]) == {"clip3", "bioclim", "rsbyol", "sscl"}
    assert equal["chips_seen"].max() < 1.02 * equal["chips_seen"].min()
    assert len(set(table["test_set"])) == 1
    assert equal.loc[equal["method"] == "sscl", "sees"].iloc[0] == "s1_grd, s2_l2a"
    page = (genuine / "report/index.html").read_text()
    assert 'class="badge real"' in page and "Not all see the same sensors" in page
