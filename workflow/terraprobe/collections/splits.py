"""Which chips are for training, which for choosing, which for the one test."""

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import read_table, table_metadata, write_table
from terraprobe.collections.blocks import deal_blocks, side_from_labels
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M, chip_centres, number_labels, read_chips, unit_sphere
from terraprobe.collections.official import official_split
from terraprobe.collections.split_rules import PARTS, Geobands, Hashed, Official, SplitRule, Stratified
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Ins, Out, Recipe, progress

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

BUFFER = "buffer"
"""Split of a chip that is left out because it lies too close to another split."""

LEAST_RADIUS_M = 6_335_439.0
"""Least radius of curvature of the WGS 84 ellipsoid, a (1 - e²): along the meridian at the equator."""


class SplitRecipe(Recipe):
    """Recipe of `assign_splits`.

    Attributes:
        split: the rule.
    """

    split: SplitRule


def assign_splits(*, grid: In, context: Ins, labels: Ins, official: Ins, recipe: SplitRecipe, chips: Out) -> None:
    """Give every chip its split and its region.

    Args:
        grid: `grid.parquet`.
        context: `context.parquet`, or nothing where the study gives no context.
        labels: `labels.parquet` where the rule is `hashed`, or `blocks` without a side, else nothing.
        official: where the rule is `official`, its own file or the table of an archive's images; else nothing.
        recipe: the rule.
        chips: `chips.parquet`: the grid's rows with `split` (train, val, test, buffer) and `region`; metadata
            `split`, the rule as JSON, with the side that was used.

    Raises:
        TerraprobeError: a split is empty, or the rule's own input does not fit.
    """
    frame = read_chips(grid)
    metadata = table_metadata(grid)
    side_m = int(metadata["chip_px"]) * CHIP_RESOLUTION_M
    regions = read_table(context[0]).set_index("chip_id")["region"] if context else None
    frame["region"] = "" if regions is None else regions.loc[frame["chip_id"]].to_numpy()
    rule = recipe.split
    if isinstance(rule, Stratified):
        frame["split"] = stratified(frame["chip_id"].to_numpy(), frame["region"].to_numpy(), rule)
    elif isinstance(rule, Official):
        frame["split"] = official_split(official[0], frame["source"].to_numpy())
    elif isinstance(rule, Hashed):
        frame["split"] = hashed(frame["chip_id"].to_numpy(), _classes(labels, frame["chip_id"]), rule)
    else:
        lon, lat = chip_centres(frame)
        if isinstance(rule, Geobands):
            split = geobands(lon, lat, rule)
        else:
            side_km = rule.side_km or side_from_labels(lon, lat, _label_values(labels, frame["chip_id"]))
            rule = rule.model_copy(update={"side_km": side_km})
            split = deal_blocks(lon, lat, frame["block"].to_numpy(), side_km, rule)
        frame["split"] = leave_buffer(lon, lat, split, rule.buffer_m, side_m)
    _check_every_split(frame, rule)
    kept: dict[str, str] = {key: metadata[key] for key in ("chip_px", "clip") if key in metadata}
    write_table(chips, frame, {**kept, "split": json.dumps(rule.model_dump(mode="json"), sort_keys=True)})
    counts = frame["split"].value_counts().to_dict()
    progress(", ".join(f"{name} {counts[name]}" for name in (*PARTS, BUFFER) if name in counts))


def _label_values(labels: Ins, chip_ids: "pd.Series[str]") -> "pd.DataFrame":
    """The labels of chips that are numbers."""
    if not labels:
        raise TerraprobeError("split blocks: no side_km, and no labels that give it. Give side_km.")
    table = read_table(labels[0]).set_index("chip_id").loc[chip_ids]
    values: pd.DataFrame = table[number_labels(table)]
    return values


def _classes(labels: Ins, chip_ids: "pd.Series[str]") -> NDArray[np.object_]:
    """The class of chips that have one each; empty where it is not known."""
    if not labels:
        raise TerraprobeError("split hashed: no labels, whose classes it draws within. Take another split.")
    table = read_table(labels[0]).set_index("chip_id").loc[chip_ids]
    (column,) = (name for name in table if str(name).endswith("_class"))
    classes: NDArray[np.object_] = table[column].fillna("").to_numpy(object)
    return classes


_REMEDIES = {
    "geobands": "Lower n_bands or buffer_m",
    "blocks": "Lower side_km or buffer_m",
    "official": "Name sources for each of the three",
}


