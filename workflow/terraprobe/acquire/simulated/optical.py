"""Sentinel-2 as it would see simulated land: spectra, seasons, light, haze, snow and clouds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terraprobe.acquire.simulated.land import FARMED, Cover, Land, inner
from terraprobe.acquire.simulated.shapes import TABLE, Image, fractal, soften
from terraprobe.acquire.simulated.world import SimulatedWorld, generator
from terraprobe.modalities import CLEAR, CLOUD

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
"""Band order of the simulated 13-band files."""
RGB = ("B04", "B03", "B02")

# Surface reflectance in per cent, in the order of BANDS: typical Central European spectra [D], set beside the band
# means of genuine scenes. Soil, dormant grass and bare crops are alike on purpose, and so are rock and roofs.
_SOIL = (7, 8.5, 11, 14, 16.5, 18.5, 20, 22, 24, 0, 30, 25, 23)
_DORMANT = (4.5, 6, 9, 10, 14, 19, 21, 24, 26, 0, 27, 18, 25.5)
_LEAVES = (2, 3, 6, 4, 10, 30, 37, 41, 43, 0, 20, 10, 42.5)
_DRY = {
    Cover.CONIFER: (1.6, 2.2, 3.5, 2.6, 5.5, 13, 16, 18, 19, 0, 9, 4.5, 19),
    Cover.DECIDUOUS: (2.8, 3.5, 5, 5.6, 8.5, 13, 15, 17, 18, 0, 20, 12, 18),
    Cover.YOUNG: (3.6, 4.6, 7, 7.5, 11, 16.5, 18.5, 20, 22, 0, 22, 14, 21),
    Cover.SHRUB: (4, 5, 7.5, 8.5, 12, 17, 19, 21, 22, 0, 24, 16, 22),
    Cover.GRASS: _DORMANT,
    Cover.WINTER_CROP: _SOIL,
    Cover.SUMMER_CROP: _SOIL,
    Cover.BARE: (9, 11, 13.5, 15.5, 17, 18, 19, 20, 21, 0, 26, 23, 21),
    Cover.WATER: (3.6, 4, 4.3, 3, 2.6, 2, 1.8, 1.6, 1.4, 0, 0.8, 0.6, 1.5),
    Cover.WETLAND: (3, 3.8, 5.5, 5.5, 8, 11, 12.5, 14, 15, 0, 14, 8, 15),
}
_GREEN = {
    Cover.CONIFER: (1.6, 2.3, 4.2, 2.7, 6, 16, 20, 22, 23, 0, 10, 5, 23),
    Cover.DECIDUOUS: (2, 2.6, 5, 3, 8, 27, 35, 38, 40, 0, 20, 9, 40),
    Cover.YOUNG: (2, 3, 5.6, 4, 9.5, 27, 33, 36, 38, 0, 19, 10, 38),
    Cover.SHRUB: (2.4, 3.4, 6, 5, 10, 24, 29, 32, 33, 0, 21, 12, 33),
    Cover.GRASS: _LEAVES,
    Cover.WINTER_CROP: _LEAVES,
    Cover.SUMMER_CROP: _LEAVES,
    Cover.BARE: (8, 10, 12.5, 14, 16, 19, 20, 21, 22, 0, 25, 21, 22),
    Cover.WATER: (6, 8, 10, 8.5, 7, 4.5, 4, 3.2, 2.6, 0, 1, 0.8, 3),
    Cover.WETLAND: (2.4, 3.2, 5.5, 4.5, 8.5, 19, 23, 25, 26, 0, 15, 8, 26),
}
_ASPHALT = (7.5, 8.8, 10, 11, 12, 12.5, 13, 13.5, 14, 0, 16, 15, 14)
_RED_ROOF = (6, 7.5, 10, 16.5, 19, 21, 22, 23, 24, 0, 27, 24, 24)
_GREY_ROOF = (11, 13, 14, 14.5, 15, 15.5, 16, 16.5, 17, 0, 20, 19, 17)
_SNOW = (70, 70, 68, 67, 66, 65, 64, 63, 60, 0, 10, 9, 62)
# Path radiance (per cent) and transmission of a clear sky, from genuine L1C against L2A of one Danish scene
# (TerraMesh 637U_59R, band means); cirrus band B10 sees no ground.
_PATH = (12.0, 9.0, 5.2, 3.0, 2.4, 1.6, 1.3, 1.0, 0.5, 0.12, 0.3, 0.2, 0.8)
_TRANSMISSION = (0.80, 0.85, 0.88, 0.91, 0.90, 0.91, 0.92, 0.93, 0.36, 0.0, 0.91, 0.88, 0.94)
# Of 10 m pixels; averaged to 60 m it leaves 2.5 DN, as in both packaged scenes and TerraMesh [D].
_CIRRUS_NOISE = 0.0015
_NATIVE_PX = {"B01": 6, "B09": 6, "B10": 6, "B05": 2, "B06": 2, "B07": 2, "B8A": 2, "B11": 2, "B12": 2}


@dataclass(frozen=True)
class _Scene:
    """Nuisances of one place and date: what no label depends on."""

    month: int
    green: Image
    tone: Image
    light: Image
    snow: Image
    warm_soil: float
    haze: float


def monthly_rgb(world: SimulatedWorld, index: int, land: Land) -> tuple[NDArray[np.uint16], list[str]]:
    """Monthly composites of the visible bands.

    Returns:
        DN = surface reflectance x 10,000, 0 = nodata (cloud), (3 x months, y, x); band names as "2020-01_B04".
    """
    rng = generator(world, index, "optical")
    place = _place_nuisances(rng, land)
    planes, names = [], []
    for month in world.months:
        scene = _scene(rng, land, int(month[5:]), place)
        images = [_surface(land, scene, band, rng) for band in RGB]
        images = [image + scene.haze * _PATH[BANDS.index(band)] / 100 for image, band in zip(images, RGB, strict=True)]
        hit = rng.random() < world.cloud_share
        veil, opaque = _clouds(rng, images[0].shape[0], hit)
        for band, image in zip(RGB, images, strict=True):
            planes.append(np.where(opaque, 0, _dn(image * (1 - veil) + 0.45 * veil)).astype(np.uint16))
            names.append(f"{month}_{band}")
    return np.stack(planes), names


def level1c(world: SimulatedWorld, index: int, land: Land) -> tuple[NDArray[np.uint16], list[str]]:
    """One top-of-atmosphere scene of all 13 bands in the middle month, clouds left in.

    Returns:
        DN = reflectance x 10,000, (13, y, x); band names in the order of `BANDS`.
    """
    rng, scene, veil, opaque = _level1c_sky(world, index, land)
    cloud = np.maximum(veil, 0.9 * opaque)
    planes = []
    for b, band in enumerate(BANDS):
        ground = _surface(land, scene, band, rng) * (1 - cloud) + cloud * (0.25 if band in ("B11", "B12") else 0.5)
        seen = ground * _TRANSMISSION[b] + (0.7 + scene.haze) * _PATH[b] / 100
        if band == "B10":
            noise = rng.standard_normal(seen.shape, dtype=np.float32) * np.float32(_CIRRUS_NOISE)
            seen = seen + np.float32(0.012) * opaque + noise
        planes.append(_dn(_coarsened(seen, _NATIVE_PX.get(band, 1))))
    return np.stack(planes), list(BANDS)


def level1c_cloud(world: SimulatedWorld, index: int, land: Land) -> tuple[NDArray[np.uint8], list[str]]:
    """Where an opaque cloud stands in the scene of `level1c`.

    Returns:
        Codes of the label layer `s2_cloud`, (1, y, x); the name of the band.
    """
    *_, opaque = _level1c_sky(world, index, land)
    return np.where(opaque, CLOUD, CLEAR).astype(np.uint8)[None], ["cloud"]


def _level1c_sky(
    world: SimulatedWorld, index: int, land: Land
) -> tuple[np.random.Generator, _Scene, Image, NDArray[np.bool_]]:
    """The random numbers that are left, the date, thin cloud as a share and where cloud is opaque."""
    rng = generator(world, index, "level-1c")
    month = world.months[len(world.months) // 2]
    scene = _scene(rng, land, int(month[5:]), _place_nuisances(rng, land))
    return rng, scene, *_clouds(rng, inner(land.cover).shape[0], rng.random() < world.cloud_share)


def _place_nuisances(rng: np.random.Generator, land: Land) -> tuple[float, float, float, NDArray[np.float32]]:
    """Vigour of plants, brightness and redness of soil, and a tone for each parcel."""
    vigour = float(rng.normal(0.0, 0.12) + 0.10 * land.priors.warmth + 0.04 * land.priors.wetness)
    bright = float(np.exp(rng.normal(0, 0.2) - 0.18 * land.priors.wetness + 0.08 * land.priors.warmth))
    red = float(rng.normal(0, 0.08) + 0.10 * land.priors.warmth)
    return vigour, bright, red, rng.standard_normal((4, TABLE), dtype=np.float32)


def _scene(
    rng: np.random.Generator, land: Land, month: int, place: tuple[float, float, float, NDArray[np.float32]]
) -> _Scene:
    """Draw one date: plants' state, soil, light, haze and snow."""
    vigour, bright, red, lasting = place
    # Ploughed, sown, mown: half of what tells one field from its neighbour is gone a month later [D]; in two Belgian
    # cubes (WorldCereal) red of consecutive months correlates by at most 0.96, mostly far less.
    tables = (lasting + rng.standard_normal(lasting.shape, dtype=np.float32)) / np.float32(np.sqrt(2))
    cover, key = inner(land.cover), inner(land.parcels.key)
    mottle, blotch = inner(land.mottle), inner(land.blotch)
    vigour += float(rng.normal(0, 0.07))
    season = np.zeros(len(Cover), np.float32)
    for kind, value in _greenness(month).items():
        season[kind] = value
    # Parcels spread as much as the blotches of grass and young trees do: one pixel's colour tells them apart badly.
    fields = np.isin(cover, FARMED)
    spread = np.where(fields, 0.17 * tables[0][key], 0.10 * blotch + 0.06 * mottle)
    grassy = (cover == Cover.GRASS) | (cover == Cover.SHRUB) | (cover == Cover.YOUNG)
    green = season[cover] + vigour + spread + grassy * (0.05 * blotch + 0.07 * mottle)
    silt = float(rng.uniform(0, 0.9))  # how turbid the water is
    green = np.where(cover == Cover.WATER, silt + 0.08 * blotch, green)
    texture = np.zeros(len(Cover), np.float32)
    texture[[Cover.CONIFER, Cover.DECIDUOUS, Cover.YOUNG, Cover.SHRUB]] = 0.15, 0.11, 0.12, 0.10
    texture[[Cover.GRASS, Cover.BARE, Cover.WATER, Cover.WETLAND]] = 0.03, 0.20, 0.015, 0.08
    texture[[Cover.WINTER_CROP, Cover.SUMMER_CROP]] = 0.02
    tone = 1 + texture[cover] * mottle + 0.08 * inner(land.rows) * (0.5 + 0.5 * (tables[1][key] > 0))
    damp = float(rng.uniform(0.05, 0.3))
    soil = np.where(
        (cover <= Cover.YOUNG) | (cover == Cover.BARE), 1.0, bright * np.exp(0.13 * tables[2][key] * fields)
    )
    tone = tone * np.where(cover == Cover.WATER, 1.0, soil * (1 - damp * inner(land.wet)))
    sun = rng.uniform(2.5, 3.4)  # azimuth from north, radians: before to after noon
    rise = inner(land.rise)
    shade = np.clip(1 + 0.55 * (rise[0] * np.sin(sun) - rise[1] * np.cos(sun)) * -1, 0.6, 1.35)
    light = shade * float(np.exp(rng.normal(0, 0.10)))
    snow = _snow(rng, land, month, blotch)
    haze = float(rng.gamma(1.6, 0.07))
    return _Scene(month, np.clip(green, 0, 1), tone, light.astype(np.float32), snow, red, haze)


