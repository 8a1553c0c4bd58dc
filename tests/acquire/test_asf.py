"""Coherence from ASF: the real client against a service on this machine that speaks its protocols."""

import multiprocessing
import os
import random
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import netCDF4
import numpy as np
import pytest
import yaml
from pyproj import Transformer
from shapely import box

from anyhost import Answer, cut, html, spoil, status
from earthdata_service import Earthdata, product_name, umm, write_product
from terraprobe.acquire.asf import FetchRecipe, SearchRecipe, fetch_coherence, search_coherence
from terraprobe.acquire.credentials import missing_credentials
from terraprobe.acquire.gunw import newest, parse_gunw
from terraprobe.acquire.manifest import layer_tiles
from terraprobe.artifacts import read_json, read_table, sha256_file, write_table
from terraprobe.chips.cut import CutRecipe, cut_chips
from terraprobe.errors import TerraprobeError

AREA = (10.2, 50.2)
SECRETS = ("good-t0ken", "old-t0ken", "new-t0ken", "p4ssword", "c00kie", "s1gned")


@pytest.fixture
def service(loopback, monkeypatch, tmp_path):
    monkeypatch.setenv("EARTHDATA_TOKEN", "good-t0ken")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return Earthdata(loopback)


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return write_product(tmp_path_factory.mktemp("gunw") / "a.nc")


def lay(path, *places):
    """A grid with one chip of some 7 km at each place (longitude, latitude), each a shard of its own."""
    boxes = [box(lon - 0.05, lat - 0.03, lon + 0.05, lat + 0.03) for lon, lat in places]
    frame = gpd.GeoDataFrame({"shard": [f"{k:03d}" for k in range(len(boxes))]}, geometry=boxes, crs="EPSG:4326")
    write_table(path, frame)


def find(tmp_path, *places, months=("2020-06",), max_days=48):
    lay(tmp_path / "grid.parquet", *(places or [AREA]))
    recipe = SearchRecipe(months=months, max_days=max_days)
    search_coherence(grid=tmp_path / "grid.parquet", recipe=recipe, products=tmp_path / "products.parquet")
    return read_table(tmp_path / "products.parquet")


def fetch(tmp_path, study="one"):
    recipe = FetchRecipe(shard="000", cache=str(tmp_path / "gunw"))
    files = {"grid": tmp_path / "grid.parquet", "products": tmp_path / "products.parquet"}
    fetch_coherence(**files, recipe=recipe, manifest=tmp_path / study / "s1_coherence.json")
    return list(layer_tiles(tmp_path / study / "s1_coherence.json", "s1_coherence"))


