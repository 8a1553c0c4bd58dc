"""The chip store: integer `.npy` shards laid out so that one channel of one chip is one contiguous read.

A store is a folder: `<shard>.npy` with axes (chip, channel, y, x), `<shard>.valid.npy` with axes (chip, channel),
the share of observed pixels in [0, 1] (0: the channel is missing at that chip), and `spec.json`, which is written
last and lists every file with its bytes and SHA-256. A store without `spec.json` is not a store yet.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import read_json, sha256_file, write_json
from terraprobe.chips.arrays import load_array, read_through, write_array
from terraprobe.chips.gather import Gatherer
from terraprobe.classmap import ClassMap, label_layer
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LabelLayer

MIN_VALID = 0.5
"""A channel of a chip is usable when at least this share of its pixels was observed."""


def write_shard(folder: Path, shard: str, pixels: NDArray[Any], valid: NDArray[np.float32]) -> None:
    """Write one shard.

    Args:
        folder: the store.
        shard: its name.
        pixels: integer, axes (chip, channel, y, x).
        valid: share of observed pixels, axes (chip, channel).

    Raises:
        TerraprobeError: the disk is full or the folder cannot be written.
    """
    write_array(folder / f"{shard}.npy", pixels)
    write_array(folder / f"{shard}.valid.npy", valid.astype(np.float32))


@dataclass(frozen=True)
class StoreLayer:
    """What the pixels of a store mean.

    Attributes:
        name: modality or label layer.
        bands: names of the channels; one name where their number varies.
        unit: of `DN * scale + offset`.
        scale: physical value of one DN.
        offset: physical value of DN 0.
        nodata: DN that means "not observed".
        dtype: integer type.
        variable: whether the number of channels differs from shard to shard and chip to chip.
    """

    name: str
    bands: tuple[str, ...]
    unit: str
    scale: float
    offset: float
    nodata: int
    dtype: str
    variable: bool


def seal(
    folder: Path, layer: StoreLayer, chip_px: int, shards: dict[str, int], classes: ClassMap | None = None
) -> None:
    """Check every shard, hash it and write `spec.json`: from now on the folder is a store.

    Args:
        folder: the store.
        layer: what its pixels mean.
        chip_px: pixels a side.
        shards: name to number of chips, in store order.
        classes: of an own label layer.

    Raises:
        TerraprobeError: a shard is absent, has another shape or type, or no chip has a single valid pixel of a
            layer whose channels are the same everywhere.
    """
    records = []
    seen = False
    for name, chips in shards.items():
        pixels, valid = (load_array(folder / file) for file in (f"{name}.npy", f"{name}.valid.npy"))
        channels = pixels.shape[1] if pixels.ndim == 4 else -1
        expected = (chips, channels if layer.variable else len(layer.bands), chip_px, chip_px)
        if pixels.shape != expected or valid.shape != expected[:2] or pixels.dtype != np.dtype(layer.dtype):
            raise TerraprobeError(
                f"{folder / name}.npy: {pixels.shape} {pixels.dtype} with valid shares {valid.shape}, expected "
                f"{expected} {layer.dtype} for {layer.name}. Delete this shard and run Snakemake again."
            )
        seen = seen or bool((valid > 0).any())
        files = [folder / f"{name}.npy", folder / f"{name}.valid.npy"]
        records.append(
            {
                "name": name,
                "chips": chips,
                "channels": channels,
                "files": {f.name: {"bytes": f.stat().st_size, "sha256": sha256_file(f)} for f in files},
            }
        )
    if not seen and not layer.variable:  # of pairs of dates there may be none anywhere: that is no mistake
        raise TerraprobeError(
            f"{folder}: no chip has one valid pixel of {layer.name}: the tiles hold nodata only, or lie elsewhere. "
            "Look at the tiles, or take the layer out of the collection."
        )
    spec = {"layer": {**layer.__dict__, "bands": list(layer.bands)}, "chip_px": chip_px, "shards": records}
    own = {"classes": classes.model_dump(mode="json")} if classes else {}
    write_json(folder / "spec.json", {**spec, **own})


class ChipStore:
    """A sealed store, memory-mapped. Row i is row i of the collection's `grid.parquet`.

    Attributes:
        layer: what the pixels mean.
        classes: of an own label layer; None for any other.
        chip_px: pixels a side.
        valid: share of observed pixels, float32, axes (chip, channel); 0 where a channel is missing.
    """

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self.folder = folder
        described = dict(spec["layer"])
        described["bands"] = tuple(described["bands"])
        self.layer = StoreLayer(**described)
        self.classes = ClassMap(**spec["classes"]) if "classes" in spec else None
        self.chip_px: int = spec["chip_px"]
        self.shards: list[dict[str, Any]] = spec["shards"]
        self.channels = max(s["channels"] for s in self.shards)
        counts = [s["chips"] for s in self.shards]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._widths = np.array([s["channels"] for s in self.shards])
        self._dtype = np.dtype(self.layer.dtype)

    @classmethod
    def open(cls, folder: Path) -> "ChipStore":
        """Open a store and check that every file has the size it was sealed with.

        Raises:
            TerraprobeError: `spec.json` is absent, or a file is absent or has another size.
        """
        spec = read_json(folder / "spec.json")
        for shard in spec["shards"]:
            for name, record in shard["files"].items():
                path = folder / name
                size = path.stat().st_size if path.exists() else None
                if size != record["bytes"]:
                    found = "is absent" if size is None else f"has {size} bytes"
                    raise TerraprobeError(
                        f"{path} {found}, sealed with {record['bytes']}. Delete {folder / 'spec.json'} and this "
                        "shard, then run Snakemake again."
                    )
        return cls(folder, spec)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def label_layer(self) -> LabelLayer | None:
        """Classes or quantity of a label layer; None for a modality."""
        return label_layer(self.layer.name, self.classes)

    @property
    def bands(self) -> tuple[str, ...]:
        """Channel names; `coherence_0`, `coherence_1`, … where the number of channels varies."""
        if not self.layer.variable:
            return self.layer.bands
        return tuple(f"{self.layer.bands[0]}_{k}" for k in range(self.channels))

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return sum(pixels.nbytes for pixels in self._maps)

    def preload(self) -> None:
        """Read all pixels once, in the order of the disk, which gives random reads about half of that speed."""
        for shard in self.shards:
            read_through(self.folder / f"{shard['name']}.npy")

    @cached_property
    def _maps(self) -> list[NDArray[Any]]:
        return [load_array(self.folder / f"{s['name']}.npy") for s in self.shards]

    @cached_property
    def valid(self) -> NDArray[np.float32]:
        """Share of observed pixels, axes (chip, channel)."""
        out = np.zeros((len(self), self.channels), np.float32)
        for start, shard in zip(self._starts, self.shards, strict=False):
            values = load_array(self.folder / f"{shard['name']}.valid.npy")
            out[start : start + len(values), : values.shape[1]] = values
        return out

    def read(self, chip: int, channel: int) -> NDArray[Any]:
        """One channel of one chip: integer (chip_px, chip_px), nodata where the channel is missing."""
        shard = int(np.searchsorted(self._starts, chip, side="right")) - 1
        pixels = self._maps[shard]
        if channel >= pixels.shape[1]:
            return np.full((self.chip_px, self.chip_px), self.layer.nodata, self.layer.dtype)
        image: NDArray[Any] = pixels[chip - int(self._starts[shard]), channel]
        return image

    @cached_property
    def _gatherer(self) -> Gatherer:
        return Gatherer(self._maps)

    @cached_property
    def _begins(self) -> NDArray[np.intp]:
        """Where each chip begins among the bytes that the gatherer reads, (chip,)."""
        starts = zip(self._gatherer.starts, self._maps, strict=True)
        return np.concatenate([start + np.arange(len(m)) * m[0].nbytes for start, m in starts])

    def digital(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[Any]:
        """One (chip, channel) pair a row: integer DN (B, chip_px, chip_px), nodata where the channel is missing.

        Raises:
            IndexError: a chip or channel is not of this store.
        """
        _check_range("chips", chips, len(self), self.folder)
        if self.layer.variable:
            there = channels < self._widths[np.searchsorted(self._starts, chips, side="right") - 1]
            if not there.all():
                out = np.full((len(chips), self.chip_px, self.chip_px), self.layer.nodata, self.layer.dtype)
                out[there] = self.digital(chips[there], channels[there])
                return out
        _check_range("channels", channels, self.channels, self.folder)
        image_bytes = self.chip_px**2 * self._dtype.itemsize
        data = self._gatherer.gather(self._begins[chips] + channels * image_bytes, image_bytes)
        return data.view(self._dtype).reshape(len(chips), self.chip_px, self.chip_px)

    def whole(self, chips: NDArray[np.intp]) -> NDArray[Any]:
        """Every channel of each chip: integer DN (B, channels, chip_px, chip_px), nodata where one is missing.

        Raises:
            IndexError: a chip is not of this store.
        """
        shape = (len(chips), self.channels, self.chip_px, self.chip_px)
        if self.layer.variable:
            every = np.arange(self.channels)
            return self.digital(np.repeat(chips, self.channels), np.tile(every, len(chips))).reshape(shape)
        _check_range("chips", chips, len(self), self.folder)
        data = self._gatherer.gather(self._begins[chips], math.prod(shape[1:]) * self._dtype.itemsize)
        return data.view(self._dtype).reshape(shape)

    def physical(self, chips: NDArray[np.intp], channels: NDArray[np.intp]) -> NDArray[np.float32]:
        """One (chip, channel) pair a row: float32 (B, chip_px, chip_px) in the layer's unit, NaN at nodata."""
        return self._to_physical(self.digital(chips, channels))

    def chip(self, chip: int) -> NDArray[np.float32]:
        """All channels of one chip: float32 (channels, chip_px, chip_px) in the layer's unit, NaN at nodata."""
        return self._to_physical(self.whole(np.array([chip]))[0])

    def _to_physical(self, dn: NDArray[Any]) -> NDArray[np.float32]:
        values = dn.astype(np.float32) * np.float32(self.layer.scale) + np.float32(self.layer.offset)
        values[dn == self.layer.nodata] = np.nan
        return values

    def content_digest(self) -> str:
        """SHA-256 over the sealed hashes of all shards: equal for equal pixels."""
        hashes = [record["sha256"] for s in self.shards for _, record in sorted(s["files"].items())]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _check_range(what: str, indices: NDArray[np.intp], count: int, folder: Path) -> None:
    # Seen as unsigned, a negative index is a huge one: one pass is enough.
    if len(indices) and indices.astype(np.uint64).max() >= count:
        raise IndexError(f"{what} {indices.min()} to {indices.max()} of {folder}, which has {count}")
