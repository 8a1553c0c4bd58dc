"""Raw tiles of a simulated Earth as the scenes that Earth Engine would hold: their composites are these tiles.

Each month's mean is spread over scenes on its first second, in its middle and near its last midnight, so that a month
without its last day has another mean. Around them lie scenes that a composite must leave out, with absurd values.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from servers.earthengine_graph import Plane, Scene

ABSURD = 12_000
CLOUD = 1 << 10


def read_tile(path: Path) -> tuple[str, tuple[float, ...], dict[str, Plane]]:
    """CRS, transform and bands of a raster."""
    with rasterio.open(path) as tile:
        missing = (lambda v: ~np.isfinite(v)) if np.isnan(tile.nodata) else (lambda v: v == tile.nodata)
        planes = {}
        for index, name in enumerate(tile.descriptions, 1):
            values = tile.read(index)
            planes[name] = (np.where(missing(values), 0, values), ~missing(values))
        return tile.crs.to_wkt(), tuple(tile.transform)[:6], planes


def scenes_of(folder: Path, seed: int = 0) -> list[Scene]:
    """Scenes whose composites are the tiles below a folder of layers."""
    rng = np.random.default_rng(seed)
    makers = {
        "s2_rgb_monthly": _optical,
        "s2_l1c": _all_bands,
        "s1_grd_monthly": _radar,
        "mod44b": _tree_cover,
        "worldcover": _land_cover,
    }
    return [
        scene
        for layer, make in makers.items()
        for path in sorted((folder / layer).glob("*.tif"))
        for scene in make(path, rng)
    ]


def _month(name: str) -> tuple[datetime, datetime]:
    first = datetime.fromisoformat(f"{name}-01").replace(tzinfo=UTC)
    return first, (first + timedelta(days=32)).replace(day=1)


def _optical(path: Path, rng: np.random.Generator) -> list[Scene]:
    crs, transform, planes = read_tile(path)
    scenes = []
    for month in sorted({name[:7] for name in planes}):
        first, end = _month(month)
        bands = {f"B{name[-1]}": plane for name, plane in planes.items() if name.startswith(month)}
        kept = _around(bands, first, end, rng)
        absurd = {b: (np.full_like(v, ABSURD), np.ones_like(m)) for b, (v, m) in bands.items()}
        left_out = [(first + timedelta(days=5), absurd, 20.0)]
        left_out += [(first - timedelta(seconds=1), absurd, 5.0)] * (month == "2020-01")
        left_out += [(end, absurd, 5.0)] * (month == "2020-03")
        for when, found, percent in [*kept, *left_out]:
            name = f"{when:%Y%m%dT%H%M%S}_{path.stem}_{len(scenes)}"
            scenes.append(_s2("COPERNICUS/S2_SR_HARMONIZED", name, when, crs, transform, found, percent))
    return scenes


def _all_bands(path: Path, rng: np.random.Generator) -> list[Scene]:
    crs, transform, planes = read_tile(path)
    bands = {name.replace("B0", "B"): plane for name, plane in planes.items()}
    kept = _around(bands, datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 4, 1, tzinfo=UTC), rng)
    return [
        _s2("COPERNICUS/S2_HARMONIZED", f"{path.stem}_{k}", when, crs, transform, found, percent)
        for k, (when, found, percent) in enumerate(kept)
    ]


Taken = tuple[datetime, dict[str, Plane], float]
"""When an image was taken, its bands, and its cloud in per cent."""


def _around(bands: dict[str, Plane], first: datetime, end: datetime, rng: np.random.Generator) -> list[Taken]:
    """Images whose mean is the given one: of the first second, the middle, the last minutes, and a cloudy one."""
    around = {
        b: np.minimum(rng.integers(4, 60, v.shape), np.maximum(v.astype(int) - 1, 0)) for b, (v, _) in bands.items()
    }
    shape = next(iter(bands.values()))[0].shape
    clouded = rng.random(shape) < 0.4
    cloudy = {b: (np.where(clouded, ABSURD, v), m) for b, (v, m) in bands.items()}
    flags = {"QA60": (clouded * CLOUD, np.ones(shape, bool))}
    middle = first + (end - first) / 2
    moved = [
        (when, {b: (v + k * around[b], m) for b, (v, m) in bands.items()}, 5.0)
        for when, k in ((first, 2), (middle, -1), (end - timedelta(minutes=10), -1))
    ]
    return [*moved, (middle + timedelta(days=3), cloudy | flags, 5.0)]


def _s2(*head: Any) -> Scene:
    """A scene of Sentinel-2; without clouds where its bands say nothing of them."""
    *place, bands, percent = head
    shape = next(iter(bands.values()))[0].shape
    clear = {"QA60": (np.zeros(shape, int), np.ones(shape, bool))}
    return Scene(*place, clear | bands, {"CLOUDY_PIXEL_PERCENTAGE": percent})


def _radar(path: Path, rng: np.random.Generator) -> list[Scene]:
    crs, transform, planes = read_tile(path)
    scenes = []

    def add(when: datetime, bands: dict[str, Plane], mode: str = "IW", orbit: str = "DESCENDING") -> None:
        properties = {
            "instrumentMode": mode,
            "orbitProperties_pass": orbit,
            "transmitterReceiverPolarisation": sorted(bands, reverse=True),
        }
        name = f"S1_{when:%Y%m%dT%H%M%S}_{path.stem}_{len(scenes)}"
        scenes.append(Scene("COPERNICUS/S1_GRD", name, when, crs, transform, bands, properties))

    for month in sorted({name[:7] for name in planes}):
        first, end = _month(month)
        bands = {p: planes[f"{month}_{p}"] for p in ("VV", "VH")}
        around = {b: rng.integers(4, 128, v.shape) / 64 for b, (v, _) in bands.items()}
        for when, k in ((first, 2), (first + timedelta(days=12), -1), (end - timedelta(minutes=5), -1)):
            add(when, {b: (v + k * around[b], m) for b, (v, m) in bands.items()})
        absurd = {b: (np.full_like(v, -1.0), np.ones_like(m)) for b, (v, m) in bands.items()}
        add(first + timedelta(days=3), absurd, orbit="ASCENDING")
        add(first + timedelta(days=4), absurd, mode="EW")
        add(first + timedelta(days=5), {"VV": absurd["VV"]})
        add(end, absurd) if month.endswith("03") else None
    return scenes


def _tree_cover(path: Path, rng: np.random.Generator) -> list[Scene]:
    crs, transform, planes = read_tile(path)
    ((values, mask),) = planes.values()
    absurd = (np.full_like(values, 99), np.ones_like(mask))
    return [
        Scene("MODIS/061/MOD44B", f"{year}_03_05", datetime(year, 3, 5, tzinfo=UTC), crs, transform, {_TREE: plane})
        for year, plane in ((2019, absurd), (2020, (values, mask)), (2021, absurd))
    ]


_TREE = "Percent_Tree_Cover"


def _land_cover(path: Path, rng: np.random.Generator) -> list[Scene]:
    crs, transform, planes = read_tile(path)
    ((values, mask),) = planes.values()
    return [
        Scene("ESA/WorldCover/v100", "2020", datetime(2020, 1, 1, tzinfo=UTC), crs, transform, {"Map": (values, mask)})
    ]
