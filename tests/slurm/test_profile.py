"""The study through the SLURM profile on a real, private cluster: after each disturbance it equals the local run."""

import os
import shutil
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest
from cluster import run, until
from study import Submitted, assert_equal, command, has_pending, without_training

pytestmark = pytest.mark.slurm
PIXELS = "results/mini/collections/land/chips/s1_grd_monthly/000.npy"


@pytest.fixture
def folder(local, tmp_path):
    """The study before its training."""
    without_training(local, tmp_path)
    return tmp_path


def resumed(submitted):
    """The line of a training that says where it went on; the case's log shows it."""
    line = next(line for line in submitted.training_log().splitlines() if line.startswith("resumed after step"))
    print(line)
    return line


def test_success(cluster, local, tmp_path):
    shutil.copy(local / "study.yaml", tmp_path)
    Submitted(tmp_path).finish()
    assert_equal(local, tmp_path)
    jobs = dict(line.split()[::-1] for line in run("squeue", "-h", "-t", "all", "-o", "%P %k").splitlines())
    print(f"{len(jobs)} SLURM jobs")
    on_gpus = {name for name, partition in jobs.items() if partition == "gpu"}
    assert {name.split("_wildcards_")[0] for name in on_gpus} == {"rule_pretrain_encoder", "rule_embed_chips_land"}
    assert set(jobs.values()) == {"cpu", "gpu"}


def test_failing_rule(cluster, local, tmp_path):
    without_training(local, tmp_path, "encoders", "embeddings")
    shutil.rmtree(tmp_path / "results/mini/floors")
    broken, whole = tmp_path / PIXELS, local / PIXELS
    broken.write_bytes(whole.read_bytes()[:1000])
    shutil.copystat(whole, broken)
    submitted = Submitted(tmp_path, "--retries", "0")
    assert submitted.status() == 1
    said = (tmp_path / "results/mini/logs/measure_floors/land.log").read_text().splitlines()[-1]
    print(said)
    assert said.startswith("terraprobe measure-floors: ")
    assert said in submitted.said()
    assert (tmp_path / "results/mini/scores/landcover/tiny.parquet").exists()
    assert not (tmp_path / "results/mini/report").exists()
    shutil.copy2(whole, broken)
    Submitted(tmp_path).finish()
    assert_equal(local, tmp_path)


def test_time_limit(cluster, local, folder):
    submitted = Submitted(
        folder,
        "--set-resources", "pretrain_encoder:runtime=2", "pretrain_encoder:slurm_extra='--signal=USR1@75'",
    )  # fmt: skip
    training = submitted.until_it_trains()
    # SLURM looks at time limits every half minute: the training is held, so that it need not last so long.
    os.kill(training, signal.SIGSTOP)
    until(lambda: has_pending(training, signal.SIGUSR1), 90, "the warning of the time limit")
    os.kill(training, signal.SIGCONT)
    submitted.finish()
    assert "exit code: 75" in submitted.said() or "stopped by SIGUSR1" in submitted.said()
    resumed(submitted)
    assert_equal(local, folder)


def test_preemption(cluster, local, folder):
    submitted = Submitted(folder, "--set-resources", "pretrain_encoder:slurm_partition=spot")
    submitted.until_it_trains()
    job = cluster.training()
    run("sbatch", "-p", "urgent", "-N2", "--exclusive", "-t1", "-o", "/dev/null", "--wrap", "sleep 1")
    submitted.finish()
    jobs = [line.split()[0] for line in run("squeue", "-h", "-t", "all", "-o", "%A %k").splitlines()
            if "rule_pretrain_encoder" in line]  # fmt: skip
    assert jobs.count(job) == 1
    assert max(jobs, key=int) == job  # requeued under its own id, not submitted again
    resumed(submitted)
    assert_equal(local, folder)


def test_scancel(cluster, local, folder):
    submitted = Submitted(folder)
    submitted.until_it_trains()
    run("scancel", cluster.training())
    submitted.finish()
    resumed(submitted)
    assert_equal(local, folder)


def test_snakemake_killed_and_restarted(cluster, local, folder):
    submitted = Submitted(folder)
    submitted.until_it_trains()
    os.killpg(submitted.process.pid, signal.SIGKILL)
    submitted.process.wait()
    cluster.cancel_all()
    subprocess.run(command(folder, "--unlock"), cwd=folder, capture_output=True, check=True)
    again = Submitted(folder)
    again.finish()
    resumed(again)
    assert_equal(local, folder)


def test_node_drained(cluster, local, folder):
    submitted = Submitted(folder)
    submitted.until_it_trains()
    job = cluster.training()
    node = cluster.node_of(job)
    run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        submitted.finish()
    finally:
        run("scontrol", "update", f"nodename={node}", "state=resume")
    lines = [line.split() for line in run("squeue", "-h", "-t", "all", "-o", "%A %N").splitlines()]
    later = {where for number, where in lines if int(number) > int(job)}
    print(f"{node} drained under the training; later jobs ran on {', '.join(sorted(later))}")
    assert later
    assert node not in later
    assert_equal(local, folder)


def test_two_nodes_train_together(cluster, local, folder):
    asked = ("gpu=2", "nodes=2", "tasks_per_node=2", "mpi=srun", "launcher='srun --nodes 2 --ntasks-per-node 2'")
    submitted = Submitted(
        folder, "--set-resources", *(f"pretrain_encoder:{one}" for one in asked), "--until", "pretrain_encoder"
    )
    submitted.finish()
    assert submitted.training_log().count("epoch 1 of") == 1  # one of the four processes speaks
    histories = [pd.read_parquet(path / "results/mini/encoders/tiny/history.parquet") for path in (local, folder)]
    first = [history.loc[0, ["loss", "val_loss", "grad_norm"]].to_numpy(float) for history in histories]
    np.testing.assert_allclose(*first, rtol=1e-4)
