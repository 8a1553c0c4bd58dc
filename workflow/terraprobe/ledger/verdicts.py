"""What may be said of a published number or claim, by a fixed rule.

`reproduced` and `not reproduced` are for our scores on the paper's data, chips, epochs and runs alone. Anything else is
`not comparable`, with every reason, or `not run`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from terraprobe.ledger.files import CELL, Answer, Claim, Paper
from terraprobe.ledger.notes import SIMULATED, LedgerRecipe
from terraprobe.ledger.scores import OVER_RUNS, Trained, found_scores

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NOT_RUN = "reproduced", "not reproduced", "not comparable", "not run"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NOT_RUN)

CHIPS_SHARE = 0.99
"""Fewer chips than this share of the paper's are another experiment [D]: a few lack a value of the climate."""

_SPREADS = 2.0  # of the paper's standard deviation, on both sides of its mean


@dataclass(frozen=True)
class Desk:
    """What verdicts are given on.

    Attributes:
        recipe: of the ledger.
        trained: cards and histories.
        scores: of `own_scores`.
        differences: of `own_differences`.
    """

    recipe: LedgerRecipe
    trained: Trained
    scores: pd.DataFrame
    differences: pd.DataFrame

    def absent(self, paper: str) -> str:
        """Why no score of ours is here."""
        reason = self.recipe.left_out.get(paper)
        return f"no such arm and score in this study{f'; not here: {reason}' if reason else ''}"

    def found(self, answer: Answer, paper: Paper, every: bool = False) -> pd.DataFrame:
        """Our scores that answer."""
        return found_scores(answer, self.recipe, self.scores, _archive(answer, paper), every)

    def stands_on(self, row: "pd.Series[Any]", answer: Answer, paper: Paper) -> dict[str, Any]:
        """What a score stands on, and in `why` each way in which that is not what the paper's stands on."""
        note, evaluation = self.recipe.arms[row["arm"]], self.recipe.evaluations[row["evaluation"]]
        card = self.trained.cards[note.members[0]]
        chips = int(card["chips"]["train"] + card["chips"]["val"] + row["n_test"])
        data = {*note.data, self.recipe.collections[evaluation.collection]}
        published = paper.data.get(answer.data)
        same = published is not None and data == {published.archive, published.pretraining or published.archive}
        kind = "simulated" if SIMULATED in data else "the paper's" if same else "other real"
        why = [] if same else [f"{kind} data"]
        if published and chips < CHIPS_SHARE * published.chips:
            why.append(_counted("chips", chips, published.chips))
        epochs = self.recipe.recipe_of(row["arm"])["epochs"]
        if answer.epochs not in (None, epochs):
            why.append(_counted("epochs", epochs, answer.epochs))
        if paper.runs not in (None, len(note.members)):
            why.append(_counted("runs", len(note.members), paper.runs))
        why += self._changed(row["arm"], answer, paper)
        if note.start:
            why += self._start(note.start, answer, paper)
        if answer.timed:
            why.append("a wall time, which stands on the page of costs")
        return {"evaluation": row["evaluation"], "arm": row["arm"], "data": kind, "chips": chips,
                "epochs": epochs, "runs": len(note.members), "why": "; ".join(why)}  # fmt: skip

    def _start(self, start: str, answer: Answer, paper: Paper) -> list[str]:
        """The same of the encoder that an arm starts from."""
        epochs = self.recipe.recipe_of(start)["epochs"]
        told = answer.start_epochs not in (None, epochs)
        fewer = [_counted("epochs", epochs, answer.start_epochs)] if told else []
        return [f"pretraining: {reason}" for reason in (*fewer, *self._changed(start, answer, paper))]

    def _changed(self, arm: str, answer: Answer, paper: Paper) -> list[str]:
        """Keys of a recipe that are neither the method's own nor the paper's."""
        recipe, changed = self.recipe.recipe_of(arm), self.recipe.arms[arm].changed
        expected = {**answer.recipe, **answer.as_in_paper}
        counted = ("epochs",) if answer.frozen or answer.epochs is not None else ()
        keys = [key for key in dict.fromkeys([*changed, *answer.as_in_paper]) if key not in (*counted, *paper.machine)]
        # A key that the paper's arm says nothing of is odd because it was changed, whatever it was changed to.
        odd = [f"{k} {_shown(recipe.get(k))}" for k in keys if k not in expected or recipe.get(k) != expected[k]]
        return [f"another recipe ({', '.join(odd)})"] if odd else []


