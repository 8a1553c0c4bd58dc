"""`make bench-train`: measure, print, and write the tables of docs/benchmarks.md."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.page import PAGE, machine, write_block
from benchmarks.train.arms import BIGEARTHNET, EUROSAT, PEERS, TRIO, Arm, Work, check_equal
from benchmarks.train.byol import Pairs, byol_table, measure_byol
from benchmarks.train.timing import Plan, measure
from benchmarks.train.verdict import bar_table, judge, time_table
from terraprobe.devices import count_gpus
from terraprobe.errors import TerraprobeError

PLAN = Plan(warm_steps=2, rounds=21, steps=1)
GPU_PLAN = Plan(warm_steps=10, rounds=11, steps=20)
"""A step on a GPU takes milliseconds, and the first ones choose algorithms."""

LIBRARIES = ("torch", "torchvision", "lightly")


def on_cpu(work: Work, plan: Plan, peers: Mapping[str, Arm]) -> str:
    """The bars and α.

    Args:
        work: what is trained on.
        plan: how much is measured.
        peers: what the plain network is held against.

    Raises:
        TerraprobeError: a peer is another network.
    """
    check_equal(work, peers)
    rows = measure({**TRIO, **peers}, work, plan, torch.device("cpu"))
    what = f"CPU, {torch.get_num_threads()} threads, fp32. {_about(work)}, {plan.rounds} rounds."
    return "\n\n".join([what, bar_table(judge(rows)), time_table(rows)])


def on_gpu(works: Sequence[Work], plan: Plan) -> str:
    """The trio at full batch on the first GPU, or one line that says why not.

    Args:
        works: what is trained on.
        plan: how much is measured.
    """
    if reason := no_gpu(count_gpus(), torch.cuda.is_available):
        return f"GPU part skipped: {reason}"
    device = torch.device("cuda", 0)
    parts = []
    for work in works:
        turns = f"{plan.rounds} rounds of {plan.steps} steps"
        what = f"{torch.cuda.get_device_name(device)}, bf16. {_about(work)}, {turns}."
        parts += [what, time_table(measure(TRIO, work, plan, device))]
    return "\n\n".join(parts)


def byol(pairs: Pairs, plan: Plan, device: torch.device) -> str:
    """`rsbyol` beside lightly's BYOL.

    Args:
        pairs: what is trained on.
        plan: how much is measured.
        device: where.
    """
    rows = measure_byol(pairs, plan, device)
    size = f"{pairs.full.batch_size} pairs of one band, {pairs.px} px"
    what = f"BYOL, {device.type.upper()}: whole steps, {size}, {plan.rounds} rounds."
    return f"{what}\n\n{byol_table(rows, device.type == 'cpu' and has_bf16_units())}"


def has_bf16_units() -> bool:
    """Whether the processor multiplies bf16 itself (avx512_bf16)."""
    listed = Path("/proc/cpuinfo")
    return listed.exists() and "avx512_bf16" in listed.read_text()


def no_gpu(found: int, usable: Callable[[], bool]) -> str:
    """Why nothing is measured on a GPU; empty where one can be used.

    Args:
        found: number of GPUs here.
        usable: whether torch can use one; asked only where there is one.
    """
    if not found:
        return "no NVIDIA GPU here (no /dev/nvidia0)."
    if not usable():
        return f"{found} NVIDIA GPU here, but torch {torch.__version__} cannot use it (driver, CUDA_VISIBLE_DEVICES)."
    return ""


def _about(work: Work) -> str:
    return f"{work.title}: {work.conditioned('none').batch_size} images of {work.bands} × {work.px} × {work.px}"


def main() -> int:
    """Run, print and write. Bars that do not hold are told, and are no failure of the run."""
    try:
        parts = [machine(LIBRARIES), on_cpu(EUROSAT, PLAN, PEERS), byol(Pairs(), PLAN, torch.device("cpu"))]
        parts += [on_gpu([EUROSAT, BIGEARTHNET], GPU_PLAN)]
        if torch.cuda.is_available():
            parts += [byol(Pairs(), GPU_PLAN, torch.device("cuda", 0))]
    except TerraprobeError as error:
        print(f"bench-train: {error}", file=sys.stderr)
        return 1
    text = "\n\n".join(parts)
    print(text)
    write_block("bench-train", text)
    print(f"\nWritten to {PAGE}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
