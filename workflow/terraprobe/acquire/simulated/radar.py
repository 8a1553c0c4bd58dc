"""Sentinel-1 as it would see simulated land: backscatter with speckle, and interferometric coherence."""

import numpy as np
from numpy.typing import NDArray

from terraprobe.acquire.simulated.land import FARMED, Cover, Land, inner
from terraprobe.acquire.simulated.shapes import TABLE, Image, soften
from terraprobe.acquire.simulated.world import Pair, SimulatedWorld, generator

# Backscatter (VV, VH) in dB at 38 degrees and coherence (at zero days, days to fall to 1/e) by cover [D]; the dB
# values lie within the class means ± SD of four genuine scenes (TerraMesh) and of BigEarthNet-S1.
_BACKSCATTER_DB = {
    Cover.CONIFER: (-9.4, -15.3),
    Cover.DECIDUOUS: (-10.0, -15.9),
    Cover.YOUNG: (-10.9, -17.3),
    Cover.SHRUB: (-11.0, -17.2),
    Cover.GRASS: (-11.7, -18.3),
    Cover.WINTER_CROP: (-11.7, -18.9),
    Cover.SUMMER_CROP: (-11.4, -19.4),
    Cover.BARE: (-10.6, -18.4),
    Cover.WATER: (-18.5, -25.5),
    Cover.WETLAND: (-11.0, -18.3),
}
_COHERENCE = {
    Cover.CONIFER: (0.30, 10.0),
    Cover.DECIDUOUS: (0.36, 16.0),
    Cover.YOUNG: (0.45, 25.0),
    Cover.SHRUB: (0.60, 55.0),
    Cover.GRASS: (0.68, 50.0),
    Cover.WINTER_CROP: (0.66, 45.0),
    Cover.SUMMER_CROP: (0.76, 60.0),
    Cover.BARE: (0.85, 150.0),
    Cover.WATER: (0.02, 5.0),
    Cover.WETLAND: (0.45, 25.0),
}
# Equivalent looks of a scene on its 10 m grid [D]: 4.4 in ESA's product definition, and what terrain correction's
# resampling adds. Homogeneous squares then have those of TerraMesh and BigEarthNet-S1 (docs/simulator.md).
_LOOKS = 5.5
# The resolution is some 20 m: a pixel shares speckle with its neighbours. Softening (1 4 1) / 6 twice along both axes
# multiplies looks by 1 / Σ weights², and gives the variogram at 10 m of the same scenes.
_SOFTENED_LOOKS = (36**2 / (1 + 8**2 + 18**2 + 8**2 + 1)) ** 2
_SCENES_A_MONTH = 3  # one satellite every 12 days; the looks of WorldCereal's monthly composites agree [D]
_STEPS = 128  # a dB is divided into so many steps: far below speckle, and files are a third smaller
_COHERENCE_FLOOR = 0.08  # what estimating from few looks leaves where there is none
_SOFT = (Cover.SHRUB, Cover.GRASS, Cover.WINTER_CROP, Cover.SUMMER_CROP, Cover.BARE)


def monthly_backscatter(world: SimulatedWorld, index: int, land: Land) -> tuple[NDArray[np.float32], list[str]]:
    """Monthly means of backscatter.

    Returns:
        dB, float32, (3 x months, y, x); band names as "2020-01_VV", "2020-01_VH", "2020-01_VV-VH".
    """
    rng = generator(world, index, "radar")
    place = _place_nuisances(rng)
    planes, names = [], []
    for month in world.months:
        vv, vh = _backscatter(rng, land, place, _LOOKS * _SCENES_A_MONTH)
        planes += [vv, vh, vv - vh]
        names += [f"{month}_{band}" for band in ("VV", "VH", "VV-VH")]
    return np.stack(planes), names


def backscatter(world: SimulatedWorld, index: int, land: Land) -> tuple[NDArray[np.float32], list[str]]:
    """One GRD scene: VV and VH in dB, float32, (2, y, x), and their names."""
    rng = generator(world, index, "radar scene")
    return np.stack(_backscatter(rng, land, _place_nuisances(rng), _LOOKS)), ["VV", "VH"]


def coherence(world: SimulatedWorld, index: int, land: Land, pair: Pair) -> Image:
    """Coherence of one pair at 10 m, margin included, before it is averaged to the product's grid, (n, n)."""
    rng = generator(world, index, f"coherence {pair.later} {pair.earlier}")
    weather = float(np.exp(-abs(rng.normal(0, 0.25))))
    base = np.array([_COHERENCE[kind][0] for kind in Cover], np.float32)
    days = np.array([_COHERENCE[kind][1] for kind in Cover], np.float32)
    plants = np.array([kind not in (Cover.BARE, Cover.WATER) for kind in Cover])
    stable = base * np.exp(-pair.days / days) * np.where(plants, weather, 1)
    image = stable[land.cover]
    table = rng.random((2, TABLE), dtype=np.float32)
    fields = np.isin(land.cover, FARMED)
    image = image * np.where(fields, 0.7 + 0.6 * table[0][land.parcels.key], 1)
    crops = fields & (land.cover != Cover.GRASS)
    worked = crops & (table[1][land.parcels.key] < 1 - np.exp(-pair.days / 90))  # tilled between the two dates
    image = np.where(worked, 0.05, image)
    hard = np.minimum(1.6 * land.town.building + 0.5 * land.town.sealed, 1)
    image = image * (1 - hard) + 0.9 * float(np.exp(-pair.days / 400)) * hard
    return np.asarray(np.clip(np.hypot(image, _COHERENCE_FLOOR), 0, 0.98), np.float32)


