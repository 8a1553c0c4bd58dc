"""Tables of the report: as CSV with every digit, and as cells for the page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from terraprobe.artifacts import atomic_path


@dataclass(frozen=True)
class Cell:
    """One cell of a table on the page.

    Attributes:
        text: what is read.
        value: what the table is sorted by, with every digit; None: the text.
        css: class.
    """

    text: str
    value: str | None = None
    css: str = ""


@dataclass(frozen=True)
class Column:
    """One column of a table on the page.

    Attributes:
        source: column of the frame.
        title: heading.
        show: value to text; None: as it is.
        number: whether it is set to the right.
        filter: whether rows may be chosen by its values.
        css: class of its cells; `@value` takes the cell's own text.
    """

    source: str
    title: str
    show: Callable[[Any], str] | None = None
    number: bool = False
    filter: bool = False
    css: str = ""

    def cell(self, value: Any) -> Cell:
        """The cell of one value."""
        missing = value is None or (isinstance(value, float) and pd.isna(value))
        text = "" if missing else self.show(value) if self.show else str(value)
        css = text.replace(" ", "-") if self.css == "@value" else self.css
        key = ("" if missing else repr(float(value))) if self.number else None
        return Cell(text, key, "number" if self.number else css)


@dataclass(frozen=True)
class Table:
    """A table of the page and of `report/tables`.

    Attributes:
        name: stem of its CSV file.
        caption: above it.
        columns: those on the page, in order.
        frame: all of it, for the CSV file.
        live: whether it can be sorted and filtered.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    live: bool = False

    @property
    def rows(self) -> list[list[Cell]]:
        """Cells in the order of `columns`."""
        records = self.frame.to_dict("records")
        return [[column.cell(record[column.source]) for column in self.columns] for record in records]


def write_tables(tables: list[Table], folder: Path) -> None:
    """Write every table as `<name>.csv`, and remove those of an earlier report that this one does not have."""
    for table in tables:
        with atomic_path(folder / f"{table.name}.csv") as temporary:
            table.frame.to_csv(temporary, index=False)
    keep = {f"{table.name}.csv" for table in tables}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix == ".csv" and path.name not in keep:
            path.unlink()


def score(value: float) -> str:
    """A score: three digits after the point."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """A difference of scores."""
    return f"{value:+.3f}".replace("-", "−")


def whole(value: float) -> str:
    """A count."""
    return f"{int(value):,}"


def share(value: float) -> str:
    """A share, in per cent."""
    return f"{value:.0%}"


DIFFERENCE = (
    Column("difference", "difference", signed, number=True),
    Column("low", "from", signed, number=True),
    Column("high", "to", signed, number=True),
    Column("p_holm", "p (Holm)", "{:.3f}".format, number=True),
)
"""A paired difference with its interval, in every table of comparisons."""

OVER_EVALUATIONS = (
    Column("n_better", "evaluations above 0", whole, number=True),
    Column("n_evaluations", "of", whole, number=True),
    Column("spread", "SD over them", score, number=True),
    Column("n_blocks", "test blocks", whole, number=True),
    Column("verdict", "verdict", css="@value"),
)
"""What stands beside a difference over the evaluations of a pool."""
