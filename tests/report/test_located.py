"""Two chips in the t-SNE of every modality, beside their images."""

import numpy as np
import pandas as pd
import pytest

from pretraining import make_store
from terraprobe.chips.store import ChipStore
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.located import draw_located
from terraprobe.report.notes import CollectionNote, EncoderNote

CHIPS = ["c0", "c1", "c2", "c3"]
ENCODER = TrainedEncoder(
    EncoderNote(name="towers", title="Towers", collections=("land",), data="Land"), ({},), (pd.DataFrame(),), ({},)
)


def land(tmp_path, unseen=()):
    stores = {}
    for name, channels in (("s1_grd", 2), ("s1_coherence", 1)):
        values = np.arange(4 * channels * 64).reshape(4, channels, 8, 8)
        valid = np.ones((4, channels), np.float32)
        valid[list(unseen), 0] = name == "s1_coherence"
        make_store(tmp_path / name, name, values, valid)
        stores[name] = ChipStore.open(tmp_path / name)
    note = CollectionNote(name="land", title="Land", simulated=True, source="", licence="", split="")
    labels = pd.DataFrame({"water": [0.5, 0.1, 0.9, 0.4]})
    return Collection(note, pd.DataFrame({"chip_id": CHIPS}), labels, pd.DataFrame(), stores, {}, {})


def points(**chips_of):
    """t-SNE of some chips for each modality."""
    rows = [
        (modality, chip, float(k), -float(k)) for modality, chips in chips_of.items() for k, chip in enumerate(chips)
    ]
    return pd.DataFrame(rows, columns=["modality", "chip_id", "x", "y"])


def test_two_chips_that_every_modality_has_and_that_differ_are_marked(tmp_path):
    collection, gallery = land(tmp_path), Gallery(tmp_path / "figures")
    shown = points(s1_grd=CHIPS[::-1], s1_coherence=["c0", "c1", "c3"], concat=CHIPS)
    with house_style():
        (picture,) = draw_located(ENCODER, collection, shown, gallery)
    assert list(gallery.captions) == ["located-towers-land"]
    # c2 differs most but has no coherence; of the others c3 is nearest to their mean, c1 farthest from it
    assert "chips A (c3) and B (c1)" in picture.caption
    assert "among 3 in the t-SNE" in picture.caption
    assert "simulated" in picture.caption


@pytest.mark.parametrize("few", [{"s1_grd": CHIPS, "concat": CHIPS}, {"s1_grd": CHIPS, "s1_coherence": ["c1"]}])
def test_one_modality_or_one_chip_has_no_picture(tmp_path, few):
    assert draw_located(ENCODER, land(tmp_path), points(**few), Gallery(tmp_path)) == []


def test_a_chip_of_which_a_band_was_not_observed_is_not_chosen(tmp_path):
    with house_style():
        (picture,) = draw_located(
            ENCODER, land(tmp_path, unseen=[0]), points(s1_grd=CHIPS, s1_coherence=CHIPS), Gallery(tmp_path)
        )
    assert "(c0)" not in picture.caption  # the most usual one
    assert "among 4" in picture.caption
