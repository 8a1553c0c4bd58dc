"""`terraprobe trace` and `terraprobe verify` name every file that no longer fits, and no other."""

import json

import pytest

from fabricated import LAND, STUDY, make_results
from terraprobe.acquire.manifest import write_manifest
from terraprobe.artifacts import provenance_path, record_provenance, sha256_file
from terraprobe.cli import main
from terraprobe.errors import TerraprobeError
from terraprobe.records import run_folder

GRID, TILE, MANIFEST = f"{LAND}/grid.parquet", f"{LAND}/tiles/mod44b/p1.tif", f"{LAND}/tiles/000.json"
SHARD, SPEC = f"{LAND}/labels/mod44b/000.npy", f"{LAND}/labels/mod44b/spec.json"
CARD, SCORES = f"{STUDY}/encoders/e/card.json", f"{STUDY}/scores.parquet"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Folder of a run that left whole results."""
    make_results(tmp_path / "run", monkeypatch)
    return tmp_path / "run"


def call(capsys, *arguments):
    """Exit status, stdout and the lines of stderr."""
    status = main([str(a) for a in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err.splitlines()


def change(path):
    """Flip one bit; the size stays."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_the_chain_goes_back_to_raw_files_with_digests_code_seeds_and_versions(run, capsys):
    status, out, err = call(capsys, "trace", run / SCORES)
    assert (status, err) == (0, [])
    lines = out.splitlines()
    assert lines[0].startswith(f"{SCORES}  sha256 ")
    assert lines[0].endswith("gather-scores  code c0de")
    places = next(line for line in lines if line.strip().startswith(f"{MANIFEST}  sha256"))
    assert "simulate-places  code c0de  world.seed 3" in places
    assert "  mod44b: 2 raw files" in out
    assert "python 3." in lines[-1]
    depths = {line.split()[0]: len(line) - len(line.lstrip()) for line in reversed(lines) if line}
    assert depths[SCORES] < depths[CARD] < depths[SPEC] < depths[SHARD] < depths[MANIFEST]


def test_each_artifact_is_described_once(run, capsys):
    _, out, _ = call(capsys, "trace", run / SCORES)
    described = [line.split()[0] for line in out.splitlines() if "  sha256 " in line]
    assert len(described) == len(set(described)) == 9
    assert f"{GRID}  (above)" in out


def test_the_current_folder_does_not_matter(run, capsys, monkeypatch, tmp_path):
    first = call(capsys, "trace", run / SCORES)
    monkeypatch.chdir(run / STUDY / "encoders")
    assert call(capsys, "trace", "../scores.parquet") == first
    moved = tmp_path / "elsewhere"
    run.rename(moved)
    assert call(capsys, "trace", moved / SCORES) == first


def test_results_may_be_a_link(run, capsys, tmp_path):
    (run / "results").rename(tmp_path / "scratch")
    (run / "results").symlink_to(tmp_path / "scratch")
    assert call(capsys, "trace", run / SCORES)[0] == 0
    assert call(capsys, "verify", run / STUDY)[0] == 0


def test_a_record_stands_for_its_artifact_and_a_raw_file_for_its_manifest(run, capsys):
    assert call(capsys, "trace", provenance_path(run / SCORES)) == call(capsys, "trace", run / SCORES)
    status, out, _ = call(capsys, "trace", run / TILE)
    assert status == 0
    assert out.startswith(f"{TILE}  sha256 ")
    assert f"\n  {MANIFEST}  sha256 " in out


def test_the_last_results_folder_of_a_path_counts(tmp_path):
    assert run_folder(tmp_path / "results/project/results/s/a") == tmp_path / "results/project"
    assert run_folder(tmp_path / "results/project/resources/downloads/a") == tmp_path / "results/project"


@pytest.mark.parametrize("name", [SCORES, CARD, SPEC, SHARD, MANIFEST, TILE])
def test_a_changed_byte_anywhere_in_the_chain_is_named(run, capsys, name):
    change(run / name)
    for command, target in (("trace", SCORES), ("verify", STUDY)):
        status, _, err = call(capsys, command, run / target)
        assert status == 1
        assert {line.split(":")[0] for line in err} == {name}
        assert "Snakemake again" in err[0]


def test_an_input_rewritten_after_the_output_was_made_is_named(run, capsys, monkeypatch):
    from pathlib import Path

    from terraprobe.artifacts import record_provenance, write_json

    monkeypatch.chdir(run)
    write_json(Path(CARD), {"seed": 1})
    record_provenance([Path(CARD)], [Path(SPEC)], "pretrain-encoder", {"seed": 1}, "c0de")
    for command, target in (("trace", SCORES), ("verify", STUDY)):
        status, _, err = call(capsys, command, target)
        assert status == 1
        assert len(err) == 2
        assert all(line.startswith(f"{CARD}: rewritten after {STUDY}/scores/cover/e.") for line in err)


def test_an_absent_input_and_an_absent_raw_file_are_named(run, capsys):
    (run / CARD).unlink()
    (run / TILE).unlink()
    # a chain ends where a link is absent
    for command, target, absent in (
        ("trace", SCORES, {CARD}),
        ("trace", SPEC, {TILE}),
        ("verify", STUDY, {CARD, TILE}),
    ):
        status, _, err = call(capsys, command, run / target)
        assert status == 1
        assert {line.split(":")[0] for line in err} == absent
        assert all(": absent, " in line for line in err)


