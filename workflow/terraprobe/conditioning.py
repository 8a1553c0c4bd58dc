"""What enters a tower as context: each chip's climate, or one of the controls that stand for it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from terraprobe.collections.chiptable import BIOCLIM, CONTEXT, chip_centres, unit_sphere
from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    from terraprobe.pool import ChipPool

ContextKind = Literal["real", "shuffled", "region", "coordinates", "noise"]
"""A chip's own climate; that of another chip of its split; the mean of its region's train chips; where it is, as a
point on the unit sphere; random numbers of its own. [P] sec. 1 for `shuffled`; the others go beyond the paper [D]."""

COORDINATES = ("x", "y", "z")
NOISE = tuple(f"noise{k:02d}" for k in range(1, len(CONTEXT) + 1))


def context_names(kind: ContextKind, elevation: bool = True) -> tuple[str, ...]:
    """Names of the values that enter, in order.

    Args:
        kind: where they come from.
        elevation: whether it is among those of the climate, in whose number the noise comes too.
    """
    climate = CONTEXT if elevation else BIOCLIM
    return {"coordinates": COORDINATES, "noise": NOISE[: len(climate)]}.get(kind, climate)


@dataclass(frozen=True)
class Places:
    """Chips of one collection as context sees them.

    Attributes:
        table: rows of `chips.parquet`.
        climate: values of `CONTEXT`, NaN where one is not known, (chip, 20).
    """

    table: Any
    climate: NDArray[np.float64]

    @property
    def regions(self) -> NDArray[np.str_]:
        """Name of each chip's region, (chip,)."""
        return np.asarray(self.table["region"].to_numpy(str))


@dataclass(frozen=True)
class ContextScale:
    """How context becomes the numbers that a tower takes, sealed into its encoder.

    Attributes:
        names: of the values, in order.
        low: of each, the smallest over the chips that it was fitted on.
        high: the largest.
        kind: where the values come from.
        seed: of the shuffling and the noise.
        means: region to the mean of its train chips, `""` to that of all of them, which stands for a region without
            any; of kind `region` alone.
        elevation: whether it is a value of the climate; where it is not known, only the other 19 must be.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    kind: ContextKind = "real"
    seed: int = 0
    means: Mapping[str, Sequence[float]] | None = None
    elevation: bool = True

    def climate(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values of `CONTEXT` that count as climate, (chip, 20 or 19)."""
        return values if self.elevation else values[:, : len(BIOCLIM)]

    def enter(self, places: Places) -> NDArray[np.float64]:
        """Values that enter for each chip of a collection, (chip, names); NaN where its climate is not known."""
        climate = self.climate(places.climate)
        if self.kind == "real":
            return climate
        values = np.full((len(climate), len(self.names)), np.nan)
        # Of any other chip nothing enters, whatever the kind: all kinds are judged on the same chips.
        rows = np.flatnonzero(np.isfinite(climate).all(axis=1))
        values[rows] = self._values(places, rows)
        return values

    def _values(self, places: Places, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        if self.kind == "shuffled":
            return self.climate(places.climate)[self._shuffled(places, rows)]
        if self.kind == "coordinates":
            return unit_sphere(*chip_centres(places.table.iloc[rows]))
        if self.kind == "noise":
            ids = places.table["chip_id"].to_numpy(str)[rows]
            return np.stack([self._noise(chip) for chip in ids]) if len(ids) else np.empty((0, len(self.names)))
        means = self.means or {}
        return np.array([means.get(name, means[""]) for name in places.regions[rows]]).reshape(len(rows), -1)

    def _shuffled(self, places: Places, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each of the rows another row of the same split."""
        split = places.table["split"].to_numpy(str)[rows]
        source = rows.copy()
        for name in sorted(set(split.tolist())):
            inside = np.flatnonzero(split == name)
            stream = np.random.SeedSequence([self.seed, *name.encode()])
            source[inside] = rows[np.random.Generator(np.random.PCG64(stream)).permutation(inside)]
        return source

    def _noise(self, chip: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(f"{self.seed} {chip}".encode()).digest()[:8])
        return np.random.Generator(np.random.PCG64(seed)).standard_normal(len(self.names))

    def scale(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Values (B, names) to [0, 1] on the chips it was fitted on; a value that was constant there becomes 0."""
        low, high = np.array(self.low), np.array(self.high)
        gain = np.divide(1.0, high - low, out=np.zeros_like(low), where=high > low)
        scaled: NDArray[np.float32] = ((values - low) * gain).astype(np.float32)
        return scaled


def fit_context(
    pool: "ChipPool", chips: NDArray[np.intp], kind: ContextKind = "real", seed: int = 0, elevation: bool = True
) -> ContextScale:
    """Smallest and largest of each value over chips whose climate is known.

    Args:
        pool: the chips.
        chips: train chips, (chip,).
        kind: where the values come from.
        seed: of the shuffling and the noise.
        elevation: whether it is a value of the climate.

    Raises:
        TerraprobeError: no train chip has all values of the climate.
    """
    names = context_names("real", elevation)
    known = np.isfinite(pool.context[chips, : len(names)])
    if not known.all(axis=1).any():
        least = names[int(np.argmin(known.sum(axis=0)))]
        raise TerraprobeError(
            f"conditioning: no train chip of {', '.join(pool.collections)} has all {len(names)} values of the "
            f"context ({least} is known for {int(known.sum(axis=0).min())} of {len(chips)}). Give context.parquet of "
            "each collection with all of them, or set conditioning to none."
        )
    rows = chips[known.all(axis=1)]
    means = _region_means(pool, rows, len(names)) if kind == "region" else None
    blank = ContextScale(context_names(kind, elevation), (), (), kind, seed, means, elevation)
    values = pool.entering(blank)[rows]
    low, high = (tuple(limit.tolist()) for limit in (values.min(axis=0), values.max(axis=0)))
    return replace(blank, low=low, high=high)


def _region_means(pool: "ChipPool", rows: NDArray[np.intp], count: int) -> dict[str, list[float]]:
    regions, climate = np.concatenate([place.regions for place in pool.places])[rows], pool.context[rows, :count]
    means = {name: climate[regions == name].mean(axis=0).tolist() for name in sorted(set(regions.tolist()))}
    return {**means, "": climate.mean(axis=0).tolist()}
