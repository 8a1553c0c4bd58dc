"""Archives whose images have no place on Earth: what needs one is refused before the first job, in one sentence."""

import pytest

from archive_tree import fake_downloads
from terraprobe.errors import TerraprobeError
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study


@pytest.fixture
def content(tmp_path, monkeypatch):
    fake_downloads(tmp_path)
    monkeypatch.chdir(tmp_path)
    tower = {"photo": {"modality": "rgb"}}
    return {
        "study": "unplaced",
        "collections": [
            {"name": "scenes", "kind": "archive", "archive": "resisc45", "path": "resources/downloads/RESISC45",
             "modalities": ["rgb"], "chip_px": 256, "split": {"kind": "hashed"}}
        ],
        "encoders": [{"name": "own", "method": "simsiam", "collections": ["scenes"], "recipe": {"towers": tower}}],
        "evaluations": [{"name": "f1", "probe": "mlp", "collection": "scenes", "label": "resisc45_class"}],
    }  # fmt: skip


def test_it_fits_and_says_what_it_is(content):
    study = parse_study(content, "study.yaml")
    scenes = study.collection("scenes")
    assert not scenes.placed and not scenes.has_context and scenes.split_needs_labels
    (note,) = report_recipe(study).collections
    assert "Nobody knows where on Earth an image is" in note.source and "Copernicus" not in note.attribution
    assert "By a hash of the images' names within each class (60% train, 20% val, 20% test)" in note.split
    assert len(study.mlp_probe("f1").sizes) == 1


@pytest.mark.parametrize("kind", ["geobands", "stratified", "blocks"])
def test_a_split_by_place_is_refused(content, kind):
    content["collections"][0]["split"] = {"kind": kind}
    assert refusal(content) == (
        f"collections[0].split.kind: found '{kind}', allowed official, hashed: the images of resisc45 have no place on "
        "Earth"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"block_km": 20}, "block_km: found 20.0, allowed none: the images of resisc45 have no place on Earth"),
        ({"leakage_limit": {"touching_pairs": 0}}, "leakage_limit: found touching_pairs, allowed pretraining_overlap"),
        ({"modalities": ["s2_l1c"]}, "modalities: found 's2_l1c', allowed (of resisc45) rgb"),
        ({"chip_px": 64}, "chip_px: found 64, allowed 256"),
        ({"path": "nowhere"}, "nowhere is absent: get NWPU-RESISC45.zip"),
    ],
)
def test_what_cannot_be_is_refused(content, change, words):
    content["collections"][0] |= change
    assert words in refusal(content)


def test_climate_needs_a_place(content, tmp_path):
    (tmp_path / "climate.tif").touch()
    content["collections"][0] |= {"climate": "climate.tif", "regions": "climate.tif"}
    assert "climate: found 'climate.tif', allowed none: the images of resisc45 have no place" in refusal(content)


def test_names_are_dealt_where_places_are_unknown_alone(content, tmp_path):
    content["collections"][0] |= {"archive": "eurosat", "modalities": ["s2_l1c"], "chip_px": 64,
                                  "path": "resources/downloads/EuroSAT_MS"}  # fmt: skip
    assert "hashed is for archives whose images have no place on Earth" in refusal(content)


def test_an_encoder_of_sensors_is_judged_on_pictures(content, tmp_path):
    """Views of `rsbyol` come from Sentinel-2 and Sentinel-1; a tower of `rgb` is there for judging alone."""
    world = {"name": "land", "kind": "simulated", "modalities": ["s2_l1c", "s1_grd"], "chip_px": 64,
             "world": {"seed": 1, "n_places": 5, "place_px": 64}, "split": {"kind": "stratified"}}  # fmt: skip
    towers = {"ms": {"modality": "s2_l1c"}, "rgb": {"modality": "s2_l1c", "bands": ["B04", "B03", "B02"]},
              "sar": {"modality": "s1_grd", "bands": ["VV", "VH", "VV"]}, "photo": {"modality": "rgb"}}  # fmt: skip
    content["collections"].append(world)
    content["encoders"] = [{"name": "byol", "method": "rsbyol", "collections": ["land"],
                            "recipe": {"views": "rsbyol3_rgb", "towers": towers}}]  # fmt: skip
    study = parse_study(content, "study.yaml")
    assert study.encoders_of("scenes") == ["byol"]
    assert study.modalities_read(["byol"], "scenes") == ["rgb"]
    del towers["ms"], towers["rgb"], towers["sar"]
    assert "rsbyol3_rgb draws 5 ms bands of a chip, but the towers see none" in refusal(content)


def refusal(content):
    with pytest.raises(TerraprobeError) as error:
        parse_study(content, "study.yaml")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix("study.yaml: ")
