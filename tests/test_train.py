"""Training: the same bytes after kills, broken states passed over, collapse seen, bad input refused."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pretraining import (
    CHANNELS,
    CHIPS,
    MOMENTS,
    POISON,
    TINY,
    in_child,
    kill_at,
    make_collection,
    make_store,
    pretrain,
    signal_at,
    specs,
)
from terraprobe import checkpoints, loop, train
from terraprobe.artifacts import read_json
from terraprobe.checkpoints import StateFolder
from terraprobe.errors import TerraprobeError
from terraprobe.health import Health, measure_health
from terraprobe.loop import EXIT_INTERRUPTED, Trainer
from terraprobe.methods.clip3 import Clip3
from terraprobe.train import PretrainRecipe

FILES = ("encoder.safetensors", "card.json", "history.parquet")
STEPS = 8  # 24 train chips, one of them in no pair, by 8: 2 steps an epoch, 4 epochs


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def every_step(monkeypatch):
    """Write the state after every step."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "WRITE_SHARE", float("inf"))


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("train") / "land")


@pytest.fixture(scope="module")
def whole(land, tmp_path_factory):
    """An encoder whose training nothing disturbed."""
    return pretrain(land, tmp_path_factory.mktemp("whole") / "encoder")


def contents(encoder):
    return {name: (encoder / name).read_bytes() for name in FILES}


def state_of(encoder):
    (folder,) = encoder.glob("state-*")
    return folder


def test_two_runs_give_equal_bytes_and_another_seed_does_not(land, whole, tmp_path):
    assert contents(pretrain(land, tmp_path / "again")) == contents(whole)
    other = pretrain(land, tmp_path / "other", seed=1)
    assert (other / FILES[0]).read_bytes() != (whole / FILES[0]).read_bytes()


def test_history_and_card(land, whole):
    history = pd.read_parquet(whole / "history.parquet")
    assert history["step"].tolist() == [2, 4, 6, 8]
    expected = {"epoch", "loss", "val_loss", "lr", "grad_norm", "embedding_std", "effective_rank", "random_init_rank"}
    assert expected <= set(history.columns)
    assert np.isfinite(history[sorted(expected)]).all().all()
    card = read_json(whole / "card.json")
    assert card["best_epoch"] == history.loc[history["val_loss"].idxmin(), "epoch"]
    assert card["chips"] == {"train": 23, "val": 8}
    assert card["towers"]["s1_grd_monthly"]["unit"] == "backscatter_db"
    assert len(card["towers"]["s2_rgb_monthly"]["mean"]) == 9
    assert card["recipe_sources"]["lr"]["mark"] == "D"
    assert set(card["data"]["land"]["stores"]) == set(CHANNELS)
    cost = read_json(whole / "cost.json")
    assert set(cost) == {"device", "precision", "seconds", "seconds_per_step", "threads"}
    assert not any(key in str(card) for key in ("seconds", "device"))


def test_validation_draws_are_fixed(land, tmp_path):
    trainer = _trainer(land, tmp_path)
    one, two = (list(trainer._val_batches()) for _ in range(2))
    assert len(one) == TINY["val_batches"]
    for (chips, draws), (other_chips, other_draws) in zip(one, two, strict=True):
        assert (chips == other_chips).all()
        assert (draws == other_draws).all()
        assert len(chips) == TINY["batch_size"]
        assert (trainer.pool.split[chips] == "val").all()


def _trainer(land, folder, **overrides):
    from terraprobe.pool import ChipPool
    from terraprobe.train import build_method

    recipe = PretrainRecipe(method="clip3", collections=["land"], recipe={**TINY, **overrides})
    pool = ChipPool([land / "chips.parquet"], specs(land))
    return Trainer(build_method(recipe, recipe.full, pool), pool, 0, StateFolder(folder))