def _counted(what: str, ours: int, published: int | None) -> str:
    return f"{ours:,} {what}, the paper {published:,}"


def _archive(answer: Answer, paper: Paper) -> str:
    return paper.data[answer.data].archive if answer.data else ""


def _shown(value: Any) -> str:
    """A value in a few words: of a mapping its keys."""
    return ", ".join(map(str, value)) if isinstance(value, list | dict) else str(value)


def judge_cells(results: pd.DataFrame, papers: Mapping[str, Paper], desk: Desk) -> pd.DataFrame:
    """One row for every published number of the recipe's papers, in the order of the file.

    Args:
        results: of `read_results`.
        papers: of `read_answers`.
        desk: ours.

    Returns:
        `paper, table, row, column, published, spread`; ours: `value, low, high, sd` in the paper's unit, `over`, what
        the interval is over, and `evaluation, arm, data, chips, epochs, runs`; `verdict` and `why`.
    """
    rows = []
    answers = {name: paper.answers() for name, paper in papers.items() if name in desk.recipe.papers}
    for cell in results[results["paper"].isin(desk.recipe.papers)].to_dict("records"):
        paper = papers.get(cell["paper"])
        answer = answers[cell["paper"]].get((cell["table"], cell["row"], cell["column"])) if paper else None
        named = {key: cell[key] for key in CELL}
        told = _cell(cell, answer, paper, desk) if answer and paper else _not_run("nothing of ours answers it yet")
        rows.append({**named, "published": cell["value"], "spread": cell["spread"], **told})
    return pd.DataFrame(rows, columns=[*CELL, "published", "spread", *_OURS])


_OURS = ("value", "low", "high", "sd", "over", "evaluation", "arm", "data", "chips", "epochs", "runs", "verdict", "why")


def _not_run(why: str) -> dict[str, Any]:
    numbers = dict.fromkeys(("value", "low", "high", "sd", "chips", "epochs", "runs"), np.nan)
    return {**numbers, **dict.fromkeys(("over", "evaluation", "arm", "data"), ""), "verdict": NOT_RUN, "why": why}


def _cell(cell: Mapping[Any, Any], answer: Answer, paper: Paper, desk: Desk) -> dict[str, Any]:
    found = desk.found(answer, paper)
    if not len(found):
        return _not_run(desk.absent(cell["paper"]))
    own = found.iloc[0]
    ours = {key: float(own[key]) * answer.scale for key in ("value", "low", "high", "sd")}
    if answer.timed:
        ours = dict.fromkeys(ours, np.nan)
    stands = desk.stands_on(own, answer, paper)
    verdict, why = _meets(cell, ours, answer) if not stands["why"] else (NOT_COMPARABLE, stands["why"])
    return {**ours, "over": own["over"], **stands, "verdict": verdict, "why": why}


def _meets(cell: Mapping[Any, Any], ours: Mapping[str, float], answer: Answer) -> tuple[str, str]:
    """Whether our interval meets the paper's mean ± 2 SD, or ± one point where it gives no SD."""
    if np.isnan(ours["value"]):
        return NOT_REPRODUCED, "our runs never reach it"
    if np.isnan(ours["low"]):
        return NOT_COMPARABLE, "our score has no interval"
    half = _SPREADS * cell["spread"] if np.isfinite(cell["spread"]) else answer.point
    meets = ours["low"] <= cell["value"] + half and ours["high"] >= cell["value"] - half
    bounds = f"{cell['value']:g} ± {half:g}"
    return (REPRODUCED, f"meets {bounds}") if meets else (NOT_REPRODUCED, f"outside {bounds}")


def judge_claims(claims: list[Claim], papers: Mapping[str, Paper], desk: Desk) -> pd.DataFrame:
    """One row for every worded claim of the recipe's papers.

    Returns:
        `paper, id, where, sentence, test`; `value`: our score, or the difference from the rival's; `low, high`;
        `scores`, how many it is made of; `evaluation, arm`; `rival`, its arm and what tells its score apart; `data,
        chips, epochs, runs`; `holds` (`yes`, `no`, empty: cannot be told); `verdict` and `why`.
    """
    rows = []
    for claim in claims:
        if claim.paper in desk.recipe.papers:
            told = _claim(claim, papers[claim.paper], desk)
            rows.append({**{k: getattr(claim, k) for k in ("paper", "id", "where", "sentence", "test")}, **told})
    return pd.DataFrame(rows, columns=["paper", "id", "where", "sentence", "test", *_CLAIM])


