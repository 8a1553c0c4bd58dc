"""The command line: `terraprobe <stage> --input PATH … --recipe JSON --output PATH`, and a few commands for people.

The options of a stage come from the signature of its function. Nothing of a stage is imported until it is called.
"""

import argparse
import gc
import importlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from terraprobe.errors import TerraprobeError

STAGES = {
    "fetch-scene": "terraprobe.acquire.packaged:fetch_scene",
    "index-folder": "terraprobe.acquire.folder:index_folder",
    "index-archive": "terraprobe.acquire.archive:index_archive",
    "fetch-dataset": "terraprobe.acquire.datasets:fetch_dataset",
    "fetch-ghs": "terraprobe.acquire.ghs:fetch_ghs",
    "search-coherence": "terraprobe.acquire.asf:search_coherence",
    "fetch-coherence": "terraprobe.acquire.asf:fetch_coherence",
    "simulate-world": "terraprobe.acquire.simulated.stages:simulate_world",
    "simulate-places": "terraprobe.acquire.simulated.stages:simulate_places",
    "fetch-earthengine": "terraprobe.acquire.earthengine.fetch:fetch_earthengine",
    "lay-grid": "terraprobe.collections.grid:lay_grid",
    "extract-context": "terraprobe.collections.context:extract_context",
    "assign-splits": "terraprobe.collections.splits:assign_splits",
    "audit-leakage": "terraprobe.collections.leakage:audit_leakage",
    "cut-chips": "terraprobe.chips.cut:cut_chips",
    "seal-store": "terraprobe.chips.cut:seal_store",
    "measure-labels": "terraprobe.chips.labels:measure_labels",
    "pretrain-encoder": "terraprobe.train:pretrain_encoder",
    "count-compute": "terraprobe.compute:count_compute",
    "augment-chips": "terraprobe.augmented:augment_chips",
    "take-restart": "terraprobe.restarts:take_restart",
    "embed-chips": "terraprobe.embed:embed_chips",
    "predict-classes": "terraprobe.predict:predict_classes",
    "attribute-classes": "terraprobe.attribute:attribute_classes",
    "measure-floors": "terraprobe.probes.floors:measure_floors",
    "select-forest": "terraprobe.probes.forest:select_forest",
    "score-forest": "terraprobe.probes.forest:score_forest",
    "score-classes": "terraprobe.probes.classes:score_classes",
    "pool-classes": "terraprobe.probes.class_pools:pool_classes",
    "reconstruct-chips": "terraprobe.probes.reconstruction:reconstruct_chips",
    "score-reconstruction": "terraprobe.probes.reconstruction_scores:score_reconstruction",
    "select-segmentation": "terraprobe.probes.segmentation:select_segmentation",
    "segment-chips": "terraprobe.probes.segmentation:segment_chips",
    "segment-floors": "terraprobe.probes.pixel_floors:segment_floors",
    "score-segmentation": "terraprobe.probes.segmentation_scores:score_segmentation",
    "pool-segmentation": "terraprobe.probes.segmentation_pools:pool_segmentation",
    "fit-mlp": "terraprobe.probes.probing:fit_mlp",
    "call-mlp": "terraprobe.probes.probing:call_mlp",
    "score-mlp": "terraprobe.probes.mlp_scores:score_mlp",
    "pool-mlp": "terraprobe.probes.mlp_pools:pool_mlp",
    "attribute-bands": "terraprobe.probes.bandattribution:attribute_bands",
    "gather-mistakes": "terraprobe.report.mistakes:gather_mistakes",
    "gather-scores": "terraprobe.probes.scores:gather_scores",
    "write-ledger": "terraprobe.ledger.stage:write_ledger",
    "project-embeddings": "terraprobe.report.projection:project_embeddings",
    "project-bands": "terraprobe.report.bandprojection:project_bands",
    "write-report": "terraprobe.report.page:write_report",
}
"""Command to the function behind it, in the order data meets them."""

COMMANDS = {
    "check-study": "terraprobe.study:check_command",
    "new-study": "terraprobe.newstudy.command:new_study_command",
    "plan": "terraprobe.plan:plan_command",
    "describe": "terraprobe.describe:describe_command",
    "map": "terraprobe.mapping:map_command",
    "sources": "terraprobe.acquire.reach:sources_command",
    "unpack": "terraprobe.acquire.unpack:unpack_command",
    "times": "terraprobe.report.times:times_command",
    "trace": "terraprobe.trace:trace_command",
    "verify": "terraprobe.trace:verify_command",
    "compare": "terraprobe.compare:compare_command",
    "export": "terraprobe.export:export_command",
    "search": "terraprobe.search:search_command",
}
"""Commands for people: functions of the remaining arguments that return an exit status."""


@dataclass(frozen=True)
class Argument:
    """One argument of a stage.

    Attributes:
        name: of the parameter.
        role: `input`, `output` or `recipe`.
        many: whether it takes a list of paths.
        type: the recipe's model, or `Path`.
    """

    name: str
    role: str
    many: bool
    type: Any


def stage_arguments(function: Callable[..., None]) -> list[Argument]:
    """Read a stage's arguments off its signature."""
    hints = get_type_hints(function, include_extras=True)
    arguments = []
    for name in inspect.signature(function).parameters:
        hint = hints[name]
        if get_origin(hint) is Annotated:
            inner, role = get_args(hint)
            arguments.append(Argument(name, role, get_origin(inner) is list, Path))
        else:
            arguments.append(Argument(name, "recipe", False, hint))
    return arguments


