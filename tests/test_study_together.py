"""Several studies as one: what is here runs, what is not stands in the ledger with its reason, or stops the run."""

import copy

import pandas as pd
import pytest
import yaml

from archive_tree import fake_scenes
from terraprobe.cli import main
from terraprobe.errors import TerraprobeError
from terraprobe.ledger.notes import ledger_recipe
from terraprobe.ledger.scores import Trained
from terraprobe.ledger.verdicts import Desk
from terraprobe.study import load_study, parse_study
from terraprobe.study.together import StudyList, put_together

ARCHIVE = {"name": "towns", "kind": "archive", "archive": "eurosat", "path": "gone", "modalities": ["s2_l1c"],
           "split": {"kind": "stratified"}}  # fmt: skip
LIST = {"study": "both", "studies": ["one.yaml", "two.yaml"], "papers": ["clip3", "bioclim"]}


@pytest.fixture
def one(study_content):
    """A study that runs anywhere, called as its paper."""
    study_content["study"] = "clip3"
    return study_content


@pytest.fixture
def two(one):
    """One whose archive is absent, beside a collection that is there."""
    other = copy.deepcopy(one) | {"study": "bioclim"}
    other["collections"] = [*other["collections"][:1], ARCHIVE]
    auto = {"name": "auto", "method": "bioclim", "collections": ["towns"]}
    other["encoders"].append(auto)
    other["encoders"].append({**auto, "name": "from_auto", "method": "bioclim_supervised", "label": "eurosat_class",
                              "start": "auto"})  # fmt: skip
    other["evaluations"].append({"name": "images", "probe": "reconstruction", "collection": "towns"})
    other["evaluations"].append({"name": "heads", "probe": "classifier", "collection": "towns",
                                 "label": "eurosat_class"})  # fmt: skip
    return other


def together(one, two, **more):
    return put_together(StudyList(**LIST, **more), [("one.yaml", one), ("two.yaml", two)])


def test_what_is_here_stays_and_the_rest_is_told_with_its_reason(one, two):
    study = parse_study(together(one, two), "both.yaml")
    assert [c.name for c in study.collections] == ["clip3_land", "bioclim_land"]
    assert [e.name for e in study.encoders] == ["clip3_clip3_land", "bioclim_clip3_land"]
    assert [e.name for e in study.evaluations] == ["clip3_cover", "bioclim_cover"]
    assert list(study.left_out) == ["bioclim"]
    assert study.left_out["bioclim"][0].startswith("towns: path: ")
    assert len(study.left_out["bioclim"]) == 1


def test_all_means_the_encoders_of_the_own_study(one, two):
    study = parse_study(together(one, two), "both.yaml")
    assert list(study.arms(study.evaluation("clip3_cover"))) == ["clip3_clip3_land"]
    assert study.encoders_of("bioclim_land") == ["bioclim_clip3_land"]
    assert "group" not in study.pretrain_recipe("clip3_clip3_land")


def test_the_ledger_says_why_a_paper_did_not_run(one, two):
    recipe = ledger_recipe(parse_study(together(one, two), "both.yaml"))
    desk = Desk(recipe, Trained({}, {}), pd.DataFrame(), pd.DataFrame())
    assert "not here: towns: path: " in desk.absent("bioclim")
    assert desk.absent("clip3") == "no such arm and score in this study"


def test_a_study_alone_has_nothing_of_it(study_content):
    study = parse_study(study_content, "s.yaml")
    assert ledger_recipe(study).left_out == {}
    assert study.collection("land").group == ""


@pytest.mark.parametrize("strict", [True, "true", "True"])
def test_strict_stops(one, two, strict):
    with pytest.raises(TerraprobeError, match=r"strict: these cannot run here:\s+bioclim: towns: path: "):
        together(one, two, strict=strict)
    assert together(one, copy.deepcopy(one) | {"study": "bioclim"}, strict=strict)["left_out"] == {}


