"""How figures look, and how they are saved: files for papers, and SVG that follows the page's light or dark theme."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from terraprobe.artifacts import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

WIDTH_IN = 4.2
"""Width of every figure, in inches: on a phone its 9.5 pt text is still 11 px tall or more."""

INK, MUTED, RULE, PAPER = "#1b1f24", "#5b6470", "#d0d6dd", "#fefefe"

# Okabe & Ito (2008), safe for the colour-blind; their yellow is left out: it cannot be read on white.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)

SPLIT_COLOURS = MappingProxyType({"train": BLUE, "val": ORANGE, "test": RED, "buffer": "#9aa3ad"})

THEMED = MappingProxyType(
    {
        INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper", BLUE: "blue", ORANGE: "orange",
        GREEN: "green", RED: "red", PURPLE: "purple", SKY: "sky",
    }
)  # fmt: skip
"""Colours that the page sets again for its dark theme: hex to the name of the CSS variable."""

_PNG_DPI = 160
_RC: Any = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titlecolor": INK,
    "axes.labelsize": 10,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "terraprobe",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it.

    Attributes:
        name: stem of its files.
        svg: inline SVG whose colours are CSS variables.
        caption: what it shows and how to read it; plain text.
    """

    name: str
    svg: str
    caption: str


@dataclass
class Gallery:
    """The folder of figures, and the names written so far.

    Attributes:
        folder: `report/figures`.
        captions: of the figures written, by name.
    """

    folder: Path
    captions: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, figure: "MplFigure", alt: str, caption: str) -> Picture:
        """Save a figure as `<name>.svg` and `<name>.png` and make it ready for the page.

        Args:
            name: file stem, unique in the report.
            figure: of `themed_figure`.
            alt: what the figure shows, in words, for those who cannot see it.
            caption: printed below it.
        """
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")  # laid out once: a second time takes an eighth of the report's time
        with atomic_path(self.folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=_PNG_DPI, transparent=False, facecolor="white",
                           metadata={"Software": None})  # fmt: skip
        svg = text.getvalue()
        with atomic_path(self.folder / f"{name}.svg") as temporary:
            temporary.write_text(svg)
        self.captions[name] = caption
        return Picture(name, inline_svg(svg, name, alt), caption)

    def finish(self) -> None:
        """Write `captions.md`, and remove figures of an earlier report that this one does not have."""
        with atomic_path(self.folder / "captions.md") as temporary:
            temporary.write_text("\n\n".join(f"**{name}** {text}" for name, text in self.captions.items()) + "\n")
        keep = {f"{name}.{suffix}" for name in self.captions for suffix in ("svg", "png")}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.suffix in (".svg", ".png") and path.name not in keep:
                path.unlink()


def themed_figure(height_in: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple["MplFigure", Any]:
    """A figure of the report's width and its axes, as an array (rows, columns); call it within `house_style`.

    Args:
        height_in: its height, in inches.
        rows: of axes.
        columns: of axes.
        options: passed to `Figure.subplots`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save figures of the report within this context."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        yield


def colour_key(figure: "MplFigure", colours: Mapping[str, str]) -> None:
    """A key of coloured squares below the axes: name to colour."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="s", ls="", ms=7, color=c, label=name) for name, c in colours.items()]
    columns = 4 if max(map(len, colours)) < 12 else 3
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, handletextpad=0.2, columnspacing=1.0)


def inline_svg(svg: str, name: str, alt: str) -> str:
    """Turn Matplotlib's SVG file into an element of the page.

    Ids get the figure's name in front, so that no two figures of the page share one; sizes go, so that it scales;
    colours become CSS variables; text takes the page's font.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"\bfont: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|matplotlib|legend)[^"]*"', "", svg)
    svg = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    for colour, variable in THEMED.items():
        svg = svg.replace(colour, f"var(--{variable})")
    box = re.search(r'viewBox="([^"]+)"', svg)
    head = f'<svg viewBox="{box.group(1) if box else "0 0 300 200"}" role="img" aria-label="{_attribute(alt)}"'
    svg = re.sub(r"^<svg[^>]*>", f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">', svg, count=1)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