def load(reference: str) -> Callable[..., Any]:
    """Import `module:function`, and end the pause of garbage collection that `python -m terraprobe` began."""
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    return function


def run_stage(verb: str, argv: Sequence[str]) -> None:
    """Run one stage from command-line arguments and record where its outputs came from.

    Raises:
        TerraprobeError: an input is absent, the recipe does not fit, or the stage refuses its input.
    """
    from terraprobe.artifacts import record_provenance

    function = load(STAGES[verb])
    arguments = stage_arguments(function)
    given = _stage_parser(verb, function, arguments).parse_args(argv)
    values: dict[str, Any] = {a.name: getattr(given, a.name) for a in arguments}
    for argument in arguments:
        if argument.role == "recipe":
            values[argument.name] = _parse_recipe(verb, argument.type, values[argument.name])
    inputs = _paths(arguments, values, "input")
    for path in inputs:
        if not path.exists():
            raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).")
    started = time.monotonic()
    function(**values)
    recipe: dict[str, Any] = next((values[a.name].model_dump(mode="json") for a in arguments if a.role == "recipe"), {})
    outputs = _paths(arguments, values, "output")
    record_provenance(outputs, inputs, verb, recipe, given.code)
    _say(f"{verb}: wrote {outputs[0]}{' and more' if len(outputs) > 1 else ''} in {time.monotonic() - started:.1f} s")


def _paths(arguments: list[Argument], values: dict[str, Any], role: str) -> list[Path]:
    chosen: list[Path] = []
    for argument in arguments:
        if argument.role == role:
            value = values[argument.name]
            chosen.extend(value if argument.many else [value])
    return chosen


def _stage_parser(verb: str, function: Callable[..., None], arguments: list[Argument]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"terraprobe {verb}",
        description=inspect.getdoc(function),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for argument in arguments:
        option = "--" + argument.name.replace("_", "-")
        if argument.role == "recipe":
            parser.add_argument(option, required=True, metavar="JSON", help=f"a {argument.type.__name__}")
        elif argument.many:
            parser.add_argument(option, nargs="*", default=[], type=Path, metavar="PATH", help=argument.role)
        else:
            parser.add_argument(option, required=True, type=Path, metavar="PATH", help=argument.role)
    parser.add_argument("--code", default="", help="digest of the stage's code, for the provenance record")
    return parser


def _parse_recipe(verb: str, model: Any, text: str) -> Any:
    from pydantic import ValidationError

    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        from terraprobe.explain import explain

        raise TerraprobeError(f"{verb} --recipe: {explain(error, model)}") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _usage() -> str:
    stages = "\n".join(f"  {verb}" for verb in STAGES)
    return (
        "terraprobe: places on Earth to Sentinel chips, encoders, embeddings, and what they know about land cover\n\n"
        "For people:\n"
        "  check-study FILE        check a study file, run nothing\n"
        "  new-study --aoi FILE --dates 2023-04/2023-06 [--labels FILE:COLUMN]\n"
        "                          a study of your own area, commented, with what it could not have\n"
        "  plan FILE               requests, bytes, disk, jobs and GPU hours of a study, before anything is fetched\n"
        "  describe METHOD         architecture, parameters, recipe and where each value comes from\n"
        "  map --model FOLDER --input PATH --output MAP.tif   land cover of your own GeoTIFFs, by a fitted probe\n"
        "  map --encoder FOLDER --labels FILE:COLUMN --aoi FILE --input PATH --output MAP.tif\n"
        "                          the same by a probe that learns a few labels here and is scored on held-out ground\n"
        "  sources [--offline]     where data come from, on which terms, what is here, what answers\n"
        "  unpack FILE FOLDER      a zip or tar file into a new folder, or refuse it\n"
        "  times FOLDER            wall time and memory by stage of a finished run\n"
        "  trace PATH              where a file came from, back to raw files; what no longer fits is named\n"
        "  verify FOLDER           every file below a results folder against its record\n"
        "  compare A B [--exact]   what differs between two results folders, scores with paired intervals\n"
        "  export FOLDER --encoder NAME --output DIR\n"
        "                          an encoder (safetensors, card) and its embeddings (GeoParquet), to share\n"
        "  search FOLDER --chip ID\n"
        "                          the chips most like one, by their embeddings\n\n"
        f"Stages, as the rules call them (terraprobe STAGE --help):\n{stages}\n\n"
        "The whole pipeline: snakemake --cores all [--configfile studies/FILE.yaml]\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        0, or 1 after an error that is explained on stderr, or 2 for a wrong call.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments.pop(0) if arguments else "--help"
    if verb in ("-h", "--help"):
        print(_usage())
        return 0
    try:
        if verb in COMMANDS:
            status = int(load(COMMANDS[verb])(arguments))
            sys.stdout.flush()
            return status
        if verb in STAGES:
            run_stage(verb, arguments)
            return 0
    except TerraprobeError as error:
        _say(f"terraprobe {verb}: {error}")
        return 1
    except BrokenPipeError:
        # The reader has seen enough (`terraprobe trace … | head`); what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    _say(f"terraprobe: no command {verb!r}; it is one of {', '.join([*COMMANDS, *STAGES])}")
    return 2


def stage_module(verb: str) -> str:
    """Module of a stage: the root of its code digest."""
    return STAGES[verb].partition(":")[0]


def recipe_json(content: object) -> str:
    """A recipe as the command line takes it: JSON with sorted keys."""
    return json.dumps(content, sort_keys=True)
