"""The whole pipeline on the mini study: it runs, does nothing the second time, and reruns only what changed."""

import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from dag import MINI, OFFLINE, command, contents, snakemake


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The mini study, run once."""
    folder = tmp_path_factory.mktemp("mini")
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


def planned(folder, *arguments, study=MINI):
    """Jobs that a dry run would do, by rule, without the target itself."""
    done = snakemake(folder, "--dry-run", *arguments, study=study)
    assert done.returncode == 0, done.stdout
    rules = re.findall(r"^(?:local)?rule (\w+):", done.stdout, re.MULTILINE)
    return sorted(rule for rule in rules if rule != "all")


def changed(tmp_path, change):
    """The mini study with one change."""
    content = yaml.safe_load(MINI.read_text())
    change(content)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_every_artifact_is_there_with_its_record(finished):
    folder, output = finished
    results = folder / "results/mini"
    for name in (
        "collections/land/chips.parquet",
        "collections/land/context.parquet",
        "collections/land/leakage.json",
        "collections/land/leakage.png",
        "collections/land/chips/s2_rgb_monthly/spec.json",
        "collections/land/labels.parquet",
        "encoders/tiny/encoder.safetensors",
        "encoders/tiny/card.json",
        "embeddings/tiny/land.parquet",
        "selection/landcover/tiny.json",
        "scores/landcover/tiny.parquet",
        "scores/landcover/tiny.optimism.parquet",
        "scores.parquet",
        "optimism.parquet",
        "report/index.html",
    ):
        assert (results / name).is_file(), name
        assert (results / f"{name}.prov.json").is_file(), name
    assert not list(results.rglob("*.part")), "a temporary file was left behind"
    assert "study mini: results land in results/mini" in output
    assert re.search(r"pretrain_encoder\s+│\s+1 │", output), "the table of time by stage"
    assert "results/mini/report/index.html" in output


def test_it_ran_where_nothing_can_be_reached(finished):
    if not OFFLINE:
        pytest.skip("this system lets nobody take the network from a process (unshare --net)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = [sys.executable, "-c", f"import socket; socket.create_connection({server.getsockname()}, 5)"]
        assert subprocess.run(reach, capture_output=True, check=False).returncode == 0
        assert "unreachable" in subprocess.run([*OFFLINE, *reach], capture_output=True, text=True, check=False).stderr
    assert re.search(r"(\d+) of \1 steps \(100%\) done", finished[1])
    assert "network=" not in finished[1]


def test_a_second_run_does_nothing_and_says_so(finished):
    folder, _ = finished
    before = contents(folder)
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout
    assert contents(folder) == before


def test_an_evaluation_setting_reruns_scores_and_report_alone(finished, tmp_path):
    folder, _ = finished
    study = changed(tmp_path, lambda content: content["evaluations"][0].update(repeats=3))
    judged = {"select_forest", "score_forest", "gather_scores", "gather_mistakes", "write_report"}
    assert set(planned(folder, study=study)) == judged


def test_a_training_setting_reruns_from_pretraining_on(finished, tmp_path):
    folder, _ = finished
    study = changed(tmp_path, lambda content: content["encoders"][0]["recipe"].update(epochs=4))
    rules = set(planned(folder, study=study))
    assert "pretrain_encoder" in rules
    assert "embed_chips_land" in rules
    assert not rules & {"simulate_places_land_000", "cut_chips", "seal_store", "assign_splits", "measure_floors"}


def leave_one_out(content):
    """A second simulated Earth, and each of both judged after learning on the other."""
    land = content["collections"][0]
    content["collections"].append({**land, "name": "isles", "world": {**land["world"], "seed": 4}})
    own = content["evaluations"][0]
    content["evaluations"] = [
        {**own, "name": f"on_{one}", "collection": one, "train_on": [other]}
        for one, other in (("land", "isles"), ("isles", "land"))
    ]


def test_leave_one_collection_out_selects_without_the_one_left_out(finished, tmp_path):
    folder, _ = finished
    done = snakemake(folder, "--dry-run", study=changed(tmp_path, leave_one_out))
    assert done.returncode == 0, done.stdout
    jobs = re.findall(
        r"^rule (select|score)_forest:\n    input: (.*)\n    output: \S*/on_(\w+)/", done.stdout, re.MULTILINE
    )
    assert len(jobs) == 8
    for stage, files, judged in jobs:
        read = {one for one in ("land", "isles") if re.search(rf"{one}[/.]", files)}
        assert read == ({"land", "isles"} if stage == "score" else {"land", "isles"} - {judged})


def test_only_blocks_without_a_side_wait_for_labels(finished, tmp_path):
    folder, _ = finished
    for split, waits in (({"kind": "blocks"}, True), ({"kind": "blocks", "side_km": 90}, False)):
        study = changed(tmp_path, lambda content, split=split: content["collections"][0].update(split=split))
        done = snakemake(folder, "--dry-run", study=study)
        (files,) = re.findall(r"^rule assign_splits:\n    input: (.*)\n", done.stdout, re.MULTILINE)
        assert ("land/labels.parquet" in files) == waits


def test_a_limit_reruns_the_audit_and_the_report_alone(finished, tmp_path):
    folder, _ = finished
    study = changed(tmp_path, lambda content: content["collections"][0].update(leakage_limit={"touching_pairs": 0}))
    assert planned(folder, study=study) == ["audit_leakage", "write_report"]


def test_a_broken_limit_stops_the_run_with_its_figure(finished, tmp_path):
    folder, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(folder, copy, symlinks=True)
    split = {"kind": "stratified"}
    study = changed(
        tmp_path,
        lambda content: content["collections"][0].update(split=split, leakage_limit={"share_within_1_km": 0.1}),
    )
    done = snakemake(copy, "--until", "score_forest", study=study)
    assert done.returncode != 0
    assert re.search(r"leakage of collection land: share_within_1_km is \S+, its leakage_limit is 0\.1;", done.stdout)
    assert not re.search(r"score-forest: wrote", done.stdout)


def test_threads_rerun_nothing(finished):
    folder, _ = finished
    assert planned(folder, "--set-threads", "pretrain_encoder=2") == []


def test_no_key_of_the_quickstart_reaches_another_study(finished):
    folder, output = finished
    assert "virginia" not in output
    assert not (folder / "results/quickstart").exists()
    assert not (folder / "resources").exists()


def test_a_typo_stops_before_the_first_job(tmp_path):
    study = changed(tmp_path, lambda content: content["encoders"][0].update(metod="clip3"))
    done = snakemake(tmp_path, study=study)
    assert done.returncode != 0
    assert "encoders[0].metod: unknown key; allowed name, method" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


def test_report_and_lint_work(finished, tmp_path):
    folder, _ = finished
    archive = tmp_path / "report.zip"
    done = snakemake(folder, "--report", str(archive))
    assert done.returncode == 0, done.stdout
    names = {Path(name).name for name in zipfile.ZipFile(archive).namelist()}
    report = folder / "results/mini/report"
    made = {path.name for part in ("figures", "tables") for path in (report / part).glob("[!.]*")}
    assert len(made) > 20 and {"index.html", *made} <= names
    done = snakemake(folder, "--lint")
    assert done.returncode == 0, done.stdout


def test_the_command_is_what_the_readme_says():
    assert "--configfile" in command(MINI.parent)
