"""Training curves, and whether the embeddings stayed alive."""

from typing import Any

import pandas as pd

from terraprobe.report.drawing import BLUE, CYCLE, INK, RED, Gallery, Picture, themed_figure
from terraprobe.report.inputs import TrainedEncoder

_HEIGHT_IN = 2.9
_FEW = 60  # epochs that still get a mark each
_LINE_GAP = 0.08  # of the axis: the height of a line of text
_RANK, _START = "effective_rank_", "random_init_rank_"


def draw_training(encoder: TrainedEncoder, gallery: Gallery) -> list[Picture]:
    """Loss, learning rate, spread and effective rank of one encoder's embeddings."""
    return [draw(encoder, gallery) for draw in (_loss, _rank, _spread_and_rate)]


def _loss(encoder: TrainedEncoder, gallery: Gallery) -> Picture:
    history, title = encoder.history, encoder.note.title
    best = history.loc[history["epoch"] == encoder.card["best_epoch"]]
    figure, axes = themed_figure(_HEIGHT_IN)
    ax = axes[0, 0]
    lines = {"train": ("loss", BLUE), "validation": ("val_loss", RED)}
    for column, colour in lines.values():
        _line(ax, history, column, colour)
    _name_lines(ax, history, lines)
    ax.scatter(best["step"], best["val_loss"], s=40, facecolor="none", edgecolor=INK, lw=1.3, zorder=5)
    _finish(ax, f"Loss, {encoder.note.data}")
    low = float(best["val_loss"].iloc[0])
    alt = f"Train and validation loss of {title} by step; validation loss of the kept checkpoint {low:.3f}."
    caption = f"Loss by step. Ring: the checkpoint that was kept, epoch {encoder.card['best_epoch']}, {low:.3f}."
    return gallery.add(f"training-{encoder.note.name}-loss", figure, alt, caption)


def _rank(encoder: TrainedEncoder, gallery: Gallery) -> Picture:
    history, title = encoder.history, encoder.note.title
    names = [str(c).removeprefix(_RANK) for c in history if str(c).startswith(_RANK)]
    figure, axes = themed_figure(_HEIGHT_IN)
    ax = axes[0, 0]
    lines = {name: (f"{_RANK}{name}", colour) for name, colour in zip(names, CYCLE, strict=False)}
    for name, (column, colour) in lines.items():
        _line(ax, history, column, colour)
        ax.plot(history["step"], history[f"{_START}{name}"], color=colour, lw=1.2, ls=":")
    _name_lines(ax, history, lines)
    ax.set_ylim(bottom=0)
    _finish(ax, f"Effective rank, {encoder.note.data}")
    last = history.iloc[-1]
    ends = [f"{n} {last[_RANK + n]:.1f}, untrained {last[_START + n]:.1f}" for n in names]
    words = "; ".join(ends) or "not measured, too few validation chips"
    alt = f"Effective rank of the embeddings of each tower of {title} by step. At the end: {words}."
    caption = f"Effective rank of validation embeddings by tower; dotted: the untrained tower's. At the end: {words}."
    return gallery.add(f"training-{encoder.note.name}-rank", figure, alt, caption)


def _spread_and_rate(encoder: TrainedEncoder, gallery: Gallery) -> Picture:
    history, title = encoder.history, encoder.note.title
    figure, axes = themed_figure(_HEIGHT_IN, 2, sharex=True)
    _line(axes[0, 0], history, "embedding_std", BLUE)
    _finish(axes[0, 0], f"Spread, {encoder.note.data}")
    _line(axes[1, 0], history, "lr", BLUE)
    axes[1, 0].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    _finish(axes[1, 0], "Learning rate")
    axes[0, 0].set(ylim=(0, None), xlabel="")
    axes[1, 0].set_ylim(bottom=0)
    peak = float(history["lr"].max())
    alt = f"Curves by step of {title}: standard deviation of the embeddings; learning rate, highest {peak:.2g}."
    towers = ", ".join(dict.fromkeys(name for name in history["weakest_tower"] if name))
    caption = (
        "Above: standard deviation of unit-length embeddings; 1 where they fill the sphere evenly. The weakest tower "
        f"has the least rank for its start: {towers or 'not measured'}. Below: learning rate at each epoch's end."
    )
    return gallery.add(f"training-{encoder.note.name}-spread", figure, alt, caption)


def _line(ax: Any, history: pd.DataFrame, column: str, colour: str) -> None:
    ax.plot(history["step"], history[column], color=colour, marker="." if len(history) < _FEW else None)


def _name_lines(ax: Any, history: pd.DataFrame, lines: dict[str, tuple[str, str]]) -> None:
    """Write each line's name at its end, pushed apart where ends lie close."""
    known = {name: history[column].dropna() for name, (column, _) in lines.items()}
    ends = sorted((float(values.iloc[-1]), name) for name, values in known.items() if len(values))
    low, high = ax.get_ylim()
    least, below = (high - low) * _LINE_GAP, -float("inf")
    for value, name in ends:
        below = max(value, below + least)
        ax.annotate(name, (history["step"].iloc[-1], below), xytext=(5, 0), textcoords="offset points",
                    color=lines[name][1], va="center", annotation_clip=False)  # fmt: skip


def _finish(ax: Any, title: str) -> None:
    ax.set(title=title, xlabel="step")
    ax.grid(True, axis="y")


def card_facts(card: dict[str, Any]) -> list[tuple[str, str]]:
    """What matters first on a card."""
    towers = card["towers"].items()
    sees = "; ".join(f"{name}: {', '.join(t['bands'])} of {t['modality']} ({t['unit']})" for name, t in towers)
    chips = card["chips"]
    right = f", validation accuracy {card['best_val_accuracy']:.3f}" if "label" in card else ""
    return [
        ("method", str(card["method"])),
        ("towers", sees),
        ("parameters", f"{card['parameters']['total']:,}"),
        ("chips", f"{chips['train']:,} train, {chips['val']:,} validation, {card['chip_px']} px"),
        ("kept", f"epoch {card['best_epoch']}, validation loss {card['best_val_loss']:.4f}{right}"),
        ("seed", str(card["seed"])),
    ]
