"""What a study may say of fair comparisons: budgets that encoders share, and a reference that they are held against."""

import pytest
import yaml

from terraprobe.errors import TerraprobeError
from terraprobe.study import load_study, parse_study
from terraprobe.study.budgets import budgeted, compute_recipe, counted_encoders


@pytest.fixture
def content(repository):
    return yaml.safe_load((repository / "studies/compare_small.yaml").read_text())


def entry(content, name):
    return next(e for e in content["encoders"] if e["name"] == name)


def test_both_budgets_and_the_reference_are_compared(content):
    study = parse_study(content, "s")
    (evaluation,) = study.forests
    assert "scratch" in study.arms(evaluation) and "unifeat" not in study.arms(evaluation)
    for budget in ("chips", "compute"):
        methods = [e.method for e in budgeted(study, evaluation, budget)]
        assert sorted(methods) == ["bioclim", "bioclim", "clip3", "rsbyol", "sscl"]
    assert not {"budgets", "reference"} & {*study.pretrain_recipe("bioclim"), *evaluation.forest_recipe()}


def test_what_a_training_started_from_is_counted_with_it(content):
    chains = compute_recipe(parse_study(content, "s"))["encoders"]
    assert chains["sscl_chips"] == ["unifeat", "sscl_chips"] and chains["scratch"] == ["scratch"]
    assert "unifeat" in counted_encoders(parse_study(content, "s")) and "unifeat" not in chains


def test_a_study_without_budgets_counts_nothing(study_content):
    assert counted_encoders(parse_study(study_content, "s")) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("clip3_chips", {"budgets": ["hours"]}, "budgets"),
        ("clip3_chips", {"budgets": ["chips", "chips"]}, "each name once"),
        ("clip3_chips", {"seeds": [0, 1]}, "seeds: found"),
        ("scratch", {"method": "bioclim", "label": "", "recipe": {}}, "reference: found 'scratch', allowed"),
    ],
)
def test_a_budget_is_the_same_chips_and_seeds(content, name, change, said):
    entry(content, name).update(change)
    with pytest.raises(TerraprobeError, match=said):
        parse_study(content, "s")


def test_a_budget_of_one_encoder_alone_compares_nothing(content):
    for e in content["encoders"]:
        if e["name"] != "clip3_compute" and "compute" in e.get("budgets", ()):
            e["budgets"] = [b for b in e["budgets"] if b != "compute"]
    with pytest.raises(
        TerraprobeError, match=r"clip3_compute alone has the budget compute in landcover; allowed: none"
    ):
        parse_study(content, "s")


def test_encoders_of_other_chips_share_no_budget(content):
    content["collections"].append({**content["collections"][0], "name": "other"})
    entry(content, "clip3_chips")["collections"] = ["other"]
    with pytest.raises(TerraprobeError, match=r"collections: found \['land'\], allowed \['other'\], as clip3_chips"):
        parse_study(content, "s")


def test_the_full_comparison_is_the_small_one_at_full_size(repository, content):
    small, full = parse_study(content, "s"), load_study(repository / "studies/compare.yaml")
    named = [[(e.name, e.method, e.budgets, e.start) for e in study.encoders] for study in (small, full)]
    assert named[0] == named[1]
    assert all([m.seed for m in e.members] == [0, 1, 2] for e in full.encoders)
    (evaluation,) = full.forests
    assert full.can_embed(full.encoder("bioclim_cbn_s0"), full.collection(evaluation.collection))
