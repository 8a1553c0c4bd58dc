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
        changed: what of the recipe is not the method's own.
        start: the entry whose weights it starts from; empty: fresh weights.
        several: whether the label that it learns gives a chip several classes.
        weights: layout of the published weights that it starts from; empty: none.
    """

    method: str
    members: tuple[str, ...]
    data: tuple[str, ...]
    changed: dict[str, Any] = {}
    start: str = ""
    several: bool = False
    weights: str = ""


class EvaluationNote(Recipe):
    """One evaluation.

    Attributes:
        probe: what judges.
        collection: whose test chips.
        arms: entries that it compares, in study order.
        protocol: of heads for pixels: `linear`, `decoder` or `finetune`.
    """

    probe: str
    collection: str
    arms: tuple[str, ...]
    protocol: str = ""


class LedgerRecipe(Recipe):
    """Parameters of `write_ledger`.

    Attributes:
        papers: whose numbers are set beside ours.
        collections: name to what it is: an archive (`eurosat`), `simulated`, or `other`.
        evaluations: in study order, without those of null worlds and permuted labels.
        methods: the own recipe of every method of the study.
        arms: every entry of the study's encoders.
        left_out: why a paper's data or weights are not here, by paper.
    """

    papers: tuple[str, ...]
    collections: dict[str, str]
    evaluations: dict[str, EvaluationNote]
    methods: dict[str, dict[str, Any]]
    arms: dict[str, ArmNote]
    left_out: dict[str, str] = {}

    def recipe_of(self, arm: str) -> dict[str, Any]:
        """The whole recipe of an arm."""
        return {**self.methods[self.arms[arm].method], **self.arms[arm].changed}


def ledger_recipe(study: "Study") -> LedgerRecipe:
    """What the ledger of a study needs to know."""
    data = {c.name: _data(c) for c in study.collections}
    return LedgerRecipe(
        papers=tuple(study.papers),
        collections=data,
        evaluations={
            e.name: EvaluationNote(
                probe=e.probe, collection=e.collection, arms=tuple(study.arms(e)), protocol=getattr(e, "protocol", "")
            )
            for e in study.evaluations
            if not _null(e, study)
        },
        methods={e.method: _own(e) for e in study.encoders},
        arms={e.name: _arm(e, study, data) for e in study.encoders},
        left_out={name: "; ".join(reasons) for name, reasons in study.left_out.items()},
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

    recipe, own = entry.full_recipe.model_dump(mode="json"), _own(entry)
    return ArmNote(
        method=entry.method,
        members=tuple(member.name for member in entry.members),
        data=tuple(data[name] for name in entry.collections),
        changed={key: value for key, value in recipe.items() if value != own[key]},
        start=entry.start,
        several=entry.supervised and several(study.collection(entry.collections[0]), entry.label),
        weights=entry.weights.layout if entry.weights else "",
    )


def _own(entry: "EncoderEntry") -> dict[str, Any]:
    """The recipe of an entry's method where nothing is changed."""
    content: dict[str, Any] = type(entry.full_recipe).model_validate({}).model_dump(mode="json")
    return content
