"""`make bench-store`: measure, print, and write the tables of docs/benchmarks.md."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import rasterio

from benchmarks.page import PAGE, machine, write_block
from benchmarks.store.arms import ARMS, Arm
from benchmarks.store.inputs import Inputs, Pixels, make_inputs, write_usual
from benchmarks.store.timing import Plan, Row, check_equal, measure_cold, measure_warm
from benchmarks.store.verdict import bar_table, judge, time_table
from terraprobe.errors import TerraprobeError

PIXELS = Pixels(tiles=4, tile_px=2048)

PLANS = {
    64: Plan(batch=64, warm_rounds=11, cold_rounds=5, fast_batches=20, slow_chips=16),
    256: Plan(batch=16, warm_rounds=11, cold_rounds=5, fast_batches=20, slow_chips=16),
}
"""Chip side to plan. Batches stay below 32 MB, where memory that was freed can be used again without new pages."""

GDAL_CACHE_MB = 8
"""GDAL keeps decoded blocks: with its default cache, repeated reads of a file that fits would measure memory."""

LIBRARIES = ("numpy", "rasterio", "torchgeo", "torch")


def run(folder: Path, pixels: Pixels, plans: dict[int, Plan], arms: Sequence[type[Arm]]) -> tuple[list[Row], str]:
    """Make the inputs, check that all readers agree, and measure.

    Args:
        folder: for the inputs, does not exist yet.
        pixels: size of the inputs.
        plans: chip side to plan.
        arms: readers.

    Returns:
        The rows, and a sentence on the conversion.

    Raises:
        TerraprobeError: a reader gives other pixels, or files stay cached.
    """
    usual = write_usual(folder / "usual", pixels)
    rows, conversion = [], []
    for chip_px, plan in plans.items():
        inputs = make_inputs(folder / str(chip_px), pixels, usual, chip_px)
        check_equal(inputs, arms, plan.slow_chips)
        with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_MB):
            rows += measure_warm(inputs, arms, plan) + measure_cold(inputs, arms, plan)
        conversion.append(f"{inputs.conversion_s:.1f} s for chips of {chip_px} px")
        _remove(inputs)
    return (
        rows,
        f"Conversion of {pixels.nbytes / 1e6:.0f} MB of deflate GeoTIFFs to a sealed store: {', '.join(conversion)}.",
    )


def _remove(inputs: Inputs) -> None:
    for path in [*inputs.store.iterdir(), inputs.plain, *inputs.aligned]:
        path.unlink()


def main() -> int:
    """Run, print and write. Bars that do not hold are told, and are no failure of the run."""
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        try:
            rows, conversion = run(Path(folder) / "inputs", PIXELS, PLANS, ARMS)
        except TerraprobeError as error:
            print(f"bench-store: {error}", file=sys.stderr)
            return 1
    bars = judge(rows)
    text = "\n\n".join([machine(LIBRARIES) + " " + conversion, bar_table(bars), time_table(rows)])
    print(text)
    print(f"\n{sum(bar.held for bar in bars)} of {len(bars)} bars hold. Written to {PAGE.relative_to(Path.cwd())}.")
    write_block("bench-store", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
