"""The published side of the ledger: numbers, what of ours answers them, and claims in words; three shipped files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
from pydantic import Field, ValidationError, model_validator

from terraprobe.errors import TerraprobeError
from terraprobe.explain import explain
from terraprobe.stage import Recipe
from terraprobe.study.files import read_yaml

CELL = ("paper", "table", "row", "column")
"""What names one published number."""


class Answer(Recipe):
    """Which of our scores stands beside a published number. What a table says of a row and of a column is one answer.

    Attributes:
        method: that the arm was trained by.
        recipe: keys of the arm's recipe that make it the paper's arm, and their values.
        start: whether the arm starts from another encoder's weights.
        several: whether its label gives a chip several classes.
        frozen: whether the arm stays as it starts, at no epoch of training.
        weights: layout of the published weights that it starts from; empty: none.
        probe: what judges the arm.
        metric: of the score.
        at: other columns of the score, such as `modality`, and their values.
        at_least: columns of the score, such as `n_shots`, and their smallest values.
        at_most: likewise their largest.
        data: key of the paper's `data` that it is trained and judged on.
        epochs: of the paper.
        start_epochs: of the paper, for the encoder that it starts from.
        as_in_paper: keys of the recipe whose value in the paper is not the method's own.
        factor: our score is multiplied by it.
        unit: `per cent`, `share`, or anything else; says what a point is.
        tolerance: within which a number without a spread is reproduced, where that is not one point.
        timed: whether it is a wall time, which this table never holds: times differ between equal runs.
    """

    method: str = ""
    recipe: dict[str, Any] = {}
    start: bool | None = None
    several: bool | None = None
    frozen: bool | None = None
    weights: str | None = None
    probe: str = ""
    metric: str = ""
    at: dict[str, str | float] = {}
    at_least: dict[str, float] = {}
    at_most: dict[str, float] = {}
    data: str = ""
    epochs: int | None = None
    start_epochs: int | None = None
    as_in_paper: dict[str, Any] = {}
    factor: float = 1.0
    unit: Literal["per cent", "share", ""] = ""
    tolerance: float | None = Field(None, gt=0)
    timed: bool = False

    @property
    def scale(self) -> float:
        """By which our share becomes the paper's number."""
        return self.factor * (100.0 if self.unit == "per cent" else 1.0)

    @property
    def point(self) -> float:
        """Within which a number without a spread is reproduced [D: one point]."""
        return self.tolerance if self.tolerance is not None else (0.01 if self.unit == "share" else 1.0)

    def joined(self, *others: "Answer") -> "Answer":
        """This one with what others say over it; their dictionaries are merged."""
        content = self.model_dump(exclude_unset=True)
        for other in others:
            for key, value in other.model_dump(exclude_unset=True).items():
                content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
        return Answer.model_validate(content)


class AnswerTable(Recipe):
    """A table of a paper, or a part of one, whose rows and columns say which of our scores answers them.

    Attributes:
        table: its name.
        rows: row of the table to its part of the answer.
        columns: column likewise.
    """

    table: str
    rows: dict[str, Answer]
    columns: dict[str, Answer]


class PaperData(Recipe):
    """Data of a paper.

    Attributes:
        archive: name of the archive that holds them; empty: no collection of ours does yet.
        pretraining: of the archive that encoders are trained on, where it is another.
        chips: how many the paper uses, to pretrain and to test.
    """

    archive: str = ""
    pretraining: str = ""
    chips: int = Field(ge=1)


class Paper(Recipe):
    """What a paper's numbers stand on, and what of ours answers them.

    Attributes:
        runs: of every arm; none: the paper does not say, and any number will do.
        data: name to what it is.
        always: part of every answer.
        machine: keys of a recipe that may differ without making another experiment.
        tables: the answers.
    """

    runs: int | None = Field(None, ge=1)
    data: dict[str, PaperData]
    always: Answer = Answer()
    machine: tuple[str, ...] = ()
    tables: tuple[AnswerTable, ...] = ()

    @model_validator(mode="after")
    def _data_known(self) -> "Paper":
        for cell, answer in self.answers().items():
            if answer.data and answer.data not in self.data:
                allowed = ", ".join(self.data) or "none here"
                raise ValueError(f"{' '.join(cell)}: data: found {answer.data!r}, allowed {allowed}")
        return self

    def answers(self) -> dict[tuple[str, str, str], Answer]:
        """Table, row and column to the whole answer."""
        return {
            (entry.table, row, column): self.always.joined(by_row, by_column)
            for entry in self.tables
            for row, by_row in entry.rows.items()
            for column, by_column in entry.columns.items()
        }


