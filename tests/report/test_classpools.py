"""What the page says of pools of heads follows from their numbers by rule."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from terraprobe.report.classpools import class_pool_sentences, class_pool_table, draw_class_pool, judged_classes
from terraprobe.report.drawing import Gallery, Picture, house_style
from terraprobe.report.notes import ClassPoolNote

NOTE = ClassPoolNote(name="off", title="Shift off", evaluations=("a", "b", "c"), simulated=True, margin=0.02)
PLAIN = NOTE.model_copy(update={"margin": None})


def row(arm: str, rival: str, difference: float, half: float, **changes: Any) -> dict[str, Any]:
    """A row of `pool_classes` with an interval of that half width; the 90 % one is 0.8 of it."""
    low90, high90 = difference - 0.8 * half, difference + 0.8 * half
    told = {
        "pool": "off", "arm": arm, "rival": rival, "value": 0.7 + difference, "rival_value": 0.7,
        "difference": difference, "low": difference - half, "high": difference + half, "low90": low90,
        "high90": high90, "equal": "equal" if max(-low90, high90) < 0.02 else "not shown", "p": 0.001, "p_holm": 0.003,
        "n_evaluations": 3, "n_better": 2, "spread": 0.0123, "n_blocks": 90, "n_test": 1440, "margin": 0.02,
    }  # fmt: skip
    return told | changes


def table(margin: bool = True, **changes: Any) -> pd.DataFrame:
    """`near` is equal to plain, `far` below it, `unsure` neither; another pool stands beside them."""
    said: dict[str, Any] = {} if margin else {"equal": "", "margin": float("nan")}
    rows = [
        row("near", "plain", 0.004, 0.01, p_holm=0.8, **said),
        row("far", "plain", -0.05, 0.01, **said),
        row("unsure", "plain", 0.01, 0.03, p_holm=0.6, **said),
        row("plain", "majority", 0.3, 0.02, rival_value=0.4, value=0.7, **said),
        row("far", "near", -0.054, 0.01, **said),
        row("near", "majority", 0.304, 0.02, rival_value=0.4, value=0.704, **said),
    ]
    other = row("near", "plain", 0.2, 0.01, pool="on")
    return pd.DataFrame([other, *rows]).assign(**changes)


def drawn(rows: pd.DataFrame, note: ClassPoolNote, folder: Path) -> list[Picture]:
    with house_style():
        return draw_class_pool(note, rows, Gallery(folder))


def test_rows_of_the_pool_get_a_verdict() -> None:
    rows = judged_classes(table(), NOTE)
    assert rows["arm"].tolist() == ["near", "far", "unsure", "plain", "far", "near"]
    assert rows["verdict"].tolist() == ["not shown", "worse", "not shown", "better", "worse", "better"]
    assert set(rows["data"]) == {"simulated"}


def test_sentences_say_every_arm_against_the_first() -> None:
    opening, near, far, unsure = class_pool_sentences(NOTE, judged_classes(table(), NOTE))
    assert opening == (
        "3 evaluations, 1,440 simulated test chips in 90 blocks; mean differences over evaluations, 95 % intervals "
        "over blocks, then seeds. plain: accuracy 0.700, against the majority class +0.300 [+0.280, +0.320], better."
    )
    assert near == (
        "near: 0.704, against plain +0.004 [−0.006, +0.014], no difference shown; equal within ±0.02, 90 % interval "
        "[−0.004, +0.012]; above plain in 2 of 3, SD over them 0.012."
    )
    assert far == (
        "far: 0.650, against plain −0.050 [−0.060, −0.040], worse; not shown to be equal within ±0.02, 90 % interval "
        "[−0.058, −0.042]; above plain in 2 of 3, SD over them 0.012."
    )
    assert "no difference shown; not shown to be equal within ±0.02" in unsure


def test_without_a_margin_nothing_is_called_equal(tmp_path: Path) -> None:
    rows = judged_classes(table(margin=False), PLAIN)
    sentences = class_pool_sentences(PLAIN, rows)
    assert sentences[1] == (
        "near: 0.704, against plain +0.004 [−0.006, +0.014], no difference shown; above plain in 2 of 3, SD "
        "over them 0.012."
    )
    assert "equal" not in " ".join(sentences)
    titles = [column.title for column in class_pool_table(PLAIN, rows).columns]
    assert not [title for title in titles if "within" in title or "90 %" in title]
    (picture,) = drawn(rows, PLAIN, tmp_path)
    assert "margin" not in picture.caption


@pytest.mark.parametrize("n_blocks", [29, 30])
def test_few_blocks_carry_no_claim(n_blocks: int) -> None:
    rows = judged_classes(table(n_blocks=n_blocks), NOTE)
    said = " ".join(class_pool_sentences(NOTE, rows))
    few = n_blocks < 30
    assert (set(rows["verdict"]) == {"too few blocks"}) == few
    assert ("not judged (fewer than 30 test blocks)" in said) == few
    assert ("equal" in said) == (not few)
    assert (set(rows["equal"]) == {""}) == few


def test_the_table_holds_every_two_arms() -> None:
    rows = judged_classes(table(), NOTE)
    told = class_pool_table(NOTE, rows)
    assert told.name == "class-pool-off"
    cells = {column.title: k for k, column in enumerate(told.columns)}
    texts = [[cell.text for cell in line] for line in told.rows]
    assert len(texts) == 6
    first, last = texts[0], texts[-1]
    shown = ("model", "data", "accuracy", "against", "difference", "p (Holm)", "90 % from", "within ±0.02", "verdict")
    assert [first[cells[name]] for name in shown] == [
        "near", "simulated", "0.704", "plain", "+0.004", "0.800", "−0.004", "equal", "not shown",
    ]  # fmt: skip
    assert last[cells["against"]] == "majority class"
    assert [first[cells[name]] for name in ("evaluations above 0", "of", "SD over them", "test blocks")] == [
        "2", "3", "0.012", "90",
    ]  # fmt: skip


def test_the_figure_says_in_words_what_it_shows(tmp_path: Path) -> None:
    (picture,) = drawn(judged_classes(table(), NOTE), NOTE, tmp_path)
    assert picture.name == "class-pool-off"
    words = "Differences from plain: near +0.004, not shown; far −0.050, worse; unsure +0.010, not shown."
    assert f'aria-label="{words}"' in picture.svg
    assert "Right of the line an arm is better than plain." in picture.caption
    assert "Grey: the margin of ±0.02 that was said beforehand." in picture.caption
    assert (tmp_path / "class-pool-off.png").is_file()


@pytest.mark.parametrize("half", [0.004, 0.03, 0.0965, 0.4])
def test_numbers_below_the_figure_do_not_run_into_each_other(tmp_path: Path, half: float) -> None:
    rows = table().assign(difference=0.0, low=-half, high=half, low90=-0.8 * half, high90=0.8 * half)
    rows = judged_classes(rows, PLAIN)
    figures: list[Any] = []

    class Kept(Gallery):
        def add(self, name: str, figure: Any, alt: str, caption: str) -> Picture:
            figures.append(figure)
            return super().add(name, figure, alt, caption)

    with house_style():
        draw_class_pool(PLAIN, rows, Kept(tmp_path))
        figures[0].canvas.draw()
        labels = [text for text in figures[0].axes[0].get_xticklabels() if text.get_text()]
        low, high = figures[0].axes[0].get_xlim()
        boxes = [text.get_window_extent() for text in labels if low <= text.get_position()[0] <= high]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_an_arm_that_stands_alone_is_held_against_the_majority_class(tmp_path: Path) -> None:
    rows = judged_classes(pd.DataFrame([row("plain", "majority", 0.3, 0.02, rival_value=0.4)]), NOTE)
    (sentence,) = class_pool_sentences(NOTE, rows)
    assert "against the majority class +0.300 [+0.280, +0.320], better." in sentence
    assert drawn(rows, NOTE, tmp_path) == []
