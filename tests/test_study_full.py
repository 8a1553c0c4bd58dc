"""The full-size studies of `rsbyol` and `sscl`, beside archives of which only names are there."""

from itertools import pairwise

import pytest

from archive_tree import fake_scenes
from terraprobe.cli import main
from terraprobe.errors import TerraprobeError
from terraprobe.study import load_study, parse_study, read_yaml


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Folder of a run in which all that both studies need has been unpacked."""
    monkeypatch.chdir(tmp_path)
    return fake_scenes(tmp_path)


@pytest.mark.parametrize("name", ["rsbyol", "sscl"])
def test_they_fit_once_the_archives_are_there(repository, home, capsys, name):
    path = repository / f"studies/{name}.yaml"
    assert main(["check-study", str(path)]) == 0
    assert f"{name}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rsbyol", ["collections[0].path: ", "ROIs*_s2.tar.gz", "EuroSAT_MS.zip", "a login"]),
        ("sscl", ["collections[0].path: ", "ROIs0000_validation and ROIs0000_test", "a login"]),
    ],
)
def test_absent_archives_are_told_with_what_to_get(repository, tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TerraprobeError) as error:
        load_study(repository / f"studies/{name}.yaml")
    for words in said:
        assert words in str(error.value)


def test_no_scene_is_both_pretrained_on_and_judged(repository, home):
    study = load_study(repository / "studies/rsbyol.yaml")
    parts = sorted(c.scenes for c in study.collections if getattr(c, "archive", "") == "sen12ms")
    assert parts[0][0] == 0
    assert all(one[1] <= other[0] for one, other in pairwise(parts))
    assert [round(180_662 * (high - low), -3) for low, high in parts] == [5_000, 90_000, 60_000]
    assert study.collection("sen12ms_5k").index_recipe()["scenes"] == [0.0, 0.0277]
    assert "scenes" not in study.collection("dfc2020").index_recipe()
    # Ground that is shared all the same stops the run before a test score is made.
    assert study.leakage_recipe("sen12ms_5k")["limit"]["pretraining_overlap"] == 0


def test_encoders_of_256_px_are_judged_on_the_64_px_of_eurosat(repository, home):
    study = load_study(repository / "studies/rsbyol.yaml")
    arms = study.arms(study.mlp_probe("eurosat"))
    assert set(arms) == {e.name for e in study.encoders if not e.supervised}  # these have heads of their own
    content = read_yaml(repository / "studies/sscl.yaml")
    eurosat = {"name": "eurosat", "kind": "archive", "archive": "eurosat", "chip_px": 64, "modalities": ["s2_l1c"],
               "path": "resources/downloads/EuroSAT_MS", "split": {"kind": "blocks", "side_km": 10}}  # fmt: skip
    content["collections"].append(eurosat)
    other = parse_study(content, "sscl.yaml")
    assert not other.can_embed(other.encoder("sscl_s0"), other.collection("eurosat"))


def test_the_arms_of_sscl_are_the_papers(repository, home):
    study = load_study(repository / "studies/sscl.yaml")
    assert {len(e.members) for e in study.encoders} == {3}
    assert study.segmentation_recipe("finetune")["sizes"] == [100, 250, 500, 1000, 2000, 0]
    assert list(study.segmentation_recipe("linear")["classes"]) == [
        "forest", "shrubland", "grassland", "wetlands", "croplands", "urban", "barren", "water",
    ]  # fmt: skip
    assert study.start_of("sscl_despeckled_s2") == "unifeat_despeckled_s2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scenes": [0.5, 0.2]}, "scenes: found [0.5, 0.2], allowed two shares between 0 and 1, the smaller one first"),
        ({"scenes": [0, 1.5]}, "allowed two shares between 0 and 1"),
        ({"archive": "eurosat", "path": "resources/downloads/EuroSAT_MS", "chip_px": 64, "labels": [],
          "modalities": ["s2_l1c"], "scenes": [0, 0.5]}, "allowed none of eurosat; of sen12ms, dfc2020"),
    ],
)  # fmt: skip
def test_a_part_that_cannot_be(repository, home, change, said):
    content = read_yaml(repository / "studies/sscl.yaml")
    content["collections"][0] = content["collections"][0] | change
    with pytest.raises(TerraprobeError) as error:
        parse_study(content, "sscl.yaml")
    assert said in str(error.value)
