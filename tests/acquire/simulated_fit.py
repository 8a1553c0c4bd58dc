"""How well the simulated Earth fits genuine Sentinel-2 and Sentinel-1: one measurement, the same for both.

Writes the tables of docs/simulator.md; see there.
"""

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from genuine_windows import packaged_windows, shared_windows
from numpy.typing import NDArray
from window_statistics import CLASSES, SPECTRUM, Bands, Window, cut, measure

from terraprobe.acquire import simulated
from terraprobe.acquire.simulated import SimulatedWorld
from terraprobe.acquire.simulated.land import CROPS, Cover, Land, inner, make_land
from terraprobe.acquire.simulated.optical import BANDS, level1c, monthly_rgb
from terraprobe.acquire.simulated.radar import backscatter, coherence, monthly_backscatter
from terraprobe.acquire.simulated.world import Pair

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "simulator.md"
MARK = "<!-- Below: written by tests/acquire/simulated_fit.py -->\n"
SEEDS = (0, 1)
"""Development worlds; every other seed is for acceptance."""
PLACES = 20
SEASONS = {"February": ("2020-01", "2020-02", "2020-03"), "July": ("2020-06", "2020-07", "2020-08")}
_TOLD_PAIRS = ("B02, B03", "B03, B04", "B04, B05", "B04, B08", "B08, B8A", "B08, B11", "B04, B11", "B11, B12", "VV, VH")
_FEW = 5
_SECTIONS = {
    "l1c": "Sentinel-2, top of the atmosphere (`s2_l1c`), per cent",
    "l2a": "Sentinel-2, surface (`s2_rgb_monthly`), per cent",
    "s1": "Sentinel-1, one scene (`s1_grd`), dB",
    "s1_monthly": "Sentinel-1, one month (`s1_grd_monthly`), dB",
    "between": "Between the sensors",
    "class": "By broad land cover",
}


@dataclass(frozen=True)
class Sample:
    """One quantity over windows.

    Attributes:
        values: one for each window.
        places: how many places the windows lie in.
    """

    values: NDArray[np.float64]
    places: int

    @property
    def low(self) -> float:
        """5th percentile."""
        return float(np.quantile(self.values, 0.05))

    @property
    def high(self) -> float:
        """95th percentile."""
        return float(np.quantile(self.values, 0.95))

    @property
    def median(self) -> float:
        """50th percentile."""
        return float(np.median(self.values))


Samples = dict[str, Sample]


def gather(windows: Iterable[Window]) -> Samples:
    """Every quantity over the windows that have it."""
    found: dict[str, list[tuple[str, float]]] = {}
    for window in windows:
        for name, value in measure(window).items():
            found.setdefault(name, []).append((window.place, value))
    return {name: Sample(np.array([v for _, v in had]), len({p for p, _ in had})) for name, had in found.items()}


def simulated_windows(season: str) -> Iterator[Window]:
    """Windows of the development worlds without cloud and with every sensor; four from each place and product."""
    for seed in SEEDS:
        world = SimulatedWorld(seed=seed, months=SEASONS[season], cloud_share=0.0, missing_share=0.0)
        for index in range(PLACES):
            place, land = f"{seed}/{index}", make_land(world, index, "optical")
            classes, radar = _classes(land), _named(*backscatter(world, index, land))
            top = {name: dn / 100 for name, dn in _named(*level1c(world, index, land)).items()}
            yield from cut(Window("l1c", place, {name: top[name] for name in BANDS}, classes, radar))
            yield from cut(Window("s1", place, radar, classes))
            surface = {name: dn / 100 for name, dn in _named(*monthly_rgb(world, index, land)).items()}
            monthly = _named(*monthly_backscatter(world, index, land))
            for product, months in (("l2a", surface), ("s1_monthly", monthly)):
                now, then = (_month(months, month) for month in world.months[1:3])
                yield from cut(Window(product, place, now, classes, later=then))


def simulator_digest() -> str:
    """Digest of the simulator's source text, comments included: equal under every version of Python."""
    text = hashlib.sha256()
    for path in sorted(Path(simulated.__file__).parent.glob("*.py")):
        text.update(f"{path.name}\n{path.read_text(encoding='utf-8')}".encode())
    return text.hexdigest()[:12]


def tables(shared: Samples, packaged: Samples, seasons: Mapping[str, Samples]) -> str:
    """The generated half of docs/simulator.md."""
    parts, judged = [], []
    first, *_ = seasons
    for section, title in _SECTIONS.items():
        shown = [first] if section.startswith("s1") else list(seasons)  # simulated radar knows no season
        rows = []
        for name in told(seasons[first], section):
            genuine = [samples[name] for samples in (shared, packaged) if name in samples]
            if not genuine:
                continue
            cells = [name, _range(shared.get(name)), _count(shared.get(name)), _range(packaged.get(name))]
            for season in shown:
                sample = seasons[season][name]
                verdict = judge(sample, genuine)
                judged.append(verdict[:3])
                cells += [f"{sample.median:.2f} ({_range(sample)})", verdict]
            rows.append("| " + " | ".join(cells) + " |")
        heads = ["quantity", "genuine: test data", "n", "genuine: packaged"]
        heads += [head for season in shown for head in (f"simulated {season}", "inside")]
        parts += [f"### {title}\n", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *rows, ""]
    counts = {kind: judged.count(kind) for kind in ("in ", "out", "few")}
    sentence = (
        f"Of {len(judged)} comparisons {counts['in ']} are inside and {counts['out']} outside; {counts['few']} have "
        f"fewer than {_FEW} genuine windows.\n"
    )
    matrix = ["### Correlations between bands at the top of the atmosphere\n"]
    matrix += [f"Medians over windows: above the diagonal genuine test data, below simulated {first}.\n"]
    parts += [*matrix, *correlations(shared, seasons[first]), "", "### Coherence: simulated only\n"]
    parts += ["Before the noise of estimation; mean of all places (lowest and highest place).\n", *coherence_table()]
    return "\n".join([sentence, *parts]) + "\n"


