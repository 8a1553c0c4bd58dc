"""What the page says of probes band by band follows from their numbers by rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlp_world import score, write_world
from terraprobe.artifacts import write_table
from terraprobe.probes.mlp_pools import MlpPoolRecipe, pool_mlp
from terraprobe.report.bandpictures import draw_bands, draw_classes, draw_curves_of, draw_pooled_bands
from terraprobe.report.bands import (
    arm_sentences,
    band_points,
    bands_differences_table,
    bands_scores_table,
    bands_sentences,
    bands_table,
    judged_bands,
    largest,
    view_title,
)
from terraprobe.report.drawing import Gallery, house_style
from terraprobe.report.notes import ClassPoolNote, MlpNote
from terraprobe.report.page import write_report

NOTE = MlpNote(name="e", title="Cover class band by band", collection="sim", simulated=True, label="cover_class")
POOL = ClassPoolNote(name="both", title="Both", evaluations=("e", "f"), simulated=True, margin=0.5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tables of one evaluation, and of a pool of it with another."""
    root = tmp_path_factory.mktemp("bands")
    tables: dict[str, Any] = score(write_world(root / "e"))
    score(write_world(root / "f", seed=1), evaluation="f", collection="more")
    recipe = MlpPoolRecipe(pool="both", evaluations=("e", "f"), entries={}, margin=0.5)
    samples = [root / name / "samples.parquet" for name in ("e", "f")]
    pool_mlp(samples=samples, recipe=recipe, pooled=root / "pooled.parquet")
    return {**tables, "pooled": pd.read_parquet(root / "pooled.parquet"), "root": root}


def many_blocks(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(n_blocks=40)


def test_the_table_has_a_row_a_band_and_a_column_a_model(world: dict[str, Any]) -> None:
    told = bands_table(NOTE, band_points(NOTE, world["scores"]))
    assert [c.title for c in told.columns] == [
        "band", "good", "bad", "good, untrained", "bad, untrained", "image statistics", "majority class",
    ]  # fmt: skip
    rows = [[cell.text for cell in row] for row in told.rows]
    assert [row[0] for row in rows] == ["all bands", "multispectral", "radar", "B04", "B08", "VV"]
    found = world["scores"].query("arm == 'good' and init == 'trained' and view == 'B08' and metric == 'f1_macro'")
    (one,) = found.to_dict("records")
    assert rows[4][1] == f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def test_the_long_table_has_everything(world: dict[str, Any]) -> None:
    told = bands_scores_table(NOTE, band_points(NOTE, world["scores"]))
    assert len(told.rows) == 6 * 6
    assert set(told.frame["effective_rank"].dropna()) == {2.5}
    assert told.frame["accuracy"].between(0, 1).all()


def test_sentences_say_every_arm_and_pair(world: dict[str, Any]) -> None:
    points, compared = band_points(NOTE, world["scores"]), judged_bands(many_blocks(world["differences"]), NOTE)
    opening, good, bad, pair = bands_sentences(NOTE, points, compared)
    assert opening.startswith("3 classes of cover_class, all labels, up to 38 simulated test chips in 8 blocks, fewer")
    assert "left out: 1 without a class, 1 of a class that no train chip has" in opening
    assert good.startswith("good: mean F1 over all bands (3) 0.")
    assert "against good, untrained +0." in good and "against image statistics +0." in good
    assert good.endswith("Band by band better than its untrained twin on 3 of 3, worse on 0.")
    assert pair.startswith("bad against good: all bands −0.") and "the paper's t-test over 3 bands: p " in pair
    assert "worse" in pair and bad.startswith("bad: mean F1 over")


def test_few_blocks_carry_no_claim(world: dict[str, Any]) -> None:
    said = " ".join(arm_sentences(judged_bands(world["differences"], NOTE)))
    assert "not judged (fewer than 30 test blocks)" in said and "better" not in said and "worse" not in said


def test_a_pool_says_in_how_many_evaluations(world: dict[str, Any]) -> None:
    rows = judged_bands(many_blocks(world["pooled"]), POOL)
    *_, pair = arm_sentences(rows)
    assert "above 0 in 0 of 2" in pair and "not shown to be equal" in pair
    table = bands_differences_table("bands-pool-both", rows, pooled=True)
    assert {"evaluations above 0", "SD over them", "p, t-test over bands"} <= {c.title for c in table.columns}
    assert len(table.rows) == len(rows)


def test_names_of_views() -> None:
    assert view_title("B04") == "B04" and view_title("B04+B03+B02") == "B04+B03+B02"
    assert view_title("B01+B02+B03+B04") == "B01 … B04 (4)"
    assert view_title("", "sar") == "radar"


def test_figures_say_in_words_what_they_show(world: dict[str, Any], tmp_path: Path) -> None:
    points, gallery = largest(band_points(NOTE, world["scores"])), Gallery(tmp_path)
    with house_style():
        (bands,) = draw_bands(NOTE, points, gallery)
        (classes,) = draw_classes(NOTE, points, gallery)
        curves = draw_curves_of(NOTE, world["curves"], points, gallery)
        pooled = draw_pooled_bands(POOL, judged_bands(many_blocks(world["pooled"]), POOL), gallery)
    assert 'aria-label="Macro F1, mean over bands: good 0.' in bands.svg
    assert 'aria-label="Median F1 over bands: crop by good 0.' in classes.svg
    assert len(curves) == 4 and all("Areas under the ROC curves: crop 0." in one.svg for one in curves)
    assert len(pooled) == 3 and "all bands −0." in pooled[-1].svg
    assert len(list(tmp_path.glob("*.png"))) == len(gallery.captions) == 9


def test_the_section_stands_on_the_page(study: Any, world: dict[str, Any], tmp_path: Path) -> None:
    arguments = study.arguments()
    for name, table in (("mlp", "scores"), ("mlp_differences", "differences"), ("mlp_curves", "curves")):
        arguments[name] = [tmp_path / f"{table}.parquet"]
        write_table(arguments[name][0], world[table])
    arguments["mlp_pools"] = [world["root"] / "pooled.parquet"]
    recipe = study.recipe.model_copy(update={"mlp_probes": (NOTE,), "mlp_pools": (POOL,)})
    write_report(**arguments, recipe=recipe, page=tmp_path / "page/index.html")
    html = (tmp_path / "page/index.html").read_text()
    for name in ("bands-e", "bands-scores-e", "bands-differences-e", "bands-pool-both"):
        assert f'id="table-{name}"' in html and (tmp_path / f"page/tables/{name}.csv").is_file()
    for name in ("bands-e", "bands-e-classes", "bands-e-roc-good-0", "bands-pool-both-0"):
        assert f'id="fig-{name}"' in html
    assert '<a href="#bands">Band by band</a>' in html
    csv = pd.read_csv(tmp_path / "page/tables/bands-scores-e.csv")
    assert np.isfinite(csv["value"]).all()
