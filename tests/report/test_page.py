"""The page is whole, offline and says what the scores say."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.report.page import CONTENTS, write_report

ABSENT = {"compared", "classes", "bands", "reconstruction", "segmentation", "published"}
"""Sections that the made-up study has nothing for."""


def rows_of(html: str, table: str) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Headings, and (text, data-v) of every cell, of one table of the page."""
    body = re.search(rf'<table id="table-{table}".*?</table>', html, re.DOTALL)
    assert body, table
    heads = [re.sub(r"<[^>]+>", "", h) for h in re.findall(r"<th [^>]*>(.*?)</th>", body.group())]
    rows = re.findall(r"<tr>(<td.*?)</tr>", body.group(), re.DOTALL)
    cells = [re.findall(r'<td(?:[^>]*?data-v="([^"]*)")?[^>]*>(.*?)</td>', row, re.DOTALL) for row in rows]
    return heads, [[(text, value) for value, text in row] for row in cells]


def test_numbers_equal_the_scores(page: Path, study: Any) -> None:
    heads, rows = rows_of(page.read_text(), "scores")
    scores = read_table(study.root / "scores.parquet")
    arm = scores["init"].str.replace(r"-\d", "", regex=True)
    scores = scores.assign(features=arm.where(scores["floor"] == "", scores["floor"]))
    titles = {"random": "random init", "image_stats": "image statistics", "majority": "majority class"}
    key = ["evaluation", "task", "n_shots", "encoder", "features", "modality", "metric"]
    means = scores.groupby(key)["value"].mean()
    assert len(rows) == len(means)
    at = {head: k for k, head in enumerate(heads)}
    seen = 0
    for (evaluation, task, n_shots, encoder, features, modality, metric), mean in means.items():
        labels = "all" if n_shots == 0 else str(n_shots)
        wanted = [evaluation, task, labels, encoder, titles.get(features, features), modality, metric.replace("_", " ")]
        columns = ["evaluation", "task", "labels", "encoder", "features", "modality", "metric"]
        found = [row for row in rows if [row[at[c]][0] for c in columns] == wanted]
        assert len(found) == 1, wanted
        text, value = found[0][at["value"]]
        if pd.isna(mean):
            assert (text, value) == ("", "")
        else:
            assert float(value) == pytest.approx(mean, abs=1e-12)
            assert text == f"{mean:.3f}"
            seen += 1
    assert seen > 100


def test_a_pool_is_told_with_its_intervals(page: Path, study: Any) -> None:
    html = page.read_text()
    pooled = read_table(study.root / "pooled.parquet").query("n_shots == 100 and modality == 'concat' and task == ''")
    assert "Pooled: Both places" in html and 'id="fig-pool-both-concat"' in html
    told = re.search(r"<li>(The concatenated embeddings, .*?)</li>", html)
    assert told
    for row in pooled[pooled["rival"] == "image_stats"].itertuples():
        numbers = [f"{v:+.3f}".replace("-", "−") for v in (row.difference, row.low, row.high)]
        assert f"image statistics {numbers[0]} [{numbers[1]}, {numbers[2]}], not judged (fewer than 30 test" in told[1]
    heads, rows = rows_of(html, "pool-both")
    assert len(rows) == len(read_table(study.root / "pooled.parquet"))
    assert {row[heads.index("task")][0] for row in rows} >= {"all tasks", "vegetation"}


def test_csv_holds_every_digit(page: Path, study: Any) -> None:
    table = pd.read_csv(page.parent / "tables" / "episodes.csv", keep_default_na=False, na_values=[""])
    scores = read_table(study.root / "scores.parquet")
    assert table["value"].to_numpy() == pytest.approx(scores["value"].to_numpy(), nan_ok=True)


def test_page_is_offline(page: Path) -> None:
    html = page.read_text()
    assert not re.search(r'(?:src|srcset|action)="(?!data:)', html)
    assert set(re.findall(r"https?://[^\s\"'<>]+", html)) <= {"http://www.w3.org/1999/xlink"}
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html
    for link in re.findall(r'href="([^"#][^"]*)"', html):
        assert link.startswith("data:") or (page.parent / link).is_file(), link


