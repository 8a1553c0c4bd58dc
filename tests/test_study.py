"""A study file that cannot work fails before the first job, with the key, what was found and what is allowed."""

from typing import Any

import pytest
import yaml

from archive_tree import fake_scenes
from terraprobe.cli import main
from terraprobe.errors import TerraprobeError
from terraprobe.study import load_study, parse_study


def put(content: Any, place: tuple[int | str, ...], value: Any) -> None:
    """Set one value of a nested study."""
    for part in place[:-1]:
        content = content[part]
    content[place[-1]] = value


def refusal(content: Any) -> str:
    """What a study that does not fit is told, without the file name."""
    with pytest.raises(TerraprobeError) as error:
        parse_study(content, "mini.yaml")
    text = str(error.value)
    assert text.startswith("mini.yaml: ")
    return text.removeprefix("mini.yaml: ")


def test_the_quickstart_fits(repository, capsys):
    study = load_study(repository / "config.yaml")
    assert study.study == "quickstart"
    assert main(["check-study", str(repository / "config.yaml")]) == 0
    assert "quickstart: " in capsys.readouterr().out


def test_every_shipped_study_fits(repository, tmp_path, monkeypatch):
    fake_scenes(tmp_path)  # what the full-size studies ask their reader to unpack
    (tmp_path / "resources/aois").symlink_to(repository / "resources/aois")
    (tmp_path / "studies").symlink_to(repository / "studies")
    monkeypatch.chdir(tmp_path)
    shipped = [repository / "config.yaml", *(repository / "studies").glob("*.yaml")]
    studies = [load_study(path).study for path in shipped]
    assert studies[0] == "quickstart"
    assert len(set(studies)) == len(studies), "results of two studies would land in one folder"


def test_the_mini_study_fits(study_content):
    study = parse_study(study_content, "mini.yaml")
    assert study.collection("land").shard_names == ["000", "001"]
    assert study.collection("land").places == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert study.encoders_of("land") == ["clip3_land"]
    assert study.encoders_of("shore") == []
    assert study.judged(study.evaluation("cover")) == ["clip3_land"]


def test_an_evaluation_key_is_no_part_of_what_pretraining_needs(study_content):
    before = parse_study(study_content, "mini.yaml").pretrain_recipe("clip3_land")
    put(study_content, ("evaluations", 0, "repeats"), 7)
    assert parse_study(study_content, "mini.yaml").pretrain_recipe("clip3_land") == before


@pytest.mark.parametrize("shards", [1, 3, 10])
def test_every_place_is_in_one_shard(study_content, shards):
    put(study_content, ("collections", 0, "shards"), shards)
    places = parse_study(study_content, "mini.yaml").collection("land").places
    assert len(places) == shards
    assert sorted(p for shard in places for p in shard) == list(range(10))


@pytest.mark.parametrize(
    ("place", "key", "allowed"),
    [
        (("tpyo",), "tpyo", ["study", "collections", "evaluations"]),
        (("collections", 0, "tpyo"), "collections[0].tpyo", ["modalities", "chip_px", "world", "shards"]),
        (("collections", 1, "tpyo"), "collections[1].tpyo", ["modalities", "chip_px", "scene", "block_chips"]),
        (("collections", 0, "split", "tpyo"), "collections[0].split.tpyo", ["n_bands", "pattern", "buffer_m"]),
        (("collections", 1, "split", "tpyo"), "collections[1].split.tpyo", ["shares"]),
        (("collections", 1, "split", "shares", "tpyo"), "collections[1].split.shares.tpyo", ["train", "val", "test"]),
        (("collections", 0, "world", "tpyo"), "collections[0].world.tpyo", ["n_places", "place_px", "cloud_share"]),
        (("encoders", 0, "tpyo"), "encoders[0].tpyo", ["method", "collections", "recipe"]),
        (("encoders", 0, "recipe", "tpyo"), "encoders[0].recipe.tpyo", ["towers", "patch_px"]),
        (("encoders", 0, "recipe", "towers", "s2", "tpyo"), "encoders[0].recipe.towers.s2.tpyo", ["modality", "bands"]),
        (("evaluations", 0, "tpyo"), "evaluations[0].tpyo", ["probe", "collection", "tasks", "sizes"]),
    ],
)
def test_an_unknown_key_at_any_level(study_content, place, key, allowed):
    put(study_content, place, 1)
    start, _, keys = refusal(study_content).partition("; allowed ")
    assert start == f"{key}: unknown key"
    assert set(allowed) <= set(keys.split(", "))


