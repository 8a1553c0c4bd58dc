"""`terraprobe compare` says what differs between two results folders, and nothing where nothing does."""

import shutil

import pytest

from fabricated import make_results
from terraprobe.artifacts import read_table, write_table
from terraprobe.cli import main
from terraprobe.compare import differences, differing_files, read_records, score_differences
from terraprobe.errors import TerraprobeError
from terraprobe.probes.summary import resample_points
from terraprobe.statistics import interval


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Results of two equal runs, apart from what they took."""
    return [make_results(tmp_path / side, monkeypatch) for side in "ab"]


def test_equal_runs_are_equal_exactly_whatever_they_took(pair, capsys):
    a, b = pair
    costs = ("encoders/e/cost.json", "report/cost/index.html")
    for name in ("logs/pretrain_encoder/e.log", *costs, "encoders/e/state-1a/step.pt"):
        (b / name).parent.mkdir(parents=True, exist_ok=True)
        (b / name).write_text("another machine")
    (b / "benchmarks/pretrain_encoder/e.tsv").unlink()
    assert main(["compare", "--exact", str(a), str(b)]) == 0
    assert "20 files in both; 0 differ" in capsys.readouterr().out
    assert differences(read_records(a), read_records(b)) == []


def test_exact_names_every_file_that_differs_or_is_on_one_side(pair, capsys):
    a, b = pair
    (a / "report/figures").mkdir(parents=True)
    (a / "report/figures/x.svg").write_text("<svg/>")
    (b / "notes.txt").write_text("mine")
    shard = b / "collections/land/labels/mod44b/000.npy"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    assert main(["compare", "--exact", str(a), str(b)]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "collections/land/labels/mod44b/000.npy: differs",
        f"notes.txt: only in {b}",
        f"report/figures/x.svg: only in {a}",
    ]
    assert "3 differ or are on one side only" in said.out
    assert len(differing_files(a, b)) == 3


def test_recipe_code_data_and_artifacts_are_told_apart(tmp_path, monkeypatch):
    a = make_results(tmp_path / "a", monkeypatch)
    b = make_results(tmp_path / "b", monkeypatch, seed=4, code="f00d")
    write_table(b / "extra.parquet", read_table(b / "scores.parquet"))
    shutil.copy(b / "scores.parquet.prov.json", b / "extra.parquet.prov.json")
    record = b / "extra.parquet.prov.json"
    record.write_text(record.read_text().replace('"artifact": "scores.parquet"', '"artifact": "extra.parquet"'))
    found = {(d.what, d.where): d.text for d in differences(read_records(a), read_records(b))}
    manifest = "collections/land/tiles/000.json"
    assert found["artifacts", "extra.parquet"] == "only in B"
    assert found["recipe", f"simulate-places {manifest}"] == "world.seed: 3 in A, 4 in B"
    assert found["code", "cut-chips"] == "digest: 'c0de' in A, 'f00d' in B"
    assert ("data", manifest) in found
    assert ("data", "collections/land/grid.parquet") not in found
    assert not [key for key in found if key[0] == "versions"]


def test_versions_are_said_once_a_stage(pair):
    a, b = pair
    record = b / "collections/land/grid.parquet.prov.json"
    record.write_text(record.read_text().replace('"numpy": "', '"numpy": "0.'))
    found = differences(read_records(a), read_records(b))
    assert [(d.what, d.where) for d in found] == [("versions", "lay-grid")]
    assert found[0].text.startswith("numpy: ")


def test_scores_are_paired_on_the_same_blocks(tmp_path, monkeypatch, capsys):
    a = make_results(tmp_path / "a", monkeypatch)
    b = make_results(tmp_path / "b", monkeypatch, shift=1)
    rows, remarks = score_differences(a, b)
    assert remarks == []
    assert len(rows) == 1
    row = rows.iloc[0]
    # one more hit of ten in every block: the difference has no spread between blocks, though the scores have
    assert row["difference"] == pytest.approx(0.1)
    assert (row["low"], row["high"]) == (pytest.approx(0.1), pytest.approx(0.1))
    samples = resample_points(read_table(a / "scores/cover/e.blocks.parquet"), 2000, 0)
    low, high = interval(next(v for k, v in samples.items() if k[-1] == "accuracy"))
    assert high - low > 0.05
    assert main(["compare", str(a), str(b)]) == 0
    assert "cover e concat water 10 accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"test_set": "t2"}, {"blocks": 30}])
def test_other_test_chips_or_blocks_give_no_interval(tmp_path, monkeypatch, capsys, other):
    a = make_results(tmp_path / "a", monkeypatch)
    b = make_results(tmp_path / "b", monkeypatch, **other)
    rows, remarks = score_differences(a, b)
    assert rows["low"].isna().all()
    assert remarks == ["1 points stand on other test chips or blocks in A than in B, or have no score: no interval"]
    assert main(["compare", str(a), str(b)]) == 0
    assert "[+" not in capsys.readouterr().out


def test_points_of_one_side_are_counted(tmp_path, monkeypatch):
    a = make_results(tmp_path / "a", monkeypatch)
    b = make_results(tmp_path / "b", monkeypatch)
    scores = read_table(b / "scores.parquet")
    write_table(b / "scores.parquet", scores.assign(task="forest"))
    rows, remarks = score_differences(a, b)
    assert len(rows) == 0
    assert remarks == ["1 points of the curves are only in A", "1 points of the curves are only in B"]


def test_without_scores_the_rest_is_compared(pair, capsys):
    a, b = pair
    (b / "scores.parquet").unlink()
    assert main(["compare", str(a), str(b)]) == 0
    assert f"scores: not compared, no scores.parquet in {b}" in capsys.readouterr().out
    write_table(b / "scores.parquet", read_table(a / "scores.parquet").iloc[:0])
    assert main(["compare", str(a), str(b)]) == 0
    assert f"scores: not compared, no forests in {b}" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--exact"]])
def test_a_folder_without_records_is_refused(pair, tmp_path, capsys, flags):
    assert main(["compare", *flags, str(pair[0]), str(tmp_path / "empty")]) == 1
    assert "no artifact with a record" in capsys.readouterr().err


def test_a_truncated_record_is_named(pair):
    record = pair[0] / "scores.parquet.prov.json"
    record.write_text(record.read_text()[:40])
    with pytest.raises(TerraprobeError, match=r"scores\.parquet: its record .* is not whole JSON"):
        read_records(pair[0])
