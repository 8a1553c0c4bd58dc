"""The full study of clip3: the areas that it names, and the number of jobs that they make."""

import os
import re
import subprocess
import sys
import time

import pytest

from terraprobe.artifacts import read_json
from terraprobe.collections.areagrid import read_area
from terraprobe.collections.zones import lattice
from terraprobe.plan import good_shards
from terraprobe.report.recipe import report_recipe
from terraprobe.study import load_study


@pytest.fixture
def study(repository, monkeypatch):
    monkeypatch.chdir(repository)
    return load_study(repository / "studies/clip3.yaml")


def stated(area, repository):
    """What the file of an area says of itself."""
    (feature,) = read_json(repository / area.area)["features"]
    return feature["properties"]


def test_areas_are_of_the_size_that_the_paper_states_and_say_that_they_are_approximate(study, repository):
    for area in study.collections:
        said = stated(area, repository)
        assert said["note"].startswith("approximate")
        assert 1 <= said["chips_of_448_px"] / said["paper_chips"] < 1.01
        assert area.shards == pytest.approx(good_shards(said["chips_of_448_px"], area), rel=0.15)
        read_area(repository / area.area)
    assert sum(stated(area, repository)["paper_chips"] for area in study.collections) == 845_000


def test_the_smallest_area_has_the_chips_that_it_says(study, repository):
    area = study.collection("south_america")
    said = stated(area, repository)
    assert len(lattice(read_area(repository / area.area), area.chip_px)) == said["chips_of_448_px"]


def test_shards_make_fewer_than_ten_thousand_jobs(study):
    """Every layer of every shard is fetched once and cut once; all else is a few hundred jobs."""
    jobs = sum(2 * area.shards * len(area.layers) for area in study.collections)
    assert jobs < 9_000


def test_the_report_says_where_pixels_come_from(study):
    for note in report_recipe(study).collections:
        assert not note.simulated
        for words in (
            "COPERNICUS/S2_SR_HARMONIZED",
            "COPERNICUS/S1_GRD",
            "Google Earth Engine",
            "ASF",
            "GHS-BUILT-S",
            "WorldClim 2.1",
        ):
            assert words in note.source
        assert "CC-BY-4.0" in note.licence
        assert "NASA JPL, ASF DAAC" in note.licence  # of ARIA GUNW
        assert "European Commission reuse notice" in note.licence  # of GHS-BUILT-S


@pytest.mark.long
@pytest.mark.skipif(not os.environ.get("TERRAPROBE_LONG"), reason="the whole plan is made by make test-long")
def test_all_of_it_is_planned_without_credentials_or_a_checkpoint(repository):
    """How long that takes is printed, not judged: machines differ."""
    command = [sys.executable, "-m", "snakemake", "-n", "--nolock", "--quiet", "rules", "--cores", "2"]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--directory", str(repository), "--configfile", str(repository / "studies/clip3.yaml")],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(f"planned in {time.perf_counter() - began:.1f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)}
    assert jobs["cut_chips"] == 6 * 425 and jobs["fetch_coherence"] == 425
    assert jobs["total"] < 10_000
    assert not any("checkpoint" in path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
