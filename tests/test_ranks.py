"""Two processes at one training learn what one would: the same loss, the same gradients, one set of files."""

import os
import signal
import socket
from contextlib import contextmanager, nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from torch import distributed as dist

from pretraining import (
    TINY,
    TINY_BIOCLIM,
    TINY_DEEPLAB,
    TINY_PIXIF,
    TINY_RSBYOL,
    TINY_SCRATCH,
    TINY_SUPERVISED,
    TINY_UNIFEAT,
    add_classes,
    in_child,
    make_collection,
    make_optical,
    make_pairs,
    pretrain,
    signal_at,
    specs,
)  # fmt: skip
from terraprobe import ranks
from terraprobe.checkpoints import StateFolder
from terraprobe.errors import TerraprobeError
from terraprobe.loop import EXIT_INTERRUPTED, Trainer
from terraprobe.methods import METHODS
from terraprobe.normalisation import TowerInput
from terraprobe.pool import ChipPool
from terraprobe.train import PretrainRecipe, build_method

STEPS = 2
STILL = 1e-15
"""Learning rate: of gradients that are rounding alone Adam makes whole steps, which a second batch enlarges."""

CASES = {
    "clip3": ("clip3", TINY),
    "bioclim": ("bioclim", TINY_BIOCLIM),
    "bioclim cbn": ("bioclim", {**TINY_BIOCLIM, "conditioning": "cbn"}),
    "bioclim_supervised cbn": ("bioclim_supervised", {**TINY_SUPERVISED, "conditioning": "cbn"}),
    "rsbyol": ("rsbyol", TINY_RSBYOL),
    "rsbyol_supervised": ("rsbyol_supervised", TINY_SCRATCH),
    "sscl_unifeat": ("sscl_unifeat", TINY_UNIFEAT),
    "sscl": ("sscl", {**TINY_DEEPLAB, "batch_size": 8}),
    "simsiam": ("simsiam", {**TINY_DEEPLAB, "batch_size": 8}),
    "pixif": ("pixif", {**TINY_PIXIF, "batch_size": 8}),
}
DEEP = ("rsbyol", "rsbyol_supervised", "sscl", "simsiam", "pixif")
"""Behind a dozen batch norms over few values rounding grows: in fp32 the order of a batch's rows alone moves gradients
of these tiny ResNets by up to 6 % (measured), so that theirs are compared in fp64."""

LAND = {"bioclim": "optical", "bioclim_supervised": "optical", "rsbyol": "pairs", "rsbyol_supervised": "optical"}
CHANNELS_DRAWN = ("bands", "samples", "uniform")
"""Names of what chooses channels, in what a step reads: numbers of bands, or what CoRe drops them by."""


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def collections(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return {
        "land": make_collection(folder / "land"),
        "optical": add_classes(make_optical(folder / "optical")),
        "pairs": make_pairs(folder / "pairs"),
    }


def trainer(collection, method, recipe, folder):
    label = "cover_class" if method.endswith("_supervised") else ""
    wanted = PretrainRecipe(method=method, collections=["land"], recipe=recipe, label=label)
    context = [collection / "context.parquet"] if recipe.get("conditioning") else []
    labels = [collection / "labels.parquet"] if label else []
    pool = ChipPool([collection / "chips.parquet"], specs(collection), context, labels, label)
    return Trainer(build_method(wanted, wanted.full, pool), pool, 0, StateFolder(folder))


def few_steps(collection, method, recipe, folder):
    """Loss and gradient of every parameter in each of a few batches, the channels drawn, the buffers at the end."""
    low = {"lr_min": STILL} if method == "rsbyol" else {}
    training = trainer(collection, method, {**recipe, "lr": STILL, **low}, folder)
    fetch, found = training._fetch, {}

    def keep(chips, uniform):
        batch = fetch(chips, uniform)
        for part, tensors in batch.items():
            found.update({f"drawn {part}": tensors[name] for name in CHANNELS_DRAWN if name in tensors})
        return batch

    training._fetch = keep
    for step in range(STEPS):
        training._train_step()
        found[f"{step} loss"] = torch.tensor(training.done[-1][0])
        for name, parameter in training.method.network.named_parameters():
            if parameter.requires_grad:
                found[f"{step} {name}"] = parameter.grad.clone()
    return found | dict(training.method.network.named_buffers())


def environment(rank, port):
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), **address}


