"""One entry for several collections (`each`), arms, and pools of evaluations by heads."""

from pathlib import Path

import pytest
import yaml

from terraprobe.errors import TerraprobeError
from terraprobe.report.recipe import report_recipe
from terraprobe.study import parse_study

MINI = Path(__file__).parent / "studies/mini_pools.yaml"
AUTO = {"name": "auto", "method": "bioclim", "collections": ["east"], "recipe": {"width": 8, "blocks": [1, 1]}}
FOREST = {"name": "cover", "probe": "forest", "collection": "east", "tasks": ["croplands"]}


@pytest.fixture
def content():
    """The mini study: `plain` and `cbn`, each trained and judged on `east` and `west`."""
    return yaml.safe_load(MINI.read_text())


def parsed(content):
    return parse_study(content, "study.yaml")


def refusal(content):
    with pytest.raises(TerraprobeError) as caught:
        parsed(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one_by_one(content):
    """The study with its entries written out, without `each`."""
    encoders = [
        {k: v for k, v in e.items() if k != "each"} | {"name": f"{e['name']}_{c}", "collections": [c], "arm": e["name"]}
        for e in content["encoders"]
        for c in e["each"]
    ]
    (heads,) = content["evaluations"]
    evaluations = [
        {k: v for k, v in heads.items() if k != "each"} | {"name": f"heads_{c}", "collection": c} for c in heads["each"]
    ]
    return content | {"encoders": encoders, "evaluations": evaluations}


def with_forests(content):
    """Beside the heads: an autoencoder, and two evaluations of it by forests."""
    content["encoders"].append(dict(AUTO))
    content["evaluations"] += [dict(FOREST), FOREST | {"name": "again"}]
    return content


def put(content, where, value):
    for key in where[:-1]:
        content = content[key]
    content[where[-1]] = value


def test_each_is_short_for_an_entry_a_collection(content):
    study = parsed(content)
    assert study == parsed(one_by_one(content))
    assert [(e.name, e.arm, e.collections) for e in study.encoders] == [
        ("plain_east", "plain", ["east"]),
        ("plain_west", "plain", ["west"]),
        ("cbn_east", "cbn", ["east"]),
        ("cbn_west", "cbn", ["west"]),
    ]
    assert [(e.name, e.collection) for e in study.evaluations] == [("heads_east", "east"), ("heads_west", "west")]
    assert study.judged(study.classification("heads_west")) == ["plain_west", "cbn_west"]


def test_the_content_that_was_given_stays_as_it_is(content):
    before = yaml.safe_dump(content)
    parsed(content)
    assert yaml.safe_dump(content) == before


def test_an_arm_is_no_part_of_what_is_pretrained(content):
    told = parsed(content).pretrain_recipe("cbn_west")
    assert "arm" not in told
    content["encoders"][1]["arm"] = "other"
    study = parsed(content)
    assert [e.arm for e in study.encoders] == ["plain", "plain", "other", "other"]
    assert study.pretrain_recipe("cbn_west") == told


def test_seeds_of_a_spread_entry_are_an_arm_too(content):
    content["encoders"][0]["seeds"] = [0, 1]
    study = parsed(content)
    assert [m.name for m in study.members[:4]] == ["plain_east_s0", "plain_east_s1", "plain_west_s0", "plain_west_s1"]
    assert study.class_pool_recipe("both")["entries"]["plain_west"] == "plain"


def test_a_start_that_is_spread_is_that_of_the_same_collection(content):
    start = {k: v for k, v in AUTO.items() if k != "collections"}
    content["encoders"].append(start | {"each": ["east", "west"]})
    content["encoders"][0]["start"] = "auto"
    study = parsed(content)
    assert [study.start_of(f"plain_{c}") for c in ("east", "west")] == ["auto_east", "auto_west"]
    assert study.seen_by("plain_west") == ["west"]


def test_a_start_that_is_not_spread_is_that_one(content):
    content["encoders"].append(dict(AUTO))
    content["encoders"][0]["start"] = "auto"
    study = parsed(content)
    assert [study.start_of(f"plain_{c}") for c in ("east", "west")] == ["auto", "auto"]
    assert study.seen_by("plain_west") == ["west", "east"]


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (("encoders", 0, "collections"), ["east"], "encoders[0]: found collections beside each, allowed: one of the"),
        (("evaluations", 0, "collection"), "east", "evaluations[0]: found collection beside each, allowed: one of"),
        (("encoders", 0, "each"), [], "encoders[0].each: found [], allowed a list of names of collections"),
        (("encoders", 1, "each"), "east", "encoders[1].each: found 'east', allowed a list of names of collections"),
        (("evaluations", 0, "each"), [1], "evaluations[0].each: found [1], allowed a list of names of collections"),
        (("encoders", 0, "each"), ["east", "sea"], "encoders[plain_sea].collections: found 'sea', allowed east, west"),
        (("evaluations", 0, "each"), ["east", "sea"], "evaluations[heads_sea].collection: found 'sea', allowed east"),
        (("encoders", 0, "each"), ["east", "east"], "encoders: name 'plain_east' is given twice"),
        (("encoders", 0, "name"), "a" * 36, f"found '{'a' * 36}_east', allowed: at most 40 characters"),
        (("evaluations", 0, "name"), "a" * 36, f"found '{'a' * 36}_east', allowed: at most 40 characters"),
        (("encoders", 0, "name"), None, "encoders[0].name: found None, allowed a name"),
        (("encoders", 0, "name"), ["plain"], "encoders[0].name: found ['plain'], allowed a name"),
        (("encoders", 0, "name"), "majority", "arm: found 'majority', allowed any other name: floors go by that one"),
        (("encoders", 0, "arm"), "Plain", "arm: found 'Plain', allowed"),
        (("pools", 0, "each"), ["east"], "pools[0].each: unknown key; allowed name, evaluations, margin"),
    ],
)  # fmt: skip
def test_each_bad_entry_is_one_sentence(content, where, value, words):
    put(content, where, value)
    with pytest.raises(TerraprobeError) as caught:
        parsed(content)
    lines = str(caught.value).split("\n")
    assert words in str(caught.value)
    # What is wrong with every entry that one was spread to is said of each of them.
    assert len(lines) == 1 or len(lines) == 1 + len(content["encoders"][0]["each"])


