"""Leakage audit: how near test chips are to train chips, and how far labels stay alike.

The audit measures and, where the study sets a limit, refuses: no test score is made of a collection that breaks it.
Where images have no place on Earth it compares names: distances cannot be told.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from terraprobe.artifacts import read_table, table_metadata, write_json
from terraprobe.collections.chiptable import CHIP_RESOLUTION_M, chip_centres, have_places, number_labels, read_chips
from terraprobe.collections.correlogram import correlogram, morans_i
from terraprobe.collections.nearness import nearness
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Ins, Out, Recipe, progress

if TYPE_CHECKING:
    import geopandas as gpd

WITHIN_KM = (0, 1, 10, 25)
"""Distances whose shares are told; 0 is touching."""

_QUANTILES = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
_ECDF_POINTS = 101


class LeakageLimit(Recipe):
    """What a collection may leak before the run stops; null sets no limit.

    Attributes:
        touching_pairs: most pairs of a test and a train chip that touch or overlap.
        share_within_1_km: largest share of test chips within 1 km of a train chip.
        share_within_10_km: within 10 km.
        share_within_25_km: within 25 km.
        pretraining_overlap: largest share of test chips on ground that an encoder which embeds them was pretrained
            on. Never legitimate, so none by default; null lifts it.
    """

    touching_pairs: int | None = Field(None, ge=0)
    share_within_1_km: float | None = Field(None, ge=0, le=1)
    share_within_10_km: float | None = Field(None, ge=0, le=1)
    share_within_25_km: float | None = Field(None, ge=0, le=1)
    pretraining_overlap: float | None = Field(0.0, ge=0, le=1)


class LeakageRecipe(Recipe):
    """Recipe of `audit_leakage`.

    Attributes:
        collection: its name.
        encoders: the collections that each encoder which embeds this one was pretrained on.
        limit: what stops the run.
    """

    collection: str
    encoders: dict[str, tuple[str, ...]] = {}
    limit: LeakageLimit = LeakageLimit()


def audit_leakage(
    *, chips: In, labels: Ins, pretraining: Ins, recipe: LeakageRecipe, leakage: Out, picture: Out
) -> None:
    """Measure the leakage of a collection, and stop where the study's limit is broken.

    Args:
        chips: `chips.parquet`.
        labels: `labels.parquet`, or nothing where the collection has none.
        pretraining: `chips.parquet` of the other collections that the recipe's encoders were pretrained on.
        recipe: encoders and limit.
        leakage: JSON: `chips` by split; `test_to_train`: `quantiles_m`, `ecdf`, `within_km`, `touching_pairs`,
            `touching_val_pairs`; `labels`: Moran's I and correlogram of each; `correlogram` of all labels together;
            `pretraining`: test chips that overlap train chips of each encoder. The limit is not in it. Where chips have
            no place `test_to_train` is null, no label is in it, and what has the name of a train chip overlaps.
        picture: PNG of the distances and the correlogram.

    Raises:
        TerraprobeError: a limit of the recipe is broken; nothing is written then.
    """
    from terraprobe.report.leakage_figure import save_picture

    frame = read_chips(chips)
    test, train = (frame[frame["split"] == part] for part in ("test", "train"))
    counts = frame["split"].value_counts().sort_index()
    placed = have_places(frame)
    audit = {
        "collection": recipe.collection,
        "chip_side_m": int(table_metadata(chips)["chip_px"]) * CHIP_RESOLUTION_M if placed else None,
        "chips": {str(split): int(n) for split, n in counts.items()},
        "test_to_train": _distances(frame) if placed else None,
        **_alikeness(frame, _label_columns(frame, labels) if placed else {}),
        "pretraining": _pretraining(test, {recipe.collection: train}, pretraining, recipe.encoders),
    }
    check_limit(audit, recipe.limit)
    write_json(leakage, audit)
    save_picture(audit, picture)
    progress(f"{recipe.collection}: of {len(test)} test chips {_said(audit['test_to_train'])}")


def _said(near: Mapping[str, Any] | None) -> str:
    if near is None:
        return "nobody knows how near they are to train chips: their images have no place on Earth"
    shares = ", ".join(f"{share:.0%} within {km} km" for km, share in near["within_km"].items())
    return f"{shares}; {near['touching_pairs']} touching pairs"


def check_limit(audit: Mapping[str, Any], limit: LeakageLimit) -> None:
    """Hold an audit to the study's limit.

    Raises:
        TerraprobeError: names the collection, the figure, its value, the limit and what to do.
    """
    near = audit["test_to_train"]
    figures = {} if near is None else {
        "touching_pairs": near["touching_pairs"],
        **{f"share_within_{km}_km": near["within_km"][str(km)] for km in WITHIN_KM if km},
    }  # fmt: skip
    for name, value in figures.items():
        _hold(audit["collection"], name, value, limit, "Give the split a larger buffer_m, take another split")
    for encoder in audit["pretraining"]:
        advice = f"Take the overlapping collections out of encoder {encoder['encoder']}, change the split"
        _hold(audit["collection"], "pretraining_overlap", encoder["share"], limit, advice)


def _hold(collection: str, name: str, value: float, limit: LeakageLimit, advice: str) -> None:
    most = getattr(limit, name)
    if most is not None and value > most:
        raise TerraprobeError(
            f"leakage of collection {collection}: {name} is {value:g}, its leakage_limit is {most:g}; no test score "
            f"is made of it. {advice}, or raise leakage_limit.{name} in the study (null lifts it)."
        )


def _distances(frame: "gpd.GeoDataFrame") -> dict[str, Any]:
    test, train, val = (frame[frame["split"] == part] for part in ("test", "train", "val"))
    near = nearness(test, train)
    metres = near.distance_m
    share = np.linspace(0, 1, _ECDF_POINTS)
    # A quantile of the inverted empirical distribution is one of the distances, never between two.
    at = np.quantile(metres, share, method="inverted_cdf")
    within = {str(km): float(np.mean(metres <= km * 1000)) for km in WITHIN_KM}
    return {
        "quantiles_m": {name: _rounded(np.quantile(metres, q)) for name, q in _QUANTILES.items()},
        "ecdf": {"distance_m": [_rounded(m) for m in at], "share": [_rounded(s) for s in share]},
        "within_km": within,
        "touching_pairs": near.touching_pairs,
        "touching_val_pairs": nearness(test, val).touching_pairs,
    }


def _label_columns(frame: "gpd.GeoDataFrame", labels: Ins) -> dict[str, NDArray[np.float64]]:
    """Labels that are numbers, in the order of the chips."""
    if not labels:
        return {}
    table = read_table(labels[0]).set_index("chip_id").reindex(frame["chip_id"])
    return {name: table[name].to_numpy(np.float64) for name in number_labels(table)}


def _alikeness(frame: "gpd.GeoDataFrame", values: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Moran's I and correlogram of each label, and the correlogram of all of them."""
    if not values:
        return {"labels": {}, "correlogram": None}
    lon, lat = chip_centres(frame)
    labels = {}
    for name, label in values.items():
        moran = morans_i(lon, lat, label)
        labels[name] = {
            "morans_i": None if moran is None else {key: _rounded(value) for key, value in asdict(moran).items()},
            "correlogram": _correlogram(lon, lat, label),
        }
    return {"labels": labels, "correlogram": _correlogram(lon, lat, np.stack(list(values.values()), axis=1))}


