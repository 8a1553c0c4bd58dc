"""What a method is: architecture, parameters, recipe, and where each value comes from."""

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terraprobe.errors import TerraprobeError
from terraprobe.method import Note, sourced
from terraprobe.methods import METHODS, load_method, recipe_model
from terraprobe.modalities import MODALITIES

if TYPE_CHECKING:
    from terraprobe.method import Method
    from terraprobe.normalisation import TowerInput
    from terraprobe.towers import TowerRecipe

MARKS = {
    "P": "stated in the paper",
    "C": "read from public code",
    "I": "inferred or computed",
    "D": "our own default",
}
"""Marks of the specification."""


def describe(
    method: str,
    overrides: Mapping[str, Any],
    chip_px: int | None = None,
    bands: int | None = None,
    classes: int | None = None,
    *,
    train_chips: int | None = None,
) -> dict[str, Any]:
    """Describe a method with its recipe, or with one that differs from it.

    Args:
        method: name of the method table.
        overrides: keys of the recipe that differ.
        chip_px: side of the chips; the paper's where none is given.
        bands: of a tower that takes all of them at once; those of its recipe where none is given.
        classes: of a linear head on each tower, which the parameters then count; no head where none is given.
        train_chips: that a training would see each epoch, whose operations are then counted; of none where none is.

    Returns:
        JSON-able: architecture, parameters by part, compute, recipe with marks, notes, deviations.

    Raises:
        TerraprobeError: there is no such method, or the overrides, the chips or the bands do not fit it.
    """
    import torch
    from pydantic import ValidationError

    from terraprobe.encoders import count_parameters
    from terraprobe.explain import explain

    kind, model = load_method(method), recipe_model(method)
    try:
        recipe: Any = model.model_validate(dict(overrides))
    except ValidationError as error:
        raise TerraprobeError(f"recipe of {method}: {explain(error, model)}") from error
    if bands is not None and not kind.whole_chips:
        raise TerraprobeError(f"--bands: found {bands}, allowed none: a tower of {method} takes one channel at a time")
    if classes is not None and kind.supervised:
        raise TerraprobeError(
            f"--classes: found {classes}, allowed none: {method} has a head of its own; name classes in --recipe"
        )
    if bands is not None and train_chips is not None:
        raise TerraprobeError(f"--train-chips: found beside --bands {bands}; allowed one of them, or bands in --recipe")
    side = chip_px or kind.paper_chip_px
    with torch.device("meta"):
        inputs = {name: _input(tower, bands) for name, tower in recipe.towers.items()}
        network = kind(recipe, inputs, {}, side)
        head = {"head": torch.nn.Linear(kind.embedding_size(recipe), classes)} if classes else {}
        heads = torch.nn.ModuleDict({name: torch.nn.ModuleDict(head) for name in network.towers})
    encoders, parameters = count_parameters(network.towers), count_parameters(network.towers, heads)
    variants = [_variant(kind, recipe, inputs, side, change) for change in kind.variants]
    values = sourced(recipe)
    notes = [_note(note) for note in kind.notes]
    deviations = [{"what": key, **value} for key, value in values.items() if value["mark"] != "P"]
    return {
        "method": method,
        "title": (kind.__doc__ or "").splitlines()[0],
        "architecture": {
            "chip_px": side,
            "towers": {
                name: {"modality": tower.modality, "bands": bands or (list(tower.bands) if tower.bands else "all")}
                for name, tower in recipe.towers.items()
            },
        },
        "parameters": {**parameters, "other": _all(network) - encoders["total"]},
        "variants": variants,
        "compute": _compute(method, recipe, side, train_chips) if train_chips else {},
        "recipe": values,
        "notes": notes,
        "deviations": [*deviations, *(note for note in notes if note["mark"] != "P" and note["default"])],
    }


def _compute(method: str, recipe: Any, chip_px: int, train_chips: int) -> dict[str, float]:
    """Operations of a training on so many chips, as the loop goes through them."""
    from terraprobe.flops import flops_per_chip

    batch = min(recipe.batch_size, train_chips)
    flops, seen = flops_per_chip(method, recipe, chip_px, batch), train_chips // batch * batch * recipe.epochs
    return {"flops_per_chip": flops, "chips_seen": seen, "flops": flops * seen}


