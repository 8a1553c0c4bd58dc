"""Supervised training and autoencoders through the whole pipeline, to their scores and pictures."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dag import snakemake

from terraprobe.artifacts import read_json

STUDY = Path(__file__).with_name("mini_supervised.yaml")
AUTOS = ("auto", "auto_d")
ARMS = ("plain", "started", "cbn", "shuffled")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study, run once."""
    folder = tmp_path_factory.mktemp("supervised")
    done = snakemake(folder, study=STUDY)
    assert done.returncode == 0, done.stdout
    return folder


def planned(folder, tmp_path, change):
    """Jobs of a dry run after a change, by rule and what their log is called."""
    content = yaml.safe_load(STUDY.read_text())
    change(content)
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(content))
    done = snakemake(folder, "--dry-run", study=changed)
    assert done.returncode == 0, done.stdout
    return re.findall(r"^rule (\w+):.*?^    log: \S*/([\w-]+)\.log", done.stdout, re.MULTILINE | re.DOTALL)


def test_it_runs_to_the_report(finished):
    results = finished / "results/mini_supervised"
    scores = pd.read_parquet(results / "classes/classes.parquet")
    means = scores[(scores["encoder"] == "") & (scores["metric"] == "accuracy")]
    assert set(means["arm"]) == {*ARMS, "majority"}
    assert means["value"].between(0, 1).all()
    assert (means["low"] <= means["value"]).all() and (means["value"] <= means["high"]).all()
    assert set(means["n_test"]) == {int(scores["n_test"].iloc[0])}
    html = (results / "report/index.html").read_text()
    assert 'id="classes"' in html and 'id="table-classes-classes"' in html
    assert "simulated test chips" in html
    assert 'id="fewshot"' not in html
    table = pd.read_csv(results / "report/tables/classes-classes.csv")
    assert table["arm"].tolist() == [*ARMS, "majority"]
    trained = pd.read_csv(results / "report/tables/encoders.csv").set_index("encoder")
    assert trained.loc["plain", ["labels", "start"]].tolist() == ["worldcover_class", "random weights"]
    assert trained.loc["started", ["labels", "start"]].tolist() == ["worldcover_class", "auto"]
    assert trained.loc["auto", "labels"] == "none"


def test_pixels_are_scored_and_drawn(finished):
    results = finished / "results/mini_supervised"
    scores = pd.read_parquet(results / "segmentation/pixels.parquet")
    miou = scores[scores["metric"] == "miou"]
    assert {*zip(miou["init"], miou["tower"], miou["size"], strict=True)} == {
        (init, tower, size)
        for init, tower in (("trained", "s2"), ("untrained", "s2"), ("", "pixel values"), ("", "majority class"))
        for size in (8, 0)
    }
    assert miou["value"].between(0, 1).all() and (miou["low"] <= miou["high"]).all()
    assert (results / "segmentation/pixels/auto/model.safetensors").exists()
    html = (results / "report/index.html").read_text()
    for part in ("segmentation-pixels", "segmentation-differences-pixels", "segmentation-classes-pixels"):
        assert f'id="table-{part}"' in html
    for figure in ("maps", "labels", "classes"):
        assert (results / f"report/figures/segmentation-pixels-{figure}.png").exists()


def test_autoencoders_are_scored_and_drawn(finished):
    results = finished / "results/mini_supervised"
    scores = pd.read_parquet(results / "reconstruction/images.parquet")
    means = scores[scores["encoder"] == ""]
    arms = {("auto", "trained"), ("auto", "untrained"), ("auto_d", "trained"), ("auto_d", "untrained")}
    for metric, floor in (("l1", "mean train chip"), ("ssim", "mean train chip"), ("svm", "majority class")):
        own = means[means["metric"] == metric]
        assert set(zip(own["arm"], own["init"], strict=True)) == {*arms, (floor, "")}
        assert (own["low"] <= own["value"]).all() and (own["value"] <= own["high"]).all()
    html = (results / "report/index.html").read_text()
    assert 'id="reconstruction"' in html and 'id="fig-reconstruction-images"' in html
    table = pd.read_csv(results / "report/tables/reconstruction-images.csv")
    own = table[table["weights"] == "trained"].set_index("arm")["conditioning"]
    assert own.to_dict() == {"auto": "plain", "auto_d": "CBN, decoder only"}