@pytest.mark.parametrize(
    ("place", "value", "key", "allowed"),
    [
        (("collections", 0, "kind"), "nope", "collections[0].kind", "scene, simulated"),
        (("collections", 1, "scene"), "nope", "collections[1].scene", "virginia, havelland"),
        (("collections", 0, "modalities"), ["nope"], "collections[0].modalities", "s1_grd_monthly"),
        (("collections", 0, "labels"), ["nope"], "collections[0].labels", "worldcover"),
        (("collections", 1, "modalities"), ["s1_grd"], "collections[1].modalities", "(of scene virginia) s2_l1c"),
        (("collections", 1, "labels"), ["osm"], "collections[1].labels", "(of scene virginia) none here"),
        (("collections", 0, "modalities"), ["s2_l2a"], "collections[0].modalities", "(simulated) s2_rgb_monthly"),
        (("collections", 0, "split", "kind"), "nope", "collections[0].split.kind", "geobands, stratified, blocks"),
        (("collections", 0, "split", "pattern"), ["train", "val", "nope"], "collections[0].split.pattern[2]", "'test'"),
        (("encoders", 0, "method"), "nope", "encoders[0].method", "clip3"),
        (("encoders", 0, "collections"), ["nope"], "encoders[clip3_land].collections", "land, shore"),
        (
            ("encoders", 0, "recipe", "towers", "s2", "modality"),
            "nope",
            "encoders[0].recipe.towers.s2.modality",
            "s2_rgb_monthly",
        ),
        (
            ("encoders", 0, "recipe", "towers", "s2", "modality"),
            "s2_l1c",
            "encoders[clip3_land].recipe.towers[s2].modality",
            "(in land) s",
        ),
        (("encoders", 0, "recipe", "towers", "s2", "bands"), ["B99"], "encoders[0].recipe.towers.s2.bands", "m1_B04"),
        (("evaluations", 0, "collection"), "nope", "evaluations[cover].collection", "land, shore"),
        (("evaluations", 0, "encoders"), ["nope"], "evaluations[cover].encoders", "(can embed land) clip3_land"),
        (("evaluations", 0, "tasks"), ["nope"], "evaluations[cover].tasks", "(labels of land) vegetation"),
        (("evaluations", 0, "probe"), "nope", "evaluations[0].probe", "forest, classifier"),
        (("evaluations", 0, "sizes"), [4, "ful"], "evaluations[0].sizes[1]", "'full'"),
        (("evaluations", 0, "draw"), "nope", "evaluations[0].draw", "'uniform' or 'stratified'"),
        (("embedding_channels",), "nope", "embedding_channels", "'mean' or 'random'"),
    ],
)
def test_an_unknown_name(study_content, place, value, key, allowed):
    put(study_content, place, value)
    text = refusal(study_content)
    assert text.startswith(f"{key}: found ")
    found = value[-1] if isinstance(value, list) else value
    assert repr(found) in text
    assert allowed in text.partition("allowed")[2]
    assert "\n" not in text


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (
            ("collections", 1, "split", "shares"),
            {"train": 0.5, "val": 0.2, "test": 0.2},
            ["collections[1].split.shares: ", "train 0.5", "0.9", "must sum to 1"],
        ),
        (("collections", 1, "split", "shares"), {"train": 0.7}, ["1.1", "must sum to 1"]),
        (("collections", 1, "chip_px"), 11, ["collections[1].chip_px: 11 (110 m)", "s2_l1c", "chip_px >= 12"]),
        (("collections", 0, "chip_px"), 128, ["collections[0].chip_px: 128", "world.place_px 64"]),
        (("collections", 0, "chip_px"), "big", ["collections[0].chip_px: found 'big'", "integer"]),
        (("collections", 0, "chip_px"), 4, ["collections[0].chip_px: found 4", "greater than or equal to 8"]),
        (("encoders", 0, "recipe", "patch_px"), 7, ["encoders[clip3_land].recipe", "patch_px 7", "32 px"]),
        (("encoders", 0, "collections"), ["land", "shore"], ["encoders[clip3_land].collections", "[32, 64] px"]),
        (("collections", 0, "shards"), 11, ["collections[0].shards: 11", "n_places = 10"]),
        (("collections", 0, "split", "n_bands"), 3, ["collections[0].split: ", "over 3 bands", "at least"]),
        (("collections", 0, "split", "buffer_m"), -1, ["collections[0].split.buffer_m: found -1"]),
        (("collections", 0, "split"), {"kind": "blocks", "side_km": 0}, ["collections[0].split.side_km: found 0"]),
        (("collections", 1, "split"), {"kind": "blocks"}, ["collections[1].split.side_km: none given", "no labels"]),
        (
            ("collections", 0, "split"),
            {"kind": "official", "file": "list.csv"},
            ["collections[0].split.kind: official", "one source", "allowed geobands, stratified, blocks"],
        ),
        (("collections", 0, "split", "pattern"), ["train", "test"], ["collections[0].split: ", "train, val and test"]),
        (("collections", 1, "name"), "land", ["collections: name 'land' is given twice"]),
        (("collections", 0, "name"), "My Land", ["collections[0].name: found 'My Land'"]),
        (("collections", 0, "name"), "../up", ["collections[0].name: found '../up'"]),
        (("collections", 0, "modalities"), ["s1_grd"] * 2, ["collections[0].modalities: ", "each name once"]),
        (("collections", 0, "modalities"), [], ["collections[0].modalities: found []"]),
        (("collections",), [], ["collections: found []"]),
        (("collections",), {"land": {}}, ["collections: found {'land': {}}", "list"]),
        (("encoders",), None, ["encoders: found None", "list"]),
    ],
)
def test_a_combination_that_cannot_work(study_content, place, value, words):
    put(study_content, place, value)
    text = refusal(study_content)
    for word in words:
        assert word in text
    assert "\n" not in text


