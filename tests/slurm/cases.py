"""What can befall a study on a cluster, a function each, which gives remarks for the log.

All run at the same time. Each takes the cluster, what waits for the local run and gives its folder, and an empty folder
of its own.
"""

import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from cluster import Cluster, run, until
from study import Submitted, assert_equal, command, pending, send, without_training, write_study

PIXELS = "results/mini/collections/land/chips/s1_grd_monthly/000.npy"
TRAINED = ("--until", "pretrain_encoder")
"""Of cases that are about the training: what follows it is done without SLURM, to save time."""

SLICES = 2
"""Time limits that a training runs into before it is done."""

WARNINGS = {signal.SIGUSR1, signal.SIGTERM}

Finished = Callable[[], Path]


def success(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """Every rule; what trains or embeds is sent to GPUs, and nothing else."""
    write_study(folder / "study.yaml")
    Submitted(folder).finish()
    jobs = cluster.jobs(folder)
    on_gpus = {job.rules.partition("_wildcards_")[0] for job in jobs if job.partition == "gpu"}
    assert on_gpus == {"rule_pretrain_encoder", "rule_embed_chips_land"}
    assert {job.partition for job in jobs} == {"cpu", "gpu"}
    assert_equal(local(), folder)
    return [f"{len(jobs)} SLURM jobs, on GPUs {', '.join(sorted(on_gpus))}"]


def failing_rule(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """One rule fails: what does not need it is finished, its words are shown, and once mended the rest follows."""
    without_training(local(), folder, "encoders", "embeddings")
    for path in (folder / "results/mini").glob("**/floors.*"):
        path.unlink()
    (folder / "results/mini/floors/land.parquet").unlink()
    broken, whole = folder / PIXELS, local() / PIXELS
    broken.write_bytes(whole.read_bytes()[:1000])
    shutil.copystat(whole, broken)
    submitted = Submitted(folder, "--retries", "0")
    assert submitted.status() == 1, submitted.said()
    words = (folder / "results/mini/logs/measure_floors/land.log").read_text().splitlines()[-1]
    assert words.startswith("terraprobe measure-floors: ")
    assert words in submitted.said()
    assert (folder / "results/mini/scores/landcover/tiny.parquet").exists()
    assert not (folder / "results/mini/report/index.html").exists()
    shutil.copy2(whole, broken)
    assert_equal(local(), folder)
    return [words, "the encoder was scored all the same"]


def time_limit(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """A training longer than its time limit: slices, each from the state that the one before has saved."""
    without_training(local(), folder)
    limit = ["pretrain_encoder:runtime=2", "pretrain_encoder:slurm_extra='--signal=USR1@45'"]
    submitted = Submitted(folder, *TRAINED, "--retries", str(SLICES + 1), "--set-resources", *limit)
    remarks, training = [], 0
    for _ in range(SLICES):
        training = submitted.until_it_trains(after=training)
        # SLURM looks at time limits every half minute: the training is held, so that it need not last so long. On a
        # busy machine it may have been warned, and have ended, before it is held.
        send(training, signal.SIGSTOP)
        until(lambda pid=training: submitted.stopped() or pending(pid) & WARNINGS, 240, "the end of the time")
        send(training, signal.SIGCONT)
        until(submitted.stopped, 90, "the end of the slice")
        remarks += submitted.told("stopped by ")
    submitted.finish()
    assert_equal(local(), folder)
    return [*remarks, *submitted.resumed()]


def preemption(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """A job of a higher partition takes the node: the training waits in the queue again, under its number."""
    without_training(local(), folder)
    submitted = Submitted(folder, *TRAINED, "--set-resources", "pretrain_encoder:slurm_partition=spot")
    submitted.until_it_trains()
    job = cluster.training(folder)
    run("sbatch", "-p", "urgent", "-N1", "--exclusive", "-t1", "-o", "/dev/null", "-D", "/", "--wrap", "sleep 1")
    submitted.finish()
    trained = [one for one in cluster.jobs(folder) if "rule_pretrain_encoder" in one.rules]
    assert [one.id for one in trained] == [job.id]  # not submitted again
    assert_equal(local(), folder)
    return [f"job {job.id} was requeued", *submitted.resumed()]


def scancel(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """Somebody cancels the training: it is submitted again."""
    without_training(local(), folder)
    submitted = Submitted(folder, *TRAINED)
    submitted.until_it_trains()
    run("scancel", str(cluster.training(folder).id))
    submitted.finish()
    assert_equal(local(), folder)
    return submitted.resumed()


def snakemake_killed(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """SIGKILL of Snakemake: its job lives on; it is cancelled, the lock is taken away, and the study is finished."""
    without_training(local(), folder)
    submitted = Submitted(folder, *TRAINED)
    submitted.until_it_trains()
    submitted.kill()
    job = cluster.training(folder)
    cluster.cancel(folder)
    subprocess.run(command(folder, "--unlock"), cwd=folder, capture_output=True, check=True)
    again = Submitted(folder, *TRAINED)
    again.finish()
    assert_equal(local(), folder)
    return [f"job {job.id} lived on", *again.resumed()]


def node_drained(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """The training's node is drained: it ends there, later jobs run elsewhere."""
    without_training(local(), folder)
    submitted = Submitted(folder, "--until", "embed_chips_land")
    submitted.until_it_trains()
    job = cluster.training(folder)
    run("scontrol", "update", f"nodename={job.node}", "state=drain", "reason=test")
    try:
        submitted.finish()
    finally:
        run("scontrol", "update", f"nodename={job.node}", "state=resume")
    later = {one.node for one in cluster.jobs(folder) if one.id > job.id}
    assert later
    assert job.node not in later
    assert_equal(local(), folder)
    return [f"{job.node} was drained under the training; later jobs ran on {', '.join(sorted(later))}"]


def two_nodes(cluster: Cluster, local: Finished, folder: Path) -> list[str]:
    """Two processes on each of two nodes share a training: its first epoch is that of one process to rounding."""
    without_training(local(), folder)
    asked = ("gpu=2", "nodes=2", "tasks_per_node=2", "mpi=srun", "launcher='srun --nodes 2 --ntasks-per-node 2'")
    resources = [f"pretrain_encoder:{one}" for one in asked]
    submitted = Submitted(folder, *TRAINED, "--set-resources", *resources)
    submitted.finish()
    assert submitted.training_log().count("epoch 4 of") == 1  # one of the four processes speaks
    histories = [pd.read_parquet(path / "results/mini/encoders/tiny/history.parquet") for path in (local(), folder)]
    first = [history.loc[0, ["loss", "val_loss", "grad_norm"]].to_numpy(float) for history in histories]
    np.testing.assert_allclose(*first, rtol=1e-4)
    return [f"loss of the first epoch {first[1][0]:.6f}, of one process {first[0][0]:.6f}"]


CASES: Mapping[str, Callable[[Cluster, Finished, Path], list[str]]] = MappingProxyType(
    {
        "success": success,
        "a failing rule": failing_rule,
        "time limit, a training in slices": time_limit,
        "preemption with requeue": preemption,
        "scancel": scancel,
        "Snakemake killed and restarted": snakemake_killed,
        "a node drained": node_drained,
        "two nodes at one training": two_nodes,
    }
)
