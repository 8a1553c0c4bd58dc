"""The report's recipe, made of a study file: what each entry is called, where it comes from, what it leaves out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from terraprobe.acquire.earthengine.products import PRODUCTS
from terraprobe.acquire.packaged import find_scene
from terraprobe.archives import ARCHIVES
from terraprobe.modalities import MODALITIES
from terraprobe.report.notes import (
    ClassificationNote,
    ClassPoolNote,
    CollectionNote,
    EncoderNote,
    EvaluationNote,
    MlpNote,
    PoolNote,
    ReconstructionNote,
    ReportRecipe,
    SegmentationNote,
)
from terraprobe.sources import read_sources
from terraprobe.study import ArchiveCollection, AreaCollection, FolderCollection, SimulatedCollection, Study
from terraprobe.study.area import CONTEXT_SOURCES, ELSEWHERE, ELSEWHERE_SOURCES

if TYPE_CHECKING:
    from terraprobe.study import (
        AnyCollection,
        Classification,
        EncoderEntry,
        Evaluation,
        MlpProbe,
        Pool,
        Reconstruction,
        Segmentation,
    )

ABOUT = (
    "Chips of Sentinel images, encoders pretrained on them without labels, and what their embeddings know about land "
    "cover at places that no training saw."
)
_COPERNICUS = "Contains modified Copernicus Sentinel data."
_OSM = "© OpenStreetMap contributors, Open Database License (ODbL)."


def report_recipe(study: Study) -> ReportRecipe:
    """What the report of a study says about it."""
    simulated = [isinstance(c, SimulatedCollection) for c in study.collections]
    what = "All of the data is" if all(simulated) else "Part of the data is"
    warning = f" {what} simulated: scores on it show that the pipeline works, not what is true of the Earth."
    labelled = " Some encoders are trained with labels: their own heads are scored." if study.classifications else ""
    if any(evaluation.reference for evaluation in study.forests):
        labelled += " One is trained with labels from scratch: the reference that the others are held against."
    collections = tuple(_collection(c) for c in study.collections)
    return ReportRecipe(
        study=study.study,
        title=study.title or study.study,
        about=ABOUT + labelled + (warning if any(simulated) else ""),
        papers=tuple(study.papers),
        left_out={name: tuple(reasons) for name, reasons in study.left_out.items()},
        collections=collections,
        encoders=tuple(_encoder(e, collections) for e in study.encoders),
        evaluations=tuple(_evaluation(e) for e in study.forests),
        classifications=tuple(_classification(e, study) for e in study.classifications),
        reconstructions=tuple(_reconstruction(e, study) for e in study.reconstructions),
        segmentations=tuple(_segmentation(e, study) for e in study.segmentations),
        pools=tuple(PoolNote(**_pool(pool, study)) for pool in study.pools if study.of_forests(pool)),
        class_pools=tuple(
            ClassPoolNote(**_pool(pool, study), margin=pool.margin) for pool in study.pools if study.of_heads(pool)
        ),
        mlp_probes=tuple(_mlp_probe(e, study) for e in study.mlp_probes),
        mlp_pools=tuple(
            ClassPoolNote(**_pool(pool, study), margin=pool.margin) for pool in study.pools if study.of_mlps(pool)
        ),
        segmentation_pools=tuple(
            ClassPoolNote(**_pool(pool, study), margin=pool.margin) for pool in study.pools if study.of_pixels(pool)
        ),
    )


def _evaluation(evaluation: "Evaluation") -> EvaluationNote:
    elsewhere = [_title(name) for name in evaluation.train_on]
    learnt = f", trained on {' and '.join(elsewhere)}" if elsewhere else ""
    null = ", labels permuted by block (a null: nothing can be known)" if evaluation.permute_labels else ""
    title = f"Few-shot forests on {_title(evaluation.collection)}{learnt}{null}"
    return EvaluationNote(
        name=evaluation.name, title=title, collection=evaluation.collection, reference=evaluation.reference
    )


def _classification(evaluation: "Classification", study: Study) -> ClassificationNote:
    return ClassificationNote(
        name=evaluation.name,
        title=f"{_title(evaluation.label)} on {_title(evaluation.collection)}",
        collection=evaluation.collection,
        simulated=isinstance(study.collection(evaluation.collection), SimulatedCollection),
        efficiency_at=evaluation.efficiency_at,
        label=evaluation.label,
        classes=tuple(study.classes_called(evaluation)),
        seed=evaluation.seed,
        pictured=evaluation in study.pictured,
    )


def _reconstruction(evaluation: "Reconstruction", study: Study) -> ReconstructionNote:
    return ReconstructionNote(
        name=evaluation.name,
        title=f"Chips of {_title(evaluation.collection)}",
        collection=evaluation.collection,
        simulated=isinstance(study.collection(evaluation.collection), SimulatedCollection),
        encoders=tuple(study.arms(evaluation)),
        label=evaluation.label,
    )


_PROTOCOLS = {
    "linear": "a 1 x 1 convolution on the features of the frozen encoder",
    "decoder": "a DeepLabv3 head on the features of the frozen encoder",
    "finetune": "a 1 x 1 convolution on the features of the encoder, which is trained with it",
}


def _segmentation(evaluation: "Segmentation", study: Study) -> SegmentationNote:
    layers = {layer.name: layer for layer in study.collection(evaluation.collection).label_layers}
    tried = ", ".join(f"{lr:g}" for lr in evaluation.lrs)
    chosen = f"learning rate {tried}" if len(evaluation.lrs) == 1 else f"learning rate of {tried} chosen on validation"
    return SegmentationNote(
        name=evaluation.name,
        title=f"{layers[evaluation.label].title} on {_title(evaluation.collection)}",
        collection=evaluation.collection,
        simulated=isinstance(study.collection(evaluation.collection), SimulatedCollection),
        encoders=tuple(study.arms(evaluation)),
        classes=tuple(study.segmentation_scores_recipe(evaluation.name)["classes"]),
        about=f"{_PROTOCOLS[evaluation.protocol].capitalize()}: {evaluation.steps:,} steps of {evaluation.batch_size} "
        f"chips by {evaluation.optimiser.upper() if evaluation.optimiser == 'sgd' else 'Adam'}, {chosen}; the same for "
        "every encoder and its untrained twins.",
    )


def _mlp_probe(evaluation: "MlpProbe", study: Study) -> MlpNote:
    return MlpNote(
        name=evaluation.name,
        title=f"{_title(evaluation.label)} band by band on {_title(evaluation.collection)}",
        collection=evaluation.collection,
        simulated=isinstance(study.collection(evaluation.collection), SimulatedCollection),
        label=evaluation.label,
    )


def _pool(pool: "Pool", study: Study) -> dict[str, Any]:
    judged = {e.name: study.collection(e.collection) for e in study.evaluations}
    return {
        "name": pool.name,
        "title": _title(pool.name),
        "evaluations": tuple(pool.evaluations),
        "simulated": any(isinstance(judged[name], SimulatedCollection) for name in pool.evaluations),
    }


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _collection(collection: "AnyCollection") -> CollectionNote:
    title = _title(collection.name)
    split = _split(collection)
    if isinstance(collection, SimulatedCollection):
        world = collection.world
        return CollectionNote(
            name=collection.name,
            title=title,
            simulated=True,
            source=f"A simulated Earth, {world.n_places} places, seed {world.seed}. Pixels, labels and climate come "
            "from a generator that writes the providers' own file formats. No satellite took these images.",
            licence="none needed, generated by this project",
            split=split,
            planted_km=world.autocorrelation_km,
        )
    if isinstance(collection, FolderCollection):
        files = ", ".join(f"{len(files)} of {layer}" for layer, files in collection.files.items())
        return CollectionNote(
            name=collection.name,
            title=title,
            simulated=False,
            source=f"A folder of your own GeoTIFFs: {files}. Read where they are, named by the study."
            + _context_words(collection),
            licence=collection.licence or "not stated in the study",
            attribution=_COPERNICUS,
            split=split,
        )
    if isinstance(collection, ArchiveCollection):
        archive = ARCHIVES[collection.archive]
        return CollectionNote(
            name=collection.name,
            title=title,
            simulated=False,
            source=f"{archive.title}: images and classes of the benchmark as they are.{_context_words(collection)}"
            + ("" if archive.placed else " Nobody knows where on Earth an image is: no map, no distance, no climate."),
            licence=archive.licence,
            attribution="" if collection.archive == "resisc45" else _COPERNICUS,
            split=split,
        )
    if isinstance(collection, AreaCollection):
        context = [read_sources()[name] for name in CONTEXT_SOURCES] if collection.has_context else []
        elsewhere = [name for name in ELSEWHERE if name in collection.layers]
        licences = [PRODUCTS[layer].licence for layer in collection.from_earth_engine]
        licences += [read_sources()[ELSEWHERE_SOURCES[name]].licence for name in elsewhere]
        licences += [source.licence for source in context]
        return CollectionNote(
            name=collection.name,
            title=title,
            simulated=False,
            source=f"Chips over {Path(collection.area).name}, {collection.months[0]} to {collection.months[-1]}: "
            f"{', '.join(dict.fromkeys(PRODUCTS[layer].dataset for layer in collection.from_earth_engine))} by Google "
            "Earth Engine"
            + "".join(f", {ELSEWHERE[name]}" for name in elsewhere)
            + "".join(f", your own labels {Path(file).name} ({name})" for name, file in collection.files.items())
            + "."
            + (f" Context: {' and '.join(source.title for source in context)}." if context else ""),
            licence="; ".join(dict.fromkeys(licences)),
            attribution=_COPERNICUS,
            split=split,
        )
    scene = find_scene(collection.scene)
    layers = [*collection.modalities, *collection.labels]
    when = f" of {scene.date}" if scene.date else ""
    return CollectionNote(
        name=collection.name,
        title=title,
        simulated=False,
        source=f"A genuine Sentinel-2 scene{when}, as shipped in the public package {scene.package} {scene.version}"
        + (", with OpenStreetMap land-use and water polygons as labels." if "osm" in layers else ", without labels."),
        licence="; ".join(f"{layer}: {scene.licences[layer]}" for layer in layers),
        attribution=" ".join([_COPERNICUS, *([_OSM] if "osm" in layers else [])]),
        split=split,
    )


def _context_words(collection: ArchiveCollection | FolderCollection) -> str:
    if not collection.has_context:
        return ""
    values = "climate, elevation (20 values)" if collection.has_elevation else "climate, no elevation (19 values)"
    return f" Context: {values} from {Path(collection.climate).name}, regions from {Path(collection.regions).name}."


def _split(collection: "AnyCollection") -> str:
    split = collection.split
    if split.kind == "stratified":
        return "Chips drawn at random within each region: neighbours may stand on both sides."
    if split.kind == "hashed":
        shares = f"{split.shares.train:.0%} train, {split.shares.val:.0%} val, {split.shares.test:.0%} test"
        return f"By a hash of the images' names within each class ({shares}): neighbours may stand on both sides."
    if split.kind == "official":
        return f"By source, as listed in {Path(split.file).name}." if split.file else "As published with the archive."
    apart = f"chips of different splits are at least {split.buffer_m:g} m apart."
    if split.kind == "blocks":
        side = f"{split.side_km:g} km" if split.side_km else "twice the labels' autocorrelation length"
        return f"Square cells of equal area, {side} wide, dealt whole; {apart}"
    pattern = ", ".join(split.pattern)
    return f"{split.n_bands} geographic bands across a direction, dealt {pattern} in turn; {apart}"


def _encoder(encoder: "EncoderEntry", notes: tuple[CollectionNote, ...]) -> EncoderNote:
    towers = encoder.full_recipe.towers
    deviations = []
    modalities = sorted({tower.modality for tower in towers.values()})
    if encoder.method == "clip3" and len(modalities) < len(towers):
        sensors = ", ".join(MODALITIES[m].title for m in modalities)
        deviations.append(
            f"Towers {', '.join(towers)} see bands of one sensor ({sensors}), where the paper pairs sensors: our own "
            "variant, for scenes without Sentinel-1."
        )
    return EncoderNote(
        name=encoder.name,
        title=f"{encoder.name} ({' + '.join(towers)})",
        collections=tuple(encoder.collections),
        data=" and ".join(f"{note.title} ({note.kind})" for note in notes if note.name in encoder.collections),
        deviations=tuple(deviations),
        members=tuple(member.name for member in encoder.members) if encoder.seeds else (),
        arm=encoder.arm,
        budgets=tuple(encoder.budgets),
    )
