"""`terraprobe plan STUDY`: what a study will ask for, before anything is fetched."""

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terraprobe.acquire.earthengine.products import PRODUCTS, after
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LABELS, MODALITIES
from terraprobe.sources import read_sources
from terraprobe.study.area import CONTEXT_SOURCES, AreaCollection
from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.files import load_study
from terraprobe.study.whole import Study
from terraprobe.towers import TowerRecipe

if TYPE_CHECKING:
    import pandas as pd

GOOD_SHARD_BYTES = 8e9
"""A good size of the largest file of a shard: a job of some hours, a few thousand jobs for the largest study."""

PAIR_DAYS = (12, 24, 36, 48)
"""Days between the two dates of a pair that `clip3` takes: repeats of one satellite, at most 48 days."""

A100_FLOPS = 0.4 * 312e12
"""40 % of an A100's 312 TFLOP/s in bf16 (its data sheet): what well-fed training of a ViT reaches."""

FED_GPUS = 8
"""GPUs that the reading is counted for: one node, as clusters have them."""


def plan_command(argv: list[str]) -> int:
    """`terraprobe plan FILE`: requests, bytes, disk, jobs, pairs and GPU hours, without a network."""
    parser = argparse.ArgumentParser(prog="terraprobe plan", description="What a study will need; fetches nothing.")
    parser.add_argument("file", type=Path)
    file = parser.parse_args(argv).file
    study = load_study(file)
    areas = [c for c in study.collections if isinstance(c, AreaCollection)]
    chips, needs = {}, []
    for area in areas:
        laid = area_chips(area)
        chips[area.name] = len(laid)
        needs += _say_area(area, laid)
    if areas:
        _say_total(needs, sum(chips.values()))
    if any(area.has_context for area in areas):
        sources = [read_sources()[name] for name in CONTEXT_SOURCES]
        fetched = [f"{source.title} ({source.size})" for source in sources]
        print(f"context, once for all studies: {'; '.join(fetched)}")
    for encoder in study.members:
        print(f"encoder {encoder.name}: {_gpu_words(study, encoder, chips)}")
    print(f"jobs: {_jobs(file)}")
    return 0


def area_chips(area: AreaCollection) -> "pd.DataFrame":
    """Every chip of an area, as `lay_grid` lays them: `crs, left, top, block, shard, source`."""
    from terraprobe.collections.areagrid import AreaGrid, area_rows

    return area_rows(Path(area.path), AreaGrid.model_validate(area.grid_area()))


def layer_requests(chips: "pd.DataFrame", layer: str, chip_px: int) -> tuple[int, int]:
    """Requests to Earth Engine for one layer, and uncompressed bytes of their answers at most.

    Args:
        chips: of an area.
        layer: that Earth Engine gives.
        chip_px: side of a chip.
    """
    from terraprobe.acquire.earthengine.windows import shard_windows

    product, requests, pixels = PRODUCTS[layer], 0, 0
    for _, shard in chips.groupby("shard"):
        transforms: Any = [[10.0, 0.0, x, 0.0, -10.0, y] for x, y in shard[["left", "top"]].to_numpy()]
        windows = shard_windows(shard.assign(transform=transforms), chip_px, product)
        requests += len(windows)
        pixels += sum(window.width * window.height for window in windows)
    return requests, pixels * product.pixel_bytes


def store_bytes(layer: str, chip_px: int) -> int:
    """Bytes of one chip of a layer in the store; of a layer with a variable number of channels those of one."""
    channels = len(MODALITIES[layer].bands) if layer in MODALITIES else 1
    size = 1 if layer in LABELS and LABELS[layer].dtype == "uint8" else 2
    return channels * size * chip_px**2


def good_shards(chips: int, area: AreaCollection) -> int:
    """A good number of shards, by the largest layer."""
    largest = max(store_bytes(layer, area.chip_px) for layer in area.layers)
    return min(1000, max(1, round(chips * largest / GOOD_SHARD_BYTES)))


