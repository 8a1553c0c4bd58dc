"""Benchmark archives end to end, on genuine images of EuroSAT and BigEarthNet, WorldClim and EEA regions."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from dag import snakemake

from archive_tree import fake_downloads
from terraprobe.artifacts import read_json, read_table
from terraprobe.cli import main

STUDY = Path(__file__).with_name("archives.yaml")
PARTS = {"a": "train", "b": "val", "c": "test"}


def make_eurosat(folder, shared_data):
    """Each genuine tile once for each split, under names of their own."""
    rows = []
    for tile in sorted((shared_data / "eurosat/EuroSAT_MS").glob("*/*.tif")):
        for letter, part in PARTS.items():
            own = folder / "EuroSAT_MS" / tile.parent.name / f"{tile.stem}{letter}.tif"
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tile, own)
            rows.append(f"{own.stem},{part}\n")
    (folder / "eurosat.csv").write_text("source,split\n" + "".join(rows))


def make_bigearthnet(folder, shared_data):
    """Each genuine pair once for each split, and the split's list as it was published with v1."""
    lists = dict.fromkeys(PARTS.values(), "")
    for kind in ("S1", "S2"):
        home = f"BigEarthNet-{kind}-v1.0"
        for image in sorted((shared_data / "bigearthnet_v1" / home).iterdir()):
            for letter, part in PARTS.items():
                own = folder / "bigearthnet_v1" / home / f"{image.name}{letter}"
                own.mkdir(parents=True)
                for file in image.iterdir():
                    name = file.name.replace(image.name, own.name)
                    shutil.copyfile(file, own / name)
                (labels,) = own.glob("*.json")
                content = read_json(labels)
                if kind == "S1":
                    content["corresponding_s2_patch"] += letter
                else:
                    lists[part] += f"{own.name},S1\n"
                labels.write_text(json.dumps(content))
    for part, text in lists.items():
        (folder / f"bigearthnet_v1/{part}.csv").write_text(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shared_data):
    """The study, run once."""
    folder = tmp_path_factory.mktemp("archives")
    make_eurosat(folder, shared_data)
    make_bigearthnet(folder, shared_data)
    for name in ("worldclim/wc2.1_10m_bio_1-19_europe.tif", "eea_biogeo/BiogeoRegions2016_10km_cells.gpkg"):
        (folder / name).parent.mkdir()
        shutil.copyfile(shared_data / name, folder / name)
    done = snakemake(folder, study=STUDY)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def results(finished):
    return finished / "results/archives"


def test_images_become_chips_in_the_published_split(results):
    for name, count in {"eurosat": 12, "bigearthnet": 9}.items():
        chips = read_table(results / f"collections/{name}/chips.parquet")
        assert chips["split"].value_counts().to_dict() == dict.fromkeys(PARTS.values(), count // 3)
        assert set(chips["region"]) <= {"alpine", "atlantic", "boreal", "continental", "mediterranean"}
    shards = read_table(results / "collections/eurosat/grid.parquet")["shard"]
    assert shards.value_counts().to_dict() == {"000": 6, "001": 6}


def test_one_class_and_several_are_learnt_with_climate(results):
    cards = {n: read_json(results / f"encoders/{n}_cbn/card.json") for n in ("eurosat", "bigearthnet")}
    assert [len(card["classes"]) for card in cards.values()] == [10, 19]
    assert [card["recipe"]["multi_label"] for card in cards.values()] == [False, True]
    assert [card["chips"] for card in cards.values()] == [{"train": 4, "val": 4}, {"train": 3, "val": 3}]
    for card in cards.values():
        assert len(card["towers"]["s2"]["context"]["names"]) == 19
    called = pd.read_parquet(results / "predictions/bigearthnet_cbn/bigearthnet.parquet")
    assert len(called) == 9
    for name, n_test in {"eurosat": 4, "bigearthnet": 3}.items():
        scores = pd.read_parquet(results / f"classes/{name}.parquet")
        assert set(scores["n_test"]) == {n_test}


def test_radar_is_paired_by_its_own_json(results):
    assert (results / "collections/bigearthnet/chips/s1_grd/spec.json").is_file()
    from terraprobe.chips.store import ChipStore

    assert (ChipStore.open(results / "collections/bigearthnet/chips/s1_grd").valid == 1).all()


def test_the_page_says_what_they_are(results):
    page = (results / "report/index.html").read_text()
    for words in (
        "EuroSAT MS: images and classes of the benchmark as they are.",
        "climate, no elevation (19 values)",
        "BigEarthNet v1",
        "CDLA-Permissive-1.0",
        "As published with the archive.",
        "By source, as listed in eurosat.csv.",
    ):
        assert words in page
    assert "simulated" not in page.partition("</h1>")[2].partition('id="provenance"')[0]


def test_results_are_traced_back_to_the_archives_own_files(results, capsys):
    assert main(["verify", str(results)]) == 0
    assert f"{12 + 9 * 14} raw files" in capsys.readouterr().out


def test_a_second_run_does_nothing_and_a_further_image_is_noticed(finished):
    assert "Nothing to be done" in snakemake(finished, study=STUDY).stdout
    own = finished / "EuroSAT_MS/Pasture/Pasture_300.tif"
    shutil.copy(finished / "EuroSAT_MS/Pasture/Pasture_300a.tif", own)
    done = snakemake(finished, "--dry-run", study=STUDY)
    own.unlink()
    assert done.returncode == 0
    rules = set(re.findall(r"^rule (\w+):", done.stdout, re.MULTILINE))
    assert {"index_archive_eurosat", "lay_grid", "cut_chips"} <= rules
    assert "index_archive_bigearthnet" not in rules


def test_a_dry_run_plans_it_without_an_image_as_an_input(repository, tmp_path):
    fake_downloads(tmp_path, per_class=3)
    done = snakemake(tmp_path, "--dry-run", study=repository / "studies/bioclim.yaml")
    assert done.returncode == 0, done.stdout
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)}
    assert jobs["cut_chips"] == 9 + 104
    assert jobs["pretrain_encoder"] == 180
    assert jobs["reconstruct_chips"] == 50
    assert jobs["index_archive_eurosat"] == jobs["index_archive_bigearthnet"] == 1
    assert "AnnualCrop_1.tif" not in done.stdout


def test_a_dry_run_says_what_to_get_and_where_to_put_it(repository, tmp_path):
    done = snakemake(tmp_path, "--dry-run", study=repository / "studies/bioclim.yaml")
    assert done.returncode != 0
    said = [line for line in done.stdout.splitlines() if "is absent" in line]
    assert len(said) == 2
    for line, place, got in zip(
        said,
        ("collections[0].path: ", "collections[1].path: "),
        ("EuroSAT_MS.zip of https://zenodo.org", "BigEarthNet-S2-v1.0.tar.gz"),
        strict=True,
    ):
        assert "wc2.1_10m_elev.tif is absent: get" in line and "BiogeoRegions2016.shp is absent: get" in line
        assert place in line and got in line and "unpack it so that this folder holds" in line
        assert str(tmp_path / "resources/downloads") in line
