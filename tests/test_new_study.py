"""`terraprobe new-study`: a study that fits for every wish, and one clear sentence for every wrong input."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import yaml
from rasterio.transform import from_bounds

from terraprobe.cli import main
from terraprobe.errors import TerraprobeError
from terraprobe.methods import METHODS
from terraprobe.newstudy import command
from terraprobe.newstudy.dates import parse_months
from terraprobe.newstudy.ground import choose_side
from terraprobe.newstudy.inputs import choose_inputs, parse_methods
from terraprobe.newstudy.machine import Machine
from terraprobe.newstudy.text import study_text
from terraprobe.study import load_study

ALPS = shapely.box(11.9, 47.0, 12.1, 47.1)
LAPTOP, SERVER = Machine(4, 16.0, 0), Machine(32, 256.0, 2)
TODAY = date(2026, 11, 22)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with an area, on a laptop whose coherence nobody asks for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "this_machine", lambda: LAPTOP)
    monkeypatch.setattr(command, "count_coherence", lambda chips, months: pytest.fail("ASF was asked"))
    write_area(ALPS)
    return tmp_path


def write_area(shape, name="alps.geojson", crs="EPSG:4326"):
    gpd.GeoSeries([shape], crs=crs).to_file(name)


def write_fields(values, column="crop", at=(11.9, 47.0), name="fields.gpkg", crs="EPSG:4326"):
    """Fields of 0.005 degrees in a row of 40 columns, one a value."""
    lon, lat = at[0] + 0.005 * (np.arange(len(values)) % 40), at[1] + 0.005 * (np.arange(len(values)) // 40)
    squares = shapely.box(lon, lat, lon + 0.005, lat + 0.005)
    gpd.GeoDataFrame({column: values}, geometry=squares, crs=crs).to_file(name)
    return f"{name}:{column}"


def write_map(codes, name="map.tif", bounds=ALPS.bounds, crs="EPSG:4326", **options):
    shape = {"height": codes.shape[0], "width": codes.shape[1], "count": 1, "dtype": codes.dtype}
    with rasterio.open(
        name, "w", driver="GTiff", crs=crs, transform=from_bounds(*bounds, *codes.shape[::-1]), **shape, **options
    ) as dataset:
        dataset.write(codes, 1)
    return name


def new_study(*more, dates="2023-04/2023-06"):
    """Run the command; the study that it wrote."""
    arguments = ["--aoi", "alps.geojson", "--dates", dates, "--out", "mine.yaml", "--offline", *more]
    assert command.new_study_command(arguments) == 0
    return load_study(Path("mine.yaml"))


def refusal(capsys, *more, dates="2023-04/2023-06", aoi="alps.geojson"):
    """The one sentence or two that a wrong input gets."""
    assert main(["new-study", "--aoi", aoi, "--dates", dates, "--out", "mine.yaml", "--offline", *more]) == 1
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "Traceback" not in said
    return said


def test_own_fields_become_a_study_of_all_methods(capsys):
    labels = write_fields((["Winter wheat", "Maize", None, "Öl-Raps"] * 200)[:800])
    study = new_study("--labels", labels)
    land = study.collection("area")
    assert land.modalities == ["s2_l2a", "s2_rgb_monthly", "s1_grd", "s1_grd_monthly"]
    assert land.months == ["2023-04", "2023-05", "2023-06"]
    assert (land.files, land.columns) == ({"crop": "fields.gpkg"}, {"crop": "crop"})
    assert set(land.classes["crop"].codes.values()) == {"winter_wheat", "maize", "ol_raps"}
    assert land.cloud_mask == "cloud_score"
    assert {e.method for e in study.encoders} == set(METHODS)
    assert {e.probe for e in study.evaluations} == {"forest", "segmentation", "mlp", "classifier", "reconstruction"}
    assert set(study.evaluations[0].tasks) == {"crop_winter_wheat", "crop_maize", "crop_ol_raps"}
    said = capsys.readouterr().out
    text = Path("mine.yaml").read_text()
    assert study.encoder("bioclim").full_recipe.conditioning == "cbn"
    for words in ("no coherence: ASF was not asked", "no GPU"):
        assert words in said and words in text


def test_snakemake_plans_what_was_written(here, repository):
    new_study("--labels", write_fields(["a", "b", "c", None] * 200))
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--snakefile", repository / "Snakefile"]
    done = subprocess.run(
        [*command, "--directory", here, "--configfile", here / "mine.yaml"], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert re.search(rb"index_folder +1\b", done.stdout + done.stderr)


def test_what_is_in_the_file_is_what_its_comments_stand_beside():
    new_study()
    lines = Path("mine.yaml").read_text().splitlines()
    assert sum("# " in line for line in lines if not line.startswith("#")) >= 8
    assert yaml.safe_load(Path("mine.yaml").read_text())["collections"][0]["labels"] == ["worldcover"]


def test_a_raster_gives_its_codes_as_classes_and_says_what_it_took_for_granted(capsys):
    codes = np.tile(np.array([[0, 3], [7, 3]], np.uint8), (60, 80))
    land = new_study("--labels", write_map(codes), "--methods", "bioclim").collection("area")
    assert land.classes["map"].codes == {3: "c_3", 7: "c_7"}
    assert land.classes["map"].nodata == 0
    assert land.modalities == ["s2_l2a"]
    assert "map.tif declares no nodata value: its code 0 was taken for 'not known'" in capsys.readouterr().out


def test_a_declared_nodata_value_leaves_zero_a_class():
    codes = np.tile(np.array([[0, 3], [255, 3]], np.uint8), (60, 80))
    classes = new_study("--labels", write_map(codes, nodata=255), "--methods", "clip3").collection("area").classes
    assert (classes["map"].nodata, set(classes["map"].codes)) == (255, {0, 3})


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"sscl_unifeat"}))
@pytest.mark.parametrize("machine", [LAPTOP, SERVER], ids=["laptop", "server"])
def test_every_method_alone_fits(method, machine, monkeypatch):
    monkeypatch.setattr(command, "this_machine", lambda: machine)
    study = new_study("--methods", method)
    assert method in [e.method for e in study.encoders]
    assert study.evaluations


def test_a_gpu_gets_the_papers_networks_and_larger_chips(monkeypatch):
    monkeypatch.setattr(command, "this_machine", lambda: SERVER)
    write_area(shapely.box(11.0, 46.0, 13.0, 47.5))
    study = new_study("--methods", "clip3,rsbyol")
    assert study.collection("area").chip_px == 256
    assert study.encoder("clip3").full_recipe.width == 768
    assert choose_side(20_000, 64) == 64 and choose_side(100, 256) == 32


@pytest.mark.parametrize(
    ("months", "coherence", "towers", "words"),
    [
        (["2023-04", "2023-05", "2023-06"], 7, ["s2_rgb_monthly", "s1_grd_monthly", "s1_coherence"], []),
        (["2023-04", "2023-05", "2023-06"], 0, ["s2_rgb_monthly", "s1_grd_monthly"], ["ASF has no interferogram"]),
        (["2023-04"], None, ["s2_l2a", "s1_grd"], ["1 months, not 3", "ASF was not asked"]),
        (["2016-04", "2016-05", "2016-06"], 0, ["s2_l1c", "s1_grd"], ["no surface reflectance", "before 2017-04"]),
    ],
)
def test_clip3_gets_its_own_inputs_where_they_are(months, coherence, towers, words):
    chosen = choose_inputs(["clip3"], months, coherence)
    assert [tower["modality"] for tower in chosen.towers.values()] == towers
    assert sorted(chosen.modalities) == sorted(towers)
    for word in words:
        assert word in " ".join(chosen.notes)
    assert chosen.cloud_mask == ("qa60" if months[0] < "2022" else "cloud_score")


def test_coherence_that_is_there_is_taken(monkeypatch):
    monkeypatch.setattr(command, "count_coherence", lambda chips, months: 5)
    arguments = ["--aoi", "alps.geojson", "--dates", "2020-01/2020-03", "--out", "mine.yaml", "--methods", "clip3"]
    assert command.new_study_command(arguments) == 0
    assert "s1_coherence: 5" not in Path("mine.yaml").read_text()
    assert "s1_coherence" in yaml.safe_load(Path("mine.yaml").read_text())["collections"][0]["modalities"]


def test_too_few_labels_for_bands_get_another_split_and_hear_so(capsys):
    study = new_study("--labels", write_fields(["a", "b"] * 20), "--methods", "bioclim")
    assert study.collection("area").split.kind != "official"
    said = capsys.readouterr().out
    assert "scores are rough" in said and "test blocks, where 30 are wanted" in said


def test_dates():
    assert parse_months("2023-11/2024-02", TODAY) == ["2023-11", "2023-12", "2024-01", "2024-02"]
    assert parse_months("2026-10", TODAY) == ["2026-10"]


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        ("spring", "--dates: found 'spring', allowed months as 2023-04/2023-06"),
        ("2023-13/2023-14", "allowed months as"),
        ("2023-06/2023-04", "ends before it begins"),
        ("2014-04/2014-06", "there is no image of 2014-04: Sentinel-2's first whole month is 2015-07"),
        ("2026-10/2026-11", "it is not over on 2026-11-22"),
    ],
)
def test_dates_without_images_are_refused(dates, words):
    with pytest.raises(TerraprobeError, match=words):
        parse_months(dates, TODAY)


def test_methods():
    assert parse_methods("all") == parse_methods(",".join(name for name in METHODS if name != "sscl_unifeat"))
    for text in ("clip4", "sscl_unifeat", ""):
        with pytest.raises(TerraprobeError, match=r"--methods: found .*, allowed all, or some of bioclim"):
            parse_methods(text)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (shapely.Polygon([(11, 47), (12, 48), (12, 47), (11, 48)]), "Self-intersection"),
        (shapely.box(179.5, -17, 181, -16), "longitude 179.5 to 181, .*Cut the area at these"),
        (shapely.box(-179.5, -17, 179.5, -16), "If it crosses the antimeridian, cut it there into two parts"),
        (shapely.box(11.0, 47.0, 11.001, 47.001), "room for .* chips of 32 px .320 m., at least 20 .*larger area"),
        (shapely.LineString([(11, 47), (12, 47)]), "LineString; a chip lattice needs valid polygons"),
    ],
)
def test_areas_that_cannot_be(capsys, shape, words):
    write_area(shape)
    said = refusal(capsys)
    assert said.startswith("terraprobe new-study: --aoi: ") and "alps.geojson" in said
    assert re.search(words, said)


def test_an_area_without_crs_or_without_a_file(capsys):
    write_area(ALPS, "bare.gpkg", crs=None)
    assert "no CRS; a chip lattice needs polygons and their CRS" in refusal(capsys, aoi="bare.gpkg")
    assert "gone.geojson is absent" in refusal(capsys, aoi="gone.geojson")


def test_labels_that_cannot_be(capsys):
    fields = write_fields(["a", "b"] * 100)
    zeros = np.zeros((20, 40), np.uint8)
    cases = [
        ("fields.gpkg:kind", "fields.gpkg has no column 'kind'; give one of crop"),
        (fields.partition(":")[0], "fields.gpkg has columns; give one of crop as fields.gpkg:COLUMN"),
        (write_fields([None] * 4, name="none.gpkg"), "column crop of none.gpkg is empty"),
        (write_fields(["", " "], name="blank.gpkg"), "column crop of blank.gpkg is empty"),
        (write_fields(["a", "b"], at=(2.0, 48.0), name="far.gpkg"), "far.gpkg lies outside the area: it spans"),
        (write_fields(["a", "b"], name="bare.gpkg", crs=None), "bare.gpkg has no CRS"),
        (write_fields(["a", "a"], name="one.gpkg"), "has the one class 'a' in the area, allowed two or more"),
        (write_fields([0.5, 1.5], name="half.gpkg"), "2 values such as 0.5, which are no classes"),
        (write_map(zeros + 1, "far.tif", (2.0, 48.0, 3.0, 49.0)), "far.tif lies outside the area"),
        (write_map(zeros.astype(np.float32), "real.tif"), "real.tif holds float32, allowed whole numbers"),
        (write_map(zeros, "void.tif"), "void.tif has no known pixel in the area"),
        (write_map(zeros + 1, "placeless.tif", crs=None), "placeless.tif has no CRS"),
        ("map.tiff:crop", "map.tiff is absent"),
        (write_map(zeros + 1, "one.tif") + ":crop", "one.tif is a raster and has no column 'crop'"),
        ("alps.shp", "alps.shp is absent"),
    ]
    for labels, words in cases:
        assert words in refusal(capsys, "--labels", labels)


def test_nothing_is_replaced(capsys, here):
    (here / "mine.yaml").write_text("mine")
    assert "--out: mine.yaml exists, and nothing is replaced" in refusal(capsys)
    assert (here / "mine.yaml").read_text() == "mine"


def test_values_keep_their_types_on_the_way_through_text():
    study = {"study": "no", "list": [], "entries": [{"name": "a", "recipe": {"lr": 5e-4, "bands": ["B02"] * 40}}]}
    assert yaml.safe_load(study_text(["head"], study, {"a.name": "a comment: here"})) == study
