"""A split that is given as a list: one row a source."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terraprobe.artifacts import read_table
from terraprobe.collections.split_rules import PARTS
from terraprobe.errors import TerraprobeError

COLUMNS = ["source", "split"]


def official_split(path: Path, source: NDArray[np.object_]) -> NDArray[np.object_]:
    """Split of each chip by the source that it was cut from.

    Args:
        path: CSV with a header and the columns `source, split`, or the table of an archive's images.
        source: of each chip (N,).

    Returns:
        Names of splits (N,).

    Raises:
        TerraprobeError: the file is no such CSV, a name is given twice or is of no chip, a split is not one of the
            three, or a source has none.
    """
    split = _read_images(path) if path.suffix == ".parquet" else _read(path)
    present = set(source)
    foreign, absent = sorted(set(split) - present), sorted(present - set(split))
    if foreign:
        raise TerraprobeError(
            f"{path}: {_few(foreign)} {'is' if len(foreign) == 1 else 'are'} no source of these chips, which come "
            f"from {_few(sorted(present))}. Remove or rename the rows."
        )
    if absent:
        raise TerraprobeError(
            f"{path}: no split for {_few(absent)}, a source of these chips. Add a row with train, val or test."
        )
    return np.array([split[name] for name in source], object)


def _read_images(path: Path) -> dict[str, str]:
    table = read_table(path)
    known = table[table["split"] != ""]
    if known.empty:
        raise TerraprobeError(
            f"{path}: the archive comes without a split. Put it beside the images (see docs/sources.md), give "
            "split.file, or take another split."
        )
    return dict(zip(known["image"], known["split"], strict=True))


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            header, *rows = [row for row in csv.reader(stream, strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TerraprobeError(f"{path}: cannot be read as CSV ({error}). Give a file with source,split.") from error
    if header != COLUMNS:
        raise TerraprobeError(f"{path}: header {','.join(header) or 'none'}, expected {','.join(COLUMNS)}.")
    split: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(COLUMNS) or row[1] not in PARTS:
            raise TerraprobeError(
                f"{path}: row {number} is {','.join(row)}; expected a source and one of {', '.join(PARTS)}."
            )
        if row[0] in split:
            raise TerraprobeError(f"{path}: source {row[0]} is given twice (row {number}). Keep one of the rows.")
        split[row[0]] = row[1]
    return split


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
