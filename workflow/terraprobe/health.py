"""Whether an encoder has collapsed: the spread of its embeddings against an untrained twin's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANK_SHARE = 0.25
"""[D] A tower is called collapsed below this share of the untrained encoder's effective rank …"""

DIRECTIONS_SHARE = 0.1
"""[D] … or with less than this share of its directions beyond the first: an untrained ViT has a rank of 1.5 to 4.5,
no embeddings have a rank below 1, and so a share of the rank alone could never be undercut. Measured: collapsed runs
lie at .05 and below, healthy ones dip to .2 in their first epochs.
"""

STD_SHARE = 0.05
"""[D] … or when the spread itself is below this share of the untrained encoder's: embeddings that are all alike but
for rounding can show any rank (2.0 where lr .3 had left a spread of .003, of .76 before).
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

    def collapsed(self, untrained: "Health", rank_share: float = RANK_SHARE) -> bool:
        """Whether this tower has collapsed, by the untrained one's own spread on the same chips.

        Args:
            untrained: spread before training.
            rank_share: least share of its rank.
        """
        least = max(rank_share * untrained.rank, 1 + DIRECTIONS_SHARE * (untrained.rank - 1))
        return self.rank < least or self.std < STD_SHARE * untrained.std


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


def health_columns(health: Mapping[str, Health], untrained: Mapping[str, Health]) -> dict[str, Any]:
    """Columns of the history: the spread of the tower that is closest to a collapse, and every tower's rank.

    Args:
        health: tower to its spread now.
        untrained: tower to its spread before training, on the same chips.
    """
    if not health:
        return {"embedding_std": np.nan, "effective_rank": np.nan, "random_init_rank": np.nan, "weakest_tower": ""}
    weakest = min(health, key=lambda tower: (health[tower].rank - 1) / max(untrained[tower].rank - 1, 1e-9))
    columns: dict[str, Any] = {
        "embedding_std": health[weakest].std,
        "effective_rank": health[weakest].rank,
        "random_init_rank": untrained[weakest].rank,
        "weakest_tower": weakest,
    }
    for tower, now in health.items():
        columns[f"effective_rank_{tower}"] = now.rank
        columns[f"random_init_rank_{tower}"] = untrained[tower].rank
    return columns