def test_weights_that_are_absent_take_their_encoder_and_what_starts_from_it(one, two):
    weights = {"file": "gone.pth", "layout": "byol"}
    single = {"views": "rsbyol1_ms", "towers": {"ms": {"modality": "s2_rgb_monthly"}}}
    entry = {"name": "net", "method": "rsbyol", "collections": ["land"], "recipe": single}
    later = {"file": "results/clip3/encoders/net_s0/encoder.safetensors", "layout": "terraprobe"}
    one["encoders"] += [{**entry, "seeds": [0], "weights": weights}, {**entry, "name": "later", "weights": later}]
    made = together(one, two)
    assert [e["name"] for e in made["encoders"]] == ["clip3_clip3_land", "bioclim_clip3_land"]
    assert made["left_out"]["clip3"] == ["net: weights gone.pth are absent; download and put them there"]
    del one["encoders"][1]["weights"]
    named = {e["name"]: e for e in together(one, two)["encoders"]}
    assert named["clip3_later"]["weights"]["file"] == "results/both/encoders/clip3_net_s0/encoder.safetensors"


def test_a_reference_keeps_its_name_or_goes_with_its_encoder(one, two):
    land = next(c["name"] for c in one["collections"])
    scratch = {"name": "scratch", "method": "bioclim_supervised", "collections": [land], "label": "worldcover_class",
               "recipe": {"towers": {"s2": {"modality": "s2_rgb_monthly"}}, "stem_px": 1}}  # fmt: skip
    one["encoders"].append(scratch)
    one["evaluations"][0]["reference"] = "scratch"
    study = parse_study(together(one, two), "both.yaml")
    assert study.evaluation("clip3_cover").reference == "clip3_scratch"
    scratch |= {"weights": {"file": "gone.pth", "layout": "byol"}}
    made = together(one, two)
    assert next(e for e in made["evaluations"] if e["name"] == "clip3_cover")["reference"] == ""


def test_lists_that_cannot_be(one, two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TerraprobeError, match=r"s.yaml: collections: unknown key; allowed study, title, studies"):
        parse_study({**LIST, "collections": []}, "s.yaml")
    with pytest.raises(TerraprobeError, match=r"two.yaml: found study 'clip3', allowed a name that no other"):
        together(one, one)
    with pytest.raises(TerraprobeError, match=r"s.yaml: studies: found 'one.yaml', allowed: "):
        parse_study({**LIST, "studies": "one.yaml"}, "s.yaml")
    with pytest.raises(TerraprobeError, match=r"s.yaml: one.yaml: cannot be read"):
        parse_study(LIST, "s.yaml")
    two["encoders"], two["evaluations"] = two["encoders"][1:], two["evaluations"][1:]
    with pytest.raises(TerraprobeError, match=r"studies: none of them can run here:\s+bioclim: towns"):
        put_together(StudyList(**LIST | {"papers": []}), [("two.yaml", two)])
    made = put_together(StudyList(**LIST), [("two.yaml", two)])
    assert parse_study(made, "s.yaml").left_out["bioclim"] and not made["collections"]


def test_papers_take_what_is_unpacked(repository, tmp_path, monkeypatch, capsys):
    """Archives of rsbyol and sscl are here, no account and no weights: the rest is told."""
    fake_scenes(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").symlink_to(repository / "studies")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "EARTHDATA_TOKEN", "EARTHENGINE_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    file = tmp_path / "studies/papers.yaml"
    study = load_study(file)
    groups = {c.group for c in study.collections}
    assert {"rsbyol", "sscl"} <= groups and "clip3" not in groups
    assert "Earth Engine" in " ".join(study.left_out["clip3"])
    assert main(["check-study", str(file)]) == 0
    assert "not run: clip3: " in capsys.readouterr().out
    strict = yaml.safe_load(file.read_text()) | {"strict": True}
    with pytest.raises(TerraprobeError, match="strict: these cannot run here"):
        parse_study(strict, "papers.yaml")
