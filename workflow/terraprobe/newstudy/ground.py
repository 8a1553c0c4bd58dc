"""Chips and splits that an area has room for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terraprobe.collections.areagrid import AreaGrid, area_rows, read_area
from terraprobe.collections.blocks import deal_blocks
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M, chip_centres
from terraprobe.collections.grid import chip_frame
from terraprobe.collections.split_rules import PARTS, Blocks, Geobands, Stratified
from terraprobe.collections.splits import geobands, leave_buffer, stratified
from terraprobe.errors import TerraprobeError
from terraprobe.newstudy.labels import OwnLabels

if TYPE_CHECKING:
    import geopandas as gpd

SIDES_PX = (256, 128, 64, 32)
"""Chip sides, the largest first that gives enough chips; 32 is the least that every method takes."""

MANY_CHIPS = 2000
"""Fewer teach an encoder little: a smaller side gives more of the same ground. [D]"""

LEAST_CHIPS = 20
"""Below this no split has chips on each side that a score could stand on. [D]"""

ENOUGH = {"train": 60, "val": 20, "test": 30}
"""Labelled chips that each side of a split should have. [D]"""

FEWEST = {"train": 6, "val": 3, "test": 3}
"""Labelled chips that each side must have. [D]"""

BANDS = (60, 30, 20, 15, 10, 5)
TEST_BLOCKS = 30
"""Blocks that should stand behind an interval."""


@dataclass(frozen=True)
class Ground:
    """The chips of an area, and how they are split.

    Attributes:
        chips: `grid.parquet` as it will be.
        chip_px: side of a chip.
        block_chips: side of a block in chips.
        split: the rule, as a study says it.
        train: train chips, labelled or not.
        labelled: labelled chips of each side.
        test_blocks: blocks with labelled test chips.
        notes: what the split could not have and what it does instead.
    """

    chips: "gpd.GeoDataFrame"
    chip_px: int
    block_chips: int
    split: dict[str, Any]
    train: int
    labelled: dict[str, int]
    test_blocks: int
    notes: list[str]


def area_km2(path: Path) -> float:
    """Ground of an area's polygons on the WGS 84 ellipsoid.

    Raises:
        TerraprobeError: they cannot be read, have no CRS, cross themselves or are no polygons.
    """
    from pyproj import Geod

    try:
        return float(abs(Geod(ellps="WGS84").geometry_area_perimeter(read_area(path))[0]) / 1e6)
    except TerraprobeError as error:
        raise TerraprobeError(f"--aoi: {path}: {error}") from error


def choose_side(km2: float, largest: int) -> int:
    """The largest chip side that gives many chips, or the smallest one.

    Args:
        km2: of the area.
        largest: side allowed, pixels.
    """
    sides = [side for side in SIDES_PX if side <= largest]
    return next((s for s in sides if km2 / (s * CHIP_RESOLUTION_M / 1000) ** 2 >= MANY_CHIPS), sides[-1])


def lay(path: Path, chip_px: int, block_chips: int, name: str) -> "gpd.GeoDataFrame":
    """The chips that `lay_grid` will lay.

    Raises:
        TerraprobeError: no lattice fits the area, or it holds too few chips.
    """
    area = AreaGrid(source=name, chip_px=chip_px, block_chips=block_chips, shards=1)
    try:
        rows = area_rows(path, area)
    except TerraprobeError as error:
        raise TerraprobeError(f"--aoi: {error}") from error
    if len(rows) < LEAST_CHIPS:
        raise TerraprobeError(
            f"--aoi: {path} has room for {len(rows)} chips of {chip_px} px ({chip_px * CHIP_RESOLUTION_M:g} m), at "
            f"least {LEAST_CHIPS} are needed to learn from some and test on others. Draw a larger area."
        )
    return chip_frame(rows, chip_px, clip=True)


def split_ground(path: Path, chip_px: int, name: str, own: OwnLabels | None) -> Ground:
    """Choose blocks and a split: bands with a buffer where there is room, else what is nearest to it.

    Args:
        path: polygons of the area.
        chip_px: side of a chip.
        name: of the collection.
        own: the user's labels; None where every chip is labelled.

    Raises:
        TerraprobeError: too few chips are labelled for any split.
    """
    for block_chips in (4, 2, 1):
        chips = lay(path, chip_px, block_chips, name)
        labelled = chips["chip_id"].isin(own.labelled).to_numpy() if own else np.ones(len(chips), bool)
        split, sides, notes = _choose_split(chips, chip_px, block_chips, labelled)
        blocks = chips["block"][labelled & (sides == "test")].nunique()
        if blocks >= TEST_BLOCKS or block_chips == 1:
            break
    counts = {part: int((labelled & (sides == part)).sum()) for part in PARTS}
    if blocks < TEST_BLOCKS:
        notes = [
            *notes,
            f"intervals stand on {blocks} test blocks, where {TEST_BLOCKS} are wanted: they are wide and rough; label "
            "more ground, or draw a larger area",
        ]
    train = int((sides == "train").sum())
    return Ground(chips, chip_px, block_chips, split, train, counts, blocks, notes)


Rule = Geobands | Blocks | Stratified


def _choose_split(
    chips: "gpd.GeoDataFrame", chip_px: int, block_chips: int, labelled: NDArray[np.bool_]
) -> tuple[dict[str, Any], NDArray[Any], list[str]]:
    """The first rule that leaves enough labelled chips on each side; its splits (chip,); what it could not have.

    Where none does: the rule by place that comes nearest to it, and a draw at random where none by place will do.
    """
    lon, lat = chip_centres(chips)
    side_m = chip_px * CHIP_RESOLUTION_M
    nearest: tuple[float, Rule, NDArray[Any], list[str]] | None = None
    for rule, notes in _rules(lon, lat, side_m, block_chips):
        if nearest is not None and isinstance(rule, Stratified):
            break
        try:
            sides = _sides(chips, lon, lat, rule, side_m)
        except TerraprobeError:
            continue
        counts = {part: int((labelled & (sides == part)).sum()) for part in PARTS}
        if all(counts[part] >= ENOUGH[part] for part in PARTS):
            return _said(rule), sides, notes
        filled = min(counts[part] / ENOUGH[part] for part in PARTS)
        if all(counts[part] >= FEWEST[part] for part in PARTS) and (nearest is None or filled > nearest[0]):
            few = ", ".join(f"{counts[part]} {part}" for part in PARTS)
            rough = f"few labelled chips on a side of the split ({few}): scores are rough; label more ground"
            nearest = filled, rule, sides, [*notes, rough]
    if nearest is None:
        least = ", ".join(f"{number} {part}" for part, number in FEWEST.items())
        raise TerraprobeError(
            f"--labels: {int(labelled.sum())} of {len(chips)} chips are labelled, too few or too near to each other to "
            f"learn from some and test on others (at least {least}). Label more ground, or draw a larger area."
        )
    return _said(nearest[1]), nearest[2], nearest[3]


def _rules(
    lon: NDArray[np.float64], lat: NDArray[np.float64], side_m: float, block_chips: int
) -> Iterator[tuple[Rule, list[str]]]:
    """Rules from the strictest to the loosest, with what each lacks."""
    wide = np.ptp(lon) * math.cos(math.radians(float(lat.mean()))) >= np.ptp(lat)
    direction = 0.0 if wide else 1.57
    bare = "no buffer between the sides of the split: it would leave too few labelled chips; the audit counts touching"
    for buffer_m, notes in ((side_m, []), (0.0, [f"{bare} pairs"])):
        for bands in BANDS:
            yield Geobands(direction_rad=direction, n_bands=bands, buffer_m=buffer_m), notes
    dealt = (
        "no bands across the area: each side of the split would have too few labelled chips; squares are dealt instead"
    )
    yield Blocks(side_km=block_chips * side_m / 1000), [dealt]
    drawn = (
        "no split by place: too few labelled chips; chips are drawn at random, so neighbours stand on both sides and "
    )
    yield Stratified(), [f"{drawn}scores are too high"]


def _sides(
    chips: "gpd.GeoDataFrame", lon: NDArray[np.float64], lat: NDArray[np.float64], rule: Rule, side_m: float
) -> NDArray[Any]:
    """Split of each chip, as `assign_splits` will give it."""
    if isinstance(rule, Stratified):
        return stratified(chips["chip_id"].to_numpy(), np.full(len(chips), ""), rule)
    if isinstance(rule, Geobands):
        return leave_buffer(lon, lat, geobands(lon, lat, rule), rule.buffer_m, side_m)
    return deal_blocks(lon, lat, chips["block"].to_numpy(), float(rule.side_km or 0), rule)


def _said(rule: Rule) -> dict[str, Any]:
    """A rule as a study says it: what differs from its defaults."""
    return {"kind": rule.kind, **rule.model_dump(mode="json", exclude_defaults=True)}
