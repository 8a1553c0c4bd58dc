"""Which train chips an episode may look at: nested draws, the same for every feature set.

An episode is one random order of *all* train chips of a collection. A draw of n labels takes the first n chips of
that order that have a label and features; so 10 labels are part of 100, and these of the full set, and no encoder,
floor or modality has a say in the order. Where a feature set lacks a chip (a missing modality), the next chip of
the order takes its place; every other chip of the draw stays.
"""

import numpy as np
from numpy.typing import NDArray

FULL = 0
"""The size that stands for "every train chip there is"."""

_ORDER, _FOREST = 0, 1  # separate random streams of one episode


def episode_order(n_train: int, seed: int, episode: int) -> NDArray[np.intp]:
    """Random order of the train chips of a collection.

    Args:
        n_train: number of train chips, counted in the order of their `chip_id`.
        seed: of the evaluation.
        episode: number of the repeat.

    Returns:
        A permutation of [0, n_train), from PCG64 on (seed, episode).
    """
    return _generator(seed, episode, _ORDER).permutation(n_train)


def forest_seed(seed: int, episode: int) -> int:
    """Seed of the probe itself in an episode, in [0, 2**32)."""
    return int(_generator(seed, episode, _FOREST).integers(2**32))


def _generator(seed: int, episode: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, episode, stream])))


def draw_uniform(order: NDArray[np.intp], available: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Rank the available chips for a uniform draw [P]: every prefix is a simple random sample.

    Args:
        order: of `episode_order`, (n_train,).
        available: whether a chip has a label and features, by chip, (n_train,).

    Returns:
        The available chips in the order in which draws take them.
    """
    return order[available[order]]


def draw_stratified(
    order: NDArray[np.intp], available: NDArray[np.bool_], positive: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Rank the available chips so that classes alternate until one is used up.

    Args:
        order: of `episode_order`, (n_train,).
        available: whether a chip has a label and features, by chip, (n_train,).
        positive: its class, by chip, (n_train,).

    Returns:
        The available chips in the order in which draws take them; a prefix of even length holds both classes
        equally often while both last. The class of the first chip of the order leads.
    """
    ranked = draw_uniform(order, available)
    side = positive[ranked]
    rank_in_class = np.where(side, np.cumsum(side), np.cumsum(~side))
    return ranked[np.argsort(rank_in_class, kind="stable")]
