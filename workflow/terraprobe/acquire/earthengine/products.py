"""Which layers come from Earth Engine, of which of its datasets, and what a request may hold.

Read while a study is parsed: nothing heavy is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pydantic import Field, field_validator

from terraprobe.modalities import LABELS, MODALITIES
from terraprobe.stage import Recipe

REQUEST_BYTES = 48_000_000
"""Earth Engine, REST reference of `projects.image.computePixels`: 48 MB of uncompressed pixels a request."""

REQUEST_SIDE_PX = 32_768
"""The same page: 32K pixels in either dimension."""

REQUESTS_AT_ONCE = 4
"""Of one job. Two copies of an answer of 48 MB are in memory while it is checked: some 400 MB at four at once."""

MIN_CLEAR_SCORE = 0.6
"""Cloud Score+ (`cs`): pixels from here on count as clear; the dataset's own page suggests .5 to .65."""

Sensor = Literal["s2", "s1", "label"]


@dataclass(frozen=True)
class Product:
    """A layer as Earth Engine gives it.

    Attributes:
        layer: a modality or label layer.
        sensor: which of a collection's settings it depends on.
        dataset: id of the collection.
        sources: bands of the dataset, in the order of the layer's; of a monthly layer those of one month.
        dtype: of the pixels that are asked for.
        nodata: what pixels without an observation are given, which no observation has.
        licence: of the dataset.
    """

    layer: str
    sensor: Sensor
    dataset: str
    sources: tuple[str, ...]
    dtype: Literal["uint8", "uint16", "float32"]
    nodata: float
    licence: str

    @property
    def monthly(self) -> bool:
        """Whether each month has its own bands."""
        return self.layer.endswith("_monthly")

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of a file, as the layer names them."""
        return MODALITIES[self.layer].bands if self.layer in MODALITIES else (self.layer,)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel with all its bands."""
        return len(self.bands) * {"uint8": 1, "uint16": 2, "float32": 4}[self.dtype]


_COPERNICUS = "Copernicus Sentinel data terms; contains modified Copernicus Sentinel data"
RADAR_NODATA = -9999.0
"""No backscatter is so low; Earth Engine cannot be asked for NaN."""


def _earth_engine_name(band: str) -> str:
    return band.replace("B0", "B")


def _s2(layer: str, dataset: str, sources: tuple[str, ...]) -> Product:
    return Product(layer, "s2", dataset, tuple(map(_earth_engine_name, sources)), "uint16", 0, _COPERNICUS)


def _s1(layer: str) -> Product:
    # The difference VV-VH is computed, not a band of the dataset.
    return Product(layer, "s1", "COPERNICUS/S1_GRD", ("VV", "VH"), "float32", RADAR_NODATA, _COPERNICUS)


PRODUCTS: Mapping[str, Product] = MappingProxyType(
    {
        p.layer: p
        for p in (
            _s2("s2_rgb_monthly", "COPERNICUS/S2_SR_HARMONIZED", ("B04", "B03", "B02")),
            _s2("s2_l2a", "COPERNICUS/S2_SR_HARMONIZED", MODALITIES["s2_l2a"].bands),
            _s2("s2_l1c", "COPERNICUS/S2_HARMONIZED", MODALITIES["s2_l1c"].bands),
            _s1("s1_grd_monthly"),
            _s1("s1_grd"),
            Product(
                "mod44b", "label", "MODIS/061/MOD44B", ("Percent_Tree_Cover",), "uint8", LABELS["mod44b"].nodata,
                "NASA LP DAAC, no restriction",
            ),
            Product(
                "worldcover", "label", "ESA/WorldCover/v100", ("Map",), "uint8", LABELS["worldcover"].nodata,
                "CC-BY-4.0, ESA WorldCover 2020",
            ),
        )
    }
)  # fmt: skip
"""Every layer that Earth Engine gives, by name. `…_HARMONIZED` has no DN offset at any date (its dataset page)."""

SETTINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "s2": ("months", "statistic", "cloud_mask", "max_cloud_percent"),
        "s1": ("months", "statistic", "s1_orbit"),
        "label": ("months",),
    }
)
"""What of a composite each sensor depends on: another orbit direction does not fetch Sentinel-2 again."""


class Composite(Recipe):
    """How many images become one.

    Attributes:
        months: calendar months, whole: their first day to their last.
        statistic: of the images of a month, or of all months where a layer has no months.
        cloud_mask: which pixels of Sentinel-2 are cloud: by its own `QA60`, or by Cloud Score+.
        max_cloud_percent: images of Sentinel-2 with more cloud are left out whole.
        s1_orbit: direction of Sentinel-1's orbits: the other one looks from the other side.
    """

    months: tuple[str, ...] = Field(min_length=1)
    statistic: Literal["mean", "median"] = "mean"
    cloud_mask: Literal["qa60", "cloud_score"] = "qa60"
    max_cloud_percent: float = Field(20, gt=0, le=100)
    s1_orbit: Literal["ascending", "descending"] = "descending"

    @field_validator("months")
    @classmethod
    def _calendar_months(cls, months: tuple[str, ...]) -> tuple[str, ...]:
        for month in months:
            year, dash, number = month.partition("-")
            if not (dash and len(year) == 4 and len(number) == 2 and (year + number).isdigit()):
                raise ValueError(f"months: found {month!r}, allowed calendar months such as '2020-01'")
            if not (2015 <= int(year) <= 2100 and 1 <= int(number) <= 12):
                raise ValueError(f"months: found {month!r}, allowed calendar months from 2015, Sentinel-2's first year")
        if list(months) != sorted(set(months)):
            raise ValueError(f"months: found {', '.join(months)}, allowed in order of time, none twice")
        return months


def after(month: str) -> str:
    """First day after a calendar month: `2020-02` gives `2020-03-01`. Date filters leave their end out."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}-01"


def window_shape(product: Product, chip_px: int) -> tuple[int, int, int]:
    """How chips are asked for together, or a chip in pieces, so that a request keeps the limits.

    Args:
        product: whose pixels.
        chip_px: side of a chip.

    Returns:
        Columns and rows of chips in a request; into how many pieces a side a chip is cut (1 where it fits whole).
    """
    pixels = REQUEST_BYTES // product.pixel_bytes
    side = min(int(pixels**0.5), REQUEST_SIDE_PX)
    if side < chip_px:
        return 1, 1, -(-chip_px // side)
    columns = side // chip_px
    return columns, min(pixels // (columns * chip_px**2), REQUEST_SIDE_PX // chip_px), 1
