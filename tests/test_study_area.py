"""Collections over an area of interest: what a study may say of them."""

import copy

import pytest

from terraprobe.errors import TerraprobeError
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study


@pytest.fixture
def content(study_content, tmp_path, monkeypatch):
    """The small study with an area in place of its simulated Earth."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alps.geojson").touch()
    land = study_content["collections"][0]
    for key in ("world", "shards"):
        del land[key]
    land |= {"kind": "area", "area": "alps.geojson", "months": ["2020-01", "2020-02", "2020-03"], "shards": 3}
    return study_content


def test_an_area_fits_and_its_shards_are_counted_in_the_study(content):
    land = parse_study(content, "s.yaml").collection("land")
    assert land.shard_names == ["000", "001", "002"]
    assert land.grid_area() == {"kind": "area", "source": "land", "chip_px": 32, "block_chips": 4, "shards": 3}
    assert land.from_earth_engine == ["s2_rgb_monthly", "s1_grd_monthly", "mod44b", "worldcover"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("area", "absent.geojson", r"collections\[0\].area: .*absent\.geojson is absent; give a file of polygons"),
        ("months", ["2020-01"], "months: found 1, s2_rgb_monthly needs 3"),
        (
            "months",
            ["2020-03", "2020-02", "2020-01"],
            "months: found 2020-03, .* allowed in order of time",
        ),
        ("months", ["2020-01", "2020-02", "2020-00"], "months: found '2020-00', allowed calendar months from 2015"),
        ("labels", ["osm"], "labels: found 'osm', allowed .of an area. mod44b, worldcover, ghs_built"),
        ("s1_orbit", "both", "s1_orbit: found 'both', allowed: 'ascending' or 'descending'"),
        ("shards", 1001, "shards: found 1001, allowed"),
        ("pixels", 3, "unknown key"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(content, key, value, words):
    content["collections"][0][key] = value
    with pytest.raises(TerraprobeError, match=words):
        parse_study(content, "s.yaml")


def test_a_setting_of_one_sensor_fetches_no_other_one_again(content):
    other = copy.deepcopy(content)
    other["collections"][0]["s1_orbit"] = "ascending"
    one, two = (parse_study(c, "s.yaml").collection("land") for c in (content, other))
    changed = [layer for layer in one.from_earth_engine if one.composite_of(layer) != two.composite_of(layer)]
    assert changed == ["s1_grd_monthly"]
    assert "cloud_mask" not in one.composite_of("mod44b")


@pytest.mark.parametrize("conditioning", ["emb", "cbn"])
def test_climate_conditions_an_encoder_unless_it_is_not_fetched(content, conditioning):
    recipe = {"towers": {"s2": {"modality": "s2_rgb_monthly"}}, "width": 8, "blocks": [1, 1]}
    entry = {"name": "warm", "method": "bioclim", "collections": ["land"]}
    content["encoders"].append(entry | {"recipe": recipe | {"conditioning": conditioning}})
    study = parse_study(content, "s.yaml")
    assert study.can_embed(study.encoder("warm"), study.collection("land"))
    content["collections"][0]["context"] = False
    with pytest.raises(
        TerraprobeError, match=f"conditioning: found '{conditioning}', allowed none.*land has no context"
    ):
        parse_study(content, "s.yaml")


@pytest.fixture
def own(content, tmp_path):
    """The area with a label layer of the user's own polygons."""
    (tmp_path / "fields.gpkg").touch()
    (tmp_path / "map.tif").touch()
    land = content["collections"][0]
    land["labels"].append("crop")
    land["classes"] = {"crop": {"nodata": 0, "codes": {1: "barley", 2: "winter_wheat"}}}
    land |= {"files": {"crop": "fields.gpkg"}, "columns": {"crop": "kind"}}
    content["evaluations"][0]["tasks"] = ["crop_barley"]
    return content


def test_own_polygons_are_a_label_layer_of_an_area(own):
    land = parse_study(own, "s.yaml").collection("land")
    recipe = land.index_recipe("crop")
    assert recipe.pop("classes")["codes"] == {"1": "barley", "2": "winter_wheat"}
    assert recipe == {"layer": "crop", "folder": "fields.gpkg", "column": "kind"}
    assert "crop" not in land.from_earth_engine
    assert "crop_class" in [layer.class_label for layer in land.label_layers]
    note = next(c for c in report_recipe(parse_study(own, "s.yaml")).collections if c.name == "land")
    assert "your own labels fields.gpkg (crop)" in note.source


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {}, "columns": {}}, r"files: none for crop; give the file of each own label layer"),
        ({"files": {"crop": "gone.gpkg"}}, r"files.crop: .*gone.gpkg is absent; give a raster or a file of polygons"),
        ({"files": {"crop": "area.txt"}}, r"area.txt ends on none of .tif, .tiff, .gpkg"),
        ({"columns": {}}, r"columns: found None for fields.gpkg; polygons need the column of their class"),
        ({"files": {"crop": "map.tif"}}, r"columns: found 'kind' for map.tif; a raster has no columns"),
        ({"files": {"crop": "fields.gpkg", "soil": "map.tif"}}, r"files: found 'soil', allowed .own label layers"),
        ({"classes": {}}, r"labels: found 'crop', allowed .of an area. mod44b"),
    ],
)
def test_own_labels_that_cannot_be(own, tmp_path, change, words):
    (tmp_path / "area.txt").touch()
    own["collections"][0] |= change
    with pytest.raises(TerraprobeError, match=words):
        parse_study(own, "s.yaml")
