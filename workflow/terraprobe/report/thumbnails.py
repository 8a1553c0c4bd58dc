"""Small pictures of many chips, as few images: sheets of squares side by side."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terraprobe.report.chipviews import colours, shown_bands
from terraprobe.report.inputs import Collection
from terraprobe.report.maps import stretch

SIDE_PX = 48
"""Side of a picture at most, three blocks of WebP: hardly any colour runs into the next picture. [D]"""

ACROSS = 32
"""Pictures in a row of a sheet; as many rows: 1,024 pictures are decoded at once, 1,536 pixels a side. [D]"""

_AT_ONCE = 256  # chips read together
_JUDGED = 200  # chips that the limits of a stretch are taken from
_QUALITY = 70  # [D] of WebP: about 1 KB a picture
NOT_OBSERVED = "not observed"


@dataclass(frozen=True)
class Thumbnails:
    """Pictures of chips.

    Attributes:
        side_px: of each picture.
        sheets: WebP images as data addresses, `ACROSS` x `ACROSS` pictures each, row by row, the last one shorter.
        shows: what each picture shows, (N,), such as `natural colour`.
    """

    side_px: int
    sheets: list[str]
    shows: list[str]


def draw_thumbnails(collection: Collection, chips: NDArray[np.intp]) -> Thumbnails:
    """Draw chips in natural colour, or the first band that was observed there in grey.

    Args:
        collection: whose chips.
        chips: rows of its stores, (N,).
    """
    side = min(SIDE_PX, *(store.chip_px for store in collection.modalities.values()))
    pictures = np.full((len(chips), side, side, 3), 255, np.uint8)
    shows = np.full(len(chips), NOT_OBSERVED, object)
    views = [(store, *shown_bands(store.bands)) for store in collection.modalities.values()]
    for store, channels, title in sorted(views, key=lambda one: one[2] != "natural colour"):
        waiting = np.flatnonzero(shows == NOT_OBSERVED)
        there = waiting[(store.valid[chips[waiting]][:, channels] > 0).all(axis=1)]
        if not len(there):
            continue
        judged = chips[there[:: max(1, len(there) // _JUDGED)]]
        between = np.nanquantile(colours(store, judged, channels).astype(np.float64), [0.01, 0.98], axis=(0, 1, 2))
        for part in _parts(there):
            pictures[part] = [
                _reduced(image, side) for image in stretch(colours(store, chips[part], channels), between)
            ]
        shows[there] = title
    return Thumbnails(side, _sheets(pictures), shows.tolist())


def _parts(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]


def _reduced(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    if len(image) == side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def _sheets(pictures: NDArray[np.uint8]) -> list[str]:
    from PIL import Image

    side, found = pictures.shape[1], []
    for start in range(0, len(pictures), ACROSS**2):
        part = pictures[start : start + ACROSS**2]
        lines = -(-len(part) // ACROSS)
        sheet = np.full((lines, ACROSS, side, side, 3), 255, np.uint8)
        sheet.reshape(-1, side, side, 3)[: len(part)] = part
        whole = sheet.swapaxes(1, 2).reshape(lines * side, ACROSS * side, 3)
        content = io.BytesIO()
        Image.fromarray(whole).save(content, "WEBP", quality=_QUALITY, method=4)
        found.append("data:image/webp;base64," + base64.b64encode(content.getvalue()).decode())
    return found
