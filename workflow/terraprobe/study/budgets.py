"""What a study says of fair comparisons: budgets that encoders share, and a reference that they are held against."""

from typing import TYPE_CHECKING, Any

from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.evaluations import Evaluation
from terraprobe.study.names import check_names

if TYPE_CHECKING:
    from terraprobe.study.whole import Study

FEWEST = 2
"""Encoders that share a budget: fewer are compared with nobody."""


def check_reference(study: "Study", evaluation: Evaluation) -> None:
    """Refuse a reference that has not learnt classes of the chips that the forests learn from.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    if not evaluation.reference:
        return
    collections = [study.collection(name) for name in evaluation.collections]
    able = [
        e.name
        for e in study.encoders
        if e.supervised
        and not e.start
        and set(e.collections) == set(evaluation.trained_on)
        and all(study.can_embed(e, c) for c in collections)
    ]
    why = f"trained from scratch with labels of {', '.join(evaluation.trained_on)}"
    check_names([evaluation.reference], able, f"evaluations[{evaluation.name}].reference", why)


def check_budgets(study: "Study", evaluation: Evaluation) -> None:
    """Refuse a budget whose encoders did not learn from the same chips with the same seeds, or that one alone has.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    for budget in ("chips", "compute"):
        sharing = budgeted(study, evaluation, budget)
        if not sharing:
            continue
        first, *others = sharing
        where = f"encoders[{first.name}].budgets"
        if len(sharing) < FEWEST:
            raise ValueError(
                f"{where}: {first.name} alone has the budget {budget} in {evaluation.name}; allowed: none, or "
                "another encoder that has it too"
            )
        for other in others:
            for what, own, theirs in (
                ("collections", first.collections, other.collections),
                ("seeds", [m.seed for m in first.members], [m.seed for m in other.members]),
            ):
                if own != theirs:
                    raise ValueError(
                        f"encoders[{other.name}].{what}: found {theirs}, allowed {own}, as {first.name} has them: both "
                        f"have the budget {budget} in {evaluation.name}"
                    )


def budgeted(study: "Study", evaluation: Evaluation, budget: str) -> list[EncoderEntry]:
    """Entries with a budget that an evaluation compares, in study order."""
    compared = study.arms(evaluation)
    return [e for e in study.encoders if e.name in compared and budget in e.budgets]


def side_by_side(study: "Study") -> list[EncoderEntry]:
    """Entries whose compute is counted: those with a budget, and what they are held against."""
    references = {evaluation.reference for evaluation in study.forests}
    return [e for e in study.encoders if e.budgets or e.name in references]


def compute_recipe(study: "Study") -> dict[str, Any]:
    """What `count_compute` needs to know: every encoder behind the trainings that it stands on, its own last."""
    chains = {}
    for member in (m for e in side_by_side(study) for m in e.members):
        chain = [member.name]
        while start := study.start_of(chain[0]):
            chain.insert(0, start)
        chains[member.name] = chain
    return {"encoders": chains}


def counted_encoders(study: "Study") -> list[str]:
    """Every training that `count_compute` reads."""
    return list(dict.fromkeys(name for chain in compute_recipe(study)["encoders"].values() for name in chain))
