"""Reading what a probe learns from: feature sets, chips and labels, without opening any geometry."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terraprobe.artifacts import table_metadata
from terraprobe.errors import TerraprobeError

KEYS = ("encoder", "init", "floor", "modality")
"""Columns that name a feature set in every score table; those that do not apply are empty."""


@dataclass(frozen=True)
class FeatureSet:
    """Frozen features of some chips.

    Attributes:
        encoder: name of the encoder; empty for a floor.
        init: `trained` or `random-<k>`; empty for a floor.
        floor: name of the floor; empty for an encoder.
        modality: tower, modality or `concat`; empty where none is meant.
        encoder_sha256: digest of the encoder's weights; of card and seed for an untrained twin; empty for a floor.
        chips: row in the chip table of each chip that has features, (n,).
        matrix: float32, (n, n_features).
    """

    encoder: str
    init: str
    floor: str
    modality: str
    encoder_sha256: str
    chips: NDArray[np.intp]
    matrix: NDArray[np.float32]

    @property
    def key(self) -> dict[str, str]:
        """The columns `KEYS`."""
        return {name: getattr(self, name) for name in KEYS}

    @property
    def name(self) -> str:
        """For people."""
        return " ".join(part for part in self.key.values() if part)


def read_chips(path: Path, splits: Sequence[str]) -> pd.DataFrame:
    """Chips of some splits, ordered by `chip_id`.

    Args:
        path: `chips.parquet`.
        splits: which.

    Returns:
        Columns `chip_id, block, split`; index 0, 1, …

    Raises:
        TerraprobeError: the file is broken or a split holds no chip.
    """
    frame: pd.DataFrame = _read(path, ["chip_id", "block", "split"], pc.field("split").isin(list(splits))).to_pandas()
    for split in splits:
        if not (frame["split"] == split).any():
            raise TerraprobeError(
                f"{path}: no chip is in the split {split}; a probe needs {', '.join(splits)}. "
                "Change the split of the collection in the study file."
            )
    if frame["chip_id"].duplicated().any():
        raise TerraprobeError(
            f"{path}: {frame['chip_id'].duplicated().sum()} chip ids occur twice. Delete it and rerun."
        )
    return frame.sort_values("chip_id", ignore_index=True)


def read_labels(path: Path, chips: pd.DataFrame, tasks: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Labels of the given chips and of no other chip.

    Args:
        path: `labels.parquet`.
        chips: of `read_chips`.
        tasks: columns to read.

    Returns:
        For each task one value a chip, NaN where the file has none, (n_chips,).

    Raises:
        TerraprobeError: a task is not a column of the file, or one of classes.
    """
    keep = pc.field("chip_id").isin(chips["chip_id"].to_list())
    frame = _read(path, ["chip_id", *tasks], keep).to_pandas().set_index("chip_id").reindex(chips["chip_id"])
    text = [task for task in tasks if not pd.api.types.is_numeric_dtype(frame[task])]
    if text:
        raise TerraprobeError(
            f"{path}: {text[0]} holds classes, and a forest's task needs a number. Name a share or a mean instead."
        )
    return {task: frame[task].to_numpy(np.float64) for task in tasks}


