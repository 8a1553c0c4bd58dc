"""Training by every method on a GPU, in bf16; how fast, in how much memory, how busy. Skipped where there is none."""

import subprocess
from multiprocessing import get_context

import pandas as pd
import pytest
import torch

from pretraining import make_land, pretrain
from terraprobe.artifacts import read_json
from terraprobe.devices import count_gpus
from terraprobe.methods import METHODS

pytestmark = pytest.mark.skipif(not count_gpus(), reason="no NVIDIA GPU here (no /dev/nvidia0): nothing trained on one")
EPOCHS = 50


def work(method, folder, answer):
    """Train in a process of its own: a process that has used a GPU must not fork, as other tests do."""
    land, options = make_land(method, folder / "land")
    pretrain(land, folder / "encoder", method=method, epochs=EPOCHS, **options)
    answer.send(torch.cuda.max_memory_allocated())


def busy():
    """Share of the last moments in which the first GPU computed, in percent."""
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_the_gpu(method, tmp_path, capsys):
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(method, tmp_path, ours))
    child.start()
    shares = []
    while not theirs.poll(0.1) and child.is_alive():
        shares.append(busy())
    assert theirs.poll(0), "the training has failed"
    memory = theirs.recv()
    child.join()
    cost, card = (read_json(tmp_path / f"encoder/{name}.json") for name in ("cost", "card"))
    assert cost["precision"] == "bf16"
    assert memory > 0
    history = pd.read_parquet(tmp_path / "encoder/history.parquet")
    assert history["loss"].notna().all()
    rate = card["batch"]["train"] / cost["seconds_per_step"]
    known = [share for share in shares if share is not None]
    with capsys.disabled():
        used = f"busy at most {max(known)} %" if known else "nvidia-smi says nothing of its use"
        print(f"\n{method} on {cost['device']}, bf16: {rate:,.0f} chips/s, {memory / 1e6:,.0f} MB, {used}")
