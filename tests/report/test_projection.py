"""t-SNE of embeddings and nearest chips: deterministic, small sets skipped and named."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import Point
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_info, threadpool_limits

from terraprobe.artifacts import read_table, write_table
from terraprobe.errors import TerraprobeError
from terraprobe.report.projection import ProjectionRecipe, nearest_rows, project_embeddings, skipped_projections

RECIPE = ProjectionRecipe(max_points=30, perplexity=30, seed=1)


def write_embeddings(path: Path, sizes: dict[str, int], **columns: Any) -> None:
    """Random vectors around two centres, one row a chip and modality."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "chip_id": f"c{k:03d}",
            "geometry": Point(k, 0),
            "init": "trained",
            "modality": modality,
            "split": "train",
            "embedding": (rng.normal(size=6) + 10 * (k % 2)).astype(np.float32),
        }
        for modality, size in sizes.items()
        for k in range(size)
    ]
    write_table(path, gpd.GeoDataFrame(pd.DataFrame(rows).assign(**columns), crs="EPSG:4326"))


def project(path: Path, out: Path, recipe: ProjectionRecipe = RECIPE) -> pd.DataFrame:
    project_embeddings(embeddings=[path], recipe=recipe, projections=out)
    return read_table(out)


def test_same_chips_for_every_modality_and_same_bytes_again(tmp_path: Path) -> None:
    path = tmp_path / "enc" / "land.parquet"
    write_embeddings(path, {"a": 50, "b": 50})
    table = project(path, tmp_path / "one.parquet")
    project(path, tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert set(table["encoder"]) == {"enc"} and set(table["collection"]) == {"land"}
    chips = table.groupby("modality")["chip_id"].agg(set)
    assert chips["a"] == chips["b"] and len(chips["a"]) == 30
    assert np.isfinite(table[["x", "y"]].to_numpy()).all()


def test_principal_components_and_tsne_run_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(model: type) -> None:
        real = model.fit_transform  # type: ignore[attr-defined]

        def fit_transform(self: Any, x: Any) -> Any:
            seen.append((model.__name__, {pool["num_threads"] for pool in threadpool_info()}))
            return real(self, x)

        monkeypatch.setattr(model, "fit_transform", fit_transform)

    spy(PCA)
    spy(TSNE)
    path = tmp_path / "enc" / "land.parquet"
    write_embeddings(path, {"a": 20})
    with threadpool_limits(2):
        project(path, tmp_path / "out.parquet")
    assert seen[0] == ("PCA", {1})
    assert ("TSNE", {1}) in seen


def test_neighbours_stay_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "enc" / "land.parquet"
    write_embeddings(path, {"a": 60})
    table = project(path, tmp_path / "out.parquet", ProjectionRecipe(max_points=60, perplexity=10))
    points = table[["x", "y"]].to_numpy()
    odd = table["chip_id"].str[1:].astype(int).to_numpy() % 2
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.diag(np.full(len(points), np.inf))
    assert (odd[distance.argmin(axis=1)] == odd).mean() == 1


def test_trained_rows_of_every_split(tmp_path: Path) -> None:
    path = tmp_path / "enc" / "land.parquet"
    split = ["test", "train", "val", "buffer", "train"] * 8
    write_embeddings(path, {"a": 40}, split=split)
    everything = ProjectionRecipe(max_points=40)
    assert len(project(path, tmp_path / "out.parquet", everything)) == 40
    write_embeddings(path, {"a": 40}, split=split, init="random-0")
    assert len(project(path, tmp_path / "out.parquet", everything)) == 0


def test_nearest_chips_are_those_of_the_highest_cosine(tmp_path: Path) -> None:
    path = tmp_path / "enc" / "land.parquet"
    write_embeddings(path, {"a": 40})
    table = project(path, tmp_path / "out.parquet", ProjectionRecipe(max_points=40, neighbours=5))
    vectors = np.stack(read_table(path).set_index("chip_id").loc[table["chip_id"], "embedding"].to_list())
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T - 2 * np.eye(len(unit))
    for row, near, values in zip(cosine, table["nearest"], table["cosines"], strict=True):
        assert list(near) == table["chip_id"].to_numpy()[np.argsort(-row, kind="stable")[:5]].tolist()
        assert values == pytest.approx(np.sort(row)[::-1][:5], abs=1e-6)


def test_equal_embeddings_are_told_apart_by_their_order_and_none_has_no_neighbour_but_itself() -> None:
    vectors = np.array([[1, 0], [2, 0], [0, 0], [3, 0]], np.float32)
    rows, cosines = nearest_rows(vectors, 8)
    assert rows.tolist() == [[1, 3, 2], [0, 3, 2], [0, 1, 3], [0, 1, 2]]
    assert cosines.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0]]


def test_small_sets_are_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "enc" / "land.parquet"
    write_embeddings(path, {"a": 12, "b": 9})
    table = project(path, tmp_path / "out.parquet")
    assert set(table["modality"]) == {"a"} and len(table) == 12
    assert skipped_projections(tmp_path / "out.parquet") == [
        {"encoder": "enc", "collection": "land", "modality": "b", "points": 9, "reason": "fewer than 10 chips"}
    ]


def test_a_collapsed_encoder_is_skipped_and_named(tmp_path: Path) -> None:
    path = tmp_path / "enc" / "land.parquet"
    write_embeddings(path, {"a": 20}, embedding=[np.ones(4, np.float32)] * 20)
    assert len(project(path, tmp_path / "out.parquet")) == 0
    assert skipped_projections(tmp_path / "out.parquet")[0]["reason"] == "all embeddings are equal"


@pytest.mark.parametrize("width", [1, 2, 80])
def test_any_length_of_embedding(tmp_path: Path, width: int) -> None:
    path = tmp_path / "enc" / "land.parquet"
    vectors = list(np.random.default_rng(0).normal(size=(20, width)).astype(np.float32))
    write_embeddings(path, {"a": 20}, embedding=vectors)
    assert np.isfinite(project(path, tmp_path / "out.parquet")[["x", "y"]].to_numpy()).all()


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    project_embeddings(embeddings=[], recipe=RECIPE, projections=tmp_path / "out.parquet")
    assert not len(read_table(tmp_path / "out.parquet"))  # of a list of studies it may be that none can run
    with pytest.raises(TerraprobeError, match="not found"):
        project(tmp_path / "enc" / "absent.parquet", tmp_path / "out.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(TerraprobeError, match=r"broken\.parquet: not a whole table"):
        project(broken, tmp_path / "out.parquet")
