"""What Earth Engine is asked to compute: one image a layer, on no grid of its own yet.

Every composite is laid over an image of the same bands without a pixel. Where a month has no image at all its bands are
there all the same and hold nothing, so that it is recorded as missing rather than failing, or becoming another month.
"""

from typing import Any

from terraprobe.acquire.earthengine.products import MIN_CLEAR_SCORE, Composite, Product, after
from terraprobe.modalities import MONTHS

Bounds = tuple[float, float, float, float]
_QA60_CLOUD = 0b11 << 10
"""QA60: bit 10 opaque cloud, bit 11 cirrus (dataset page of `COPERNICUS/S2_SR_HARMONIZED`)."""

_CLEAR_SCORE = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"


def compose(ee: Any, product: Product, composite: Composite, bounds: Bounds) -> tuple[Any, list[str]]:
    """The image of a layer.

    Args:
        ee: the module, initialised.
        product: the layer.
        composite: which dates, and how many images become one.
        bounds: west, south, east, north in degrees of the ground that is needed.

    Returns:
        `ee.Image` of integers or float32 with the product's nodata wherever nothing was observed; its bands' names, in
        the order of the layer's.
    """
    make = {"s2": _optical, "s1": _radar, "label": _label}[product.sensor]
    images = []
    for start, end in _spans(product, composite):
        collection = ee.ImageCollection(product.dataset)
        dated = collection.filterDate(start, end) if start else collection
        images.append(make(ee, product, composite, dated.filterBounds(ee.Geometry.BBox(*bounds))))
    # Earth Engine does not promise to keep other characters than these in a name.
    prefixes = [f"{month}_" for month in MONTHS[: len(images)]] if product.monthly else [""]
    names = [f"{prefix}{band}" for prefix in prefixes for band in _names(product)]
    image = ee.Image.cat(images).rename(names).unmask(product.nodata, False)
    cast = {"uint8": image.toUint8, "uint16": image.toUint16, "float32": image.toFloat}[product.dtype]
    return cast(), names


def _spans(product: Product, composite: Composite) -> list[tuple[str, str]]:
    """First day, and first day after, of each image; empty where the dataset is of one date."""
    first, last = composite.months[0], composite.months[-1]
    if product.layer == "worldcover":
        return [("", "")]
    if product.sensor == "label":  # the classes of the year of the first month
        return [(f"{first[:4]}-01-01", f"{int(first[:4]) + 1}-01-01")]
    return [(f"{m}-01", after(m)) for m in composite.months] if product.monthly else [(f"{first}-01", after(last))]


def _names(product: Product) -> list[str]:
    difference = ["VV_VH"] if product.layer == "s1_grd_monthly" else []
    return [*product.sources, *difference]


def _merged(ee: Any, product: Product, collection: Any, statistic: str) -> Any:
    """One image of a collection; without a pixel where that is empty."""
    sources = list(product.sources)
    nothing = ee.Image.constant([0] * len(sources)).rename(sources).updateMask(0)
    images = collection.select(sources).merge(ee.ImageCollection([nothing]))
    return {"mean": images.mean, "median": images.median, "mosaic": images.mosaic}[statistic]()


def _optical(ee: Any, product: Product, composite: Composite, dated: Any) -> Any:
    images = dated.filter(ee.Filter.lt("CLOUDY_PIXEL_PERCENTAGE", composite.max_cloud_percent))
    if composite.cloud_mask == "qa60":
        clear = images.map(lambda i: i.updateMask(i.select("QA60").bitwiseAnd(_QA60_CLOUD).eq(0)))
    else:
        scored = images.linkCollection(ee.ImageCollection(_CLEAR_SCORE), ["cs"])
        clear = scored.map(lambda i: i.updateMask(i.select("cs").gte(MIN_CLEAR_SCORE)))
    # An observed DN of 0 would read as "not observed".
    return _merged(ee, product, clear, composite.statistic).round().max(1)


def _radar(ee: Any, product: Product, composite: Composite, dated: Any) -> Any:
    """Decibels, as the dataset holds them: their mean is taken as it is, as the paper's tool does, and never cast."""
    images = (
        dated.filter(ee.Filter.eq("instrumentMode", "IW"))
        .filter(ee.Filter.eq("orbitProperties_pass", composite.s1_orbit.upper()))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VV"))
        .filter(ee.Filter.listContains("transmitterReceiverPolarisation", "VH"))
    )
    image = _merged(ee, product, images, composite.statistic)
    return image.addBands(image.select("VV").subtract(image.select("VH"))) if product.monthly else image


def _label(ee: Any, product: Product, _composite: Composite, dated: Any) -> Any:
    return _merged(ee, product, dated, "mosaic")
