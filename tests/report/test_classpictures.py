"""Classes in pictures: shares by hand, maps averaged over runs, and what is not drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terraprobe.artifacts import read_table, write_table
from terraprobe.report.classpictures import (
    class_counts,
    class_shares,
    draw_attributions,
    draw_regions,
    mean_maps,
)
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.inputs import Collection, TrainedEncoder, read_collections
from terraprobe.report.notes import ClassificationNote, EncoderNote

NOTE = ClassificationNote(
    name="kinds", title="Kinds on Simland", collection="sim", simulated=True, label="kind_class",
    classes=("tree", "crop", "moss"),
)  # fmt: skip


@pytest.fixture
def sim(study: Any, tmp_path: Path) -> Collection:
    """The simulated collection, where train chips of the alpine region are trees and others trees or crop."""
    arguments = study.arguments()
    chips = read_table(study.root / "collections/sim/chips.parquet")
    labels = read_table(study.root / "collections/sim/labels.parquet")
    order = chips.groupby(["region", "split"]).cumcount()
    kind = np.where((chips["region"] == "alpine") | (order % 4 == 0), "tree", "crop").astype(object)
    kind[(chips["split"] == "test").to_numpy()] = "moss"
    kind[-1] = None
    write_table(tmp_path / "sim/labels.parquet", labels.assign(kind_class=kind, kind_classes=kind))
    specs = [p for p in arguments["specs"] if "sim" in p.parts]
    notes = [note for note in study.recipe.collections if note.name == "sim"]
    (found,) = read_collections(
        notes, arguments["chips"], [tmp_path / "sim/labels.parquet"], specs, arguments["leakage"]
    )
    return found


def test_shares_by_hand(sim: Collection) -> None:
    counts = class_counts(sim, NOTE)
    train = sim.chips[sim.chips["split"] == "train"].assign(kind=sim.classes["kind_class"])
    assert list(counts) == ["alpine", "boreal"]  # chips without a region are left out
    assert counts.loc["tree", "alpine"] == (train["region"] == "alpine").sum()
    assert counts.loc["moss"].sum() == 0  # that of test chips, which are not read
    boreal = train[train["region"] == "boreal"]["kind"]
    shares = class_shares(counts)
    assert shares["alpine"].to_dict() == {"tree": 1, "crop": 0, "moss": 0}
    assert shares.loc["crop", "boreal"] == pytest.approx((boreal == "crop").sum() / boreal.notna().sum())
    assert list(class_shares(counts.assign(arctic=0))) == ["alpine", "boreal"]


def test_a_chip_of_several_classes_counts_for_each(sim: Collection) -> None:
    several = sim.classes["kind_class"].map(lambda name: f"{name} moss", na_action="ignore")
    sim.classes["kind_classes"] = several
    counts = class_counts(sim, NOTE.model_copy(update={"label": "kind_classes"}))
    assert (counts.loc["moss"] == counts.loc[["tree", "crop"]].sum()).all()
    assert counts.loc["moss", "boreal"] > 0


def test_shifts_are_drawn_of_chips_in_two_regions(sim: Collection, tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "figures")
    with house_style():
        prior, covariate = draw_regions(sim, NOTE, gallery)
        assert "Prior shift" in prior.caption and "simulated" in prior.caption
        assert "one class, tree" in covariate.caption  # in both regions
        assert 'aria-label="Chips of class tree of Simland in ' in covariate.svg
        sim.chips["region"] = "alpine"
        assert draw_regions(sim, NOTE, gallery) == []
        assert draw_regions(sim, NOTE.model_copy(update={"label": "gone_class"}), gallery) == []


def maps_of(rows: list[tuple[str, str]], **values: list[float]) -> dict[str, Any]:
    classes, chips = zip(*rows, strict=True)
    maps = np.array(list(values.values()), np.float32)[:, :, None, None] * np.ones((1, 1, 16, 16), np.float32)
    return {"encoders": np.array(list(values)), "classes": np.array(classes), "chip_ids": np.array(chips), "maps": maps}


def test_maps_are_averaged_over_runs() -> None:
    rows = [("tree", "a"), ("tree", "b"), ("crop", "c")]
    found = maps_of(rows, plain_s0=[0.2, 1.0, 0.0], cbn=[0.0, 0.0, 0.0], plain_s1=[0.4, 0.5, 0.0])
    mean = mean_maps(found, ("plain_s0", "plain_s1"), np.array([1, 0]))
    assert mean[:, 0, 0] == pytest.approx([0.75, 0.3])


def test_a_picture_for_each_class(sim: Collection, tmp_path: Path) -> None:
    a, b, c = sim.chips["chip_id"].tolist()[:3]
    level = [0.5, 0.5, 1.0]
    found = maps_of([("tree", a), ("tree", b), ("crop", c)], plain_s0=level, plain_s1=level, cbn=level)
    notes = [
        EncoderNote(name="plain", title="plain", collections=("sim",), data="x", members=("plain_s0", "plain_s1")),
        EncoderNote(name="cbn", title="cbn", collections=("sim",), data="x"),
    ]
    encoders = [TrainedEncoder(note, (), (), ()) for note in notes]
    with house_style():
        pictures = draw_attributions(sim, NOTE, encoders, found, Gallery(tmp_path / "figures"))
    assert [p.name for p in pictures] == ["classes-kinds-gradcam-tree", "classes-kinds-gradcam-crop"]
    assert "on 2 test chips of it" in pictures[0].caption and "on 1 test chip of it" in pictures[1].caption
    assert "plain, mean of 2 runs" in pictures[0].svg
