"""A mini study run on this machine or through the SLURM profile, in folders of their own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MINI = REPOSITORY / "tests/studies/mini.yaml"
PROFILE = REPOSITORY / "workflow/profiles/slurm"
TRAINING_LOG = "results/mini/logs/pretrain_encoder/tiny.log"
EPOCHS = 40
"""Several seconds of training: time enough for each case to find it at work."""

MADE_BEFORE_TRAINING = ("collections", "floors", "logs", "benchmarks")
TIMEOUT_S = 1200
"""For each wait: twice what all cases together take on two cores that have nothing else to do, and more."""


def write_study(path: Path) -> None:
    """The mini study with a longer training, and with fewer jobs of one kind."""
    content = yaml.safe_load(MINI.read_text())
    content["collections"][0] |= {"shards": 1, "labels": ["mod44b"]}
    content["encoders"][0]["recipe"]["epochs"] = EPOCHS
    content["evaluations"][0]["tasks"] = ["vegetation"]
    path.write_text(yaml.safe_dump(content))


def command(folder: Path, *arguments: str) -> list[str]:
    """Snakemake on the study of a folder."""
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    return [*base, "--configfile", str(folder / "study.yaml"), *arguments]


def run_here(folder: Path) -> list[str]:
    """Run the study of a folder on this machine, without SLURM, or what of it is not done yet."""
    done = subprocess.run(
        command(folder, "--cores", "2"), cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return []


def without_training(local: Path, folder: Path, *kept: str) -> None:
    """A copy of a finished folder as it was before its encoder was trained.

    Args:
        local: the finished folder.
        folder: of the copy.
        kept: further parts of the results to keep.
    """
    ignored = shutil.ignore_patterns("locks", "slurm_logs", "incomplete", "log")
    shutil.copytree(local, folder, ignore=ignored, dirs_exist_ok=True)
    results = folder / "results/mini"
    for path in [path for path in results.rglob("*") if path.is_file()]:
        made_before = path.relative_to(results).parts[0] in (*MADE_BEFORE_TRAINING, *kept)
        if not made_before and not path.name.startswith("floors."):
            path.unlink()
    (folder / TRAINING_LOG).unlink()


def assert_equal(local: Path, folder: Path) -> None:
    """Finish the study of a folder without SLURM; then the results of both folders are equal byte for byte."""
    run_here(folder)
    both = [str(path / "results/mini") for path in (local, folder)]
    compare = [sys.executable, "-m", "terraprobe", "compare", "--exact", *both]
    done = subprocess.run(compare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Submitted:
    """Snakemake at work through the profile.

    Args:
        folder: that it works in.
        arguments: of its command line, after the profile's.
    """

    _begun: ClassVar[list["Submitted"]] = []

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.console = folder / "console.txt"
        here = ["--workflow-profile", str(PROFILE), "--cores", "2", "--latency-wait", "20"]
        here += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
        with self.console.open("w") as out:
            self.process = subprocess.Popen(
                command(folder, *here, *arguments), cwd=folder, stdout=out, stderr=out, start_new_session=True
            )
        self._begun.append(self)

    @classmethod
    def end_all(cls) -> None:
        """Kill what still runs: a case has failed."""
        for submitted in cls._begun:
            submitted.kill()

    def kill(self) -> None:
        """SIGKILL; its SLURM jobs live on."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def status(self) -> int:
        """Wait for its end; its exit status."""
        try:
            return self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not done after {TIMEOUT_S} s:\n{self.said()}") from None

    def finish(self) -> None:
        """Wait for its end, which must be a good one."""
        assert self.status() == 0, self.said()

    def said(self) -> str:
        """Its console."""
        return self.console.read_text()

    def until_it_trains(self, after: int = 0) -> int:
        """Wait until a training is between two epochs.

        Args:
            after: process id of a training that is not meant.

        Returns:
            Its process id.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while "\nepoch" not in self.training_log() or (pid := self._training()) in (0, after):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)
        return pid

    def training_log(self) -> str:
        """What the training of this folder has said."""
        path = self.folder / TRAINING_LOG
        return path.read_text() if path.exists() else ""

    def told(self, beginning: str) -> list[str]:
        """Lines of the training that begin so, without the folder of its state."""
        lines = [line for line in self.training_log().splitlines() if line.startswith(beginning)]
        return [line.partition("; state in ")[0].partition(" from ")[0] for line in lines]

    def stopped(self) -> bool:
        """Whether the training of this folder has ended before its time."""
        return "stopped by " in self.training_log()

    def resumed(self) -> list[str]:
        """Where the training went on, which it must have done."""
        lines = self.told("resumed after step ")
        assert lines, self.training_log()
        return lines

    def _training(self) -> int:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (path / "cmdline").read_bytes().split(b"\0")
                if b"pretrain-encoder" in arguments and (path / "cwd").resolve() == self.folder.resolve():
                    return int(path.name)
            except OSError:  # it has ended
                continue
        return 0


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, where it has not ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def pending(pid: int) -> set[signal.Signals]:
    """Signals that wait for a stopped process; none where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return set()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return {one for one in signal.Signals if any(mask >> (one - 1) & 1 for mask in masks)}
