"""What the papers published beside ours, on made-up scores of the full study of `bioclim`."""

import pandas as pd
import pytest
from ledger_world import HALF_INTERVAL, REPOSITORY, inputs, write_encoders, write_scores

from terraprobe.errors import TerraprobeError
from terraprobe.ledger.notes import ledger_recipe
from terraprobe.ledger.stage import write_ledger
from terraprobe.study import load_study

CHIPS = {"eurosat": 27_000, "bigearthnet": 519_330}
ARMS = {
    "sup": {"plain": "plain", "emb": "emb", "cbn": "cbn", "cbn_shuffled": "cbn_shuffled"},
    "ssl": {"plain": "ssl_plain", "emb": "ssl_emb", "cbn": "ssl_cbn"},
    "4": {"plain": "auto_plain", "emb": "auto_emb", "cbn": "auto_cbn", "cbn_encoder_only": "auto_cbn_encoder",
          "cbn_decoder_only": "auto_cbn_decoder"},
    "5": {"plain": "several_plain", "emb": "several_emb", "cbn": "several_cbn"},
}  # fmt: skip
"""Arm of the study that answers a row, by the end of the column or by table."""
METRIC = {"acc": "accuracy", "genml": "gen_ml", "gengeo": "gen_geo", "svm": "svm", "eff95": "efficiency"}
ALPHA = {"plain": 1.0, "emb": 1.080, "cbn": 1.242}
SHARES = ("accuracy", "gen_ml", "gen_geo", "svm", "f1_micro", "f1_macro")


def as_published():
    """Scores of every arm that are the paper's own, as shares."""
    published, values = pd.read_csv(REPOSITORY / "resources/published_results.csv"), {}
    for cell in published[published["paper"] == "bioclim"].to_dict("records"):
        column, row = cell["column"], cell["row"]
        first, _, end = column.partition("_")
        arm = ARMS[cell["table"] if cell["table"] in ARMS else end if end in ARMS else "sup"][row]
        if column == "alpha":
            continue
        metric = METRIC.get(first, column)
        if column == "params_M":
            values[arm, "parameters"] = cell["value"] * 1e6
        elif metric == "efficiency":
            values[arm, metric] = cell["value"] / ALPHA[row]
        else:
            values[arm, metric] = cell["value"] / (100 if metric in SHARES else 1)
    return values


def judged(folder, recipe, encoders=None, **changed):
    paths = {**inputs(folder, encoders), **changed}
    out = {"ledger": folder / "ledger.parquet", "claim_ledger": folder / "ledger.claims.parquet"}
    write_ledger(**paths, recipe=recipe, **out)
    return pd.read_parquet(out["ledger"]), pd.read_parquet(out["claim_ledger"])


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory, full):
    """The full study, run on all chips with ten seeds, with the paper's own results."""
    folder = tmp_path_factory.mktemp("reproduced")
    write_encoders(folder, full, as_published(), CHIPS)
    write_scores(folder, full, as_published(), CHIPS)
    return folder


def test_the_full_study_answers_every_number_of_its_paper(reproduced, full):
    cells, claims = judged(reproduced, full)
    assert len(cells) == 55
    timed = cells["column"] == "alpha"
    assert set(cells.loc[timed, "verdict"]) == {"not comparable"} and cells.loc[timed, "value"].isna().all()
    assert set(cells.loc[~timed, "verdict"]) == {"reproduced"}
    assert (cells.loc[~timed, "value"] - cells.loc[~timed, "published"]).abs().max() < 1e-3
    assert set(cells["data"]) == {"the paper's"} and set(cells["runs"]) == {10}
    told = claims.set_index("id")["verdict"]
    assert told["cbn_above_plain"] == told["shuffled_below_plain"] == told["cbn_faster"] == "reproduced"


def test_each_number_is_answered_by_the_arm_that_is_the_papers(reproduced, full):
    cells, _ = judged(reproduced, full)
    by_place = cells.set_index(["table", "row", "column"])["arm"]
    assert by_place["1", "cbn", "acc_sup"] == "cbn" and by_place["1", "cbn", "acc_ssl"] == "ssl_cbn"
    assert by_place["4", "cbn", "l1"] == "auto_cbn" and by_place["4", "cbn_encoder_only", "l1"] == "auto_cbn_encoder"
    assert by_place["5", "emb", "f1_macro"] == "several_emb"
    assert by_place["sec4.5", "cbn_shuffled", "acc_sup"] == "cbn_shuffled"


