"""Tables of the report: as CSV with every digit; as the page shows them, for the page, as Markdown and as LaTeX."""

from collections.abc import Callable, Iterable
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
        name: stem of its files.
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
    """Write every table, and remove those of an earlier report that this one does not have.

    Each as `<name>.csv`; those that the page shows also as `<name>.md` and `<name>.tex`.
    """
    written = set()
    for table in tables:
        texts = {"csv": table.frame.to_csv(index=False)}
        if table.columns:
            texts |= {"md": markdown(table), "tex": latex(table)}
        for suffix, text in texts.items():
            path = folder / f"{table.name}.{suffix}"
            with atomic_path(path) as temporary:
                temporary.write_text(text)
            written.add(path.name)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix in (".csv", ".md", ".tex") and path.name not in written:
            path.unlink()


def markdown(table: Table) -> str:
    """A table as Markdown, its caption above it."""
    lines = [table.caption, "", _line(column.title for column in table.columns)]
    lines.append(_line("---:" if column.number else "---" for column in table.columns))
    lines += [_line(cell.text.replace("|", "\\|") for cell in row) for row in table.rows]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def latex(table: Table) -> str:
    """A table as LaTeX, for `booktabs` and `longtable`: one that is too long for a page goes on on the next."""
    align = "".join("r" if column.number else "l" for column in table.columns)
    head = _row(column.title for column in table.columns)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,longtable}",
            rf"\begin{{longtable}}{{{align}}}",
            rf"\caption{{{_escaped(table.caption)}}}\label{{tab:{table.name}}}\\",
            rf"\toprule {head} \midrule \endfirsthead",
            rf"\toprule {head} \midrule \endhead",
            r"\bottomrule \endlastfoot",
            *(_row(cell.text for cell in row) for row in table.rows),
            r"\end{longtable}",
            "",
        ]
    )


def _row(cells: Iterable[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "[": "{[}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "±": r"$\pm$", "≤": r"$\leq$",
    "≥": r"$\geq$", "×": r"$\times$", "α": r"$\alpha$", "λ": r"$\lambda$", "τ": r"$\tau$",
    "→": r"$\rightarrow$", "²": r"$^2$",
}  # fmt: skip


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text.replace("\n", " "))


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


def margin_columns(margin: float | None) -> tuple[Column, ...]:
    """What says whether two arms of a pool are equal within a margin; nothing where none was given."""
    if margin is None:
        return ()
    return (
        Column("low90", "90 % from", signed, number=True),
        Column("high90", "to", signed, number=True),
        Column("equal", f"within ±{margin:g}"),
    )
