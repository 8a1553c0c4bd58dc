"""What the page says of autoencoders follows from their scores by rule."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import read_table
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.inputs import TrainedEncoder, read_collections
from terraprobe.report.notes import EncoderNote, ReconstructionNote
from terraprobe.report.reconstruction import (
    draw_reconstructions,
    reconstruction_arms,
    reconstruction_differences,
    reconstruction_sentences,
    reconstruction_table,
)

NOTE = ReconstructionNote(
    name="images", title="Chips of Scene", collection="scene", simulated=False, encoders=("plain", "cbn_e"),
    label="kind_class",
)  # fmt: skip
TOWER = {"s2": {"modality": "s2_l1c"}}


def encoder(name: str, conditioning: str, cbn_in: str, members: tuple[str, ...] = ()) -> TrainedEncoder:
    card = {"recipe": {"conditioning": conditioning, "cbn_in": cbn_in, "context": "real"}, "towers": TOWER}
    note = EncoderNote(name=name, title=name, collections=("scene",), data="Scene (real)", members=members)
    return TrainedEncoder(note, (card,), (), ())


ENCODERS = [encoder("plain", "none", "both"), encoder("cbn_e", "cbn", "encoder", ("cbn_e_s0", "cbn_e_s1"))]


@pytest.fixture
def scores() -> pd.DataFrame:
    rows = []
    levels = {("plain", "trained"): 0.02, ("plain", "untrained"): 0.3, ("cbn_e", "trained"): 0.01,
              ("cbn_e", "untrained"): 0.4, ("mean train chip", ""): 0.05}  # fmt: skip
    for (arm, init), level in levels.items():
        for metric, value in (("l1", level), ("ssim", 1 - level), ("svm", 0.9 - level)):
            shown = "majority class" if (arm, metric) == ("mean train chip", "svm") else arm
            rows.append({"evaluation": "images", "arm": shown, "init": init, "encoder": "", "metric": metric,
                         "value": value, "sd": np.nan, "low": value - 0.001, "high": value + 0.001, "n_seeds": 1,
                         "n_test": 80 if metric == "svm" else 90, "n_blocks": 40, "few_blocks": False,
                         "n_unseen": 3, "n_unlabelled": 0})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def differences() -> pd.DataFrame:
    rows = []
    for arm in ("plain", "cbn_e"):
        for metric, sign in (("l1", -1), ("ssim", 1), ("svm", 1)):
            floor = "majority class" if metric == "svm" else "mean train chip"
            for rival, init in ((arm, "untrained"), (floor, "")):
                rows.append({"evaluation": "images", "metric": metric, "arm": arm, "rival": rival, "rival_init": init,
                             "value": 0.5, "rival_value": 0.5 - 0.2 * sign, "difference": 0.2 * sign,
                             "low": 0.2 * sign - 0.1, "high": 0.2 * sign + 0.1, "p": 0.1, "p_holm": 0.01})  # fmt: skip
    return pd.DataFrame(rows)


def test_the_table_says_what_each_model_is(scores: pd.DataFrame) -> None:
    table = reconstruction_table(NOTE, reconstruction_arms(NOTE, scores, ENCODERS))
    rows = [[cell.text for cell in row] for row in table.rows]
    assert [row[:5] for row in rows] == [
        ["plain", "trained", "real", "plain", "none"],
        ["cbn_e", "trained", "real", "CBN, encoder only", "real"],
        ["plain", "untrained", "real", "plain", "none"],
        ["cbn_e", "untrained", "real", "CBN, encoder only", "real"],
        ["mean train chip", "", "real", "", ""],
        ["majority class", "", "real", "", ""],
    ]
    assert rows[1][6:15] == ["0.0100", "0.0090", "0.0110", "0.9900", "0.9890", "0.9910", "0.890", "0.889", "0.891"]
    assert rows[4][12] == rows[5][6] == ""  # the mean chip has no class, the majority class no image
    assert [column.title for column in table.columns][-3:] == ["test chips", "with a class", "test blocks"]


def test_without_a_label_there_is_no_machine(scores: pd.DataFrame) -> None:
    note = NOTE.model_copy(update={"label": ""})
    images = scores[scores["metric"] != "svm"]
    table = reconstruction_table(note, reconstruction_arms(note, images, ENCODERS))
    assert "SVM" not in [column.title for column in table.columns] and "SVM" not in table.caption


def test_a_smaller_error_is_better(differences: pd.DataFrame) -> None:
    assert set(reconstruction_differences(NOTE, differences, few_blocks=False).frame["verdict"]) == {"better"}
    worse = differences.assign(
        difference=-differences["difference"], low=-differences["high"], high=-differences["low"]
    )
    assert set(reconstruction_differences(NOTE, worse, few_blocks=False).frame["verdict"]) == {"worse"}


def test_sentences_follow_from_numbers(scores: pd.DataFrame, differences: pd.DataFrame) -> None:
    arms = reconstruction_arms(NOTE, scores, ENCODERS)
    compared = reconstruction_differences(NOTE, differences, few_blocks=False).frame
    first, plain, _ = reconstruction_sentences(NOTE, arms, compared)
    assert first.startswith("90 test chips in 40 blocks; left out: 3 that not every model can see.")
    assert plain == (
        "plain: L1 0.0200 [0.0190, 0.0210], SSIM 0.9800 [0.9790, 0.9810], SVM 0.880 [0.879, 0.881]; "
        "against the untrained twin L1 −0.2000 (better), SSIM +0.2000 (better), SVM +0.2000 (better); "
        "against the mean train chip L1 −0.2000 (better), SSIM +0.2000 (better); "
        "against the majority class SVM +0.2000 (better)."
    )
    few = reconstruction_differences(NOTE, differences, few_blocks=True).frame
    told = reconstruction_sentences(NOTE, arms.assign(n_blocks=12, few_blocks=True), few)
    assert "in 12 blocks, fewer than the 30 that would carry a claim" in told[0]
    assert "(" not in told[1]


def test_chips_stand_above_their_reconstructions(study: Any, tmp_path: Any) -> None:
    arguments = study.arguments()
    notes = [note for note in study.recipe.collections if note.name == "scene"]
    specs = [p for p in arguments["specs"] if "scene" in p.parts]
    (scene,) = read_collections(notes, arguments["chips"], arguments["labels"], specs, arguments["leakage"])
    chips = read_table(study.root / "collections/scene/chips.parquet")["chip_id"].to_numpy(str)
    bands, rng = np.array(scene.modalities["s2_l1c"].bands), np.random.default_rng(0)

    def given(*rows: int) -> dict[str, Any]:
        images = rng.random((len(rows), len(bands), 16, 16)).astype(np.float32)
        return {"chip_ids": chips[list(rows)], "bands": bands, "images": images}

    images = {"plain": given(3, 5, 7), "cbn_e_s0": given(7, 5)}
    with house_style():
        (picture,) = draw_reconstructions(scene, NOTE, ENCODERS, images, Gallery(tmp_path))
        assert draw_reconstructions(scene, NOTE, ENCODERS, {**images, "plain": given(1)}, Gallery(tmp_path)) == []
    assert "2 test chips of Scene side by side; rows: test chip, natural colour; plain; cbn_e." in picture.svg
    assert "(real)" in picture.caption