def _greenness(month: int) -> dict[Cover, float]:
    """Share of green leaves over soil or litter in a calendar month (northern temperate seasons) [D]."""
    summer = 0.5 - 0.5 * np.cos(2 * np.pi * (month - 1) / 12)
    winter_crop = (0.38, 0.42, 0.5, 0.75, 0.9, 0.6, 0.1, 0.08, 0.08, 0.15, 0.28, 0.35)[month - 1]
    summer_crop = (0.1, 0.1, 0.08, 0.1, 0.3, 0.7, 0.9, 0.85, 0.5, 0.2, 0.12, 0.1)[month - 1]
    grass = 0.38 + 0.4 * summer
    return {
        Cover.CONIFER: 0.3 + 0.5 * summer,
        Cover.DECIDUOUS: 0.1 + 0.8 * summer,
        Cover.YOUNG: grass,
        Cover.SHRUB: 0.3 + 0.4 * summer,
        Cover.GRASS: grass,
        Cover.WINTER_CROP: winter_crop,
        Cover.SUMMER_CROP: summer_crop,
        Cover.BARE: 0.1,
        Cover.WETLAND: 0.2 + 0.6 * summer,
    }


def _snow(rng: np.random.Generator, land: Land, month: int, blotch: Image) -> Image:
    """Share of each pixel under snow: patches on open ground in cold months."""
    mean_c = land.priors.winter_c + (0, 0.5, 3.5, 8, 12, 15, 17, 16, 12.5, 8, 3.5, 1)[month - 1]
    depth = float(rng.normal(-mean_c - 3.5, 1.0))
    if depth <= 0:
        return np.zeros(blotch.shape, np.float32)
    open_ground = (1 - 0.85 * inner(land.tree_share)) * (inner(land.cover) != Cover.WATER)
    return np.asarray(np.clip(0.3 * depth + 0.3 * blotch, 0, 0.9) * open_ground, np.float32)


