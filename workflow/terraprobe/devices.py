"""What this machine computes with, found out without importing torch."""

from pathlib import Path


def count_gpus() -> int:
    """Number of NVIDIA GPUs whose device files are here."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))
