"""What a tower takes: bands by name, unit, and the statistics that turn integers into its input."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.chips.store import StoreLayer
from terraprobe.conditioning import ContextScale
from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    from torch import Tensor

    from terraprobe.pool import ChipPool
    from terraprobe.towers import TowerRecipe

SAMPLE_CHIPS = 1000
"""[C] methods.md sec. 2: statistics over 1,000 random train chips."""

Digital = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[Any]]
"""Reads one (chip, channel) pair a row: (B,) and (B,) to integer DN (B, y, x)."""


@dataclass(frozen=True)
class TowerInput:
    """What one tower takes, sealed into its encoder.

    Attributes:
        modality: name of the modality table.
        unit: of the physical values that `mean` and `std` are in.
        bands: names in order; one name where the number of channels varies.
        variable: whether it varies.
        mean: per band.
        std: per band.
        whole: whether all bands of a chip enter together; else each enters by itself.
        clip: normalised values are brought into this range, None for none.
        context: what else it takes, None for nothing.
        despeckle: whether Lee's filter goes over its images, which are log-intensity.
    """

    modality: str
    unit: str
    bands: tuple[str, ...]
    variable: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    whole: bool = False
    clip: tuple[float, float] | None = None
    context: ContextScale | None = None
    despeckle: bool = False

    @classmethod
    def from_card(cls, record: Mapping[str, Any]) -> "TowerInput":
        """Rebuild from `to_card`."""
        values = _with_tuples(record)
        if values.get("context"):
            values["context"] = ContextScale(**_with_tuples(values["context"]))
        return cls(**values)

    def to_card(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @property
    def sample_bands(self) -> int:
        """Bands in one sample."""
        return len(self.bands) if self.whole else 1

    def samples(self, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What can enter: every usable band by itself, or the chip where all of its bands are usable.

        Args:
            usable: the tower's bands, (chip, band).

        Returns:
            (chip, sample); a tower that takes whole chips has one sample of each.
        """
        return np.asarray(usable.all(axis=1, keepdims=True)) if self.whole else usable

    def columns(self, layer: StoreLayer, channels: int, where: str) -> NDArray[np.intp]:
        """Channels of a store that hold this tower's bands, in the tower's order.

        Args:
            layer: what the store's pixels mean.
            channels: how many the store has.
            where: name of the encoder, for errors.

        Raises:
            TerraprobeError: the unit differs or a band is absent.
        """
        if layer.unit != self.unit:
            raise TerraprobeError(
                f"{where}: made for {self.modality} in {self.unit}, but the store holds {layer.unit}. Cut the chips "
                f"again in {self.unit}, or pretrain on {layer.unit}."
            )
        if self.variable:
            return np.arange(channels)
        absent = [band for band in self.bands if band not in layer.bands]
        if absent:
            raise TerraprobeError(
                f"{where}: made for bands {', '.join(self.bands)} of {self.modality}, but the store has "
                f"{', '.join(layer.bands)}: no {', '.join(absent)}. Cut the chips again with these bands."
            )
        return np.array([layer.bands.index(band) for band in self.bands])

    def read(
        self, digital: Digital, columns: NDArray[np.intp], chips: NDArray[np.intp], samples: NDArray[np.intp]
    ) -> NDArray[Any]:
        """Read one sample a row.

        Args:
            digital: reads (chip, channel) pairs of the store.
            columns: of the store, from `columns`.
            chips: (B,).
            samples: (B,), columns of what `samples` gives.

        Returns:
            Integers (B, y, x), or (B, band, y, x) where the tower takes whole chips.
        """
        if not self.whole:
            return digital(chips, columns[samples])
        dn = digital(np.repeat(chips, len(columns)), np.tile(columns, len(chips)))
        return dn.reshape(len(chips), len(columns), *dn.shape[1:])

    def prepare(self, dn: "Tensor", samples: "Tensor", layer: StoreLayer) -> "Tensor":
        """Integers to the tower's input, on the device that they are on.

        Args:
            dn: what `read` gives.
            samples: (B,), which of the tower's samples each row is.
            layer: scale, offset and nodata of the store.

        Returns:
            (B, 1, y, x), or (B, band, y, x) where the tower takes whole chips, float32: (physical value - mean) / std
            within `clip`, and 0 where nothing was observed.
        """
        import torch

        mean = torch.tensor(self.mean, device=dn.device)
        std = torch.tensor(self.std, device=dn.device)
        gain, shift = layer.scale / std, (layer.offset - mean) / std
        if self.whole:
            gain, shift = (v[:, None, None] for v in (gain, shift))
        else:
            rows = torch.zeros_like(samples) if self.variable else samples
            gain, shift = (v[rows, None, None, None] for v in (gain, shift))
        values = dn.to(torch.float32).view(len(dn), self.sample_bands, *dn.shape[-2:])
        missing = values == layer.nodata
        values.mul_(gain).add_(shift)
        if self.despeckle:
            values = self._despeckled(values, ~missing, samples)
        if self.clip is not None:
            values.clamp_(*self.clip)
        return values.masked_fill_(missing, 0.0)

    def _despeckled(self, values: "Tensor", observed: "Tensor", samples: "Tensor") -> "Tensor":
        import torch

        from terraprobe.models.despeckle import despeckle, speckle_db2

        speckle = speckle_db2() / torch.tensor(self.std, device=values.device).square()
        if self.whole:
            return despeckle(values, observed, speckle)
        # Each sample has the speckle of its own band: samples stand where bands are expected.
        one = despeckle(values.transpose(0, 1), observed.transpose(0, 1), speckle[samples])
        return one.transpose(0, 1)


