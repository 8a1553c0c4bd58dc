"""A folder of one's own files, end to end, on genuine Sentinel-1, Sentinel-2 and land cover of four places."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from dag import snakemake

from terraprobe.artifacts import read_json, read_table, sha256_file
from terraprobe.chips.store import ChipStore
from terraprobe.cli import main

STUDY = Path(__file__).with_name("terramesh.yaml")
FOLDERS = {"s2_l2a": "S2L2A", "s1_grd": "S1RTC", "lulc": "LULC"}
SIDE_M = 320


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shared_data):
    """The study, run once on a copy of the files."""
    folder = tmp_path_factory.mktemp("folder")
    for name in FOLDERS.values():
        shutil.copytree(shared_data / "terramesh" / name, folder / "terramesh" / name)
    done = snakemake(folder, study=STUDY)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def results(finished):
    return finished / "results/terramesh"


def planned(folder):
    """Jobs of a dry run, each named by its rule and its log file."""
    done = snakemake(folder, "--dry-run", study=STUDY)
    assert done.returncode == 0, done.stdout
    jobs = re.findall(r"^rule (\w+):.*?^    log: \S*/([^/\s]+)\.log", done.stdout, re.MULTILINE | re.DOTALL)
    return {f"{rule} {log}" for rule, log in jobs}


def test_encoder_and_floors_are_scored_with_few_and_all_labels(results):
    summary = pd.read_parquet(results / "summary.parquet")
    assert set(summary["task"]) == {"lulc_crops", "lulc_rangeland"}
    pair = summary[(summary["encoder"] == "pair") & (summary["arm"] == "trained")]
    assert set(pair["modality"]) == {"optical", "radar", "concat"}
    assert summary["n_shots"].nunique() == 2
    assert summary["value"].between(0, 1).all()
    assert (summary["n_test"] == 59).all()


def test_byol_learns_from_pairs_and_its_restart_is_an_encoder(results):
    summary = pd.read_parquet(results / "summary.parquet")
    for name in ("byol", "byol_restart"):
        own = summary[(summary["encoder"] == name) & (summary["arm"] == "trained")]
        assert set(own["modality"]) == {"ms", "sar", "concat"}
    encoders = results / "encoders"
    restart = encoders / "byol/encoder-epoch1.safetensors"
    assert (encoders / "byol_restart/encoder.safetensors").read_bytes() == restart.read_bytes()
    assert read_json(encoders / "byol_restart/card.json")["start"] == {restart.name: sha256_file(restart)}
    assert (encoders / "byol/encoder.safetensors").read_bytes() != restart.read_bytes()


def test_byols_features_label_the_pixels_of_test_chips(results):
    called = pd.read_parquet(results / "segmentation/pixels/byol.parquet")
    trained = called[called["init"] == "trained"]
    assert set(zip(trained["tower"], trained["band"], strict=True)) == {("ms", "B04"), ("sar", "VV")}
    assert (trained["n_train"] == 98).all()
    assert trained.groupby("band")["pixels"].sum().le(59 * 32 * 32).all() and trained["pixels"].gt(0).all()


def test_both_sensors_at_once_label_the_pixels_of_test_chips(results):
    first = sha256_file(results / "encoders/unifeat/encoder.safetensors")
    assert read_json(results / "encoders/sscl/card.json")["start"] == {"unifeat": first}
    called = pd.read_parquet(results / "segmentation/pixels/sscl.parquet").query("init == 'trained'")
    assert set(called["tower"]) == {"concat"} and (called["n_train"] == 98).all()
    assert called["sees"].unique().tolist() == ["s1_grd: VV, VH; s2_l2a: B02, B04, B08"]
    scores = pd.read_parquet(results / "segmentation/pixels.parquet")
    assert {"byol", "sscl"} <= set(scores["arm"])
    page = (results / "report/index.html").read_text()
    assert 'id="fig-segmentation-pixels-maps"' in page and 'id="fig-segmentation-pixels-features"' in page


def test_the_page_calls_the_collection_real_and_the_readers_own(results):
    page = (results / "report/index.html").read_text()
    assert "A folder of your own GeoTIFFs: 4 of s2_l2a, 4 of s1_grd, 4 of lulc." in page
    assert re.search(r'Places <span class="\w+ real">real</span>|Places \(real\)', page)
    assert "simulated" not in page.partition("</h1>")[2].partition("Provenance")[0]
    assert "Apache-2.0" in page
    for words in ("lulc (own classes)", "rangeland", "lulc crops", "637U_59R_1_3"):
        assert words in page


def test_both_sensors_and_the_labels_see_the_same_pixels_of_the_ground(finished, results):
    grid = read_table(results / "collections/places/grid.parquet")
    assert len(grid) == 4 * 49
    assert grid["source"].nunique() == grid["crs"].nunique() == 4
    for layer, folder in FOLDERS.items():
        store = ChipStore.open(results / f"collections/places/{'labels' if layer == 'lulc' else 'chips'}" / layer)
        assert (store.valid == 1).all()
        for chip, row in enumerate(grid.itertuples()):
            with rasterio.open(finished / f"terramesh/{folder}/{row.source}.tif") as dataset:
                assert dataset.crs == row.crs
                column, line = ~dataset.transform @ (row.transform[2], row.transform[5])
                assert np.allclose((column, line), np.rint((column, line)), atol=1e-6)
                part = rasterio.windows.Window(round(column), round(line), 32, 32)
                pixels = dataset.read(window=part).astype(np.float64)
            dn = np.floor(pixels / 0.005 + 0.5) if layer == "s1_grd" else pixels
            stored = np.stack([store.read(chip, channel) for channel in range(store.channels)])
            # Half a step of 0.005 dB may fall to either side.
            assert np.abs(stored - dn).max() <= (layer == "s1_grd")
            assert (stored == dn).mean() > (0.99 if layer == "s1_grd" else 0.9999)


def test_results_are_traced_back_to_the_readers_own_files(finished, results, capsys):
    assert main(["verify", str(results)]) == 0
    assert "12 raw files" in capsys.readouterr().out
    assert main(["trace", str(results / "scores.parquet")]) == 0
    assert "s1_grd: 4 raw files" in capsys.readouterr().out
    own = finished / "terramesh/S1RTC/637U_59R_1_3.tif"
    content = own.read_bytes()
    own.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        assert main(["verify", str(results)]) == 1
        said = capsys.readouterr().err
    finally:
        own.write_bytes(content)
    assert said.startswith("terramesh/S1RTC/637U_59R_1_3.tif: sha256 ")


def test_a_second_run_does_nothing(finished):
    assert "Nothing to be done" in snakemake(finished, study=STUDY).stdout


def test_an_edited_file_reruns_its_own_layer_and_what_reads_it(finished):
    own = finished / "terramesh/S1RTC/637U_59R_1_3.tif"
    content = own.read_bytes()
    own.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    jobs = planned(finished)
    own.write_bytes(content)
    assert {"index_folder places-s1_grd", "cut_chips places-chips-s1_grd-000", "pretrain_encoder pair"} <= jobs
    assert {"measure_floors places", "score_forest landcover-pair", "write_report all"} <= jobs
    assert not [job for job in jobs if job.startswith(("lay_grid", "assign_splits", "measure_labels"))]
    assert not [job for job in jobs if "s2_l2a" in job or "lulc" in job]


def test_a_further_label_file_reruns_labels_and_trains_nothing(finished):
    labels = finished / "terramesh/LULC"
    shutil.copy(labels / "637U_59R_1_3.tif", labels / "another.tif")
    jobs = planned(finished)
    (labels / "another.tif").unlink()
    assert {"index_folder places-lulc", "cut_chips places-labels-lulc-000", "measure_labels places"} <= jobs
    assert not [job for job in jobs if job.startswith(("pretrain", "embed", "lay_grid", "measure_floors"))]
