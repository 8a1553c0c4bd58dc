"""The study that choices make, and what is said of it in the file and on the console."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terraprobe.classmap import class_name
from terraprobe.newstudy.choices import Choices
from terraprobe.newstudy.entries import encoders, evaluations
from terraprobe.newstudy.inputs import datasets
from terraprobe.plan import good_shards
from terraprobe.study.area import AreaCollection

SHIPPED = "worldcover"


def compose(chosen: Choices) -> dict[str, Any]:
    """The study, as parsed from YAML."""
    inputs, ground, own = chosen.inputs, chosen.ground, chosen.own
    area: dict[str, Any] = {
        "name": "area",
        "kind": "area",
        "area": _written(chosen.aoi),
        "months": inputs.months,
        "modalities": inputs.modalities,
        "labels": [chosen.layer],
        "chip_px": ground.chip_px,
        "block_chips": ground.block_chips,
        "shards": 1,
        "cloud_mask": inputs.cloud_mask,
        "split": ground.split,
    }
    if own:
        area["files"] = {own.layer: _written(own.path)}
        if own.column:
            area["columns"] = {own.layer: own.column}
        area["classes"] = {own.layer: {"nodata": own.nodata, "codes": dict(sorted(own.codes.items()))}}
    area["shards"] = good_shards(len(ground.chips), AreaCollection.model_validate(area))
    return {
        "study": class_name(chosen.out.stem)[:40] or "mine",
        "title": f"{chosen.aoi.stem}, {inputs.months[0]} to {inputs.months[-1]}",
        "random_inits": 1,
        "collections": [area],
        "encoders": encoders(chosen),
        "evaluations": evaluations(chosen),
    }


def _written(path: Path) -> str:
    """A path as the study says it: relative to the folder of the run where it lies below, else absolute."""
    full = path.expanduser().absolute()
    return os.path.relpath(full) if full.is_relative_to(Path.cwd()) else str(full)


def head(chosen: Choices) -> list[str]:
    """Sentences above the study."""
    out, chips = chosen.out, len(chosen.ground.chips)
    return [
        "Written by `terraprobe new-study`; yours to change: docs/study.md says what each key is.",
        f"{chosen.km2:,.0f} km2, {chips:,} chips; pixels from Google Earth Engine: {datasets(chosen.inputs)}.",
        f"Sized for {chosen.machine.words}.",
        "What could not be had, and what is done instead:" if chosen.notes else "All that was asked for is here.",
        *(f"  - {note}." for note in chosen.notes),
        f"What it will need: terraprobe plan {out}",
        f"Run it: snakemake --cores all --configfile {out}",
    ]


def comments(chosen: Choices) -> dict[str, str]:
    """Comment of a key of the study, or of a key of an entry by the entry's name."""
    inputs, ground, machine = chosen.inputs, chosen.ground, chosen.machine
    scored = inputs.cloud_mask == "cloud_score"
    return {
        "study": "results land in results/<study>/",
        "random_inits": "untrained twins of each encoder, a floor in every table",
        "area.months": "whole calendar months",
        "area.labels": "your own, of the file below" if chosen.own else "ESA WorldCover of 2020",
        "area.chip_px": f"{ground.chip_px * 10} m",
        "area.block_chips": f"side of a spatial block; intervals stand on {ground.test_blocks} labelled test blocks",
        "area.shards": "jobs a layer",
        "area.cloud_mask": "Cloud Score+; QA60 lacks clouds from 2022 on" if scored else "the band QA60 of Sentinel-2",
        "area.split": f"labelled chips: {chosen.counted}",
        "encoders": "of the papers' sizes" if machine.gpus else "small, for a machine without a GPU",
        "few_labels.tasks": "more of the class than the train median, or not",
        "few_labels.sizes": "labelled train chips; full = all",
    }


def report(chosen: Choices, content: Mapping[str, Any]) -> list[str]:
    """Lines for the console: what was chosen, what could not be had, what comes next."""
    out, ground, inputs = chosen.out, chosen.ground, chosen.inputs
    names = {key: ", ".join(entry["name"] for entry in content[key]) for key in ("encoders", "evaluations")}
    return [
        f"{out}: written, for {chosen.machine.words}",
        f"  area: {chosen.km2:,.0f} km2, {len(ground.chips):,} chips of {ground.chip_px} px",
        f"  months: {inputs.months[0]} to {inputs.months[-1]}; modalities: {', '.join(inputs.modalities)}",
        f"  split: {ground.split['kind']}; labelled chips: {chosen.counted}, {ground.test_blocks} test blocks",
        *(f"  {key}: {value}" for key, value in names.items()),
        *(["What it could not have, and does instead:"] if chosen.notes else []),
        *(f"  - {note}" for note in chosen.notes),
        f"Next: terraprobe plan {out}",
        f"      snakemake --cores all --configfile {out}",
    ]
