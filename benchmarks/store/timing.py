"""One interleaved run: every reader in every round, in another order each time."""

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.store.arms import Arm, Plain
from benchmarks.store.cache import cached_share, drop, read_through
from benchmarks.store.inputs import CHANNELS, Inputs
from terraprobe.errors import TerraprobeError

SEQUENTIAL = {"sequential read": False, "sequential read, announced": True}
"""References of the cold readers: large reads of the store's files, without and with announcing the next one."""

MOST_CACHED = 0.01
"""A file is cold when at most this share of it is cached."""

PAUSE_S = 0.2
"""Before each cold read: a virtual disk that has just been busy may be slower."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        batch: chips of a batch.
        warm_rounds: rounds with cached files.
        cold_rounds: rounds with files that are not cached.
        fast_batches: batches of a fast reader in a warm round; the others read one.
        slow_chips: chips that a slow reader reads in a round; its time for a chip does not depend on how many.
    """

    batch: int
    warm_rounds: int
    cold_rounds: int
    fast_batches: int
    slow_chips: int


@dataclass(frozen=True)
class Row:
    """Time that a reader takes for a chip.

    Attributes:
        chip_px: side of the chips.
        state: `warm` or `cold`.
        channels: 1 or all.
        arm: name of the reader.
        rounds: seconds for one chip, a value a round.
    """

    chip_px: int
    state: str
    channels: int
    arm: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the rounds, seconds."""
        return float(np.median(self.rounds))

    @property
    def spread(self) -> tuple[float, float]:
        """Quartiles of the rounds, seconds."""
        low, high = np.quantile(self.rounds, [0.25, 0.75])
        return float(low), float(high)


def check_equal(inputs: Inputs, arms: Sequence[type[Arm]], count: int) -> None:
    """Every reader must give the pixels of the plain map.

    Args:
        inputs: the files.
        arms: readers.
        count: chips that are compared, drawn at random.

    Raises:
        TerraprobeError: one reader differs.
    """
    rng = np.random.default_rng(1)
    chips, channels = rng.integers(0, inputs.shape[0], count), rng.integers(0, CHANNELS, count)
    truth = np.load(inputs.plain, mmap_mode="r")
    for kind in arms:
        arm = kind(inputs)
        same = np.array_equal(arm.one(chips, channels), truth[chips, channels])
        if not (same and np.array_equal(arm.whole(chips), truth[chips])):
            raise TerraprobeError(
                f"{kind.name}: other pixels than {Plain.name} for the same chips of {inputs.chip_px} px; all readers "
                "must agree before times mean anything. Mend the reader (benchmarks/store/arms.py)."
            )
        arm.close()


def measure_warm(inputs: Inputs, kinds: Sequence[type[Arm]], plan: Plan) -> list[Row]:
    """Random batches from cached files, readers open."""
    arms = [kind(inputs) for kind in kinds]
    for arm in arms:
        read_through(arm.files(inputs))
        if arm.fast:  # its pages are mapped, too
            for first in range(0, inputs.shape[0], plan.batch):
                arm.whole(np.arange(first, min(first + plan.batch, inputs.shape[0])))
    rng = np.random.default_rng(2)

    def measure(arm: Arm, channels: int) -> float:
        count, size = (plan.fast_batches, plan.batch) if arm.fast else (1, plan.slow_chips)
        batches = [(rng.integers(0, inputs.shape[0], size), rng.integers(0, CHANNELS, size)) for _ in range(count)]
        return _seconds(arm, channels, batches)

    jobs = {(channels, arm.name): (measure, arm, channels) for arm in arms for channels in (1, CHANNELS)}
    rows = _interleave(inputs.chip_px, "warm", jobs, plan.warm_rounds)
    for arm in arms:
        arm.close()
    return rows


def measure_cold(inputs: Inputs, kinds: Sequence[type[Arm]], plan: Plan) -> list[Row]:
    """A shuffled epoch from files that are not cached; slow readers read a part of one.

    Raises:
        TerraprobeError: the files stay cached.
    """
    rng = np.random.default_rng(3)

    def measure(kind: type[Arm], channels: int) -> float:
        _make_cold(kind, inputs)
        arm = kind(inputs)
        order = rng.permutation(inputs.shape[0])[: None if arm.fast else plan.slow_chips]
        drawn = rng.integers(0, CHANNELS, len(order))
        starts = range(0, len(order), plan.batch)
        seconds = _seconds(arm, channels, [(order[i : i + plan.batch], drawn[i : i + plan.batch]) for i in starts])
        arm.close()
        return seconds

    def sequential(kind: type[Arm], announce: bool) -> float:
        _make_cold(kind, inputs)
        began = time.perf_counter()
        read_through(kind.files(inputs), announce)
        return (time.perf_counter() - began) / inputs.shape[0]

    jobs: dict[tuple[int, str], Any] = {
        (channels, kind.name): (measure, kind, channels) for kind in kinds for channels in (1, CHANNELS)
    }
    jobs |= {(CHANNELS, name): (sequential, Plain, announce) for name, announce in SEQUENTIAL.items()}
    return _interleave(inputs.chip_px, "cold", jobs, plan.cold_rounds)


def _make_cold(kind: type[Arm], inputs: Inputs) -> None:
    gc.collect()  # a map that is still open holds its pages
    files = kind.files(inputs)
    drop(files)
    if (share := cached_share(files)) > MOST_CACHED:
        raise TerraprobeError(
            f"{files[0].parent}: {share:.0%} of the files of {kind.name} stay cached although the kernel was asked to "
            "drop them, as on a RAM disk. Set TMPDIR to a folder on a disk."
        )
    time.sleep(PAUSE_S)


def _seconds(arm: Arm, channels: int, batches: list[tuple[NDArray[np.intp], NDArray[np.intp]]]) -> float:
    """Seconds for one chip."""
    began = time.perf_counter()
    for chips, drawn in batches:
        # The last batch is still held while the next is read, as in a training step.
        held = arm.one(chips, drawn) if channels == 1 else arm.whole(chips)
    seconds = time.perf_counter() - began
    del held
    return seconds / sum(len(chips) for chips, _ in batches)


def _interleave(
    chip_px: int, state: str, jobs: dict[tuple[int, str], tuple[Callable[..., float], Any, Any]], rounds: int
) -> list[Row]:
    times = defaultdict(list)
    keys = list(jobs)
    shuffle = np.random.default_rng(4)
    for _ in range(rounds):
        for place in shuffle.permutation(len(keys)):
            measure, *arguments = jobs[keys[place]]
            times[keys[place]].append(measure(*arguments))
    return [Row(chip_px, state, channels, arm, tuple(times[channels, arm])) for channels, arm in keys]