@pytest.mark.usefixtures("every_step")
def test_killed_twice_and_between_checkpoints(land, whole, tmp_path, monkeypatch):
    saved = StateFolder.save
    monkeypatch.setattr(StateFolder, "save", lambda self, step, state: step % 3 == 0 and saved(self, step, state))
    for step in (5, 8):

        def doomed(step=step):
            kill_at(step, MOMENTS[0])
            pretrain(land, tmp_path)

        assert in_child(doomed) == -signal.SIGKILL
    pretrain(land, tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_killed_between_two_outputs(land, whole, tmp_path):
    def doomed():
        train.write_table = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        pretrain(land, tmp_path)

    assert in_child(doomed) == -signal.SIGKILL
    assert (tmp_path / FILES[0]).exists()
    pretrain(land, tmp_path)
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_writes_a_state_and_leaves_with_75(land, whole, tmp_path, capfd, number):
    def asked():
        signal_at(5, number)
        pretrain(land, tmp_path)

    assert in_child(asked) == EXIT_INTERRUPTED
    assert f"stopped by {number.name} after step 5 of {STEPS}" in capfd.readouterr().err
    pretrain(land, tmp_path)
    assert f"resumed after step 5 of {STEPS}" in capfd.readouterr().err
    assert contents(tmp_path) == contents(whole)


def test_command_line_stopped_by_sigterm(land, tmp_path):
    recipe = PretrainRecipe(method="clip3", collections=["land"], recipe={**TINY, "epochs": 4000})
    command = [
        sys.executable, "-m", "terraprobe", "pretrain-encoder", "--chips", str(land / "chips.parquet"),
        "--stores", *map(str, specs(land)), "--recipe", recipe.model_dump_json(),
        "--weights", str(tmp_path / FILES[0]), "--card", str(tmp_path / FILES[1]),
        "--history", str(tmp_path / FILES[2]),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        _wait_for_handler(process.pid)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == EXIT_INTERRUPTED, said
    assert "The same command goes on from there." in said.splitlines()[-1]
    assert "Traceback" not in said
    assert len(list(state_of(tmp_path).glob("step-*.pt"))) == 1


def _wait_for_handler(pid):
    """Wait until the process catches SIGTERM; before its first step, the signal just ends it."""
    for _ in range(1200):
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.1)


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("damage", ["truncated", "one byte changed", "empty"])
def test_a_broken_state_is_passed_over_for_the_one_before(land, whole, tmp_path, capfd, damage):
    def doomed():
        kill_at(6, MOMENTS[0])
        pretrain(land, tmp_path)

    in_child(doomed)
    older, newest = sorted(state_of(tmp_path).glob("step-*.pt"))
    content = bytearray(newest.read_bytes())
    if damage == "one byte changed":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"truncated": content[:5000], "one byte changed": content, "empty": b""}[damage])
    pretrain(land, tmp_path)
    told = capfd.readouterr().err
    assert f"{newest}: broken checkpoint" in told
    assert f"resumed after step {int(older.name.split('-')[1])} of" in told
    assert contents(tmp_path) == contents(whole)


@pytest.mark.usefixtures("every_step")
def test_two_processes_on_one_state_folder_do_not_harm_each_other(land, whole, tmp_path):
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                pretrain(land, tmp_path)
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert contents(tmp_path) == contents(whole)


@pytest.mark.usefixtures("every_step")
def test_only_two_states_are_kept_and_one_after_the_end(land, tmp_path, monkeypatch):
    most = []
    real = StateFolder.save

    def save(self, step, state):
        real(self, step, state)
        most.append(len(list(self.path.iterdir())))

    monkeypatch.setattr(StateFolder, "save", save)
    pretrain(land, tmp_path)
    assert max(most) == checkpoints.KEEP
    assert len(list(state_of(tmp_path).iterdir())) == 1


def test_other_data_recipe_or_seed_has_another_state(land, tmp_path):
    for number, (collection, seed, other) in enumerate(
        [(land, 0, {}), (land, 1, {}), (land, 0, {"lr": 2e-3}), (make_collection(tmp_path / "land", seed=9), 0, {})]
    ):
        pretrain(collection, tmp_path / "encoder", seed=seed, epochs=1, **other)
        assert len(list((tmp_path / "encoder").glob("state-*"))) == number + 1


def test_a_training_that_fills_the_disk_ends_in_one_sentence(land, tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with pytest.raises(TerraprobeError, match="cannot be written"):
            pretrain(land, tmp_path)

    assert in_child(limited) == 0
    assert not list(state_of(tmp_path).iterdir())
    assert [path.name for path in tmp_path.iterdir()] == [state_of(tmp_path).name]


def test_effective_rank_in_closed_form():
    rng = np.random.default_rng(0)
    for dimensions in (1, 3, 8):
        directions = np.zeros((4000, 32), np.float32)
        directions[np.arange(4000), rng.integers(0, dimensions, 4000)] = rng.choice([-1.0, 1.0], 4000)
        assert measure_health(directions).rank == pytest.approx(dimensions, rel=0.01)
    assert measure_health(np.ones((20, 4), np.float32)) == Health(0.0, 1.0)
    sphere = rng.normal(size=(4000, 16)).astype(np.float32)
    assert measure_health(sphere).std == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(
    ("now", "untrained", "collapsed"),
    [
        (Health(0.7, 4.0), Health(0.76, 2.8), False),
        (Health(0.17, 1.36), Health(0.28, 2.95), False),  # a healthy run in its first epochs
        (Health(0.03, 1.08), Health(0.76, 2.79), True),  # seen at lr .03
        (Health(0.003, 2.0), Health(0.76, 2.79), True),  # seen at lr .3: only rounding is left
        (Health(0.7, 2.8), Health(0.8, 12.0), True),  # a healthy spread in few directions
    ],
)
def test_collapse_is_judged_against_the_untrained_encoder(now, untrained, collapsed):
    assert now.collapsed(untrained) is collapsed


def test_a_collapsing_run_is_stopped_with_both_ranks(land, tmp_path, monkeypatch):
    def shrink(self):
        # One direction is left of everything the tower says: loss and spread alone may look healthy.
        projection = self.towers["s1_grd_monthly"].projection
        projection.weight.data[1:] = 0
        projection.bias.data.zero_()

    monkeypatch.setattr(Clip3, "after_step", shrink)
    message = r"tower s1_grd_monthly has collapsed: after epoch 2 its embeddings of 8 validation chips .* rank 1\.00 "
    with pytest.raises(TerraprobeError, match=message):
        pretrain(land, tmp_path)
    assert not (tmp_path / FILES[0]).exists()


def test_a_healthy_run_is_not_stopped(land, tmp_path):
    history = pd.read_parquet(pretrain(land, tmp_path, epochs=12) / "history.parquet")
    assert len(history) == 12
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]


