"""Features of test chips beside their images."""

import numpy as np
import pandas as pd
import pytest

from pretraining import make_store
from terraprobe.chips.store import ChipStore
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.featurepictures import draw_features
from terraprobe.report.inputs import Collection, TrainedEncoder
from terraprobe.report.notes import CollectionNote, EncoderNote, SegmentationNote

CHIPS = ["c0", "c1", "c2"]
NOTE = SegmentationNote(name="cover", title="Cover", collection="land", simulated=True, classes=("a", "b"),
                        encoders=("one", "two"), about="A head.")  # fmt: skip


@pytest.fixture
def collection(tmp_path):
    make_store(tmp_path / "s1_grd", "s1_grd", np.arange(3 * 2 * 64).reshape(3, 2, 8, 8), np.ones((3, 2), np.float32))
    note = CollectionNote(name="land", title="Land", simulated=True, source="", licence="", split="")
    stores = {"s1_grd": ChipStore.open(tmp_path / "s1_grd")}
    return Collection(note, pd.DataFrame({"chip_id": CHIPS}), pd.DataFrame(), pd.DataFrame(), stores, {}, {})


def encoder(name):
    note = EncoderNote(name=name, title=name, collections=("land",), data="Land")
    return TrainedEncoder(note, ({},), (pd.DataFrame(),), ({},))


def archive(chips, features):
    return {"chip_ids": np.array(chips), "features": features, "best": np.array(["concat", ""])}


def test_encoders_with_features_stand_below_the_images_of_chips_that_all_have(collection, tmp_path):
    shown = np.full((3, 2, 2, 3), 128, np.uint8)
    found = {"one": archive(CHIPS, shown), "two": archive(CHIPS[::-1][:2], shown[:2])}
    gallery = Gallery(tmp_path / "figures")
    with house_style():
        (picture,) = draw_features(collection, NOTE, [encoder("one"), encoder("two")], found, gallery)
    assert list(gallery.captions) == ["segmentation-cover-features"]
    assert "Last features of 2 test chips of Land as colours; rows: one, two." in picture.svg
    assert "simulated" in picture.caption


def test_fine_tuned_encoders_have_no_picture(collection, tmp_path):
    none = archive(CHIPS, np.empty((0, 0, 0, 3), np.uint8))
    assert draw_features(collection, NOTE, [encoder("one")], {"one": none}, Gallery(tmp_path)) == []
