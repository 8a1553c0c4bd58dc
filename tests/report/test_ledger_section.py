"""Published numbers on the page are those of the ledger, digit by digit."""

import re

import pandas as pd


def test_the_tables_are_the_ledger(study, page):
    for name, file in (("ledger", "ledger.parquet"), ("ledger-claims", "ledger.claims.parquet")):
        kept = pd.read_parquet(study.root / file)
        assert (page.parent / f"tables/{name}.csv").read_text() == kept.to_csv(index=False)


def test_every_published_number_is_a_row_with_its_verdict(study, page):
    ledger = pd.read_parquet(study.root / "ledger.parquet")
    (table,) = re.findall(r'<table id="table-ledger".*?</table>', page.read_text(), re.DOTALL)
    rows = re.findall(r"<tr>(<td.*?)</tr>", table, re.DOTALL)
    assert len(rows) == len(ledger)
    for html, row in zip(rows, ledger.to_dict("records"), strict=True):
        assert f">{row['verdict']}</td>" in html and f'data-v="{row["published"]!r}"' in html
        assert (f'data-v="{row["value"]!r}"' in html) == pd.notna(row["value"])


def test_the_summary_counts_the_verdicts(page):
    html = page.read_text()
    counts = "4 numbers: 1 reproduced, 1 not reproduced, 1 not comparable, 1 not run; 1 claims: 0 reproduced"
    assert html.count(counts) == 2
    assert '<a href="#published">Published</a>' in html