class Claim(Recipe):
    """A claim in words, as a test over scores.

    Attributes:
        id: its name.
        paper: whose.
        where: section, table or page.
        sentence: what the paper says.
        test: `higher` or `lower` than a rival; `alike`, no difference shown; `at_most` or `at_least` a limit; `none`:
            no score of ours can tell.
        ours: the score; of several their mean, or what `over` says.
        than: the rival's.
        limit: for `at_most` and `at_least`.
        over: what is made of several scores.
        below: for `share_below`.
        why: for `none`.
    """

    id: str
    paper: str
    where: str
    sentence: str
    test: Literal["higher", "lower", "alike", "at_most", "at_least", "none"]
    ours: Answer = Answer()
    than: Answer | None = None
    limit: float | None = None
    over: Literal["mean", "max", "min", "share_below"] = "mean"
    below: float | None = None
    why: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "Claim":
        needs = {"than": self.test in ("higher", "lower", "alike"), "limit": self.test.startswith("at_"),
                 "below": self.over == "share_below", "why": self.test == "none"}  # fmt: skip
        for key, needed in needs.items():
            if needed != (getattr(self, key) not in (None, "")):
                raise ValueError(f"{self.id}: {key}: {'required' if needed else 'not allowed'} where test is "
                                 f"{self.test} over {self.over}")  # fmt: skip
        return self


class Answers(Recipe):
    """File of what of ours answers the published numbers.

    Attributes:
        papers: by name.
    """

    papers: dict[str, Paper]


class Claims(Recipe):
    """File of claims in words.

    Attributes:
        claims: in the order of the papers.
    """

    claims: list[Claim]


File = TypeVar("File", Answers, Claims)


def read_results(path: Path) -> pd.DataFrame:
    """Published numbers: `paper, table, row, column, value, spread`, all but the last two text.

    Raises:
        TerraprobeError: the file is absent, lacks a column, names a cell twice or holds something that is no number.
    """
    _check_there(path)
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise TerraprobeError(f"{path}: not a CSV file ({reason}). {_SHIPPED}") from error
    wanted = [*CELL, "value", "spread"]
    if list(frame.columns) != wanted:
        raise TerraprobeError(f"{path}: columns found {', '.join(frame.columns)}, allowed {', '.join(wanted)}.")
    for column in ("value", "spread"):
        numbers = pd.to_numeric(frame[column], errors="coerce")
        wrong = numbers.isna() & ((frame[column] != "") | (column == "value"))
        if wrong.any():
            row = frame[wrong].iloc[0]
            raise TerraprobeError(f"{path}: {_named(row)}: {column}: found {row[column]!r}, allowed a number.")
        frame[column] = numbers
    if frame.duplicated(list(CELL)).any():
        raise TerraprobeError(f"{path}: {_named(frame[frame.duplicated(list(CELL))].iloc[0])} is given twice.")
    return frame


def _named(row: "pd.Series[Any]") -> str:
    return " ".join(str(row[key]) for key in CELL)


def read_answers(path: Path, results: pd.DataFrame) -> dict[str, Paper]:
    """What of ours answers the published numbers, by paper.

    Raises:
        TerraprobeError: the file does not fit, or answers a number that no paper has.
    """
    papers = _checked(path, Answers).papers
    known = set(results[list(CELL)].itertuples(index=False, name=None))
    for name, paper in papers.items():
        unknown = [cell for cell in paper.answers() if (name, *cell) not in known]
        if unknown:
            raise TerraprobeError(
                f"{path}: {name} {' '.join(unknown[0])} is no cell of the published results. Mend its table, row or "
                "column."
            )
    return papers


def read_claims(path: Path, papers: Mapping[str, Paper]) -> list[Claim]:
    """Claims in words.

    Raises:
        TerraprobeError: the file does not fit, an id is given twice, or a paper is not known.
    """
    claims = _checked(path, Claims).claims
    ids = [claim.id for claim in claims]
    for claim in claims:
        if ids.count(claim.id) > 1:
            raise TerraprobeError(f"{path}: {claim.id} is given twice; each claim has an id of its own.")
        if claim.paper not in papers:
            raise TerraprobeError(f"{path}: {claim.id}: paper: found {claim.paper!r}, allowed {', '.join(papers)}.")
    return claims


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise TerraprobeError(f"{path}: not found. {_SHIPPED}")


_SHIPPED = "Take the one that comes with terraprobe (resources/)."


def _checked(path: Path, model: type[File]) -> File:
    _check_there(path)
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        raise TerraprobeError(f"{path}: {explain(error, model)}") from error
