"""What is given to others: an exported encoder is whole and loads; a search finds what is alike."""

import re

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
from shapely.geometry import box

from pretraining import make_collection, pretrain, specs
from terraprobe import cli
from terraprobe.artifacts import read_table, sha256_file, table_metadata, write_table
from terraprobe.embed import EmbedRecipe, embed_chips
from terraprobe.encoders import Encoder
from terraprobe.export import export_encoder
from terraprobe.search import cosine_to, nearest_chips


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A study's results: one encoder and its embeddings."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("results")
    land = make_collection(root / "collections/land")
    encoder = pretrain(land, root / "encoders/tiny", epochs=1)
    embed_chips(
        chips=land / "chips.parquet", stores=specs(land), context=[], cards=[encoder / "card.json"],
        weights=[encoder / "encoder.safetensors"], recipe=EmbedRecipe(collection="land", random_inits=1),
        embeddings=[root / "embeddings/tiny/land.parquet"],
    )  # fmt: skip
    ids = read_table(land / "chips.parquet")["chip_id"]
    labels = pd.DataFrame({"chip_id": ids, "water": np.linspace(0, 1, len(ids)), "water_coverage": 1.0})
    write_table(land / "labels.parquet", labels)
    return root


def refused(capsys, *argv):
    """What a command says of a wrong call: one sentence, without a traceback."""
    assert cli.main([*map(str, argv)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_an_exported_encoder_is_the_trained_one(results, tmp_path):
    files = export_encoder(results, "tiny", tmp_path / "out")
    assert files == ["README.md", "card.json", "embeddings/land.parquet", "encoder.safetensors"]
    assert Encoder.load(tmp_path / "out").digest == Encoder.load(results / "encoders/tiny").digest
    words = (tmp_path / "out/README.md").read_text()
    for tower in Encoder.load(tmp_path / "out").card["towers"]:
        assert f"Tower `{tower}`" in words
    assert '"mean"' in words


def test_exported_embeddings_are_those_of_the_trained_encoder_alone(results, tmp_path):
    export_encoder(results, "tiny", tmp_path / "out")
    path = tmp_path / "out/embeddings/land.parquet"
    made, shared = read_table(results / "embeddings/tiny/land.parquet"), gpd.read_parquet(path)
    own = made[made["init"] == "trained"]
    assert shared.crs == "EPSG:4326" and len(shared) == len(own) < len(made)
    np.testing.assert_array_equal(np.stack(shared["embedding"][:9]), np.stack(own["embedding"][:9]))
    assert table_metadata(path)["encoder_sha256"] == sha256_file(tmp_path / "out/encoder.safetensors")


def test_nothing_is_overwritten(results, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    said = refused(capsys, "export", results, "--encoder", "tiny", "--output", tmp_path / "mine")
    assert "is there already, and nothing is overwritten" in said
    assert not list((tmp_path / "mine").iterdir())


def test_an_export_that_fails_leaves_nothing(results, tmp_path, capsys):
    broken = tmp_path / "results"
    for name in ("encoders", "collections"):
        (broken / name).parent.mkdir(exist_ok=True)
        (broken / name).symlink_to(results / name)
    path = broken / "embeddings/tiny/land.parquet"
    write_table(path, read_table(results / "embeddings/tiny/land.parquet"), {"encoder_sha256": "of others"})
    said = refused(capsys, "export", broken, "--encoder", "tiny", "--output", tmp_path / "out")
    assert "made with other weights" in said
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_an_unknown_encoder_is_answered_by_those_there_are(results, tmp_path, capsys):
    said = refused(capsys, "export", results, "--encoder", "tny", "--output", tmp_path / "out")
    assert "found 'tny', allowed tiny" in said


def table(vectors):
    """Embeddings of chips c0, c1, … that lie a tenth of a degree apart on the equator."""
    geometry = [box(k / 10 - 0.001, -0.001, k / 10 + 0.001, 0.001) for k in range(len(vectors))]
    columns = {"chip_id": [f"c{k}" for k in range(len(vectors))], "split": "train", "init": "trained",
               "modality": "s2", "embedding": [np.array(v, np.float32) for v in vectors]}  # fmt: skip
    return gpd.GeoDataFrame(columns, geometry=geometry, crs="EPSG:4326")


def test_the_nearest_are_those_of_the_smallest_angle(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, table([[1, 0], [0, 1], [5, 0.1], [-1, 0], [2, 1], [0, 0]]))
    found = nearest_chips(path, "c0", 3)
    assert found["chip_id"].tolist() == ["c2", "c4", "c1"]
    assert found["cosine"].tolist() == pytest.approx([5 / np.hypot(5, 0.1), 2 / np.sqrt(5), 0])
    assert found["lon"].tolist() == pytest.approx([0.2, 0.4, 0.1])
    assert found["distance_km"].tolist() == pytest.approx([22.239, 44.478, 11.119], abs=1e-2)


def test_a_cosine_is_that_of_the_angle():
    rng = np.random.default_rng(0)
    one, others = rng.normal(size=8).astype(np.float32), rng.normal(size=(20, 8)).astype(np.float32)
    cosines = cosine_to(one, others)
    assert cosine_to(one * 3, others * 5) == pytest.approx(cosines, abs=1e-6)
    assert (np.abs(cosines) <= 1).all() and cosine_to(one, one[None])[0] == pytest.approx(1)


def test_search_prints_places_and_labels(results, capsys):
    ids = read_table(results / "embeddings/tiny/land.parquet")
    chip = ids[(ids["modality"] == "concat") & (ids["init"] == "trained")]["chip_id"].iloc[0]
    assert cli.main(["search", str(results), "--chip", chip, "--k", "3"]) == 0
    first, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert re.fullmatch(rf"{chip} \(water [\d.e-]+\) in land, by tiny, concat; its nearest:", first)
    assert len(rows) == 3 and all(re.search(r"water [\d.e-]+", row) for row in rows)
    assert chip not in " ".join(rows)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--chip", "{chip}x"], r"chip: found '{chip}x', allowed one of 40; nearest {chip}, "),
        (["--chip", "{chip}", "--collection", "sea"], "collection: found 'sea', allowed land"),
        (["--chip", "{chip}", "--encoder", "large"], "encoder: found 'large', allowed tiny"),
        (["--chip", "{chip}", "--modality", "lidar"], "found 'lidar', allowed"),
        (["--chip", "{chip}", "--k", "0"], "--k: found 0, allowed 1 or more"),
    ],
)
def test_a_wrong_search_is_one_sentence(results, capsys, more, said):
    chip = read_table(results / "embeddings/tiny/land.parquet")["chip_id"].iloc[0]
    assert said.format(chip=chip) in refused(capsys, "search", results, *(word.format(chip=chip) for word in more))


def test_a_folder_without_results_is_named(tmp_path, capsys):
    assert "no embeddings" in refused(capsys, "search", tmp_path, "--chip", "c0")
