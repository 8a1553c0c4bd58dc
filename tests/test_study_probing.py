"""What a study says of probes band by band: what fits, what the stages are told, and what is refused."""

from pathlib import Path

import pytest
import yaml

from terraprobe.errors import TerraprobeError
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study
from terraprobe.study.probed import (
    attributed_by,
    band_attribution_recipe,
    band_projection_recipe,
    drawn_by,
    mlp_pool_recipe,
    mlp_recipe,
    mlp_scores_recipe,
)

MINI = Path(__file__).parent / "studies/mini_mlp.yaml"


@pytest.fixture
def content():
    """Two arms of two seeds, probed in each of two worlds; a pool of both."""
    return yaml.safe_load(MINI.read_text())


def parsed(content):
    return parse_study(content, "study.yaml")


def test_what_the_stages_are_told(content):
    study = parsed(content)
    told = mlp_recipe(study, "bands_east")
    assert told["sizes"] == [40, 0] and told["random_inits"] == 1 and told["classes"][0] == "tree"
    assert not {"encoders", "arms", "resamples", "roc", "cam", "cam_classes"} & set(
        told
    )  # none of them trains anything again
    scores = mlp_scores_recipe(study, "bands_west")
    # pairs, since keys are sorted on their way to a stage
    assert scores["arms"] == [(name, [f"{name}_s0", f"{name}_s1"]) for name in ("tiny_west", "narrow_west")]
    pool = mlp_pool_recipe(study, "both")
    assert pool["entries"] == {f"{arm}_{c}": arm for arm in ("tiny", "narrow") for c in ("east", "west")}
    assert (pool["margin"], pool["pool"]) == (0.1, "both")


def test_all_are_those_that_learnt_without_labels(content):
    recipe = {"towers": {"all": {"modality": "s2_rgb_monthly"}}, "width": 8, "blocks": [1, 1]}
    supervised = {"name": "plain", "method": "bioclim_supervised", "collections": ["east"], "label": "worldcover_class"}
    content["encoders"].append({**supervised, "recipe": recipe})
    content["evaluations"][0]["encoders"] = "all"
    content["pools"] = []
    assert list(parsed(content).arms(parsed(content).mlp_probe("bands_east"))) == [
        "tiny_east", "tiny_west", "narrow_east", "narrow_west",
    ]  # fmt: skip
    content["evaluations"][0]["encoders"] = ["plain", "tiny_east"]  # by name it may be probed too
    assert "plain" in parsed(content).arms(parsed(content).mlp_probe("bands_east"))


def test_a_probe_embeds_by_itself_and_of_a_pool_the_first_collection_is_drawn(content):
    study = parsed(content)
    assert study.embedding_of("east") == ["tiny_east_s0", "narrow_east_s0"]  # pictures alone
    assert study.embedding_of("west") == []
    assert study.summary_recipe()["pools"] == []


def test_single_bands_are_drawn_of_the_first_seeds_and_of_a_pool_in_its_first_evaluation(content):
    rsbyol = {"name": "pairs", "method": "rsbyol", "each": ["east", "west"], "seeds": [3, 4]}
    towers = {"ms": {"modality": "s2_rgb_monthly"}, "sar": {"modality": "s1_grd_monthly", "bands": ["m1_VV", "m1_VH"]}}
    content["encoders"].append({**rsbyol, "recipe": {"towers": towers}})
    content["encoders"].append({"name": "start", "method": "rsbyol", "collections": ["east"],
                                "recipe": {"towers": towers, "epochs": 0}})  # fmt: skip
    for evaluation, world in zip(content["evaluations"], ("east", "west"), strict=True):
        evaluation["encoders"].append(f"pairs_{world}")
    first = content["evaluations"][0]
    first |= {"roc": ["m1_B04"], "cam": ["m1_VV"], "cam_classes": ["water"], "seed": 5}
    study = parsed(content)
    assert [e.name for e in study.pictured_mlps] == ["bands_east"]
    assert drawn_by(study, "bands_east") == ["tiny_east_s0", "narrow_east_s0", "pairs_east_s3"]
    assert attributed_by(study, "bands_east") == ["pairs_east_s3"]  # a ViT has no full gradients
    assert study.augmented == ["pairs_east_s3"]  # what is not trained augments nothing
    assert band_projection_recipe(study, "bands_east") == {
        "evaluation": "bands_east", "collection": "east", "views": ["m1_B04"], "max_points": 40,
    }  # fmt: skip
    assert band_attribution_recipe(study, "bands_east") == {
        "evaluation": "bands_east", "collection": "east", "label": "worldcover_class", "views": ["m1_VV"],
        "drawn": ["water"], "seed": 5,
    }  # fmt: skip


def test_the_report_is_told(content):
    recipe = report_recipe(parsed(content))
    assert [(n.name, n.title, n.simulated) for n in recipe.mlp_probes] == [
        ("bands_east", "Worldcover class band by band on East", True),
        ("bands_west", "Worldcover class band by band on West", True),
    ]
    assert [(n.name, n.margin) for n in recipe.mlp_pools] == [("both", 0.1)]
    assert recipe.pools == recipe.class_pools == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "croplands"}, "label: found 'croplands', allowed (one class a chip of east) worldcover_class"),
        ({"label": "worldcover_classes"}, "label: found 'worldcover_classes', allowed (one class a chip of east)"),
        ({"collection": "sea"}, "collection: found 'sea', allowed east, west"),
        ({"encoders": ["tiny"]}, "encoders: found 'tiny', allowed (can embed east) tiny_east, tiny_west"),
        ({"encoders": []}, "encoders: no encoder can embed east and learnt without labels"),
        ({"roc": ["m1_B04+B99"]}, "roc: found 'B99', allowed (bands that the encoders see) m1_B02"),
        ({"cam": ["B99"]}, "cam: found 'B99', allowed (bands that the encoders see) m1_B02"),
        ({"cam_classes": ["lava"]}, "cam_classes: found 'lava', allowed (classes of worldcover_class) tree"),
        ({"sizes": [10, 10]}, "sizes: found [10, 10], allowed: each name once"),
        ({"sizes": [1]}, "sizes"),
        ({"lrs": [0]}, "lrs"),
        ({"hidden": 64}, "hidden: unknown key"),
    ],
)
def test_what_does_not_fit_is_one_sentence(content, change, words):
    content["evaluations"][0] |= change
    with pytest.raises(TerraprobeError) as caught:
        parsed(content)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoders": ["tiny_west"]}, "bands_west compares the arms tiny and bands_east compares tiny, narrow"),
        ({"sizes": [40]}, "bands_west has sizes [40] and bands_east [40, 'full'], allowed the same"),
        ({"resamples": 100}, "bands_west has resamples 100 and bands_east 200, allowed the same"),
        ({"collection": "east"}, "their collections: found ['east', 'east'], allowed: each name once"),
    ],
)
def test_a_pool_is_of_probes_done_alike(content, change, words):
    content["evaluations"][1] |= change
    with pytest.raises(TerraprobeError) as caught:
        parsed(content)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_pool_is_of_one_kind(content):
    forest = {"name": "cover", "probe": "forest", "collection": "east", "tasks": ["croplands"]}
    content["evaluations"].append(forest)
    for names in (["bands_east", "cover"], ["cover", "bands_east"]):
        content["pools"][0] = {"name": "both", "evaluations": names}
        with pytest.raises(TerraprobeError, match="like the first"):
            parsed(content)
