"""Which modalities of which sensor the methods get, for dates and a place."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from terraprobe.acquire.earthengine.products import PRODUCTS
from terraprobe.errors import TerraprobeError
from terraprobe.methods import METHODS
from terraprobe.modalities import MODALITIES, MONTHS
from terraprobe.newstudy.dates import FIRST_CLOUD_SCORE_MONTH, FIRST_SURFACE_MONTH

if TYPE_CHECKING:
    import geopandas as gpd

STAGE_OF = {"sscl_unifeat": "sscl"}
"""A method that is the first stage of another one comes with it."""

COHERENCE = "s1_coherence"


@dataclass(frozen=True)
class Inputs:
    """What the chips of a study hold.

    Attributes:
        months: calendar months.
        modalities: in order.
        optical: the Sentinel-2 modality with all bands.
        towers: of `clip3`, name to modality; empty where it is not asked for.
        cloud_mask: which pixels are cloud.
        notes: what could not be had and what is done instead.
    """

    months: list[str]
    modalities: list[str]
    optical: str
    towers: dict[str, dict[str, Any]]
    cloud_mask: str
    notes: list[str] = field(default_factory=list)


def parse_methods(text: str) -> list[str]:
    """Names of methods, in the order of the table; those that are the first stage of another come with that one.

    Args:
        text: `all`, or names with commas between.

    Raises:
        TerraprobeError: a name is not in the table.
    """
    able = [name for name in METHODS if name not in STAGE_OF]
    named = able if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in named if name not in able]
    if wrong or not named:
        found = repr(wrong[0]) if wrong else "none"
        raise TerraprobeError(f"--methods: found {found}, allowed all, or some of {', '.join(able)}.")
    return [name for name in able if name in named]


def choose_inputs(methods: list[str], months: list[str], coherence: int | None) -> Inputs:
    """Choose modalities.

    Args:
        methods: of the table.
        months: calendar months.
        coherence: products that ASF has over the area; None where it was not asked or did not answer.
    """
    surface = months[0] >= FIRST_SURFACE_MONTH
    optical, notes, modalities = ("s2_l2a" if surface else "s2_l1c"), [], []
    if not surface:
        notes.append(f"no surface reflectance before {FIRST_SURFACE_MONTH}: top of atmosphere (s2_l1c) instead")
    towers: dict[str, dict[str, Any]] = {}
    if "clip3" in methods:
        towers, missing = _clip3_towers(months, optical, surface, coherence)
        notes += missing
        modalities += [tower["modality"] for tower in towers.values()]
    if any(method != "clip3" for method in methods):
        modalities.append(optical)
    if any(method in methods for method in ("rsbyol", "sscl", "simsiam", "pixif")):
        modalities.append("s1_grd")
    mask = "cloud_score" if months[-1] >= FIRST_CLOUD_SCORE_MONTH else "qa60"
    held = [name for name in MODALITIES if name in modalities]
    return Inputs(months, held, optical, towers, mask, notes)


def _clip3_towers(
    months: list[str], optical: str, surface: bool, coherence: int | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    notes: list[str] = []
    towers: dict[str, dict[str, Any]]
    if len(months) == len(MONTHS) and surface:
        towers = {"optical": {"modality": "s2_rgb_monthly"}, "radar": {"modality": "s1_grd_monthly"}}
    else:
        why = f"{len(months)} months, not {len(MONTHS)}" if surface else f"months before {FIRST_SURFACE_MONTH}"
        notes.append(
            f"clip3 without its monthly images ({why}): one image of all months instead, RGB of {optical} and s1_grd"
        )
        towers = {"optical": {"modality": optical, "bands": ["B04", "B03", "B02"]}, "radar": {"modality": "s1_grd"}}
    if coherence:
        towers["coherence"] = {"modality": COHERENCE}
    elif coherence == 0:
        notes.append(
            f"no coherence: ASF has no interferogram there in {months[0]} to {months[-1]}; clip3 has two towers"
        )
    else:
        notes.append(
            f"no coherence: ASF was not asked, or did not answer; clip3 has two towers. Add {COHERENCE} to modalities "
            "and to its towers to try"
        )
    return towers, notes


def count_coherence(chips: "gpd.GeoDataFrame", months: list[str]) -> int | None:
    """Interferograms that ASF has over chips; None where it does not answer. Needs no login."""
    from terraprobe.acquire.asf import find_products

    try:
        return len(find_products(chips.geometry, tuple(months)))
    except TerraprobeError:
        return None


def datasets(inputs: Inputs) -> str:
    """Where the modalities come from, for people."""
    return ", ".join(dict.fromkeys(PRODUCTS[name].dataset for name in inputs.modalities if name in PRODUCTS))
