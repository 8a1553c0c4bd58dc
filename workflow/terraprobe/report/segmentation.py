"""Classes of pixels: scores of heads on encoders' features beside their floors, and what may be said of them."""

from typing import Any

import numpy as np
import pandas as pd

from terraprobe.probes.inits import FLOOR, TRAINED, UNTRAINED
from terraprobe.probes.segmentation_table import MEAN_OF_BANDS
from terraprobe.report.notes import SegmentationNote
from terraprobe.report.results import VERDICTS, verdict
from terraprobe.report.tables import DIFFERENCE, Column, Table, score, whole
from terraprobe.statistics import MIN_BLOCKS

METRIC_TITLES = {"oa": "OA", "aa": "AA", "miou": "mIoU", "aa_zero": "AA, absent 0", "miou_zero": "mIoU, absent 0"}
_ARM = ["arm", "init", "tower", "band", "sees", "size", "stratum"]


def model_title(row: "pd.Series[Any] | dict[Any, Any]") -> str:
    """What is called what on the page: the encoder, which part of it where it has several, and its weights."""
    if row["init"] == FLOOR:
        return f"{row['tower']}{', mean of bands' if row['band'] == MEAN_OF_BANDS else ''}"
    part = "mean of bands" if row["band"] == MEAN_OF_BANDS else row["band"] or row["tower"]
    return f"{row['arm']}, {part}{', untrained' if row['init'] == UNTRAINED else ''}"


