"""Encoders of one arm are told as one."""

import pandas as pd
import pytest

from terraprobe.report.inputs import TrainedEncoder, by_arm
from terraprobe.report.notes import EncoderNote
from terraprobe.report.overview import seeds_table


def trained(name: str, collection: str, arm: str = "", lr: float = 0.1) -> TrainedEncoder:
    note = EncoderNote(
        name=name, title=f"{name} (s2)", collections=(collection,), data=f"{collection} (simulated)", arm=arm
    )
    card = {"method": "bioclim", "recipe": {"lr": lr}, "seed": 0, "best_epoch": 1, "best_val_loss": 0.5}
    history = pd.DataFrame({"loss": [1.0], "embedding_std": [0.5]})
    return TrainedEncoder(note, (card,), (history,), ({"seconds": 1},))


def test_an_arm_is_one_and_lists_its_encoders():
    alone = trained("alone", "north")
    arm = [trained("plain_north", "north", "plain"), trained("plain_south", "south", "plain")]
    found = by_arm([arm[0], alone, arm[1]])
    assert [e.note.name for e in found] == ["plain", "alone"]
    note = found[0].note
    assert (note.title, note.collections, note.runs) == (
        "plain (s2)",
        ("north", "south"),
        ("plain_north", "plain_south"),
    )
    assert note.data == "north (simulated) and, one by one, 1 more"
    assert found[0].cards == arm[0].cards + arm[1].cards
    table = seeds_table(found[0])
    assert table is not None and table.frame["encoder"].tolist() == ["plain_north", "plain_south"]
    assert found[1] is alone


@pytest.mark.parametrize("lr", [0.1, 0.2])
def test_arms_of_two_recipes_are_not_one(lr):
    found = by_arm([trained("a_north", "north", "a"), trained("a_south", "south", "a", lr)])
    assert len(found) == (1 if lr == 0.1 else 2)
