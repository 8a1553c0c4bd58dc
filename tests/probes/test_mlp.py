"""Many MLPs at once: each is what PyTorch's own layers make of it alone; equal seeds give equal weights."""

import numpy as np
import pytest
import torch
from torch import nn

from terraprobe.probes.mlp import HIDDEN, train_heads

N, SIZE, CLASSES = 21, 5, 3
HOW = {"lr": 0.01, "epochs": 4, "batch_size": 8}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def task():
    """Two members with their own features, of very different scale, and their own classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, (2, N))
    x = rng.normal(size=(2, N, SIZE)) + np.eye(CLASSES, SIZE)[y] * 3
    return (x * [1, 100, 0.01, 1, 1] + 7).astype(np.float32), y


def alone(x, y, seed):
    """The same classifier of PyTorch's own layers, with the bias that batch normalisation cancels left out."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Linear(SIZE, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
                        nn.Linear(HIDDEN, CLASSES))  # fmt: skip
    with torch.no_grad():
        for tensor, shape, fan in ((net[0].weight, (SIZE, HIDDEN), SIZE), (net[3].weight, (HIDDEN, CLASSES), HIDDEN),
                                   (net[3].bias, (CLASSES,), HIDDEN)):  # fmt: skip
            drawn = (torch.rand(*shape, generator=generator) * 2 - 1) / fan**0.5
            tensor.copy_(drawn.T if drawn.ndim == 2 else drawn)
    z = torch.from_numpy((x - x.mean(axis=0)) / x.std(axis=0))
    steps = -(-N // HOW["batch_size"])
    optimiser = torch.optim.Adam(net.parameters(), lr=HOW["lr"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, HOW["epochs"] * steps)
    for _ in range(HOW["epochs"]):
        for batch in torch.randperm(N, generator=generator).tensor_split(steps):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(z[batch]), torch.from_numpy(y)[batch]).backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return net.eval()(z).softmax(dim=1).numpy()


def test_each_member_is_the_classifier_that_trains_alone(task):
    x, y = task
    heads = train_heads(x, y, CLASSES, seeds=[3, 4], **HOW)
    for k, seed in enumerate((3, 4)):
        np.testing.assert_allclose(heads.members([k]).probabilities(x[k])[0], alone(x[k], y[k], seed), atol=2e-4)


def test_equal_seeds_give_equal_bytes_whatever_trains_beside_them(task):
    x, y = task
    both, again = (train_heads(x, y, CLASSES, seeds=[3, 3], **HOW) for _ in range(2))
    assert both.w1.tobytes() == again.w1.tobytes() and both.b2.tobytes() == again.b2.tobytes()
    twice = train_heads(x[[0, 0]], y[[0, 0]], CLASSES, seeds=[3, 3], **HOW)
    np.testing.assert_array_equal(twice.w1[0], twice.w1[1])
    np.testing.assert_allclose(twice.w1[0], both.w1[0], rtol=1e-5, atol=1e-6)


def test_it_learns_what_can_be_learnt(task):
    x, y = task
    heads = train_heads(x, y, CLASSES, seeds=[0, 1], lr=0.01, epochs=60, batch_size=8)
    called = np.stack([heads.members([k]).probabilities(x[k])[0].argmax(axis=1) for k in (0, 1)])
    assert (called == y).mean() > 0.95


@pytest.mark.parametrize("n", [2, 3])
def test_the_fewest_chips_and_a_constant_feature_give_finite_weights(n):
    x = np.ones((1, n, SIZE), np.float32)
    x[..., 0] = np.arange(n)
    heads = train_heads(x, np.arange(n)[None] % 2, 2, seeds=[0], lr=0.01, epochs=3, batch_size=2)
    shown = heads.probabilities(x[0])
    assert np.isfinite(shown).all()
    np.testing.assert_allclose(shown.sum(axis=2), 1, rtol=1e-5)