def _check_every_split(frame: "gpd.GeoDataFrame", rule: SplitRule) -> None:
    counts = frame["split"].value_counts()
    empty = [part for part in PARTS if part not in counts]
    if empty:
        raise TerraprobeError(
            f"split {rule.kind}: no chip for {', '.join(empty)} among {len(frame)} "
            f"({counts.to_dict()}). {_REMEDIES.get(rule.kind, 'Change the shares')}, or take more chips."
        )


def geobands(lon_deg: np.ndarray, lat_deg: np.ndarray, rule: Geobands) -> np.ndarray:
    """Split of each point by geographic bands.

    Args:
        lon_deg: longitudes (N,).
        lat_deg: latitudes (N,).
        rule: direction, number of bands, pattern.

    Returns:
        Names of splits (N,).
    """
    x, y = (_scaled(values) for values in (lon_deg, lat_deg))
    along = _scaled(x * np.cos(rule.direction_rad) + y * np.sin(rule.direction_rad))
    band = np.minimum((along * rule.n_bands).astype(int), rule.n_bands - 1)
    names: np.ndarray = np.array(rule.pattern)[band % len(rule.pattern)]
    return names


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def leave_buffer(
    lon_deg: np.ndarray, lat_deg: np.ndarray, split: np.ndarray, buffer_m: float, side_m: float
) -> np.ndarray:
    """Leave out chips that lie too close to another split: val near test, then train near test or val.

    Test chips always stay: the test set must not depend on the buffer. Two squares of side s whose centres are at
    least `buffer_m + s * sqrt(2)` apart have at least `buffer_m` between them, whatever their direction.

    Args:
        lon_deg: longitudes of the centres (N,).
        lat_deg: latitudes (N,).
        split: names of splits (N,).
        buffer_m: least ground between chips of different splits; 0 leaves everything as it is.
        side_m: chip side.

    Returns:
        Names of splits (N,), with `buffer`.
    """
    from scipy.spatial import cKDTree

    split = split.astype(object)
    if buffer_m <= 0:
        return split
    points = unit_sphere(lon_deg, lat_deg)
    # Straight line through the Earth for a distance along its surface, at the least radius of curvature: the mean
    # radius would promise up to 0.6 % more ground than the ellipsoid has.
    chord = 2 * np.sin((buffer_m + side_m * np.sqrt(2)) / LEAST_RADIUS_M / 2)
    for part, keep in (("val", ("test",)), ("train", ("test", "val"))):
        others = np.isin(split, keep)
        rows = np.flatnonzero(split == part)
        if others.any() and len(rows):
            distance, _ = cKDTree(points[others]).query(points[rows])
            split[rows[distance < chord]] = BUFFER
    return split


def stratified(chip_ids: np.ndarray, regions: np.ndarray, rule: Stratified) -> np.ndarray:
    """Split of each chip by a random draw within its region.

    A region's draw depends on the seed, its name and its own chips alone, in the order of their ids.

    Args:
        chip_ids: (N,).
        regions: (N,).
        rule: shares and seed.

    Returns:
        Names of splits (N,).
    """
    split = np.empty(len(chip_ids), object)
    for region in np.unique(regions):
        rows = np.flatnonzero(regions == region)
        rows = rows[np.argsort(chip_ids[rows])]
        name_seed = int.from_bytes(hashlib.sha256(str(region).encode()).digest()[:8])
        order = np.random.default_rng([rule.seed, name_seed]).permutation(rows)
        cuts = np.round(np.cumsum([rule.shares.train, rule.shares.val]) * len(order)).astype(int)
        for part, chosen in zip(("train", "val", "test"), np.split(order, cuts), strict=True):
            split[chosen] = part
    return split


def hashed(chip_ids: np.ndarray, classes: np.ndarray, rule: Hashed) -> np.ndarray:
    """Split of each chip by a hash of its name within its class.

    Where a name stands in the order of its class depends on that class's names alone.

    Args:
        chip_ids: names of the images, (N,).
        classes: (N,).
        rule: shares.

    Returns:
        Names of splits (N,).
    """
    split = np.empty(len(chip_ids), object)
    for name in np.unique(classes):
        rows = np.flatnonzero(classes == name)
        keys = np.array([hashlib.sha256(str(chip).encode()).hexdigest() for chip in chip_ids[rows]])
        cuts = np.round(np.cumsum([rule.shares.train, rule.shares.val]) * len(rows)).astype(int)
        for part, chosen in zip(PARTS, np.split(rows[np.argsort(keys)], cuts), strict=True):
            split[chosen] = part
    return split