@pytest.mark.parametrize(("shift", "verdict"), [(0.0081, "reproduced"), (0.0095, "not reproduced")])
def test_a_number_is_reproduced_where_the_interval_meets_two_spreads(reproduced, full, tmp_path, shift, verdict):
    values = as_published() | {("plain", "accuracy"): 0.9568 + shift + HALF_INTERVAL}  # published: 95.68, SD .41
    write_scores(tmp_path, full, values, CHIPS)
    cells, _ = judged(tmp_path, full, reproduced)
    row = cells[(cells["table"] == "1") & (cells["row"] == "plain") & (cells["column"] == "acc_sup")].iloc[0]
    assert row["verdict"] == verdict


@pytest.mark.parametrize(("shift", "verdict"), [(-0.0104, "reproduced"), (-0.0106, "not reproduced")])
def test_a_number_without_a_spread_is_reproduced_within_a_point(reproduced, full, tmp_path, shift, verdict):
    values = as_published() | {("several_cbn", "accuracy"): 0.9430 + shift}
    write_scores(tmp_path, full, values, CHIPS)
    cells, _ = judged(tmp_path, full, reproduced)
    row = cells[(cells["table"] == "5") & (cells["row"] == "cbn") & (cells["column"] == "acc")].iloc[0]
    assert row["verdict"] == verdict


def one_arm(recipe, arm):
    """A study of one arm alone."""
    evaluations = {
        name: e.model_copy(update={"arms": (arm,)}) for name, e in recipe.evaluations.items() if arm in e.arms
    }
    return recipe.model_copy(update={"arms": {arm: recipe.arms[arm]}, "evaluations": evaluations})


def answered(folder, recipe, values, chips, column):
    """The row of the ledger of a study of one arm."""
    write_encoders(folder, recipe, values, chips)
    write_scores(folder, recipe, values, chips)
    cells, _ = judged(folder, recipe)
    return cells[(cells["column"] == column) & (cells["arm"] != "")].iloc[0]


def test_a_level_that_is_never_reached_is_not_reproduced(full, tmp_path):
    values = {key: value for key, value in as_published().items() if key != ("emb", "efficiency")}
    row = answered(tmp_path, one_arm(full, "emb"), values, CHIPS, "eff95_sup")
    assert (row["verdict"], row["why"]) == ("not reproduced", "our runs never reach it")


def test_fewer_chips_are_another_experiment(full, tmp_path):
    row = answered(tmp_path, one_arm(full, "plain"), as_published(), CHIPS | {"eurosat": 7000}, "acc_sup")
    assert (row["verdict"], row["why"]) == ("not comparable", "7,000 chips, the paper 27,000")


def test_a_claim_fails_where_its_interval_meets_zero(reproduced, full, tmp_path):
    values = as_published()
    write_scores(tmp_path, full, values | {("cbn", "accuracy"): values["plain", "accuracy"]}, CHIPS)
    _, claims = judged(tmp_path, full, reproduced)
    row = claims.set_index("id").loc["cbn_above_plain"]
    assert (row["holds"], row["verdict"]) == ("no", "not reproduced")
    assert row["low"] < 0 < row["high"]


def changed(study, arm, **more):
    return study.model_copy(update={"arms": study.arms | {arm: study.arms[arm].model_copy(update=more)}})


def with_recipe(study, arm, **keys):
    note = study.arms[arm]
    return changed(study, arm, changed=note.changed | keys)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: changed(r, "plain", members=r.arms["plain"].members[:3]), "3 runs, the paper 10"),
        (lambda r: with_recipe(r, "plain", epochs=20), "20 epochs, the paper 100"),
        (lambda r: with_recipe(r, "plain", width=16), "another recipe (width 16)"),
        (lambda r: r.model_copy(update={"collections": r.collections | {"eurosat": "other"}}), "other real data"),
        (lambda r: r.model_copy(update={"collections": r.collections | {"eurosat": "simulated"}}), "simulated data"),
    ],
)
def test_anything_but_the_papers_own_is_not_comparable(reproduced, change, why, full):
    cells, _ = judged(reproduced, change(full))
    row = cells[(cells["table"] == "1") & (cells["row"] == "plain") & (cells["column"] == "acc_sup")].iloc[0]
    assert row["verdict"] == "not comparable"
    assert why in row["why"].split("; ")
    assert row["value"] == pytest.approx(95.68)


