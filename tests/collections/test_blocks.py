"""Cells have equal area, are dealt whole, and meet the shares of chips as closely as whole cells allow."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from terraprobe.acquire.simulated.climate import smooth_field
from terraprobe.acquire.simulated.world import SimulatedWorld
from terraprobe.collections.blocks import cells_of, deal, deal_blocks, side_from_labels
from terraprobe.collections.split_rules import PARTS, Blocks, Shares
from terraprobe.errors import TerraprobeError

SHARES = st.sampled_from([(0.6, 0.2, 0.2), (0.7, 0.15, 0.15), (0.34, 0.33, 0.33)])


def uniform_on_the_sphere(n, box, seed=0):
    """Points of equal density on the ground within west, south, east, north."""
    rng = np.random.default_rng(seed)
    south, north = np.sin(np.radians([box[1], box[3]]))
    return rng.uniform(box[0], box[2], n), np.degrees(np.arcsin(rng.uniform(south, north, n)))


def misses(counts, split, shares):
    return sum(
        abs(counts[split == part].sum() - share * counts.sum()) for part, share in zip(PARTS, shares, strict=True)
    )


@pytest.mark.parametrize("box", [(-10, 35, 30, 65), (170, -10, 179, 10)])
def test_cells_have_equal_area_wherever_they_lie(box):
    # Equal density on the ground: inner cells hold the side squared of it, in the north as in the south.
    lon, lat = uniform_on_the_sphere(200_000, box)
    side = 300.0
    cell = cells_of(lon, lat, side)
    geod = Geod(ellps="WGS84")
    edges = [
        (box[0] + t * (box[2] - box[0]), box[k]) for k in (1, 3) for t in np.linspace(0, 1, 200)[:: 1 if k == 1 else -1]
    ]
    ground = abs(geod.polygon_area_perimeter(*zip(*edges, strict=True))[0]) / 1e6
    counts = np.bincount(cell)
    expected = len(lon) * side**2 / ground
    inner = np.sort(counts)[-len(counts) // 3 :]
    assert abs(np.median(inner) / expected - 1) < 0.05
    south = {name: lat[cell == name].mean() for name in np.flatnonzero(counts > 0.9 * expected)}
    middle = np.median(list(south.values()))
    low, high = (np.mean([counts[c] for c, y in south.items() if (y > middle) == upper]) for upper in (False, True))
    assert abs(low / high - 1) < 0.03


def test_points_of_one_cell_lie_within_its_diagonal():
    lon, lat = uniform_on_the_sphere(3000, (5, 44, 11, 50))
    cell = cells_of(lon, lat, 80.0)
    geod = Geod(ellps="WGS84")
    for name in range(0, cell.max() + 1, 7):
        x, y = lon[cell == name], lat[cell == name]
        apart = geod.inv(np.full(len(x), x[0]), np.full(len(x), y[0]), x, y)[2]
        assert apart.max() <= 80_000 * np.sqrt(2) * 1.01


def test_cells_do_not_depend_on_the_order_of_points():
    lon, lat = uniform_on_the_sphere(2000, (5, 44, 11, 50))
    order = np.random.default_rng(1).permutation(len(lon))
    np.testing.assert_array_equal(cells_of(lon[order], lat[order], 50.0), cells_of(lon, lat, 50.0)[order])


def test_cells_cross_the_antimeridian():
    lon = np.array([179.9, -179.9, 179.9, -179.9])
    lat = np.array([9.9, 9.9, 10.1, 10.1])
    assert len(set(cells_of(lon, lat, 50.0))) == 1
    assert len(set(cells_of(lon, lat, 15.0))) == 4


@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(1, 60), min_size=3, max_size=40), shares=SHARES, seed=st.integers(0, 2**32))
def test_every_split_gets_whole_cells_and_the_same_ones_again(counts, shares, seed):
    counts, rule = np.array(counts), Shares(train=shares[0], val=shares[1], test=shares[2])
    split = deal(counts, rule, seed)
    assert set(split) == set(PARTS)
    np.testing.assert_array_equal(split, deal(counts, rule, seed))


@pytest.mark.parametrize("counts", [[16] * 7, [40, 3, 9, 22, 5, 16], [100, 1, 1, 1, 1], [1, 1, 1]])
@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), (0.34, 0.33, 0.33)])
def test_few_cells_are_dealt_as_closely_as_any_deal_could(counts, shares):
    counts, rule = np.array(counts), Shares(train=shares[0], val=shares[1], test=shares[2])
    ways = (np.array(way, object) for way in product(PARTS, repeat=len(counts)) if len(set(way)) == 3)
    best = min(misses(counts, way, shares) for way in ways)
    assert misses(counts, deal(counts, rule, 3), shares) == pytest.approx(best)


def test_many_cells_meet_the_shares_to_a_few_chips():
    counts = np.random.default_rng(0).integers(4, 30, 120)
    assert misses(counts, deal(counts, Shares(), 0), (0.6, 0.2, 0.2)) < 0.01 * counts.sum()


def test_another_seed_is_another_deal_and_any_cell_can_be_test():
    counts = np.full(12, 16)
    deals = [deal(counts, Shares(), seed) for seed in range(40)]
    assert len({tuple(d) for d in deals}) > 30
    assert (np.array(deals) == "test").any(axis=0).all()


def test_a_bootstrap_block_is_not_torn():
    # 300 places of 16 chips, 2.5 km wide, in cells of 10 km: many of them lie across a border.
    lon, lat = uniform_on_the_sphere(300, (5, 44, 8, 47))
    block = np.repeat([f"place-{k:04d}" for k in range(300)], 16).astype(object)
    shift = np.tile(np.array(list(product(range(4), range(4)))) * 0.008, (300, 1))
    rule = Blocks(seed=2)
    split = deal_blocks(np.repeat(lon, 16) + shift[:, 0], np.repeat(lat, 16) + shift[:, 1], block, 10.0, rule)
    assert all(len(set(split[block == name])) == 1 for name in set(block))
    assert len(set(cells_of(np.repeat(lon, 16) + shift[:, 0], np.repeat(lat, 16) + shift[:, 1], 10.0)[:160])) > 10


def test_too_few_cells():
    lon, lat = uniform_on_the_sphere(50, (5, 44, 5.1, 44.1))
    block = np.array([str(k) for k in range(50)], object)
    with pytest.raises(TerraprobeError, match=r"side of 500 km all 50 chips lie in 1 cell; .*smaller side_km"):
        deal_blocks(lon, lat, block, 500.0, Blocks())


def fields(lon, lat, **lengths_km):
    """Labels that are smooth fields of known lengths."""
    return pd.DataFrame({k: smooth_field(SimulatedWorld(seed=3), k, lon, lat, km) for k, km in lengths_km.items()})


def test_the_side_is_twice_the_longest_length_of_the_labels(capsys):
    lon, lat = uniform_on_the_sphere(1500, (0, 42, 20, 56))
    labels = fields(lon, lat, short=40.0, long=120.0)
    labels["noise"] = np.random.default_rng(0).normal(size=len(lon))
    labels.loc[::7, "long"] = np.nan
    assert side_from_labels(lon, lat, labels) == pytest.approx(240, rel=0.3)
    said = capsys.readouterr().err
    assert "long" in said and "short" in said and "noise" not in said
    assert side_from_labels(lon, lat, labels[["short"]]) == pytest.approx(80, rel=0.3)


@pytest.mark.parametrize("names", [["noise", "flat"], []])
def test_labels_that_tell_no_length(names):
    lon, lat = uniform_on_the_sphere(500, (0, 42, 20, 56))
    labels = pd.DataFrame({"noise": np.random.default_rng(0).normal(size=500), "flat": 1.0})[names]
    with pytest.raises(
        TerraprobeError, match=rf"\({', '.join(names) or 'none'}\) of 500 chips: .*Give side_km"
    ) as error:
        side_from_labels(lon, lat, labels)
    assert "\n" not in str(error.value)