def test_a_loss_that_is_not_a_number_stops_the_job(land, tmp_path):
    with pytest.raises(TerraprobeError, match=r"the loss is (nan|inf) at learning rate .* Lower lr"):
        pretrain(land, tmp_path, lr=1e18, warmup=0.0)


def test_no_validation_chip_is_an_error(land, tmp_path):
    folder = make_collection(tmp_path / "land")
    table = pd.read_parquet(folder / "chips.parquet")
    table["split"] = "train"
    table.to_parquet(folder / "chips.parquet")
    with pytest.raises(TerraprobeError, match="0 usable val chips of 0, at least 2"):
        pretrain(folder, tmp_path / "encoder")


def test_stores_that_do_not_fit_are_refused(land, tmp_path):
    folder = make_collection(tmp_path / "land", modalities=("s2_rgb_monthly", "s1_grd_monthly"))
    with pytest.raises(TerraprobeError, match="no store of s1_coherence; the collections land have"):
        pretrain(folder, tmp_path / "encoder")
    pixels, valid = np.full((CHIPS, 4, 16, 16), POISON), np.ones((CHIPS, 4), np.float32)
    make_store(folder / "chips/s1_coherence", "s1_coherence", pixels, valid)
    with pytest.raises(TerraprobeError, match=r"chips of (16|32) px, another store of this job has (32|16) px"):
        pretrain(folder, tmp_path / "encoder")
    make_store(folder / "chips/s1_coherence", "s1_coherence", pixels[:7].repeat(2, 2).repeat(2, 3), valid[:7])
    with pytest.raises(TerraprobeError, match=r"7 chips, but .* has 40"):
        pretrain(folder, tmp_path / "encoder")


def test_a_recipe_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="recipe of clip3: lr: Input should be greater than 0"):
        PretrainRecipe(method="clip3", collections=["land"], recipe={"lr": -1})
    for wrong in ("inf", "nan"):
        with pytest.raises(ValueError, match="recipe of clip3: lr: Input should be a finite number"):
            PretrainRecipe(method="clip3", collections=["land"], recipe={"lr": float(wrong)})
    with pytest.raises(ValueError, match="found 'clip4', allowed bioclim, bioclim_supervised, clip3"):
        PretrainRecipe(method="clip4", collections=["land"])


def test_two_collections_are_one_pool(land, tmp_path):
    from terraprobe.pool import ChipPool

    other = make_collection(tmp_path / "other", seed=5, modalities=("s1_grd_monthly", "s1_coherence"))
    pool = ChipPool([land / "chips.parquet", other / "chips.parquet"], [*specs(land), *specs(other)])
    alone = ChipPool([other / "chips.parquet"], specs(other))
    assert len(pool) == 2 * CHIPS
    assert not pool.usable("s2_rgb_monthly")[CHIPS:].any()
    chips, channels = np.array([1, 30, 7]), np.array([0, 2, 5])
    both = pool.digital("s1_grd_monthly", chips + CHIPS, channels)
    assert (both == alone.digital("s1_grd_monthly", chips, channels)).all()
    first = ChipPool([land / "chips.parquet"], specs(land))
    mixed = pool.digital("s1_grd_monthly", np.array([1 + CHIPS, 30, 7 + CHIPS]), channels)
    expected = alone.digital("s1_grd_monthly", chips, channels)
    expected[1] = first.digital("s1_grd_monthly", chips, channels)[1]
    assert (mixed == expected).all()


@pytest.mark.parametrize(("share", "read"), [(0.5, 3), (0.0, 0)])
def test_stores_are_preloaded_where_memory_holds_them(land, monkeypatch, share, read):
    from terraprobe.pool import ChipPool

    found = []
    monkeypatch.setattr("terraprobe.pool.PRELOAD_SHARE", share)
    monkeypatch.setattr("terraprobe.chips.store.ChipStore.preload", lambda store: found.append(store.layer.name))
    ChipPool([land / "chips.parquet"], specs(land)).preload()
    assert len(found) == read
