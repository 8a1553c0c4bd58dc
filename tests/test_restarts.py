"""Weights after restarts of the learning rate: those of a shorter training, through any kill, and an artifact."""

import shutil
import signal

import pytest

from pretraining import TINY_RSBYOL, in_child, make_pairs, pretrain, pretrain_until_killed
from terraprobe import loop
from terraprobe.artifacts import read_json, sha256_file
from terraprobe.errors import TerraprobeError
from terraprobe.methods._rsbyol import RsbyolRecipe
from terraprobe.restarts import RestartRecipe, take_restart


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp("restarts") / "land")


@pytest.fixture(scope="module")
def encoder(land, tmp_path_factory):
    """Four epochs with restarts after the first and the third."""
    return pretrain(land, tmp_path_factory.mktemp("restarts") / "encoder", method="rsbyol")


def take(encoder, epoch):
    weights = encoder / f"encoder-epoch{epoch}.safetensors"
    take_restart(card=encoder / "card.json", recipe=RestartRecipe(epoch=epoch), weights=weights)
    return weights


@pytest.mark.parametrize(
    ("epochs", "restarts"),
    [(400, (10, 30, 70, 150, 310)), (310, (10, 30, 70, 150)), (11, (10,)), (10, ()), (0, ())],
)
def test_the_epochs_of_the_paper(epochs, restarts):
    assert RsbyolRecipe(epochs=epochs).restarts == restarts


def test_cycles_of_one_length():
    assert RsbyolRecipe(epochs=24, restart_epochs=8, restart_factor=1).restarts == (8, 16)


def test_the_weights_are_those_of_a_training_that_ended_there(land, encoder, tmp_path):
    assert RsbyolRecipe(**TINY_RSBYOL).restarts == (1, 3)
    for epoch in (1, 3):
        shorter = pretrain(land, tmp_path / str(epoch), method="rsbyol", epochs=epoch)
        assert take(encoder, epoch).read_bytes() == (shorter / "encoder.safetensors").read_bytes()
    assert set(read_json(encoder / "card.json")["restarts"]) == {"1", "3"}


def test_a_kill_after_a_restart_loses_nothing(land, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "WRITE_SHARE", float("inf"))
    assert in_child(lambda: pretrain_until_killed(5, land, tmp_path, method="rsbyol")) == -signal.SIGKILL
    pretrain(land, tmp_path, method="rsbyol")
    for epoch in (1, 3):
        assert sha256_file(take(tmp_path, epoch)) == sha256_file(take(encoder, epoch))


def test_other_epochs_and_a_lost_state_are_refused(encoder, tmp_path):
    with pytest.raises(TerraprobeError, match="no weights were kept after epoch 2, allowed 1, 3"):
        take(encoder, 2)
    shutil.copy(encoder / "card.json", tmp_path)
    with pytest.raises(TerraprobeError, match=r"Delete card.json and run again"):
        take(tmp_path, 1)
