"""The one table of what a chip can hold: aligned inputs (modalities) and label layers.

Bands are chosen by name, never by position: EuroSAT stores B8A last, SEN12MS after B8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

S2_BASELINE_OFFSET_DN = -1000
"""Added to Sentinel-2 DN from processing baseline 04.00 (25 January 2022) on: reflectance = (DN - 1000) / 10000.

Source: ESA, Sentinel-2 Products Specification Document, RADIO_ADD_OFFSET / BOA_ADD_OFFSET. Chips are stored
without it (harmonised DN), so one scale serves every date.
"""

S2_RESOLUTION_M = MappingProxyType(
    {
        "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20,
        "B08": 10, "B8A": 20, "B09": 60, "B10": 60, "B11": 20, "B12": 20,
    }
)  # fmt: skip
"""Native pixel size of each Sentinel-2 band (ESA, Sentinel-2 MSI user guide)."""

L1C_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
L2A_BANDS = tuple(band for band in L1C_BANDS if band != "B10")  # the cirrus band has no surface reflectance
MONTHS = ("m1", "m2", "m3")
"""First, second and third month of a composite; the calendar months stand in the study."""


@dataclass(frozen=True)
class Modality:
    """One aligned input.

    Attributes:
        name: as in study files and folder names.
        bands: in store order; for a variable number of channels, the one band that they all hold.
        unit: of the physical value `DN * scale + offset`: `reflectance`, `backscatter_db`, `coherence` or `display`,
            the share of full brightness on a screen, which no physical scale is known of.
        scale: physical value of one DN.
        offset: physical value of DN 0.
        nodata: DN that means "not observed".
        dtype: integer type of the store.
        resolution_m: native pixel size of the coarsest band; 0 where it is not known.
        valid_range: physical values outside it are refused when tiles are read.
        variable: whether the number of channels differs from chip to chip.
        title: for people.
    """

    name: str
    bands: tuple[str, ...]
    unit: str
    scale: float
    offset: float
    nodata: int
    dtype: str
    resolution_m: float
    valid_range: tuple[float, float]
    variable: bool = False
    title: str = ""

    @property
    def min_chip_m(self) -> float:
        """Smallest useful chip: two native pixels of the coarsest band, below which that band is a constant."""
        return 2 * self.resolution_m


def _reflectance(name: str, bands: tuple[str, ...], resolution_m: float, title: str) -> Modality:
    return Modality(name, bands, "reflectance", 1e-4, 0.0, 0, "uint16", resolution_m, (0.0, 6.5535), title=title)


def _backscatter(name: str, bands: tuple[str, ...], title: str) -> Modality:
    # 0.005 dB steps keep the quantisation error far below speckle (IW GRD: about 4.4 equivalent looks).
    return Modality(name, bands, "backscatter_db", 0.005, 0.0, -32768, "int16", 10, (-100.0, 60.0), title=title)


def _monthly(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{month}_{part}" for month in MONTHS for part in parts)


MODALITIES = MappingProxyType(
    {
        m.name: m
        for m in (
            _reflectance("s2_l1c", L1C_BANDS, 60, "Sentinel-2 L1C, top of atmosphere"),
            _reflectance("s2_l2a", L2A_BANDS, 60, "Sentinel-2 L2A, surface"),
            _reflectance("s2_rgb_monthly", _monthly(("B04", "B03", "B02")), 10, "Sentinel-2 RGB, monthly mean"),
            _backscatter("s1_grd", ("VV", "VH"), "Sentinel-1 GRD"),
            _backscatter("s1_grd_monthly", _monthly(("VV", "VH", "VV-VH")), "Sentinel-1 GRD, monthly mean"),
            Modality(
                "s1_coherence", ("coherence",), "coherence", 1e-4, 0.0, 65535, "uint16", 92.8, (0.0, 1.0),
                variable=True, title="Sentinel-1 interferometric coherence (ARIA GUNW)",
            ),
            # 8 bits wide, and black is a value like any other: what is not observed needs one beyond them.
            Modality(
                "rgb", ("red", "green", "blue"), "display", 1 / 255, 0.0, -1, "int16", 0, (0.0, 1.0),
                title="Red, green and blue as displayed",
            ),
        )
    }
)  # fmt: skip
"""Every modality by name. GUNW posts are 1/1200 degree apart: 92.8 m along a meridian."""


@dataclass(frozen=True)
class LabelValue:
    """How the known pixels of a label layer at one chip become one number.

    Attributes:
        kind: `mean` of the pixel values, or `share` of one class among the known pixels, in [0, 1].
        code: the class of a share.
        factor: multiplies a mean.
    """

    kind: Literal["mean", "share"]
    code: int = -1
    factor: float = 1.0


@dataclass(frozen=True)
class LabelLayer:
    """One raster of labels, stored on the chip grid like a modality (nearest neighbour).

    Attributes:
        name: as in study files and folder names.
        nodata: value that means "not known"; kept apart from every class.
        dtype: integer type of the store.
        unit: of the pixel values: `class`, `percent` or `m2`; of an archive's layer, which has no pixels, `chip_class`
            or `chip_classes`: whether an image has one class or may have several.
        classes: code to class name; empty where the layer is a quantity.
        quantity: smallest and largest value of a quantity; empty where the layer is classes.
        stands_for: codes of a quantity layer that are outside `quantity` and what they count as in a mean.
        values: chip-level labels made of the layer.
        title: for people.
    """

    name: str
    nodata: int
    dtype: str
    unit: str
    classes: Mapping[int, str]
    quantity: tuple[int, int] | tuple[()]
    stands_for: Mapping[int, int]
    values: Mapping[str, LabelValue]
    title: str

    @property
    def class_label(self) -> str:
        """Name of the chip-level class; empty where a chip has none of its own."""
        return f"{self.name}_class" if self.classes and self.unit != "chip_classes" else ""

    @property
    def present_label(self) -> str:
        """Name of the chip-level list of classes that are present; empty where there is none."""
        return f"{self.name}_classes" if self.classes and self.unit != "chip_class" else ""

    @property
    def allowed(self) -> str:
        """The codes a tile may hold, for people."""
        span = f"{self.quantity[0]} to {self.quantity[1]}" if self.quantity else ""
        codes = ", ".join(str(code) for code in (*self.classes, *self.stands_for))
        return " or ".join(part for part in (span, codes, f"{self.nodata} (not known)") if part)


WORLDCOVER_CLASSES = MappingProxyType(
    {
        10: "tree", 20: "shrub", 30: "grass", 40: "crop", 50: "built", 60: "bare",
        70: "snow", 80: "water", 90: "wetland", 95: "mangrove", 100: "moss",
    }
)  # fmt: skip
"""ESA WorldCover v100/v200 product user manual, table 3."""

OSM_CLASSES = MappingProxyType(
    {1: "forest", 2: "scrub", 3: "grass", 4: "farm", 5: "wetland", 6: "water", 7: "residential", 8: "meadow"}
)
"""Codes that we give the OpenStreetMap polygons of the packaged scene; 0 is unlabelled, not "other".

