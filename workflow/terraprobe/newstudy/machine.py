"""What the machine is that a study is to run on."""

import os
from dataclasses import dataclass
from pathlib import Path

from terraprobe.devices import count_gpus


@dataclass(frozen=True)
class Machine:
    """What training is sized by.

    Attributes:
        cores: that this process may use.
        memory_gb: of the machine; 0 where it is not known.
        gpus: NVIDIA GPUs.
    """

    cores: int
    memory_gb: float
    gpus: int

    @property
    def words(self) -> str:
        """For people."""
        memory = f"{self.memory_gb:.0f} GB of memory" if self.memory_gb else "memory not known"
        return f"{self.cores} cores, {memory}, {self.gpus or 'no'} GPU{'s' * (self.gpus > 1)}"

    @property
    def batch_size(self) -> int:
        """Chips a step of small networks: half as many where memory is short."""
        return 16 if 0 < self.memory_gb < 6 else 32


def this_machine() -> Machine:
    """The one that this runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores, _memory_gb(Path("/proc/meminfo")), count_gpus())


def _memory_gb(path: Path) -> float:
    """`MemTotal` of Linux; 0 on another system."""
    if not path.is_file():
        return 0.0
    rows = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return int(rows.get("MemTotal", "0 kB").split()[0]) / 1e6