def conditioned(content: Any, collections: list[str]) -> Any:
    """The study with a `bioclim` encoder of both collections' Sentinel-2 bands, conditioned on climate."""
    content["collections"][0].update(modalities=["s2_rgb_monthly", "s1_grd_monthly", "s2_l1c"], chip_px=64)
    content["encoders"].append(
        {"name": "climatic", "method": "bioclim", "collections": collections, "recipe": {"conditioning": "cbn"}}
    )
    return content


def test_context_is_asked_for_where_it_is_known(study_content):
    study = parse_study(conditioned(study_content, ["land"]), "mini.yaml")
    assert study.encoder("climatic").takes_context
    assert not study.encoder("clip3_land").takes_context
    assert study.encoders_of("land") == ["clip3_land", "climatic"]
    assert study.encoders_of("shore") == []
    put(study_content, ("encoders", 1, "recipe", "conditioning"), "none")
    assert parse_study(study_content, "mini.yaml").encoders_of("shore") == ["climatic"]


@pytest.mark.parametrize("collections", [["shore"], ["land", "shore"]])
def test_conditioning_on_a_collection_without_context_is_refused(study_content, collections):
    assert refusal(conditioned(study_content, collections)) == (
        "encoders[climatic].recipe.conditioning: found 'cbn', allowed none, or other collections: shore has no context"
    )


