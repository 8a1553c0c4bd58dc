"""A pool of heads through the whole pipeline, to its table, figure and sentences."""

import re
from pathlib import Path

import pandas as pd
import pytest
from dag import snakemake

from terraprobe.artifacts import read_json
from terraprobe.trace import verify

STUDY = Path(__file__).with_name("mini_pools.yaml")
ENCODERS = {"plain_east", "plain_west", "cbn_east", "cbn_west"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The study, run once."""
    folder = tmp_path_factory.mktemp("pools")
    done = snakemake(folder, study=STUDY)
    assert done.returncode == 0, done.stdout
    return folder / "results/mini_pools"


def test_each_collection_has_its_own_encoders(results):
    assert {path.name for path in (results / "encoders").iterdir()} == ENCODERS
    assert {path.parent.name: path.stem for path in results.glob("predictions/*/*.parquet")} == {
        name: name.partition("_")[2] for name in ENCODERS
    }


def test_the_pool_is_the_mean_of_its_evaluations(results):
    pooled = pd.read_parquet(results / "class_pools/both.parquet").set_index(["arm", "rival"])
    assert pooled.index.tolist() == [("cbn", "plain"), ("plain", "majority"), ("cbn", "majority")]
    gaps, blocks = [], 0
    for world in ("east", "west"):
        scores = pd.read_parquet(results / f"classes/heads_{world}.parquet")
        own = scores[(scores["encoder"] == "") & (scores["metric"] == "accuracy")].set_index("arm")
        gaps.append(own.loc[f"cbn_{world}", "value"] - own.loc[f"plain_{world}", "value"])
        blocks += own["n_blocks"].iloc[0]
    row = pooled.loc["cbn", "plain"]
    assert row["difference"] == pytest.approx(sum(gaps) / 2)
    assert row["n_blocks"] == blocks >= 30
    assert row["low"] <= row["low90"] <= row["high90"] <= row["high"]
    assert row["margin"] == 0.1 and row["equal"] in ("equal", "not shown")


def test_no_label_enters_the_pool(results):
    record = read_json(results / "class_pools/both.parquet.prov.json")
    assert [Path(path).name for path in record["inputs"]] == ["heads_east.blocks.parquet", "heads_west.blocks.parquet"]


def test_the_page_shows_the_pool(results):
    html = (results / "report/index.html").read_text()
    table = pd.read_csv(results / "report/tables/class-pool-both.csv")
    assert table[["arm", "rival"]].to_numpy().tolist() == [["cbn", "plain"], ["plain", "majority"], ["cbn", "majority"]]
    assert 'id="table-class-pool-both"' in html and 'id="fig-class-pool-both"' in html
    assert (results / "report/figures/class-pool-both.png").is_file()
    assert re.search(r"<li>2 evaluations, [\d,]+ simulated test chips in \d+ blocks; mean differences", html)
    said = re.search(r"<li>cbn: 0\.\d{3}, against (plain .*); above plain in \d of 2, SD over .*</li>", html)
    assert said and "equal within ±0.1, 90 % interval [" in said.group(1)


def test_of_the_pool_the_first_evaluation_alone_is_drawn(results):
    assert [path.name for path in results.glob("attributions/*.npz")] == ["heads_east.npz"]
    assert {path.name for path in results.glob("embeddings/*/*.parquet")} == {"east.parquet"}
    html = (results / "report/index.html").read_text()
    assert 'id="fig-classes-heads_east-regions"' in html and 'id="fig-classes-heads_west-regions"' not in html
    assert 'id="table-classes-heads_west"' in html
    assert html.count("classes and chips are drawn in the first evaluation alone") == 1


def test_every_file_fits_its_record(results):
    counts, problems = verify(results)
    assert problems == [] and counts["artifacts"] > 0
