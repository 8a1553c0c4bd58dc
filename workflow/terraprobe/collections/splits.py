"""Which chips are for training, which for choosing, which for the one test.

`geobands` is the rule of `clip3` (public tool of Allen et al., [C]): longitude and latitude scaled to [0, 1], projected
on a direction, cut into exactly n bands of equal width that follow a repeating pattern. `stratified` draws shares
within each region, as `bioclim` does ([P]); it is not spatially blocked.
"""

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from terraprobe.artifacts import read_table, table_metadata, write_table
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M, chip_centres, read_chips, unit_sphere
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Ins, Out, Recipe, progress

if TYPE_CHECKING:
    import geopandas as gpd

Part = Literal["train", "val", "test"]
BUFFER = "buffer"
"""Split of a chip that is left out because it lies too close to another split."""

LEAST_RADIUS_M = 6_335_439.0
"""Least radius of curvature of the WGS 84 ellipsoid, a (1 - e²): along the meridian at the equator."""


class Geobands(Recipe):
    """Split by geographic bands.

    Attributes:
        kind: `geobands`.
        direction_rad: angle of the axis that the bands cut across; 0 runs west to east.
        n_bands: number of bands.
        pattern: splits of successive bands, repeated.
        buffer_m: least ground between chips of different splits; nearer train and val chips are left out.
    """

    kind: Literal["geobands"] = "geobands"
    direction_rad: float = 0.0
    n_bands: int = Field(60, ge=3)
    pattern: tuple[Part, ...] = ("train", "train", "train", "test", "val")
    buffer_m: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _every_split(self) -> "Geobands":
        if set(self.pattern) != {"train", "val", "test"} or self.n_bands < len(self.pattern):
            raise ValueError(
                f"pattern {list(self.pattern)} over {self.n_bands} bands; it must name train, val and test, "
                f"and n_bands must be at least its length ({len(self.pattern)})"
            )
        return self


class Shares(Recipe):
    """Shares of the three splits, which sum to 1.

    Attributes:
        train: share of chips to learn from.
        val: share to choose by.
        test: share to report on.
    """

    train: float = Field(0.6, gt=0, lt=1)
    val: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Shares":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train {self.train} + val {self.val} + test {self.test} = {total:g}; they must sum to 1")
        return self


class Stratified(Recipe):
    """Draw chips at random within each region. Neighbours fall into different splits: report leakage beside it.

    Attributes:
        kind: `stratified`.
        shares: of train, val and test in every region.
        seed: of the draw.
    """

    kind: Literal["stratified"] = "stratified"
    shares: Shares = Shares()
    seed: int = Field(0, ge=0)


class SplitRecipe(Recipe):
    """Recipe of `assign_splits`.

    Attributes:
        split: the rule.
    """

    split: Annotated[Geobands | Stratified, Field(discriminator="kind")]


def assign_splits(*, grid: In, context: Ins, recipe: SplitRecipe, chips: Out) -> None:
    """Give every chip its split and its region.

    Args:
        grid: `grid.parquet`.
        context: `context.parquet`, or nothing where the study gives no context.
        recipe: the rule.
        chips: `chips.parquet`: the grid's rows with `split` (train, val, test, buffer) and `region`.

    Raises:
        TerraprobeError: a split is empty.
    """
    frame = read_chips(grid)
    side_m = int(table_metadata(grid)["chip_px"]) * CHIP_RESOLUTION_M
    regions = read_table(context[0]).set_index("chip_id")["region"] if context else None
    frame["region"] = "" if regions is None else regions.loc[frame["chip_id"]].to_numpy()
    if isinstance(recipe.split, Geobands):
        lon, lat = chip_centres(frame)
        split = geobands(lon, lat, recipe.split)
        split = leave_buffer(lon, lat, split, recipe.split.buffer_m, side_m)
    else:
        split = stratified(frame["chip_id"].to_numpy(), frame["region"].to_numpy(), recipe.split)
    frame["split"] = split
    _check_every_split(frame, recipe)
    write_table(chips, frame, {"chip_px": table_metadata(grid)["chip_px"]})
    counts = frame["split"].value_counts().to_dict()
    progress(", ".join(f"{name} {counts[name]}" for name in ("train", "val", "test", BUFFER) if name in counts))


def _check_every_split(frame: "gpd.GeoDataFrame", recipe: SplitRecipe) -> None:
    counts = frame["split"].value_counts()
    empty = [part for part in ("train", "val", "test") if part not in counts]
    if empty:
        raise TerraprobeError(
            f"split {recipe.split.kind}: no chip for {', '.join(empty)} among {len(frame)} "
            f"({counts.to_dict()}). Lower n_bands or buffer_m, or take more chips."
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
