"""Every command of every tutorial: run in a scratch folder where it can be offline, else checked for names and flags.

A fenced `sh` block is run. One below `<!-- test: names (why) -->` is checked for the names of its commands and flags.
A block whose first line is `# name.yaml` is that file.
"""

import importlib
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import yaml
from dag import MINI, OFFLINE, REPOSITORY
from rasterio.transform import from_origin

from terraprobe.cli import COMMANDS, STAGES, load
from terraprobe.method import Method
from terraprobe.modalities import L2A_BANDS, MODALITIES

TUTORIALS = REPOSITORY / "docs/tutorials"
PAGES = sorted(TUTORIALS.glob("*.md"))
BLOCK = re.compile(r"(?:<!-- test: (names) \([^)]+\) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
RGB_BANDS = MODALITIES["s2_rgb_monthly"].bands
OTHERS = ("squeue", "ls")
"""Commands that are not ours."""


def blocks(page):
    """(`names` or nothing, language, text) of each fenced block."""
    return BLOCK.findall(page.read_text())


def commands(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A checkout with a finished tiny study, a copy of its results, an area, labels and a folder of GeoTIFFs."""
    folder = tmp_path_factory.mktemp("tutorials")
    for name in ("Snakefile", "config.yaml", "workflow", "resources", "studies", "envs"):
        (folder / name).symlink_to(REPOSITORY / name)
    study = yaml.safe_load(MINI.read_text()) | {"study": "mine", "random_inits": 0}
    study["collections"][0]["shards"] = 1
    seen = {"optical": ("s2_rgb_monthly", "m1_B04"), "radar": ("s1_grd_monthly", "m1_VV")}
    towers = {tower: {"modality": modality, "bands": [band]} for tower, (modality, band) in seen.items()}
    study["encoders"][0]["recipe"] |= {"epochs": 1, "towers": towers}
    study["evaluations"][0] |= {"tasks": ["vegetation"], "sizes": ["full"], "depths": [2]}
    (folder / "mine.yaml").write_text(yaml.safe_dump(study))
    ran = run("snakemake --cores 2 --configfile mine.yaml", folder)
    assert ran.returncode == 0, ran.stdout
    shutil.copytree(folder / "results/mine", folder / "results/mine_again")
    _write_own_files(folder)
    return folder


def _write_own_files(folder):
    area = shapely.box(11.9, 47.0, 12.1, 47.1)
    gpd.GeoSeries([area], crs="EPSG:4326").to_file(folder / "area.geojson")
    lon, lat = (axis.ravel() for axis in np.meshgrid(11.9 + 0.005 * np.arange(40), 47.0 + 0.005 * np.arange(20)))
    kinds = np.tile(["Winter wheat", "Maize"], len(lon) // 2)
    squares = shapely.box(lon, lat, lon + 0.005, lat + 0.005)
    gpd.GeoDataFrame({"crop": kinds}, geometry=squares, crs="EPSG:4326").to_file(folder / "fields.gpkg")
    codes = np.tile(np.array([[1, 2]], np.uint8), (100, 100))
    _write_raster(folder / "map.tif", codes[None], "EPSG:4326", from_origin(11.9, 47.1, 0.001, 0.001))
    # Brighter in every second column of fields, as the crops are.
    gpd.GeoSeries([shapely.box(11.91, 47.01, 11.96, 47.04)], crs="EPSG:4326").to_file(folder / "farm.geojson")
    month = np.tile(np.repeat([800, 2400], 50).astype(np.uint16), (len(RGB_BANDS), 400, 7))
    month += np.random.default_rng(0).integers(0, 200, month.shape, np.uint16)
    _write_raster(
        folder / "scene/s2_rgb_monthly/a.tif", month, "EPSG:4326", from_origin(11.9, 47.05, 1e-4, 1e-4), RGB_BANDS
    )
    metres = from_origin(500_000, 5_800_000, 10, 10)
    reflectance = np.full((len(L2A_BANDS), 96, 96), 1000, np.uint16)
    _write_raster(folder / "geotiffs/s2_l2a/a.tif", reflectance, "EPSG:32633", metres, L2A_BANDS)
    _write_raster(folder / "geotiffs/lulc/a.tif", codes[None, :96, :96], "EPSG:32633", metres)


def _write_raster(path, pixels, crs, transform, bands=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, nodata=0, **shape) as dataset:
        dataset.write(pixels)
        dataset.descriptions = bands or dataset.descriptions


def run(command, folder):
    """Run one line without a network, in a folder."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY / "workflow"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    return subprocess.run(
        [*OFFLINE, *shlex.split(command)], cwd=folder, env=environment, text=True, check=False, timeout=900,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_there_is_a_tutorial_for_everything():
    assert {page.stem for page in PAGES} == {
        "own-area", "own-folder", "own-labels", "add-a-method", "add-a-label-source", "resume", "cluster",
        "compare-runs", "export-and-search", "make-a-map",
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_and_flags_exist(page):
    for _, language, text in blocks(page):
        if language == "sh":
            for line in commands(text):
                check_names(shlex.split(line))


def check_names(words):
    """Refuse a command that is not ours, and an option that it does not have."""
    name, flags = words[0], [word for word in words if word.startswith("--")]
    if name == "terraprobe":
        assert words[1] in {**COMMANDS, **STAGES}, words
        known = help_of(words[1])
    elif name == "snakemake":
        known = snakemake_flags()
    else:
        assert name in OTHERS, words
        return
    for flag in flags:
        assert flag in known, f"{' '.join(words)}: no option {flag}"


def help_of(verb):
    """What `terraprobe VERB --help` prints."""
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        load(COMMANDS[verb])(["--help"])
    return said.getvalue()


def snakemake_flags():
    from snakemake.cli import get_argument_parser

    return {flag for action in get_argument_parser()._actions for flag in action.option_strings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_it_says_works(page, scratch):
    for only_names, language, text in blocks(page):
        if language == "yaml":
            (scratch / text.split()[1]).write_text(text)
        if language == "sh" and not only_names:
            for line in commands(text):
                chip = pd.read_parquet(scratch / "results/mine/embeddings/tiny/land.parquet", columns=["chip_id"])
                done = run(line.replace("CHIP", chip["chip_id"].iloc[0]), scratch)
                assert done.returncode == 0, f"{line}\n{done.stdout}"


def test_its_method_is_one(tmp_path, monkeypatch):
    (text,) = [text for _, language, text in blocks(TUTORIALS / "add-a-method.md") if language == "python"]
    (tmp_path / "simsiam_gentle.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    method = importlib.import_module("simsiam_gentle").METHOD
    assert issubclass(method, Method)
    assert method.recipe_model.model_validate({}).rotation_deg == 15


def test_its_label_source_fits_the_tables(tmp_path):
    held = {}
    for _, language, text in blocks(TUTORIALS / "add-a-label-source.md"):
        if language == "python":
            (tmp_path / "entry.py").write_text(text)
            held |= runpy.run_path(str(tmp_path / "entry.py"))
    assert held["layer"].class_label == "mcd12q1_class"
    assert held["layer"].classes[12] == "crop"
    assert held["product"].bands == ("mcd12q1",)
    assert held["product"].nodata == held["layer"].nodata
