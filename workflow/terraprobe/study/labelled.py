"""What a study says of labels: tasks of forests, and encoders that learn classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from terraprobe.methods import load_method
from terraprobe.study.collections import Collection
from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.evaluations import Classification, Evaluation, Pool, Reconstruction
from terraprobe.study.names import check_names
from terraprobe.study.probing import MlpProbe
from terraprobe.study.segmentations import Segmentation

if TYPE_CHECKING:
    from terraprobe.study.whole import Study


def classes_of(collection: Collection, label: str) -> list[str]:
    """Classes of a chip-level label, by code; none where the collection does not have it."""
    layers = [layer for layer in collection.label_layers if label in (layer.class_label, layer.present_label)]
    return [layers[0].classes[code] for code in sorted(layers[0].classes)] if layers and label else []


def class_labels(collection: Collection) -> list[str]:
    """Names of a collection's chip-level labels that are classes."""
    layers = [layer for layer in collection.label_layers if layer.classes]
    return [name for layer in layers for name in (layer.class_label, layer.present_label) if name]


def several(collection: Collection, label: str) -> bool:
    """Whether a chip may have several classes of a label."""
    return label in [layer.present_label for layer in collection.label_layers if layer.classes]


def check_tasks(evaluation: Evaluation, collection: Collection, why: str = "") -> None:
    """Refuse tasks of forests that are no number of a collection.

    Raises:
        ValueError: a task is not known, or is a class.
    """
    where = f"evaluations[{evaluation.name}].tasks"
    values = [value for layer in collection.label_layers for value in layer.values]
    for task in evaluation.tasks:
        if task in class_labels(collection):
            raise ValueError(
                f"{where}: found {task!r}, which is a class; a forest's task asks for more of a number than the train "
                f"median: allowed {', '.join(values) or 'none here'}. Classes are for probe: classifier"
            )
    check_names(evaluation.tasks, values, where, f"labels of {collection.name}{why}")


def check_supervised(study: "Study", encoder: EncoderEntry) -> None:
    """Refuse a label that a collection does not have.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    where = f"encoders[{encoder.name}]"
    lists = []
    for collection in map(study.collection, encoder.collections):
        check_names([encoder.label], class_labels(collection), f"{where}.label", f"classes of {collection.name}")
        lists.append(classes_of(collection, encoder.label))
    if any(found != lists[0] for found in lists):
        raise ValueError(
            f"{where}.label: {encoder.label} has other classes in each of {', '.join(encoder.collections)}"
        )
    if "multi_label" in encoder.recipe:
        found = encoder.recipe["multi_label"]
        raise ValueError(f"{where}.recipe.multi_label: found {found}, allowed none: the label says it")
    check_names(encoder.recipe.get("classes", []), lists[0], f"{where}.recipe.classes", f"of {encoder.label}")


def check_start(study: "Study", encoder: EncoderEntry) -> None:
    """Refuse a start that cannot be one.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    where = f"encoders[{encoder.name}].start"
    able = [e.name for e in study.encoders if not e.supervised and not e.start]
    check_names([encoder.start], able, where, "trained afresh and without labels")
    start = next(e for e in study.encoders if e.name == encoder.start)
    seeds = [member.seed for member in start.members]
    lacking = [member.seed for member in encoder.members if member.seed not in seeds]
    if len(seeds) > 1 and lacking:
        raise ValueError(f"{where}: {start.name} has seeds {seeds}, not {lacking[0]}; give both the same seeds")
    own, theirs = encoder.full_recipe, start.full_recipe
    shape = load_method(encoder.method).start_shape
    for key in shape:
        if getattr(theirs, key, None) != getattr(own, key):
            raise ValueError(
                f"{where}: {start.name} is of another shape, its {key} is {_said(getattr(theirs, key, None))} and not "
                f"{_said(getattr(own, key))}; weights fit a network of the same {', '.join(shape)} alone"
            )


def _said(value: object) -> str:
    return repr(sorted(value) if isinstance(value, dict) else value)


def able_classifiers(encoders: Sequence[EncoderEntry], evaluation: Classification) -> list[EncoderEntry]:
    """The encoders that learnt an evaluation's label on its collection, in study order."""
    return [e for e in encoders if e.label == evaluation.label and evaluation.collection in e.collections]


