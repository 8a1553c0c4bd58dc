"""`terraprobe new-study`: from an area, dates and labels to a study file that fits."""

import argparse
from datetime import date
from pathlib import Path

from terraprobe.artifacts import write_bytes
from terraprobe.classmap import class_name
from terraprobe.errors import TerraprobeError
from terraprobe.newstudy.choices import Choices
from terraprobe.newstudy.compose import SHIPPED, comments, compose, head, report
from terraprobe.newstudy.dates import parse_months
from terraprobe.newstudy.ground import area_km2, choose_side, lay, split_ground
from terraprobe.newstudy.inputs import choose_inputs, count_coherence, parse_methods
from terraprobe.newstudy.labels import read_labels
from terraprobe.newstudy.machine import this_machine
from terraprobe.newstudy.text import study_text
from terraprobe.study import parse_study

SMALL_PX, LARGE_PX = 64, 256
"""Largest chip side without and with a GPU. [D]"""


def new_study_command(argv: list[str]) -> int:
    """`terraprobe new-study --aoi FILE --dates A/B`: write a study, say what it holds and what it could not have."""
    import yaml

    given = _parser().parse_args(argv)
    out = given.out or Path("studies", f"{class_name(given.aoi.stem) or 'mine'}.yaml")
    if out.exists():
        raise TerraprobeError(f"--out: {out} exists, and nothing is replaced. Name another file, or move it away.")
    if not given.aoi.is_file():
        raise TerraprobeError(f"--aoi: {given.aoi.absolute()} is absent. Give a file of polygons, such as GeoJSON.")
    methods, months = parse_methods(given.methods), parse_months(given.dates, date.today())
    machine, km2 = this_machine(), area_km2(given.aoi)
    chip_px = choose_side(km2, LARGE_PX if machine.gpus else SMALL_PX)
    own = None
    if given.labels != SHIPPED:
        own = read_labels(given.labels, lay(given.aoi, chip_px, 1, "area"))
    ground = split_ground(given.aoi, chip_px, "area", own)
    asked = "clip3" in methods and not given.offline
    inputs = choose_inputs(methods, months, count_coherence(ground.chips, months) if asked else None)
    chosen = Choices(out, given.aoi, km2, methods, inputs, ground, own, machine)
    content = compose(chosen)
    text = study_text(head(chosen), content, comments(chosen))
    parse_study(yaml.safe_load(text), str(out))  # what `check-study` would refuse is not written
    write_bytes(out, text.encode())
    for line in report(chosen, content):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="terraprobe new-study", description="Write a study of your own area.")
    parser.add_argument("--aoi", type=Path, required=True, metavar="FILE", help="polygons: GeoJSON or GeoPackage")
    parser.add_argument("--dates", required=True, metavar="2023-04/2023-06", help="months, both included")
    parser.add_argument(
        "--labels", default=SHIPPED, metavar="fields.gpkg:crop|map.tif|worldcover", help="polygons and their column, "
        "a raster of codes, or ESA WorldCover (default)",
    )  # fmt: skip
    parser.add_argument("--methods", default="all", metavar="all|clip3,bioclim,…", help="methods to compare")
    parser.add_argument("--out", type=Path, metavar="FILE", help="study file (default studies/<name of the area>.yaml)")
    parser.add_argument("--offline", action="store_true", help="do not ask ASF whether there is coherence")
    return parser