def test_a_foreign_file_is_named(run, capsys):
    foreign = run / STUDY / "collections/land/notes.txt"
    foreign.write_text("mine")
    assert call(capsys, "trace", run / SCORES)[0] == 0
    for command, target in (("trace", foreign), ("verify", run / STUDY)):
        status, _, err = call(capsys, command, target)
        assert status == 1
        assert [line.split(".")[0] for line in err] == [f"{LAND}/notes"]
        assert "foreign: it has no record" in err[0]


def test_an_artifact_that_lost_its_record_is_foreign_too(run, capsys):
    provenance_path(run / CARD).unlink()
    status, out, err = call(capsys, "trace", run / SCORES)
    assert status == 1
    assert f"{CARD}  (no readable record)" in out
    assert [line.split(":")[0] for line in err] == [CARD]


def test_verify_counts_and_leaves_aside_what_has_no_record_by_design(run, capsys):
    page = run / STUDY / "report/figures"
    page.mkdir(parents=True)
    (page / "a.svg").write_text("<svg/>")
    status, out, err = call(capsys, "verify", run / STUDY)
    assert (status, err) == (0, [])
    assert out == "9 artifacts, 2 raw files, 1 stores, 5 outside every record; 0 problems\n"
    assert call(capsys, "verify", run / STUDY / "encoders")[0] == 0


def test_verify_names_a_shard_that_the_store_was_not_sealed_with(run, capsys):
    spec = run / SPEC
    content = json.loads(spec.read_text())
    content["shards"][0]["files"]["000.npy"]["sha256"] = "0" * 64
    spec.write_text(json.dumps(content))
    status, _, err = call(capsys, "verify", run / STUDY)
    assert status == 1
    assert any(line.startswith(f"{SHARD}: sha256 ") and f"{SPEC} says 000000000000" in line for line in err)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[: len(text) // 2], "is not whole JSON"),
        (lambda text: "", "is not whole JSON"),
        (lambda text: "[]", "lacks artifact, bytes"),
        (lambda text: text.replace('"inputs"', '"outputs"'), "lacks inputs"),
        (lambda text: text.replace("card.json", "other.json", 1), "is that of other.json"),
    ],
)
def test_a_broken_record_is_named(run, capsys, spoil, said):
    record = provenance_path(run / CARD)
    record.write_text(spoil(record.read_text()))
    for command, target in (("trace", SCORES), ("verify", STUDY)):
        status, _, err = call(capsys, command, run / target)
        assert status == 1
        assert len(err) == 1
        assert err[0].startswith(f"{CARD}: its record card.json.prov.json {said}")


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("trace", "absent.parquet", "not found"),
        ("trace", ".", "a folder"),
        ("trace", "loose.txt", "not below results/"),
        ("verify", "empty", "no artifact with a record"),
        ("verify", "absent", "no artifact with a record"),
    ],
)
def test_a_wrong_path_is_one_sentence(tmp_path, capsys, command, name, said):
    (tmp_path / "loose.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    status, _, err = call(capsys, command, tmp_path / name)
    assert status == 1
    assert len(err) == 1
    assert said in err[0]


def test_a_path_outside_results_is_refused(tmp_path):
    with pytest.raises(TerraprobeError, match="not below results/"):
        run_folder(tmp_path)


@pytest.mark.parametrize("where", ["run/lists", "elsewhere"])
def test_a_list_of_the_users_own_is_no_foreign_file_but_its_digest_counts(run, capsys, tmp_path, monkeypatch, where):
    listed = tmp_path / where / "official.csv"
    listed.parent.mkdir(exist_ok=True)
    listed.write_text("source,split\n")
    named = listed.relative_to(run) if listed.is_relative_to(run) else listed
    with monkeypatch.context() as patch:
        patch.chdir(run)
        record_provenance([run / GRID], [named], "assign-splits", {}, "c0de")
    assert call(capsys, "verify", run / STUDY)[0] == 0
    status, out, err = call(capsys, "trace", run / GRID)
    assert (status, err) == (0, [])
    assert f"{named}  sha256 {sha256_file(listed)[:12]}  own file" in out
    listed.write_text("source,split\na,test\n")
    for command in (("verify", run / STUDY), ("trace", run / GRID)):
        status, _, err = call(capsys, *command)
        assert status == 1
        assert len(err) == 1 and f"{named}: rewritten after {GRID} was made from it" in err[0]


@pytest.mark.parametrize("inside", [True, False])
def test_own_files_that_a_manifest_lists_are_raw_files_wherever_they_stand(run, tmp_path, capsys, inside):
    own = (run if inside else tmp_path) / "mine/logs/a.tif"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"12345")
    (own.parent / "b.json").write_text("[]")
    manifest = run / LAND / "tiles/lulc.json"
    write_manifest(manifest, {}, [("../../../../../mine/logs/a.tif" if inside else str(own), "lulc", {})])
    record_provenance([manifest], [], "index-folder", {}, "c0de")
    assert call(capsys, "verify", run / STUDY)[0] == 0
    status, out, _ = call(capsys, "trace", manifest)
    assert (status, "lulc: 1 raw files" in out) == (0, True)
    change(own)
    status, _, err = call(capsys, "verify", run / STUDY)
    name = "mine/logs/a.tif" if inside else str(own)
    assert status == 1
    assert any(line.startswith(f"{name}: sha256 ") for line in err)
    own.unlink()
    assert any(line.startswith(f"{name}: absent") for line in call(capsys, "verify", run / STUDY)[2])
