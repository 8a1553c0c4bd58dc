"""Tables as files: every digit in CSV, what the page shows in Markdown and LaTeX."""

from pathlib import Path

import pandas as pd

from terraprobe.report.tables import Column, Table, latex, markdown, score, write_tables

TABLE = Table(
    "made-up",
    "Made up: 5 % of a_b.",
    (Column("what", "what"), Column("value", "OA", score, number=True)),
    pd.DataFrame({"what": ["a|b & [c]", "d"], "value": [0.123456, None], "unseen": [1, 2]}),
)


def test_markdown_shows_what_the_page_shows() -> None:
    assert markdown(TABLE).splitlines() == [
        "Made up: 5 % of a_b.", "", "| what | OA |", "| --- | ---: |", "| a\\|b & [c] | 0.123 |", "| d |  |",
    ]  # fmt: skip


def test_latex_escapes_what_it_would_take_for_commands() -> None:
    text = latex(TABLE)
    assert r"a|b \& {[}c] & 0.123 \\" in text and r"d &  \\" in text
    assert r"\caption{Made up: 5 \% of a\_b.}\label{tab:made-up}" in text
    assert text.count(r"\begin{longtable}{lr}") == text.count(r"\end{longtable}") == 1


def test_files_of_an_earlier_report_go_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "old.tex").write_text("of an earlier report")
    (tmp_path / "notes.txt").write_text("not ours")
    whole = Table("whole", "", (), TABLE.frame)
    write_tables([TABLE, whole], tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"made-up.csv", "made-up.md", "made-up.tex", "whole.csv", "notes.txt"}
    assert pd.read_csv(tmp_path / "made-up.csv")["value"][0] == 0.123456
