"""What a study will need, counted before anything is fetched."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from terraprobe.acquire.earthengine.products import PRODUCTS
from terraprobe.acquire.earthengine.windows import shard_windows
from terraprobe.artifacts import read_table
from terraprobe.collections.grid import GridRecipe, lay_grid
from terraprobe.plan import (
    area_chips,
    feed,
    good_shards,
    gpu_hours,
    layer_requests,
    pairs_at_most,
    plan_command,
    store_bytes,
)
from terraprobe.study.area import AreaCollection
from terraprobe.study.encoders import EncoderEntry


@pytest.fixture
def area(tmp_path):
    ground = gpd.GeoSeries([shapely.box(11.8, 47.0, 12.2, 47.2)], crs="EPSG:4326")
    ground.to_file(tmp_path / "area.geojson")
    return AreaCollection(
        name="alps", kind="area", area=str(tmp_path / "area.geojson"), months=["2020-01", "2020-02", "2020-03"],
        modalities=["s2_rgb_monthly", "s1_grd_monthly", "s1_coherence"], labels=["worldcover"], chip_px=448, shards=2,
        split={"kind": "geobands", "n_bands": 5},
    )  # fmt: skip


def test_requests_are_those_that_the_stage_makes(area, tmp_path):
    chips = area_chips(area)
    recipe = GridRecipe(area=area.grid_area())
    lay_grid(tiles=[tmp_path / "area.geojson"], recipe=recipe, grid=tmp_path / "grid.parquet")
    frame = read_table(tmp_path / "grid.parquet")
    for layer in ("s2_rgb_monthly", "s1_grd_monthly", "worldcover"):
        windows = [b for _, shard in frame.groupby("shard") for b in shard_windows(shard, 448, PRODUCTS[layer])]
        requests, size = layer_requests(chips, layer, 448)
        assert requests == len(windows)
        assert size == sum(b.width * b.height for b in windows) * PRODUCTS[layer].pixel_bytes
        assert size >= len(frame) * 448**2 * PRODUCTS[layer].pixel_bytes


def test_a_chip_in_the_store_takes_what_its_array_takes():
    assert store_bytes("s2_rgb_monthly", 448) == np.zeros((9, 448, 448), np.uint16).nbytes
    assert store_bytes("s1_coherence", 448) == np.zeros((1, 448, 448), np.uint16).nbytes
    assert store_bytes("worldcover", 448) == np.zeros((1, 448, 448), np.uint8).nbytes


def test_pairs_and_shards(area):
    assert pairs_at_most(area) == 8 * 4  # 91 days: eight visits of a satellite that comes back every 12 days
    assert good_shards(845_000, area) == pytest.approx(845_000 * 448**2 * 18 / 8e9, abs=1)
    assert good_shards(3, area) == 1


def test_gpu_hours_of_transformers_and_of_nothing_else():
    """A ViT-B/16 of 448 px takes about 3 x 160 GFLOP a chip and tower, forward and backward."""
    encoder = EncoderEntry(name="c", method="clip3", collections=["alps"])
    operations = gpu_hours(encoder, 448, 1) / 100 / 3 * 3600 * 0.4 * 312e12
    assert operations == pytest.approx(3 * 158e9, rel=0.05)
    assert gpu_hours(EncoderEntry(name="b", method="bioclim", collections=["alps"]), 64, 1) is None


def test_what_eight_gpus_read_in_a_second():
    """At 40 % of 312 TFLOP/s each; a chip is one channel of each of three modalities, forward and backward."""
    encoder = EncoderEntry(name="c", method="clip3", collections=["alps"])
    wanted = feed(encoder, 448)
    assert wanted.chips == pytest.approx(8 * 0.4 * 312e12 / (3 * 3 * 158e9), rel=0.05)
    assert wanted.reads == 3 * wanted.chips
    assert wanted.size == pytest.approx(wanted.reads * np.zeros((448, 448), np.uint16).nbytes)
    assert feed(EncoderEntry(name="b", method="bioclim", collections=["alps"]), 64) is None


def test_the_command_says_it_for_every_area(area, tmp_path, monkeypatch, capsys):
    (tmp_path / "study.yaml").write_text(
        "study: alps\ncollections:\n  - " + area.model_dump_json() + "\n"
        "encoders:\n  - {name: c, method: clip3, collections: [alps]}\n"
        "evaluations:\n  - {name: e, probe: forest, collection: alps, tasks: [water]}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert plan_command(["study.yaml"]) == 0
    said = capsys.readouterr().out
    for words in (
        "alps: ",
        "s2_rgb_monthly: ",
        " requests, at most ",
        "32 a track",
        "A100 hours",
        "chips a second, which is",
        "disk: at most ",
        "context, once for all studies: WorldClim 2.1",
        "jobs: run",
    ):
        assert words in said
