"""One request for pixels: asked, waited for, asked again where that can help, and checked."""

import random
import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.io import MemoryFile

from terraprobe.acquire.earthengine.access import refused
from terraprobe.acquire.earthengine.products import Product
from terraprobe.acquire.earthengine.windows import Window
from terraprobe.errors import TerraprobeError
from terraprobe.stage import progress

ATTEMPTS = 9
WAIT_S, LONGEST_WAIT_S = 1.0, 120.0
"""Before the second attempt, doubled before each further one up to the longest: some six minutes in all. Each wait is
drawn between half of it and one and a half, so that many clients do not come back at once."""

_TOO_MUCH = re.compile("memory limit exceeded|timed out|memory capacity exceeded", re.IGNORECASE)
"""Earth Engine, "Debugging guide", scaling errors: `User memory limit exceeded`, `Computation timed out`."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Passing(Exception):  # noqa: N818  (a state, not an error)
    """An answer that may be another one next time; says what came."""


class TooMuch(Exception):  # noqa: N818
    """Earth Engine cannot compute so many pixels in one request; says why."""


@dataclass(frozen=True)
class Answer:
    """Pixels of a window.

    Attributes:
        content: bytes of a GeoTIFF.
        observed: share of observed pixels of each band, to four decimals.
    """

    content: bytes
    observed: dict[str, float]


def fetch_window(ee: Any, request: dict[str, Any], product: Product, window: Window) -> Answer:
    """Ask for one window until it is there.

    Args:
        ee: the module, initialised.
        request: what `computePixels` takes; its `bandIds` are in the order of the product's bands.
        product: what is asked for.
        window: where.

    Raises:
        TooMuch: fewer pixels may be computed.
        TerraprobeError: it is refused, or did not come in `ATTEMPTS` attempts.
    """
    said = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            wait = min(WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.5)
            progress(f"{product.layer} {window.name}: {said}; asking again in {wait:.0f} s")
            time.sleep(wait)
        try:
            content = _ask(ee, request, f"{product.layer} {window.name}")
            return Answer(content, check_pixels(content, product, window, request["bandIds"]))
        except Passing as passing:
            said = str(passing)
    raise TerraprobeError(
        f"{product.layer} {window.name}: not answered in {ATTEMPTS} attempts, the last time: {said}. What was fetched "
        "is kept: run the same command again later."
    )


def _ask(ee: Any, request: dict[str, Any], what: str) -> bytes:
    """The answer's bytes.

    Raises:
        Passing: too many requests, a server's own failure, or a cut connection.
        TooMuch: memory or time ran out there.
        TerraprobeError: any other refusal.
    """
    from google.auth import exceptions

    try:
        content: bytes = ee.data.computePixels(request)
        return content
    except exceptions.TransportError as error:
        raise Passing(f"no connection ({type(error).__name__})") from None
    except exceptions.GoogleAuthError as error:
        raise TerraprobeError(refused(error)) from None
    except OSError as error:
        raise Passing(f"the connection broke ({type(error).__name__})") from None
    except ee.EEException as error:
        # The client keeps the HTTP error as the context of its own.
        status = int(getattr(getattr(error.__context__, "resp", None), "status", 0))
        message = (str(error).strip().splitlines() or ["no message"])[0][:300]
        if status == 429 or status >= 500:
            raise Passing(f"HTTP {status}") from None
        if status == 401:
            raise TerraprobeError(refused(error)) from None
        if _TOO_MUCH.search(message):
            raise TooMuch(message) from None
        raise TerraprobeError(
            f"{what}: Earth Engine refuses (HTTP {status}): {message}. Is the project registered for Earth Engine, and "
            "has the account the right to compute? Nothing was kept of this window."
        ) from None


def check_pixels(content: bytes, product: Product, window: Window, names: list[str]) -> dict[str, float]:
    """Refuse what is not the GeoTIFF that was asked for.

    Args:
        content: of the answer.
        product: what was asked for.
        window: where.
        names: bands as they were asked for.

    Returns:
        Share of observed pixels by band of the layer.

    Raises:
        Passing: these are no whole pixels, such as a page of HTML.
        TerraprobeError: they are others than those asked for: grid, bands or type.
    """
    what = f"{product.layer} {window.name}"
    if not content.startswith(_TIFF):
        kind = "an HTML page" if content.lstrip()[:1] == b"<" else f"{len(content)} bytes of something else"
        raise Passing(f"{kind} instead of a GeoTIFF")
    try:
        with MemoryFile(content) as memory, memory.open() as dataset:
            _check_grid(dataset, window, what)
            _check_bands(dataset, product, names, what)
            return {
                band: round(float(np.mean(dataset.read(index) != product.nodata)), 4)
                for index, band in enumerate(product.bands, 1)
            }
    except rasterio.errors.RasterioError as error:
        raise Passing(f"a broken GeoTIFF of {len(content)} bytes ({type(error).__name__})") from None


def _check_grid(dataset: Any, window: Window, what: str) -> None:
    asked = (rasterio.crs.CRS.from_string(window.crs), Affine(*window.transform), (window.height, window.width))
    found = (dataset.crs, dataset.transform, dataset.shape)
    for name, one, other in zip(("CRS", "transform", "height and width"), asked, found, strict=True):
        same = one.almost_equals(other, 1e-6) if isinstance(one, Affine) else one == other
        if not same:
            raise TerraprobeError(
                f"{what}: Earth Engine answered with {name} {_flat(other)}, asked for was {_flat(one)}. Nothing was "
                "kept of this window; run the same command again."
            )


def _flat(value: Any) -> str:
    return " ".join(str(value[:6] if isinstance(value, Affine) else value).split())


def _check_bands(dataset: Any, product: Product, names: list[str], what: str) -> None:
    described = list(dataset.descriptions)
    fits = dataset.count == len(names) and (not any(described) or described == names)
    if not fits:
        found = ", ".join(d or "unnamed" for d in described)
        raise TerraprobeError(
            f"{what}: Earth Engine answered with {dataset.count} bands ({found}), asked for were {len(names)}: "
            f"{', '.join(names)}. Nothing was kept of this window; run the same command again."
        )
    if set(dataset.dtypes) != {product.dtype}:
        raise TerraprobeError(
            f"{what}: Earth Engine answered with pixels of {', '.join(sorted(set(dataset.dtypes)))}, asked for was "
            f"{product.dtype}. Nothing was kept of this window."
        )