def test_an_entry_of_each_without_a_name(content):
    del content["evaluations"][0]["name"]
    assert "evaluations[0].name: found None, allowed a name, which those of each are put behind" in refusal(content)


def test_what_a_pool_of_heads_is_told(content):
    content["evaluations"][0].update(seed=7, resamples=300)
    entries = {"plain_east": "plain", "cbn_east": "cbn", "plain_west": "plain", "cbn_west": "cbn"}
    study = parsed(content)
    assert study.class_pool_recipe("both") == {
        "pool": "both",
        "evaluations": ["heads_east", "heads_west"],
        "arms": ["plain", "cbn"],
        "entries": entries,
        "margin": 0.1,
        "resamples": 300,
        "seed": 7,
    }
    assert study.summary_recipe()["pools"] == []


def test_entries_without_an_arm_are_their_own(content):
    content = one_by_one(content)
    for entry in content["encoders"]:
        del entry["arm"]
    found = refusal(content)
    assert "pools[both].evaluations: heads_west compares the arms plain_west, cbn_west and heads_east compares" in found
    assert "allowed: evaluations of the same arms (key arm, or each)" in found


def test_a_pool_of_heads_compares_the_same_arms(content):
    content["evaluations"] = one_by_one(content)["evaluations"]
    content["evaluations"][1]["encoders"] = ["plain_west"]
    assert "heads_west compares the arms plain and heads_east compares plain, cbn; allowed" in refusal(content)


def test_a_pool_of_heads_holds_an_arm_once(content):
    content["encoders"][1]["arm"] = "plain"
    assert "pools[both].evaluations: arms of heads_east: found ['plain', 'plain'], allowed: each" in refusal(content)


def test_a_pool_of_heads_holds_a_collection_once(content):
    content["evaluations"].append({**one_by_one(content)["evaluations"][0], "name": "again"})
    content["pools"][0]["evaluations"] = ["heads_east", "again"]
    assert "pools[both].evaluations: their collections: found ['east', 'east'], allowed: each name" in refusal(content)


