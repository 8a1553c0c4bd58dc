"""Stage `write-ledger`: what the papers published beside what we measured, by fixed rules."""

from collections import Counter

import pandas as pd

from terraprobe.artifacts import read_json, read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.ledger.files import read_answers, read_claims, read_results
from terraprobe.ledger.notes import LedgerRecipe
from terraprobe.ledger.scores import ScoreTables, Trained, own_differences, own_scores
from terraprobe.ledger.verdicts import VERDICTS, Desk, judge_cells, judge_claims
from terraprobe.stage import In, Ins, Out, progress


def write_ledger(
    *, published: In, answers: In, claims: In, cards: Ins, histories: Ins, classes: Ins, class_differences: Ins,
    reconstruction: Ins, reconstruction_differences: Ins, summary: In, mlps: Ins, mlp_differences: Ins,
    pixels: Ins, pixel_classes: Ins, pixel_differences: Ins,
    recipe: LedgerRecipe, ledger: Out, claim_ledger: Out,
) -> None:  # fmt: skip
    """Set ours beside every published number and every worded claim of the recipe's papers.

    No test label is read: all of it is made of scores.

    Args:
        published: `resources/published_results.csv`.
        answers: `resources/published_answers.yaml`: which of our scores answers a number.
        claims: `resources/published_claims.yaml`.
        cards: `card.json` of every encoder.
        histories: `history.parquet` of every encoder.
        classes: scores of `score_classes`, of every evaluation.
        class_differences: differences of `score_classes`.
        reconstruction: scores of `score_reconstruction`, of every evaluation.
        reconstruction_differences: differences of `score_reconstruction`.
        summary: of `gather_scores`.
        mlps: scores of `score_mlp`, of every evaluation.
        mlp_differences: differences of `score_mlp`, likewise.
        pixels: scores of `score_segmentation`, likewise.
        pixel_classes: its scores of each class.
        pixel_differences: its differences.
        recipe: papers, arms and evaluations.
        ledger: of `verdicts.judge_cells`.
        claim_ledger: of `verdicts.judge_claims`.

    Raises:
        TerraprobeError: a file is absent or does not fit, or a card or history of an arm is not given.
    """
    results = read_results(published)
    papers = read_answers(answers, results)
    said = read_claims(claims, papers)
    trained = Trained(
        {path.parent.name: read_json(path) for path in cards}, {p.parent.name: read_table(p) for p in histories}
    )
    for member in (m for arm in recipe.arms.values() for m in arm.members):
        if member not in trained.cards or member not in trained.histories:
            raise TerraprobeError(
                f"write-ledger: no card or history of {member} among {', '.join(trained.cards) or 'none'}. Give both "
                "of every encoder of the recipe."
            )
    heads, autoencoders = _concat(classes), _concat(reconstruction)
    tables = ScoreTables(
        heads, autoencoders, read_table(summary), _concat(mlps), _concat(pixels), _concat(pixel_classes)
    )
    desk = Desk(
        recipe, trained, own_scores(recipe, trained, tables),
        own_differences(*map(_concat, (class_differences, reconstruction_differences, mlp_differences,
                                       pixel_differences))),
    )  # fmt: skip
    cells, worded = judge_cells(results, papers, desk), judge_claims(said, papers, desk)
    write_table(ledger, cells)
    write_table(claim_ledger, worded)
    for name, table in (("numbers", cells), ("claims", worded)):
        counts = Counter(table["verdict"])
        progress(f"{len(table)} published {name}: " + ", ".join(f"{counts[v]} {v}" for v in VERDICTS))


def _concat(paths: Ins) -> pd.DataFrame:
    return pd.concat([read_table(path) for path in paths], ignore_index=True) if paths else pd.DataFrame()
