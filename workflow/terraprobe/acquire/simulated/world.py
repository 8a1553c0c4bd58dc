"""What a simulated Earth is made of, and which files it will consist of, computed from its settings alone.

Nothing heavy is imported here: Snakemake asks for file names while it reads the rules.
"""

import hashlib
import math
from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from terraprobe.errors import TerraprobeError
from terraprobe.stage import Recipe

LAYERS = (
    "s2_rgb_monthly", "s2_l1c", "s1_grd_monthly", "s1_grd", "s1_coherence", "worldcover", "mod44b", "ghs_built",
    "s2_cloud",
)  # fmt: skip
"""What can be simulated at a place: five modalities, three label rasters, and where cloud hides the ground."""

KM_PER_DEGREE = 111.195  # mean Earth radius 6371.0 km
PIXEL_M = 10.0
MAX_PLACES = 20_000
"""More would need more times of a day in the names of their interferometric products."""
_GAP_KM = 3.0  # around each place: its label rasters and GUNW products reach over its edges
_WEEKS_APART_DAYS = (12, 24, 36, 48)  # Sentinel-1 repeat of one satellite; at most 48 days [P] methods.md, clip3

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class SimulatedWorld(Recipe):
    """A simulated Earth: scattered places on real coordinates, whose land nobody has ever seen.

    Attributes:
        seed: everything follows from it; equal worlds have equal bytes.
        n_places: how many places, each with one stack of rasters.
        place_px: side of a place in pixels of 10 m, a multiple of 8.
        bbox: west, south, east, north in degrees; the climate spans its range within this box.
        months: calendar months of the monthly composites, as "2020-01"; three for the monthly modalities.
        prior_shift: 0 = every region draws its land cover from the same priors; 1 = they follow the climate.
        covariate_shift: 0 = one class looks the same everywhere; 1 = its spectrum follows the climate.
        autocorrelation_km: distance at which the correlation of the smooth fields behind the priors falls to
            exp(-1/2); neighbours within it are alike, which a leakage audit should find.
        cloud_share: share of the months of Sentinel-2 that clouds touch; cloud is nodata, its edges stay hazy.
        missing_share: share of places that lack one sensor altogether (coherence most often); at half as many
            others the coherence ends within the place, at the edge of a radar frame.
        null_world: optical, radar and coherence of a place show unrelated land covers; labels fit the optical.
    """

    seed: int = Field(0, ge=0, lt=2**63)
    n_places: int = Field(180, ge=1, le=MAX_PLACES)
    place_px: int = Field(256, ge=64, le=1024, multiple_of=8)
    bbox: tuple[float, float, float, float] = (0.0, 42.0, 24.0, 56.0)
    months: tuple[str, ...] = ("2020-01", "2020-02", "2020-03")
    prior_shift: Share = 0.5
    covariate_shift: Share = 0.5
    autocorrelation_km: float = Field(200.0, ge=5.0, le=2000.0)
    cloud_share: Share = 0.25
    missing_share: Share = 0.1
    null_world: bool = False

    @field_validator("bbox")
    @classmethod
    def _bbox_on_earth(cls, bbox: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        west, south, east, north = bbox
        if not (-180 <= west < east <= 180 and -72 <= south < north <= 72):
            raise ValueError(f"bbox {bbox}: must be west < east within ±180, south < north within ±72 degrees")
        return bbox

    @field_validator("months")
    @classmethod
    def _months_in_order(cls, months: tuple[str, ...]) -> tuple[str, ...]:
        for month in months:
            if len(month) != 7 or month[4] != "-" or not (month[:4] + month[5:]).isdigit():
                raise ValueError(f"months: {month!r} is not of the form '2020-01'")
            if not 1 <= int(month[5:]) <= 12 or not 2000 <= int(month[:4]) <= 2100:
                raise ValueError(f"months: {month!r} is not a calendar month of 2000..2100")
        if not months or any(a >= b for a, b in pairwise(months)):
            raise ValueError(f"months {months}: name at least one, in order of time, none twice")
        return months

    @model_validator(mode="after")
    def _places_fit(self) -> "SimulatedWorld":
        columns, rows = _lattice(self)
        width, height = _cell_km(self, columns, rows)
        needed = self.place_px * PIXEL_M / 1000 + _GAP_KM
        if min(width, height) < needed:
            raise ValueError(
                f"n_places {self.n_places} of {self.place_px} px do not fit bbox {self.bbox}: a lattice cell is "
                f"{width:.1f} x {height:.1f} km and must be at least {needed:.1f} km. Take fewer or a larger bbox."
            )
        return self


class PlacesRecipe(Recipe):
    """Which places of a world to simulate, and what of them.

    Attributes:
        world: the simulated Earth.
        places: indices of places, 0 to n_places - 1.
        layers: of `LAYERS`; their files are written in this order.
    """

    world: SimulatedWorld
    places: tuple[int, ...] = Field(min_length=1)
    layers: tuple[
        Literal[
            "s2_rgb_monthly",
            "s2_l1c",
            "s1_grd_monthly",
            "s1_grd",
            "s1_coherence",
            "worldcover",
            "mod44b",
            "ghs_built",
            "s2_cloud",
        ],
        ...,
    ] = Field(min_length=1)


class Pair(Recipe):
    """One interferometric pair of a place.

    Attributes:
        later: date of the reference scene.
        earlier: date of the secondary scene, at most 48 days before.
        name: file name of its product, without folder.
    """

    later: date
    earlier: date
    name: str

    @property
    def days(self) -> int:
        """Temporal baseline."""
        return (self.later - self.earlier).days


def generator(world: SimulatedWorld, index: int, purpose: str) -> np.random.Generator:
    """Random numbers of one place for one purpose, independent of every other place and purpose."""
    tag = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(world.seed, spawn_key=(index, tag))))