The names are the `fclass` values of Geofabrik's OpenStreetMap extracts; these eight are all that `havelland` holds.
"""

CLEAR, CLOUD = 1, 2
"""Codes of the simulated Earth's cloud mask."""

DFC2020_CLASSES = MappingProxyType(
    {
        1: "forest", 2: "shrubland", 3: "savanna", 4: "grassland", 5: "wetlands",
        6: "croplands", 7: "urban", 8: "snow", 9: "barren", 10: "water",
    }
)  # fmt: skip
"""Classes of the IEEE GRSS Data Fusion Contest 2020, a simplified IGBP scheme (Schmitt et al. 2020, table 2)."""

NO_CODES: Mapping[int, Any] = MappingProxyType({})
MOD44B_WATER = 200
"""MOD44B user guide, Percent_Tree_Cover: 0 to 100 per cent, 200 water, 253 fill. Water has no trees: 0 per cent."""
GHS_CELL_M2 = 10_000
"""A cell of GHS-BUILT-S at 100 m holds the built-up square metres, 0 to 10,000 (GHSL data package 2023)."""

LABELS = MappingProxyType(
    {
        layer.name: layer
        for layer in (
            LabelLayer(
                "mod44b", 253, "uint8", "percent", NO_CODES, (0, 100), MappingProxyType({MOD44B_WATER: 0}),
                MappingProxyType({"vegetation": LabelValue("mean")}), "MODIS MOD44B tree cover",
            ),
            LabelLayer(
                "worldcover", 0, "uint8", "class", WORLDCOVER_CLASSES, (), NO_CODES,
                MappingProxyType({"croplands": LabelValue("share", 40), "water": LabelValue("share", 80)}),
                "ESA WorldCover classes",
            ),
            LabelLayer(
                "ghs_built", 65535, "uint16", "m2", NO_CODES, (0, GHS_CELL_M2), NO_CODES,
                MappingProxyType({"builtup": LabelValue("mean", factor=1 / GHS_CELL_M2)}),
                "GHS-BUILT-S built-up surface",
            ),
            LabelLayer(
                "osm", 0, "uint8", "class", OSM_CLASSES, (), NO_CODES,
                MappingProxyType({f"osm_{name}": LabelValue("share", code) for code, name in OSM_CLASSES.items()}),
                "OpenStreetMap polygons",
            ),
            LabelLayer(
                "s2_cloud", 0, "uint8", "class", MappingProxyType({CLEAR: "clear", CLOUD: "cloud"}), (), NO_CODES,
                MappingProxyType({}), "Opaque cloud in the simulated Sentinel-2 L1C scene",
            ),
            LabelLayer(
                "dfc2020", 0, "uint8", "class", DFC2020_CLASSES, (), NO_CODES, MappingProxyType({}),
                "DFC2020 classes, simplified IGBP",
            ),
        )
    }
)  # fmt: skip
"""Every label layer by name."""
