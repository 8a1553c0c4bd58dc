"""Benchmark archives in a study: what is absent or cannot be is said before the first job."""

import shutil

import pytest

from archive_tree import fake_downloads
from terraprobe.archives import ARCHIVES
from terraprobe.errors import TerraprobeError
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study, read_yaml


@pytest.fixture
def content(repository, tmp_path, monkeypatch):
    """The full-size study of `bioclim`, in a folder where all that it needs has been unpacked."""
    fake_downloads(tmp_path)
    monkeypatch.chdir(tmp_path)
    return read_yaml(repository / "studies/bioclim.yaml")


def refusal(content):
    with pytest.raises(TerraprobeError) as error:
        parse_study(content, "bioclim.yaml")
    return str(error.value).removeprefix("bioclim.yaml: ")


def test_the_full_study_has_the_papers_arms(content):
    study = parse_study(content, "bioclim.yaml")
    assert {len(entry.members) for entry in study.encoders} == {10}
    arms = study.classification_recipe("eurosat")["arms"]
    assert len(arms) == 10 and len(study.classification_recipe("bigearthnet")["arms"]) == 3
    assert study.classification_recipe("bigearthnet")["multi_label"]
    # The paper's draw puts the same ground on both sides: with the default limit no test would ever be scored.
    assert {study.leakage_recipe(c.name)["limit"]["pretraining_overlap"] for c in study.collections} == {None}
    assert study.attribution_recipe("eurosat")["drawn"] == ["highway", "river"]
    given_back = study.reconstruction_recipe("eurosat_images")
    assert given_back["label"] == "eurosat_class"
    assert list(given_back["arms"]) == ["auto_plain", "auto_emb", "auto_cbn", "auto_cbn_encoder", "auto_cbn_decoder"]
    recipe = study.pretrain_recipe("cbn_s3")["recipe"]
    assert recipe["classes"] == list(ARCHIVES["eurosat"].label.classes.values())
    eurosat, bigearthnet = study.collections
    assert eurosat.has_context and eurosat.has_elevation
    assert len(eurosat.climate_files) == 20
    assert bigearthnet.grid_area() == {"kind": "archive", "chip_px": 120, "block_km": 10.0}
    assert "climate, elevation (20 values)" in report_recipe(study).collections[0].source


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "nowhere"}, ["path: ", "nowhere is absent: get EuroSAT_MS.zip", "AnnualCrop_1.tif"]),
        ({"path": "resources"}, ["path: ", "resources holds no EuroSAT MS"]),
        ({"archive": "corine"}, ["archive: found 'corine', allowed", "bigearthnet_v2"]),
        ({"chip_px": 120}, ["chip_px: found 120, allowed 64, the side of its images"]),
        ({"modalities": ["s2_l2a"]}, ["modalities: found 's2_l2a', allowed (of eurosat) s2_l1c"]),
        ({"labels": ["worldcover"]}, ["labels: found 'worldcover'", "the classes of eurosat come with it"]),
        ({"climate": "nowhere"}, ["climate: ", "nowhere is absent: get wc2.1_10m_bio.zip"]),
        ({"climate": "resources"}, ["climate: ", "resources is a folder without rasters"]),
        ({"elevation": "nowhere.tif"}, ["elevation: ", "nowhere.tif is absent", "wc2.1_10m_elev.tif"]),
        ({"regions": ""}, ["climate, regions: found one without the other"]),
        ({"exclude": ["nowhere.csv"]}, ["exclude: nowhere.csv is absent"]),
        ({"elevation": ""}, ["recipe.elevation: found True, allowed False (19 values of context): eurosat"]),
        ({"climate": "", "elevation": "", "regions": ""}, ["eurosat has no context"]),
        ({"split": {"kind": "blocks"}}, ["split.side_km: none given, and there are no labels"]),
    ],
)
def test_an_archive_that_cannot_work(content, change, words):
    content["collections"][0] = {**content["collections"][0], **change}
    text = refusal(content)
    for word in words:
        assert word in text


def test_an_absent_band_of_folders_and_a_label_of_another_kind(content):
    content["collections"][1] = {**content["collections"][1], "modalities": ["s2_l2a", "s1_grd"]}
    assert "BigEarthNet holds no BigEarthNet v1: get" in refusal(content)
    content["collections"][1]["modalities"] = ["s2_l2a"]
    content["encoders"][0]["label"] = "eurosat_classes"
    assert "found 'eurosat_classes', allowed (classes of eurosat) eurosat_class" in refusal(content)


def test_a_forest_has_no_number_to_learn_from_an_archive(content):
    content["evaluations"].append(
        {"name": "few", "probe": "forest", "collection": "eurosat", "tasks": ["eurosat_class"]}
    )
    assert "found 'eurosat_class', which is a class" in refusal(content)


def test_only_an_archive_comes_with_a_split(content, tmp_path):
    content["collections"][0] = {**content["collections"][0], "split": {"kind": "official"}}
    assert parse_study(content, "bioclim.yaml").collections[0].split.file == ""
    (tmp_path / "own/s2_l2a").mkdir(parents=True)
    (tmp_path / "own/s2_l2a/a.tif").touch()
    own = {"name": "own", "kind": "folder", "path": "own", "modalities": ["s2_l2a"], "split": {"kind": "official"}}
    content["collections"].append(own)
    assert "split.file: required, only an archive comes with a split" in refusal(content)


def test_a_folder_of_own_files_may_have_context_too(content, tmp_path):
    (tmp_path / "own/s2_l2a").mkdir(parents=True)
    (tmp_path / "own/s2_l2a/a.tif").touch()
    kept = ("climate", "regions", "elevation", "split")
    own = {key: content["collections"][0][key] for key in kept}
    content["collections"].append(own | {"name": "own", "kind": "folder", "path": "own", "modalities": ["s2_l2a"]})
    assert parse_study(content, "bioclim.yaml").collections[2].has_elevation


def test_the_folders_that_are_watched_hold_the_images(content, tmp_path):
    study = parse_study(content, "bioclim.yaml")
    assert [path.rsplit("/", 1)[1] for path in study.collections[0].watched][:2] == ["AnnualCrop", "Forest"]
    assert study.collections[1].watched == ["resources/downloads/BigEarthNet/BigEarthNet-v1.0"]
    shutil.rmtree(tmp_path / "resources/downloads/EuroSAT_MS/Forest")
    assert len(parse_study(content, "bioclim.yaml").collections[0].watched) == 9
