"""Alpha and relative epochs follow from what trainings took."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from terraprobe.report.costs import cost_table, epoch_seconds, relative_cost, write_costs
from terraprobe.report.inputs import TrainedEncoder
from terraprobe.report.notes import ClassificationNote, EncoderNote, EvaluationNote, ReportRecipe
from terraprobe.report.trainings import few_shot_scores, probe_scores, trainings_table

NOTE = ClassificationNote(name="kinds", title="Kinds on Simland", collection="sim", simulated=True, efficiency_at=0.9)


def trained(name: str, *runs: tuple[float, int], **machine: Any) -> TrainedEncoder:
    """An encoder of some seeds: seconds and epochs of each."""
    note = EncoderNote(name=name, title=name, collections=("sim",), data="Simland (simulated)")
    histories = tuple(pd.DataFrame({"epoch": range(epochs)}) for _, epochs in runs)
    card = {"method": machine.pop("method", "bioclim_supervised")}
    where = {"device": "cpu", "precision": "fp32", "threads": 1, **machine}
    return TrainedEncoder(note, (card,), histories, tuple({**where, "seconds": seconds} for seconds, _ in runs))


PLAIN = trained("plain", (20.0, 10), (30.0, 10))
CBN = trained("cbn", (12.0, 4), (31.0, 10))


def arms(**epochs: float) -> pd.DataFrame:
    kinds = {"plain": "plain", "cbn": "CBN", "majority": ""}
    rows = [
        {"arm": arm, "data": "simulated", "conditioning": kinds[arm], "n_seeds": 2, "parameters": 7, "epochs": count}
        for arm, count in epochs.items()
    ]
    return pd.DataFrame(rows)


def test_an_epochs_time_is_the_mean_over_seeds_whatever_their_number_of_epochs() -> None:
    assert epoch_seconds(PLAIN) == pytest.approx(2.5)
    assert epoch_seconds(CBN) == pytest.approx(3.05)
    assert relative_cost(CBN, PLAIN) == pytest.approx(1.22)
    assert relative_cost(PLAIN, PLAIN) == 1


@pytest.mark.parametrize("machine", [{"device": "GPU"}, {"precision": "bf16"}, {"threads": 2}])
def test_times_of_different_machines_are_not_compared(machine: dict[str, Any]) -> None:
    assert math.isnan(relative_cost(trained("cbn", (12.0, 4), **machine), PLAIN))


def test_a_training_whose_cost_is_not_known_has_no_alpha() -> None:
    unknown = TrainedEncoder(CBN.note, CBN.cards, CBN.histories, ({}, {}))
    assert math.isnan(epoch_seconds(unknown)) and math.isnan(relative_cost(unknown, PLAIN))
    assert math.isnan(relative_cost(PLAIN, unknown))
    assert math.isnan(relative_cost(CBN, trained("plain", (0.0, 4))))


def test_the_first_encoder_that_is_judged_is_the_reference() -> None:
    other = trained("auto", (1.0, 1))
    table = cost_table(NOTE, arms(plain=10.0, cbn=9.0, majority=math.nan), [other, PLAIN, CBN])
    assert table.frame["arm"].tolist() == ["plain", "cbn"]
    assert table.frame["alpha"].tolist() == pytest.approx([1, 1.22])
    assert table.frame["relative_epochs"].tolist() == pytest.approx([10, 10.98])
    assert table.frame["paper_alpha"].tolist() == [1, 1.242]
    heads = [column.title for column in table.columns]
    cells = dict(zip(heads, (cell.text for cell in table.rows[1]), strict=True))
    assert cells["α"] == "1.220" and cells["parameters"] == "7"
    assert (cells["Eff-0.9, epochs"], cells["Eff-0.9, relative epochs"]) == ("9.0", "11.0")
    assert "over that of plain" in table.caption


def judged(name: str, encoder: TrainedEncoder) -> TrainedEncoder:
    """The same with a card."""
    card = {"method": "bioclim_supervised", "parameters": {"total": 7}, "chips": {"train": 5}}
    return TrainedEncoder(encoder.note, (card,), encoder.histories, encoder.costs)


def test_scores_beside_costs_are_means_over_tasks_and_draws_of_the_encoder_as_a_whole() -> None:
    note = EvaluationNote(name="few", title="Few", collection="sim")
    row = {"evaluation": "few", "arm": "trained", "floor": "", "encoder": "e", "primary": True, "n_shots": 100}
    rows = [
        {**row, "modality": modality, "task": task, "value": value}
        for modality, task, value in [("concat", "a", 0.6), ("concat", "b", 0.8), ("s1_grd", "a", 0.1)]
    ] + [{**row, "modality": "concat", "task": "a", "value": 0.2, "n_shots": 10}]
    found = few_shot_scores(pd.DataFrame(rows), {note: "Few (simulated)"})
    assert found == {"Few (simulated), 100 labels: accuracy": {"e": pytest.approx(0.7)}}
    pixels = pd.DataFrame(
        [("cover", "miou", "e", 0, 0.3), ("cover", "miou", "e", 50, 0.1), ("cover", "oa", "e", 0, 0.9)],
        columns=["evaluation", "metric", "arm", "size", "value"],
    )
    assert probe_scores(pixels, {"cover": "Cover"}, "miou", "mIoU") == {"Cover: mIoU": {"e": 0.3}}


def test_networks_of_another_paper_have_no_alpha_of_this_one() -> None:
    scratch = trained("plain", (20.0, 10), method="rsbyol_supervised")
    assert math.isnan(cost_table(NOTE, arms(plain=10.0), [scratch]).frame["paper_alpha"][0])


def test_costs_stand_on_a_page_of_their_own_and_leftovers_go(tmp_path: Path) -> None:
    recipe = ReportRecipe(
        study="s", title="Study", about="", collections=(), encoders=(), evaluations=(), classifications=(NOTE,)
    )
    table = cost_table(NOTE, arms(plain=10.0, cbn=9.0), [PLAIN, CBN])
    every = trainings_table([judged("plain", PLAIN), judged("cbn", CBN)], {"Kinds (simulated)": {"plain": 0.75}})
    write_costs(recipe, every, [{"evaluation": NOTE, "note": NOTE, "cost": table}], tmp_path / "index.html")
    html = (tmp_path / "cost/index.html").read_text()
    assert ">1.220</td>" in html and 'href="kinds.csv"' in html and 'href="../index.html"' in html
    assert "Measured in this run itself" in html and "make bench-train" in html
    assert 'class="badge simulated"' in html and "default-src 'none'" in html
    assert pd.read_csv(tmp_path / "cost/kinds.csv")["alpha"].tolist() == pytest.approx([1, 1.22])
    both = pd.read_csv(tmp_path / "cost/trainings.csv").set_index("encoder")
    assert both["seconds"].tolist() == pytest.approx([25, 21.5])
    assert both.loc["plain", "Kinds (simulated)"] == 0.75 and math.isnan(both.loc["cbn", "Kinds (simulated)"])
    assert both.loc["cbn", ["epochs", "machine"]].tolist() == [7, "cpu, threads: 1"]
    write_costs(recipe, trainings_table([], {}), [], tmp_path / "index.html")
    assert not list((tmp_path / "cost").iterdir())


def test_a_level_that_is_never_reached_has_no_relative_epochs() -> None:
    table = cost_table(NOTE, arms(plain=10.0, cbn=math.nan), [PLAIN, CBN])
    cells = [cell.text for cell in table.rows[1]]
    assert cells[7:9] == ["", ""] and cells[6] == "1.220"
