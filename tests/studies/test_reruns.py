"""Which jobs Snakemake plans after one change, pinned job by job on a finished mini study.

The repository is copied, so that modules can be edited, and the study runs once from that copy.
"""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from dag import MINI, REPOSITORY

from terraprobe.cli import main

COPIED = ("Snakefile", "config.yaml", "workflow", "envs", "resources")
SCORED = {
    "select_forest landcover-floors",
    "select_forest landcover-tiny",
    "score_forest landcover-floors",
    "score_forest landcover-tiny",
    "gather_scores all",
    "gather_mistakes all",
    "write_report all",
}
FROM_PRETRAINING = {
    "pretrain_encoder tiny",
    "embed_chips_land land",
    "project_embeddings all",
    *(job for job in SCORED if not job.endswith("floors")),
}


class Checkout:
    """A copy of the repository and a folder that it runs the mini study in."""

    def __init__(self, folder: Path) -> None:
        self.repository, self.study, self.work = folder / "repository", folder / "mini.yaml", folder / "work"
        self.work.mkdir()
        self.repository.mkdir()
        shutil.copy(MINI, self.study)
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(
                    source, self.repository / name, ignore=shutil.ignore_patterns("__pycache__", "downloads")
                )
            else:
                shutil.copy(source, self.repository / name)

    def snakemake(self, *arguments: str) -> str:
        """Run the copy's Snakemake; its stdout and stderr."""
        snakefile = self.repository / "Snakefile"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--cores", "2"]
        command += ["--directory", str(self.work), "--configfile", str(self.study), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *arguments: str) -> set[str]:
        """Jobs of a dry run, each named by its rule and its own log file."""
        output = self.snakemake("--dry-run", *arguments)
        jobs = re.findall(r"^rule (\w+):.*?^    log: \S*/([^/\s]+)\.log", output, re.MULTILINE | re.DOTALL)
        assert len(jobs) == len(re.findall(r"^rule (?!all:)\w+:", output, re.MULTILINE))
        return {f"{rule} {log}" for rule, log in jobs}

    @contextmanager
    def edited(self, name: str, old: str, new: str):
        """One replacement in a file of the package while the block lasts."""
        path = self.repository / "workflow/terraprobe" / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} holds {text.count(old)} times: {old}"
        path.write_text(text.replace(old, new))
        try:
            yield
        finally:
            path.write_text(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The mini study, run once from a copy of the repository."""
    checkout = Checkout(tmp_path_factory.mktemp("reruns"))
    checkout.snakemake()
    return checkout


def test_nothing_runs_where_nothing_changed(finished):
    assert finished.planned() == set()


def test_a_finished_study_fits_its_records_and_its_chain_is_whole(finished, capsys):
    results = finished.work / "results/mini"
    assert main(["verify", str(results)]) == 0
    assert main(["trace", str(results / "scores.parquet")]) == 0
    chain = capsys.readouterr().out
    for name in ("tiles/000.json", "tiles/climate.tif", "s2_rgb_monthly/001.npy", "tiny/encoder.safetensors"):
        assert f"/{name}  sha256 " in chain


def test_comments_and_docstrings_rerun_nothing(finished):
    package = finished.repository / "workflow/terraprobe"
    texts = {path: path.read_text() for path in package.rglob("*.py")}
    assert len(texts) > 50
    for path, text in texts.items():
        path.write_text(re.sub(r'\A"""', '"""Edited. ', text) + "\n\n# A reason.\n")
    planned = finished.planned()
    for path, text in texts.items():
        path.write_text(text)
    assert planned == set()


def test_the_loss_of_a_method_reruns_from_pretraining_on(finished):
    with finished.edited("methods/clip3.py", "torch.stack(losses).mean()", "torch.stack(losses).sum()"):
        assert finished.planned() == FROM_PRETRAINING


def test_a_further_method_and_a_change_to_it_rerun_nothing(finished):
    other = finished.repository / "workflow/terraprobe/methods/other.py"
    for margin in (1.0, 2.0):
        other.write_text(f"from terraprobe.methods.clip3 import METHOD\n\nMARGIN = {margin}\n")
        planned = finished.planned()
        other.unlink()
        assert planned == set()


def test_an_evaluation_setting_reruns_selection_scores_and_report(finished):
    before = finished.study.read_text()
    content = yaml.safe_load(before)
    content["evaluations"][0]["repeats"] = 3
    finished.study.write_text(yaml.safe_dump(content))
    planned = finished.planned()
    finished.study.write_text(before)
    assert planned == SCORED


def test_a_label_threshold_reruns_labels_and_what_is_judged_by_them(finished):
    with finished.edited("chips/labels.py", "min_labelled: float = Field(0.05", "min_labelled: float = Field(0.06"):
        assert finished.planned() == {"measure_labels land", "audit_leakage land", *SCORED}


def test_threads_and_cores_rerun_nothing(finished):
    assert finished.planned("--cores", "3", "--set-threads", "pretrain_encoder=2") == set()


def test_a_raw_file_reruns_its_layer_and_shard_only_where_its_bytes_changed(finished):
    tile = min((finished.work / "results/mini/collections/land/tiles/s1_grd_monthly").glob("*.tif"))
    content = tile.read_bytes()
    tile.touch()
    assert finished.planned() == set()
    tile.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    planned = finished.planned()
    tile.write_bytes(content)
    assert planned == {
        "cut_chips land-chips-s1_grd_monthly-000",
        "seal_store land-chips-s1_grd_monthly",
        "measure_floors land",
        *FROM_PRETRAINING,
        *SCORED,
    }
