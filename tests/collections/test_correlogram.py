"""The length of a field with a known length is found; nothing is found in noise; Moran's I matches its definition."""

import numpy as np
import pytest

from terraprobe.acquire.simulated.climate import priors_at, smooth_field
from terraprobe.acquire.simulated.land import Cover, inner, make_land
from terraprobe.acquire.simulated.world import SimulatedWorld, place_lonlat
from terraprobe.collections.chiptable import unit_sphere
from terraprobe.collections.correlogram import correlogram, morans_i


def scattered(seed, n, degrees=(20.0, 14.0)):
    """Points (lon, lat) of a random scatter."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, degrees[0], n), rng.uniform(42, 42 + degrees[1], n)


def field(seed, length_km, lon, lat):
    """Smooth field with the given length, the simulator's own definition of it."""
    return smooth_field(SimulatedWorld(seed=seed), "test", lon, lat, length_km)


def prior_labels(world, per_place=1):
    """Lon, lat and three labels from the class priors of a world, with a random part of every place."""
    rng = np.random.default_rng(world.seed)
    lon, lat = np.array([place_lonlat(world, i) for i in range(world.n_places)]).T
    priors = [priors_at(world, x, y) for x, y in zip(lon, lat, strict=True)]
    logits = np.array([[np.log(s / (1 - s)) for s in (p.forest, p.farmed, p.crop)] for p in priors])
    labels = 1 / (1 + np.exp(-logits - rng.normal(0, 0.5, logits.shape)))
    lon, lat, labels = (np.repeat(a, per_place, axis=0) for a in (lon, lat, labels))
    return lon + rng.uniform(-0.01, 0.01, len(lon)), lat + rng.uniform(-0.01, 0.01, len(lat)), labels


@pytest.mark.parametrize("length_km", [40.0, 120.0])
@pytest.mark.parametrize("nugget", [0.0, 1.0])
def test_finds_the_length_of_a_field(length_km, nugget):
    lon, lat = scattered(1, 1500)
    noise = np.random.default_rng(2).normal(0, np.sqrt(nugget), (1500, 3)) if nugget else 0
    values = np.stack([field(s, length_km, lon, lat) for s in range(3)], axis=1) + noise
    found = correlogram(lon, lat, values)
    assert found.length_km == pytest.approx(length_km, rel=0.3)
    assert found.correlation[0] == pytest.approx(1 / (1 + nugget), abs=0.2)
    assert (np.diff(found.distance_km) > 0).all()
    assert (found.pairs >= 100).all()


def test_a_wider_field_has_a_longer_length():
    lon, lat = scattered(3, 1500)
    lengths = [correlogram(lon, lat, field(4, km, lon, lat)).length_km for km in (30, 60, 120)]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("seed", range(5))
def test_finds_nothing_in_white_noise(seed):
    lon, lat = scattered(seed, 1000)
    values = np.random.default_rng(seed).normal(size=1000)
    assert correlogram(lon, lat, values).length_km is None
    assert abs(morans_i(lon, lat, values).z) < 4


def test_finds_the_longer_of_two_structures():
    lon, lat = (np.repeat(a, 4) for a in scattered(5, 500))
    rng = np.random.default_rng(6)
    place = np.repeat(rng.normal(size=(500, 3)), 4, axis=0)
    lon, lat = lon + rng.uniform(-0.01, 0.01, 2000), lat + rng.uniform(-0.01, 0.01, 2000)
    values = place + np.stack([field(s, 150, lon, lat) for s in range(3)], axis=1)
    assert correlogram(lon, lat, values).length_km == pytest.approx(150, rel=0.3)


@pytest.mark.parametrize("planted_km", [60.0, 240.0])
def test_finds_the_planted_length_of_simulated_worlds(planted_km):
    found = []
    for seed in range(3):
        world = SimulatedWorld(seed=seed, n_places=400, place_px=256, autocorrelation_km=planted_km, prior_shift=0)
        found.append(correlogram(*prior_labels(world, per_place=4)).length_km)
    assert np.median(found) == pytest.approx(planted_km, rel=0.3)


def test_finds_the_planted_length_in_simulated_land():
    world = SimulatedWorld(seed=1, n_places=300, place_px=64, autocorrelation_km=240, prior_shift=0)
    lon, lat = np.array([place_lonlat(world, i) for i in range(world.n_places)]).T
    covers = [inner(make_land(world, i, "optical").cover) for i in range(world.n_places)]
    kinds = ((Cover.CONIFER, Cover.DECIDUOUS, Cover.YOUNG), (Cover.WINTER_CROP, Cover.SUMMER_CROP))
    shares = np.array([[np.isin(cover, kind).mean() for kind in kinds] for cover in covers])
    assert correlogram(lon, lat, shares).length_km == pytest.approx(240, rel=0.35)


def test_unknown_values_are_dropped():
    lon, lat = scattered(7, 800)
    values = field(7, 100, lon, lat)
    holes = np.where(np.arange(800) % 4 == 0, np.nan, values)
    kept = np.isfinite(holes)
    found, wanted = correlogram(lon, lat, holes), correlogram(lon[kept], lat[kept], values[kept])
    np.testing.assert_array_equal(found.correlation, wanted.correlation)
    assert found.length_km == wanted.length_km
    assert morans_i(lon, lat, holes) == morans_i(lon[kept], lat[kept], values[kept])


@pytest.mark.parametrize("values", [np.ones(100), np.full(100, np.nan), np.r_[np.arange(29.0), np.full(71, np.nan)]])
def test_nothing_is_told_from_nothing(values):
    lon, lat = scattered(8, 100)
    found = correlogram(lon, lat, values)
    assert (len(found.pairs), found.length_km) == (0, None)
    assert morans_i(lon, lat, values) is None


def test_nothing_is_told_of_one_place():
    found = correlogram(np.zeros(100), np.zeros(100), np.arange(100.0))
    assert found.length_km is None


def test_equal_seeds_give_equal_correlograms():
    lon, lat = scattered(9, 4000)
    values = field(9, 100, lon, lat)
    first, again, other = (correlogram(lon, lat, values, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.correlation, again.correlation)
    assert not np.array_equal(first.correlation, other.correlation)
    assert first.length_km == pytest.approx(other.length_km, rel=0.3)


def test_morans_i_matches_its_definition():
    lon, lat = scattered(10, 60)
    values = field(10, 200, lon, lat)
    gap = np.linalg.norm(unit_sphere(lon, lat)[:, None] - unit_sphere(lon, lat)[None], axis=2)
    weights = np.zeros((60, 60))
    for i, row in enumerate(gap):
        weights[i, np.argsort(row)[1:9]] = 1 / 8
    z = values - values.mean()
    found = morans_i(lon, lat, values)
    assert found.value == pytest.approx(60 / weights.sum() * z @ weights @ z / (z @ z))
    assert (found.expectation, found.n) == (-1 / 59, 60)
    draws = [morans_i(lon, lat, np.random.default_rng(s).normal(size=60)) for s in range(400)]
    assert np.mean([d.z for d in draws]) == pytest.approx(0, abs=0.2)
    assert np.std([d.z for d in draws]) == pytest.approx(1, abs=0.15)


def test_morans_i_of_repeated_places():
    lon, lat = np.repeat(scattered(11, 10), 12, axis=1)
    values = np.repeat(np.arange(10.0), 12)
    assert morans_i(lon, lat, values).value == pytest.approx(1)
