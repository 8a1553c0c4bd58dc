"""The embedding explorer: what the page needs to draw chips in an embedding, and which are nearest to which."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.collections.chiptable import chip_centres, have_places
from terraprobe.report.inputs import SPLITS, Collection, TrainedEncoder
from terraprobe.report.pagedata import coded, packed, script_json
from terraprobe.report.results import label_title
from terraprobe.report.thumbnails import ACROSS, Thumbnails, draw_thumbnails

MOST_CHIPS = 12_000
"""Pictures on a page at most, shared evenly by its collections: about 15 MB. [D]"""

_MOST_NAMES = 30  # classes that colours can still tell apart, somehow [D]
_COSINE = 10_000  # cosines are kept to four digits


def explorer(
    collections: Sequence[Collection], encoders: Sequence[TrainedEncoder], projections: pd.DataFrame
) -> dict[str, Any]:
    """Fill the explorer.

    Args:
        collections: in the order of the page.
        encoders: in the order of the page.
        projections: of `project_embeddings`.

    Returns:
        `data`, JSON for the page's script, and `sheets`, pictures by the id of their element; empty where no embedding
        was projected.
    """
    drawn = [c for c in collections if (projections["collection"] == c.name).any()]
    about: dict[str, Any] = {}
    sheets: dict[str, str] = {}
    views: list[dict[str, Any]] = []
    for c in drawn:
        points = projections[projections["collection"] == c.name]
        chips = _chips(c, points, MOST_CHIPS // len(drawn))
        pictures = draw_thumbnails(c, chips)
        about[c.name] = _about(c, chips, pictures)
        sheets |= {f"sheet-{c.name}-{k}": sheet for k, sheet in enumerate(pictures.sheets)}
        place = {chip: k for k, chip in enumerate(c.chips["chip_id"].to_numpy()[chips])}
        views += [view for encoder in encoders for view in _views(encoder, c.name, points, place)]
    if not views:
        return {}
    return {"data": script_json({"collections": about, "views": views, "across": ACROSS}), "sheets": sheets}


def _chips(collection: Collection, points: pd.DataFrame, most: int) -> NDArray[np.intp]:
    """Rows of the chips that are shown, in store order: those of every projection, or as many as there is room for."""
    rows = np.flatnonzero(collection.chips["chip_id"].isin(points["chip_id"]).to_numpy())
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]


def _about(collection: Collection, chips: NDArray[np.intp], pictures: Thumbnails) -> dict[str, Any]:
    """Everything about the chips of a collection that no encoder changes."""
    table = collection.chips.iloc[chips]
    places = zip(("lon", "lat"), chip_centres(table), strict=True) if have_places(table) else ()
    named = {"split": ("split", coded(table["split"], SPLITS)), "region": ("region", coded(table["region"]))}
    named |= {
        str(name): (label_title(str(name)), coded(collection.classes[name].iloc[chips]))
        for name in collection.classes
        if collection.classes[name].nunique() <= _MOST_NAMES
    }
    numbers = {str(n): collection.labels[n].to_numpy(np.float64)[chips] for n in collection.labels}
    return {
        "title": collection.note.title,
        "kind": collection.note.kind,
        "side": pictures.side_px,
        "sheets": len(pictures.sheets),
        "ids": table["chip_id"].tolist(),
        "blocks": coded(table["block"]),
        "shows": coded(pictures.shows),
        **{axis: packed(values, "f4") for axis, values in places},
        "classes": {key: {"title": title, **codes} for key, (title, codes) in named.items() if codes["names"] != [""]},
        "numbers": {
            name: {"title": label_title(name), "values": packed(values, "f4")}
            for name, values in numbers.items()
            if np.isfinite(values).any()
        },
    }


def _views(
    encoder: TrainedEncoder, collection: str, points: pd.DataFrame, place: Mapping[str, int]
) -> list[dict[str, Any]]:
    """One view a modality, all towers together first."""
    own = points[(points["encoder"] == encoder.note.runs[0]) & points["chip_id"].isin(place)]
    modalities = sorted(set(own["modality"]), key=lambda name: (name != "concat", name))
    return [
        {"encoder": encoder.note.title, "name": encoder.note.name, "collection": collection, "modality": modality,
         **_view(own[own["modality"] == modality], place)}
        for modality in modalities
    ]  # fmt: skip


def _view(rows: pd.DataFrame, place: Mapping[str, int]) -> dict[str, Any]:
    """Chips of one embedding by their place, where they are drawn, and their neighbours by row of this view."""
    row_of = {chip: k for k, chip in enumerate(rows["chip_id"])}
    nearest, cosines = (np.stack(rows[name].to_list()) for name in ("nearest", "cosines"))
    near = np.array([[row_of.get(chip, len(row_of)) for chip in chips] for chips in nearest])
    points = rows[["x", "y"]].to_numpy(np.float64)
    span = max(float(np.ptp(points, axis=0).max()), 1e-9)
    scaled = (points - points.min(axis=0)) / span * np.iinfo(np.uint16).max
    return {
        "chips": packed([place[chip] for chip in rows["chip_id"]], "u2"),
        "x": packed(np.rint(scaled[:, 0]), "u2"),
        "y": packed(np.rint(scaled[:, 1]), "u2"),
        "near": packed(near, "u2"),  # the number of rows: a neighbour that there was no room for
        "cosines": packed(np.rint(cosines * _COSINE), "i2"),
        "k": int(near.shape[1]),
    }
