"""The simulated Earth's switches do what they say, and its land is varied enough to ask questions of."""

from itertools import combinations

import numpy as np
import pytest

from terraprobe.acquire.simulated import LAYERS, SimulatedWorld
from terraprobe.acquire.simulated.climate import climate_at, priors_at, smooth_field
from terraprobe.acquire.simulated.land import Cover, inner, make_land
from terraprobe.acquire.simulated.optical import monthly_rgb
from terraprobe.acquire.simulated.radar import backscatter
from terraprobe.acquire.simulated.world import layer_names, missing_sensor, place_lonlat

WORLD = SimulatedWorld(seed=3, n_places=8, place_px=128, missing_share=0.0, cloud_share=0.0)


def shared_signal(world: SimulatedWorld) -> float:
    """Correlation, over 80 m blocks of several places, of tree cover (optical) with cross-polarised backscatter."""
    trees, vh = [], []
    for index in range(world.n_places):
        land = make_land(world, index, "optical")
        image = backscatter(world, index, make_land(world, index, "radar"))[0][1]
        for values, to in ((inner(land.tree_share), trees), (image, vh)):
            to.append(values.reshape(16, 8, 16, 8).mean((1, 3)).ravel())
    return float(np.corrcoef(np.concatenate(trees), np.concatenate(vh))[0, 1])


def test_in_a_null_world_the_sensors_share_nothing() -> None:
    assert shared_signal(WORLD) > 0.3  # at a genuine scene's speckle; 0.36 in TerraMesh's Danish place
    null = WORLD.model_copy(update={"null_world": True})
    assert abs(shared_signal(null)) < 0.15
    covers = [make_land(null, 0, sensor).cover for sensor in ("optical", "radar", "coherence")]
    assert all((a == b).mean() < 0.5 for a, b in combinations(covers, 2))
    assert np.array_equal(covers[0], make_land(WORLD, 0, "optical").cover)  # labels and optical stay as they were


def test_prior_shift_lets_the_climate_decide_the_land() -> None:
    def explained(world: SimulatedWorld) -> float:
        centres = [place_lonlat(world, index) for index in range(world.n_places)]
        climates = [climate_at(world, np.array(lon), np.array(lat)) for lon, lat in centres]
        drivers = np.array([(c.rain_mm.sum() / 300, c.continentality, c.temperature_c.mean() / 4, 1) for c in climates])
        crop = np.array([priors_at(world, lon, lat).crop for lon, lat in centres])
        target = np.log(crop / (1 - crop))
        rest = target - drivers @ np.linalg.lstsq(drivers, target, rcond=None)[0]
        return 1 - float(rest.var() / target.var())

    world = SimulatedWorld(n_places=150, place_px=64, autocorrelation_km=60)
    with_shift = explained(world.model_copy(update={"prior_shift": 1.0}))
    without = explained(world.model_copy(update={"prior_shift": 0.0}))
    assert with_shift > 0.35
    assert without < 0.15


def test_covariate_shift_lets_the_climate_colour_the_land() -> None:
    on, off = (WORLD.model_copy(update={"covariate_shift": share, "prior_shift": 0.0}) for share in (1.0, 0.0))
    lands = [make_land(world, 2, "optical") for world in (on, off)]
    assert np.array_equal(lands[0].cover, lands[1].cover)
    assert lands[1].priors.warmth == lands[1].priors.wetness == 0
    assert not np.array_equal(*(monthly_rgb(world, 2, land)[0] for world, land in zip((on, off), lands, strict=True)))


@pytest.mark.parametrize("length_km", [50.0, 300.0])
def test_neighbours_are_alike_within_the_autocorrelation_length(length_km: float) -> None:
    near, far = [], []
    for seed in range(150):
        world = SimulatedWorld(seed=seed, autocorrelation_km=length_km)
        lat = 48 + np.array([0, length_km, 3 * length_km]) / 111.195
        values = smooth_field(world, "prior 0", np.full(3, 9.0), lat, length_km)
        near.append(values[0] * values[1])
        far.append(values[0] * values[2])
    assert np.mean(near) == pytest.approx(np.exp(-0.5), abs=0.3)
    assert abs(np.mean(far)) < 0.3


def test_clouds_hit_the_share_of_months_that_is_asked_for() -> None:
    land = make_land(WORLD, 0, "optical")
    assert (monthly_rgb(WORLD, 0, land)[0] > 0).all()
    images = monthly_rgb(WORLD.model_copy(update={"cloud_share": 1.0}), 0, land)[0]
    hidden = (images == 0).reshape(3, 3, -1)
    assert (hidden.mean(2) > 0.03).all()
    assert (hidden == hidden[:, :1]).all()  # a cloud hides every band of its month


def test_missing_sensors_have_no_file() -> None:
    everything = SimulatedWorld(seed=5, n_places=60, place_px=64, missing_share=0.0)
    assert all(layer_names(everything, index, layer) for index in range(60) for layer in LAYERS)
    gone = everything.model_copy(update={"missing_share": 1.0})
    kinds = [missing_sensor(gone, index) for index in range(60)]
    assert set(kinds) == {"coherence", "s1", "s2"}
    for index, kind in enumerate(kinds):
        empty = {layer for layer in LAYERS if not layer_names(gone, index, layer)}
        assert (
            empty
            == {
                "coherence": {"s1_coherence"},
                "s1": {"s1_grd", "s1_grd_monthly"},
                "s2": {"s2_l1c", "s2_rgb_monthly", "s2_cloud"},
            }[kind]
        )


def test_land_is_varied_enough_for_every_task() -> None:
    trees, built, crops, water = [], [], [], []
    world = SimulatedWorld(seed=1)
    for index in range(0, 180, 8):
        land = make_land(world, index, "optical")
        cover = inner(land.cover)
        for image, to in (
            (inner(land.tree_share), trees),
            (inner(land.town.building), built),
            (np.isin(cover, (Cover.WINTER_CROP, Cover.SUMMER_CROP)), crops),
            (cover == Cover.WATER, water),
        ):
            to.extend(image.reshape(4, 64, 4, 64).mean((1, 3)).ravel())
    assert 0.15 < np.median(trees) < 0.45
    assert np.median(crops) > 0.1
    assert np.median(built) > 0
    assert np.median(water) > 0
