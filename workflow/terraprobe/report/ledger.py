"""Published numbers and claims beside ours, as tables and sentences."""

from typing import Any

import pandas as pd

from terraprobe.ledger.verdicts import VERDICTS
from terraprobe.report.tables import Column, Table, whole


def _number(value: float) -> str:
    """A number of a paper, or ours in its unit: four digits that count."""
    return f"{value:.4g}".replace("-", "−")


def ledger_table(cells: pd.DataFrame) -> Table:
    """One row a published number.

    Args:
        cells: of `ledger.verdicts.judge_cells`.
    """
    columns = (
        Column("paper", "paper", filter=True),
        Column("table", "table", filter=True),
        Column("row", "row", filter=True),
        Column("column", "column", filter=True),
        Column("published", "published", _number, number=True),
        Column("spread", "its SD", _number, number=True),
        Column("value", "ours", _number, number=True),
        Column("low", "from", _number, number=True),
        Column("high", "to", _number, number=True),
        Column("sd", "our SD", _number, number=True),
        Column("verdict", "verdict", filter=True, css="@value"),
        *_stands_on(),
        Column("why", "why"),
    )
    caption = (
        "Published numbers beside ours, in the paper's unit. From, to: our 95 % interval over test blocks, then runs, "
        "or over runs alone where a score has no other. Of several evaluations that answer a number the first stands "
        "here, one on the paper's data before any other."
    )
    return Table("ledger", caption, columns, cells, live=True)


def _stands_on() -> tuple[Column, ...]:
    return (
        Column("data", "data", filter=True),
        Column("evaluation", "evaluation"),
        Column("arm", "our arm"),
        Column("runs", "runs", whole, number=True),
        Column("chips", "chips", whole, number=True),
        Column("epochs", "epochs", whole, number=True),
    )


def claims_table(claims: pd.DataFrame) -> Table:
    """One row a claim in words.

    Args:
        claims: of `ledger.verdicts.judge_claims`.
    """
    columns = (
        Column("paper", "paper", filter=True),
        Column("where", "where"),
        Column("sentence", "claim", css="wide"),
        Column("value", "ours", _number, number=True),
        Column("low", "from", _number, number=True),
        Column("high", "to", _number, number=True),
        Column("holds", "holds here", filter=True),
        Column("verdict", "verdict", filter=True, css="@value"),
        Column("rival", "against"),
        *_stands_on(),
        Column("scores", "scores", whole, number=True),
        Column("why", "why"),
    )
    caption = (
        "Claims in words. Ours: the difference from the rival with its paired 95 % interval, or the score that is held "
        "against a limit. Holds here: on the data at hand, which makes a verdict only where these are the paper's."
    )
    return Table("ledger-claims", caption, columns, claims, live=True)


def verdict_counts(cells: pd.DataFrame, claims: pd.DataFrame) -> str:
    """How many numbers and claims got which verdict, in one sentence."""
    told = [_counts(table, what) for table, what in ((cells, "numbers"), (claims, "claims")) if len(table)]
    return "; ".join(told) + "."


def _counts(table: pd.DataFrame, what: str) -> str:
    found = table["verdict"].value_counts()
    told = ", ".join(f"{found.get(verdict, 0)} {verdict}" for verdict in VERDICTS)
    return f"{len(table)} {what}: {told}"


def ledger_sentences(cells: pd.DataFrame, claims: pd.DataFrame) -> list[str]:
    """The counts of each paper."""
    papers: list[Any] = list(dict.fromkeys([*cells["paper"], *claims["paper"]]))
    return [
        f"{paper}: {verdict_counts(cells[cells['paper'] == paper], claims[claims['paper'] == paper])}"
        for paper in papers
    ]
