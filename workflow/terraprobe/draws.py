"""Random choices as functions of numbers in [0, 1): a chip's own numbers choose for it, whoever stands beside it."""

import numpy as np
from numpy.typing import NDArray


def draw_usable(usable: NDArray[np.bool_], uniform: NDArray[np.float64]) -> NDArray[np.intp]:
    """Pick one usable channel a row.

    Args:
        usable: (row, channel).
        uniform: random numbers in [0, 1), (row,).

    Returns:
        Channel of each row, -1 where none is usable.
    """
    order = np.cumsum(usable, axis=1)
    count = order[:, -1]
    wanted = np.floor(uniform * count).astype(np.intp) + 1
    return np.where(count > 0, np.argmax(order >= wanted[:, None], axis=1), -1)


def draw_several(usable: NDArray[np.bool_], uniform: NDArray[np.float64]) -> NDArray[np.intp]:
    """Pick several usable channels a row, none of them twice.

    Args:
        usable: (row, channel), in each row at least as many as are wanted.
        uniform: random numbers in [0, 1), (row, wanted).

    Returns:
        Channels of each row in the order of the draws, (row, wanted).
    """
    left, drawn = usable.copy(), []
    for numbers in uniform.T:
        drawn.append(draw_usable(left, numbers))
        left[np.arange(len(left)), drawn[-1]] = False
    return np.stack(drawn, axis=1)