def _with_tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}


def fit_input(pool: "ChipPool", tower: "TowerRecipe", chips: NDArray[np.intp], seed: int, name: str) -> TowerInput:
    """Measure mean and standard deviation of each band over valid pixels of random chips.

    One pair for all channels where their number varies: channel 3 of one chip is not channel 3 of another.

    Args:
        pool: the chips.
        tower: modality and bands.
        chips: train chips, (chip,).
        seed: of the choice of at most `SAMPLE_CHIPS` chips.
        name: of the tower, for errors.

    Raises:
        TerraprobeError: the modality or a band is absent, or no train chip has a usable channel of a band.
    """
    layer, bands = stored_bands(pool, tower, name)
    blank = TowerInput(tower.modality, layer.unit, bands, layer.variable, (), ())
    usable = pool.usable(tower.modality)
    columns = blank.columns(layer, usable.shape[1], f"tower {name}")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, len(chips)])))
    having = chips[usable[chips][:, columns].any(axis=1)]
    sample = np.sort(rng.permutation(having)[:SAMPLE_CHIPS])
    sums = np.zeros((1 if layer.variable else len(columns), 3))
    for chip in sample:
        for row, column in enumerate(columns):
            if usable[chip, column]:
                sums[0 if layer.variable else row] += _moments(pool, layer, int(chip), int(column))
    count = sums[:, 0]
    if (count == 0).any():
        raise TerraprobeError(
            f"tower {name}: no train chip has a usable pixel of {bands[int(np.argmin(count))]} of {tower.modality}. "
            "Look at the split and the store, or leave the band out of the tower."
        )
    mean = sums[:, 1] / count
    # A constant band would divide by zero: one DN is the smallest step that its store can tell.
    std = np.maximum(np.sqrt(np.maximum(sums[:, 2] / count - mean**2, 0)), abs(layer.scale))
    return TowerInput(tower.modality, layer.unit, bands, layer.variable, tuple(mean.tolist()), tuple(std.tolist()))


def stored_bands(pool: "ChipPool", tower: "TowerRecipe", name: str) -> tuple[StoreLayer, tuple[str, ...]]:
    """The layer that a tower reads, and the names of its bands.

    Raises:
        TerraprobeError: the collections have no store of the modality.
    """
    if tower.modality not in pool.layers:
        raise TerraprobeError(
            f"tower {name}: no store of {tower.modality}; the collections {', '.join(pool.collections)} have "
            f"{', '.join(pool.layers)}. Add the modality to a collection or take the tower out."
        )
    layer = pool.layers[tower.modality]
    return layer, layer.bands if tower.bands is None or layer.variable else tuple(tower.bands)


def _moments(pool: "ChipPool", layer: StoreLayer, chip: int, channel: int) -> NDArray[np.float64]:
    """Count, sum and sum of squares of the valid pixels of one channel of one chip, in the layer's unit."""
    dn = pool.digital(layer.name, np.array([chip]), np.array([channel]))
    values = dn[dn != layer.nodata].astype(np.float64) * layer.scale + layer.offset
    return np.array([values.size, values.sum(), np.square(values).sum()])
