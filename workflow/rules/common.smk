"""The checked study, where its files lie, recipes and code digests, and all input functions."""

import os
import sys

from snakemake.exceptions import WorkflowError

from terraprobe.acquire import packaged
from terraprobe.acquire.credentials import missing_credentials
from terraprobe.acquire.earthengine.products import PRODUCTS
from terraprobe.acquire.simulated.world import raw_files, world_files
from terraprobe.cli import recipe_json, stage_module
from terraprobe.devices import count_gpus
from terraprobe.digest import code_digest
from terraprobe.errors import TerraprobeError
from terraprobe.ledger.notes import ledger_recipe
from terraprobe.methods import METHODS
from terraprobe.report.recipe import report_recipe
from terraprobe.sources import read_sources
from terraprobe.study import parse_study, read_yaml
from terraprobe.study.area import CONTEXT_SOURCES
from terraprobe.study.budgets import compute_recipe, counted_encoders
from terraprobe.study.probed import (
    attributed_by,
    band_attribution_recipe,
    band_projection_recipe,
    drawn_by,
    mlp_pool_recipe,
    mlp_recipe,
    mlp_scores_recipe,
)
from terraprobe.study.segmentations import segmentation_pool_recipe

try:
    for file in workflow.configfiles:
        read_yaml(Path(file))  # Snakemake has read it already, but keeps the last of two equal keys
    STUDY = parse_study(dict(config), " ".join(map(str, workflow.configfiles)) or "the study")
except TerraprobeError as error:
    raise WorkflowError(str(error)) from None

SHIPPED = os.path.relpath(Path(workflow.basedir, "resources"))  # small tables that come with the workflow
ROOT = f"results/{STUDY.study}"
COLLECTION = f"{ROOT}/collections/{{collection}}"
DOWNLOADS = "resources/downloads"
ENVIRONMENT = "../../envs/terraprobe.yaml"
NAMES = {c.name: c for c in STUDY.collections}

# On a machine without a GPU the trainings share the cores; with GPUs each takes one. `--unlock` knows no cores.
workflow.global_resources.setdefault("gpu", count_gpus() or workflow.resource_settings.cores or 1)
# A project may have 40 requests on their way to Earth Engine at once; each of its jobs has four (REQUESTS_AT_ONCE).
workflow.global_resources.setdefault("earthengine", 8)


wildcard_constraints:
    collection="[a-z][a-z0-9_]*",
    kind="chips|labels",
    layer="[a-z][a-z0-9_]*",
    shard=r"\d{3}",
    encoder="[a-z][a-z0-9_]*",
    epoch=r"\d+",
    evaluation="[a-z][a-z0-9_]*",


def say(text):
    """One line on the console."""
    print(text, file=sys.stderr, flush=True)


def code(verb, *more):
    """Digest of the modules behind a stage; a rule carries it so that editing one reruns what it changes."""
    return code_digest(stage_module(verb), *more)


def recipe(**content):
    """A stage's parameters as its command line takes them."""
    return recipe_json(content)


def check_credentials():
    """Stop a run, before any job, that would fetch from a source which asks who you are."""
    areas = (c for c in STUDY.collections if c.kind == "area")
    wanted = ((c.name, layer, shard) for c in areas for layer in (*c.modalities, *c.labels) for shard in c.shard_names)
    absent = {layer for name, layer, shard in wanted if not Path(manifest(name, shard, layer)).exists()}
    if missing := missing_credentials(absent):
        raise WorkflowError("\n".join(missing))


def ledger_files(kind=""):
    """What the papers published beside ours, where the study names papers."""
    return [f"{ROOT}/ledger{kind}.parquet"] if STUDY.papers else []


def stores(collection, kind="chips"):
    """The sealed stores of a collection's modalities or label layers."""
    layers = NAMES[collection].modalities if kind == "chips" else NAMES[collection].labels
    return [f"{ROOT}/collections/{collection}/{kind}/{layer}/spec.json" for layer in layers]


def towers_read(encoders, collection):
    """The sealed stores of a collection that a tower of these encoders sees: no other one makes them run again."""
    names = STUDY.modalities_read(encoders, collection)
    return [f"{ROOT}/collections/{collection}/chips/{name}/spec.json" for name in names]


