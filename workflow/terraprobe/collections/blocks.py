"""Spatial blocks: square cells of equal area, dealt whole to train, val and test."""

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terraprobe.collections.chiptable import unit_sphere
from terraprobe.collections.correlogram import correlogram
from terraprobe.collections.split_rules import PARTS, Blocks, Shares
from terraprobe.errors import TerraprobeError
from terraprobe.stage import progress

if TYPE_CHECKING:
    import pandas as pd

DEALS = 200
"""Random deals among which the one closest to the shares is taken."""


LENGTHS_A_SIDE = 2.0
"""A Gaussian correlation falls to exp(-1/2) at its length, and to exp(-2) = .14 at twice that [D]."""


def side_from_labels(lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], labels: "pd.DataFrame") -> float:
    """Side of a cell beyond which labels are hardly alike: twice the longest of their autocorrelation lengths.

    Args:
        lon_deg: longitudes of the chip centres (N,).
        lat_deg: latitudes (N,).
        labels: one column a label, NaN where not known, (N, L).

    Returns:
        Kilometres, to the metre.

    Raises:
        TerraprobeError: there is no label, or no length can be told from any.
    """
    lengths = {
        str(name): correlogram(lon_deg, lat_deg, values.to_numpy(np.float64)).length_km
        for name, values in labels.items()
    }
    told = {name: length for name, length in lengths.items() if length is not None}
    if not told:
        raise TerraprobeError(
            f"split blocks: no autocorrelation length can be told from the labels ({', '.join(lengths) or 'none'}) of "
            f"{len(labels)} chips: too few of them, or no structure that decays within the area. Give side_km."
        )
    longest = max(told, key=lambda name: told[name])
    side_km = round(LENGTHS_A_SIDE * told[longest], 3)
    listed = ", ".join(f"{name} {length:.3g}" for name, length in told.items())
    progress(f"autocorrelation lengths of labels in km: {listed}; cells of {LENGTHS_A_SIDE:g} x that of {longest}")
    return side_km


def deal_blocks(
    lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], block: NDArray[np.object_], side_km: float, rule: Blocks
) -> NDArray[np.object_]:
    """Split of each chip by the cell that it lies in.

    The cells are squares in a Lambert azimuthal equal-area projection (WGS 84) centred on the chips. Chips of one
    bootstrap block stay together, in the cell of the block's centre.

    Args:
        lon_deg: longitudes of the chip centres (N,).
        lat_deg: latitudes (N,).
        block: bootstrap block of each chip (N,).
        side_km: side of a cell.
        rule: shares and seed.

    Returns:
        Names of splits (N,).

    Raises:
        TerraprobeError: fewer than three cells hold chips.
    """
    cell = cells_of(*_block_centres(lon_deg, lat_deg, block), side_km)
    counts = np.bincount(cell)
    if len(counts) < len(PARTS):
        raise TerraprobeError(
            f"split blocks: with a side of {side_km:g} km all {len(cell)} chips lie in {len(counts)} "
            f"{'cell' if len(counts) == 1 else 'cells'}; train, val and test need one each. "
            "Give a smaller side_km, or take chips from a larger area."
        )
    progress(f"{len(counts)} cells of {side_km:g} x {side_km:g} km hold chips")
    split: NDArray[np.object_] = deal(counts, rule.shares, rule.seed)[cell]
    return split


def _block_centres(
    lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], block: NDArray[np.object_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of the centre of each chip's block, (N,)."""
    names, member = np.unique(block, return_inverse=True)
    total = np.zeros((len(names), 3))
    np.add.at(total, member, unit_sphere(lon_deg, lat_deg))
    lon, lat = _lonlat(total)
    return lon[member], lat[member]


def _lonlat(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y, z = vectors.T
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def cells_of(lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], side_km: float) -> NDArray[np.intp]:
    """Number of the square cell of equal area that each point lies in.

    Args:
        lon_deg: longitudes (N,).
        lat_deg: latitudes (N,).
        side_km: side of a cell.

    Returns:
        (N,), counted from 0 over the cells that hold points, west to east, then south to north.
    """
    from pyproj import Transformer

    lon, lat = _lonlat(unit_sphere(lon_deg, lat_deg).mean(axis=0, keepdims=True))
    # Rounded, so that the order of the points, in which their sum is made, cannot move a border.
    crs = f"+proj=laea +lon_0={lon[0]:.6f} +lat_0={lat[0]:.6f} +datum=WGS84 +units=km"
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon_deg, lat_deg)
    # One cell is centred on the points, so that a side wider than the area makes one cell of it and not four.
    squares = np.floor(np.stack([x, y], axis=1) / side_km + 0.5).astype(np.int64)
    _, cell = np.unique(squares, axis=0, return_inverse=True)
    return cell.reshape(-1)


def deal(counts: NDArray[np.intp], shares: Shares, seed: int) -> NDArray[np.object_]:
    """Deal whole cells at random, so that the shares of chips are met as closely as they allow.

    Of many random orders, each cut in three where the shares are met best, the one that misses them least is taken.

    Args:
        counts: number of chips of each cell (C,), C >= 3.
        shares: of train, val and test among the chips.
        seed: of the orders.

    Returns:
        Split of each cell (C,); each split has at least one.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))
    wanted = np.array([shares.train, shares.val, shares.test]) * counts.sum()
    least = np.inf
    split = np.empty(len(counts), object)
    for _ in range(DEALS):
        order = rng.permutation(len(counts))
        miss, cuts = _best_cuts(np.cumsum(counts[order]), wanted)
        if miss < least:
            least = miss
            for part, cells in zip(PARTS, np.split(order, cuts), strict=True):
                split[cells] = part
    return split


def _best_cuts(upto: NDArray[np.intp], wanted: NDArray[np.float64]) -> tuple[float, list[int]]:
    """Least miss of the wanted numbers of chips, and the two cuts behind it, of cells in a given order.

    The miss is convex in either cut, so the best stand just before or just after where the shares are met.
    """
    first, second = np.searchsorted(upto, np.cumsum(wanted)[:2])
    best = np.inf, [0, 0]
    for train, val in product((first, first + 1), (second, second + 1)):
        low = int(np.clip(train, 1, len(upto) - 2))
        high = int(np.clip(val, low + 1, len(upto) - 1))
        got = np.diff(upto[[low - 1, high - 1, -1]], prepend=0)
        best = min(best, (float(np.abs(got - wanted).sum()), [low, high]))
    return best
