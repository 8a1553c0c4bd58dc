"""Scores of MLPs and of heads for pixels in the ledger, as if the full studies of `rsbyol` and `sscl` had been run."""

import pandas as pd
import pytest
from ledger_world import REPOSITORY

from archive_tree import fake_scenes
from terraprobe.ledger.files import read_answers, read_claims, read_results
from terraprobe.ledger.notes import ledger_recipe
from terraprobe.ledger.scores import ScoreTables, Trained, fits, own_differences, own_scores
from terraprobe.ledger.verdicts import Desk, judge_cells, judge_claims
from terraprobe.probes.inits import TRAINED, UNTRAINED
from terraprobe.study import load_study

HALF_INTERVAL = 0.0005
RESULTS = read_results(REPOSITORY / "resources/published_results.csv")
PAPERS = read_answers(REPOSITORY / "resources/published_answers.yaml", RESULTS)
SINGLE = {"rsbyol1": 90_000, "rsbyol1_150k": 150_000, "rsbyol1_b64": 90_000}
ROWS = {"random": "frozen_random"}
"""Arm of the study where it is not called as the paper's row."""
TOWERS = {"RGB": "rgb", "RE5/6/7": "re", "SAR1/2/1": "sar"}
VIEWS = {"rgb": "B04+B03+B02", "re": "B05+B06+B07", "sar": "VV+VH+VV"}
PLACES = {"eurosat7k": ("eurosat", 4200), "eurosat": ("eurosat", 0), "sen12ms": ("sen12ms_5k", 0)}
NO_CELLS = {"scratch", "resisc45"}
METRICS = {"mIoU": "miou", "AA": "aa", "OA": "oa"}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """What both full studies tell their ledgers; their archives are empty."""
    folder = tmp_path_factory.mktemp("unpacked")
    fake_scenes(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {name: ledger_recipe(load_study(REPOSITORY / f"studies/{name}.yaml")) for name in ("rsbyol", "sscl")}


def score(evaluation, arm, metric, value, **place):
    """A row as the stages write it, and one of the arm's untrained twin that must not answer."""
    row = {"evaluation": evaluation, "arm": arm, "metric": metric, "sd": 0.01, "n_test": 986, **place}
    return [{**row, "init": init, "value": share, "low": share - HALF_INTERVAL, "high": share + HALF_INTERVAL}
            for init, share in ((TRAINED, value), (UNTRAINED, 0.01))]  # fmt: skip


def pixel(evaluation, arm, metric, value, **place):
    base = {"tower": "", "band": "", "size": 0, "stratum": ""}
    return score(evaluation, arm, metric, value, **{**base, **place})


def rsbyol_scores():
    """What `score_mlp` and `score_segmentation` would give if every published number came out again."""
    mlps, pixels = [], []
    for cell in RESULTS[RESULTS["paper"] == "rsbyol"].to_dict("records"):
        arm, column, value = ROWS.get(cell["row"], cell["row"]), cell["column"], cell["value"]
        if NO_CELLS & {arm, column.partition("_")[0]}:
            continue
        first, _, end = column.partition("_")
        if cell["table"] == "I":
            band = end if len(end) != 2 or end[0] != "B" else f"B0{end[1]}"
            pixels += pixel("dfc2020_bands", arm, METRICS[first], value / 100, band=band, size=900)
        elif cell["table"] == "II":
            evaluation, shots = PLACES[first]
            place = {"n_shots": shots, "group": "ms", "view": VIEWS[end], "class_name": ""}
            mlps += score(evaluation, arm, "f1_macro", value, **place)
        else:
            pixels += pixel("dfc2020_triplets", arm, METRICS[first], value / 100, tower=TOWERS[end], size=900)
    return pd.DataFrame(mlps), pd.DataFrame(pixels), pd.DataFrame(columns=["stratum", "arm", "evaluation", "init"])


def sscl_scores():
    pixels, classes = [], []
    for cell in RESULTS[RESULTS["paper"] == "sscl"].to_dict("records"):
        table, row, arm, share = cell["table"], cell["row"], cell["column"], cell["value"] / 100
        where = {"I": "linear", "II": "finetune", "IV": "sensors", "V": "stages"}.get(table)
        if arm.startswith("pixif"):
            arm, _, protocol = arm.partition("_")
            where = {"linear": "linear", "ft": "finetune"}[protocol]
        if where is None:
            continue
        arm = {"std": "early_fusion", "single_fe": "random", "core": "core_only", "preproc_core": "core_despeckled",
               "preproc_sscl": "sscl_despeckled"}.get(arm, arm)  # fmt: skip
        if row in METRICS:
            pixels += pixel(where, arm, METRICS[row], share, tower="concat")
        elif table == "IV":
            tower = {"with_sar": "concat", "without_sar": "s2", "only_sar": "s1"}[row]
            pixels += pixel(where, arm, "aa", share, tower=tower)
        else:
            classes += [
                {**line, "class": row, "accuracy": line["value"], "accuracy_low": line["low"],
                 "accuracy_high": line["high"]}
                for line in pixel(where, arm, "", share, tower="concat")
            ]  # fmt: skip
    return pd.DataFrame(), pd.DataFrame(pixels), pd.DataFrame(classes)


def desk_of(recipe, scores, chips=None, differences=None):
    cards = {}
    for arm, note in recipe.arms.items():
        count = (chips or SINGLE).get(arm, 90_000 if "sen12ms" in note.data else 5_128)
        cards |= {member: {"chips": {"train": count - 1000, "val": 1000}} for member in note.members}
    trained = Trained(cards, {})
    nothing = pd.DataFrame(columns=["arm", "primary", "value"])
    tables = ScoreTables(pd.DataFrame(), pd.DataFrame(), nothing, *scores)
    gaps = own_differences(*[pd.DataFrame()] * 2, *(differences or [pd.DataFrame()] * 2))
    return Desk(recipe, trained, own_scores(recipe, trained, tables), gaps)


def judged(recipe, scores, chips=None):
    return judge_cells(RESULTS, PAPERS, desk_of(recipe, scores, chips))


@pytest.mark.parametrize(("paper", "made", "count"), [("rsbyol", rsbyol_scores, 149), ("sscl", sscl_scores, 85)])
def test_the_full_study_answers_the_numbers_of_its_paper(recipes, paper, made, count):
    cells = judged(recipes[paper], made())
    answered = cells[cells["verdict"] != "not run"]
    assert len(answered) == count
    assert set(answered["verdict"]) == {"reproduced"}, answered[answered["verdict"] != "reproduced"]["why"].unique()
    assert (answered["value"] - answered["published"]).abs().max() < 1e-9
    left = cells[cells["verdict"] == "not run"]
    words = left["row"] + " " + left["column"]
    assert words.str.contains("scratch|resisc45").all()


def test_each_number_is_answered_by_the_arm_that_is_the_papers(recipes):
    cells = judged(recipes["rsbyol"], rsbyol_scores()).set_index(["table", "row", "column"]).sort_index()
    for row in SINGLE:
        assert set(cells.loc[("I", row), "arm"]) == {row}
    assert cells.loc[("II", "random", "eurosat_re"), "arm"] == "frozen_random"
    assert cells.loc[("III", "coco", "AA_RE5/6/7"), "arm"] == "coco"
    cells = judged(recipes["sscl"], sscl_scores()).set_index(["table", "row", "column"])
    assert cells.loc[("IV", "only_sar", "std"), "arm"] == "early_fusion"
    assert cells.loc[("V", "OA", "core"), "arm"] == "core_only"
    assert cells.loc[("I", "mIoU", "imagenet"), "arm"] == "imagenet"


@pytest.mark.parametrize(
    ("column", "arms"),
    [("eurosat_rgb", ["scratch_rgb", "scratch_5k_rgb"]), ("sen12ms_re", ["scratch_re", "scratch_5k_re"]),
     ("sen12ms_sar", ["scratch_5k_sar"])],
)  # fmt: skip
def test_networks_from_scratch_answer_by_their_bands(recipes, column, arms):
    """Which of them stands there the data decide: an evaluation on the paper's comes first."""
    recipe = recipes["rsbyol"]
    answer = PAPERS["rsbyol"].answers()["II", "scratch", column]
    assert [arm for arm in recipe.arms if fits(arm, recipe, answer)] == arms


def test_fewer_chips_or_epochs_are_another_experiment(recipes):
    cells = judged(recipes["rsbyol"], rsbyol_scores(), {"rsbyol1": 5000}).set_index(["table", "row", "column"])
    assert cells.loc[("I", "rsbyol1", "AA_mean"), "why"] == "5,986 chips, the paper 90,000"
    arms = dict(recipes["sscl"].arms)
    arms["unifeat"] = arms["unifeat"].model_copy(update={"changed": {"epochs": 5}})
    few = recipes["sscl"].model_copy(update={"arms": arms})
    cells = judged(few, sscl_scores()).set_index(["table", "row", "column"])
    assert cells.loc[("II", "AA", "sscl"), "why"] == "pretraining: another recipe (epochs 5)"
    assert cells.loc[("II", "AA", "random"), "verdict"] == "reproduced"


def test_an_arm_that_never_trained_answers_none_that_did(recipes):
    recipe = recipes["rsbyol"]
    arms = {name: note for name, note in recipe.arms.items() if name not in ("rsbyol3", "imagenet")}
    cells = judged(recipe.model_copy(update={"arms": arms, "evaluations": {
        name: e.model_copy(update={"arms": tuple(a for a in e.arms if a in arms)})
        for name, e in recipe.evaluations.items()}}), rsbyol_scores())  # fmt: skip
    left = cells[cells["row"].isin(["rsbyol3", "imagenet"])]
    assert set(left["verdict"]) == {"not run"}


def gap(evaluation, arm, rival, difference, half, **place):
    """A difference between trained arms, and one from an untrained twin that must not answer."""
    row = {"evaluation": evaluation, "arm": arm, "rival": rival, "init": TRAINED, **place}
    return [{**row, "rival_init": init, "difference": value, "low": value - half, "high": value + half}
            for init, value in ((UNTRAINED, -0.5), (TRAINED, difference))]  # fmt: skip


def claims_of_rsbyol(recipe):
    """What the claims of `rsbyol` come to where the full study found some of what they say."""
    over = {"n_shots": 0, "group": "all", "view": "", "class_name": ""}
    mlps = [
        *score("sen12ms_5k", "rsbyol1", "f1_macro", 0.70, **over),
        *score("sen12ms_5k", "rsbyol1_ms", "f1_macro", 0.65, **over),
        *score("eurosat", "rsbyol1", "f1_macro", 0.90, **over),
        *score("eurosat", "rsbyol1_b64", "f1_macro", 0.91, **over),
        *score("eurosat", "rsbyol1_150k", "f1_macro", 0.93, **over),
        *score("eurosat", "rsbyol1", "f1_macro", 0.95, **{**over, "group": "ms", "view": "B05"}),
    ]
    pairs = [
        *gap("sen12ms_5k", "rsbyol1_ms", "rsbyol1", -0.4, 0.01, **{**over, "group": "ms", "view": "B05"}),
        *gap("sen12ms_5k", "rsbyol1_ms", "rsbyol1", -0.4, 0.01, **{**over, "group": "ms"}),
        *gap("sen12ms_5k", "rsbyol1_ms", "rsbyol1", -0.05, 0.02, **over),  # the later entry minus the earlier one
        *gap("eurosat", "rsbyol1_b64", "rsbyol1", 0.01, 0.02, **over),
        *gap("eurosat", "rsbyol1_150k", "rsbyol1", 0.03, 0.02, **over),
    ]
    pixels = [row for arm in ("rsbyol1", "rsbyol1_b64")
              for row in pixel("dfc2020_bands", arm, "miou", 0.5, band="mean", size=900)]  # fmt: skip
    water = [{**line, "class": "water", "accuracy": value, "accuracy_low": value, "accuracy_high": value}
             for band, value in (("B02", 0.97), ("VV", 0.88))
             for line in pixel("dfc2020_bands", "rsbyol1", "", value, band=band, size=900)]  # fmt: skip
    wide = gap("dfc2020_bands", "rsbyol1_b64", "rsbyol1", 0.008, 0.002, metric="miou", tower="", band="mean", size=900,
               stratum="")  # fmt: skip
    scores = (pd.DataFrame(mlps), pd.DataFrame(pixels), pd.DataFrame(water))
    return claims_of_desk(desk_of(recipe, scores, differences=(pd.DataFrame(pairs), pd.DataFrame(wide))))


def claims_of_desk(desk):
    said = read_claims(REPOSITORY / "resources/published_claims.yaml", PAPERS)
    return judge_claims(said, PAPERS, desk).set_index("id")


def test_claims_in_words_are_told_from_paired_differences_of_the_same_view(recipes):
    told = claims_of_rsbyol(recipes["rsbyol"])
    assert told.loc["sar_helps", ["verdict", "rival", "holds"]].tolist() == ["reproduced", "rsbyol1_ms", "yes"]
    assert told.loc["sar_helps", ["value", "low", "high"]].tolist() == pytest.approx([0.05, 0.03, 0.07])
    assert told.loc["batch_helps_segmentation", "verdict"] == "reproduced"
    assert told.loc["batch_helps_segmentation", "value"] == pytest.approx(0.8)  # per cent
    assert told.loc["batch_not_classification", "verdict"] == "reproduced"
    assert told.loc["data_not_significant", "verdict"] == "not reproduced"  # a difference is shown
    assert told.loc["water_above_90", ["value", "holds"]].tolist() == [0.88, "no"]
    assert told.loc["single_band_92", ["value", "holds"]].tolist() == [0.95, "yes"]
    assert told.loc["above_imagenet", "why"] == "no such arm and score in this study"
    assert told.loc["scratch_equal", "verdict"] == "not run"


def test_the_claims_of_sscl_are_told_by_protocol_and_rival(recipes):
    """Two sizes of labels were never paired: their difference is shown, and no verdict given."""
    pixels = [
        row
        for where, arm, value, size in [
            ("linear", "sscl", 0.25, 0), ("linear", "pixif", 0.35, 0), ("linear", "random", 0.19, 0),
            ("finetune", "sscl", 0.50, 0), ("finetune", "sscl", 0.44, 1000), ("finetune", "random", 0.45, 0),
            ("finetune", "simsiam", 0.46, 0), ("finetune", "pixif", 0.38, 0),
        ]
        for row in pixel(where, arm, "miou", value, tower="concat", size=size)
    ]  # fmt: skip
    place = {"metric": "miou", "tower": "concat", "band": "", "size": 0, "stratum": ""}
    differences = pd.DataFrame([
        *gap("linear", "sscl", "pixif", -0.10, 0.02, **place),
        *gap("finetune", "sscl", "pixif", 0.12, 0.02, **place),
        *gap("finetune", "sscl", "simsiam", 0.04, 0.05, **place),
        *gap("finetune", "random", "sscl", -0.05, 0.01, **place),
        *gap("finetune", "random", "sscl", 0.30, 0.01, **{**place, "size": 1000}),
    ])  # fmt: skip
    scores = (pd.DataFrame(), pd.DataFrame(pixels), pd.DataFrame(columns=["stratum", "arm", "evaluation", "init"]))
    told = claims_of_desk(desk_of(recipes["sscl"], scores, differences=(pd.DataFrame(), differences)))
    assert told.loc["pixif_wins_linear", ["verdict", "rival"]].tolist() == ["reproduced", "sscl, concat, linear"]
    assert told.loc["pixif_wins_linear", "value"] == pytest.approx(10)  # points
    assert told.loc["sscl_wins_fine_tuning_pixif", "verdict"] == "reproduced"
    assert told.loc["sscl_wins_fine_tuning_simsiam", ["verdict", "holds"]].tolist() == ["not reproduced", "no"]
    random = told.loc["sscl_wins_fine_tuning_random"]
    assert random[["value", "low", "high"]].tolist() == pytest.approx([5, 4, 6])
    assert told.loc["sscl_wins_fine_tuning_imagenet", "verdict"] == "not run"
    assert told.loc["thousand_labels", ["verdict", "holds"]].tolist() == ["not comparable", ""]
    assert told.loc["thousand_labels", "value"] == pytest.approx(-1)