def _variant(
    kind: "type[Method]", recipe: Any, inputs: "Mapping[str, TowerInput]", chip_px: int, change: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters of a variant of the recipe."""
    import torch

    from terraprobe.encoders import count_parameters

    bands = {name: len(tower.bands) for name, tower in inputs.items()}
    with torch.device("meta"):
        towers = kind.build_towers(recipe.model_copy(update=dict(change)), bands, chip_px)
    return {"recipe": dict(change), "parameters": count_parameters(towers)["total"]}


def _note(note: Note) -> dict[str, Any]:
    return {
        "what": note.what,
        "value": note.value,
        "mark": note.source.mark,
        "source": note.source.where,
        "default": note.default,
    }


def _input(tower: "TowerRecipe", bands: int | None) -> "TowerInput":
    """What a tower takes, as far as its architecture depends on it."""
    from terraprobe.normalisation import TowerInput

    entry = MODALITIES[tower.modality]
    names = tower.band_names if bands is None else tuple(f"band_{k}" for k in range(bands))
    return TowerInput(tower.modality, entry.unit, names, entry.variable, (), ())


def _all(network: Any) -> int:
    return sum(p.numel() for p in network.network.parameters())


def render(description: Mapping[str, Any]) -> str:
    """A description as text for a terminal."""
    parameters = description["parameters"]
    total, other = parameters["total"], parameters["other"]
    lines = [f"{description['method']}: {description['title']}", "", f"Parameters: {total / 1e6:.1f}M ({total:,})"]
    for tower, parts in parameters["towers"].items():
        shown = ", ".join(f"{part} {count:,}" for part, count in parts.items())
        lines.append(f"  {tower:<16} {sum(parts.values()):>13,}  ({shown})")
    for variant in description["variants"]:
        change = ", ".join(f"{key} {value}" for key, value in variant["recipe"].items())
        lines.append(f"  with {change}: {variant['parameters']:,}")
    lines += [f"  {'other, training':<16} {other:>13,}", "", f"Chips of {description['architecture']['chip_px']} px"]
    for tower, spec in description["architecture"]["towers"].items():
        bands = ", ".join(spec["bands"]) if isinstance(spec["bands"], list) else spec["bands"]
        lines.append(f"  {tower:<16} {spec['modality']}, bands: {bands}")
    if compute := description["compute"]:
        each, whole = compute["flops_per_chip"] / 1e9, compute["flops"] / 1e12
        seen = f"{compute['chips_seen']:,} chips seen"
        lines += ["", f"Training: {each:.4g} GFLOP a chip, {whole:.4g} TFLOP in all ({seen}), validation left out"]
    lines += ["", "Recipe"]
    for key, value in description["recipe"].items():
        many = isinstance(value["value"], dict) or key == "classes"
        shown = ", ".join(value["value"]) if many else str(value["value"])
        lines.append(f"  {key:<16} {shown:<12} [{value['mark']}] {value['source']}")
    lines += ["", "Method"]
    for note in description["notes"]:
        lines.append(f"  {note['what']:<24} {note['value']}  [{note['mark']}] {note['source']}")
    marks = ", ".join(f"[{mark}] {text}" for mark, text in MARKS.items())
    return "\n".join([*lines, "", f"Marks: {marks}. What is not [P] is a deviation or our own choice."])


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, allowed a number from 1 on")
    return int(text)


def describe_command(argv: list[str]) -> int:
    """`terraprobe describe METHOD [options]`."""
    parser = argparse.ArgumentParser(
        prog="terraprobe describe", description="Architecture, parameters, recipe, and where each value comes from."
    )
    parser.add_argument("method", help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--recipe", default="{}", metavar="JSON", help="keys of the recipe that differ")
    parser.add_argument("--conditioning", default=None, help="the recipe's key of that name: none, emb or cbn")
    parser.add_argument("--chip-px", type=_count, default=None, help="side of the chips; the paper's by default")
    parser.add_argument(
        "--bands", type=_count, default=None, help="that a tower takes at once; the recipe's by default"
    )
    parser.add_argument("--classes", type=_count, default=None, help="count a linear head for so many too")
    parser.add_argument(
        "--train-chips", type=_count, default=None, help="count the operations of a training on so many chips"
    )
    given = parser.parse_args(argv)
    try:
        overrides = json.loads(given.recipe)
    except json.JSONDecodeError as error:
        raise TerraprobeError(f"--recipe: not JSON ({error}); give for example '{{\"width\": 64}}'") from error
    if not isinstance(overrides, dict):
        raise TerraprobeError(f"--recipe: found {given.recipe}, allowed a JSON object of keys of the recipe")
    if given.conditioning is not None:
        overrides["conditioning"] = given.conditioning
    description = describe(given.method, overrides, given.chip_px, given.bands, given.classes,
                           train_chips=given.train_chips)  # fmt: skip
    print(json.dumps(description, indent=1, sort_keys=True) if given.json else render(description))
    return 0
