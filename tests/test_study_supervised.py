"""What a study may say of labels: classes, supervised encoders, their starts, and evaluations of their own heads."""

from pathlib import Path

import pytest
import yaml

from terraprobe.errors import TerraprobeError
from terraprobe.modalities import WORLDCOVER_CLASSES
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study

MINI = Path(__file__).parent / "studies/mini_supervised.yaml"


@pytest.fixture
def content():
    """The mini study, with a forest beside the heads."""
    content = yaml.safe_load(MINI.read_text())
    forest = {"name": "landcover", "probe": "forest", "collection": "land", "tasks": ["croplands"]}
    content["evaluations"].append(forest)
    return content


def encoder(content, name):
    return next(e for e in content["encoders"] if e["name"] == name)


def supervised(content):
    return [e for e in content["encoders"] if e["method"] == "bioclim_supervised"]


def evaluation(content, name):
    return next(e for e in content["evaluations"] if e["name"] == name)


def refusal(content):
    with pytest.raises(TerraprobeError) as caught:
        parse_study(content, "study.yaml")
    return str(caught.value)


def test_the_mini_study_fits_and_fills_in_the_classes_of_the_layer(content):
    study = parse_study(content, "study.yaml")
    recipe = study.pretrain_recipe("plain_s1")
    assert recipe["recipe"]["classes"] == list(WORLDCOVER_CLASSES.values())
    assert (recipe["label"], recipe["seed"]) == ("worldcover_class", 1)
    assert study.classification_recipe("classes")["classes"] == list(WORLDCOVER_CLASSES.values())
    assert study.classification_recipe("classes")["arms"]["plain"] == ["plain_s0", "plain_s1"]


def test_classes_of_the_study_go_before_those_of_the_layer(content):
    for entry in supervised(content):
        entry["recipe"] = {**entry["recipe"], "classes": ["tree", "crop"]}
    study = parse_study(content, "study.yaml")
    assert study.pretrain_recipe("plain_s0")["recipe"]["classes"] == ["tree", "crop"]
    assert study.classification_recipe("classes")["classes"] == ["tree", "crop"]


def test_a_start_is_the_same_seed_or_the_only_one(content):
    encoder(content, "started")["seeds"] = [0, 1]
    study = parse_study(content, "study.yaml")
    assert [study.start_of(f"started_s{k}") for k in (0, 1)] == ["auto", "auto"]
    assert study.start_of("plain_s0") == ""
    encoder(content, "auto")["seeds"] = [0, 1]
    study = parse_study(content, "study.yaml")
    assert [study.start_of(f"started_s{k}") for k in (0, 1)] == ["auto_s0", "auto_s1"]
    encoder(content, "auto")["seeds"] = [0, 2]
    assert "encoders[started].start: auto has seeds [0, 2], not 1" in refusal(content)


def test_ground_that_a_start_has_seen_counts_for_the_leakage_audit(content):
    other = {**content["collections"][0], "name": "isles", "world": {"seed": 4, "n_places": 24, "place_px": 64}}
    content["collections"].append(other)
    encoder(content, "auto")["collections"] = ["isles"]
    recipe = parse_study(content, "study.yaml").leakage_recipe("land")
    assert recipe["encoders"]["started"] == ["land", "isles"]
    assert recipe["encoders"]["plain_s0"] == ["land"]


def test_forests_leave_supervised_encoders_out(content):
    study = parse_study(content, "study.yaml")
    assert study.judged(study.evaluation("landcover")) == ["auto", "auto_d"]
    evaluation(content, "landcover")["encoders"] = ["plain"]
    assert (
        "evaluations[landcover].encoders: found 'plain', allowed (can embed land, learnt without labels) auto, auto_d"
        in (refusal(content))
    )