def tiles(collection, layer=None, shard=None):
    """Raw files of a collection, of one layer and one storage shard where these are given."""
    entry = NAMES[collection]
    layers = [layer] if layer else [*entry.modalities, *entry.labels]
    if entry.kind == "folder":
        return [file for one in layers for file in entry.files[one]]
    if entry.kind == "area" and layer in entry.files:
        return [entry.own_file(layer)]
    if entry.kind in {"archive", "area"}:
        return []  # too many to name: the manifest of a shard, which lists them, is checked when chips are read
    if entry.kind == "scene":
        folder, files = f"{DOWNLOADS}/scenes/{entry.scene}", packaged.raw_files(entry.scene)
    else:
        places = [p for s, part in enumerate(entry.places) if shard in (None, f"{s:03d}") for p in part]
        folder, files = f"{ROOT}/collections/{collection}/tiles", raw_files(entry.world, places)
    return [f"{folder}/{name}" for one in layers for name in files[one]]


def manifest(collection, shard, layer=None):
    """What lists the raw files of one storage shard; of one layer in a folder of own files; of both over an area."""
    entry = NAMES[collection]
    if entry.kind == "folder" or (entry.kind == "area" and layer in entry.files):
        return f"{ROOT}/collections/{collection}/tiles/{layer}.json"
    if entry.kind == "scene":
        return f"{DOWNLOADS}/scenes/{entry.scene}/manifest.json"
    if entry.kind == "area":
        return f"{ROOT}/collections/{collection}/tiles/{layer}/{shard}.json"
    return f"{ROOT}/collections/{collection}/tiles/{shard}.json"


def laid_on(collection):
    """What the grid of a collection is read off; nothing where its places are known without a file."""
    entry = NAMES[collection]
    if entry.kind == "archive":
        return images(collection)
    if entry.kind == "area":
        return [entry.path]
    if entry.kind == "folder":
        return [manifest(collection, None, entry.modalities[0])]
    return tiles(collection, "s2_l1c") if entry.kind == "scene" else []


def images(collection):
    """The table of an archive's images; nothing for any other collection."""
    return [f"{ROOT}/collections/{collection}/images.parquet"] if NAMES[collection].kind == "archive" else []


def own_classes(w):
    """Classes of a user's own label layer, for a recipe; nothing for any other layer."""
    entry = NAMES[w.collection]
    return entry.own_classes(w.layer) if entry.kind in {"folder", "area"} else {}


def context(collection):
    """The context of a collection, or nothing where its source has none."""
    return [f"{ROOT}/collections/{collection}/context.parquet"] if NAMES[collection].has_context else []


def context_files(collection):
    """Rasters of the climate and the vector file of the regions, of a collection that has context."""
    entry = NAMES[collection]
    if entry.kind == "simulated":
        folder = f"{ROOT}/collections/{collection}/tiles"
        return {name: f"{folder}/{file}" for name, file in world_files().items()}
    if entry.kind == "area":
        climate, regions = (read_sources()[name] for name in CONTEXT_SOURCES)
        files = [f"{DOWNLOADS}/{climate.folder}/{name}" for name in climate.files]
        return {"climate": files, "regions": f"{DOWNLOADS}/{regions.folder}/{regions.files[0]}"}
    return {"climate": entry.climate_files, "regions": str(Path(entry.regions).expanduser())}


def context_read(encoders, collection):
    """The context of a collection where one of these encoders is conditioned on it."""
    return context(collection) if any(STUDY.encoder(e).takes_context for e in encoders) else []


def official(collection):
    """The list of splits that a collection was published with, where it is split so."""
    split = NAMES[collection].split
    if split.kind != "official":
        return []
    return [split.file] if split.file else images(collection)


def trained_on(encoder):
    """Names of the collections an encoder learns from."""
    return STUDY.encoder(encoder).collections


def labels_learnt(encoder):
    """The chip-level labels that an encoder learns, or nothing where it learns without."""
    return [path for c in trained_on(encoder) for path in labels_of(c)] if STUDY.encoder(encoder).supervised else []


