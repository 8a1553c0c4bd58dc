"""What the page says of encoders trained with labels follows from their scores by rule."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from terraprobe.artifacts import read_json, write_json, write_table
from terraprobe.probes.classes import ClassesRecipe, score_classes
from terraprobe.probes.scores import SummaryRecipe, gather_scores
from terraprobe.report.classes import arms_of, classes_sentences, classes_table, differences_table, regions_table
from terraprobe.report.inputs import TrainedEncoder
from terraprobe.report.notes import ClassificationNote, EncoderNote
from terraprobe.report.page import write_report

NOTE = ClassificationNote(name="kinds", title="Kinds on Simland", collection="sim", simulated=True)
ARMS = {"plain": ("plain",), "cbn": ("cbn_s0", "cbn_s1")}


def card_of(conditioning: str, context: str, start: dict[str, str]) -> dict[str, Any]:
    recipe = {"conditioning": conditioning, "context": context}
    return {"recipe": recipe, "start": start, "parameters": {"total": 12_556_618}}


@pytest.fixture
def scored(study: Any, tmp_path: Path) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """`plain` calls everything crop, `cbn` is always right."""
    chips = pd.read_parquet(study.root / "collections/sim/chips.parquet", columns=["chip_id", "block", "split"])
    write_table(tmp_path / "chips.parquet", chips.assign(region="alpine"))
    truth = ["crop" if k % 3 else "tree" for k in range(len(chips))]
    write_table(tmp_path / "labels.parquet", pd.DataFrame({"chip_id": chips["chip_id"], "kind_class": truth}))
    for name, called in (("plain", "crop"), ("cbn_s0", truth), ("cbn_s1", truth)):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name / "sim.parquet", pd.DataFrame({"chip_id": chips["chip_id"], "predicted": called}))
    score_classes(
        predictions=sorted(tmp_path.glob("*/sim.parquet")), chips=tmp_path / "chips.parquet",
        labels=tmp_path / "labels.parquet", scores=tmp_path / "scores.parquet", regions=tmp_path / "regions.parquet",
        differences=tmp_path / "differences.parquet", blocks=tmp_path / "blocks.parquet",
        recipe=ClassesRecipe(
            evaluation="kinds", collection="sim", label="kind_class", classes=("tree", "crop"), arms=ARMS
        ),
    )  # fmt: skip
    return tmp_path, *(pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("scores", "differences"))


def encoders() -> list[TrainedEncoder]:
    cards = {"plain": card_of("none", "real", {}), "cbn": card_of("cbn", "shuffled", {"auto": "abc"})}
    notes = {
        name: EncoderNote(name=name, title=name, collections=("sim",), data="Simland (simulated)") for name in cards
    }
    curves = {"plain": [[0.94, 0.96]], "cbn": [[0.96, 0.96], [0.5, 0.6]]}
    histories = {name: tuple(pd.DataFrame({"val_accuracy": run}) for run in runs) for name, runs in curves.items()}
    costs: dict[str, tuple[dict[str, Any], ...]] = {name: ({},) * len(runs) for name, runs in curves.items()}
    return [TrainedEncoder(notes[name], (card,), histories[name], costs[name]) for name, card in cards.items()]


def test_the_table_says_what_each_model_is(scored: Any) -> None:
    _, scores, _ = scored
    arms = arms_of(NOTE, scores, encoders())
    rows = {row[0].text: [cell.text for cell in row] for row in classes_table(NOTE, arms).rows}
    assert list(rows) == ["plain", "cbn", "majority class"]
    assert rows["plain"][1:6] == ["simulated", "plain", "none", "fresh", "1"]
    assert rows["cbn"][1:6] == ["simulated", "CBN", "shuffled", "auto", "2"]
    assert rows["cbn"][6:10] == ["1.000", "0.000", "1.000", "1.000"]
    assert rows["plain"][6] == rows["majority class"][6] == rows["cbn"][16]
    assert rows["cbn"][12] == ""  # one region alone: no Gen-Geo
    assert [rows[name][13] for name in rows] == ["12,556,618", "12,556,618", "0"]
    assert [rows[name][14] for name in rows] == ["1.5", "", ""]  # the second run of `cbn` never gets there


def test_regions_stand_side_by_side(scored: Any) -> None:
    folder, scores, _ = scored
    table = regions_table(NOTE, pd.read_parquet(folder / "regions.parquet"))
    assert [column.title for column in table.columns] == ["region", "test chips", "plain", "cbn", "majority class"]
    (row,) = table.rows
    assert [cell.text for cell in row[:2]] == ["alpine", f"{scores['n_test'].iloc[0]:,}"]
    assert row[3].text == "1.000"


def test_sentences_follow_from_numbers(scored: Any) -> None:
    _, scores, differences = scored
    arms = arms_of(NOTE, scores, encoders())
    compared = differences_table(NOTE, differences, few_blocks=False).frame
    first, plain, cbn = classes_sentences(arms, compared)
    assert "2 classes of kind_class" in first and "simulated test chips" in first
    assert "Calling every chip crop, the most frequent train class" in first
    assert plain.endswith("against the majority class +0.000: no difference shown.")
    assert "cbn: accuracy 1.000 [1.000, 1.000], 2 seeds" in cbn and cbn.endswith(": better.")
    few = differences_table(NOTE, differences, few_blocks=True).frame
    assert set(few["verdict"]) == {"too few blocks"}
    assert "fewer than the 30" in classes_sentences(arms.assign(n_blocks=12), few)[0]


def test_a_study_of_heads_alone_has_a_page(study: Any, scored: Any, tmp_path: Path) -> None:
    folder, _, _ = scored
    tables = {name: folder / f"empty/{name}.parquet" for name in ("table", "summary", "differences", "pooled", "gaps")}
    gather_scores(scores=[], blocks=[], optimism=[], recipe=SummaryRecipe(), **tables)
    arguments = study.arguments() | {
        "scores": tables["table"], "summary": tables["summary"], "differences": tables["differences"],
        "pooled": tables["pooled"], "optimism": tables["gaps"], "classes": [folder / "scores.parquet"],
        "class_differences": [folder / "differences.parquet"], "class_regions": [folder / "regions.parquet"],
    }  # fmt: skip
    notes = [note.model_copy(update={"name": arm}) for note, arm in zip(study.recipe.encoders, ARMS, strict=True)]
    for note, arm in zip(study.recipe.encoders, ARMS, strict=True):
        (folder / "encoders" / arm).mkdir(parents=True)
        write_json(folder / "encoders" / arm / "card.json", _card(study, note.name, arm))
    arguments["cards"] = sorted(folder.glob("encoders/*/card.json"))
    history = study.root / "encoders/clip3_s2/history.parquet"
    arguments["histories"] = []
    for arm in ARMS:
        write_table(folder / "encoders" / arm / "history.parquet", pd.read_parquet(history).assign(val_accuracy=0.5))
        arguments["histories"].append(folder / "encoders" / arm / "history.parquet")
    recipe = study.recipe.model_copy(
        update={"encoders": tuple(notes), "evaluations": (), "pools": (), "classifications": (NOTE,)}
    )
    for arm, seconds in zip(ARMS, (40.0, 50.0), strict=True):
        cost = {"device": "cpu", "precision": "fp32", "threads": 1, "seconds": seconds}
        write_json(folder / "encoders" / arm / "cost.json", cost)
    write_report(**arguments, recipe=recipe, page=tmp_path / "page/index.html")
    html = (tmp_path / "page/index.html").read_text()
    assert 'href="cost/index.html"' in html and (tmp_path / "page/cost/index.html").is_file()
    assert pd.read_csv(tmp_path / "page/cost/kinds.csv")["alpha"].tolist() == [1, 1.25]
    (folder / "encoders/cbn/cost.json").unlink()
    write_report(**arguments, recipe=recipe, page=tmp_path / "page/index.html")
    assert (tmp_path / "page/index.html").read_text() == html  # times are nowhere on it
    assert pd.read_csv(tmp_path / "page/cost/kinds.csv")["alpha"].isna().tolist() == [False, True]
    assert 'id="table-classes-kinds"' in html and 'href="#classes"' in html
    assert 'id="fewshot"' not in html and 'href="#fewshot"' not in html
    assert (tmp_path / "page/tables/classes-kinds.csv").is_file()


def _card(study: Any, name: str, arm: str) -> dict[str, Any]:
    card = read_json(study.root / "encoders" / name / "card.json")
    conditioning = {"plain": "none", "cbn": "cbn"}[arm]
    recipe = {**card["recipe"], "conditioning": conditioning, "context": "real"}
    return {**card, "recipe": recipe, "label": "kind_class", "best_val_accuracy": 0.5}