def test_a_forest_refuses_a_class(content):
    evaluation(content, "landcover")["tasks"] = ["worldcover_class"]
    assert refusal(content) == (
        "study.yaml: evaluations[landcover].tasks: found 'worldcover_class', which is a class; a forest's task asks "
        "for more of a number than the train median: allowed croplands, water. Classes are for probe: classifier"
    )


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("plain", {"label": ""}, "encoders[2].label: required, bioclim_supervised learns chip-level classes"),
        ("plain", {"label": "water"}, "encoders[plain].label: found 'water', allowed (classes of land) "),
        ("auto", {"label": "worldcover_class"}, "encoders[0].label: found 'worldcover_class', allowed none: bioclim"),
        ("auto", {"start": "plain"}, "encoders[0].start: found 'plain', allowed none: bioclim starts afresh"),
        ("started", {"start": "plain"}, "encoders[started].start: found 'plain', allowed (trained afresh and with"),
        ("started", {"start": "gone"}, "encoders[started].start: found 'gone', allowed (trained afresh and with"),
        ("auto", {"recipe": {"width": 16, "blocks": [1, 1]}}, "auto is of another shape, its width is 16 and not 8"),
        ("cbn", {"start": "auto"}, "start: auto is of another shape, its conditioning is 'none' and not 'cbn'"),
        ("plain", {"recipe": {"classes": ["tree", "sand"]}}, "encoders[plain].recipe.classes: found 'sand', allowed"),
        ("plain", {"recipe": {"context": "shuffled"}}, "context: found 'shuffled', allowed real where conditioning is"),
    ],
)  # fmt: skip
def test_what_does_not_fit_an_encoder(content, name, change, words):
    encoder(content, name).update(change)
    assert words in refusal(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "water"}, "evaluations[classes].label: found 'water', allowed (classes of land) worldcover_class"),
        ({"encoders": ["auto"]}, "evaluations[classes].encoders: found 'auto', allowed (learnt worldcover_class on"),
        ({"tasks": ["water"]}, "evaluations[0].tasks: unknown key; allowed name, probe, collection, label"),
        ({"collection": "sea"}, "evaluations[classes].collection: found 'sea', allowed land"),
        ({"gradcam": ["river"]}, "evaluations[classes].gradcam: found 'river', allowed (that the encoders learn)"),
        ({"gradcam": ["tree", "tree"]}, "evaluations[classes].gradcam: found ['tree', 'tree'], allowed: each name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_an_evaluation(content, change, words):
    content["evaluations"][0].update(change)
    assert words in refusal(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoders": ["auto", "plain"]}, "evaluations[images].encoders: found 'plain', allowed (autoencoders that can "
                                          "embed land) auto, auto_d"),
        ({"label": "water"}, "evaluations[images].label: found 'water', allowed (one class a chip of land) worldcover"),
        ({"label": "worldcover_classes"}, "evaluations[images].label: found 'worldcover_classes', allowed (one class"),
        ({"tasks": ["water"]}, "evaluations[1].tasks: unknown key; allowed name, probe, collection, label, encoders"),
        ({"collection": "sea"}, "evaluations[images].collection: found 'sea', allowed land"),
    ],
)  # fmt: skip
def test_what_does_not_fit_an_evaluation_of_autoencoders(content, change, words):
    evaluation(content, "images").update(change)
    found = refusal(content)
    assert words in found and "\n" not in found


def test_an_evaluation_of_autoencoders_without_any(content):
    content["encoders"] = [{k: v for k, v in e.items() if k != "start"} for e in supervised(content)]
    assert "evaluations[images].encoders: no autoencoder can embed land; give one of method bioclim" in refusal(content)


def test_autoencoders_of_other_bands_are_not_compared(content):
    towers = {"s2": {"modality": "s2_l1c", "bands": ["B04", "B03"]}}
    encoder(content, "auto_d")["recipe"] = {**encoder(content, "auto_d")["recipe"], "towers": towers}
    assert "auto_d sees B04, B03 of s2_l1c; errors are means over bands, so all must see the same" in refusal(content)


def test_what_the_stages_of_autoencoders_are_told(content):
    study = parse_study(content, "study.yaml")
    told = study.reconstruct_recipe("images")
    assert (told["collection"], told["label"], told["random_inits"]) == ("land", "worldcover_class", 1)
    assert told["classes"] == list(WORLDCOVER_CLASSES.values())
    arms = study.reconstruction_recipe("images")["arms"]
    assert arms == {"auto": ["auto"], "auto_d": ["auto_d"]}
    del evaluation(content, "images")["label"]
    assert parse_study(content, "study.yaml").reconstruct_recipe("images")["classes"] == []


def test_what_is_drawn_does_not_touch_the_scores(content):
    before = parse_study(content, "study.yaml").classification_recipe("classes")
    evaluation(content, "classes")["gradcam"] = ["water"]
    study = parse_study(content, "study.yaml")
    assert study.classification_recipe("classes") == before
    assert study.attribution_recipe("classes")["drawn"] == ["water"]


def test_an_evaluation_that_no_encoder_fits(content):
    content["encoders"] = content["encoders"][:1]
    assert "evaluations[classes].encoders: no encoder learnt worldcover_class on land" in refusal(content)


def test_heads_of_different_classes_are_not_compared(content):
    encoder(content, "plain")["recipe"] = {**encoder(content, "plain")["recipe"], "classes": ["tree", "crop"]}
    assert "evaluations[classes].encoders: their recipes name different classes" in refusal(content)


def test_the_report_calls_simulated_what_is_simulated(content):
    (note,) = report_recipe(parse_study(content, "study.yaml")).classifications
    assert (note.kind, note.title) == ("simulated", "Worldcover class on Land")


def test_a_list_of_classes_is_learnt_each_by_itself(content):
    for entry in supervised(content):
        entry["label"] = "worldcover_classes"
    content["evaluations"][0]["label"] = "worldcover_classes"
    study = parse_study(content, "study.yaml")
    assert study.pretrain_recipe("plain_s0")["recipe"]["multi_label"] is True
    assert study.classification_recipe("classes")["multi_label"] is True
    encoder(content, "plain")["recipe"] = {**encoder(content, "plain")["recipe"], "multi_label": True}
    assert "encoders[plain].recipe.multi_label: found True, allowed none: the label says it" in refusal(content)