def _correlogram(lon: NDArray[np.float64], lat: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, Any]:
    found = correlogram(lon, lat, values)
    return {
        "distance_km": [_rounded(d) for d in found.distance_km],
        "correlation": [_rounded(c) for c in found.correlation],
        "pairs": [int(n) for n in found.pairs],
        "length_km": None if found.length_km is None else _rounded(found.length_km),
    }


def _pretraining(
    test: "gpd.GeoDataFrame",
    trained: dict[str, "gpd.GeoDataFrame"],
    others: Ins,
    encoders: Mapping[str, tuple[str, ...]],
) -> list[dict[str, Any]]:
    """Test chips on ground that each encoder was pretrained on; collections go by the name of their folder."""

    def overlaps_with(table: "gpd.GeoDataFrame") -> NDArray[np.bool_]:
        if have_places(test) and have_places(table):
            return nearness(test, table).overlaps
        return np.asarray(test["chip_id"].isin(table["chip_id"]))

    for path in others:
        table = read_chips(path)
        trained[path.parent.name] = table[table["split"] == "train"]
    used = {name for names in encoders.values() for name in names}
    overlaps = {name: overlaps_with(table) for name, table in trained.items() if name in used}
    rows = []
    for encoder, names in encoders.items():
        hit = np.any([overlaps[name] for name in names], axis=0)
        rows.append(
            {"encoder": encoder, "collections": list(names), "chips": int(hit.sum()), "share": float(hit.mean())}
        )
    return rows


def _rounded(value: float) -> float:
    """Six digits: what is beyond them differs between machines and says nothing."""
    return float(f"{float(value):.6g}")
