"""`studies/papers.yaml` where nothing is: no archive, no weights, no account. A page still says what is missing."""

import pandas as pd
import pytest
from dag import REPOSITORY, snakemake

PAPERS = REPOSITORY / "studies/papers.yaml"
ACCOUNTS = ("GOOGLE_APPLICATION_CREDENTIALS", "EARTHDATA_TOKEN", "EARTHENGINE_PROJECT")


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A folder to run in, with the study files and nothing else."""
    (tmp_path / "studies").symlink_to(REPOSITORY / "studies")
    for name in ACCOUNTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    return tmp_path


def test_a_page_says_of_every_paper_what_is_missing(bare):
    done = snakemake(bare, study=PAPERS)
    assert done.returncode == 0, done.stdout
    assert "not run: clip3: " in done.stdout and "not run: sscl: dfc2020: path: " in done.stdout
    tables = [pd.read_parquet(bare / f"results/papers/ledger{kind}.parquet") for kind in ("", ".claims")]
    ledger = pd.concat(table[["paper", "verdict", "why"]] for table in tables)
    assert set(ledger["verdict"]) == {"not run"} and (ledger["why"] != "").all()
    missing = {"bioclim": "EuroSAT_MS is absent", "clip3": "Earth Engine: no credentials",
               "rsbyol": "SEN12MS is absent", "sscl": "DFC2020 is absent"}  # fmt: skip
    for paper, words in missing.items():
        own = ledger.loc[ledger["paper"] == paper, "why"]
        assert own.str.contains(f"not here: .*{words}").any()
    page = (bare / "results/papers/report/index.html").read_text()
    assert "Nothing of this could run here." in page and "Not run: sscl: dfc2020: path: " in page
    assert page.count(">not run</td>") >= len(ledger)


def test_strict_stops_before_the_first_job_with_what_is_missing(bare):
    done = snakemake(bare, "--config", "strict=true", study=PAPERS)
    assert done.returncode != 0 and not (bare / "results").exists()
    assert "strict: these cannot run here:" in done.stdout and "Traceback" not in done.stdout
