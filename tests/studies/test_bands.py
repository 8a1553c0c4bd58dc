"""A probe band by band through the whole pipeline, to its table and figures; a pool of them as it is planned."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from dag import snakemake

from terraprobe.artifacts import read_arrays, read_json
from terraprobe.trace import verify

STUDY = Path(__file__).with_name("mini_mlp.yaml")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One world and one seed of the study, run once; it has no pool."""
    folder = tmp_path_factory.mktemp("probing")
    content = yaml.safe_load(STUDY.read_text())
    encoder, evaluation = content["encoders"][0], content["evaluations"][0]
    del encoder["each"], encoder["seeds"], content["pools"]
    small = {
        "collections": content["collections"][:1],
        "encoders": [{**encoder, "collections": ["east"]}],
        "evaluations": [{**evaluation, "encoders": ["tiny"]}],
    }
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump(content | small))
    done = snakemake(folder, study=study)
    assert done.returncode == 0, done.stdout
    return folder / "results/mini_mlp"


def test_every_band_has_a_score_beside_its_floors(results):
    scores = pd.read_parquet(results / "mlp/bands_east.parquet")
    f1 = scores[(scores["metric"] == "f1_macro") & (scores["n_shots"] == 40)]
    arms = {("tiny", "trained"), ("tiny", "untrained"), ("image statistics", ""), ("majority class", "")}
    for _, own in f1.groupby(["group", "view"]):
        assert set(zip(own["arm"], own["init"], strict=True)) == arms
    assert f1["view"].nunique() == 9 + 2 + 1  # optical bands, the radar tower's two, means
    assert f1["value"].between(0, 1).all()


def test_the_test_is_shown_after_the_choice(results):
    record = read_json(results / "mlp/bands_east/tiny.called.npz.prov.json")
    names = {Path(path).name for path in record["inputs"]}
    assert {"tiny.json", "tiny.heads.npz"} <= names and "labels.parquet" not in names
    chips = pd.read_parquet(results / "collections/east/chips.parquet", columns=["chip_id", "split"])
    shown = read_arrays(results / "mlp/bands_east/tiny.called.npz")["chip_ids"]
    assert set(shown) == set(chips.loc[chips["split"] == "test", "chip_id"])


def test_the_page_shows_it(results):
    html = (results / "report/index.html").read_text()
    assert 'id="table-bands-bands_east"' in html and 'id="fig-bands-bands_east"' in html
    assert '<h2 id="bands">' in html and "bands-bands_east-roc-tiny-0" in html
    assert 'id="fig-bands-bands_east-tsne-0"' in html


def test_every_file_fits_its_record(results):
    counts, problems = verify(results)
    assert problems == [] and counts["artifacts"] > 0


def test_a_pool_is_planned_from_bootstrap_values_alone(tmp_path):
    done = snakemake(tmp_path, "--dry-run", study=STUDY)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("rule pool_mlp:") == 1 and done.stdout.count("rule score_mlp:") == 2
    (inputs,) = {line.split("input:")[1].strip() for line in done.stdout.split("rule pool_mlp:")[1].splitlines()[1:2]}
    assert inputs == ", ".join(f"results/mini_mlp/mlp/bands_{c}.samples.parquet" for c in ("east", "west"))
