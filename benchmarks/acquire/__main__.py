"""`make bench-acquire`: measure, print, and write the table of docs/benchmarks.md."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import requests

from benchmarks.acquire.server import PART, checksums, serving
from benchmarks.page import PAGE, machine, write_block
from terraprobe.acquire.http import download_all
from terraprobe.acquire.remote import PARALLEL, EnvironmentSession, RemoteFile, Terms
from terraprobe.artifacts import sha256_file
from terraprobe.errors import TerraprobeError

FILES, SIZE, ROUNDS = 4, 64 << 20, 9
BAR = 0.8
SAME_CHECKS = "plain, flushed, SHA-256 taken"


def plain(folder: Path, address: str, sums: list[str]) -> None:
    """As one writes it by hand: as many threads, a part read and a part written, nothing checked or flushed."""
    session = requests.Session()
    session.trust_env = False

    def fetch(index: int) -> None:
        with (
            session.get(f"{address}/{index}", stream=True, timeout=60) as answer,
            (folder / f"{index}").open("wb") as f,
        ):
            for part in answer.iter_content(PART):
                f.write(part)

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(fetch, range(len(sums))))


def flushed(folder: Path, address: str, sums: list[str]) -> None:
    """The same, and each file is on the disk before it counts."""
    plain(folder, address, sums)
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def summed(folder: Path, address: str, sums: list[str]) -> None:
    """The same, and each file's SHA-256 is taken, as many files at once: what terraprobe does, by hand."""
    flushed(folder, address, sums)
    with ThreadPoolExecutor(PARALLEL) as pool:
        if list(pool.map(sha256_file, sorted(folder.iterdir()))) != sums:
            raise TerraprobeError("bench-acquire: other bytes than were served")


def checked(folder: Path, address: str, sums: list[str]) -> None:
    """As terraprobe does it: size and SHA-256 checked, flushed, renamed."""
    files = {folder / f"{k}": RemoteFile((f"{address}/{k}",), SIZE, sums[k]) for k in range(len(sums))}
    download_all("bench", files, Terms(EnvironmentSession()))


def unsummed(folder: Path, address: str, sums: list[str]) -> None:
    """As terraprobe does it where a provider states no checksum: size checked, flushed, renamed."""
    files = {folder / f"{k}": RemoteFile((f"{address}/{k}",), SIZE) for k in range(len(sums))}
    download_all("bench", files, Terms(EnvironmentSession()))


ARMS: dict[str, Callable[[Path, str, list[str]], None]] = {
    "plain": plain,
    "plain, flushed to disk": flushed,
    SAME_CHECKS: summed,
    "terraprobe": checked,
    "terraprobe, no checksum stated": unsummed,
}


PACES = {"line": "Four connections of 50 MB/s, 1.6 Gbit/s together", "full": "As fast as this machine can"}


def measure(address: str, scratch: Path, rounds: int) -> dict[str, list[float]]:
    """Bytes a second of every arm, a value a round: all take turns, in another order each time.

    Args:
        address: of the files, with their pace.
        scratch: an empty folder.
        rounds: after one that warms up.
    """
    sums, rates = checksums(FILES, SIZE), {name: list[float]() for name in ARMS}
    order = np.random.Generator(np.random.PCG64(1))
    for _ in range(rounds + 1):
        for name in order.permutation(list(ARMS)).tolist():
            folder = scratch / "files"
            folder.mkdir()
            began = time.perf_counter()
            ARMS[name](folder, address, sums)
            rates[name].append(FILES * SIZE / (time.perf_counter() - began))
            shutil.rmtree(folder)
    return {name: values[1:] for name, values in rates.items()}


def table(rates: dict[str, list[float]]) -> str:
    """The arms, and the bar."""
    lines = ["| download | MB/s, median | quartiles | beside plain |", "|---|---|---|---|"]
    for name, values in rates.items():
        low, middle, high = np.percentile(values, [25, 50, 75]) / 1e6
        share = np.median(np.array(values) / np.array(rates["plain"]))
        lines.append(f"| {name} | {middle:.0f} | {low:.0f} to {high:.0f} | {share:.0%} |")
    share, by_hand = (
        float(np.median(np.array(rates["terraprobe"]) / np.array(rates[name]))) for name in ("plain", SAME_CHECKS)
    )
    lines.append(
        f"\nBar: at least {BAR:.0%} of a plain download. {'Holds' if share >= BAR else 'Does not hold'}: {share:.0%}. "
        f"Beside the same checks by hand: {by_hand:.0%}."
    )
    return "\n".join(lines)


def main() -> int:
    """Measure and write.

    Returns:
        0, also where the bar does not hold.
    """
    parts = []
    with tempfile.TemporaryDirectory(prefix="terraprobe-") as scratch, serving(FILES, SIZE) as address:
        for pace, words in PACES.items():
            parts.append(f"**{words}**\n\n{table(measure(f'{address}/{pace}', Path(scratch), ROUNDS))}")
    what = f"{FILES} files of {SIZE >> 20} MiB, {PARALLEL} at once, {ROUNDS} rounds. {machine(['requests', 'urllib3'])}"
    text = "\n\n".join([what, *parts])
    print(text)
    if PAGE.exists():
        write_block("bench-acquire", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
