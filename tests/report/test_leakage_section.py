"""What the page says about leakage follows from the audit by rule."""

import copy
import re
from typing import Any

import pandas as pd
import pytest

from terraprobe.report.leakage import leakage_sentences
from terraprobe.report.notes import CollectionNote
from terraprobe.report.results import mean_gap

AUDIT: dict[str, Any] = {
    "test_to_train": {"touching_pairs": 0, "within_km": {"0": 0.0, "1": 0.05, "10": 1.0, "25": 1.0},
                      "quantiles_m": {"median": 5000.0}},
    "correlogram": {"length_km": 3.0},
    "pretraining": [{"encoder": "tiny", "chips": 0, "share": 0.0}],
}  # fmt: skip


def said(planted_km: float | None = None, **changes: Any) -> str:
    audit = copy.deepcopy(AUDIT)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = audit
        for name in parents:
            place = place[name]
        place[last] = value
    note = CollectionNote(name="n", title="N", simulated=False, source="", licence="", planted_km=planted_km)
    return " ".join(leakage_sentences(audit, note))


def test_length_is_held_against_the_distance_of_the_split() -> None:
    assert "most test chips lie beyond the autocorrelation length" in said()
    assert "test chips lie within the autocorrelation length of train chips" in said(correlogram__length_km=8.0)
    assert "cannot be told" in said(correlogram__length_km=None)
    assert "autocorrelation" not in said(correlogram=None)


def test_planted_length_touching_and_near_chips_are_named() -> None:
    assert "The simulator planted 60 km." in said(planted_km=60.0)
    assert "planted" not in said()
    assert "7 pairs of a test and a train chip touch." in said(test_to_train__touching_pairs=7)
    assert "within 1 km" not in said()
    near = {"0": 0.0, "1": 0.4, "10": 1.0, "25": 1.0}
    assert "40% of the test chips have a train chip within 1 km." in said(test_to_train__within_km=near)


def test_pretraining_on_test_ground_is_named() -> None:
    assert "No test chip lies on ground that an encoder was pretrained on (tiny)." in said()
    hit = [{"encoder": "tiny", "chips": 3, "share": 0.5}]
    assert "tiny was pretrained on the ground of 3 test chips (50%)." in said(pretraining=hit)


def test_mean_gap_is_of_the_named_features() -> None:
    rows = [("e", "trained", "", 0.1), ("e", "random-0", "", 0.2), ("e", "random-1", "", 0.4), ("", "", "climate", 0.3)]
    gaps = pd.DataFrame(rows, columns=["encoder", "init", "floor", "gap"]).assign(modality="concat", task="water")
    assert mean_gap(gaps, "water", "e", "trained", "concat") == pytest.approx(0.1)
    assert mean_gap(gaps, "water", "e", "random", "concat") == pytest.approx(0.3)
    assert mean_gap(gaps, "water", "", "climate", "concat") == pytest.approx(0.3)
    assert pd.isna(mean_gap(gaps, "water", "", "climate", "s1"))


def test_every_headline_table_and_collection_is_on_the_page(page: Any) -> None:
    html = page.read_text()
    heads = re.findall(r'<table id="table-headline-.*?</thead>', html, re.DOTALL)
    assert len(heads) == 2
    assert all(">optimism gap</th>" in head and ">its gap</th>" in head for head in heads)
    table = pd.read_csv(page.parent / "tables" / "headline-forest_sim-clip3_sim.csv")
    assert (table["gap"] == 0.0625).all() and (table["rival_gap"] == 0.0625).all()
    for name in ("scene", "sim"):
        assert f'id="fig-leakage-{name}"' in html
    assert 'id="table-leakage"' in html and 'id="table-alike"' in html


def test_images_without_places_are_told_by_name_alone() -> None:
    words = said(test_to_train=None, correlogram=None)
    assert "no place on Earth" in words and "intervals resample test chips" in words
    assert "No test chip is called as an image that an encoder was pretrained on (tiny)." in words
    hit = [{"encoder": "tiny", "chips": 5, "share": 0.5}]
    assert "tiny was pretrained on images called as 5 test chips (50%)." in said(
        test_to_train=None, correlogram=None, pretraining=hit
    )
