"""Whole chips and conditioning through the whole pipeline: context is asked for by the encoder that takes it alone."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dag import snakemake

from terraprobe.artifacts import read_json

STUDY = Path(__file__).with_name("mini_bioclim.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study, run once."""
    folder = tmp_path_factory.mktemp("bioclim")
    done = snakemake(folder, study=STUDY)
    assert done.returncode == 0, done.stdout
    return folder


def test_it_runs_to_the_report(finished):
    results = finished / "results/mini_bioclim"
    assert (results / "report/index.html").is_file()
    scores = pd.read_parquet(results / "scores.parquet")
    assert "cbn" in set(scores["encoder"])
    assert {"trained", "random-0"} <= set(scores["init"])
    for name, embeddings in ((n, pd.read_parquet(results / f"embeddings/{n}/land.parquet")) for n in ("plain", "cbn")):
        assert set(embeddings["channels_used"]) == {13}, name
        assert {len(row) for row in embeddings["embedding"]} == {16}, name


def test_context_is_an_input_of_the_conditioned_encoder_alone(finished):
    results = finished / "results/mini_bioclim"
    given = {
        name: any(
            "context.parquet" in path for path in read_json(results / f"encoders/{name}/card.json.prov.json")["inputs"]
        )
        for name in ("plain", "cbn")
    }
    assert given == {"plain": False, "cbn": True}


def test_conditioning_reruns_its_encoder_and_not_the_other(finished, tmp_path):
    content = yaml.safe_load(STUDY.read_text())
    content["encoders"][1]["recipe"]["conditioning"] = "emb"
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(content))
    done = snakemake(finished, "--dry-run", study=changed)
    assert done.returncode == 0, done.stdout
    trained = re.findall(r"^rule pretrain_encoder:.*?^    log: \S*/(\w+)\.log", done.stdout, re.MULTILINE | re.DOTALL)
    assert trained == ["cbn"]
