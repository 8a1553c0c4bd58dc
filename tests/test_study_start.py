"""Study files in which an encoder starts from another one that learns without labels."""

import pytest

from pretraining import TINY_DEEPLAB, TINY_UNIFEAT
from terraprobe.errors import TerraprobeError
from terraprobe.study import parse_study


@pytest.fixture
def content(study_content):
    study_content["encoders"] += [
        {"name": "first", "method": "sscl_unifeat", "collections": ["land"], "recipe": dict(TINY_UNIFEAT)},
        {"name": "second", "method": "sscl", "collections": ["land"], "start": "first", "recipe": dict(TINY_DEEPLAB)},
    ]
    return study_content


def test_an_encoder_has_learnt_where_its_start_has(content):
    study = parse_study(content, "study.yaml")
    assert study.start_of("second") == "first"
    assert study.seen_by("second") == ["land"]
    assert [e.start for e in study.encoders] == ["", "", "first"]


def test_seeds_start_from_the_same_seed(content):
    for encoder in content["encoders"][1:]:
        encoder["seeds"] = [0, 1]
    study = parse_study(content, "study.yaml")
    assert study.start_of("second_s1") == "first_s1"


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (2, {"start": "clip3_land"}, "clip3_land is of another shape, its towers is ['s1', 's2'] and not"),
        (2, {"start": "second"}, "encoders[second].start: found 'second', allowed (trained afresh and without labels)"),
        (2, {"recipe": {**TINY_DEEPLAB, "features": 3}}, "first is of another shape, its features is 2 and not 3"),
        (
            2,
            {"recipe": {**TINY_DEEPLAB, "extractor": "early_fusion"}},
            "its extractor is 'shared' and not 'early_fusion'",
        ),
        (2, {"recipe": {**TINY_DEEPLAB, "despeckle": True}}, "its despeckle is False and not True"),
        (2, {"weights": {"file": "resnet.pth", "layout": "resnet50"}}, "start: found 'first' beside weights"),
        (1, {"start": "second"}, "start: found 'second', allowed none: sscl_unifeat starts afresh"),
        (
            1,
            {"label": "worldcover_class"},
            "label: found 'worldcover_class', allowed none: sscl_unifeat learns without",
        ),
    ],
)
def test_a_start_that_does_not_fit(content, place, change, words):
    content["encoders"][place].update(change)
    with pytest.raises(TerraprobeError) as error:
        parse_study(content, "study.yaml")
    assert words in str(error.value)