def test_a_pool_of_heads_judges_one_label(content):
    content = one_by_one(content)
    for entry in (*content["encoders"], *content["evaluations"]):
        if "west" in entry["name"]:
            entry["label"] = "worldcover_classes"
    assert "heads_west judges worldcover_classes and heads_east worldcover_class, allowed one label" in (
        refusal(content)
    )


@pytest.mark.parametrize(
    ("evaluations", "words"),
    [
        (["heads_east", "cover"], "found 'cover', allowed (by the encoders' own heads, like the first) heads_east, he"),
        (["cover", "heads_east"], "found 'heads_east', allowed (by forests, like the first) cover, again"),
        (["heads_east", "gone"], "found 'gone', allowed (by the encoders' own heads, like the first) heads_east"),
        (["gone", "heads_east"], "found 'gone', allowed cover, again, heads_east, heads_west"),
        (["heads_east", "heads_east"], "found ['heads_east', 'heads_east'], allowed: each name once"),
    ],
)  # fmt: skip
def test_a_pool_is_of_forests_or_of_heads(content, evaluations, words):
    with_forests(content)["pools"][0] = {"name": "both", "evaluations": evaluations}
    assert f"pools[both].evaluations: {words}" in refusal(content)


def test_forests_know_no_margin(content):
    with_forests(content)["pools"].append({"name": "trees", "evaluations": ["cover", "again"]})
    study = parsed(content)
    assert study.summary_recipe()["pools"] == [{"name": "trees", "evaluations": ["cover", "again"]}]
    assert [study.of_heads(pool) for pool in study.pools] == [True, False]
    content["pools"][1]["margin"] = 0.02
    assert refusal(content) == (
        "study.yaml: pools[trees].margin: found 0.02, allowed none: pools of forests call nothing equal"
    )


@pytest.mark.parametrize("margin", [0, -0.1, 1])
def test_a_margin_lies_between_0_and_1(content, margin):
    content["pools"][0]["margin"] = margin
    assert f"pools[0].margin: found {margin}, allowed: " in refusal(content)


def test_of_a_pool_the_first_evaluation_is_pictured(content):
    study = parsed(content)
    assert [e.name for e in study.pictured] == ["heads_east"]
    assert [note.pictured for note in report_recipe(study).classifications] == [True, False]
    assert study.drawn_of("east") == study.embedding_of("east") == ["plain_east", "cbn_east"]
    assert study.drawn_of("west") == study.embedding_of("west") == []
    content["pools"].append({"name": "back", "evaluations": ["heads_west", "heads_east"]})
    assert [e.name for e in parsed(content).pictured] == ["heads_east", "heads_west"]
    content["pools"] = []
    study = parsed(content)
    assert [e.name for e in study.pictured] == ["heads_east", "heads_west"]
    assert study.drawn_of("west") == ["plain_west", "cbn_west"]


def test_what_forests_read_is_embedded_and_drawn_beside_a_pool_of_heads(content):
    content["encoders"].append(AUTO | {"seeds": [0, 1]})
    content["evaluations"].append(FOREST | {"collection": "west"})
    study = parsed(content)
    assert study.drawn_of("west") == ["plain_west", "cbn_west", "auto_s0"]
    assert study.embedding_of("west") == ["plain_west", "cbn_west", "auto_s0", "auto_s1"]


def test_seeds_that_nothing_judges_or_draws_are_not_embedded(content):
    content["encoders"][0]["seeds"] = [0, 1]
    study = parsed(content)
    assert study.embedding_of("east") == ["plain_east_s0", "cbn_east"]
    assert "plain_east_s1" in study.encoders_of("east")


def test_the_report_is_told_of_pools_of_heads_apart(content):
    with_forests(content)["pools"].append({"name": "trees", "evaluations": ["cover", "again"]})
    recipe = report_recipe(parsed(content))
    (pool,) = recipe.class_pools
    assert (pool.name, pool.kind, pool.margin) == ("both", "simulated", 0.1)
    assert pool.evaluations == ("heads_east", "heads_west")
    assert [note.name for note in recipe.pools] == ["trees"]
