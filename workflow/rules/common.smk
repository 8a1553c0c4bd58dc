"""The checked study, where its files lie, and what every rule needs: recipes and code digests."""

import sys

from snakemake.exceptions import WorkflowError

from terraprobe.cli import recipe_json, stage_module
from terraprobe.digest import code_digest
from terraprobe.errors import TerraprobeError
from terraprobe.methods import METHODS
from terraprobe.study import parse_study, read_yaml

try:
    for file in workflow.configfiles:
        read_yaml(Path(file))  # Snakemake has read it already, but keeps the last of two equal keys
    STUDY = parse_study(dict(config), " ".join(map(str, workflow.configfiles)) or "the study")
except TerraprobeError as error:
    raise WorkflowError(str(error)) from None

ROOT = f"results/{STUDY.study}"
COLLECTION = f"{ROOT}/collections/{{collection}}"
DOWNLOADS = "resources/downloads"
ENVIRONMENT = "../../envs/terraprobe.yaml"
NAMES = {c.name: c for c in STUDY.collections}

# On a machine without a GPU the trainings share the cores; with GPUs each takes one.
GPUS = len(list(Path("/dev").glob("nvidia[0-9]*")))
workflow.global_resources.setdefault("gpu", GPUS or workflow.cores or 1)


wildcard_constraints:
    collection="[a-z][a-z0-9_]*",
    kind="chips|labels",
    layer="[a-z][a-z0-9_]*",
    shard=r"\d{3}",
    encoder="[a-z][a-z0-9_]*",
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


def stores(collection, kind="chips"):
    """The sealed stores of a collection's modalities or label layers."""
    layers = NAMES[collection].modalities if kind == "chips" else NAMES[collection].labels
    return [f"{ROOT}/collections/{collection}/{kind}/{layer}/spec.json" for layer in layers]
