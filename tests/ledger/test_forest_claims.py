"""Claims of `clip3` on made-up few-shot curves."""

import pandas as pd
import pytest
from ledger_world import REPOSITORY

from terraprobe.ledger.files import read_answers, read_claims, read_results
from terraprobe.ledger.notes import ArmNote, EvaluationNote, LedgerRecipe
from terraprobe.ledger.scores import Trained, forest_scores, own_differences
from terraprobe.ledger.verdicts import Desk, judge_claims

VALUES = {"s1_grd_monthly": 0.8, "s2_rgb_monthly": 0.7, "s1_coherence": 0.6, "concat": 0.85}
SPREADS = {10: 0.04, 100: 0.02, 0: 0.001}
DOTS = {"s1_grd_monthly": 100, "s2_rgb_monthly": 100, "s1_coherence": 0, "concat": 10}


def points(evaluation):
    """A curve for each modality; the dot of coherence is at all of its 900 train chips."""
    rows = [
        {"evaluation": evaluation, "encoder": "three", "arm": arm, "modality": modality, "task": "water",
         "n_shots": shots, "n_train": shots or 900, "n_test": 300, "value": value - 0.1 * (arm == "random"),
         "sd": SPREADS[shots], "low": value - 0.05, "high": value + 0.05, "primary": True,
         "dot": shots == DOTS[modality]}
        for arm in ("trained", "random") for modality, value in VALUES.items() for shots in SPREADS
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def told():
    arm = ArmNote(method="clip3", members=("three",), data=("simulated",), changed={"epochs": 20})
    note = EvaluationNote(probe="forest", collection="land", arms=("three",))
    recipe = LedgerRecipe(
        papers=("clip3",), collections={"land": "simulated"}, evaluations={"cover": note, "again": note},
        methods={"clip3": {"epochs": 100}}, arms={"three": arm},
    )  # fmt: skip
    scores = pd.DataFrame(forest_scores(pd.concat([points("cover"), points("again")])))
    trained = Trained({"three": {"chips": {"train": 900, "val": 100}}}, {})
    files = [REPOSITORY / f"resources/published_{name}" for name in ("results.csv", "answers.yaml", "claims.yaml")]
    papers = read_answers(files[1], read_results(files[0]))
    desk = Desk(recipe, trained, scores, own_differences(*[pd.DataFrame()] * 4))
    return judge_claims(read_claims(files[2], papers), papers, desk).set_index("id")


@pytest.mark.parametrize(
    ("claim", "value", "holds", "scores"),
    [
        ("always_below_500", 900, "no", 8),
        ("mostly_below_250", 0.75, "yes", 8),
        ("sd_few_shots", 0.04, "yes", 8),
        ("sd_many_shots", 0.02, "no", 8),
        ("s1_above_s2", 0.1, "", 3),
        ("s1_above_coherence", 0.2, "", 3),
        ("concat_above_s1", 0.05, "", 3),
    ],
)
def test_a_claim_is_told_from_the_curves(told, claim, value, holds, scores):
    row = told.loc[claim]
    assert row["value"] == pytest.approx(value)
    assert (row["holds"], row["scores"], row["verdict"]) == (holds, scores, "not comparable")
    assert not row["rival"] or row["rival"].startswith("three, ")
    assert row["why"].startswith("simulated data; 1,300 chips, the paper 845,000")


def test_what_no_score_can_tell_says_why(told):
    assert told.loc["gpu_hours", "verdict"] == "not run"
    assert told.loc["gpu_hours", "why"] == "times never enter this table"