def left(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_search_keeps_what_the_paper_takes(service, tmp_path, body):
    wanted = product_name()
    others = {
        "older version": product_name(version="2_0_4"),
        "same again": product_name(tail="0aaa"),
        "too long between": product_name("20200613", "20200401"),
        "later date before": product_name("20200530", "20200518"),
        "later date after": product_name("20200701", "20200619"),
        "a layer alone": f"{product_name()}-unw_phase",
    }
    for name in [*others.values(), wanted]:
        service.items.append(umm(name, body))
    service.items.append(umm(product_name(time="170000"), body, (20, 50, 21, 51)))
    table = find(tmp_path)
    assert list(table["product"]) == [wanted]
    row = table.iloc[0]
    assert (row["later"], row["earlier"], row["days"]) == ("2020-06-13", "2020-06-01", 12)
    assert (row["bytes"], row["version"], row["track"]) == (len(body), "3.0.1", "044")
    assert table.crs == "EPSG:4326"
    (request,) = service.server.asked
    assert request.form["temporal"] == ["2020-06-01T00:00:00Z,2020-06-30T23:59:59Z,"]
    assert "authorization" not in request.headers


def test_a_long_answer_is_read_to_its_end(service, tmp_path, body):
    for k in range(600):
        service.items.append(umm(product_name(time=f"{k:06d}"), body))
    assert len(find(tmp_path)) == 600
    assert len(service.server.asked) == 3


def test_a_recorded_answer_is_read(service, tmp_path, shared_data):
    text = (shared_data / "asf_cmr/ARIAS1-GUNW_response.yml").read_text()
    recorded = yaml.safe_load(text.replace(": None", ": null"))
    service.items.append({"meta": recorded["meta"], "umm": recorded["umm"]})
    place = (-122.2, 37.8)
    table = find(tmp_path, place, months=["2024-08"], max_days=400)
    row = table.iloc[0]
    assert row["product"] == recorded["properties"]["sceneName"]
    assert row["url"] == recorded["properties"]["url"]
    assert (row["bytes"], row["md5"]) == (136887876, "1da292d57037f6a3aabcbe2f0e513a5b")
    assert row["days"] == 396
    assert find(tmp_path, place, months=["2024-08"]).empty


def test_a_storm_passes_and_a_dead_search_is_one_sentence(service, tmp_path, body):
    service.items.append(umm(product_name(), body))
    service.search_faults = [lambda _: status(429)] * 2 + [lambda _: html(503)] * 2
    assert len(find(tmp_path)) == 1
    (tmp_path / "products.parquet").unlink()
    for fault in (lambda _: html(503), lambda _: status(400), lambda _: Answer(200, b"<html>")):
        service.search_faults = [fault] * 50
        with pytest.raises(TerraprobeError, match=r"ASF's search .* does not answer .*Nothing was written"):
            find(tmp_path)
    assert left(tmp_path) == ["grid.parquet"]
    assert not any(request.host.startswith("search-error") for request in service.server.asked)


def test_products_are_kept_once_for_all_studies(service, tmp_path, body):
    service.add(product_name(), body, faults=[lambda _: status(503), cut(1000), spoil])
    service.add(product_name(time="164100"), body, (20, 50, 21, 51))
    assert len(find(tmp_path, AREA, (20.5, 50.5))) == 2
    (path,) = fetch(tmp_path)
    assert path.read_bytes() == body
    assert left(tmp_path / "gunw") == [f"{product_name()}.nc"]
    asked = len(service.server.asked)
    assert fetch(tmp_path, study="two") == [path]
    assert len(service.server.asked) == asked
    manifest = read_json(tmp_path / "one/s1_coherence.json")
    assert manifest["files"][0]["source"].endswith(f"{product_name()}.nc")
    assert "md5" not in manifest


def test_products_come_several_at_once_and_are_opened_one_at_a_time(service, tmp_path, body, monkeypatch):
    """HDF5 ends the process, without a word, where two threads open files at once."""
    opened, most = [], []

    real = netCDF4.Dataset

    @contextmanager
    def slow(path):
        opened.append(path)
        most.append(len(opened))
        time.sleep(0.05)
        with real(path) as product:
            yield product
        opened.pop()

    for k in range(4):
        service.add(product_name(time=f"{k:06d}"), body)
    find(tmp_path)
    monkeypatch.setattr(netCDF4, "Dataset", slow)
    assert len(fetch(tmp_path)) == 4
    assert most == [1] * 4


def test_fetched_products_become_chips_where_they_saw_something(service, tmp_path):
    def sloped(lat, lon):
        """Coherence that grows eastward; fill in the south and, of the second pair, where chips 1 and 2 are."""
        return np.where(lat[:, None] > 50.2, (lon[None] - 10).astype("f4"), 0)

    whole = write_product(tmp_path / "a.nc", coherence=sloped)
    half = write_product(tmp_path / "b.nc", coherence=lambda lat, lon: np.where(lon > 10.9, sloped(lat, lon), 0))
    service.add(product_name(), whole)
    service.add(product_name("20200625", "20200613"), half)
    places = [(10.3, 50.5), (10.5, 50.2), (10.95, 50.5)]
    grid, transforms = tmp_path / "grid.parquet", []
    lay(grid, *places)
    frame = read_table(grid).assign(shard="000", chip_id=list("abc"), crs="EPSG:32632")
    to_utm = Transformer.from_crs(4326, 32632, always_xy=True)
    for lon, lat in places:
        x, y = (round(value, -1) for value in to_utm.transform(lon, lat))
        transforms.append([10.0, 0.0, x, 0.0, -10.0, y + 500])
    write_table(grid, frame.assign(transform=transforms), {"chip_px": "64"})
    recipe = SearchRecipe(months=["2020-06"])
    search_coherence(grid=grid, recipe=recipe, products=tmp_path / "products.parquet")
    fetch(tmp_path)
    store = tmp_path / "store"
    cut_chips(
        grid=grid,
        manifest=tmp_path / "one/s1_coherence.json",
        recipe=CutRecipe(layer="s1_coherence", shard="000"),
        pixels=store / "000.npy",
        valid=store / "000.valid.npy",
    )
    shares = np.load(store / "000.valid.npy")
    assert shares[0].tolist() == [1, 0]
    assert 0.2 < shares[1, 0] < 0.8  # the edge of what was observed lies across it
    assert shares[1, 1] == 0
    assert shares[2].tolist() == [1, 1]
    pixels = np.load(store / "000.npy")
    assert abs(pixels[0, 0].mean() / 10_000 - 0.3) < 0.01
    assert pixels[1, 0].max() == 65535
    assert pixels[1, 0].min() > 4500


@pytest.mark.long
@pytest.mark.parametrize("times", [20 if os.environ.get("TERRAPROBE_LONG") else 5])
def test_a_killed_fetch_then_the_same_call_ends_in_the_same_bytes(service, tmp_path, body, monkeypatch, times):
    rng, inside = random.Random(7), 0
    for k in range(8):
        service.add(product_name(time=f"{k:06d}"), body, faults=[slowed] * 1000)
    find(tmp_path)
    whole = tmp_path / "whole"
    whole.mkdir()
    monkeypatch.chdir(whole)
    fetch_here(tmp_path)
    expected = contents(whole)
    assert len(expected) == 9
    for moment in range(times):
        folder = tmp_path / f"cut{moment}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        job = multiprocessing.get_context("fork").Process(target=fetch_here, args=(tmp_path,))
        job.start()
        time.sleep(rng.uniform(0.05, 0.4))
        os.kill(job.pid, signal.SIGKILL)
        job.join()
        held = contents(folder)
        assert all(held[name] == expected[name] for name in held if not name.rpartition("/")[2].startswith("."))
        inside += held != expected
        fetch_here(tmp_path)
        assert contents(folder) == expected, moment
    assert inside >= times // 2


def slowed(answer):
    time.sleep(0.1)
    return answer


def fetch_here(grids):
    """Fetch below the current folder, so that two folders have equal manifests."""
    recipe = FetchRecipe(shard="000", cache="gunw")
    files = {"grid": grids / "grid.parquet", "products": grids / "products.parquet"}
    fetch_coherence(**files, recipe=recipe, manifest=Path("area/000.json"))


def contents(folder):
    """SHA-256 of every file by name."""
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_an_area_without_products_goes_without_and_says_so(service, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN")
    assert find(tmp_path).empty
    assert fetch(tmp_path) == []
    assert read_json(tmp_path / "one/s1_coherence.json")["status"] == "empty"
    assert capsys.readouterr().err.count("goes without coherence") == 2


@pytest.mark.parametrize("kind", ["truncated", "html", "no layer", "other bytes"])
def test_what_is_no_product_is_named_and_leaves_nothing(service, tmp_path, body, kind):
    spoilt = {
        "truncated": body[: len(body) // 2],
        "html": body,
        "no layer": write_product(tmp_path / "x.nc", layer="correlation"),
        "other bytes": body,
    }[kind]
    stored = service.add(product_name(), spoilt)
    if kind == "html":
        service.server.put(f"https://mirror.example/signed/{product_name()}.nc", lambda _: html())
    if kind == "other bytes":
        stored.body = body[::-1]
    find(tmp_path)
    said = {
        "truncated": "no whole NetCDF file",
        "html": r"web page \(text/html\) instead of the file",
        "no layer": "no /science/grids/data/coherence in it, twice",
        "other bytes": "its md5 is [0-9a-f]{32}, expected [0-9a-f]{32}, twice",
    }[kind]
    with pytest.raises(TerraprobeError, match=f"{product_name()}.nc could not be fetched .*{said}"):
        fetch(tmp_path)
    assert left(tmp_path / "gunw") == []
    assert left(tmp_path / "one") == []


def give_login(tmp_path, word="p4ssword"):
    (tmp_path / "netrc").write_text(f"machine urs.earthdata.nasa.gov login me password {word}\n")


def test_a_token_that_expires_on_the_way_is_renewed_once(service, tmp_path, body):
    stored = service.add(product_name(), body)
    give_login(tmp_path)
    find(tmp_path)
    check = service._check_token

    def expire(request):
        answer = check(request)
        service.tokens.clear()
        return answer

    service.server.put("https://urs.earthdata.nasa.gov/oauth/tokens/user", expire)
    assert [path.read_bytes() for path in fetch(tmp_path)] == [body]
    assert service.server.count("/api/users/find_or_create_token") == 1
    assert stored.body == body


def test_a_login_alone_is_enough(service, tmp_path, body, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN")
    give_login(tmp_path)
    service.add(product_name(), body)
    find(tmp_path)
    assert len(fetch(tmp_path)) == 1


@pytest.mark.parametrize("case", ["none", "expired", "expires on the way", "wrong password", "broken netrc", "down"])
def test_credentials_that_do_not_do_are_one_sentence_without_a_secret(service, tmp_path, monkeypatch, capsys, case):
    service.add(product_name(), b"never asked for")
    find(tmp_path)
    expected = {
        "none": "Earthdata: no credentials",
        "expired": "Earthdata does not accept the token in EARTHDATA_TOKEN",
        "expires on the way": "HTTP 401: these credentials are not accepted, or have expired",
        "wrong password": r"does not accept the token in EARTHDATA_TOKEN or name and password in .*netrc",
        "broken netrc": r"netrc: cannot be read in line 1",
        "down": r"urs\.earthdata\.nasa\.gov does not answer \(HTTP 503\)",
    }[case]
    if case == "none":
        monkeypatch.delenv("EARTHDATA_TOKEN")
    elif case == "down":
        service.server.put("https://urs.earthdata.nasa.gov/oauth/tokens/user", lambda _: status(503))
    elif case == "expires on the way":
        service.server.put("https://urs.earthdata.nasa.gov/oauth/tokens/user", lambda _: status(200))
        service.tokens.clear()
    else:
        monkeypatch.setenv("EARTHDATA_TOKEN", "old-t0ken")
    if case == "wrong password":
        give_login(tmp_path, "p4ssword-of-old")
    if case == "broken netrc":
        (tmp_path / "netrc").write_text("machin urs.earthdata.nasa.gov login me password p4ssword\n")
    with pytest.raises(TerraprobeError, match=expected) as error:
        fetch(tmp_path)
    said = str(error.value) + capsys.readouterr().err
    assert not any(secret in said for secret in SECRETS)
    assert left(tmp_path / "gunw") == []


def test_no_secret_is_in_any_file_or_line(service, tmp_path, body, capsys, caplog):
    caplog.set_level("INFO")
    give_login(tmp_path)
    service.add(product_name(), body, faults=[cut(500)])
    find(tmp_path)
    fetch(tmp_path)
    text = capsys.readouterr().err + caplog.text
    (tmp_path / "netrc").unlink()
    text += "".join(path.read_bytes().decode("latin1") for path in tmp_path.rglob("*") if path.is_file())
    assert len(text) > len(body)
    assert not any(secret in text for secret in SECRETS)


def test_which_credentials_are_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    (sentence,) = missing_credentials(["s1_coherence", "ghs_built"])
    assert re.search(r"no credentials for s1_coherence: .*EARTHDATA_TOKEN.*~/\.netrc", sentence)
    assert missing_credentials(["ghs_built"]) == []
    give_login(tmp_path)
    assert missing_credentials(["s1_coherence"]) == []
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("EARTHDATA_TOKEN", "x")
    assert missing_credentials(["s1_coherence"]) == []


def test_names_of_products_of_every_version():
    old = parse_gunw("S1-GUNW-D-R-087-tops-20190614_20190602-161540-20645N_18637N-PP-7f6a-v2_0_2.nc")
    assert (old.channel, old.days, old.version) == ("20190614_20190602-D087", 12, (2, 0, 2))
    names = [product_name(version=v) for v in ("2_0_4", "2_0_10", "2_0_5")]
    assert newest(names) == [names[1]]
    with pytest.raises(TerraprobeError, match="not the name of an ARIA interferogram"):
        parse_gunw("S1A_IW_SLC.zip")


def test_an_unknown_shard_or_month_is_refused(service, tmp_path):
    find(tmp_path)
    recipe = FetchRecipe(shard="007", cache=str(tmp_path))
    files = {"grid": tmp_path / "grid.parquet", "products": tmp_path / "products.parquet"}
    with pytest.raises(TerraprobeError, match=r"no shard 007; there are \['000'\]"):
        fetch_coherence(**files, recipe=recipe, manifest=tmp_path / "x.json")
    with pytest.raises(ValueError, match="months"):
        SearchRecipe(months=["2020-13"])
