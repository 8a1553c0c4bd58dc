"""`terraprobe sources` says where data come from, and what is here and reachable."""

import pytest

from anyhost import html, status
from terraprobe.acquire import reach
from terraprobe.cli import main
from terraprobe.sources import read_sources


def test_every_source_is_listed_without_asking_anybody(loopback, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sources", "--offline"]) == 0
    text = capsys.readouterr().out
    for name, source in read_sources().items():
        assert f"{name}: {source.title}" in text
        assert source.licence in text
        assert source.needs in text
    assert text.count("here     no") == len(read_sources())
    assert not loopback.asked


def test_what_is_here_and_what_answers_is_said(loopback, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reach, "TIMEOUT_S", 2.0)
    home = tmp_path / "resources/downloads/worldclim/wc2.1_10m_bio"
    home.mkdir(parents=True)
    (home / "wc2.1_10m_bio_1.tif").touch()
    sources = read_sources()
    loopback.put(sources["worldclim"].downloads[0].urls[0], lambda _: status(200))
    loopback.put(sources["regions"].downloads[0].urls[0], lambda _: html(503))
    assert main(["sources", "worldclim", "regions", "ghs_built", "virginia"]) == 0
    worldclim, regions, ghs, virginia = capsys.readouterr().out.split("\n    here     ")[1:]
    assert worldclim.startswith("yes (resources/downloads/worldclim); reachable: yes")
    assert regions.startswith("no (resources/downloads/eea); reachable: no (www.eea.europa.eu answers HTTP 503)")
    assert "answers HTTP 404" in ghs
    assert "reachable: not asked" in virginia


def test_a_dead_network_is_no_error(monkeypatch, capsys):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert main(["sources", "worldclim"]) == 0
    assert "reachable: no (geodata.ucdavis.edu does not answer" in capsys.readouterr().out


def test_an_unknown_source_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["sources", "landsat"])
    assert "invalid choice: 'landsat'" in capsys.readouterr().err