def test_what_the_weights_started_from_counts_too(reproduced, full):
    cells, _ = judged(reproduced, with_recipe(full, "auto_cbn", epochs=10))
    row = cells[(cells["row"] == "cbn") & (cells["column"] == "acc_ssl")].iloc[0]
    assert (row["verdict"], row["why"]) == ("not comparable", "pretraining: 10 epochs, the paper 200")


def test_a_control_never_answers_for_the_papers_arm(reproduced, full):
    recipe = full
    arms = {name: note for name, note in recipe.arms.items() if name != "cbn"}
    evaluations = {
        name: e.model_copy(update={"arms": tuple(a for a in e.arms if a != "cbn")})
        for name, e in recipe.evaluations.items()
    }
    cells, claims = judged(reproduced, recipe.model_copy(update={"arms": arms, "evaluations": evaluations}))
    row = cells[(cells["row"] == "cbn") & (cells["column"] == "acc_sup")].iloc[0]
    assert (row["verdict"], row["arm"]) == ("not run", "")
    assert claims.set_index("id").loc["cbn_above_plain", "verdict"] == "not run"


def test_numbers_that_nothing_answers_yet_are_listed_as_not_run(reproduced, full):
    recipe = full.model_copy(update={"papers": ("rsbyol", "sscl")})
    cells, claims = judged(reproduced, recipe)
    assert len(cells) == 310 - 55 and set(cells["verdict"]) == {"not run"}
    assert len(claims) == 19 and set(claims["verdict"]) == {"not run"}


def test_equal_inputs_give_equal_bytes(reproduced, full):
    judged(reproduced, full)
    first = (reproduced / "ledger.parquet").read_bytes()
    judged(reproduced, full)
    assert (reproduced / "ledger.parquet").read_bytes() == first


@pytest.mark.parametrize("study", ["bioclim_small.yaml", "clip3_small.yaml"])
def test_small_studies_tell_their_ledger_what_they_are(study):
    recipe = ledger_recipe(load_study(REPOSITORY / "studies" / study))
    assert set(recipe.collections.values()) == {"simulated"}
    assert not any("null" in name or "permuted" in name for name in recipe.evaluations)


def broken(path, old, new):
    text = path.read_text()
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    "case",
    [
        ("published", ("bioclim,1,plain,acc_sup,95.68,0.41", "bioclim,1,plain,acc_sup,about,0.41"),
         "bioclim 1 plain acc_sup: value: found 'about', allowed a number"),
        ("published", ("bioclim,1,emb,acc_sup", "bioclim,1,plain,acc_sup"), "bioclim 1 plain acc_sup is given twice"),
        ("published", ("value,spread", "value,sd"), "columns found paper, table, row, column, value, sd, allowed"),
        ("answers", ("          acc_sup: &sup", "          accuracy: &sup"), "is no cell of the published results"),
        ("answers", ("data: eurosat, epochs: 100, unit: per cent}", "data: mars, epochs: 100, unit: per cent}"),
         "data: found 'mars', allowed eurosat, bigearthnet"),
        ("answers", ("runs: 10 ", "run: 10 "), "unknown key; allowed runs, data, always"),
        ("claims", ("id: cbn_above_plain", "id: emb_above_plain"), "emb_above_plain is given twice"),
        ("claims", ("paper: bioclim", "paper: biocl"), "paper: found 'biocl', allowed bioclim, clip3"),
        ("claims", ("    limit: 499\n", ""), "limit: required where test is at_most"),
        ("claims", ("test: higher", "test: highest"), "found 'highest', allowed"),
        ("claims", ("claims:", "claims: ["), "not YAML"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence(reproduced, full, tmp_path, case):
    key, edit, said = case
    shipped = inputs(reproduced)[key]
    path = tmp_path / shipped.name
    path.write_text(broken(shipped, *edit))
    with pytest.raises(TerraprobeError) as error:
        judged(reproduced, full, **{key: path})
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value)


@pytest.mark.parametrize("key", ["published", "answers", "claims"])
def test_an_absent_file_is_named(reproduced, tmp_path, key, full):
    with pytest.raises(TerraprobeError, match=r"absent\.file.*Take the one that comes with terraprobe"):
        judged(reproduced, full, **{key: tmp_path / "absent.file"})


def test_an_absent_card_is_named(reproduced, full):
    cards = [path for path in inputs(reproduced)["cards"] if path.parent.name != "emb_s3"]
    with pytest.raises(TerraprobeError, match="no card or history of emb_s3 among"):
        judged(reproduced, full, cards=cards)
