"""What a study file makes the report say."""

from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study


def test_every_collection_says_what_it_is(study_content):
    recipe = report_recipe(parse_study(study_content, "here"))
    land, shore = recipe.collections
    assert (land.kind, shore.kind) == ("simulated", "real")
    assert "No satellite took these images" in land.source
    assert "CC0" in shore.licence and "Copernicus" in shore.attribution
    assert "5 geographic bands" in land.split and "100 m apart" in land.split
    assert "at random within each region" in shore.split
    assert "simulated" in recipe.about


def test_openstreetmap_is_attributed(study_content):
    shore = study_content["collections"][1]
    shore.update(scene="havelland", labels=["osm"])
    note = report_recipe(parse_study(study_content, "here")).collections[1]
    assert "© OpenStreetMap contributors" in note.attribution and "ODbL" in note.licence


def test_towers_of_one_sensor_are_a_deviation(study_content):
    study = parse_study(study_content, "here")
    assert report_recipe(study).encoders[0].deviations == ()
    assert report_recipe(study).encoders[0].data == "Land (simulated)"
    towers = {"red": {"modality": "s2_l1c", "bands": ["B04"]}, "green": {"modality": "s2_l1c", "bands": ["B03"]}}
    study_content["encoders"][0].update(collections=["shore"], recipe={"towers": towers, "patch_px": 8})
    (deviation,) = report_recipe(parse_study(study_content, "here")).encoders[0].deviations
    assert "one sensor" in deviation and "own variant" in deviation


def test_blocks_say_their_side_and_buffer(study_content):
    study_content["collections"][0]["split"] = {"kind": "blocks", "side_km": 40, "buffer_m": 500}
    note = report_recipe(parse_study(study_content, "here")).collections[0]
    assert note.split == (
        "Square cells of equal area, 40 km wide, dealt whole; chips of different splits are at least 500 m apart."
    )
    study_content["collections"][0]["split"].pop("side_km")
    note = report_recipe(parse_study(study_content, "here")).collections[0]
    assert "twice the labels' autocorrelation length wide" in note.split


def test_an_evaluation_says_where_it_learnt(study_content):
    study_content["collections"].append({**study_content["collections"][0], "name": "isles"})
    study_content["evaluations"][0]["train_on"] = ["isles"]
    (note,) = report_recipe(parse_study(study_content, "here")).evaluations
    assert note.title == "Few-shot forests on Land, trained on Isles"
