"""The readers that are compared: each opens its files once and reads batches of chips from then on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from benchmarks.store.inputs import CHANNELS, MARGIN_PX, PIXEL_M, Inputs
from terraprobe.chips.store import ChipStore


class Arm(ABC):
    """One reader.

    Attributes:
        name: in the table.
        fast: whether a batch takes less than some milliseconds, and more of them are measured.
    """

    name: ClassVar[str]
    fast: ClassVar[bool] = False

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    @staticmethod
    @abstractmethod
    def files(inputs: Inputs) -> list[Path]:
        """What is read."""

    @abstractmethod
    def one(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """One channel of each chip: (B, y, x)."""

    @abstractmethod
    def whole(self, chips: NDArray[np.intp]) -> NDArray[Any]:
        """All channels of each chip: (B, channel, y, x)."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close the files."""


class Plain(Arm):
    """A NumPy memory map of one file: the limit."""

    name = "plain memmap"
    fast = True

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        self._map: NDArray[Any] = np.load(inputs.plain, mmap_mode="r")

    @staticmethod
    def files(inputs: Inputs) -> list[Path]:
        """The one file."""
        return [inputs.plain]

    def one(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """Fancy indexing."""
        images: NDArray[Any] = self._map[chips, channels]
        return images

    def whole(self, chips: NDArray[np.intp]) -> NDArray[Any]:
        """Fancy indexing."""
        images: NDArray[Any] = self._map[chips]
        return images


class Ours(Arm):
    """The chip store."""

    name = "terraprobe store"
    fast = True

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        self._store = ChipStore.open(inputs.store)

    @staticmethod
    def files(inputs: Inputs) -> list[Path]:
        """The shards."""
        return [inputs.store / f"{tile}.npy" for tile in range(inputs.pixels.tiles)]

    def one(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """As the training loop reads."""
        return self._store.digital(chips, channels)

    def whole(self, chips: NDArray[np.intp]) -> NDArray[Any]:
        """As whole chips are read."""
        return self._store.whole(chips)


class Preloaded(Ours):
    """The chip store as training reads it: all of it once in order, then chips."""

    name = "terraprobe store, preloaded"

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        self._preloaded = False

    def one(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """The first batch waits for the whole store."""
        self._preload()
        return super().one(chips, channels)

    def whole(self, chips: NDArray[np.intp]) -> NDArray[Any]:
        """The first batch waits for the whole store."""
        self._preload()
        return super().whole(chips)

    def _preload(self) -> None:
        if not self._preloaded:
            self._store.preload()
            self._preloaded = True


class Aligned(Arm):
    """Rasterio on GeoTIFFs whose blocks are the chips."""

    name = "rasterio, aligned uncompressed"
    margin_px = 0

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        self._sources = [rasterio.open(path) for path in self.files(inputs)]

    @staticmethod
    def files(inputs: Inputs) -> list[Path]:
        """The aligned files."""
        return inputs.aligned

    def one(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """One windowed read a chip."""
        out = np.empty((len(chips), self.inputs.chip_px, self.inputs.chip_px), np.uint16)
        for image, chip, channel in zip(out, chips.tolist(), channels.tolist(), strict=True):
            source, window = self._window(chip)
            source.read(channel + 1, window=window, out=image)
        return out

    def whole(self, chips: NDArray[np.intp]) -> NDArray[Any]:
        """One windowed read a chip."""
        out = np.empty((len(chips), *self.inputs.shape[1:]), np.uint16)
        for images, chip in zip(out, chips.tolist(), strict=True):
            source, window = self._window(chip)
            source.read(window=window, out=images)
        return out

    def _window(self, chip: int) -> tuple[Any, Window]:
        tile, row, column = self.inputs.place(chip)
        px = self.inputs.chip_px
        return self._sources[tile], Window(column + self.margin_px, row + self.margin_px, px, px)

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()


class Usual(Aligned):
    """Rasterio on GeoTIFFs as they usually are."""

    name = "rasterio, unaligned deflate"
    margin_px = MARGIN_PX

    @staticmethod
    def files(inputs: Inputs) -> list[Path]:
        """The usual files."""
        return inputs.usual


class TorchgeoAligned(Arm):
    """torchgeo on the aligned files.

    Its RandomGeoSampler draws windows, and the time that this takes counts; each is then moved onto the chip that all
    readers read, because windows between the chips are in no store. The dataset keeps integers.
    """

    name = "torchgeo, aligned uncompressed"

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        import torch
        from torchgeo.datasets import RasterDataset

        class Integers(RasterDataset):  # type: ignore[misc]
            all_bands = tuple(str(channel) for channel in range(CHANNELS))
            dtype = torch.int32

        self._data = Integers(self.files(inputs))
        self._every = self._data.band_indexes

    @staticmethod
    def files(inputs: Inputs) -> list[Path]:
        """The aligned files."""
        return inputs.aligned

    def one(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """One sample a chip; the dataset is told the channel before each."""
        images = []
        for window, channel in zip(self._windows(chips), channels.tolist(), strict=True):
            self._data.band_indexes = [channel + 1]
            images.append(self._data[window]["image"][0])
        return self._stack(images)

    def whole(self, chips: NDArray[np.intp]) -> NDArray[Any]:
        """One sample a chip."""
        self._data.band_indexes = self._every
        return self._stack([self._data[window]["image"] for window in self._windows(chips)])

    def _stack(self, images: list[Any]) -> NDArray[Any]:
        import torch

        stacked: NDArray[Any] = torch.stack(images).numpy()
        return stacked

    def _windows(self, chips: NDArray[np.intp]) -> Iterator[tuple[slice, slice, slice]]:
        from torchgeo.samplers import RandomGeoSampler

        side_m = self.inputs.chip_px * PIXEL_M
        drawn = RandomGeoSampler(self._data, size=self.inputs.chip_px, length=len(chips))
        for (x, y, t), chip in zip(drawn, chips.tolist(), strict=True):
            tile, row, column = self.inputs.place(chip)
            left, top = self.inputs.pixels.origin(tile)
            left, top = left + column * PIXEL_M, top - row * PIXEL_M
            yield slice(left, left + side_m, x.step), slice(top - side_m, top, y.step), t

    def close(self) -> None:
        """Close the files, which the dataset keeps in its cache."""
        type(self._data)._cached_load_warp_file.cache_clear()


class TorchgeoUsual(TorchgeoAligned):
    """torchgeo on the usual files."""

    name = "torchgeo, unaligned deflate"

    @staticmethod
    def files(inputs: Inputs) -> list[Path]:
        """The usual files."""
        return inputs.usual


ARMS: tuple[type[Arm], ...] = (Plain, Ours, Preloaded, Aligned, Usual, TorchgeoAligned, TorchgeoUsual)
