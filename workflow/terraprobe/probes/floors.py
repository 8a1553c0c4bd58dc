"""Features that no encoder is needed for. The same forest, shots and episodes judge them.

`image_stats`, of these `mean_sd` alone (both per modality and concatenated), `coordinates` where chips have some, and
`climate`; the majority class and the random-init encoders complete the floors elsewhere.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_table, write_table
from terraprobe.chips.store import MIN_VALID, ChipStore
from terraprobe.collections.chiptable import chip_centres, have_places, read_context, unit_sphere
from terraprobe.errors import TerraprobeError
from terraprobe.probes.image_stats import STATISTICS, channel_statistics
from terraprobe.stage import In, Ins, Out, Recipe, progress

_BATCH_PIXELS = 1 << 20  # pixels at a time: 4 MB of them, and 8 MB of co-occurring pairs


class FloorsRecipe(Recipe):
    """Parameters of the floor features.

    Attributes:
        limit_chips: train chips, evenly spaced, that the grey-level limits of a channel are taken from [D].
        limit_percentiles: percentiles of their valid pixels that bound the grey levels [D].
    """

    limit_chips: int = Field(500, ge=1)
    limit_percentiles: tuple[float, float] = (1.0, 99.0)


def measure_floors(*, chips: In, stores: Ins, context: Ins, recipe: FloorsRecipe, floors: Out) -> None:
    """Measure the floor features of every chip of a collection.

    Args:
        chips: `chips.parquet`.
        stores: `spec.json` of each modality's chip store.
        context: `context.parquet`, or nothing where the study gives no climate.
        recipe: parameters.
        floors: long table `chip_id, split, floor, modality, embedding`. Every floor has rows for each modality and
            for `concat`, of the chips with a usable channel of it (of all of them): the chips that an encoder's
            tower sees too, so that the two are compared on the same ones. Statistics of a missing channel are NaN.
            The grey-level limits stand in its metadata.

    Raises:
        TerraprobeError: a store has another number of chips, or an input is broken.
    """
    table = read_table(chips)
    train = np.flatnonzero((table["split"] == "train").to_numpy())
    if not len(train):
        raise TerraprobeError(f"{chips}: no train chip; the grey levels of texture need some. Change the split.")
    images: dict[str, NDArray[np.float32]] = {}
    seen: dict[str, NDArray[np.bool_]] = {}
    limits = {}
    for spec in stores:
        store = ChipStore.open(spec.parent)
        if len(store) != len(table):
            raise TerraprobeError(f"{spec}: {len(store)} chips, {chips} has {len(table)}. Run cut-chips again.")
        bounds, name = channel_limits(store, train, recipe), store.layer.name
        limits[name], images[name] = bounds.tolist(), image_features(store, bounds)
        seen[name] = np.asarray((store.valid >= MIN_VALID).any(axis=1))
        progress(f"floors: image statistics of {name} measured")
    if len(stores) > 1:
        images["concat"] = np.concatenate([images[name] for name in sorted(images)], axis=1)
        seen["concat"] = np.asarray(np.stack(list(seen.values())).all(axis=0))
    everywhere = {"coordinates": coordinates(table)} if have_places(table) else {}
    if context:
        everywhere["climate"] = _climate(context[0], table["chip_id"])
    frames = [_rows(table, floor, name, matrix, seen[name]) for floor, matrix in everywhere.items() for name in seen]
    for name, matrix in images.items():
        frames.append(_rows(table, "image_stats", name, matrix, seen[name]))
        frames.append(_rows(table, "mean_sd", name, matrix[:, _mean_sd(matrix.shape[1])], seen[name]))
    metadata = {"limits": json.dumps(limits, sort_keys=True), "statistics": json.dumps(STATISTICS)}
    write_table(floors, pd.concat(frames, ignore_index=True), metadata)


def coordinates(chips: pd.DataFrame) -> NDArray[np.float32]:
    """Place of each chip on the unit sphere, so that 180 E and 180 W are neighbours.

    Args:
        chips: GeoDataFrame in EPSG:4326.

    Returns:
        float32 (n, 3): x towards 0 E, y towards 90 E, z towards the north pole.
    """
    return unit_sphere(*chip_centres(chips)).astype(np.float32)


def _mean_sd(columns: int) -> NDArray[np.intp]:
    """Which of the image statistics are means and standard deviations of a channel."""
    wanted = [STATISTICS.index(name) for name in ("mean", "sd")]
    return np.flatnonzero(np.isin(np.arange(columns) % len(STATISTICS), wanted))


def _climate(path: Path, chip_ids: "pd.Series[str]") -> NDArray[np.float32]:
    values = read_context(path, chip_ids.to_numpy()).astype(np.float32)
    held = np.isfinite(values).any(axis=0)  # what no raster holds says nothing
    return values[:, held] if held.any() else values


def channel_limits(store: ChipStore, train: NDArray[np.intp], recipe: FloorsRecipe) -> NDArray[np.float64]:
    """Values between which the grey levels of each channel lie, from train chips.

    Args:
        store: the modality.
        train: rows of the train chips.
        recipe: how many chips, and which percentiles.

    Returns:
        (n_channels, 2); one pair for all channels where their number varies from chip to chip; NaN for a channel
        that no train chip has.
    """
    usable = store.valid >= MIN_VALID
    every = np.arange(store.channels)
    groups = [every] if store.layer.variable else [every[c : c + 1] for c in every]
    limits = np.full((store.channels, 2), np.nan)
    for group in groups:
        chip, channel = np.nonzero(usable[np.ix_(train, group)])
        if len(chip):
            taken = np.unique(np.linspace(0, len(chip) - 1, recipe.limit_chips).round().astype(np.intp))
            pixels = store.physical(train[chip[taken]], group[channel[taken]])
            limits[group] = np.percentile(pixels[~np.isnan(pixels)], recipe.limit_percentiles)
    return limits


def image_features(store: ChipStore, limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Image statistics of every chip.

    Args:
        store: the modality.
        limits: of `channel_limits`.

    Returns:
        float32 (n_chips, n_channels * 12), channel by channel; (n_chips, 12), the mean over usable channels, where
        their number varies. NaN where a chip lacks a channel (where their number varies: all of them).
    """
    usable = (store.valid >= MIN_VALID) & ~np.isnan(limits[:, 0])
    chips, channels = np.nonzero(usable)
    features = np.full((*usable.shape, len(STATISTICS)), np.nan, np.float32)
    step = max(1, _BATCH_PIXELS // store.chip_px**2)
    for start in range(0, len(chips), step):
        chip, channel = chips[start : start + step], channels[start : start + step]
        features[chip, channel] = channel_statistics(store.physical(chip, channel), limits[channel])
    if not store.layer.variable:
        return features.reshape(len(features), -1)
    count = usable.sum(axis=1)[:, None]
    mean = np.where(usable[..., None], features, 0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan).astype(np.float32)


def _rows(
    table: pd.DataFrame, floor: str, modality: str, matrix: NDArray[np.float32], seen: NDArray[np.bool_]
) -> pd.DataFrame:
    kept = np.flatnonzero(seen & np.isfinite(matrix).any(axis=1))
    named = {"chip_id": table["chip_id"].to_numpy()[kept], "split": table["split"].to_numpy()[kept]}
    return pd.DataFrame({**named, "floor": floor, "modality": modality, "embedding": list(matrix[kept])})