def _surface(land: Land, scene: _Scene, band: str, rng: np.random.Generator) -> Image:
    """Surface reflectance of one band under this date's light, (y, x)."""
    b = BANDS.index(band)
    cover = inner(land.cover)
    dry = np.array([_DRY[kind][b] for kind in Cover], np.float32)
    rest = np.array([_GREEN[kind][b] for kind in Cover], np.float32) - dry
    dry[[Cover.BARE, Cover.WINTER_CROP, Cover.SUMMER_CROP]] *= 1 + scene.warm_soil * (b - 3) / 3 * (b <= 4)
    image = (dry[cover] + scene.green * rest[cover]) * scene.tone
    sealed, building = inner(land.town.sealed), inner(land.town.building)
    image = image * (1 - sealed) + _ASPHALT[b] * sealed
    image = image * (1 - building) + _roofs(land, b) * building
    image = image * (1 - scene.snow) + _SNOW[b] * scene.snow
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.08)
    return soften((image * scene.light + noise).astype(np.float32)) / np.float32(100)


def _roofs(land: Land, b: int) -> Image:
    """Reflectance of each house: a mix of tile and grey, some of them bright, the same at every date."""
    rng = np.random.Generator(np.random.PCG64(7))
    mix, bright = rng.random(TABLE, dtype=np.float32), np.exp(rng.normal(0, 0.35, TABLE)).astype(np.float32)
    table = (_RED_ROOF[b] * mix + _GREY_ROOF[b] * (1 - mix)) * bright
    return np.asarray(table[inner(land.town.roof)], np.float32)