def pairs_at_most(area: AreaCollection) -> int:
    """Pairs of dates that one track of one satellite can give: visits of the months times the intervals between."""
    days = date.fromisoformat(after(area.months[-1])) - date.fromisoformat(f"{area.months[0]}-01")
    return -(-days.days // PAIR_DAYS[0]) * len(PAIR_DAYS)


def gpu_hours(encoder: EncoderEntry, chip_px: int, train_chips: int) -> float | None:
    """A100 hours of a training of transformers; None for other networks.

    Six floating-point operations a parameter and token for forward and backward, and those of attention.
    """
    recipe: Any = encoder.full_recipe
    if not all(hasattr(recipe, key) for key in ("width", "depth", "patch_px", "epochs")):
        return None
    tokens = (chip_px // recipe.patch_px) ** 2 + 1
    weights = 12 * recipe.depth * recipe.width**2
    attention = 2 * recipe.depth * tokens * recipe.width
    operations = 6 * (weights + attention) * tokens * len(recipe.towers)
    return float(operations * train_chips * recipe.epochs / A100_FLOPS / 3600)


@dataclass(frozen=True)
class Feed:
    """What `FED_GPUS` want to read in a training of transformers, a second.

    Attributes:
        chips: that they take.
        reads: of one channel of one modality, anywhere in its store.
        size: bytes of these.
    """

    chips: float
    reads: float
    size: float


def feed(encoder: EncoderEntry, chip_px: int) -> Feed | None:
    """What well-fed GPUs want to read; None for networks other than transformers that take a channel at a time."""
    hours, recipe = gpu_hours(encoder, chip_px, 1), encoder.full_recipe
    if hours is None:
        return None
    towers: Mapping[str, TowerRecipe] = getattr(recipe, "towers", {})
    channels = [store_bytes(t.modality, chip_px) // max(1, len(MODALITIES[t.modality].bands)) for t in towers.values()]
    chips = FED_GPUS * recipe.epochs / (hours * 3600)
    return Feed(chips, chips * len(channels), chips * sum(channels))


@dataclass(frozen=True)
class Need:
    """What one layer of one area needs.

    Attributes:
        layer: a modality or label layer.
        requests: to Earth Engine.
        fetched: uncompressed bytes of their answers.
        kept: bytes in the store; of a layer with a variable number of channels those of one.
    """

    layer: str
    requests: int
    fetched: int
    kept: int


def _say_area(area: AreaCollection, chips: "pd.DataFrame") -> list[Need]:
    count = len(chips)
    print(
        f"{area.name}: {count:,} chips of {area.chip_px} px in {area.shards} shards of some {count // area.shards:,} "
        f"(a good number: {good_shards(count, area)})"
    )
    needs = []
    for layer in area.layers:
        requests, fetched = layer_requests(chips, layer, area.chip_px) if layer in PRODUCTS else (0, 0)
        need = Need(layer, requests, fetched, count * store_bytes(layer, area.chip_px))
        asked = f"{requests:,} requests, at most {_size(fetched)} to fetch, " if requests else ""
        print(f"  {layer}: {asked}{_size(need.kept)} in the store{_pair_words(area) if layer in _VARIABLE else ''}")
        needs.append(need)
    return needs


_VARIABLE = [name for name, modality in MODALITIES.items() if modality.variable]


def _pair_words(area: AreaCollection) -> str:
    return (
        f" for each pair that a chip has: at most {pairs_at_most(area)} a track and satellite ({len(PAIR_DAYS)} "
        f"intervals of {PAIR_DAYS[0]} to {PAIR_DAYS[-1]} days); which exist is known after the search"
    )


def _say_total(needs: list[Need], chips: int) -> None:
    requests, fetched = sum(n.requests for n in needs), sum(n.fetched for n in needs)
    coherence = " with one pair a chip" if any(n.layer in _VARIABLE for n in needs) else ""
    print(f"all areas: {chips:,} chips; Earth Engine: {requests:,} requests, at most {_size(fetched)} uncompressed")
    print(f"disk: at most {_size(fetched)} of raw tiles, {_size(sum(n.kept for n in needs))} of stores{coherence}")


def _gpu_words(study: Study, encoder: EncoderEntry, chips: dict[str, int]) -> str:
    collections = [study.collection(name) for name in encoder.collections]
    if any(c.name not in chips for c in collections):
        return "GPU hours are not estimated: the number of chips is known when they are laid"
    train = sum(round(chips[c.name] * _train_share(c.split)) for c in collections)
    hours, wanted = gpu_hours(encoder, collections[0].chip_px, train), feed(encoder, collections[0].chip_px)
    if hours is None or wanted is None:
        return f"{train:,} train chips; GPU hours are not estimated for this method"
    return (
        f"some {train:,} train chips; {hours:,.1f} A100 hours, if all chips have every modality and the GPU does "
        f"40 % of its peak; {FED_GPUS} of them take {wanted.chips:,.0f} chips a second, which is {wanted.reads:,.0f} "
        f"reads of one channel, {_size(wanted.size)} a second"
    )


def _train_share(split: Any) -> float:
    pattern = getattr(split, "pattern", None)
    if pattern:
        return float(sum(part == "train" for part in pattern) / len(pattern))
    shares = getattr(split, "shares", None)
    return float(shares.train) if shares is not None else 0.6


def _jobs(file: Path) -> str:
    """The number of jobs that a dry run plans."""
    if not Path("Snakefile").is_file():
        return "run `terraprobe plan` in the project's folder to count them"
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--configfile", str(file), "--nolock"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TerraprobeError(f"{file}: snakemake -n fails: {(done.stderr + done.stdout).strip()[-500:]}")
    found = re.findall(r"^total\s+(\d+)", done.stdout + done.stderr, re.MULTILINE)
    return f"{int(found[0]):,} (snakemake -n)" if found else "none, all is there"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
