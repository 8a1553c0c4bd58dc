"""Pictures of single bands and of augmented chips: how many there are, and what they say in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from terraprobe.artifacts import read_table, write_arrays, write_table
from terraprobe.report.augmentations import draw_views
from terraprobe.report.bandfeatures import draw_band_attributions, draw_band_projections
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.inputs import Collection, read_collections, read_encoders
from terraprobe.report.notes import MlpNote

NOTE = MlpNote(name="e", title="Kinds band by band", collection="sim", simulated=True, label="kind_class")


@pytest.fixture
def sim(study: Any, tmp_path: Path) -> Collection:
    """The simulated collection, whose chips are trees, crop or of no known class."""
    arguments = study.arguments()
    labels = read_table(study.root / "collections/sim/labels.parquet")
    kind = np.array(["tree", "crop", None], object)[np.arange(len(labels)) % 3]
    write_table(tmp_path / "sim/labels.parquet", labels.assign(kind_class=kind))
    specs = [p for p in arguments["specs"] if "sim" in p.parts]
    notes = [note for note in study.recipe.collections if note.name == "sim"]
    (found,) = read_collections(
        notes, arguments["chips"], [tmp_path / "sim/labels.parquet"], specs, arguments["leakage"]
    )
    return found


def points(collection: Collection, encoders: tuple[str, ...]) -> pd.DataFrame:
    """A table as `project_bands` writes it."""
    train = collection.chips.loc[collection.in_split("train"), "chip_id"].to_numpy(str)
    rng = np.random.default_rng(0)
    first = next(iter(collection.modalities.values()))
    return pd.concat(
        [
            pd.DataFrame({"encoder": encoder, "modality": first.layer.name, "view": view, "chip_id": train,
                          "x": rng.normal(size=len(train)), "y": rng.normal(size=len(train))})
            for view in first.bands[:2]
            for encoder in encoders
        ]
    )  # fmt: skip


def attributions(collection: Collection, encoders: tuple[str, ...]) -> dict[str, Any]:
    """An archive as `attribute_bands` writes it."""
    first = next(iter(collection.modalities.values()))
    views = ["+".join(first.bands[:3]), first.bands[0]]
    ids = collection.chips.loc[collection.in_split("test"), "chip_id"].to_numpy(str)[:3]
    pairs = [(encoder, view) for view in views for encoder in encoders]
    return {
        "chip_ids": ids,
        "classes": np.array(["tree", "tree", "crop"]),
        "encoders": np.array([encoder for encoder, _ in pairs]),
        "views": np.array([view for _, view in pairs]),
        "modalities": np.array([first.layer.name] * len(pairs)),
        "maps": np.random.default_rng(0).random((len(pairs), 3, first.chip_px, first.chip_px)).astype(np.float32),
    }


def test_one_picture_a_view_and_a_panel_an_encoder(sim: Collection, tmp_path: Path) -> None:
    table = points(sim, ("pairs", "ms_only", "third"))
    with house_style():
        pictures = draw_band_projections(sim, NOTE, table, Gallery(tmp_path))
    assert [picture.name for picture in pictures] == ["bands-e-tsne-0", "bands-e-tsne-1"]
    view = table["view"].iloc[0]
    assert f'aria-label="t-SNE of what pairs, ms_only, third say of {view}, coloured by kind_class."' in pictures[0].svg
    for name in ("tree", "crop", "pairs", "ms_only", "third"):
        assert f">{name}<" in pictures[0].svg
    assert f"the same {len(table) // 6:,} train and validation chips (simulated)" in pictures[0].caption


def test_one_picture_a_class_and_a_row_an_encoder(sim: Collection, tmp_path: Path) -> None:
    found = attributions(sim, ("pairs", "ms_only"))
    with house_style():
        trees, crop = draw_band_attributions(sim, NOTE, found, Gallery(tmp_path))
    assert trees.name == "bands-e-cam-tree" and "2 test chips of class tree" in trees.svg
    assert "1 test chip of class crop" in crop.svg
    band = found["views"][-1]
    assert f">{band}<" in trees.svg and f">{band}, ms_only<" in trees.svg
    assert "the first seed of an encoder" in trees.caption


def test_no_test_chip_no_picture(sim: Collection, tmp_path: Path) -> None:
    found = attributions(sim, ("pairs",))
    none = {**found, "chip_ids": found["chip_ids"][:0], "classes": found["classes"][:0], "maps": found["maps"][:, :0]}
    with house_style():
        assert draw_band_attributions(sim, NOTE, none, Gallery(tmp_path)) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_views_before_and_after(study: Any, tmp_path: Path, channels: int) -> None:
    arguments = study.arguments()
    encoder = read_encoders(study.recipe.encoders, arguments["cards"], arguments["histories"])[0]
    rng = np.random.default_rng(0)
    plain, after = rng.random((2, 2, 5, channels, 16, 16)).astype(np.float32)
    bands = np.array([["B04"] * 5, ["VV", "VH", "VV", "VH", "VV"]])
    with house_style():
        (picture,) = draw_views(
            encoder, {"bands": bands, "plain": plain, "augmented": after, "chip_ids": np.arange(5)}, Gallery(tmp_path)
        )
    assert picture.name == f"training-{encoder.note.name}-views"
    assert "B04 against VV; B04 against VH" in picture.svg
    assert "First view" in picture.svg
    assert "erased is black" in picture.caption


def test_they_stand_on_the_page(study: Any, sim: Collection, tmp_path: Path) -> None:
    from mlp_world import score, write_world
    from terraprobe.report.page import write_report

    world, arguments = score(write_world(tmp_path / "world")), study.arguments()
    for name, table in (("mlp", "scores"), ("mlp_differences", "differences"), ("mlp_curves", "curves")):
        arguments[name] = [tmp_path / f"{table}.parquet"]
        write_table(arguments[name][0], world[table])
    write_table(tmp_path / "e.projections.parquet", points(sim, ("pairs",)))
    write_arrays(tmp_path / "e.attributions.npz", attributions(sim, ("pairs",)))
    first = study.recipe.encoders[0].name
    two = np.random.default_rng(0).random((2, 2, 1, 16, 16)).astype(np.float32)
    views = {"chip_ids": np.array(["a", "b"]), "bands": np.array([["B04"] * 2] * 2), "plain": two, "augmented": two}
    write_arrays(tmp_path / first / "views.npz", views)
    arguments["labels"] = [p for p in arguments["labels"] if p.parent.name != "sim"] + [tmp_path / "sim/labels.parquet"]
    arguments["band_projections"] = [tmp_path / "e.projections.parquet"]
    arguments["band_attributions"] = [tmp_path / "e.attributions.npz"]
    arguments["views"] = [tmp_path / first / "views.npz"]
    recipe = study.recipe.model_copy(update={"mlp_probes": (NOTE,)})
    write_report(**arguments, recipe=recipe, page=tmp_path / "page/index.html")
    html = (tmp_path / "page/index.html").read_text()
    for name in ("bands-e-tsne-0", "bands-e-cam-tree", f"training-{first}-views"):
        assert f'id="fig-{name}"' in html