def check_classification(study: "Study", evaluation: Classification) -> None:
    """Refuse an evaluation whose label or encoders do not fit it.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    where = f"evaluations[{evaluation.name}]"
    collection = study.collection(evaluation.collection)
    check_names([evaluation.label], class_labels(collection), f"{where}.label", f"classes of {collection.name}")
    able = able_classifiers(study.encoders, evaluation)
    learnt = f"learnt {evaluation.label} on {collection.name}"
    if evaluation.encoders != "all":
        check_names(evaluation.encoders, [e.name for e in able], f"{where}.encoders", learnt)
        able = [e for e in able if e.name in evaluation.encoders]
    if not able:
        raise ValueError(f"{where}.encoders: no encoder {learnt}; give one of method bioclim_supervised its label")
    lists = {tuple(e.recipe.get("classes", ())) for e in able}
    if len(lists) > 1:
        raise ValueError(f"{where}.encoders: their recipes name different classes, allowed the same in all")
    classes = next(iter(lists)) or classes_of(collection, evaluation.label)
    check_names(evaluation.gradcam, classes, f"{where}.gradcam", "that the encoders learn")


def check_reconstruction(study: "Study", evaluation: Reconstruction) -> None:
    """Refuse an evaluation whose label or autoencoders do not fit it.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    where = f"evaluations[{evaluation.name}]"
    collection = study.collection(evaluation.collection)
    if evaluation.label:
        single = [name for name in class_labels(collection) if not several(collection, name)]
        check_names([evaluation.label], single, f"{where}.label", f"one class a chip of {collection.name}")
    able = [e for e in study.encoders if e.autoencoder and study.can_embed(e, collection)]
    if evaluation.encoders != "all":
        why = f"autoencoders that can embed {collection.name}"
        check_names(evaluation.encoders, [e.name for e in able], f"{where}.encoders", why)
        able = [e for e in able if e.name in evaluation.encoders]
    if not able:
        raise ValueError(f"{where}.encoders: no autoencoder can embed {collection.name}; give one of method bioclim")
    first, *others = ((e.name, _bands(e)) for e in able)
    unlike = [(name, bands) for name, bands in others if bands != first[1]]
    if unlike:
        raise ValueError(
            f"{where}.encoders: {first[0]} sees {first[1]} and {unlike[0][0]} sees {unlike[0][1]}; errors are means "
            "over bands, so all must see the same"
        )


def _bands(encoder: EncoderEntry) -> str:
    towers = encoder.full_recipe.towers.values()
    return "; ".join(f"{', '.join(tower.band_names)} of {tower.modality}" for tower in towers)


def check_pool(study: "Study", pool: Pool) -> None:
    """Refuse a pool of evaluations that cannot be compared as one.

    Raises:
        ValueError: names the key, what was found and what is allowed.
    """
    where = f"pools[{pool.name}]"
    kinds = (study.forests, study.classifications, study.mlp_probes, study.segmentations)
    forests, heads, mlps, pixels = ([e.name for e in found] for found in kinds)
    check_names(pool.evaluations[:1], [*forests, *heads, *mlps, *pixels], f"{where}.evaluations")
    if study.of_mlps(pool) or study.of_pixels(pool):
        alike, why = (mlps, "by MLPs") if study.of_mlps(pool) else (pixels, "of pixels")
        check_names(pool.evaluations, alike, f"{where}.evaluations", f"{why}, like the first")
        _check_alike(study, pool, f"{where}.evaluations")
        return
    if not study.of_heads(pool):
        others = bool(heads or mlps or pixels)
        check_names(pool.evaluations, forests, f"{where}.evaluations", "by forests, like the first" if others else "")
        if pool.margin is not None:
            raise ValueError(
                f"{where}.margin: found {pool.margin:g}, allowed none: pools of forests call nothing equal"
            )
        for evaluation in map(study.evaluation, pool.evaluations):
            judged = list(study.arms(evaluation))
            if len(judged) != 1:
                raise ValueError(
                    f"{where}.evaluations: {evaluation.name} compares {', '.join(judged) or 'no encoder'}; allowed: "
                    "evaluations that each compare exactly one of the encoders"
                )
        return
    check_names(pool.evaluations, heads, f"{where}.evaluations", "by the encoders' own heads, like the first")
    _check_alike(study, pool, f"{where}.evaluations")


def _check_alike(study: "Study", pool: Pool, where: str) -> None:
    arms = {e.name: e.arm or e.name for e in study.encoders}
    judges: dict[str, Classification | MlpProbe | Segmentation] = {e.name: e for e in study.classifications}
    judges |= {e.name: e for e in study.mlp_probes} | {e.name: e for e in study.segmentations}
    lists = {name: [arms[e] for e in study.arms(judges[name])] for name in pool.evaluations}
    first, *others = (judges[name] for name in pool.evaluations)
    check_names(lists[first.name], lists[first.name], f"{where}: arms of {first.name}")
    for other in others:
        if sorted(lists[other.name]) != sorted(lists[first.name]):
            raise ValueError(
                f"{where}: {other.name} compares the arms {', '.join(lists[other.name])} and {first.name} compares "
                f"{', '.join(lists[first.name])}; allowed: evaluations of the same arms (key arm, or each)"
            )
        if other.label != first.label:
            raise ValueError(
                f"{where}: {other.name} judges {other.label} and {first.name} {first.label}, allowed one label"
            )
        for key in ("sizes", "resamples", "protocol", "classes", "strata") if not study.of_heads(pool) else ():
            found, wanted = getattr(other, key, None), getattr(first, key, None)
            if found != wanted:
                raise ValueError(f"{where}: {other.name} has {key} {found} and {first.name} {wanted}, allowed the same")
    collections = [e.collection for e in (first, *others)]
    check_names(collections, collections, f"{where}: their collections")
