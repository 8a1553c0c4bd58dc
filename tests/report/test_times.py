"""Time by stage, from benchmark files."""

from pathlib import Path

import pytest

from terraprobe.errors import TerraprobeError
from terraprobe.report.times import read_times, times_command

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write_benchmark(study: Path, name: str, wall: str, memory: str, cpu: str) -> None:
    path = study / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{wall}\t0:00:01\t{memory}\t1\t1\t1\t0\t0\t0\t{cpu}\n")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_benchmark(tmp_path, "cut_chips/land-000", "10.5", "300.2", "9.5")
    write_benchmark(tmp_path, "cut_chips/land-001", "20.0", "410.7", "19.0")
    write_benchmark(tmp_path, "embed_chips/land", "100.25", "900.0", "88.0")
    write_benchmark(tmp_path, "lay_grid/land", "0.4", "NA", "-")
    return tmp_path


def test_jobs_of_a_rule_are_summed(study: Path) -> None:
    stages = {stage.stage: stage for stage in read_times(study)}
    assert list(stages) == ["embed_chips", "cut_chips", "lay_grid"]
    cut = stages["cut_chips"]
    assert (cut.jobs, cut.wall_s, cut.cpu_s, cut.peak_mb) == (2, 30.5, 28.5, 410.7)
    assert (stages["lay_grid"].cpu_s, stages["lay_grid"].peak_mb) == (0.0, 0.0)


def test_the_table_names_every_stage(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert times_command([str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("cut_chips" in line and " 2 " in line and "411" in line for line in lines)
    assert any("total" in line and "131" in line and "900" in line for line in lines)


def test_a_folder_without_benchmarks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TerraprobeError, match="no benchmark files"):
        read_times(tmp_path)


def test_another_table_is_refused(study: Path) -> None:
    (study / "benchmarks" / "cut_chips" / "notes.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(TerraprobeError, match=r"notes.tsv: not a Snakemake benchmark file"):
        read_times(study)