def test_page_is_accessible(page: Path) -> None:
    html = page.read_text()
    figures = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    assert len(figures) > 20
    assert all(re.search(r'<svg [^>]*role="img" aria-label="[^"]{20,}"', figure) for figure in figures)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert all(
        f'href="#{anchor}"' in html and f'id="{anchor}"' in html for anchor, _ in CONTENTS if anchor not in ABSENT
    )
    levels = [int(level) for level in re.findall(r"<h([1-6])", html)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_real_and_simulated_are_named(page: Path) -> None:
    html = page.read_text()
    assert html.count('class="badge real"') > 3 and html.count('class="badge simulated"') > 3
    captions = re.findall(
        r'<figure id="fig-(?:map|samples|tsne|curves|differences|training|quantiles)[^"]*".*?</figure>', html, re.DOTALL
    )
    assert captions and all("(real)" in c or "(simulated)" in c for c in captions)
    assert "© OpenStreetMap contributors, ODbL." in html


def test_impossible_and_unbalanced_tasks_are_told(page: Path) -> None:
    html = page.read_text()
    assert "Not scored: impossible: no train chip has a label of impossible." in html
    assert "Left out of this headline because unbalanced: water." in html


def test_same_inputs_give_the_same_bytes_and_leftovers_go(page: Path, study: Any, tmp_path: Path) -> None:
    old = [tmp_path / "figures" / "old.svg", tmp_path / "tables" / "old.csv"]
    for path in old:
        path.parent.mkdir()
        path.write_text("of an earlier report")
    write_report(**study.arguments(), recipe=study.recipe, page=tmp_path / "index.html")
    names = [sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (page.parent, tmp_path)]
    assert names[0] == names[1]
    for name in names[0]:
        assert (tmp_path / name).read_bytes() == (page.parent / name).read_bytes(), name


def test_a_study_too_small_for_health_and_comparisons(study: Any, tmp_path: Path) -> None:
    for encoder in ("clip3_s2", "clip3_sim"):
        history = read_table(study.root / "encoders" / encoder / "history.parquet")
        kept = history[[c for c in history if "rank" not in c]].assign(embedding_std=np.nan, weakest_tower="")
        write_table(tmp_path / encoder / "history.parquet", kept)
    write_table(tmp_path / "differences.parquet", read_table(study.root / "differences.parquet").iloc[:0])
    arguments = {
        **study.arguments(),
        "histories": sorted(tmp_path.glob("*/history.parquet")),
        "differences": tmp_path / "differences.parquet",
    }
    write_report(**arguments, recipe=study.recipe, page=tmp_path / "index.html")
    assert "not measured, too few validation chips" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("chips", [], "no chips.parquet of collection scene; given: none"),
        ("leakage", [], "no leakage.json of collection scene; given: none"),
        ("cards", [], "no card.json of encoder clip3_s2"),
        ("histories", [], "no history.parquet of encoder clip3_s2"),
    ],
)
def test_a_missing_input_is_named(study: Any, tmp_path: Path, argument: str, value: Any, words: str) -> None:
    with pytest.raises(TerraprobeError, match=words):
        write_report(**{**study.arguments(), argument: value}, recipe=study.recipe, page=tmp_path / "index.html")


def test_empty_scores_are_refused(study: Any, tmp_path: Path) -> None:
    empty = tmp_path / "summary.parquet"
    write_table(empty, read_table(study.root / "summary.parquet").iloc[:0])
    with pytest.raises(TerraprobeError, match="no scores"):
        write_report(**{**study.arguments(), "summary": empty}, recipe=study.recipe, page=tmp_path / "index.html")


def test_an_evaluation_without_scores_is_named(study: Any, tmp_path: Path) -> None:
    summary = read_table(study.root / "summary.parquet")
    path = tmp_path / "summary.parquet"
    write_table(path, summary[summary["evaluation"] == "forest_sim"])
    with pytest.raises(TerraprobeError, match="no score of evaluation forest_scene; the table holds forest_sim"):
        write_report(**{**study.arguments(), "summary": path}, recipe=study.recipe, page=tmp_path / "index.html")