def test_what_cannot_be_conditioned_says_so(study_content):
    put(study_content, ("encoders", 0, "recipe", "conditioning"), "emb")
    assert refusal(study_content) == "encoders[0].recipe.conditioning: found 'emb', allowed: 'none'"


def test_an_empty_list_is_refused(study_content):
    put(study_content, ("encoders",), [])
    assert refusal(study_content) == "encoders: found [], allowed: at least 1 item"


@pytest.mark.parametrize("key", ["encoders", "evaluations"])
def test_names_are_given_once(study_content, key):
    study_content[key] *= 2
    name = study_content[key][0]["name"]
    assert refusal(study_content).startswith(f"{key}: name '{name}' is given twice")


@pytest.mark.parametrize("key", ["study", "collections", "encoders", "evaluations"])
def test_a_required_key(study_content, key):
    del study_content[key]
    assert refusal(study_content) == f"{key}: required, but not given"


def test_a_collection_without_kind(study_content):
    del study_content["collections"][0]["kind"]
    assert refusal(study_content) == "collections[0].kind: required, but not given"


def test_every_wrong_key_is_named_at_once(study_content):
    put(study_content, ("tpyo",), 1)
    put(study_content, ("collections", 0, "chip_px"), 3)
    put(study_content, ("evaluations", 0, "draw"), "nope")
    text = refusal(study_content)
    for key in ("tpyo: ", "collections[0].chip_px: ", "evaluations[0].draw: "):
        assert f"\n  {key}" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study: [unclosed", ["not YAML"]),
        ("\tstudy: mini", ["not YAML"]),
        ("", ["found None", "allowed a mapping of study, title"]),
        ("# nothing yet\n", ["found None", "allowed a mapping of study, title"]),
        ("- study\n- collections\n", ["found ['study', 'collections']", "allowed a mapping of study, title"]),
        ("just words", ["found 'just words'", "allowed a mapping of study, title"]),
        (b"\xff\xfe\x00\x01", ["not YAML"]),
    ],
)
def test_a_file_that_is_no_study(tmp_path, capsys, text, words):
    path = tmp_path / "broken.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["check-study", str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"terraprobe check-study: {path}: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path, capsys, name):
    path = tmp_path / name
    assert main(["check-study", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"terraprobe check-study: {path}: cannot be read")


def test_a_study_is_read_back_from_yaml(tmp_path, study_content):
    path = tmp_path / "mini.yaml"
    path.write_text(yaml.safe_dump(study_content))
    assert load_study(path) == parse_study(study_content, "mini.yaml")


def test_seeds_are_encoders_of_their_own(study_content):
    put(study_content, ("encoders", 0, "seeds"), [4, 0])
    study_content["encoders"][0].pop("seed", None)
    study = parse_study(study_content, "mini.yaml")
    members = ["clip3_land_s4", "clip3_land_s0"]
    assert [m.name for m in study.members] == study.encoders_of("land") == members
    assert study.judged(study.evaluation("cover")) == members
    assert [study.pretrain_recipe(name)["seed"] for name in members] == [4, 0]
    assert study.summary_recipe()["arms"] == {"clip3_land": members}


def test_an_encoder_embeds_what_it_was_trained_on_and_what_names_it(study_content):
    other = {**study_content["encoders"][0], "name": "other"}
    study_content["encoders"].append(other)
    assert parse_study(study_content, "mini.yaml").encoders_of("land") == ["clip3_land", "other"]
    second = {**study_content["collections"][0], "name": "second"}
    study_content["collections"].append(second)
    put(study_content, ("encoders", 1, "collections"), ["second"])
    put(study_content, ("evaluations", 0, "encoders"), ["clip3_land"])
    study = parse_study(study_content, "mini.yaml")
    assert study.encoders_of("land") == ["clip3_land"]
    assert study.encoders_of("second") == ["clip3_land", "other"]  # no evaluation: whatever can


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ([1, 1], ["encoders[0].seeds: found [1, 1]", "each name once"]),
        ([-1], ["encoders[0].seeds[0]: found -1"]),
        ([1, 2], ["encoders[0].seed: found 0 beside seeds [1, 2]", "one of the two keys"]),
    ],
)
def test_seeds_that_cannot_be(study_content, seeds, words):
    put(study_content, ("encoders", 0, "seed"), 0)
    put(study_content, ("encoders", 0, "seeds"), seeds)
    for word in words:
        assert word in refusal(study_content)


