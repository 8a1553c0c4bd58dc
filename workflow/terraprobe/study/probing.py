"""What a study says of MLPs on single views of a chip."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from terraprobe.stage import Recipe
from terraprobe.study.names import Name, check_names

if TYPE_CHECKING:
    from terraprobe.study.encoders import EncoderEntry
    from terraprobe.study.whole import Study


class MlpProbe(Recipe):
    """Linear probing band by band: an MLP on frozen embeddings of each band, or of each tower that takes whole chips.

    Attributes:
        name: of its folder.
        probe: `mlp`.
        collection: whose chips are judged. `each: [north, south]` instead is short for one evaluation a collection,
            `<name>_north` and `<name>_south`.
        label: chip-level classes, one a chip, such as `worldcover_class`.
        encoders: names, or `all` that can embed the collection and learnt without labels.
        sizes: numbers of labelled train chips; `full` is all of them.
        repeats: draws of each size, each with first weights of its own.
        epochs: passes over the drawn chips; 100 in the paper of `rsbyol`.
        batch_size: chips a step.
        lrs: learning rates to choose from on validation.
        roc: bands whose ROC curves the report shows, bands that enter together with `+` between; the first
            multispectral and the first radar one where none is named.
        resamples: of the test blocks, for the intervals.
        seed: of draws, first weights and resamples, the same for every encoder.
    """

    name: Name
    probe: Literal["mlp"]
    collection: str
    label: str
    encoders: Literal["all"] | list[str] = "all"
    sizes: list[Annotated[int, Field(ge=2)] | Literal["full"]] = Field(["full"], min_length=1)
    repeats: int = Field(3, ge=1)
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(64, ge=2)
    lrs: list[Annotated[float, Field(gt=0)]] = Field([1e-3, 1e-2], min_length=1)
    roc: list[str] = []
    resamples: int = Field(2000, ge=100)
    seed: int = Field(0, ge=0, lt=2**63)

    @field_validator("sizes", "lrs", "roc")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        check_names(values, values)
        return values

    @property
    def collections(self) -> list[str]:
        """Names of all collections that it reads."""
        return [self.collection]


def check_mlp_probe(study: "Study", evaluation: MlpProbe) -> None:
    """Refuse a probe whose label, encoders or bands do not fit it.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    from terraprobe.study.labelled import class_labels, several

    where, collection = f"evaluations[{evaluation.name}]", study.collection(evaluation.collection)
    single = [name for name in class_labels(collection) if not several(collection, name)]
    check_names([evaluation.label], single, f"{where}.label", f"one class a chip of {collection.name}")
    able = [e.name for e in study.encoders if study.can_embed(e, collection)]
    if evaluation.encoders != "all":
        check_names(evaluation.encoders, able, f"{where}.encoders", f"can embed {collection.name}")
    compared = study.arms(evaluation)
    if not compared:
        raise ValueError(f"{where}.encoders: no encoder can embed {collection.name} and learnt without labels")
    seen = {band for e in study.encoders if e.name in compared for band in _bands(e, collection.modalities)}
    for view in evaluation.roc:
        check_names(dict.fromkeys(view.split("+")), sorted(seen), f"{where}.roc", "bands that the encoders see")


def _bands(encoder: "EncoderEntry", modalities: list[str]) -> list[str]:
    towers = encoder.full_recipe.towers.values()
    return [band for tower in towers if tower.modality in modalities for band in tower.band_names]


def mlp_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `fit_mlp` and `call_mlp` need to know of a probe: nothing about which encoders are compared."""
    from terraprobe.study.labelled import classes_of

    evaluation = study.mlp_probe(name)
    content = evaluation.model_dump(mode="json", exclude={"name", "probe", "encoders", "roc", "resamples"})
    classes = classes_of(study.collection(evaluation.collection), evaluation.label)
    sizes = [0 if size == "full" else size for size in evaluation.sizes]
    own = {"evaluation": name, "classes": classes, "sizes": sizes, "random_inits": study.random_inits}
    return {**content, **own}


def mlp_scores_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `score_mlp` needs to know of a probe."""
    evaluation = study.mlp_probe(name)
    content = evaluation.model_dump(mode="json", include={"collection", "label", "roc", "resamples", "seed"})
    return {**content, "evaluation": name, "arms": study.arms(evaluation)}
