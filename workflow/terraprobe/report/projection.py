"""The t-SNE stage: where the chips lie in each embedding, in two dimensions, and which are nearest to which.

Chips of every split are drawn, with no label: what is shown here chooses nothing.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from terraprobe.artifacts import write_table
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Ins, Out, Recipe, progress

MIN_POINTS = 10
"""Fewer chips give no neighbourhoods to show: [D]."""

_PCA_COMPONENTS = 50  # [D] the usual first step (van der Maaten & Hinton 2008 take 30)
_ITERATIONS = 750  # [D] 250 of them exaggerated; 1,000 change the picture little and cost a third more
_COLUMNS = ["encoder", "collection", "modality", "chip_id", "x", "y", "nearest", "cosines"]
_ROWS = 1000  # chips compared with all others at once: 80 MB of cosines among 10,000 chips


class ProjectionRecipe(Recipe):
    """Parameters of `project_embeddings`.

    Attributes:
        max_points: chips drawn from each collection at most; the same chips for every modality.
        perplexity: of t-SNE; lowered to under a third of the points where there are few.
        neighbours: of each chip among the drawn ones.
        seed: of the draw and of t-SNE.
    """

    max_points: int = 2000
    perplexity: float = 30.0
    neighbours: int = 8
    seed: int = 0


def project_embeddings(*, embeddings: Ins, recipe: ProjectionRecipe, projections: Out) -> None:
    """Project the trained embeddings of every encoder, collection and modality to two dimensions.

    Args:
        embeddings: `embeddings/<encoder>/<collection>.parquet`; none where nothing of a list of studies could run.
        recipe: parameters.
        projections: Parquet with columns encoder, collection, modality, chip_id, x, y (no unit); `nearest`, ids of the
            chips whose embeddings are most like it among those of these rows, and `cosines`, how alike they are, the
            nearest first. What could not be projected stands in the file's metadata under `skipped`.

    Raises:
        TerraprobeError: a file is broken or lacks a column.
    """
    parts, skipped = [pd.DataFrame(columns=_COLUMNS)], []
    for path in sorted(embeddings):
        encoder, collection = path.parent.name, path.stem
        frame = _trained(path)
        drawn = draw_chips(frame["chip_id"].to_numpy(), recipe.max_points, np.random.default_rng(recipe.seed))
        for modality, rows in frame[frame["chip_id"].isin(drawn)].groupby("modality", sort=True):
            where = {"encoder": encoder, "collection": collection, "modality": str(modality)}
            vectors = np.stack(rows["embedding"].to_list())
            reason = refusal(vectors)
            if reason:
                skipped.append({**where, "points": len(rows), "reason": reason})
                continue
            points = tsne(vectors, recipe)
            place, cosines = nearest_rows(vectors, recipe.neighbours)
            ids = rows["chip_id"].to_numpy()
            near = {"nearest": list(ids[place]), "cosines": list(cosines)}
            parts.append(pd.DataFrame({**where, "chip_id": ids, "x": points[:, 0], "y": points[:, 1], **near}))
    table = pd.concat(parts, ignore_index=True)[_COLUMNS].astype({"x": np.float32, "y": np.float32})
    write_table(projections, table, {"skipped": json.dumps(skipped, sort_keys=True)})
    progress(f"projected {len(parts) - 1} embedding sets, {len(table):,} points; skipped {len(skipped)}")


def _trained(path: In) -> pd.DataFrame:
    """Rows of the trained encoder: chip_id, modality, embedding."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [("init", "==", "trained")]
    try:
        table = pq.read_table(path, columns=["chip_id", "modality", "embedding"], filters=wanted)
    except FileNotFoundError as error:
        raise TerraprobeError(f"{path}: not found. Run the stage that makes it (snakemake {path}).") from error
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise TerraprobeError(f"{path}: not a whole table of embeddings ({error}). Delete it and run again.") from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def draw_chips(chip_ids: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    """At most `count` chips, the same ones whatever the order of the rows."""
    unique = np.unique(chip_ids.astype(str))
    return unique if len(unique) <= count else rng.choice(unique, count, replace=False)


def refusal(vectors: NDArray[np.float32]) -> str:
    """Why these embeddings cannot be projected; empty where they can."""
    if len(vectors) < MIN_POINTS:
        return f"fewer than {MIN_POINTS} chips"
    return "" if np.ptp(vectors, axis=0).any() else "all embeddings are equal"


def tsne(vectors: NDArray[np.float32], recipe: ProjectionRecipe) -> NDArray[np.float32]:
    """t-SNE of (N, D) embeddings: (N, 2)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    components = min(_PCA_COMPONENTS, vectors.shape[1], len(vectors) - 1)
    model = TSNE(
        perplexity=min(recipe.perplexity, (len(vectors) - 1) / 3),
        init="pca" if components > 1 else "random",
        max_iter=_ITERATIONS,
        random_state=recipe.seed,
        n_jobs=1,
    )
    # Products and gradients are summed over threads: another number of them gives another picture.
    with threadpool_limits(1):
        reduced = PCA(components, svd_solver="full").fit_transform(vectors.astype(np.float64))
        points: NDArray[np.float32] = model.fit_transform(reduced.astype(np.float32))
    return points


def nearest_rows(vectors: NDArray[np.float32], count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The rows most like each row, by the cosine of their embeddings.

    Args:
        vectors: (N, D).
        count: how many, k; fewer where there are no more other rows.

    Returns:
        Rows, and the cosines, each (N, k): the nearest first, of equals the earlier row; without the row itself.
    """
    from threadpoolctl import threadpool_limits

    k = min(count, len(vectors) - 1)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    rows, cosines = np.empty((len(unit), k), np.intp), np.empty((len(unit), k), np.float32)
    with threadpool_limits(1):
        for start in range(0, len(unit), _ROWS):
            part = slice(start, start + _ROWS)
            found = unit[part] @ unit.T
            np.fill_diagonal(found[:, start:], -np.inf)
            near = np.sort(np.argpartition(-found, k - 1, axis=1)[:, :k], axis=1)
            value = np.take_along_axis(found, near, axis=1)
            order = np.argsort(-value, axis=1, kind="stable")
            rows[part] = np.take_along_axis(near, order, axis=1)
            cosines[part] = np.take_along_axis(value, order, axis=1)
    return rows, cosines


def skipped_projections(path: Path) -> list[dict[str, Any]]:
    """What `project_embeddings` left out: encoder, collection, modality, points, reason."""
    from terraprobe.artifacts import table_metadata

    found: list[dict[str, Any]] = json.loads(table_metadata(path).get("skipped", "[]"))
    return found
