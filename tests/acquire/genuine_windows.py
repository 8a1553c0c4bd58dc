"""Genuine Sentinel-2 and Sentinel-1 as windows: test data beside the checkout, and the two packaged scenes."""

from collections.abc import Iterator
from pathlib import Path

import netCDF4
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from window_statistics import Bands, Window, cut

from terraprobe.acquire.packaged import raw_files
from terraprobe.modalities import L1C_BANDS

L2A_BANDS = tuple(band for band in L1C_BANDS if band != "B10")
_TERRAMESH = {1: 1, 2: 2, 4: 3, 9: 3, 5: 4}  # water, trees, crops, rangeland, built
_EOLEARN = {1: 3, 2: 2, 3: 3, 5: 1, 8: 4}  # cultivated, forest, grassland, water, artificial
_PAIRS = {
    "S2A_MSIL2A_20170617T113321_4_55": "S1A_IW_GRDH_1SDV_20170617T064724_29UPU_4_55",
    "S2A_MSIL2A_20170617T113321_36_85": "S1A_IW_GRDH_1SDV_20170617T064724_29UPU_36_85",
    "S2A_MSIL2A_20171221T112501_56_35": "S1A_IW_GRDH_1SDV_20171221T064238_29SND_56_35",
}
# Every label of these patches is crops or grass.
_OPEN_PATCHES = ("4_55", "36_85")


def shared_windows(data: Path) -> Iterator[Window]:
    """Windows of the test data: TerraMesh, BigEarthNet, eo-learn's patch, the WorldCereal cube."""
    yield from _terramesh(data / "terramesh")
    yield from _bigearthnet(data)
    yield from _eolearn(data / "eolearn_patch")
    yield from _worldcereal(data / "sen_cubes" / "worldcereal_preprocessed_inputs.nc")


def packaged_windows(downloads: Path) -> Iterator[Window]:
    """Windows of `virginia` and `havelland`, as `fetch_scene` left them below a folder; every third each way."""
    for scene in ("havelland", "virginia"):
        files = [downloads / scene / name for name in raw_files(scene)["s2_l1c"]]
        with rasterio.open(files[L1C_BANDS.index("B02")]) as fine:
            grid = {"crs": fine.crs, "transform": fine.transform, "height": fine.height, "width": fine.width}
        bands: Bands = {}
        for name, path in zip(L1C_BANDS, files, strict=True):
            with rasterio.open(path) as tile, WarpedVRT(tile, **grid) as laid:
                bands[name] = laid.read(1) / 100.0
        yield from cut(Window("l1c", scene, bands, np.zeros(bands["B02"].shape, np.uint8)), step=3)


def _terramesh(folder: Path) -> Iterator[Window]:
    for path in sorted((folder / "LULC").glob("*.tif")):
        classes = _recoded(_read(path)[0], _TERRAMESH)
        radar = dict(zip(("VV", "VH"), _read(folder / "S1RTC" / path.name), strict=True))
        surface = dict(zip(L2A_BANDS, _read(folder / "S2L2A" / path.name) / 100, strict=True))
        dn = _read(folder / "S2L1C" / path.name)
        # Where even the cirrus band, which sees no ground, starts at 1000, the offset of baseline 04.00 is still in.
        offset = 1000 if dn[L1C_BANDS.index("B10")].min() >= 1000 else 0
        top = dict(zip(L1C_BANDS, (dn - offset) / 100, strict=True))
        yield from cut(Window("l1c", path.stem, top, classes, radar))
        yield from cut(Window("l2a", path.stem, surface, classes))
        yield from cut(Window("s1", path.stem, radar, classes))


def _bigearthnet(data: Path) -> Iterator[Window]:
    first, second = data / "bigearthnet_v1", data / "bigearthnet_v2"
    for optical in sorted((first / "BigEarthNet-S2-v1.0").iterdir()):
        bands = _patch(optical, L2A_BANDS, scale=100)
        radar = _patch(first / "BigEarthNet-S1-v1.0" / _PAIRS[optical.name], ("VV", "VH"))
        code = 3 if optical.name.endswith(_OPEN_PATCHES) else 0
        yield from cut(Window("l2a", optical.name, bands, np.full(bands["B02"].shape, code, np.uint8), radar))
    for path in sorted((second / "BigEarthNet-S2").glob("*/*")):
        bands = _patch(path, L2A_BANDS, scale=100)
        yield from cut(Window("l2a", path.name, bands, np.zeros(bands["B02"].shape, np.uint8)))
    for path in sorted([*(first / "BigEarthNet-S1-v1.0").iterdir(), *(second / "BigEarthNet-S1").glob("*/*")]):
        radar = _patch(path, ("VV", "VH"))
        yield from cut(Window("s1", path.name, radar, np.zeros(radar["VV"].shape, np.uint8)))


def _eolearn(folder: Path) -> Iterator[Window]:
    """Five scenes of one place in Slovenia."""
    scenes = np.load(folder / "REFERENCE_SCENES.npy").astype(float) * 100
    classes = _recoded(np.load(folder / "TestEOPatch/mask_timeless/LULC.npy")[..., 0], _EOLEARN)
    for scene in scenes:
        yield from cut(Window("l1c", "eo-learn", {name: scene[..., i] for i, name in enumerate(L1C_BANDS)}, classes))


def _worldcereal(path: Path) -> Iterator[Window]:
    """Twelve monthly composites of one place in Belgium; VV and VH are 10 log10 of DN² less 83 dB."""
    with netCDF4.Dataset(path) as cube:
        cube.set_auto_mask(False)
        stacks = {
            key: np.asarray(cube[key][:]).view(np.uint16).astype(float) for key in cube.variables if "S" in key[:2]
        }
    for stack in stacks.values():
        stack[stack == 65535] = np.nan
    optical = {key[-3:]: stack / 100 for key, stack in stacks.items() if key.startswith("S2")}
    radar = {key[-2:]: 20 * np.log10(stack) - 83 for key, stack in stacks.items() if key.startswith("S1")}
    blank = np.zeros(optical["B02"].shape[1:], np.uint8)
    for product, bands in (("l2a", optical), ("s1_monthly", radar)):
        months = [{name: stack[month] for name, stack in bands.items()} for month in range(12)]
        for now, then in zip(months, [*months[1:], {}], strict=True):
            later = {name: image for name, image in then.items() if name in ("B02", "B04", "VH")}
            yield from cut(Window(product, "WorldCereal", now, blank, later=later))


def _patch(folder: Path, names: tuple[str, ...], scale: float = 1.0) -> Bands:
    """Bands of a BigEarthNet patch on its 10 m grid."""
    return {name: _read(folder / f"{folder.name}_{name}.tif", (120, 120))[0] / scale for name in names}


def _read(path: Path, shape: tuple[int, int] | None = None) -> NDArray[np.float64]:
    with rasterio.open(path) as tile:
        size = None if shape is None else (tile.count, *shape)
        return np.asarray(tile.read(out_shape=size, resampling=Resampling.nearest), float)


def _recoded(codes: NDArray[np.generic], to: dict[int, int]) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(to)] = list(to.values())
    return table[codes.astype(int)]
