"""A folder of own GeoTIFFs in a study: what is not there or cannot be is said before the first job."""

import pytest

from terraprobe.errors import TerraprobeError
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study

OWN = {"nodata": 0, "codes": {1: "water", 2: "trees"}}


@pytest.fixture
def content(study_content, tmp_path):
    """The mini study with a folder collection, whose files need not be rasters to be listed."""
    files = {"s2": ["b.tif", "a.TIFF", ".hidden.tif", "a.txt"], "s1_grd": ["a.tif"], "lulc": ["a.tif"]}
    for layer, names in files.items():
        (tmp_path / layer).mkdir()
        for name in names:
            (tmp_path / layer / name).touch()
    study_content["collections"].append(
        {
            "name": "mine",
            "kind": "folder",
            "path": str(tmp_path),
            "modalities": ["s2_l2a", "s1_grd"],
            "folders": {"s2_l2a": "s2"},
            "labels": ["lulc"],
            "classes": {"lulc": OWN},
            "licence": "mine alone",
            "chip_px": 32,
            "split": {"kind": "geobands", "n_bands": 5},
        }
    )
    study_content["evaluations"].append(
        {"name": "own", "probe": "forest", "collection": "mine", "tasks": ["lulc_trees"], "encoders": []}
    )
    return study_content


def refusal(content):
    """What a study that does not fit is told."""
    with pytest.raises(TerraprobeError) as error:
        parse_study(content, "mine.yaml")
    text = str(error.value).removeprefix("mine.yaml: ")
    assert "\n" not in text
    return text


def test_files_are_listed_by_name_without_hidden_and_other_ones(content, tmp_path):
    mine = parse_study(content, "mine.yaml").collection("mine")
    assert mine.files["s2_l2a"] == [str(tmp_path / "s2/a.TIFF"), str(tmp_path / "s2/b.tif")]
    assert mine.shard_names == ["000"]
    assert mine.index_recipe("lulc")["classes"]["codes"] == {"1": "water", "2": "trees"}
    assert "classes" not in mine.index_recipe("s1_grd")


def test_the_report_says_whose_files_they_are(content):
    content["evaluations"][1].pop("encoders")
    note = report_recipe(parse_study(content, "mine.yaml")).collections[-1]
    assert note.kind == "real"
    assert note.source.startswith("A folder of your own GeoTIFFs: 2 of s2_l2a, 1 of s1_grd, 1 of lulc.")
    assert note.licence == "mine alone"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("path", "/nowhere/at/all", ["path: /nowhere/at/all is absent", "give the folder's path"]),
        ("folders", {}, ["path: s2_l2a: ", "/s2_l2a is absent", "folders: {s2_l2a: …}"]),
        ("folders", {"s2": "s2"}, ["folders: found 's2', allowed (modalities and labels) s2_l2a, s1_grd, lulc"]),
        ("modalities", ["s3"], ["modalities: found 's3', allowed (in a folder of GeoTIFFs) s2_l1c, s2_l2a"]),
        ("modalities", ["s1_coherence"], ["modalities: found 's1_coherence'"]),
        (
            "labels",
            ["lulc", "osm"],
            ["labels: found 'osm', allowed mod44b, worldcover, ghs_built, s2_cloud, dfc2020, lulc"],
        ),
        ("labels", [], ["classes: found 'lulc'", "listed in labels"]),
        ("classes", {"worldcover": OWN}, ["classes: worldcover is a layer that terraprobe knows"]),
        ("classes", {"s1_grd": OWN}, ["classes: s1_grd is a layer that terraprobe knows"]),
        ("bands", {"s1_grd": ["VV"]}, ["bands: found ['VV']: VH of s1_grd missing"]),
        ("bands", {"s1_grd": ["VV", "VH", "VH"]}, ["bands: ", "named twice"]),
        ("bands", {"s2_l1c": []}, ["bands: found 's2_l1c', allowed (modalities) s2_l2a, s1_grd"]),
        ("offset_dn", {"s1_grd": 1}, ["offset_dn: found 's1_grd', allowed (modalities of reflectance) s2_l2a"]),
        ("shards", 0, ["shards: found 0"]),
        ("chip_px", 8, ["chip_px: 8 (80 m) does not fit s2_l2a"]),
        ("tpyo", 1, ["tpyo: unknown key", "block_chips"]),
    ],
)
def test_a_folder_that_cannot_work(content, key, value, words):
    content["collections"][2][key] = value
    text = refusal(content)
    assert text.startswith("collections[2].")
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"nodata": 1, "codes": {1: "water", 2: "trees"}}, "nodata 1 is also the code of 'water'"),
        ({"nodata": -1, "codes": {1: "water", 2: "trees"}}, "found code -1, allowed 0 to 65535"),
        ({"nodata": 0, "codes": {1: "water", 70000: "trees"}}, "found code 70000, allowed 0 to 65535"),
        ({"nodata": 0, "codes": {1: "water", 2: "water"}}, "class 'water' has codes [1, 2]"),
        ({"nodata": 0, "codes": {1: "water"}}, "found ['water'] as classes, allowed two or more"),
        ({"nodata": 0, "codes": {1: "water", 2: "Wet Wood"}}, "found class 'Wet Wood'"),
        ({"nodata": 0, "codes": {1: "water", 2: "coverage"}}, "found class 'coverage'"),
        ({"codes": {1: "water", 2: "trees"}}, "nodata: required, but not given"),
    ],
)
def test_classes_that_cannot_be(content, classes, words):
    content["collections"][2]["classes"] = {"lulc": classes}
    text = refusal(content)
    assert text.startswith("collections[2].classes.lulc")
    assert words in text


def test_two_layers_never_give_one_task(content, tmp_path):
    (tmp_path / "lulc_a").mkdir()
    (tmp_path / "lulc_a/x.tif").touch()
    mine = content["collections"][2]
    mine["labels"] = ["lulc", "lulc_a"]
    mine["classes"] = {
        "lulc": {"nodata": 0, "codes": {1: "a_b", 2: "trees"}},
        "lulc_a": {"nodata": 0, "codes": {1: "b", 2: "c"}},
    }
    assert "two label layers would both give lulc_a_b; rename" in refusal(content)


def test_a_task_is_a_class_of_an_own_layer(content):
    content["evaluations"][1]["tasks"] = ["lulc_snow"]
    assert "found 'lulc_snow', allowed (labels of mine) lulc_water, lulc_trees" in refusal(content)


def test_a_name_that_a_rule_would_read_as_a_wildcard(content, tmp_path):
    (tmp_path / "lulc/{b}.tif").touch()
    assert "{b}.tif has a brace in its name; rename it" in refusal(content)


def test_an_empty_folder_and_two_files_of_one_name(content, tmp_path):
    (tmp_path / "lulc/a.TIFF").touch()
    assert "lulc holds a.TIFF and a.tif: rename one" in refusal(content)
    for file in (tmp_path / "lulc").iterdir():
        file.unlink()
    assert "lulc holds no GeoTIFF; allowed *.tif and *.tiff" in refusal(content)