def start_files(encoder):
    """Card and weights of the encoder that another one starts from, or a file of published weights, or nothing."""
    published = STUDY.encoder(encoder).weights
    if published is not None:
        if not published.path.exists() and not published.path.is_relative_to("results"):
            raise WorkflowError(f"encoders[{encoder}].weights.file: {published.path} not found. Download and name it.")
        return [str(published.path)]
    name = STUDY.start_of(encoder)
    return [f"{ROOT}/encoders/{name}/{file}" for file in ("card.json", "encoder.safetensors")] if name else []


def restart_files():
    """Weights after the restarts of the learning rate, of every encoder that has some."""
    return [
        f"{ROOT}/encoders/{e.name}/encoder-epoch{epoch}.safetensors"
        for e in STUDY.members
        for epoch in e.full_recipe.restarts
    ]


def labels_of(collection):
    """The chip-level labels of a collection, or nothing where it has none."""
    return [f"{ROOT}/collections/{collection}/labels.parquet"] if NAMES[collection].label_layers else []


def pretrained_elsewhere(collection):
    """Chips of the other collections that an encoder which embeds this one learns from."""
    seen = dict.fromkeys(c for e in STUDY.encoders_of(collection) for c in STUDY.seen_by(e))
    others = [c for c in seen if c != collection]
    return [f"{ROOT}/collections/{c}/chips.parquet" for c in others]


def probed(w, name, test=False):
    """A file of each collection that an evaluation learns from; for the test also of the one that it judges."""
    evaluation = STUDY.evaluation(w.evaluation)
    collections = evaluation.collections if test else evaluation.trained_on
    if name == "features":
        folder = "floors" if w.encoder == "floors" else f"embeddings/{w.encoder}"
        return [f"{ROOT}/{folder}/{collection}.parquet" for collection in collections]
    return [f"{ROOT}/collections/{collection}/{name}.parquet" for collection in collections]


def audit_of(w):
    """The leakage audit of the collection that an evaluation is done on."""
    return f"{ROOT}/collections/{STUDY.evaluation(w.evaluation).collection}/leakage.json"


def score_files(kind):
    """One file of every evaluation and everything it compares."""
    return [f"{ROOT}/scores/{v.name}/{e}.{kind}" for v in STUDY.forests for e in [*STUDY.judged(v), "floors"]]


def heads(w):
    """Encoders whose heads an evaluation judges."""
    return STUDY.judged(STUDY.classification(w.evaluation))


def predictions(w):
    """What the heads of all encoders of an evaluation call the chips of its collection."""
    return [f"{ROOT}/predictions/{e}/{STUDY.classification(w.evaluation).collection}.parquet" for e in heads(w)]


def classified(w, name):
    """A table of the collection that heads are judged on."""
    return f"{ROOT}/collections/{STUDY.classification(w.evaluation).collection}/{name}"


def pooled_blocks(w):
    """Counts by block of every evaluation of a pool of heads."""
    return [f"{ROOT}/classes/{e}.blocks.parquet" for e in STUDY.class_pool(w.pool).evaluations]


def reconstructed(w):
    """The collection that autoencoders are judged on."""
    return STUDY.reconstruction(w.evaluation).collection


def machine_labels(w):
    """The chip-level labels that a support vector machine learns, or nothing where none does."""
    evaluation = STUDY.reconstruction(w.evaluation)
    return labels_of(evaluation.collection) if evaluation.label else []


def reconstructed_images():
    """Chips that autoencoders gave back; of several seeds the first."""
    first = {e.members[0].name for e in STUDY.encoders}
    judged = [(v.name, e) for v in STUDY.reconstructions for e in STUDY.judged(v) if e in first]
    return [f"{ROOT}/reconstruction/{v}/{e}.npz" for v, e in judged]


def reconstruction_files(kind=""):
    """One file of every evaluation of autoencoders."""
    return [f"{ROOT}/reconstruction/{v.name}{kind}.parquet" for v in STUDY.reconstructions]


def class_files(kind=""):
    """One file of every evaluation of heads."""
    return [f"{ROOT}/classes/{v.name}{kind}.parquet" for v in STUDY.classifications]


def segmented(evaluation):
    """The collection whose pixels are judged."""
    return STUDY.segmentation(evaluation).collection


def pixel_labels(w):
    """The sealed store of the classes that an evaluation of pixels judges."""
    evaluation = STUDY.segmentation(w.evaluation)
    return f"{ROOT}/collections/{evaluation.collection}/labels/{evaluation.label}/spec.json"