def coherence_table() -> list[str]:
    """Simulated coherence by broad land cover after 12 and 48 days: means over places, lowest and highest place."""
    lines = ["| land cover | 12 days | 48 days |", "|---|---|---|"]
    found: dict[str, list[list[float]]] = {kind: [[], []] for kind in CLASSES}
    for seed in SEEDS:
        world = SimulatedWorld(seed=seed)
        for index in range(PLACES):
            land = make_land(world, index, "coherence")
            classes = _classes(land)
            for k, days in enumerate((12, 48)):
                pair = Pair(later=date(2020, 3, 1), earlier=date(2020, 3, 1) - timedelta(days), name="")
                image = inner(coherence(world, index, land, pair))
                for code, kind in enumerate(CLASSES, 1):
                    if (classes == code).any():
                        found[kind][k].append(float(image[classes == code].mean()))
    for kind, both in found.items():
        cells = [f"{np.mean(means):.2f} ({min(means):.2f} … {max(means):.2f})" for means in both]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def told(samples: Samples, section: str) -> list[str]:
    """Quantities of one section, in the order of the page."""
    names = []
    for name in samples:
        product, _, rest = name.partition(" ")
        home = product if product in _SECTIONS else "between"
        home = "between" if rest.startswith("s2 ") else home
        pair = rest.removeprefix("r ")
        if home == section and (home in ("between", "class") or rest == pair or pair in _TOLD_PAIRS or "later" in pair):
            names.append(name)
    return sorted(names) if section in ("between", "class") else names


def judge(sample: Sample, genuine: list[Sample]) -> str:
    """Whether the median lies within the genuine range, and what share of the simulated windows does."""
    if sum(g.values.size for g in genuine) < _FEW:
        return "few"
    low, high = min(g.low for g in genuine), max(g.high for g in genuine)
    share = ((sample.values >= low) & (sample.values <= high)).mean()
    return f"{'in' if low <= sample.median <= high else 'out'} ({100 * share:.0f} %)"


def correlations(genuine: Samples, simulated: Samples) -> list[str]:
    """Rows of the matrix of correlations between bands, for the page."""
    lines = ["| | " + " | ".join(SPECTRUM) + " |", "|---|" + "---|" * len(SPECTRUM)]
    for i, row in enumerate(SPECTRUM):
        cells = [f"**{row}**"]
        for j, column in enumerate(SPECTRUM):
            pair = ", ".join(sorted((row, column), key=SPECTRUM.index))
            samples = genuine if j > i else simulated
            cells.append("" if i == j else f"{samples[f'l1c r {pair}'].median:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _range(sample: Sample | None) -> str:
    return "" if sample is None else f"{sample.low:.2f} … {sample.high:.2f}"


def _count(sample: Sample | None) -> str:
    return "" if sample is None else f"{sample.values.size}/{sample.places}"


def _named(images: NDArray[np.generic], names: list[str]) -> Bands:
    return {name: image.astype(float) for name, image in zip(names, images, strict=True)}


def _month(bands: Bands, month: str) -> Bands:
    """One month's bands, less the difference of the two polarisations, which is measured from them."""
    had = {name.removeprefix(f"{month}_"): image for name, image in bands.items() if name.startswith(month)}
    return {name: image for name, image in had.items() if name != "VV-VH"}


def _classes(land: Land) -> NDArray[np.uint8]:
    """Codes of the broad classes; built as in the simulated WorldCover."""
    cover, building = inner(land.cover), inner(land.town.building)
    codes = np.zeros(cover.shape, np.uint8)
    kinds = ((Cover.WATER,), (Cover.CONIFER, Cover.DECIDUOUS, Cover.YOUNG), (Cover.GRASS, *CROPS))
    for code, covers in enumerate(kinds, 1):
        codes[np.isin(cover, covers)] = code
    codes[(building + inner(land.town.sealed) > 0.45) | (building > 0.2)] = len(CLASSES)
    return codes


def main(data: Path, downloads: Path) -> None:
    """Write the tables of docs/simulator.md."""
    seasons = {season: gather(simulated_windows(season)) for season in SEASONS}
    written, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    content = tables(gather(shared_windows(data)), gather(packaged_windows(downloads)), seasons)
    PAGE.write_text(written + MARK + "\n" + content, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the folder of test data")
    parser.add_argument("downloads", type=Path, help="the folder that holds the packaged scenes' folders")
    main(**vars(parser.parse_args()))
