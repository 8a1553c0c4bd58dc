"""What benchmarks write into docs/benchmarks.md: each its own block, between its own marks."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from terraprobe.artifacts import atomic_path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
END = "<!-- end -->"


def begin(target: str) -> str:
    """The mark that a block begins with.

    Args:
        target: of the Makefile, such as `bench-store`.
    """
    return f"<!-- make {target}: begin -->"


def write_block(target: str, text: str, page: Path = PAGE) -> None:
    """Replace the block of one benchmark and nothing else.

    Args:
        target: of the Makefile.
        text: Markdown.
        page: that has the marks.
    """
    before, rest = page.read_text().split(begin(target))
    after = rest.partition(END)[2]
    with atomic_path(page) as temporary:
        temporary.write_text(f"{before}{begin(target)}\n\n{text}\n\n{END}{after}")


def machine(libraries: Sequence[str]) -> str:
    """A sentence on what was measured on.

    Args:
        libraries: distributions whose versions matter.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, Python {platform.python_version()}, {versions}."
