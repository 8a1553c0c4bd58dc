"""Climate, regions and class priors of a simulated Earth: smooth fields over longitude and latitude."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terraprobe.acquire.simulated.world import SimulatedWorld, generator

Field = NDArray[np.float64]

REGIONS = ("alpine", "atlantic", "boreal", "continental", "mediterranean")
CLIMATE_NAMES = (*(f"bio{i:02d}" for i in range(1, 20)), "elevation")
_EARTH_KM = 6371.0
_WAVES = 128  # random cosines in a smooth field: enough for it to be close to Gaussian
_CLIMATE_KM = 260.0
_MOUNTAIN_KM = 110.0
_WORLD = 2**32 - 1  # stands where the index of a place stands: fields belong to the world


@dataclass(frozen=True)
class Climate:
    """Climate at some points.

    Attributes:
        temperature_c: monthly means, (12, ...).
        minimum_c: monthly means of the daily minimum, (12, ...).
        maximum_c: monthly means of the daily maximum, (12, ...).
        rain_mm: monthly sums, (12, ...).
        elevation_m: above the sea, (...).
        continentality: 0 at the ocean, 1 far inland, (...).
    """

    temperature_c: Field
    minimum_c: Field
    maximum_c: Field
    rain_mm: Field
    elevation_m: Field
    continentality: Field


@dataclass(frozen=True)
class Priors:
    """What a place is likely to be made of.

    Attributes:
        forest: share of land under forest.
        farmed: share of land in parcels.
        crop: share of parcels under crops, the others are grass.
        urban: relative size of settlements, 1 = usual.
        water: relative amount of water, 1 = usual.
        bare: share of unfarmed open land that is rock or sand.
        conifer: share of forest that is evergreen.
        warmth: mean annual temperature, in units of 4 K above 10 °C; what shifts spectra.
        wetness: annual rain, in units of 300 mm above 750 mm; what shifts spectra.
        winter_c: mean temperature of the coldest month.
        relief: height of the hills, 1 = usual.
    """

    forest: float
    farmed: float
    crop: float
    urban: float
    water: float
    bare: float
    conifer: float
    warmth: float
    wetness: float
    winter_c: float
    relief: float


def smooth_field(world: SimulatedWorld, purpose: str, lon: Field, lat: Field, length_km: float) -> Field:
    """Gaussian random field with correlation exp(-d² / (2 length_km²)), zero mean, unit variance.

    Args:
        world: whose field.
        purpose: names the field; two purposes are independent.
        lon: degrees, any shape.
        lat: degrees, same shape.
        length_km: correlation length.
    """
    rng = generator(world, _WORLD, purpose)
    waves = rng.standard_normal((_WAVES, 3)) / length_km
    phases = rng.uniform(0, 2 * np.pi, _WAVES)
    lam, phi = np.radians(lon), np.radians(lat)
    x, y = _EARTH_KM * np.cos(phi) * np.cos(lam), _EARTH_KM * np.cos(phi) * np.sin(lam)
    z = _EARTH_KM * np.sin(phi)
    total = np.zeros_like(x)
    # One wave after another: a matrix product would depend on the linear algebra library's threads.
    for (kx, ky, kz), phase in zip(waves, phases, strict=True):
        total += np.cos(kx * x + ky * y + kz * z + phase)
    return np.asarray(total * np.sqrt(2 / _WAVES))


def climate_at(world: SimulatedWorld, lon: Field, lat: Field) -> Climate:
    """Climate at points (lon, lat) in degrees: warm south, cold north, ocean in the west, a few mountain ranges."""
    west, south, east, north = world.bbox
    northness = (lat - south) / (north - south)
    inland = (lon - west) / (east - west)
    fields = [smooth_field(world, f"climate {name}", lon, lat, _CLIMATE_KM) for name in "abc"]
    mountains = smooth_field(world, "mountains", lon, lat, _MOUNTAIN_KM)
    elevation = 40 + 110 * np.exp(0.6 * fields[2]) + np.minimum(1500 * np.clip(mountains - 0.75, 0, None) ** 1.1, 2400)
    continentality = np.clip(0.1 + 0.8 * inland + 0.18 * fields[0], 0, 1)
    mean = 15.5 - 10.0 * northness + 1.0 * fields[1] - 0.0055 * elevation
    swing = 5.5 + 7.5 * continentality
    dryness = np.clip(1.1 - 2.4 * northness + 0.25 * fields[0], 0, 1)  # of the summer, as around a warm sea
    annual = 720 * np.exp(0.22 * fields[2] - 0.45 * (continentality - 0.5) - 0.25 * dryness) + 0.35 * elevation
    season = 0.75 * dryness - 0.4 * continentality * (1 - dryness)
    months = np.arange(12).reshape(12, *([1] * lon.ndim))
    wave = np.cos(2 * np.pi * (months - 0.5) / 12)  # coldest in the middle of January
    temperature = mean - swing * wave
    spread = 3.0 + 2.0 * dryness + 1.2 * continentality - 0.6 * wave
    rain = annual / 12 * np.clip(1 + season * np.cos(2 * np.pi * (months + 0.3) / 12), 0.03, None)
    return Climate(temperature, temperature - spread, temperature + spread, rain, elevation, continentality)


def bioclim(climate: Climate) -> Field:
    """WorldClim's nineteen variables and elevation, (20, ...), in WorldClim 2.1 units.

    Definitions: O'Donnell & Ignizio 2012 (USGS Data Series 691), as WorldClim uses them; quarters are any three
    consecutive months, also across the turn of the year.
    """
    t, rain = climate.temperature_c, climate.rain_mm
    quarter_t = (t + np.roll(t, -1, 0) + np.roll(t, -2, 0)) / 3
    quarter_rain = rain + np.roll(rain, -1, 0) + np.roll(rain, -2, 0)
    warmest, coldest = quarter_t.argmax(0), quarter_t.argmin(0)
    wettest, driest = quarter_rain.argmax(0), quarter_rain.argmin(0)
    diurnal = (climate.maximum_c - climate.minimum_c).mean(0)
    hottest, chilliest = climate.maximum_c.max(0), climate.minimum_c.min(0)
    return np.stack(
        [
            t.mean(0),
            diurnal,
            100 * diurnal / (hottest - chilliest),
            100 * t.std(0, ddof=1),
            hottest,
            chilliest,
            hottest - chilliest,
            _pick(quarter_t, wettest),
            _pick(quarter_t, driest),
            _pick(quarter_t, warmest),
            _pick(quarter_t, coldest),
            rain.sum(0),
            rain.max(0),
            rain.min(0),
            100 * rain.std(0, ddof=1) / (1 + rain.mean(0)),  # the 1 avoids a division by zero in deserts
            _pick(quarter_rain, wettest),
            _pick(quarter_rain, driest),
            _pick(quarter_rain, warmest),
            _pick(quarter_rain, coldest),
            climate.elevation_m,
        ]
    )


def region_codes(climate: Climate) -> NDArray[np.uint8]:
    """Index into `REGIONS` at each point: mountains first, then cold, summer-dry, oceanic, and the rest."""
    mean = climate.temperature_c.mean(0)
    rain = climate.rain_mm
    summer_dry = rain[5:8].sum(0) < 0.55 * (rain[[11, 0, 1]].sum(0))
    codes = np.full(mean.shape, REGIONS.index("continental"))
    codes[climate.continentality < 0.42] = REGIONS.index("atlantic")
    codes[summer_dry & (mean > 10)] = REGIONS.index("mediterranean")
    codes[mean < 6.3] = REGIONS.index("boreal")
    codes[climate.elevation_m > 800] = REGIONS.index("alpine")
    return codes.astype(np.uint8)


def priors_at(world: SimulatedWorld, lon: float, lat: float) -> Priors:
    """Priors of a place at (lon, lat) in degrees, before its own random part.

    With `prior_shift` they follow the climate; with `covariate_shift` so do the spectra's drivers. The fields with
    length `autocorrelation_km` act always.
    """
    x, y = np.array(lon), np.array(lat)
    climate = climate_at(world, x, y)
    warmth = float(climate.temperature_c.mean() - 10) / 4
    wetness = float(climate.rain_mm.sum() - 750) / 300
    inland = float(climate.continentality) - 0.5
    height = min(float(climate.elevation_m) / 1000, 2.0)
    f = [float(smooth_field(world, f"prior {i}", x, y, world.autocorrelation_km)) for i in range(6)]
    s, c = 2 * world.prior_shift, world.covariate_shift
    return Priors(
        forest=_share(-0.7 + 0.5 * f[0] + s * (0.35 * wetness - 0.25 * warmth + 0.3 * height)),
        farmed=_share(1.5 + 0.6 * f[1] + s * (0.35 * warmth - 0.8 * height)),
        crop=_share(0.5 + 0.7 * f[2] + s * (0.9 * inland - 0.5 * wetness + 0.2 * warmth)),
        urban=float(np.exp(0.4 * f[3] + s * (-0.35 * height - 0.3 * inland))),
        water=float(np.exp(0.35 * f[4] + s * (0.15 * wetness - 0.2 * warmth))),
        bare=_share(-1.9 + 0.4 * f[5] + s * (0.6 * height + 0.4 * max(warmth, 0) - 0.3 * wetness)),
        conifer=_share(0.2 + 0.5 * f[5] + s * (-0.5 * warmth + 0.5 * height)),
        warmth=c * warmth,
        wetness=c * wetness,
        winter_c=2.0 + c * (float(climate.temperature_c.min()) - 2.0),
        relief=0.5 + 1.5 * height,
    )


def _pick(quarters: Field, month: NDArray[np.intp]) -> Field:
    return np.asarray(np.take_along_axis(quarters, month[None], 0)[0])


def _share(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))