def pixel_strata(w):
    """The sealed store of the classes by which pixels are also scored, or nothing."""
    evaluation = STUDY.segmentation(w.evaluation)
    folder = f"{ROOT}/collections/{evaluation.collection}/labels"
    return [f"{folder}/{evaluation.strata}/spec.json"] if evaluation.strata else []


def segmenting(w):
    """Encoders that an evaluation of pixels compares."""
    return STUDY.judged(STUDY.segmentation(w.evaluation))


def segmentation_files(kind=""):
    """One file of every evaluation of pixels."""
    return [f"{ROOT}/segmentation/{v.name}{kind}.parquet" for v in STUDY.segmentations]


def pooled_segmentations(w):
    """Bootstrap values of every evaluation of a pool of pixels."""
    pool = next(p for p in STUDY.pools if p.name == w.pool)
    return [f"{ROOT}/segmentation/{e}.samples.parquet" for e in pool.evaluations]


def called_pixels():
    """What probes call the pixels of test chips, of every encoder that is judged."""
    return [f"{ROOT}/segmentation/{v.name}/{e}.parquet" for v in STUDY.segmentations for e in STUDY.judged(v)]


def segmented_maps():
    """What probes call a few test chips; of several seeds the first."""
    first = {e.members[0].name for e in STUDY.encoders}
    judged = [(v.name, e) for v in STUDY.segmentations for e in STUDY.judged(v) if e in first]
    return [f"{ROOT}/segmentation/{v}/{e}.npz" for v, e in judged]


def probed_by_mlp(w):
    """The collection that MLPs are judged on."""
    return STUDY.mlp_probe(w.evaluation).collection


def mlp_encoders(w):
    """The encoder whose views are learnt from; of the floors, every one that is compared."""
    return STUDY.judged(STUDY.mlp_probe(w.evaluation)) if w.encoder == "floors" else [w.encoder]


def mlp_weights(w):
    """Weights of the encoder; floors have none."""
    return [] if w.encoder == "floors" else [f"{ROOT}/encoders/{w.encoder}/encoder.safetensors"]


def mlp_floors(w):
    """Image statistics that stand in for an encoder, or nothing."""
    return [f"{ROOT}/floors/{probed_by_mlp(w)}.parquet"] if w.encoder == "floors" else []


def mlp_methods(w):
    """Modules of the methods behind the views."""
    return [] if w.encoder == "floors" else [METHODS[STUDY.encoder(w.encoder).method]]


def mlp_parts(w, kind):
    """One file of every encoder that MLPs learn from, and of the floors."""
    members = [*STUDY.judged(STUDY.mlp_probe(w.evaluation)), "floors"]
    return [f"{ROOT}/mlp/{w.evaluation}/{e}.{kind}" for e in members]


def mlp_files(kind=""):
    """One file of every evaluation by MLPs."""
    return [f"{ROOT}/mlp/{v.name}{kind}.parquet" for v in STUDY.mlp_probes]


def encoder_files(encoders, file):
    """One file of each of some encoders."""
    return [f"{ROOT}/encoders/{e}/{file}" for e in encoders]


def compute_files():
    """What trainings cost, where encoders are set side by side."""
    return [f"{ROOT}/compute.parquet"] if counted_encoders(STUDY) else []


def methods_of(encoders):
    """Modules of the methods behind some encoders."""
    return sorted({METHODS[STUDY.encoder(e).method] for e in encoders})


def attributed_heads(w, kind):
    """One file of the MLPs that learnt from each encoder whose full gradients are drawn."""
    return [f"{ROOT}/mlp/{w.evaluation}/{e}.{kind}" for e in attributed_by(STUDY, w.evaluation)]


def band_pictures(kind):
    """One file of every evaluation by MLPs whose single bands are drawn."""
    by = {"attributions.npz": attributed_by, "projections.parquet": drawn_by}[kind]
    return [f"{ROOT}/mlp/{v.name}.{kind}" for v in STUDY.pictured_mlps if by(STUDY, v.name)]


def pooled_mlps(w):
    """Bootstrap values of every evaluation of a pool by MLPs."""
    pool = next(p for p in STUDY.pools if p.name == w.pool)
    return [f"{ROOT}/mlp/{e}.samples.parquet" for e in pool.evaluations]
