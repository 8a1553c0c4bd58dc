"""SIGKILL in the middle of every stage: the next run goes on and ends in the bytes of a run that nobody killed."""

import contextlib
import os
import signal
import subprocess
import time

import pytest
from dag import command, contents, snakemake

DELAYS_S = (0.1, 0.4, 0.8, 1.6) if os.environ.get("TERRAPROBE_LONG") else (0.4,)
"""After a job of the stage opened its log: while it imports, while it works."""


def opened(folder):
    """When each log was written last; a job that starts has Snakemake delete its own, maybe between list and look."""
    written = {}
    for path in (folder / "results/mini/logs").glob("*/*.log"):
        with contextlib.suppress(FileNotFoundError):
            written[path] = path.stat().st_mtime_ns
    return written


def run_and_kill(folder, spared, delay_s):
    """Run the study until a job of a stage that is not spared begins; `delay_s` later kill Snakemake and its jobs.

    Returns the stage, or None where the study ended.
    """
    before = opened(folder)
    process = subprocess.Popen(
        command(folder, "--rerun-incomplete", "--nolock"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None:
        begun = {path.parent.name for path, when in opened(folder).items() if before.get(path) != when} - spared
        if begun:
            time.sleep(delay_s)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return min(begun)
        time.sleep(0.02)
    assert process.returncode == 0
    return None


@pytest.mark.long
def test_killed_in_every_stage_it_ends_in_the_same_bytes(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    done = snakemake(undisturbed)
    assert done.returncode == 0, done.stdout
    stages = {path.parent.name for path in opened(undisturbed)}
    assert len(stages) > 12
    for delay_s in DELAYS_S:
        disturbed = tmp_path / f"killed-after-{delay_s}s"
        killed = set()
        while (stage := run_and_kill(disturbed, killed, delay_s)) is not None:
            killed.add(stage)
        print(f"killed {delay_s} s into:", ", ".join(sorted(killed)))
        assert killed == stages
        assert contents(disturbed) == contents(undisturbed)