def on_two_ranks(work):
    """Run `work(rank)` in two processes that have joined; their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(2):
        if (pid := os.fork()) == 0:
            os.environ |= environment(rank, port)
            os._exit(in_child(lambda rank=rank: work(rank)) % 256)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


@contextmanager
def in_double():
    """Have everything made and computed in fp64."""
    single, prepare = torch.Tensor.float, TowerInput.prepare
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    TowerInput.prepare = lambda *arguments: prepare(*arguments).double()
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.Tensor.float, TowerInput.prepare = single, prepare


def steps_of(collections, case, folder):
    method, recipe = CASES[case]
    collection = collections[LAND.get(method, "land")]
    with in_double() if method in DEEP else nullcontext():
        return few_steps(collection, method, recipe, folder / "state")


@pytest.fixture(scope="module")
def on_both(collections, tmp_path_factory):
    """What each of two ranks finds, case by case; one pair of processes for all cases."""
    folder = tmp_path_factory.mktemp("both")

    def work(rank):
        ranks.join()
        torch.save({case: steps_of(collections, case, folder) for case in CASES}, folder / f"{rank}.pt")

    assert on_two_ranks(work) == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_every_method_is_tried():
    assert set(METHODS) == {method for method, _ in CASES.values()}


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_loss_and_all_gradients_of_one(collections, on_both, tmp_path, case):
    alone = steps_of(collections, case, tmp_path)
    for found in (rank[case] for rank in on_both):
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            if not name.startswith("drawn "):
                torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", [c for c in CASES if "bioclim" not in c and "supervised" not in c])
def test_the_ranks_draw_different_channels(on_both, case):
    one, two = ({name: v.tolist() for name, v in rank[case].items() if name.startswith("drawn ")} for rank in on_both)
    assert one
    assert one != two


def test_one_process_writes_what_one_alone_would_and_the_other_nothing(collections, tmp_path):
    def work(rank):
        pretrain(collections["land"], tmp_path / f"rank{rank}")

    assert on_two_ranks(work) == [0, 0]
    assert not (tmp_path / "rank1").exists()
    alone = pretrain(collections["land"], tmp_path / "alone")
    one, two = (pd.read_parquet(tmp_path / name / "history.parquet") for name in ("rank0", "alone"))
    columns = ["step", "loss", "val_loss", "grad_norm", "effective_rank"]
    np.testing.assert_allclose(one[columns], two[columns], rtol=1e-3)
    names = sorted(path.name for path in alone.iterdir() if path.is_file())
    assert sorted(path.name for path in (tmp_path / "rank0").iterdir() if path.is_file()) == names


def test_a_signal_to_one_process_stops_both_and_both_go_on(collections, tmp_path, capfd):
    def stopped(rank):
        if rank == 1:
            signal_at(5, signal.SIGUSR1)
        pretrain(collections["land"], tmp_path / "encoder")

    assert on_two_ranks(stopped) == [EXIT_INTERRUPTED, EXIT_INTERRUPTED]
    assert "stopped by a signal after step 5 of 8" in capfd.readouterr().err
    assert on_two_ranks(lambda _: pretrain(collections["land"], tmp_path / "encoder")) == [0, 0]
    said = capfd.readouterr().err
    assert said.count("resumed after step 5 of 8") == 1
    assert (tmp_path / "encoder/encoder.safetensors").exists()


def test_a_batch_that_ranks_cannot_share_is_an_error(collections, tmp_path):
    def work(_):
        with pytest.raises(TerraprobeError, match="batches of 7 chips cannot be dealt evenly to 2 processes"):
            pretrain(collections["land"], tmp_path / "encoder", batch_size=7)

    assert on_two_ranks(work) == [0, 0]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, None),
        ({"WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),  # a job, but one process
        (environment(1, 4321), (1, 2, 1, "tcp://127.0.0.1:4321")),
        (
            {
                "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "12003",
                "SLURM_STEP_NODELIST": "gpu[07-08],big3",
            },
            (5, 8, 1, "tcp://gpu07:29503"),
        ),
    ],
)  # fmt: skip
def test_a_process_finds_its_place_as_its_launcher_says(given, place):
    assert ranks._place(given) == place


def test_alone_nothing_is_shared():
    assert not dist.is_initialized()
    assert (ranks.count_ranks(), ranks.rank(), ranks.any_of(False), ranks.mean_of(2.5)) == (1, 0, False, 2.5)
    rows = torch.arange(3)
    assert ranks.gather_rows(rows) is rows
    assert ranks.deal(rows) is rows
