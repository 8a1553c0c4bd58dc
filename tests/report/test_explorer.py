"""What the embedding explorer is given: chips, neighbours and pictures that belong together."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terraprobe.artifacts import read_table
from terraprobe.report import explorer as module
from terraprobe.report.inputs import read_collections, read_encoders
from terraprobe.report.pagedata import coded, script_json
from terraprobe.report.thumbnails import ACROSS, NOT_OBSERVED, draw_thumbnails


def material(study):
    given = study.arguments()
    parts = (given[name] for name in ("chips", "labels", "specs", "leakage"))
    collections = read_collections(study.recipe.collections, *parts)
    return collections, read_encoders(study.recipe.encoders, given["cards"], given["histories"])


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), f"<{dtype}")


def test_neighbours_on_the_page_are_those_of_the_embedding(page: Path, study) -> None:
    found = re.search(r'id="explorer-data">(.*?)</script>', page.read_text())
    assert found
    data = json.loads(found[1])
    table = read_table(study.root / "projections.parquet")
    assert len(data["views"]) == len(table.groupby(["encoder", "collection", "modality"]))
    for view in data["views"]:
        where = [view[name] for name in ("name", "collection", "modality")]
        rows = table[(table[["encoder", "collection", "modality"]] == where).all(axis=1)]
        ids = np.array(data["collections"][view["collection"]]["ids"])[unpack(view["chips"], "u2")]
        assert ids.tolist() == rows["chip_id"].tolist()
        near = unpack(view["near"], "u2").reshape(-1, view["k"])
        assert [ids[row].tolist() for row in near] == [list(chips) for chips in rows["nearest"]]
        assert unpack(view["cosines"], "i2") / 1e4 == pytest.approx(np.concatenate(rows["cosines"].to_list()), abs=6e-5)


def test_no_more_pictures_than_there_is_room_for(study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHIPS", 60)
    collections, encoders = material(study)
    projections = read_table(study.root / "projections.parquet")
    data = json.loads(module.explorer(collections, encoders, projections)["data"])
    assert [len(c["ids"]) for c in data["collections"].values()] == [30, 30]
    for view in data["views"]:
        chips, near = unpack(view["chips"], "u2"), unpack(view["near"], "u2")
        assert chips.max() < 30 and near.max() <= len(chips)
    assert module.explorer(collections, encoders, projections.iloc[:0]) == {}


def test_pictures_show_their_chips(study) -> None:
    collection = material(study)[0][1]
    store = collection.modalities["s2_rgb_monthly"]
    store.valid[5] = 0  # this one has radar alone
    for modality in collection.modalities.values():
        modality.valid[9] = 0
    chips = np.array([9, 5, 200, 3])
    drawn = draw_thumbnails(collection, chips)
    assert drawn.shows[2:] == ["natural colour"] * 2 and drawn.shows[0] == NOT_OBSERVED
    assert "in grey" in drawn.shows[1]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.sheets[0].partition(",")[2]))), float)
    side = drawn.side_px
    assert sheet.shape == (side, ACROSS * side, 3)
    first, second, third = (sheet[:, k * side : (k + 1) * side] for k in range(3))
    assert first.min() > 250 and np.ptp(second[:, 3:-3], axis=2).max() < 12
    wanted = np.moveaxis(store.physical(np.full(3, 200), np.array([store.bands.index(b) for b in bands(store)])), 0, -1)
    assert np.corrcoef(third.mean(axis=2).ravel(), wanted.mean(axis=2).ravel())[0, 1] > 0.8


def bands(store) -> list[str]:
    return [next(b for b in store.bands if b.endswith(name)) for name in ("B04", "B03", "B02")]


def test_names_and_places() -> None:
    found = coded(["b", None, "a", "test", "b"], ("test", "train"))
    assert found["names"] == ["test", "a", "b", ""]
    assert unpack(found["codes"], "u2").tolist() == [2, 3, 1, 0, 2]
    assert json.loads(script_json({"x": "</script>"})) == {"x": "</script>"} and "<" not in script_json("</script>")
