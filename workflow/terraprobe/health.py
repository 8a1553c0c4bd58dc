"""Whether an encoder has collapsed: the spread of its embeddings against an untrained twin's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANK_SHARE = 0.25
"""[D] A tower is called collapsed when it has less than this share of the untrained encoder's directions beyond the
first. One is subtracted because no set of embeddings has fewer: a random ViT starts at a rank of two to four, so
that a share of the rank itself could never be undercut.
"""

STD_SHARE = 0.05
"""[D] … or when the spread itself is below this share of the untrained encoder's: embeddings that are all alike but
for rounding can show any rank.
"""

PATIENCE = 2
"""[D] So many epochs in a row, after the warm-up."""

MIN_CHIPS = 8
"""Fewer chips than this say nothing about rank."""


@dataclass(frozen=True)
class Health:
    """Spread of one tower's embeddings over a fixed set of chips.

    Attributes:
        std: mean over dimensions of the standard deviation of the unit-length embeddings, times sqrt(D); 1 where they
            fill the sphere evenly.
        rank: effective rank, at least 1.
    """

    std: float
    rank: float

    def collapsed(self, untrained: "Health") -> bool:
        """Whether this tower has collapsed, by the untrained one's own spread on the same chips."""
        few = self.rank - 1 < RANK_SHARE * (untrained.rank - 1)
        return few or self.std < STD_SHARE * untrained.std


def measure_health(embeddings: NDArray[np.float32]) -> Health:
    """Spread of embeddings.

    Args:
        embeddings: (N, D), of any length; brought to unit length.

    Returns:
        Standard deviation and effective rank: exp of the entropy of the covariance's normalised eigenvalues
        (Roy and Vetterli 2007).
    """
    values = embeddings.astype(np.float64)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    centred = values - values.mean(axis=0)
    std = float(centred.std(axis=0).mean() * np.sqrt(values.shape[1]))
    power = np.linalg.svd(centred, compute_uv=False) ** 2
    total = power.sum()
    if total < np.finfo(np.float64).tiny:
        return Health(std, 1.0)
    share = power[power > 0] / total
    return Health(std, float(np.exp(-(share * np.log(share)).sum())))