def leading(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that stand for a whole encoder: all its channels at once, or the mean of those that it takes one by one.

    An encoder of which a single band was probed is stood for by that band.
    """
    means = set(rows.loc[rows["band"] == MEAN_OF_BANDS, "arm"])
    single = (rows["band"] != "") & (rows["band"] != MEAN_OF_BANDS)
    return rows[~(single & rows["arm"].isin(means) & (rows["init"] != FLOOR))]


def segmentation_points(note: SegmentationNote, scores: pd.DataFrame) -> pd.DataFrame:
    """One row for everything that was scored at each size, the largest size first.

    Args:
        note: the evaluation.
        scores: of `score_segmentation`, of all evaluations.
    """
    own = scores[scores["evaluation"] == note.name]
    scored = {str(metric): rows.set_index(_ARM) for metric, rows in own.groupby("metric")}
    points = scored["oa"].drop(columns=["metric", "value", "sd", "low", "high"])
    for metric, rows in scored.items():
        found = rows[["value", "low", "high", "sd"]].add_prefix(f"{metric}_")
        points = points.join(found.rename(columns={f"{metric}_value": metric}))
    points = points.reset_index()
    order = {TRAINED: 0, UNTRAINED: 1, FLOOR: 2}
    points = points.assign(model=[model_title(row) for row in points.to_dict("records")], data=note.kind,
                           labels=points["size"].where(points["size"] > 0, np.inf),
                           place=points["init"].map(order))  # fmt: skip
    sorted_points: pd.DataFrame = points.sort_values(
        ["stratum", "labels", "place"], ascending=[True, False, True], kind="stable", ignore_index=True
    )
    return sorted_points.drop(columns=["place", "labels"])


def segmentation_table(note: SegmentationNote, points: pd.DataFrame) -> Table:
    """One row for everything that was scored; the paper's tables of land cover."""
    columns = [
        Column("model", "model", filter=True),
        Column("data", "data"),
        Column("sees", "sees", lambda text: _short(str(text))),
        *_stratum(points),
        Column("n_train", "labelled chips", whole, number=True),
        Column("n_seeds", "seeds", whole, number=True),
        Column("n_repeats", "draws", whole, number=True),
    ]
    for metric in ("miou", "oa", "aa"):
        columns += [Column(metric, METRIC_TITLES[metric], score, number=True),
                    Column(f"{metric}_low", "from", score, number=True),
                    Column(f"{metric}_high", "to", score, number=True)]  # fmt: skip
    columns += [Column(metric, METRIC_TITLES[metric], score, number=True) for metric in ("miou_zero", "aa_zero")]
    first = points.iloc[0]
    absent = int(first["n_classes"] - first["n_present"])
    caption = (
        f"Pixels of {int(first['n_test']):,} test chips ({int(first['n_pixels']):,} labelled pixels in "
        f"{int(first['n_blocks'])} blocks). OA: share of pixels that are called right; AA: mean over classes of the "
        "share of their pixels; mIoU: mean intersection over union. Means over seeds and draws, 95 % intervals over "
        f"test blocks, then seeds and draws. {absent} of {int(first['n_classes'])} classes are absent from the test "
        "labels: skipped, or counted as 0 in the last two columns. Pixel values: a random forest on the values of the "
        "single pixel. Of an encoder that takes one band at a time each band has a head of its own."
    )
    return Table(f"segmentation-{note.name}", caption, tuple(columns), points, live=True)


def class_rows_table(note: SegmentationNote, classes: pd.DataFrame) -> Table:
    """Accuracy and intersection over union of each class, at the largest size."""
    own = classes[classes["evaluation"] == note.name]
    own = own[own["size"] == largest(own["size"])]
    own = own.assign(model=[model_title(row) for row in own.to_dict("records")], data=note.kind)
    columns = (
        Column("model", "model", filter=True),
        Column("data", "data"),
        *_stratum(own),
        Column("class", "class", filter=True),
        Column("n_pixels", "pixels", whole, number=True),
        Column("iou", "IoU", score, number=True),
        Column("iou_low", "from", score, number=True),
        Column("iou_high", "to", score, number=True),
        Column("accuracy", "accuracy", score, number=True),
        Column("accuracy_low", "from", score, number=True),
        Column("accuracy_high", "to", score, number=True),
    )
    caption = (
        "Class by class, with most labels: intersection over union, and the share of a class's pixels that are called "
        "so; empty where no test pixel has the class. Pixels are summed over seeds and draws."
    )
    return Table(f"segmentation-classes-{note.name}", caption, columns, own, live=True)


def _stratum(rows: pd.DataFrame) -> list[Column]:
    """A column that says which pixels, where they are divided."""
    return (
        [Column("stratum", "pixels", lambda name: name or "all", filter=True)] if (rows["stratum"] != "").any() else []
    )


def largest(sizes: "pd.Series[int]") -> int:
    """The largest of some sizes, of which 0 stands for all chips."""
    return 0 if (sizes == 0).any() else int(sizes.max())


def segmentation_differences(note: SegmentationNote, differences: pd.DataFrame, points: pd.DataFrame) -> Table:
    """Trained encoders against their twins, the floors and each other."""
    own = differences[differences["evaluation"] == note.name]
    trained = {tuple(row[key] for key in _ARM): row["n_train"] for row in points.to_dict("records")}
    few = bool(points["few_blocks"].iloc[0])
    own = own.assign(same_chips=True, few_blocks=few, data=note.kind)
    own = own.assign(verdict=pd.Series([verdict(row) for _, row in own.iterrows()], own.index, dtype=object))
    records = own.to_dict("records")
    own["model"] = [model_title(row) for row in records]
    own["n_train"] = [trained[tuple(row[key] for key in _ARM)] for row in records]
    rivals = ("rival", "rival_init", "rival_tower", "rival_band")
    own["against"] = [model_title(dict(zip(("arm", "init", "tower", "band"), (row[k] for k in rivals), strict=True)))
                      for row in records]  # fmt: skip
    columns = (
        Column("model", "model", filter=True),
        Column("data", "data"),
        *_stratum(own),
        Column("n_train", "labelled chips", whole, number=True),
        Column("metric", "metric", METRIC_TITLES.__getitem__, filter=True),
        Column("value", "value", score, number=True),
        Column("against", "against", filter=True),
        Column("rival_value", "its value", score, number=True),
        *DIFFERENCE,
        Column("verdict", "verdict", css="@value"),
    )
    caption = (
        "Paired differences over the same resampled test blocks, then seeds and draws; p over the rivals of one "
        "probe, by metric. Encoders are compared where they see the same, or all of their channels at once."
    )
    return Table(f"segmentation-differences-{note.name}", caption, columns, own, live=True)


def segmentation_sentences(note: SegmentationNote, points: pd.DataFrame, compared: pd.DataFrame) -> list[str]:
    """What may be said: every trained encoder with most labels, and how it stands to its floors.

    Args:
        note: the evaluation.
        points: of `segmentation_points`.
        compared: rows of `segmentation_differences`.
    """
    first, blocks = points.iloc[0], int(points["n_blocks"].iloc[0])
    few = "" if blocks >= MIN_BLOCKS else f", fewer than the {MIN_BLOCKS} that would carry a claim"
    kind = "simulated " if note.simulated else ""
    sentences = [
        f"{int(first['n_test']):,} {kind}test chips in {blocks} blocks{few}; left out: {int(first['n_unseen'])} "
        f"labelled ones that not every probe can see. {int(first['n_present'])} of {int(first['n_classes'])} classes "
        "are there."
    ]
    rows = leading(points[(points["size"] == largest(points["size"])) & (points["init"] == TRAINED)])
    rows = rows[rows["stratum"] == ""]
    gaps = compared[compared["metric"] == "miou"]
    for row in rows.to_dict("records"):
        own = gaps[np.logical_and.reduce([gaps[key] == row[key] for key in _ARM]) & (gaps["rival_init"] != TRAINED)]
        against = "; ".join(_compared(gap) for gap in own.to_dict("records"))
        sentences.append(
            f"{row['model']}, {int(row['n_train']):,} labelled chips: mIoU {score(row['miou'])} "
            f"[{score(row['miou_low'])}, {score(row['miou_high'])}], OA {score(row['oa'])}"
            f"{f'; {against}' if against else ''}."
        )
    return sentences


def _compared(row: dict[Any, Any]) -> str:
    said = "" if row["verdict"] == "too few blocks" else f" ({VERDICTS[row['verdict']]})"
    gap = f"{row['difference']:+.3f}".replace("-", "−")
    return f"against {row['against']} {gap}{said}"


def _short(text: str) -> str:
    """What is seen, without a list of every band."""
    parts = text.split(" | ")
    if len(parts) > 1:
        return f"{len(parts)} bands, one at a time"
    return "; ".join(
        f"{modality} ({bands if bands.count(',') < _LISTED else f'{bands.count(chr(44)) + 1} bands'})"
        for modality, _, bands in (part.partition(": ") for part in text.split("; "))
        if modality
    )


_LISTED = 4
