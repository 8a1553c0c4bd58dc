"""What the leakage audits found: a picture, sentences by fixed rule, and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from terraprobe.report.drawing import Gallery, Picture
from terraprobe.report.inputs import Collection
from terraprobe.report.leakage_figure import MARKS_KM, Audit, leakage_figure
from terraprobe.report.notes import CollectionNote
from terraprobe.report.results import label_title
from terraprobe.report.tables import Column, Table, share, whole

NEAR_SHARE = 0.1
"""Share of test chips within 1 km of a train chip from which the page says so in words. [D]"""


def draw_leakage(audit: Audit, note: CollectionNote, gallery: Gallery) -> list[Picture]:
    """The picture of one collection, none where its images have no place; call it within `house_style`."""
    if audit["test_to_train"] is None:
        return []
    near = audit["test_to_train"]["within_km"]
    shares = ", ".join(f"{near[str(km)]:.0%} within {km} km" for km in MARKS_KM)
    figure = leakage_figure(audit, f"{note.title} ({note.kind})", note.planted_km)
    told = audit["correlogram"] is not None
    caption = "Above: share of test chips that have a train chip within a distance, edge to edge. " * told
    caption += "Below: correlation of labels by distance, grey for each and blue for all together." * told
    caption = caption or "Share of test chips that have a train chip within a distance, edge to edge."
    return [gallery.add(f"leakage-{note.name}", figure, f"Test chips by distance to train: {shares}.", caption)]


def leakage_sentences(audit: Audit, note: CollectionNote) -> list[str]:
    """What follows from the figures by rule: nearness, length against distance, the planted length, pretraining."""
    near, said = audit["test_to_train"], []
    if near is None:
        return _by_name(audit)
    if near["touching_pairs"]:
        said.append(f"{near['touching_pairs']:,} pairs of a test and a train chip touch.")
    if near["within_km"]["1"] >= NEAR_SHARE:
        said.append(f"{near['within_km']['1']:.0%} of the test chips have a train chip within 1 km.")
    if audit["correlogram"] is not None:
        said += _length_sentences(audit["correlogram"]["length_km"], near["quantiles_m"]["median"] / 1000, note)
    return said + _pretrained(audit, "on the ground of", "lies on ground")


def _by_name(audit: Audit) -> list[str]:
    """What can be said of images without places."""
    said = [
        "The images have no place on Earth: how near test chips are to train chips cannot be told, neighbours could "
        "not be kept apart, and scores may flatter what would hold elsewhere. Each image is a block of its own: "
        "intervals resample test chips."
    ]
    return said + _pretrained(audit, "on images called as", "is called as an image")


def _pretrained(audit: Audit, how: str, none: str) -> list[str]:
    """Which encoders saw test chips when they were pretrained, or that none did."""
    hit = [row for row in audit["pretraining"] if row["chips"]]
    said = [f"{row['encoder']} was pretrained {how} {row['chips']:,} test chips ({row['share']:.0%})." for row in hit]
    if audit["pretraining"] and not hit:
        names = ", ".join(row["encoder"] for row in audit["pretraining"])
        said.append(f"No test chip {none} that an encoder was pretrained on ({names}).")
    return said


def _length_sentences(length_km: float | None, median_km: float, note: CollectionNote) -> list[str]:
    planted = "" if note.planted_km is None else f" The simulator planted {note.planted_km:g} km."
    if length_km is None:
        return [f"Over which distance labels stay alike cannot be told from these chips.{planted}"]
    found = f"Labels stay alike over {length_km:.3g} km; half of the test chips have a train chip within"
    verdict = (
        "test chips lie within the autocorrelation length of train chips, so scores flatter what would hold elsewhere."
        if length_km > median_km
        else "most test chips lie beyond the autocorrelation length of train chips."
    )
    return [f"{found} {median_km:.3g} km: {verdict}{planted}"]


def leakage_table(collections: Sequence[Collection]) -> Table:
    """One row a collection: how near test is to train, and how far labels stay alike."""
    rows = [
        {
            "collection": note.title,
            "data": note.kind,
            "test_chips": audit["chips"]["test"],
            **_nearest(audit["test_to_train"]),
            "length_km": (audit["correlogram"] or {}).get("length_km"),
            "planted_km": note.planted_km,
            "pretraining_overlap": max((row["share"] for row in audit["pretraining"]), default=None),
        }
        for note, audit in ((c.note, c.audit) for c in collections)
    ]
    columns = (
        Column("collection", "collection"),
        Column("data", "data"),
        Column("test_chips", "test chips", whole, number=True),
        *(Column(f"within_{km}_km", f"≤ {km} km" if km else "touching", share, number=True) for km in MARKS_KM),
        Column("touching_pairs", "pairs", whole, number=True),
        Column("median_km", "median km", "{:.3g}".format, number=True),
        Column("length_km", "length km", "{:.3g}".format, number=True),
        Column("planted_km", "planted km", "{:.3g}".format, number=True),
        Column("pretraining_overlap", "seen", share, number=True),
    )
    caption = (
        "Shares of test chips by distance to the nearest train chip, pairs that touch, median distance; length over "
        "which labels stay alike (planted: by the simulator); seen: largest share on ground of an encoder's training."
    )
    return Table("leakage", caption, columns, pd.DataFrame(rows))


def _nearest(near: Mapping[str, Any] | None) -> dict[str, Any]:
    """How near test is to train; nothing of images without places."""
    if near is None:
        return dict.fromkeys(
            (*(f"within_{km}_km" for km in MARKS_KM), "touching_pairs", "touching_val_pairs", "median_km")
        )
    return {
        **{f"within_{km}_km": near["within_km"][str(km)] for km in MARKS_KM},
        "touching_pairs": near["touching_pairs"],
        "touching_val_pairs": near["touching_val_pairs"],
        "median_km": near["quantiles_m"]["median"] / 1000,
    }


def alike_table(collections: Sequence[Collection]) -> Table:
    """One row a collection and label: Moran's I and length."""
    rows = [
        {
            "collection": note.title,
            "data": note.kind,
            "label": name,
            **dict.fromkeys(("value", "expectation", "z", "n")),
            **(label["morans_i"] or {}),
            "length_km": label["correlogram"]["length_km"],
        }
        for note, audit in ((c.note, c.audit) for c in collections)
        for name, label in audit["labels"].items()
    ]
    columns = (
        Column("collection", "collection"),
        Column("data", "data"),
        Column("label", "label", label_title),
        Column("value", "Moran's I", "{:.3f}".format, number=True),
        Column("expectation", "if unrelated", "{:.4f}".format, number=True),
        Column("z", "z", "{:.1f}".format, number=True),
        Column("n", "chips", whole, number=True),
        Column("length_km", "length km", "{:.3g}".format, number=True),
    )
    frame = pd.DataFrame(rows, columns=[column.source for column in columns])
    caption = "How alike the labels of neighbouring chips are (8 nearest), and over which distance."
    return Table("alike", caption, columns, frame)
