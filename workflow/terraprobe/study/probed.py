"""What a study says of MLPs on single views of a chip: what it may not say, and what the stages need to know of it."""

from typing import TYPE_CHECKING, Any

from terraprobe.methods import load_method
from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.labelled import class_labels, classes_of, several
from terraprobe.study.names import check_names
from terraprobe.study.probing import MlpProbe

if TYPE_CHECKING:
    from terraprobe.study.whole import Study


def check_mlp_probe(study: "Study", evaluation: MlpProbe) -> None:
    """Refuse a probe whose label, encoders or bands do not fit it.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
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
    for key in ("roc", "cam"):
        for view in getattr(evaluation, key):
            check_names(dict.fromkeys(view.split("+")), sorted(seen), f"{where}.{key}", "bands that the encoders see")
    known = classes_of(collection, evaluation.label)
    check_names(evaluation.cam_classes, known, f"{where}.cam_classes", f"classes of {evaluation.label}")


def _bands(encoder: EncoderEntry, modalities: list[str]) -> list[str]:
    towers = encoder.full_recipe.towers.values()
    return [band for tower in towers if tower.modality in modalities for band in tower.band_names]


BAND_CHIPS = 300
"""[D] Chips in a t-SNE picture of a single band, at most: there is one for each encoder and band."""

_NOT_LEARNT = {"name", "probe", "encoders", "roc", "cam", "cam_classes", "resamples"}


def mlp_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `fit_mlp` and `call_mlp` need to know of a probe: nothing about which encoders are compared."""
    evaluation = study.mlp_probe(name)
    content = evaluation.model_dump(mode="json", exclude=_NOT_LEARNT)
    classes = classes_of(study.collection(evaluation.collection), evaluation.label)
    sizes = [0 if size == "full" else size for size in evaluation.sizes]
    own = {"evaluation": name, "classes": classes, "sizes": sizes, "random_inits": study.random_inits}
    return {**content, **own}


def mlp_scores_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `score_mlp` needs to know of a probe."""
    evaluation = study.mlp_probe(name)
    content = evaluation.model_dump(mode="json", include={"collection", "label", "roc", "resamples", "seed"})
    return {**content, "evaluation": name, "arms": list(study.arms(evaluation).items())}


def drawn_by(study: "Study", name: str) -> list[str]:
    """Encoders whose embeddings of single bands are drawn: of several seeds the first."""
    return [members[0] for members in study.arms(study.mlp_probe(name)).values()]


def attributed_by(study: "Study", name: str) -> list[str]:
    """Those of them whose networks have full gradients."""
    return [e for e in drawn_by(study, name) if load_method(study.encoder(e).method).full_gradient]


def band_projection_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `project_bands` needs to know of a probe."""
    evaluation = study.mlp_probe(name)
    return {"evaluation": name, "collection": evaluation.collection, "views": evaluation.roc,
            "max_points": min(study.tsne_chips, BAND_CHIPS)}  # fmt: skip


def band_attribution_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `attribute_bands` needs to know of a probe."""
    evaluation = study.mlp_probe(name)
    content = evaluation.model_dump(mode="json", include={"collection", "label", "seed"})
    return {**content, "evaluation": name, "views": evaluation.cam, "drawn": evaluation.cam_classes}


def mlp_pool_recipe(study: "Study", name: str) -> dict[str, Any]:
    """What `pool_mlp` needs to know of a pool."""
    pool = next(p for p in study.pools if p.name == name)
    entries = {e: a for probe in map(study.mlp_probe, pool.evaluations) for e, a in _entries(study, probe).items()}
    return {**pool.model_dump(mode="json", exclude={"name"}), "pool": name, "entries": entries}


def _entries(study: "Study", evaluation: MlpProbe) -> dict[str, str]:
    compared = study.arms(evaluation)
    return {e.name: e.arm or e.name for e in study.encoders if e.name in compared}