def test_classes_are_drawn(finished):
    html = (finished / "results/mini_supervised/report/index.html").read_text()
    for name in ("regions", "one-class"):
        assert f'id="fig-classes-classes-{name}"' in html
    assert len(re.findall(r'id="fig-classes-classes-gradcam-\w+"', html)) == 2


def test_published_numbers_stand_beside_the_scores(finished):
    results = finished / "results/mini_supervised"
    cells = pd.read_parquet(results / "ledger.parquet").set_index(["table", "row", "column"])
    assert len(cells) == 55 and set(cells["verdict"]) == {"not comparable", "not run"}
    heads = pd.read_parquet(results / "classes/classes.parquet")
    autos = pd.read_parquet(results / "reconstruction/images.parquet")
    for scores, column, of_arm in (
        (heads, "acc_sup", {"plain": "plain", "cbn": "cbn"}),
        (heads, "acc_ssl", {"plain": "started"}),
        (autos, "svm_acc", {"plain": "auto", "cbn_decoder_only": "auto_d"}),
    ):
        metric = "svm" if column == "svm_acc" else "accuracy"
        means = scores[(scores["encoder"] == "") & (scores["metric"] == metric)]
        means = means[means["init"] == "trained"] if "init" in means else means
        table = "4" if column == "svm_acc" else "1"
        for row, arm in of_arm.items():
            cell, score = cells.loc[(table, row, column)], means[means["arm"] == arm].iloc[0]
            assert cell["arm"] == arm
            assert [cell[k] for k in ("value", "low", "high")] == [100 * score[k] for k in ("value", "low", "high")]
    assert cells.loc[("sec4.5", "cbn_shuffled", "acc_sup"), "arm"] == "shuffled"
    html = (results / "report/index.html").read_text()
    assert 'id="table-ledger"' in html and "55 numbers: 0 reproduced, 0 not reproduced" in html


def test_only_the_scores_read_test_labels(finished):
    results = finished / "results/mini_supervised"
    for name in AUTOS:
        assert not [p for p in inputs(results / f"embeddings/{name}/land.parquet") if "labels" in p]
    for name in ("plain_s1", "started", "shuffled"):
        assert not [p for p in inputs(results / f"predictions/{name}/land.parquet") if "labels" in p]
    assert [p for p in inputs(results / "classes/classes.parquet") if p.endswith("labels.parquet")]
    assert [p for p in inputs(results / "encoders/plain_s0/card.json") if p.endswith("labels.parquet")]
    assert not [p for p in inputs(results / "encoders/auto/card.json") if "labels" in p]


def inputs(artifact):
    return read_json(artifact.with_name(f"{artifact.name}.prov.json"))["inputs"]


def test_a_start_is_an_input_of_what_starts_from_it_alone(finished):
    cards = {name: finished / f"results/mini_supervised/encoders/{name}/card.json" for name in ("plain_s0", "started")}
    given = {name: any("encoders/auto/" in path for path in inputs(card)) for name, card in cards.items()}
    assert given == {"plain_s0": False, "started": True}


def test_a_second_run_does_nothing(finished):
    done = snakemake(finished, study=STUDY)
    assert "Nothing to be done" in done.stdout


def test_another_autoencoder_trains_again_what_starts_from_it(finished, tmp_path):
    jobs = planned(finished, tmp_path, lambda content: content["encoders"][0]["recipe"].update(ssim_weight=0.2))
    assert {log for rule, log in jobs if rule == "pretrain_encoder"} == {"auto", "started"}
    assert ("reconstruct_chips", "images-auto") in jobs


def test_another_seed_trains_nothing(finished, tmp_path):
    jobs = planned(finished, tmp_path, lambda content: content["evaluations"][0].update(seed=1))
    judged = {"score_classes", "attribute_classes", "gather_mistakes", "write_ledger", "write_report"}
    assert {rule for rule, _ in jobs} == judged


def test_other_classes_to_draw_score_nothing(finished, tmp_path):
    jobs = planned(finished, tmp_path, lambda content: content["evaluations"][0].update(gradcam=["tree"]))
    assert {rule for rule, _ in jobs} == {"attribute_classes", "write_report"}
