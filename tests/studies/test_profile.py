"""The SLURM profile fits the rules: what needs the internet or a GPU is sent where it is."""

import re
import subprocess
import sys

import pytest
import yaml
from dag import REPOSITORY

PROFILE = REPOSITORY / "workflow/profiles/slurm"


@pytest.fixture(scope="module")
def profile():
    return yaml.safe_load((PROFILE / "config.yaml").read_text())


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Rule to its resources, of the quickstart submitted through the profile; no SLURM is needed to plan it."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--dry-run"]
    command += ["--configfile", str(REPOSITORY / "config.yaml"), "--workflow-profile", str(PROFILE)]
    command += ["--directory", str(tmp_path_factory.mktemp("planned"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = re.findall(r"^ *rule (\w+):.*?^ *resources: ([^\n]*)", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
    return {rule: dict(part.split("=", 1) for part in line.split(", ")) for rule, line in jobs}


def test_only_rules_with_network_go_to_a_partition_with_internet(planned):
    fetching = {rule for rule, resources in planned.items() if "network" in resources}
    assert fetching == {"fetch_virginia", "fetch_havelland"}
    assert {rule for rule, resources in planned.items() if resources.get("slurm_partition") == "transfer"} == fetching


def test_rules_that_train_or_embed_ask_for_a_gpu_and_no_other(planned):
    asking = {rule for rule, resources in planned.items() if resources.get("gpu") == "1"}
    assert asking == {
        "pretrain_encoder", "predict_classes", "attribute_classes", "reconstruct_chips", "fit_mlp", "call_mlp",
        "attribute_bands", "project_bands",
        "select_segmentation", "segment_chips",
        *(rule for rule in planned if rule.startswith("embed_chips_")),
    }  # fmt: skip
    assert planned["pretrain_encoder"]["slurm_extra"] == "--signal=USR1@300"


def test_every_rule_says_its_memory_and_time(planned):
    assert len(planned) > 20
    text = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    for part in re.split(r"^ *rule\b", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"mem_mb=\d+,\s+runtime=\d+", part), part[:200]


def test_groups_hold_small_rules_that_exist(planned, profile):
    text = "".join(path.read_text() for path in (REPOSITORY / "workflow/rules").glob("*.smk"))
    assert set(profile["groups"]) <= set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
    assert not any("gpu" in planned.get(rule, {}) or "network" in planned.get(rule, {}) for rule in profile["groups"])
    assert set(profile["group-components"]) <= set(profile["groups"].values())


def test_a_lock_is_taken_away_by_the_command_of_the_documentation(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--unlock"]
    study = ["--configfile", str(REPOSITORY / "config.yaml"), "--directory", str(tmp_path)]
    done = subprocess.run([*command, *study], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
