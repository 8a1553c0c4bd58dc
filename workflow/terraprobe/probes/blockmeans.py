"""Means over test chips, with every arm on the same resampled blocks."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.metrics import hit_share
from terraprobe.statistics import block_weights, mean_over_seeds, resample


class BlockMeans:
    """Resampled means of values that every chip has.

    Args:
        blocks: name of each chip's block, (chip,).
        resamples: of the blocks.
        stream: seed of the resamples, of `statistics.stream_seed`; equal seeds and blocks pair two means.

    Attributes:
        names: of the blocks, ascending.
        n_blocks: how many there are.
    """

    def __init__(self, blocks: NDArray[np.str_], resamples: int, stream: int) -> None:
        self._block, names = pd.factorize(blocks, sort=True)
        self.names: list[str] = names.tolist()
        self.n_blocks, self._stream = len(names), stream
        self._weights = block_weights(self.n_blocks, resamples, stream)

    def resampled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each member in every resample.

        Args:
            values: a value a chip, (member, chip).

        Returns:
            (resamples, member).
        """
        return resample(hit_share, self.counts(values), self._weights)

    def counts(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of a member's values in each block, and the block's chips: (member, block, 2)."""
        chips = self._by_block(np.ones(values.shape[1]))
        return np.stack([np.stack([self._by_block(row), chips], -1) for row in values])

    def of_arm(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over members, one a seed, in every resample of blocks and seeds, (resamples,)."""
        return mean_over_seeds(self.resampled(values)[:, :, None], self._stream)

    def _by_block(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(self._block, weights=values, minlength=self.n_blocks).astype(np.float64)
