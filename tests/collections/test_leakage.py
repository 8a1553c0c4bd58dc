"""Distances are those on the ground, across zones too; a broken limit stops the stage with its figure."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from pyproj import Transformer

from terraprobe.artifacts import write_table
from terraprobe.collections.grid import chip_frame
from terraprobe.collections.leakage import LeakageLimit, LeakageRecipe, audit_leakage
from terraprobe.collections.nearness import nearness
from terraprobe.errors import TerraprobeError

SIDE_M = 640.0


def chips(lefts_tops, crs="EPSG:32633", split="train"):
    """Chips of 640 m, corners in metres from (500 km, 5600 km)."""
    left, top = np.array(lefts_tops, float).T
    rows = pd.DataFrame({"crs": crs, "left": 500_000 + left, "top": 5_600_000 + top})
    frame = chip_frame(rows.assign(block=np.arange(len(rows)).astype(str), shard="000", source="x"), 64)
    return frame.assign(split=split, region="")


def together(*frames):
    return pd.concat(frames, ignore_index=True)


def audit(folder, frame, labels=None, others=(), **recipe):
    """Run the stage; its JSON."""
    paths = {"chips": folder / "land" / "chips.parquet", "leakage": folder / "l.json", "picture": folder / "l.png"}
    write_table(paths["chips"], frame, {"chip_px": "64"})
    given = []
    if labels is not None:
        given = [folder / "labels.parquet"]
        write_table(given[0], pd.DataFrame({"chip_id": frame["chip_id"], **labels}))
    recipe = LeakageRecipe(collection="land", **recipe)
    audit_leakage(**paths, labels=given, pretraining=list(others), recipe=recipe)
    return json.loads(paths["leakage"].read_text())


@pytest.mark.parametrize(
    ("offset", "metres"),
    [((640, 0), 0), ((640, -640), 0), ((320, 100), 0), ((1640, 0), 1000), ((940, -1040), 500), ((0, 100_640), 100_000)],
)
def test_distance_is_edge_to_edge(offset, metres):
    found = nearness(chips([(0, 0)]), chips([offset]))
    assert found.distance_m == pytest.approx([metres], rel=1e-3, abs=0.5)
    assert found.touching_pairs == (metres == 0)


def test_the_nearest_of_many_is_found():
    rng = np.random.default_rng(0)
    ours, theirs = rng.uniform(0, 30_000, (40, 2)), rng.uniform(0, 30_000, (60, 2))
    gap = np.maximum(np.abs(ours[:, None] - theirs[None]) - SIDE_M, 0)
    wanted = np.hypot(*gap.transpose(2, 0, 1))
    found = nearness(chips(ours), chips(theirs))
    np.testing.assert_allclose(found.distance_m, wanted.min(axis=1), rtol=1e-3, atol=0.5)
    assert found.touching_pairs == (wanted < 0.5).sum()


def test_touching_is_found_across_zones():
    edge = Transformer.from_crs("EPSG:32633", "EPSG:32632", always_xy=True)
    left, bottom = edge.transform(500_000.0, 5_600_000.0)
    here = chips([(0, 640)])
    there = chips([(left - 500_000 - 640 + 10, bottom - 5_600_000 + 640)], crs="EPSG:32632")
    far = chips([(left - 500_000 - 3000, bottom - 5_600_000 + 640)], crs="EPSG:32632")
    assert nearness(here, there).touching_pairs == 1
    assert 1500 < nearness(here, far).distance_m[0] < 3000


def test_touching_is_no_overlap():
    found = nearness(chips([(0, 0), (3200, 0)]), chips([(640, 0), (3300, 0)]))
    assert found.overlaps.tolist() == [False, True]


def test_figures_of_a_row_of_chips(tmp_path):
    frame = together(
        chips([(0, 0)]),
        chips([(640, 0), (2280, 0), (11_000, 0), (40_000, 0)], split="test"),
        chips([(0, 9000)], split="val"),
    )
    near = audit(tmp_path, frame)["test_to_train"]
    assert near["within_km"] == {"0": 0.25, "1": 0.25, "10": 0.5, "25": 0.75}
    assert (near["touching_pairs"], near["touching_val_pairs"]) == (1, 0)
    assert near["quantiles_m"]["max"] == pytest.approx(39_360, rel=1e-3)
    assert near["ecdf"]["distance_m"] == sorted(near["ecdf"]["distance_m"])
    assert (near["ecdf"]["share"][0], near["ecdf"]["share"][-1]) == (0, 1)


def test_labels_are_measured_and_coverage_is_no_label(tmp_path):
    places = [(x * 640, y * 640) for x in range(20) for y in range(20)]
    split = np.repeat(["train", "val", "test", "test"], 100)
    x = np.array(places)[:, 0]
    labels = {"slope": x.astype(float), "flat": 1.0, "layer_coverage": x.astype(float)}
    found = audit(tmp_path, chips(places, split=split), labels)
    assert set(found["labels"]) == {"slope", "flat"}
    assert found["labels"]["slope"]["morans_i"]["value"] > 0.9
    assert found["labels"]["flat"]["morans_i"] is None
    assert found["labels"]["flat"]["correlogram"]["length_km"] is None


def test_equal_inputs_give_equal_bytes(tmp_path):
    frame = together(chips([(0, 0)]), chips([(5000, 0)], split="test"), chips([(9000, 0)], split="val"))
    for name in "ab":
        audit(tmp_path / name, frame)
    for file in ("l.json", "l.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_pretraining_on_another_collection_is_found_and_refused(tmp_path):
    frame = together(chips([(0, 0)]), chips([(5000, 0), (7000, 0)], split="test"), chips([(9000, 0)], split="val"))
    other = tmp_path / "sea" / "chips.parquet"
    table = together(chips([(5100, 0)]), chips([(7000, 0)], split="test"))
    write_table(other, table, {"chip_px": "64"})
    encoders = {"own": ("land",), "both": ("land", "sea")}
    free = LeakageLimit(pretraining_overlap=None)
    found = audit(tmp_path, frame, others=[other], encoders=encoders, limit=free)
    assert [(row["encoder"], row["chips"], row["share"]) for row in found["pretraining"]] == [
        ("own", 0, 0.0), ("both", 1, 0.5),
    ]  # fmt: skip
    with pytest.raises(
        TerraprobeError, match=r"collection land: pretraining_overlap is 0\.5, its leakage_limit is 0;.*both"
    ):
        audit(tmp_path / "again", frame, others=[other], encoders=encoders)
    assert not (tmp_path / "again" / "l.json").exists()


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"touching_pairs": 0}, "touching_pairs is 1, its leakage_limit is 0"),
        ({"share_within_1_km": 0.2}, "share_within_1_km is 0.5, its leakage_limit is 0.2"),
        ({"share_within_25_km": 0.9}, "share_within_25_km is 1, its leakage_limit is 0.9"),
    ],
)
def test_a_broken_limit_is_one_sentence_with_its_figure(tmp_path, limit, words):
    frame = together(chips([(0, 0)]), chips([(640, 0), (5000, 0)], split="test"), chips([(9000, 0)], split="val"))
    with pytest.raises(TerraprobeError, match=words) as error:
        audit(tmp_path, frame, limit=LeakageLimit(**limit))
    assert "larger buffer_m" in str(error.value)


@pytest.mark.parametrize("limit", [{"touching_pairs": -1}, {"share_within_1_km": 1.5}, {"touching": 0}])
def test_a_limit_out_of_range_or_unknown_is_refused(limit):
    with pytest.raises(ValidationError):
        LeakageLimit(**limit)