def _clouds(rng: np.random.Generator, n: int, hit: bool) -> tuple[Image, NDArray[np.bool_]]:
    """Thin cloud as a share, and where cloud is opaque, (n, n)."""
    if not hit:
        return np.zeros((n, n), np.float32), np.zeros((n, n), bool)
    noise = fractal(rng, n, 1.7)
    threshold = float(np.quantile(noise[::3, ::3], 1 - min(float(rng.uniform(0.1, 1.1)), 1.0)))
    veil = np.clip((noise - threshold + 0.7) / 0.7, 0, 1) ** 2 * float(rng.uniform(0.05, 0.3))
    return veil.astype(np.float32), noise > threshold


def _coarsened(image: Image, factor: int) -> Image:
    """Means over blocks of `factor` pixels, repeated: a coarser band on the 10 m grid."""
    if factor == 1:
        return image
    n = image.shape[0]
    pad = -n % factor
    blocks = np.pad(image, (0, pad), mode="edge").reshape((n + pad) // factor, factor, (n + pad) // factor, factor)
    return np.repeat(np.repeat(blocks.mean((1, 3)), factor, 0), factor, 1)[:n, :n].astype(np.float32)


def _dn(reflectance: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Reflectance to DN; 0 is kept for nodata."""
    return np.clip(np.round(reflectance * 10_000), 1, 20_000).astype(np.uint16)
