"""EuroSAT RGB from the published zip file to the page, which says what nobody can know of its images."""

from pathlib import Path

import pandas as pd
import pytest
from dag import snakemake

from displayed_archives import zipped
from terraprobe.acquire.unpack import unpack_command
from terraprobe.artifacts import read_json, read_table
from terraprobe.search import search_command
from terraprobe.trace import verify

STUDY = Path(__file__).with_name("unplaced.yaml")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The study, run once."""
    folder = tmp_path_factory.mktemp("unplaced")
    file = zipped(folder / "EuroSAT_RGB.zip", "eurosat_rgb", 15)
    assert unpack_command([str(file), str(folder / "EuroSAT_RGB")]) == 0
    done = snakemake(folder, study=STUDY)
    assert done.returncode == 0, done.stdout
    return folder / "results/unplaced"


def test_names_are_dealt_within_classes(results):
    chips = read_table(results / "collections/towns/chips.parquet")
    assert chips["split"].value_counts().to_dict() == {"train": 27, "val": 9, "test": 9}


def test_the_encoder_is_judged_by_f1_over_chips(results):
    scores = pd.read_parquet(results / "mlp/towns.parquet")
    f1 = scores[(scores["metric"] == "f1_macro") & (scores["view"] == "red+green+blue")]
    assert {"alone", "image statistics", "majority class"} == set(f1["arm"])
    assert f1["value"].between(0, 1).all() and (f1["low"] <= f1["high"]).all()
    assert set(scores["n_blocks"]) == {9} and set(scores["n_test"].dropna()) == {9, 3}


def test_the_page_says_what_nobody_knows(results):
    page = (results / "report/index.html").read_text()
    for words in (
        "EuroSAT RGB: images and classes of the benchmark as they are.",
        "45 chips without a place on Earth",
        "No map: nobody knows where on Earth the images are. Each is a block of its own",
        "how near test chips are to train chips cannot be told",
        "By a hash of the images&#39; names within each class",
        'id="fig-samples-towns"',
    ):
        assert words in page, words
    for absent in ('id="fig-map-towns-split"', 'id="fig-leakage-towns"', 'id="errormap"', 'id="errors-data"'):
        assert absent not in page
    assert read_json(results / "collections/towns/leakage.json")["test_to_train"] is None


def test_neighbours_in_an_embedding_have_no_ground_between_them(results, capsys):
    chip = read_table(results / "collections/towns/chips.parquet")["chip_id"].iloc[0]
    assert search_command([str(results), "--chip", chip, "--k", "3"]) == 0
    said = capsys.readouterr().out
    assert "km away" not in said and said.count("\n") == 5 and "nan" not in said


def test_it_is_traced_back_to_the_archives_files(results):
    counts, problems = verify(results)
    assert not problems and counts["raw files"] == 45
