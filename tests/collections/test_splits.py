"""No chip is in two splits, the rule is followed exactly, and a buffer keeps its promise on the ground."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pyproj import Geod, Transformer
from shapely import box
from shapely.ops import nearest_points

from terraprobe.acquire.simulated.climate import smooth_field
from terraprobe.acquire.simulated.world import SimulatedWorld
from terraprobe.artifacts import read_table, table_metadata, write_table
from terraprobe.collections.chiptable import chip_centres
from terraprobe.collections.grid import chip_frame
from terraprobe.collections.split_rules import Blocks, Geobands, Official, Shares, Stratified
from terraprobe.collections.splits import BUFFER, SplitRecipe, assign_splits, geobands, leave_buffer, stratified
from terraprobe.errors import TerraprobeError

SIDE_M = 640.0
PARTS = ("train", "val", "test")
CELLS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=5, max_size=60, unique=True)
DEGREES = st.lists(st.tuples(st.floats(-179, 179), st.floats(-70, 70)), min_size=1, max_size=200)
DIRECTIONS = st.floats(0, 2 * np.pi)
SHARES = st.sampled_from([(0.6, 0.2, 0.2), (0.7, 0.15, 0.15), (0.34, 0.33, 0.33), (0.98, 0.01, 0.01)])


def chips(cells, top=5_600_000.0, crs="EPSG:32633"):
    """Chips of 640 m on a lattice of one UTM zone."""
    left, up = np.array(cells, float).T * SIDE_M
    rows = pd.DataFrame({"crs": crs, "left": 500_000 + left, "top": top + up})
    return chip_frame(rows.assign(block="b", shard="000", source="s"), 64)


def ground_m(frame, first, second):
    """Ground between two chips on the WGS 84 ellipsoid, metres."""
    squares = []
    for k in (first, second):
        _, _, left, _, _, top = frame["transform"].iloc[k]
        squares.append(box(left, top - SIDE_M, left + SIDE_M, top))
    to_degrees = Transformer.from_crs(frame["crs"].iloc[first], "EPSG:4326", always_xy=True)
    (a, b), (c, d) = (to_degrees.transform(p.x, p.y) for p in nearest_points(*squares))
    return Geod(ellps="WGS84").inv(a, b, c, d)[2]


@settings(deadline=None)
@given(points=DEGREES, direction=DIRECTIONS, n_bands=st.integers(5, 60))
def test_every_point_gets_exactly_one_split(points, direction, n_bands):
    lon, lat = np.array(points).T
    split = geobands(lon, lat, Geobands(direction_rad=direction, n_bands=n_bands))
    assert split.shape == lon.shape
    assert set(split) <= set(PARTS)
    np.testing.assert_array_equal(split, geobands(lon, lat, Geobands(direction_rad=direction, n_bands=n_bands)))


@pytest.mark.parametrize("n_bands", [5, 7, 10, 60])
@pytest.mark.parametrize(("direction", "flip"), [(0.0, False), (np.pi, True)])
def test_exactly_n_bands_follow_the_pattern(n_bands, direction, flip):
    rule = Geobands(direction_rad=direction, n_bands=n_bands)
    middle = (np.arange(n_bands) + 0.5) / n_bands
    lon = np.concatenate([[0.0], middle, [1.0]]) * 20 - 5  # the ends fix the scale
    split = geobands(lon, np.full(len(lon), 50.0), rule)
    expected = [rule.pattern[k % len(rule.pattern)] for k in range(n_bands)]
    expected = [expected[0], *expected, expected[-1]]
    if flip:  # the same bands counted from the other end; the two end points stay in the outer bands
        split = split[::-1]
    assert list(split) == expected


def test_bands_of_another_direction_run_across_it():
    lon, lat = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, 40), np.linspace(50, 51, 40)))
    split = geobands(lon, lat, Geobands(direction_rad=np.pi / 2, n_bands=10)).reshape(40, 40)
    assert all(len(set(row)) == 1 for row in split)
    assert list(split[::4, 0]) == ["train", "train", "train", "test", "val"] * 2


def test_points_of_one_place_get_one_band():
    split = geobands(np.full(4, 7.0), np.full(4, 51.0), Geobands())
    assert set(split) == {"train"}


@settings(max_examples=60, deadline=None)
@given(
    cells=CELLS,
    direction=DIRECTIONS,
    buffer_m=st.sampled_from([1.0, 320.0, 1000.0, 5000.0, 15_000.0]),
    top=st.sampled_from([60_000.0, 5_600_000.0, 7_800_000.0]),
)
def test_the_buffer_keeps_its_promise_on_the_ground(cells, direction, buffer_m, top):
    frame = chips(cells, top)
    lon, lat = chip_centres(frame)
    before = geobands(lon, lat, Geobands(direction_rad=direction, n_bands=5))
    after = leave_buffer(lon, lat, before, buffer_m, SIDE_M)
    assert list(after[before == "test"]) == ["test"] * (before == "test").sum()
    changed = after != before
    assert set(after[changed]) <= {BUFFER}
    kept = np.flatnonzero(after != BUFFER)
    for i in kept:
        for j in kept[(kept > i) & (after[kept] != after[i])]:
            assert ground_m(frame, i, j) >= buffer_m


@pytest.mark.parametrize("top", [60_000.0, 5_600_000.0])
@pytest.mark.parametrize("towards", [(1, 1), (1, 0), (0, 1), (2, 1)])
def test_the_buffer_holds_at_its_edge(top, towards):
    # Two chips drawn apart in small steps: as soon as both stay, the ellipsoid has the promised ground between them.
    least_m = 25_000 + SIDE_M * np.sqrt(2)
    step = np.array(towards) / np.hypot(*towards) * least_m / SIDE_M
    kept = []
    for apart in np.arange(0.99, 1.012, 0.001):
        frame = chips([(0, 0), tuple(step * apart)], top)
        after = leave_buffer(*chip_centres(frame), np.array(["test", "train"]), 25_000.0, SIDE_M)
        kept.append(after[1] == "train")
        if kept[-1]:
            assert ground_m(frame, 0, 1) >= 25_000
    assert not kept[0]
    assert kept[-1]


def test_no_buffer_leaves_everything():
    before = np.array(["train", "test", "val"])
    assert list(leave_buffer(np.zeros(3), np.zeros(3), before, 0.0, SIDE_M)) == list(before)


def test_a_left_out_val_chip_costs_no_train_chip():
    frame = chips([(0, 0), (3, 0), (6, 0)])
    after = leave_buffer(*chip_centres(frame), np.array(["test", "val", "train"]), 1200.0, SIDE_M)
    assert list(after) == ["test", BUFFER, "train"]


def drawn(n_by_region, shares, seed):
    ids = np.array([f"{region}-{k:04d}" for region, n in n_by_region.items() for k in range(n)], object)
    regions = np.array([region for region, n in n_by_region.items() for _ in range(n)], object)
    train, val, test = shares
    rule = Stratified(shares=Shares(train=train, val=val, test=test), seed=seed)
    return ids, regions, rule, stratified(ids, regions, rule)


REGIONS = st.dictionaries(st.sampled_from(["", "alpine", "boreal", "x"]), st.integers(1, 120), min_size=1)


@settings(deadline=None)
@given(sizes=REGIONS, shares=SHARES, seed=st.integers(0, 2**32))
def test_shares_hold_within_one_chip_in_every_region(sizes, shares, seed):
    _, regions, _, split = drawn(sizes, shares, seed)
    assert set(split) <= set(PARTS)
    for region, n in sizes.items():
        for part, share in zip(PARTS, shares, strict=True):
            assert abs((split[regions == region] == part).sum() - share * n) <= 1


@settings(deadline=None)
@given(sizes=REGIONS, shares=SHARES, seed=st.integers(0, 1000), order=st.randoms())
def test_a_draw_depends_on_neither_row_order_nor_other_regions(sizes, shares, seed, order):
    ids, regions, rule, split = drawn(sizes, shares, seed)
    rows = list(range(len(ids)))
    order.shuffle(rows)
    np.testing.assert_array_equal(stratified(ids[rows], regions[rows], rule), split[rows])
    one = regions == next(iter(sizes))
    np.testing.assert_array_equal(stratified(ids[one], regions[one], rule), split[one])


def test_another_seed_is_another_draw():
    splits = [list(drawn({"alpine": 100}, (0.6, 0.2, 0.2), seed)[3]) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_regions_of_equal_size_are_drawn_apart():
    _, regions, _, split = drawn({"alpine": 100, "boreal": 100}, (0.6, 0.2, 0.2), 0)
    assert list(split[regions == "alpine"]) != list(split[regions == "boreal"])


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.2), (0.6, 0.3, 0.2), (1.0, 0.0, 0.0)])
def test_shares_that_do_not_sum_to_one(shares):
    with pytest.raises(ValidationError):
        Shares(train=shares[0], val=shares[1], test=shares[2])


@pytest.mark.parametrize("rule", [{"pattern": ("train", "test")}, {"n_bands": 4}, {"buffer_m": -1}])
def test_rules_that_cannot_work(rule):
    with pytest.raises(ValidationError):
        Geobands(**rule)


CELL_GRID = [(c, r) for r in range(10) for c in range(20)]


@pytest.fixture
def grid(tmp_path):
    frame = chips(CELL_GRID).sample(frac=1, random_state=0).reset_index(drop=True)
    frame["block"] = [f"b{k}" for k in range(len(frame))]
    write_table(tmp_path / "grid.parquet", frame, {"chip_px": "64"})
    return tmp_path / "grid.parquet"


def test_assign_splits_keeps_rows_and_adds_two_columns(tmp_path, grid):
    recipe = SplitRecipe(split=Geobands(n_bands=10, buffer_m=320))
    for name in ("a", "b"):
        assign_splits(grid=grid, context=[], labels=[], official=[], recipe=recipe, chips=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    before, after = read_table(grid), read_table(tmp_path / "a")
    assert list(after["chip_id"]) == list(before["chip_id"])
    assert after.crs == "EPSG:4326"
    assert set(after["region"]) == {""}
    assert set(after["split"]) == {*PARTS, BUFFER}


def test_regions_come_from_the_context_by_chip(tmp_path, grid):
    ids = list(read_table(grid)["chip_id"])
    region = {chip: "alpine" if k % 3 else "boreal" for k, chip in enumerate(ids)}
    write_table(tmp_path / "context", pd.DataFrame({"chip_id": ids[::-1], "region": [region[i] for i in ids[::-1]]}))
    recipe = SplitRecipe(split=Stratified())
    assign_splits(
        grid=grid, context=[tmp_path / "context"], labels=[], official=[], recipe=recipe, chips=tmp_path / "chips"
    )
    after = read_table(tmp_path / "chips")
    assert list(after["region"]) == [region[i] for i in after["chip_id"]]
    for name in ("alpine", "boreal"):
        shares = after.loc[after["region"] == name, "split"].value_counts(normalize=True)
        np.testing.assert_allclose(shares[list(PARTS)], [0.6, 0.2, 0.2], atol=0.02)


def test_an_empty_split_is_an_error(tmp_path, grid):
    recipe = SplitRecipe(split=Geobands(n_bands=10, buffer_m=50_000))
    with pytest.raises(TerraprobeError, match=r"no chip for train, val among 200 .*Lower n_bands or buffer_m"):
        assign_splits(grid=grid, context=[], labels=[], official=[], recipe=recipe, chips=tmp_path / "chips")
    assert not (tmp_path / "chips").exists()


def test_the_rule_stands_in_the_metadata(tmp_path, grid):
    rule = Blocks(side_km=3.0, buffer_m=320)
    assign_splits(
        grid=grid, context=[], labels=[], official=[], recipe=SplitRecipe(split=rule), chips=tmp_path / "chips"
    )
    assert Blocks.model_validate_json(table_metadata(tmp_path / "chips")["split"]) == rule


def test_blocks_are_buffered(tmp_path, grid):
    before, after = (tmp_path / name for name in ("before", "after"))
    for path, buffer_m in ((before, 0.0), (after, 320.0)):
        recipe = SplitRecipe(split=Blocks(side_km=3.0, buffer_m=buffer_m))
        assign_splits(grid=grid, context=[], labels=[], official=[], recipe=recipe, chips=path)
    whole, frame = read_table(before), read_table(after)
    assert set(frame["split"]) == {*PARTS, BUFFER}
    assert (frame["split"] == whole["split"])[frame["split"] != BUFFER].all()
    kept = frame[frame["split"] != BUFFER].reset_index(drop=True)
    split = kept["split"].to_numpy()
    pairs = [(i, j) for i in range(len(kept)) for j in range(i) if split[i] != split[j]]
    assert min(ground_m(kept, i, j) for i, j in pairs[:: max(1, len(pairs) // 400)]) >= 320


def test_a_buffer_that_leaves_no_block(tmp_path, grid):
    recipe = SplitRecipe(split=Blocks(side_km=3.0, buffer_m=50_000))
    with pytest.raises(TerraprobeError, match=r"split blocks: no chip for train, val .*Lower side_km or buffer_m"):
        assign_splits(grid=grid, context=[], labels=[], official=[], recipe=recipe, chips=tmp_path / "chips")


def test_an_official_split_goes_by_source(tmp_path):
    sources = [("a", "b", "c", "d")[k % 4] for k in range(200)]
    write_table(tmp_path / "grid", chips(CELL_GRID).assign(source=sources), {"chip_px": "64"})
    listed = tmp_path / "official.csv"
    listed.write_text("source,split\na,train\nb,test\nd,train\nc,val\n")
    recipe = SplitRecipe(split=Official(file=str(listed)))
    assign_splits(
        grid=tmp_path / "grid", context=[], labels=[], official=[listed], recipe=recipe, chips=tmp_path / "chips"
    )
    after = read_table(tmp_path / "chips")
    of_source = {"a": "train", "b": "test", "c": "val", "d": "train"}
    assert list(after["split"]) == [of_source[source] for source in sources]


def test_an_official_split_without_val(tmp_path, grid):
    listed = tmp_path / "official.csv"
    listed.write_text("source,split\ns,train\n")
    recipe = SplitRecipe(split=Official(file=str(listed)))
    with pytest.raises(TerraprobeError, match=r"split official: no chip for val, test .*Name sources"):
        assign_splits(grid=grid, context=[], labels=[], official=[listed], recipe=recipe, chips=tmp_path / "chips")


def scattered_grid(tmp_path):
    """400 chips over 10 by 8 degrees, and labels in another order with one field of 60 km."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"crs": "EPSG:32632", "left": rng.permutation(900)[:400] * 800.0 + 1e5})
    rows["top"] = 5_000_000 + rng.permutation(900)[:400] * 800.0
    frame = chip_frame(rows.assign(block=[f"b{k}" for k in range(400)], shard="000", source="s"), 64)
    write_table(tmp_path / "grid", frame, {"chip_px": "64"})
    field = smooth_field(SimulatedWorld(seed=1), "label", *chip_centres(frame), 60.0)
    labels = pd.DataFrame({"chip_id": frame["chip_id"], "green": field, "mod44b_coverage": np.linspace(0, 1, 400)})
    write_table(tmp_path / "labels", labels.sample(frac=1, random_state=1))
    return tmp_path / "grid", tmp_path / "labels"


def test_the_labels_give_the_side_which_the_metadata_keep(tmp_path):
    grid, labels = scattered_grid(tmp_path)
    recipe = SplitRecipe(split=Blocks())
    assign_splits(grid=grid, context=[], labels=[labels], official=[], recipe=recipe, chips=tmp_path / "chips")
    rule = Blocks.model_validate_json(table_metadata(tmp_path / "chips")["split"])
    assert rule.side_km == pytest.approx(120, rel=0.35)
    again = SplitRecipe(split=rule)
    assign_splits(grid=grid, context=[], labels=[], official=[], recipe=again, chips=tmp_path / "again")
    assert (tmp_path / "chips").read_bytes() == (tmp_path / "again").read_bytes()


def test_blocks_without_side_and_labels(tmp_path, grid):
    with pytest.raises(TerraprobeError, match=r"no side_km, and no labels that give it\. Give side_km"):
        assign_splits(
            grid=grid, context=[], labels=[], official=[], recipe=SplitRecipe(split=Blocks()), chips=tmp_path / "c"
        )
