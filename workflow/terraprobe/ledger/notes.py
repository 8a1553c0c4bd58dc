"""What a study tells its ledger: which arms there are, what they were trained on, and how they are judged."""

from typing import TYPE_CHECKING, Any

from terraprobe.stage import Recipe

if TYPE_CHECKING:
    from terraprobe.study import AnyCollection, EncoderEntry, Study
    from terraprobe.study.evaluations import AnyEvaluation

SIMULATED = "simulated"
OTHER = "other"


class ArmNote(Recipe):
    """One entry of a study's encoders.

    Attributes:
        method: that it was trained by.
        members: its encoders, one a seed.
        data: what each of its collections is (see `LedgerRecipe.collections`).
        recipe: all of its recipe.
        changed: keys of the recipe that the study set to another value than the method's own.
        start: the entry whose weights it starts from; empty: fresh weights.
        several: whether the label that it learns gives a chip several classes.
    """

    method: str
    members: tuple[str, ...]
    data: tuple[str, ...]
    recipe: dict[str, Any]
    changed: tuple[str, ...] = ()
    start: str = ""
    several: bool = False


class EvaluationNote(Recipe):
    """One evaluation.

    Attributes:
        probe: what judges.
        collection: whose test chips.
        arms: entries that it compares, in study order.
    """

    probe: str
    collection: str
    arms: tuple[str, ...]


class LedgerRecipe(Recipe):
    """Parameters of `write_ledger`.

    Attributes:
        papers: whose numbers are set beside ours.
        collections: name to what it is: an archive (`eurosat`), `simulated`, or `other`.
        evaluations: in study order, without those of null worlds and permuted labels.
        arms: every entry of the study's encoders.
    """

    papers: tuple[str, ...]
    collections: dict[str, str]
    evaluations: dict[str, EvaluationNote]
    arms: dict[str, ArmNote]


def ledger_recipe(study: "Study") -> LedgerRecipe:
    """What the ledger of a study needs to know."""
    data = {c.name: _data(c) for c in study.collections}
    return LedgerRecipe(
        papers=tuple(study.papers),
        collections=data,
        evaluations={
            e.name: EvaluationNote(probe=e.probe, collection=e.collection, arms=tuple(study.arms(e)))
            for e in study.evaluations
            if not _null(e, study)
        },
        arms={e.name: _arm(e, study, data) for e in study.encoders},
    )


def _data(collection: "AnyCollection") -> str:
    if collection.kind == "archive":
        return collection.archive
    return SIMULATED if collection.kind == "simulated" else OTHER


def _null(evaluation: "AnyEvaluation", study: "Study") -> bool:
    """Whether nothing can be known in it by design."""
    world = getattr(study.collection(evaluation.collection), "world", None)
    return bool(getattr(evaluation, "permute_labels", False) or getattr(world, "null_world", False))


def _arm(entry: "EncoderEntry", study: "Study", data: dict[str, str]) -> ArmNote:
    from terraprobe.study.labelled import several

    recipe, own = entry.full_recipe, type(entry.full_recipe).model_validate({})
    return ArmNote(
        method=entry.method,
        members=tuple(member.name for member in entry.members),
        data=tuple(data[name] for name in entry.collections),
        recipe=recipe.model_dump(mode="json"),
        changed=tuple(key for key in type(recipe).model_fields if getattr(recipe, key) != getattr(own, key)),
        start=entry.start,
        several=entry.supervised and several(study.collection(entry.collections[0]), entry.label),
    )