def place_id(index: int) -> str:
    """Name of a place in file names, as "p00017"."""
    return f"p{index:05d}"


def place_lonlat(world: SimulatedWorld, index: int) -> tuple[float, float]:
    """Centre of a place, (lon, lat) in degrees; places keep at least their margins apart.

    Raises:
        TerraprobeError: the world has no such place.
    """
    if not 0 <= index < world.n_places:
        raise TerraprobeError(
            f"simulated world: there is no place {index}; it has places 0 to {world.n_places - 1} (n_places)."
        )
    columns, rows = _lattice(world)
    row, column = divmod(_cells(world.seed, columns * rows)[index], columns)
    west, south, east, north = world.bbox
    width, height = _cell_km(world, columns, rows)
    needed = world.place_px * PIXEL_M / 1000 + _GAP_KM
    jitter = generator(world, index, "position").uniform(-0.5, 0.5, 2) * (1 - needed / np.array([width, height]))
    lon = west + (column + 0.5 + float(jitter[0])) * (east - west) / columns
    lat = south + (row + 0.5 + float(jitter[1])) * (north - south) / rows
    return lon, lat


def place_grid(world: SimulatedWorld, index: int) -> tuple[str, tuple[float, ...], float, float]:
    """10 m grid of a place.

    Returns:
        CRS of its own UTM zone as "EPSG:32633"; transform (a, b, c, d, e, f) in rasterio order with the origin on
        multiples of 10 m; lon and lat of its centre in degrees.
    """
    from rasterio.warp import transform

    lon, lat = place_lonlat(world, index)
    zone = min(int((lon + 180) // 6) + 1, 60)
    crs = f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
    (x,), (y,) = transform("EPSG:4326", crs, [lon], [lat])
    half = world.place_px * PIXEL_M / 2
    left = round((x - half) / PIXEL_M) * PIXEL_M
    top = round((y + half) / PIXEL_M) * PIXEL_M
    return crs, (PIXEL_M, 0.0, left, 0.0, -PIXEL_M, top), lon, lat


def missing_sensor(world: SimulatedWorld, index: int) -> str:
    """Which sensor never saw this place: "coherence", "s1", "s2", or "" for none."""
    draw, kind = generator(world, index, "missing").random(2)
    if draw >= world.missing_share:
        return ""
    return "coherence" if kind < 0.6 else "s1" if kind < 0.85 else "s2"


def pairs(world: SimulatedWorld, index: int) -> list[Pair]:
    """Interferometric pairs of a place, by date: one to four, or none where coherence is missing."""
    if missing_sensor(world, index) == "coherence":
        return []
    rng = generator(world, index, "pairs")
    first, last = _period(world)
    visits = range(int(rng.integers(0, 12)), (last - first).days, 12)
    candidates = [(first + timedelta(days), baseline) for days in visits for baseline in _WEEKS_APART_DAYS]
    n = min(int(rng.integers(1, 5)), len(candidates))
    chosen = sorted(candidates[int(i)] for i in rng.choice(len(candidates), n, replace=False))
    lon, lat = place_lonlat(world, index)
    track = int(rng.integers(1, 176))
    ascending = bool(rng.random() < 0.5)
    second = (61_200 if ascending else 18_000) + index  # evening, morning; no two products share a time and a track
    frame = f"{math.floor(abs(lon)):05d}{'E' if lon >= 0 else 'W'}_{math.floor(abs(lat)):05d}{'N' if lat >= 0 else 'S'}"
    found = []
    for later, days in chosen:
        earlier = later - timedelta(days)
        dates = f"{later:%Y%m%d}_{earlier:%Y%m%d}"
        mark = hashlib.sha256(f"{world.seed} {index} {dates}".encode()).hexdigest()[:4]
        clock = f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
        name = f"S1-GUNW-{'A' if ascending else 'D'}-R-{track:03d}-tops-{dates}-{clock}-{frame}-PP-{mark}-v3_0_1.nc"
        found.append(Pair(later=later, earlier=earlier, name=name))
    return found


def raw_files(world: SimulatedWorld, places: Sequence[int]) -> dict[str, list[str]]:
    """Names of the files that simulating these places writes, by layer, relative to the raw folder.

    Within a layer they stand in the order of `places`; a place that lacks a sensor has no file of it.
    """
    names: dict[str, list[str]] = {layer: [] for layer in LAYERS}
    for index in places:
        place_lonlat(world, index)
        for layer in LAYERS:
            names[layer] += [f"{layer}/{name}" for name in layer_names(world, index, layer)]
    return names


def layer_names(world: SimulatedWorld, index: int, layer: str) -> list[str]:
    """File names of one layer at one place, without folder."""
    if layer == "s1_coherence":
        return [pair.name for pair in pairs(world, index)]
    missing = missing_sensor(world, index)
    if missing and layer.startswith(missing):
        return []
    return [f"{place_id(index)}.tif"]


def world_files() -> dict[str, str]:
    """Names of the files that describe the whole world: climate raster and region polygons."""
    return {"climate": "climate.tif", "regions": "regions.fgb"}


def _period(world: SimulatedWorld) -> tuple[date, date]:
    """First day of the first month, first day after the last."""
    first, last = world.months[0], world.months[-1]
    year, month = int(last[:4]), int(last[5:])
    return date(int(first[:4]), int(first[5:]), 1), date(year + month // 12, month % 12 + 1, 1)


@lru_cache(maxsize=8)
def _cells(seed: int, n: int) -> tuple[int, ...]:
    """Lattice cells in the order in which places take them."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    return tuple(int(cell) for cell in rng.permutation(n))


def _lattice(world: SimulatedWorld) -> tuple[int, int]:
    """Columns and rows of near-square cells, at least one for every place."""
    west, south, east, north = world.bbox
    aspect = (east - west) * math.cos(math.radians((south + north) / 2)) / (north - south)
    columns = max(1, round(math.sqrt(world.n_places * aspect)))
    return columns, math.ceil(world.n_places / columns)


def _cell_km(world: SimulatedWorld, columns: int, rows: int) -> tuple[float, float]:
    """Width (at the latitude where it is smallest) and height of a lattice cell."""
    west, south, east, north = world.bbox
    narrowest = math.cos(math.radians(max(abs(south), abs(north))))
    return (east - west) * narrowest * KM_PER_DEGREE / columns, (north - south) * KM_PER_DEGREE / rows
