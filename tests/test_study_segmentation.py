"""Evaluations of pixels in a study file."""

import pytest

from terraprobe.errors import TerraprobeError
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study
from terraprobe.study.segmentations import segmentation_pool_recipe


@pytest.fixture
def content(study_content):
    study_content["evaluations"] = [
        {"name": "pixels", "probe": "segmentation", "collection": "land", "label": "worldcover"}
    ]
    return study_content


def parsed(content, **entry):
    content["evaluations"][0] |= entry
    return parse_study(content, "study.yaml")


def test_classes_are_told_apart_in_the_order_of_their_codes(content):
    study = parsed(content, classes={"wet": ["water", "wetland"], "green": ["grass", "tree"]})
    assert study.segmentation_scores_recipe("pixels")["classes"] == ["green", "wet"]
    assert study.segmentation_recipe("pixels")["sizes"] == [100, 0]
    assert parsed(content, classes={}).segmentation_scores_recipe("pixels")["classes"][:3] == ["tree", "shrub", "grass"]


def test_who_is_compared_changes_no_probe(content):
    one = parsed(content).segmentation_recipe("pixels")
    assert parsed(content, encoders=["clip3_land"], resamples=100).segmentation_recipe("pixels") == one


def test_pixels_alone_ask_for_no_embeddings(content):
    study = parsed(content)
    assert study.arms(study.segmentations[0]) == {"clip3_land": ["clip3_land"]}
    assert study.forests == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"label": "mod44b"}, r"label: found 'mod44b', allowed \(layers of pixel classes of land\) worldcover"),
        ({"classes": {"a": ["lava"], "b": ["tree"]}}, "classes: found 'lava', allowed"),
        ({"classes": {"a": ["tree"], "b": ["tree"]}}, "each name once"),
        ({"classes": {"a": [], "b": ["tree"]}}, r"classes\.a: found none, allowed one or more"),
        ({"classes": {"a": ["tree"]}}, "found a alone, allowed two classes or more"),
        ({"encoders": ["clip3"]}, r"encoders: found 'clip3', allowed \(can embed land, learnt without labels\)"),
        ({"bands": ["B99"]}, r"bands: found 'B99', allowed \(seen one at a time\) m1_VV"),
        (
            {"strata": "worldcover"},
            r"strata: found 'worldcover', allowed \(other layers of pixel classes of land\)",
        ),
        ({"sizes": [10, 10]}, "each name once"),
        ({"lrs": []}, "lrs"),
        ({"collection": "shore"}, "allowed .layers of pixel classes of shore. none here"),
    ],
)
def test_what_does_not_fit_is_refused(content, entry, said):
    with pytest.raises(TerraprobeError, match=said):
        parsed(content, **entry)


def test_an_encoder_must_see_the_collection(content):
    content["collections"][0]["modalities"].append("s1_coherence")
    content["encoders"][0]["collections"] = ["shore"]
    content["encoders"][0]["recipe"]["towers"] = {
        "a": {"modality": "s2_l1c", "bands": ["B02"]}, "b": {"modality": "s2_l1c", "bands": ["B03"]},
    }  # fmt: skip
    with pytest.raises(TerraprobeError, match="no encoder that learnt without labels can embed land"):
        parsed(content)


@pytest.fixture
def pooled(content):
    """The same arm probed in two worlds, as one."""
    land, (entry, *_), (judged, *_) = content["collections"][0], content["encoders"], content["evaluations"]
    content["collections"] = [land, {**land, "name": "isle"}]
    del entry["name"], entry["collections"]
    content["encoders"] = [{**entry, "name": "tiny", "each": ["land", "isle"]}]
    del judged["name"], judged["collection"]
    content["evaluations"] = [
        {**judged, "name": f"pixels_{name}", "collection": name, "encoders": [f"tiny_{name}"]}
        for name in ("land", "isle")
    ]
    content["pools"] = [{"name": "both", "evaluations": ["pixels_land", "pixels_isle"], "margin": 0.1}]
    return content


def test_a_pool_of_pixels_names_arms(pooled):
    study = parse_study(pooled, "study.yaml")
    recipe = segmentation_pool_recipe(study, "both")
    assert recipe["entries"] == {"tiny_land": "tiny", "tiny_isle": "tiny"} and recipe["margin"] == 0.1
    assert [note.name for note in report_recipe(study).segmentation_pools] == ["both"]
    assert study.summary_recipe()["pools"] == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"sizes": [7]}, r"pixels_isle has sizes \[7\]"),
        ({"protocol": "finetune"}, "pixels_isle has protocol finetune and pixels_land linear, allowed the same"),
        ({"collection": "land", "encoders": ["tiny_land"]}, "their collections: found"),
    ],
)
def test_a_pool_of_unlike_evaluations_is_refused(pooled, entry, said):
    pooled["evaluations"][1] |= entry
    with pytest.raises(TerraprobeError, match=said):
        parse_study(pooled, "study.yaml")
