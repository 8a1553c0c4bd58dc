"""Methods side by side: rows by budget, paired differences either way round, and how equal they are said to be."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from terraprobe.report.inputs import TrainedEncoder
from terraprobe.report.notes import EncoderNote, EvaluationNote
from terraprobe.report.sidebyside import Gaps, compared_rows, compared_sentences, compared_table, with_seconds

NOTE = EvaluationNote(name="cover", title="Cover", collection="land", reference="scratch")
OPTICAL, BOTH = {"s2_l1c": {"modality": "s2_l1c"}}, {"a": {"modality": "s1_grd"}, "b": {"modality": "s2_l1c"}}


def encoder(
    name: str, method: str, towers: dict[str, Any], budgets: tuple[str, ...] = (), **more: Any
) -> TrainedEncoder:
    note = EncoderNote(name=name, title=name, collections=("land",), data="", budgets=budgets)
    card = {"method": method, "towers": towers, "recipe": {"conditioning": more.get("conditioning", "none")},
            "label": "kinds", "chips": {"train": 90}}  # fmt: skip
    cost = {"seconds": more.get("seconds", 1.0), "device": "cpu", "threads": 1}
    return TrainedEncoder(note, (card,), (pd.DataFrame(),), (cost,))


ENCODERS = [
    encoder("wide", "clip3", BOTH, ("chips",), seconds=3.0),
    encoder("long", "clip3", BOTH, ("compute",)),
    encoder("auto", "bioclim", OPTICAL, ("chips", "compute")),
    encoder("auto_cbn", "bioclim", OPTICAL, ("chips", "compute"), conditioning="cbn"),
    encoder("scratch", "bioclim_supervised", OPTICAL),
]
WHOLE = {"wide": "concat", "long": "concat", "auto": "s2_l1c", "auto_cbn": "s2_l1c", "scratch": "s2_l1c"}
SCORES = {"wide": 0.6, "long": 0.7, "auto": 0.65, "auto_cbn": 0.66, "scratch": 0.8}
FLOORS = {("image_stats", "concat"): 0.62, ("image_stats", "s2_l1c"): 0.61, ("image_stats", "s1_grd"): 0.5,
          ("climate", "concat"): 0.55, ("climate", "s2_l1c"): 0.55}  # fmt: skip


def point(of: tuple[str, str, str, str], value: float, n_shots: int) -> dict[str, Any]:
    encoder, arm, floor, modality = of
    return {"encoder": encoder, "arm": arm, "floor": floor, "modality": modality, "task": "water", "n_shots": n_shots,
            "metric": "accuracy", "value": value, "low": value - 0.1, "high": value + 0.1, "n_test": 40, "n_blocks": 31,
            "few_blocks": False, "test_set": "x"}  # fmt: skip


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    points = []
    for n_shots in (10, 0):
        points += [point((name, "trained", "", WHOLE[name]), value, n_shots) for name, value in SCORES.items()]
        points += [point(("wide", "trained", "", "a"), 0.3, n_shots)]
        points += [point((name, "random", "", WHOLE[name]), 0.5, n_shots) for name in SCORES]
        points += [point(("", "floor", *floor), value, n_shots) for floor, value in FLOORS.items()]
    rows = []
    trained = [p for p in points if p["arm"] == "trained"]
    for one in trained:
        for other in points:
            twin = other["arm"] == "random" and other["encoder"] == one["encoder"]
            later = other["arm"] == "trained" and one["encoder"] < other["encoder"]
            floor = other["arm"] == "floor" and other["modality"] == one["modality"]
            if one["n_shots"] == other["n_shots"] and (twin or later or floor):
                gap = one["value"] - other["value"]
                rows.append({
                    "encoder": one["encoder"], "modality": one["modality"], "rival": other["floor"] or other["arm"],
                    "rival_encoder": other["encoder"], "rival_modality": other["modality"], "task": "water",
                    "n_shots": one["n_shots"], "difference": gap, "low": gap - 0.01, "high": gap + 0.02,
                })  # fmt: skip
    return pd.DataFrame(points), pd.DataFrame(rows)


@pytest.fixture
def compute() -> pd.DataFrame:
    chips = {"wide": 400, "long": 1200, "auto": 400, "auto_cbn": 400, "scratch": 800}
    flops = {"wide": 1e12, "long": 3e12, "auto": 2.9e12, "auto_cbn": 3.1e12, "scratch": 4e12}
    rows = [{"encoder": name, "parameters": 7, "chips_seen": chips[name], "flops": flops[name], "stands_on": name}
            for name in chips]  # fmt: skip
    rows[1]["stands_on"] = "wide long"
    return pd.DataFrame(rows)


@pytest.fixture
def rows(compute: pd.DataFrame) -> pd.DataFrame:
    points, differences = tables()
    return compared_rows(NOTE, ENCODERS, points, Gaps(differences), compute)


def test_rows_stand_by_budget_then_the_reference_then_the_floors(rows: pd.DataFrame) -> None:
    assert list(zip(rows["budget"], rows["arm"], strict=True)) == [
        ("equal chips", "wide"), ("equal chips", "auto"), ("equal chips", "auto_cbn"),
        ("equal compute", "long"), ("equal compute", "auto"), ("equal compute", "auto_cbn"), ("reference", "scratch"),
        ("floor", "image statistics"), ("floor", "image statistics"), ("floor", "climate"),
    ]  # fmt: skip
    assert (rows["n_shots"] == 10).all()
    assert rows["value"].tolist()[0] == 0.6  # all towers together, not one of them
    assert rows[rows["arm"] == "image statistics"]["sees"].tolist() == ["concat", "s2_l1c"]


def test_differences_are_read_whichever_way_round_they_stand(rows: pd.DataFrame) -> None:
    by = rows.drop_duplicates(["arm", "sees"]).set_index("arm")
    assert by.loc["wide", ["twin", "twin_low", "twin_high"]].tolist() == pytest.approx([0.1, 0.09, 0.12])
    # scratch minus wide stands in the table, and wide minus scratch is asked for.
    assert by.loc["wide", ["reference", "reference_low", "reference_high"]].tolist() == pytest.approx(
        [-0.2, -0.22, -0.19]
    )
    assert by.loc["auto", ["reference", "reference_low", "reference_high"]].tolist() == pytest.approx(
        [-0.15, -0.16, -0.13]
    )
    assert np.isnan(by.loc["scratch", "reference"]) and by.loc["scratch", "twin"] == pytest.approx(0.3)
    floors = rows[rows["arm"] == "image statistics"].set_index("sees")["reference"]
    assert floors["s2_l1c"] == pytest.approx(-0.19) and np.isnan(floors["concat"])


def test_sentences_say_how_equal_and_what_is_not_alike(rows: pd.DataFrame) -> None:
    _, differences = tables()
    said = " ".join(compared_sentences(NOTE, ENCODERS, rows, Gaps(differences)))
    assert "Equal chips (wide, auto, auto_cbn): 400 train chips each." in said
    assert "Equal compute (long, auto, auto_cbn): 2.9 to 3.1 TFLOP of training, the most 6.9% above the least." in said
    assert "scratch, learnt kinds of 90 train chips from scratch" in said
    assert "s1_grd, s2_l1c by wide, long; s2_l1c by auto, auto_cbn, scratch" in said
    assert "At equal compute with 10 labels, mean over water: long 0.700, auto 0.650, auto_cbn 0.660." in said
    assert "auto_cbn minus auto with 10 labels: water +0.010 [−0.010, +0.020]" in said
    assert "other test chips" not in said and "test blocks, fewer" not in said
    spoilt = rows.assign(test_set=["y", *["x"] * (len(rows) - 1)], few_blocks=True)
    said = " ".join(compared_sentences(NOTE, ENCODERS, spoilt, Gaps(differences)))
    assert "Not all rows stand on the same test chips" in said and "fewer than the 30" in said


def test_seconds_stand_on_the_page_of_costs_alone(rows: pd.DataFrame, compute: pd.DataFrame) -> None:
    table = compared_table(NOTE, rows)
    assert table.name == "compared-cover" and "seconds" not in [column.source for column in table.columns]
    cells = [cell.text for cell in table.rows[0]]
    assert "[−0.220, −0.190]" in cells and "400" in cells and "1" in cells
    timed = with_seconds(table, ENCODERS, compute)
    by = timed.frame.drop_duplicates("arm").set_index("arm")
    assert by.loc["long", "seconds"] == 4.0 and by.loc["auto", "machine"] == "cpu, threads: 1"
    assert np.isnan(by.loc["climate", "seconds"]) and by.loc["climate", "machine"] == ""


def test_several_seeds_are_one_row(compute: pd.DataFrame) -> None:
    points, differences = tables()
    members = ("wide_s0", "wide_s1")
    note = ENCODERS[0].note.model_copy(update={"members": members})
    costs = tuple({"seconds": seconds, "device": "cpu", "threads": 1} for seconds in (2.0, 4.0))
    wide = TrainedEncoder(note, ENCODERS[0].cards * 2, ENCODERS[0].histories * 2, costs)
    own = [compute[:1].assign(encoder=m, stands_on=m, chips_seen=400 + 2 * k) for k, m in enumerate(members)]
    counted = pd.concat([*own, compute[1:].assign(stands_on=compute["encoder"])])
    encoders = [wide, *ENCODERS[1:]]
    rows = compared_rows(NOTE, encoders, points, Gaps(differences), counted)
    assert rows.iloc[0]["arm"] == "wide" and rows.iloc[0]["chips_seen"] == 401
    assert with_seconds(compared_table(NOTE, rows), encoders, counted).frame.iloc[0]["seconds"] == 3.0


def test_an_encoder_without_a_score_at_these_sizes_has_no_row(compute: pd.DataFrame) -> None:
    points, differences = tables()
    left = points[(points["encoder"] != "long") | (points["n_shots"] == 0)]
    rows = compared_rows(NOTE, ENCODERS, left, Gaps(differences), compute)
    assert "long" not in set(rows["arm"]) and "wide" in set(rows["arm"])
