"""The map of collections: what the page needs to draw blocks, their splits, and the share of wrong calls in each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from terraprobe.collections.chiptable import have_places
from terraprobe.report.inputs import SPLITS, Collection
from terraprobe.report.pagedata import coded, packed, script_json
from terraprobe.report.results import RIVAL_TITLES, label_title, size_words
from terraprobe.report.tables import Column, Table, share, whole

_BOUNDS = ("minx", "miny", "maxx", "maxy")


def error_map(collections: Sequence[Collection], mistakes: pd.DataFrame, titles: Mapping[str, str]) -> dict[str, Any]:
    """Fill the map.

    Args:
        collections: in the order of the page.
        mistakes: of `gather_mistakes`.
        titles: of evaluations, by name.

    Returns:
        `data`, JSON for the page's script; empty where no collection has places.
    """
    collections = [c for c in collections if have_places(c.chips)]
    if not collections:
        return {}
    mistakes = mistakes[mistakes["collection"].isin([c.name for c in collections])]
    blocks = {c.name: sorted(map(str, set(c.chips["block"]))) for c in collections}
    calls = [_calls(key, rows, blocks, titles) for key, rows in _in_order(mistakes)]
    about = {c.name: _about(c, blocks[c.name]) for c in collections}
    return {"data": script_json({"collections": about, "order": [c.name for c in collections], "calls": calls})}


def _about(collection: Collection, blocks: Sequence[str]) -> dict[str, Any]:
    """Bounds, splits and region of every block."""
    chips = collection.chips
    bounds = chips.geometry.bounds.groupby(chips["block"]).agg(
        {"minx": "min", "miny": "min", "maxx": "max", "maxy": "max"}
    )
    counts = pd.crosstab(chips["block"], chips["split"]).reindex(index=[*blocks], columns=[*SPLITS], fill_value=0)
    region = chips.groupby("block")["region"].first().reindex([*blocks])
    most = np.array(SPLITS)[counts.to_numpy().argmax(axis=1)]
    return {
        "title": collection.note.title,
        "kind": collection.note.kind,
        "blocks": list(blocks),
        "bounds": packed(bounds.reindex([*blocks])[[*_BOUNDS]].to_numpy(), "f4"),
        "counts": packed(counts.to_numpy(), "u4"),
        "splits": list(SPLITS),
        "split": coded(most, SPLITS),
        "region": coded(region),
    }


def _in_order(mistakes: pd.DataFrame) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Groups of one map each: encoders before floors, all towers together first."""
    key = ["evaluation", "collection", "task", "features", "modality", "n_shots"]
    found = [(names, rows) for names, rows in mistakes.groupby(key, sort=False)]
    floor = set(RIVAL_TITLES)
    return sorted(found, key=lambda one: (*one[0][:3], one[0][3] in floor, one[0][3], one[0][4] != "concat", one[0][4]))


def _calls(
    key: tuple[Any, ...], rows: pd.DataFrame, blocks: Mapping[str, Sequence[str]], titles: Mapping[str, str]
) -> dict[str, Any]:
    evaluation, collection, task, features, modality, n_shots = key
    title = titles.get(evaluation, evaluation)
    kind = RIVAL_TITLES.get(features, features)
    return {
        "collection": collection,
        "asked": f"{label_title(task)}, {size_words(int(n_shots))}: {title}" if task else title,
        "by": f"{kind}, {modality}" if modality else kind,
        "block": packed(pd.Index(blocks[collection]).get_indexer(pd.Index(rows["block"])), "u2"),
        "wrong": packed((rows["wrong"] / rows["judged"]).to_numpy(), "f4"),
        "judged": packed(rows["judged"].to_numpy(), "f4"),
        "share": float(rows["wrong"].sum() / rows["judged"].sum()),
    }


def mistakes_table(mistakes: pd.DataFrame) -> Table:
    """One row for each map: how many calls are wrong, and how unevenly over blocks."""
    key = ["evaluation", "collection", "task", "features", "modality", "n_shots"]
    rows = []
    for names, found in mistakes.groupby(key, sort=True):
        shares = (found["wrong"] / found["judged"]).to_numpy()
        rows.append(
            {
                **dict(zip(key, names, strict=True)),
                "share": float(found["wrong"].sum() / found["judged"].sum()),
                "median": float(np.median(shares)),
                "worst_tenth": float(np.quantile(shares, 0.9)),
                "worst": str(found["block"].iloc[int(shares.argmax())]),
                "worst_share": float(shares.max()),
                "blocks": len(found),
            }
        )
    columns = (
        Column("evaluation", "evaluation", filter=True),
        Column("task", "task", label_title, filter=True),
        Column("features", "features", lambda name: RIVAL_TITLES.get(name, name), filter=True),
        Column("modality", "modality", filter=True),
        Column("share", "wrong", share, number=True),
        Column("median", "median block", share, number=True),
        Column("worst_tenth", "worst tenth from", share, number=True),
        Column("worst", "worst block"),
        Column("worst_share", "wrong there", share, number=True),
        Column("blocks", "test blocks", whole, number=True),
    )
    caption = "Wrong calls on test chips (of pixel maps: pixels), and how they are spread over blocks."
    frame = pd.DataFrame(rows, columns=[*key, "share", "median", "worst_tenth", "worst", "worst_share", "blocks"])
    return Table("mistakes", caption, columns, frame, live=True)