def read_feature_sets(paths: Sequence[Path], chips: pd.DataFrame) -> list[FeatureSet]:
    """Every feature set in the given files, of the given chips and of no other chip.

    Args:
        paths: files of embeddings or floors.
        chips: of `read_chips`.

    Returns:
        Feature sets in the order of their keys.

    Raises:
        TerraprobeError: a file is neither, holds no feature of these chips, or features are not finite.
    """
    sets = [s for path in paths for s in _read_file(path, chips)]
    sets.sort(key=lambda s: tuple(s.key.values()))
    names = [s.name for s in sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TerraprobeError(f"{', '.join(map(str, paths))}: features of {twice[0]} come twice. Give each file once.")
    return sets


def merge_feature_sets(sets: Sequence[FeatureSet]) -> list[FeatureSet]:
    """Join the feature sets of several collections that have one key.

    Args:
        sets: of `read_feature_sets`, with rows in one chip table.

    Returns:
        One set a key, in the order of their keys.

    Raises:
        TerraprobeError: features of one key were made by different weights, or differ in length.
    """
    groups: dict[tuple[str, ...], list[FeatureSet]] = {}
    for one in sets:
        groups.setdefault(tuple(one.key.values()), []).append(one)
    return [_merge(groups[key]) for key in sorted(groups)]


def _merge(sets: list[FeatureSet]) -> FeatureSet:
    first = sets[0]
    if len({one.encoder_sha256 for one in sets}) > 1:
        raise TerraprobeError(
            f"features of {first.name}: those of one collection were made by other weights than those of another. "
            "Run embed-chips again for both."
        )
    lengths = sorted({one.matrix.shape[1] for one in sets})
    if len(lengths) > 1:
        raise TerraprobeError(
            f"features of {first.name}: of length {' and '.join(map(str, lengths))} in the collections that are "
            "judged together; all must have the same modalities and channels."
        )
    chips, matrix = np.concatenate([one.chips for one in sets]), np.concatenate([one.matrix for one in sets])
    return replace(first, chips=chips, matrix=matrix)


def _read_file(path: Path, chips: pd.DataFrame) -> list[FeatureSet]:
    kind = "init" if "init" in _schema(path).names else "floor"
    keep = pc.field("chip_id").isin(chips["chip_id"].to_list())
    table = _read(path, ["chip_id", kind, "modality", "embedding"], keep)
    if not len(table):
        raise TerraprobeError(f"{path}: no feature of any of the {len(chips)} chips. It belongs to another collection.")
    metadata = table_metadata(path) if kind == "init" else {}
    if kind == "init" and "encoder" not in metadata:
        raise TerraprobeError(f"{path}: does not say which encoder made it. Delete it and run embed_chips again.")
    digests = json.loads(metadata.get("encoder_sha256_by_init", "{}"))
    rows = pd.Index(chips["chip_id"]).get_indexer(table["chip_id"].to_pandas())
    groups = table.select([kind, "modality"]).to_pandas().groupby([kind, "modality"]).indices
    vectors = table["embedding"].combine_chunks()
    sets = []
    for (group, modality), members in groups.items():
        sets.append(
            FeatureSet(
                encoder=metadata.get("encoder", ""),
                init=group if kind == "init" else "",
                floor=group if kind == "floor" else "",
                modality=modality,
                encoder_sha256=digests.get(group, metadata.get("encoder_sha256", "")),
                chips=rows[members],
                matrix=_matrix(vectors.take(pa.array(members)), f"{path}: {group} {modality}", kind == "floor"),
            )
        )
    return sets


def _matrix(vectors: Any, where: str, gaps: bool) -> NDArray[np.float32]:
    """Vectors as rows; `gaps` allows NaN, which a forest takes for "not observed"."""
    flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    lengths = np.unique(pc.list_value_length(vectors).to_numpy(zero_copy_only=False))
    wrong = np.isinf(flat) if gaps else ~np.isfinite(flat)
    if len(lengths) != 1 or wrong.any():
        found = f"lengths {lengths.tolist()}" if len(lengths) != 1 else f"{wrong.sum()} values not finite"
        raise TerraprobeError(f"{where}: {found}, expected finite features of one length. Delete the file and rerun.")
    return np.ascontiguousarray(flat.reshape(len(vectors), -1))


def _schema(path: Path) -> Any:
    try:
        return pq.read_schema(path)
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise TerraprobeError(f"{path}: not a whole Parquet file ({error}). Delete it and run again.") from error


def _read(path: Path, columns: list[str], keep: Any) -> Any:
    names = _schema(path).names
    missing = [c for c in columns if c not in names]
    if missing:
        raise TerraprobeError(f"{path}: no column {missing[0]}; it has {', '.join(names)}. Name one of these.")
    return pq.read_table(path, columns=columns, filters=keep)