_CLAIM = ("value", "low", "high", "scores", "evaluation", "arm", "rival", "data", "chips", "epochs", "runs", "holds",
          "verdict", "why")  # fmt: skip


def _claim(claim: Claim, paper: Paper, desk: Desk) -> dict[str, Any]:
    blank = {**_not_run(""), "scores": 0, "rival": "", "holds": ""}
    if claim.test == "none":
        return {**blank, "why": claim.why}
    ours = paper.always.joined(claim.ours)
    than = paper.always.joined(claim.than) if claim.than else None
    sides = [desk.found(side, paper, every=claim.than is None) for side in (ours, than) if side]
    if not all(map(len, sides)):
        return {**blank, "why": desk.absent(claim.paper)}
    numbers = _difference(sides, (ours, than), desk) if than else _score(sides[0]["value"] * ours.scale, claim)
    stands = [desk.stands_on(side.iloc[0], asked, paper)
              for side, asked in zip(sides, (ours, than), strict=False) if asked]  # fmt: skip
    reasons = list(dict.fromkeys(reason for s in stands for reason in s["why"].split("; ") if reason))
    holds = _holds(claim, numbers)
    verdict = NOT_COMPARABLE if reasons or not holds else REPRODUCED if holds == "yes" else NOT_REPRODUCED
    why = "; ".join(reasons) or ("" if holds else "no interval stands behind it")
    told = [value for value in than.at.values() if value and isinstance(value, str)] if than else []
    rival = ", ".join([stands[1]["arm"], *told]) if than else ""
    return {**blank, **stands[0], **numbers, "scores": len(sides[0]), "rival": rival, "holds": holds,
            "verdict": verdict, "why": why}  # fmt: skip


def _score(values: "pd.Series[float]", claim: Claim) -> dict[str, float]:
    """One number of several scores; it has no interval."""
    if claim.below is not None:
        value = (values < claim.below).mean()
    else:
        value = {"mean": values.mean, "max": values.max, "min": values.min}[claim.over]()
    return {"value": float(value), "low": np.nan, "high": np.nan}


_PLACE = ("n_shots", "view", "tower", "band")
"""Columns in which two scores must be alike for a paired difference to be theirs; NaN where a probe has none."""


def _difference(sides: list[pd.DataFrame], asked: tuple[Answer, Answer], desk: Desk) -> dict[str, float]:
    """Ours minus the rival's, with an interval where both are one score: paired, or else over their runs."""
    one, other = (side.iloc[0] for side in sides)
    pairs = desk.differences[
        (desk.differences["evaluation"] == one["evaluation"]) & (desk.differences["metric"] == one["metric"])
    ]
    for column in _PLACE:
        if pd.notna(one.get(column)):
            pairs = pairs[(pairs[column] == one[column]) & (one[column] == other[column])]
    for a, b, sign in ((one["arm"], other["arm"], 1.0), (other["arm"], one["arm"], -1.0)):
        paired = pairs[(pairs["arm"] == a) & (pairs["rival"] == b)]
        if len(paired) and one["evaluation"] == other["evaluation"]:
            low, high = sorted(sign * float(paired.iloc[0][key]) * asked[0].scale for key in ("low", "high"))
            return {"value": sign * float(paired.iloc[0]["difference"]) * asked[0].scale, "low": low, "high": high}
    values = [float(side["value"].mean()) * answer.scale for side, answer in zip(sides, asked, strict=True)]
    value, half = values[0] - values[1], np.nan
    if all(len(side) == 1 and side.iloc[0]["over"] == OVER_RUNS for side in sides):
        half = math.hypot(
            *((s.iloc[0]["high"] - s.iloc[0]["low"]) / 2 * a.scale for s, a in zip(sides, asked, strict=True))
        )
    return {"value": value, "low": value - half, "high": value + half}


def _holds(claim: Claim, numbers: Mapping[str, float]) -> str:
    """Whether a claim holds: a sign with an interval that excludes zero, a difference that is not shown, a limit."""
    if np.isnan(numbers["value"]):
        return ""
    if claim.limit is not None:
        meets = numbers["value"] <= claim.limit if claim.test == "at_most" else numbers["value"] >= claim.limit
        return "yes" if meets else "no"
    if np.isnan(numbers["low"]):
        return ""
    sign = 1 if numbers["low"] > 0 else -1 if numbers["high"] < 0 else 0
    return "yes" if sign == {"higher": 1, "lower": -1, "alike": 0}[claim.test] else "no"