def test_a_seed_that_takes_the_name_of_another_encoder(study_content):
    study_content["encoders"] += [{**study_content["encoders"][0], "name": "clip3_land_s1"}]
    study_content["encoders"][0].pop("seed", None)
    put(study_content, ("encoders", 0, "seeds"), [1])
    assert refusal(study_content).startswith("encoders: name 'clip3_land_s1' is given twice")


def test_a_pool_names_evaluations_of_one_encoder_each(study_content):
    study_content["evaluations"].append({**study_content["evaluations"][0], "name": "again"})
    study_content["pools"] = [{"name": "both", "evaluations": ["cover", "again"]}]
    assert parse_study(study_content, "mini.yaml").summary_recipe()["pools"][0]["evaluations"] == ["cover", "again"]
    put(study_content, ("pools", 0, "evaluations"), ["cover", "gone"])
    assert "pools[both].evaluations: found 'gone', allowed cover, again" in refusal(study_content)
    put(study_content, ("pools", 0, "evaluations"), ["cover"])
    assert "pools[0].evaluations: found ['cover']" in refusal(study_content)
    put(study_content, ("pools", 0, "evaluations"), ["cover", "again"])
    study_content["encoders"].append({**study_content["encoders"][0], "name": "other"})
    assert "cover compares clip3_land, other; allowed: evaluations that each compare exactly one" in refusal(
        study_content
    )


def two_lands(study_content):
    """The study with a second simulated collection that is judged after learning on the first."""
    other = {**study_content["collections"][0], "name": "isles"}
    study_content["collections"].append(other)
    study_content["evaluations"][0].update(collection="isles", train_on=["land"])
    return other


def test_an_evaluation_may_learn_on_other_collections(study_content):
    two_lands(study_content)
    study = parse_study(study_content, "mini.yaml")
    evaluation = study.evaluation("cover")
    assert (evaluation.trained_on, evaluation.collections) == (["land"], ["land", "isles"])
    assert study.judged(evaluation) == ["clip3_land"]
    assert evaluation.forest_recipe()["train_on"] == ["land"]


def test_to_learn_on_its_own_collection_is_the_default(study_content):
    before = parse_study(study_content, "mini.yaml").evaluation("cover").forest_recipe()
    put(study_content, ("evaluations", 0, "train_on"), ["land"])
    assert parse_study(study_content, "mini.yaml").evaluation("cover").forest_recipe() == before


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("evaluations", 0, "train_on"), ["nope"], ["evaluations[cover].train_on: found 'nope'", "land, shore, isles"]),
        (("evaluations", 0, "train_on"), ["land"] * 2, ["evaluations[cover].train_on: ", "each name once"]),
        (
            ("collections", 0, "labels"),
            ["worldcover"],
            ["evaluations[cover].tasks: found 'vegetation'", "(labels of land, in train_on) croplands, water"],
        ),
        (
            ("collections", 2, "modalities"),
            ["s2_rgb_monthly"],
            ["evaluations[cover].train_on: land has chips of 32 px of s2_rgb_monthly, s1_grd_monthly", "must be alike"],
        ),
        (("collections", 2, "chip_px"), 64, ["evaluations[cover].train_on: land has chips of 32 px", "of 64 px"]),
    ],
)
def test_collections_that_cannot_be_judged_together(study_content, place, value, words):
    two_lands(study_content)
    put(study_content, place, value)
    text = refusal(study_content)
    for word in words:
        assert word in text
    assert "\n" not in text