def coherence_noise(world: SimulatedWorld, index: int, pair: Pair, mean: Image, looks: float = 32.0) -> Image:
    """An estimate of coherence from a cell's mean: Cramér-Rao spread (1 - γ²) / sqrt(2 looks), within (0, 1)."""
    rng = generator(world, index, f"estimate {pair.later} {pair.earlier}")
    spread = (1 - mean**2) / np.sqrt(2 * looks)
    noisy = mean + spread * rng.standard_normal(mean.shape, dtype=np.float32)
    return np.asarray(np.clip(noisy, 0.01, 0.99), np.float32)


def _place_nuisances(rng: np.random.Generator) -> tuple[float, float, NDArray[np.float32]]:
    """Incidence angle in degrees, look direction in radians, and a roughness for each parcel in dB."""
    look = float(rng.choice([1.74, 4.54]) + rng.normal(0, 0.05))  # descending or ascending, looking right
    return float(rng.uniform(31, 45)), look, rng.normal(0, 1.0, TABLE).astype(np.float32)


def _backscatter(
    rng: np.random.Generator, land: Land, place: tuple[float, float, NDArray[np.float32]], looks: float
) -> tuple[Image, Image]:
    """VV and VH in dB at one date, (y, x)."""
    incidence, look, roughness = place
    cover, key = inner(land.cover), inner(land.parcels.key)
    moisture, wind = float(rng.normal(0, 1.2)), float(rng.uniform(-2.5, 7.5))
    canopy = float(rng.normal(0, 0.8))  # wet or frozen crowns
    tilled = rng.normal(0, 1.1, TABLE).astype(np.float32)
    soft = np.isin(cover, _SOFT)
    fields = np.isin(cover, FARMED)
    crops = fields & (cover != Cover.GRASS)
    # Grass varies within a field as much as crops vary between fields.
    local = fields * roughness[key] + crops * tilled[key] + 0.35 * inner(land.rows)
    local = local + np.where(cover == Cover.GRASS, 0.7 * inner(land.blotch) + 0.5 * inner(land.mottle), 0)
    local = local + np.where(cover == Cover.BARE, 2.2 * inner(land.mottle) + 0.8 * inner(land.blotch), 0)
    local = local + np.where(cover <= Cover.YOUNG, 0.6 * inner(land.mottle) + canopy, 0) + soft * moisture
    rise = inner(land.rise)
    tilt = np.clip(6 * (rise[0] * np.sin(look) - rise[1] * np.cos(look)), -3, 3)
    local = local + tilt - 0.12 * (incidence - 38) + np.where(cover == Cover.WATER, -tilt, 0)
    corner, strength = _double_bounce(land, look)
    images = []
    volume = float(rng.normal(0, 0.9))  # how much low plants depolarise, this month
    for pol, (share, bounce) in enumerate(((1.0, 5.5), (0.85, -2.5))):
        mean = np.array([_BACKSCATTER_DB[kind][pol] for kind in Cover], np.float32)
        mean[Cover.WATER] += wind * (1.0, 0.35)[pol]
        power = _power(mean[cover] + share * local + pol * volume * soft)
        sealed = inner(land.town.sealed)
        power = power * (1 - sealed) + sealed * _power((-15.5, -23.0)[pol])
        power = power + corner * _power(bounce + strength)
        drawn = np.float32(looks / _SOFTENED_LOOKS)
        speckle = rng.standard_gamma(drawn, power.shape, dtype=np.float32) / drawn
        decibel = 10 * np.log10(soften(soften(power * speckle)))
        images.append((np.round(decibel * _STEPS) / _STEPS).astype(np.float32))
    return images[0], images[1]


def _double_bounce(land: Land, look: float) -> tuple[Image, Image]:
    """Share of each pixel under walls, and how bright they are in dB: walls across the look direction shine."""
    rng = np.random.Generator(np.random.PCG64(11))
    house_db = rng.normal(-3, 3.5, TABLE).astype(np.float32)
    facing = np.cos(2 * (inner(land.town.angle) - look)) ** 2
    return inner(land.town.building), house_db[inner(land.town.roof)] + 5 * facing - 4


def _power(decibel: NDArray[np.floating] | float) -> Image:
    return np.asarray(np.float32(10) ** (np.asarray(decibel, np.float32) / np.float32(10)), np.float32)
