"""What the page says of pixels follows from their scores by rule."""

import numpy as np
import pandas as pd
import pytest

from called_pixels import ALL, CLASSES
from terraprobe.probes.confusion import SCORES
from terraprobe.report.chipviews import limits
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.notes import SegmentationNote
from terraprobe.report.segmentation import (
    class_rows_table,
    leading,
    segmentation_differences,
    segmentation_points,
    segmentation_sentences,
    segmentation_table,
)
from terraprobe.report.segmentationpictures import draw_class_scores, draw_scarcity

NOTE = SegmentationNote(name="cover", title="Osm on Land", collection="land", simulated=True, classes=CLASSES,
                        encoders=("whole", "single"), about="A head.")  # fmt: skip
FACTS = {"evaluation": "cover", "n_seeds": 1, "n_repeats": 2, "n_test": 80, "n_unseen": 3, "n_pixels": 16000,
         "n_present": 2, "n_classes": 3, "n_blocks": 40, "few_blocks": False}  # fmt: skip
ARMS = [
    ("whole", "trained", "s2", "", ALL, 0.6), ("whole", "untrained", "s2", "", ALL, 0.4),
    ("single", "trained", "s2", "B02", "s2_l1c: B02", 0.5), ("single", "trained", "s2", "B03", "s2_l1c: B03", 0.3),
    ("single", "trained", "", "mean", "s2_l1c: B02 | s2_l1c: B03", 0.4),
    ("", "", "pixel values", "", ALL, 0.55), ("", "", "majority class", "", "", 0.2),
]  # fmt: skip


def rows(columns):
    keys = ("arm", "init", "tower", "band", "sees")
    arms = [dict(zip(keys, arm, strict=False)) | {"stratum": "", "size": size} for arm in ARMS for size in (10, 0)]
    values = [arm[-1] - lost for arm in ARMS for lost in (0.1, 0)]
    return [arm | columns(value, arm["size"]) for arm, value in zip(arms, values, strict=True)]


@pytest.fixture
def points():
    found = [row | {"metric": metric, "n_train": row["size"] or 300, **FACTS}
             for row in rows(lambda v, _: {"value": v, "low": v - 0.1, "high": v + 0.1, "sd": np.nan})
             for metric in SCORES]  # fmt: skip
    return segmentation_points(NOTE, pd.DataFrame(found))


@pytest.fixture
def classes():
    parts = [f"{metric}{end}" for metric in ("accuracy", "iou") for end in ("", "_low", "_high")]
    found = rows(lambda v, _: {"evaluation": "cover", "n_pixels": 5, **dict.fromkeys(parts, v)})
    absent = {"iou": np.nan, "accuracy": np.nan, "n_pixels": 0}
    return pd.DataFrame([r | {"class": name} | (absent if name == "snow" else {}) for r in found for name in CLASSES])


def compared(points, **other):
    row = {"evaluation": "cover", "arm": "whole", "init": "trained", "tower": "s2", "band": "", "sees": ALL, "size": 0,
           "stratum": "", "rival": "", "rival_init": "", "rival_tower": "pixel values", "rival_band": "",
           "metric": "miou", "value": 0.6, "rival_value": 0.55, "difference": 0.05, "low": -0.02, "high": 0.12,
           "p": 0.2, "p_holm": 0.4}  # fmt: skip
    return segmentation_differences(NOTE, pd.DataFrame([row | other]), points)


def test_most_labels_and_trained_stand_first(points):
    table = segmentation_table(NOTE, points)
    first = [cell.text for cell in table.rows[0]]
    assert first[:6] == ["whole, s2", "simulated", "s2_l1c (B02, B03)", "300", "1", "2"]
    assert first[6:9] == ["0.600", "0.500", "0.700"]
    models = [row[0].text for row in table.rows[:7]]
    assert models[4:] == ["whole, s2, untrained", "pixel values", "majority class"]
    assert "1 of 3 classes are absent" in table.caption


def test_a_mean_stands_for_its_bands(points):
    assert "B02" not in set(leading(points)["band"]) and "mean" in set(leading(points)["band"])
    assert "B02" in set(leading(points[points["band"] != "mean"])["band"])


def test_sentences_say_what_the_intervals_allow(points):
    said = segmentation_sentences(NOTE, points, compared(points).frame)
    assert said[0].startswith("80 simulated test chips in 40 blocks; left out: 3 labelled ones")
    assert said[1].startswith(
        "whole, s2, 300 labelled chips: mIoU 0.600 [0.500, 0.700], OA 0.600; against pixel values"
    )
    assert "+0.050" in said[1] and compared(points).frame["verdict"].tolist() == ["not shown"]
    better = compared(points, low=0.01, p_holm=0.01).frame["verdict"].tolist()
    assert better == ["better"]


def test_classes_are_those_of_most_labels(classes):
    table = class_rows_table(NOTE, classes)
    assert len(table.rows) == 3 * 6 + 3
    assert [cell.text for cell in table.rows[2]][2:5] == ["snow", "0", ""]


def test_figures(points, classes, tmp_path):
    gallery = Gallery(tmp_path)
    with house_style():
        (labels,) = draw_scarcity(NOTE, points, gallery)
        (by_class,) = draw_class_scores(NOTE, classes, gallery)
        assert draw_scarcity(NOTE, points[points["size"] == 0], gallery) == []
    assert "single, mean of bands 0.400" in labels.svg and "snow" not in by_class.svg
    assert {p.name for p in tmp_path.iterdir()} >= {"segmentation-cover-labels.png", "segmentation-cover-classes.svg"}


def test_a_chip_that_was_not_observed_does_not_hide_the_others():
    images = np.full((2, 4, 4, 3), np.nan, np.float32)
    assert limits(images).tolist() == [[0, 0, 0], [1, 1, 1]]
    images[1] = np.linspace(0, 1, 16).reshape(4, 4, 1)
    assert limits(images) == pytest.approx(np.quantile(images[1], [0.01, 0.98], axis=(0, 1)))
