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
    makers = {"s2_rgb_monthly": _optical, "s1_grd_monthly": _radar, "mod44b": _tree_cover, "worldcover": _land_cover}
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

    def add(when: datetime, bands: dict[str, Plane], cloud: Any = 0, percent: float = 5.0) -> None:
        name = f"{when:%Y%m%dT%H%M%S}_{path.stem}_{len(scenes)}"
        shape = next(iter(bands.values()))[0].shape
        qa60 = {"QA60": (np.broadcast_to(cloud, shape), np.ones(shape, bool))}
        properties = {"CLOUDY_PIXEL_PERCENTAGE": percent}
        scenes.append(Scene("COPERNICUS/S2_SR_HARMONIZED", name, when, crs, transform, bands | qa60, properties))

    months = sorted({name[:7] for name in planes})
    for month in months:
        first, end = _month(month)
        bands = {f"B{name[-1]}": plane for name, plane in planes.items() if name.startswith(month)}
        around = {
            b: np.minimum(rng.integers(4, 60, v.shape), np.maximum(v.astype(int) - 1, 0)) for b, (v, _) in bands.items()
        }
        moved = lambda k, bands=bands, around=around: {b: (v + k * around[b], m) for b, (v, m) in bands.items()}  # noqa: E731
        add(first, moved(2))
        add(first + timedelta(days=14), moved(-1))
        add(end - timedelta(minutes=10), moved(-1))
        clouded = rng.random(next(iter(bands.values()))[0].shape) < 0.4
        add(
            first + timedelta(days=20),
            {b: (np.where(clouded, ABSURD, v), m) for b, (v, m) in bands.items()},
            clouded * CLOUD,
        )
        absurd = {b: (np.full_like(v, ABSURD), np.ones_like(m)) for b, (v, m) in bands.items()}
        add(first + timedelta(days=5), absurd, percent=20.0)
        if month == months[0]:
            add(first - timedelta(seconds=1), absurd)
        if month == months[-1]:
            add(end, absurd)
    return scenes


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
