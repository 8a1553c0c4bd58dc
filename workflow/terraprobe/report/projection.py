"""The t-SNE stage: where the chips lie in each embedding, in two dimensions.

Test chips are left out: the picture is made to look at, and the test split is read once, by the scores.
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
_COLUMNS = ["encoder", "collection", "modality", "chip_id", "x", "y"]


class ProjectionRecipe(Recipe):
    """Parameters of `project_embeddings`.

    Attributes:
        max_points: chips drawn from each collection at most; the same chips for every modality.
        perplexity: of t-SNE; lowered to under a third of the points where there are few.
        seed: of the draw and of t-SNE.
    """

    max_points: int = 2000
    perplexity: float = 30.0
    seed: int = 0


def project_embeddings(*, embeddings: Ins, recipe: ProjectionRecipe, projections: Out) -> None:
    """Project the trained embeddings of every encoder, collection and modality to two dimensions.

    Args:
        embeddings: `embeddings/<encoder>/<collection>.parquet`.
        recipe: parameters.
        projections: Parquet with columns encoder, collection, modality, chip_id, x, y (no unit). What could not
            be projected stands in the file's metadata under `skipped`.

    Raises:
        TerraprobeError: no file was given, or one is broken or lacks a column.
    """
    if not embeddings:
        raise TerraprobeError("project-embeddings: no embeddings were given. Name at least one encoder in the study.")
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
            parts.append(pd.DataFrame({**where, "chip_id": rows["chip_id"], "x": points[:, 0], "y": points[:, 1]}))
    table = pd.concat(parts, ignore_index=True)[_COLUMNS].astype({"x": np.float32, "y": np.float32})
    write_table(projections, table, {"skipped": json.dumps(skipped, sort_keys=True)})
    progress(f"projected {len(parts) - 1} embedding sets, {len(table):,} points; skipped {len(skipped)}")


def _trained(path: In) -> pd.DataFrame:
    """Rows of the trained encoder outside the test split: chip_id, modality, embedding."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [("init", "==", "trained"), ("split", "!=", "test")]
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


def skipped_projections(path: Path) -> list[dict[str, Any]]:
    """What `project_embeddings` left out: encoder, collection, modality, points, reason."""
    from terraprobe.artifacts import table_metadata

    found: list[dict[str, Any]] = json.loads(table_metadata(path).get("skipped", "[]"))
    return found
