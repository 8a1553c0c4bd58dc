"""SIGKILL in the middle of training, by every method: the next run ends in the bytes of one that nobody killed."""

import math
import os
import signal

import pandas as pd
import pytest
import torch

from pretraining import MOMENTS, in_child, kill_at, make_land, pretrain, signal_at
from terraprobe import loop
from terraprobe.loop import EXIT_INTERRUPTED
from terraprobe.methods import METHODS

FILES = ("encoder.safetensors", "card.json", "history.parquet")
KILLS = 10 if os.environ.get("TERRAPROBE_LONG") else 3


@pytest.fixture(scope="module", params=METHODS)
def training(request, tmp_path_factory):
    """A training of one method, given a folder; its number of steps; what it writes where nothing disturbs it."""
    method, folder = request.param, tmp_path_factory.mktemp("kills")
    land, options = make_land(method, folder / "land")
    if method == "sscl":
        options["start"] = pretrain(land, folder / "start", method="sscl_unifeat", epochs=1)

    def train(out):
        torch.set_num_threads(1)
        return pretrain(land, out, method=method, **options)

    whole = train(folder / "whole")
    return train, int(pd.read_parquet(whole / "history.parquet")["step"].max()), contents(whole)


@pytest.fixture
def every_step(monkeypatch):
    """Write the state after every step."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "WRITE_SHARE", float("inf"))


def contents(encoder):
    return {name: (encoder / name).read_bytes() for name in FILES}


def resumed(capfd):
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("resumed"))
    return line.partition(" from ")[0]


@pytest.mark.usefixtures("every_step")
@pytest.mark.long
@pytest.mark.parametrize("number", range(KILLS))
def test_resumed_after_sigkill_equals_undisturbed(training, tmp_path, request, *, capfd, record_property, number):
    train, steps, undisturbed = training
    step, moment = max(2, math.ceil((number + 0.5) / KILLS * steps)), MOMENTS[number % len(MOMENTS)]

    def doomed():
        kill_at(step, moment)
        train(tmp_path)

    assert in_child(doomed) == -signal.SIGKILL
    assert not any((tmp_path / name).exists() for name in FILES)
    capfd.readouterr()
    train(tmp_path)
    said = resumed(capfd)
    method = request.node.callspec.params["training"]
    record_property("remark", f"{method}: killed in step {step} of {steps} ({moment}), {said}")
    assert said == f"resumed after step {step - 1} of {steps}"
    assert contents(tmp_path) == undisturbed
    (state,) = tmp_path.glob("state-*")
    assert len(list(state.glob("step-*.pt"))) == 1
    assert not list(state.glob(".*"))  # nothing half-written is left


def test_a_training_in_slices_equals_one_in_one_piece(training, tmp_path, capfd):
    train, steps, undisturbed = training
    ends = [steps // 3, 2 * steps // 3]

    def sliced(end):
        signal_at(end, signal.SIGUSR1)  # as SLURM does before a time limit
        train(tmp_path)

    assert [in_child(lambda end=end: sliced(end)) for end in ends] == [EXIT_INTERRUPTED, EXIT_INTERRUPTED]
    capfd.readouterr()
    train(tmp_path)
    assert resumed(capfd) == f"resumed after step {ends[-1]} of {steps}"
    assert contents(tmp_path) == undisturbed
