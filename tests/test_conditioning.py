"""What enters as context: a chip's own climate, and the controls."""

import geopandas as gpd
import numpy as np
import pytest
import torch
from shapely.geometry import box

from pretraining import TINY_SUPERVISED, add_classes, make_optical, pretrain, specs
from terraprobe.artifacts import read_json, read_table, write_table
from terraprobe.collections.chiptable import CONTEXT
from terraprobe.conditioning import ContextScale, Places, context_names, fit_context
from terraprobe.encoders import Encoder
from terraprobe.errors import TerraprobeError
from terraprobe.land import Land
from terraprobe.normalisation import TowerInput
from terraprobe.pool import ChipPool


def places(seed=0):
    """60 chips in two splits and two regions; chip 3 lacks a value."""
    climate = np.random.default_rng(seed).random((60, 20))
    climate[3, 4] = np.nan
    table = gpd.GeoDataFrame(
        {
            "chip_id": [f"c{k}" for k in range(60)],
            "split": np.repeat(["train", "test"], 30),
            "region": np.tile(["alpine", "boreal"], 30),
        },
        geometry=[box(k, 10, k + 1, 11) for k in range(60)],
        crs=4326,
    )
    return Places(table, climate)


def known(here):
    """Whether all values of each chip's climate are known."""
    return np.isfinite(here.climate).all(axis=1)


def scale(kind, seed=7, **other):
    names = context_names(kind)
    return ContextScale(names, (0.0,) * len(names), (1.0,) * len(names), kind, seed, **other)


def test_real_context_is_a_chips_own():
    here = places()
    assert scale("real").enter(here) is here.climate


def test_shuffled_context_is_that_of_another_chip_of_the_split():
    here = places()
    entering = scale("shuffled").enter(here)
    for part in ("train", "test"):
        rows = known(here) & (here.table["split"] == part).to_numpy()
        assert sorted(entering[rows, 0]) == sorted(here.climate[rows, 0])
        assert (entering[rows, 0] != here.climate[rows, 0]).mean() > 0.8
        assert all(row in here.climate[rows].tolist() for row in entering[rows].tolist())  # whole rows


def test_region_context_is_the_mean_of_the_train_chips_of_the_region():
    here = places()
    means = {"alpine": [1.0] * 20, "": [5.0] * 20}
    entering = scale("region", means=means).enter(here)
    assert (entering[known(here) & (here.regions == "alpine")] == 1).all()
    assert (entering[known(here) & (here.regions == "boreal")] == 5).all()  # no train chip: the mean of all


def test_without_elevation_the_other_19_values_enter_and_count():
    here = places()
    here.climate[:, 19] = np.nan
    for kind, count in {"real": 19, "shuffled": 19, "noise": 19, "coordinates": 3}.items():
        assert np.isnan(scale(kind).enter(here)).any(axis=1).all()
        names = context_names(kind, elevation=False)
        entering = ContextScale(names, (0.0,) * count, (1.0,) * count, kind, elevation=False).enter(here)
        assert entering.shape == (60, len(names)) == (60, count)
        assert np.flatnonzero(np.isnan(entering).any(axis=1)).tolist() == [3]


def test_coordinates_are_points_on_the_unit_sphere():
    entering = scale("coordinates").enter(places())
    lon, lat = np.radians(20.5), np.radians(10.5)
    assert entering[20].tolist() == pytest.approx([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    assert entering.shape == (60, 3)


def test_noise_is_of_the_chip_whatever_the_order():
    here = places()
    entering = scale("noise").enter(here)
    turned = Places(here.table.iloc[::-1], here.climate[::-1])
    assert np.array_equal(scale("noise").enter(turned)[::-1], entering, equal_nan=True)
    assert abs(np.nanmean(entering)) < 0.1 and np.nanstd(entering) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ["shuffled", "noise"])
def test_seeds_differ(kind):
    one, two, again = (scale(kind, seed).enter(places()) for seed in (1, 2, 1))
    assert np.array_equal(one, again, equal_nan=True)
    assert not np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize("kind", ["shuffled", "region", "coordinates", "noise"])
def test_where_climate_is_not_known_nothing_enters(kind):
    entering = scale(kind, means={"": [0.0] * 20} if kind == "region" else None).enter(places())
    assert np.flatnonzero(np.isnan(entering).any(axis=1)).tolist() == [3]


def make_land(folder):
    add_classes(make_optical(folder))
    table = read_table(folder / "chips.parquet")
    write_table(folder / "chips.parquet", table.assign(region=np.where(np.arange(len(table)) % 2, "alpine", "boreal")))
    return folder


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_land(tmp_path_factory.mktemp("conditioning") / "land")


@pytest.mark.parametrize("kind", ["real", "region", "noise"])
def test_an_encoder_trains_where_no_elevation_is_known(tmp_path, kind):
    torch.set_num_threads(1)
    land = make_land(tmp_path / "land")
    context = read_table(land / "context.parquet")
    write_table(land / "context.parquet", context.assign(elevation=np.nan))
    options = {"method": "bioclim_supervised", "conditioning": "cbn", "context": kind, "epochs": 1}
    with pytest.raises(TerraprobeError, match=r"has all 20 values of the context \(elevation is known for 0 of 24\)"):
        pretrain(land, tmp_path / "with", **options)
    encoder = pretrain(land, tmp_path / "without", elevation=False, **options)
    sealed = TowerInput.from_card(read_json(encoder / "card.json")["towers"]["s2"])
    assert len(sealed.context.names) == 19 and not sealed.context.elevation
    usable = Land.open("land", land / "chips.parquet", specs(land), [land / "context.parquet"]).usable(
        Encoder.load(encoder)
    )
    assert usable["s2"].sum() == 38  # chip 1 lacks a band, chip 2 a value


@pytest.mark.parametrize("kind", ["shuffled", "region", "coordinates", "noise"])
def test_each_kind_trains_and_means_the_same_in_training_and_after(land, tmp_path, kind):
    torch.set_num_threads(1)
    options = {"conditioning": "cbn", "context": kind, "epochs": 1}
    card = read_json(pretrain(land, tmp_path, method="bioclim_supervised", **options) / "card.json")
    sealed = TowerInput.from_card(card["towers"]["s2"])
    assert sealed.context.names == context_names(kind)
    pool = ChipPool([land / "chips.parquet"], specs(land), [land / "context.parquet"])
    after = Land.open("land", land / "chips.parquet", specs(land), [land / "context.parquet"]).entering(sealed)
    assert np.array_equal(pool.entering(sealed.context), after, equal_nan=True)
    train = (pool.split == "train") & np.isfinite(after).all(axis=1)
    scaled = sealed.context.scale(after[train])
    assert (scaled.min(), scaled.max()) == (0, pytest.approx(1))
    assert TINY_SUPERVISED["classes"] == card["classes"]


def test_region_means_are_of_train_chips_alone(land):
    pool = ChipPool([land / "chips.parquet"], specs(land), [land / "context.parquet"])
    fitted = fit_context(pool, np.flatnonzero(pool.split == "train"), "region")
    regions = read_table(land / "chips.parquet")["region"].to_numpy()
    rows = (regions == "alpine") & (pool.split == "train") & np.isfinite(pool.context).all(axis=1)
    assert fitted.means["alpine"] == pytest.approx(pool.context[rows].mean(axis=0).tolist())
    assert fitted.names == CONTEXT
