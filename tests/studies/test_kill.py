"""SIGKILL in the middle of every stage: the next run goes on and ends in the bytes of a run that nobody killed."""

import os
import signal
import subprocess
import time

import pytest
from dag import command, contents, snakemake

STAGES = (
    "simulate_places",
    "lay_grid",
    "extract_context",
    "assign_splits",
    "cut_chips",
    "seal_store",
    "measure_labels",
    "pretrain_encoder",
    "embed_chips",
    "measure_floors",
    "select_forest",
    "score_forest",
    "gather_scores",
    "project_embeddings",
    "write_report",
)
DELAYS_S = (0.3, 1.2) if os.environ.get("TERRAPROBE_LONG") else (0.8,)
"""After the stage's log appears: while it imports, while it works."""


def run_and_kill(folder, stage, delay_s):
    """Start the study, kill Snakemake and its jobs `delay_s` after the first job of `stage` began.

    Returns whether it was killed; False where the stage was over before.
    """
    logs = folder / "results/mini/logs" / stage
    before = set(logs.glob("*")) if logs.exists() else set()
    process = subprocess.Popen(
        command(folder, "--rerun-incomplete", "--nolock"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None:
        if logs.exists() and set(logs.glob("*")) - before:
            time.sleep(delay_s)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.02)
    return False


@pytest.mark.long
def test_killed_in_every_stage_it_ends_in_the_same_bytes(tmp_path):
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    done = snakemake(undisturbed)
    assert done.returncode == 0, done.stdout
    killed = []
    for stage in STAGES:
        killed += [f"{stage}+{delay}s" for delay in DELAYS_S if run_and_kill(disturbed, stage, delay)]
    print("killed in:", ", ".join(killed))
    done = snakemake(disturbed, "--rerun-incomplete", "--nolock")
    assert done.returncode == 0, done.stdout
    assert len(killed) >= len(STAGES) - 3, killed
    assert contents(disturbed) == contents(undisturbed)
