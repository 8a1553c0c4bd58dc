"""What a tower takes: bands by name, unit, and the statistics that turn integers into its input."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.chips.store import StoreLayer
from terraprobe.errors import TerraprobeError

if TYPE_CHECKING:
    from torch import Tensor

    from terraprobe.method import TowerRecipe
    from terraprobe.pool import ChipPool

SAMPLE_CHIPS = 1000
"""[C] methods.md sec. 2: statistics over 1,000 random train chips."""


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
    """

    modality: str
    unit: str
    bands: tuple[str, ...]
    variable: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_card(cls, record: Mapping[str, Any]) -> "TowerInput":
        """Rebuild from `to_card`."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**values)

    def to_card(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

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

    def prepare(self, dn: "Tensor", bands: "Tensor", layer: StoreLayer) -> "Tensor":
        """Integers to the tower's input, on the device that they are on.

        Args:
            dn: (B, y, x), integers of a store.
            bands: (B,), which of the tower's columns each row is.
            layer: scale, offset and nodata of the store.

        Returns:
            (B, 1, y, x) float32: (physical value - mean) / std, and 0 where nothing was observed.
        """
        import torch

        mean = torch.tensor(self.mean, device=dn.device)
        std = torch.tensor(self.std, device=dn.device)
        rows = torch.zeros_like(bands) if self.variable else bands
        values = dn.to(torch.float32)
        missing = values == layer.nodata
        gain = (layer.scale / std)[rows, None, None]
        shift = ((layer.offset - mean) / std)[rows, None, None]
        return values.mul_(gain).add_(shift).masked_fill_(missing, 0.0)[:, None]


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
    if tower.modality not in pool.layers:
        raise TerraprobeError(
            f"tower {name}: no store of {tower.modality}; the collections {', '.join(pool.collections)} have "
            f"{', '.join(pool.layers)}. Add the modality to a collection or take the tower out."
        )
    layer = pool.layers[tower.modality]
    bands = layer.bands if tower.bands is None or layer.variable else tuple(tower.bands)
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


def _moments(pool: "ChipPool", layer: StoreLayer, chip: int, channel: int) -> NDArray[np.float64]:
    """Count, sum and sum of squares of the valid pixels of one channel of one chip, in the layer's unit."""
    dn = pool.digital(layer.name, np.array([chip]), np.array([channel]))
    values = dn[dn != layer.nodata].astype(np.float64) * layer.scale + layer.offset
    return np.array([values.size, values.sum(), np.square(values).sum()])
