"""One study from simulated files and from Earth Engine's protocol: the same chips, and mutations that are seen."""

import datetime
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from fabricated_area import cut, fetch
from terraprobe.acquire.earthengine import fetch as fetch_module
from terraprobe.acquire.earthengine import graphs
from terraprobe.acquire.earthengine.products import PRODUCTS, Composite, after, window_shape
from terraprobe.acquire.earthengine.windows import Window, shard_windows
from terraprobe.errors import TerraprobeError


def both(area, folder, layer):
    """Chips from the files and from the server."""
    ours = cut(area, fetch(area, folder / "ee", layer), layer, folder / "a")
    return cut(area, area / "tiles/000.json", layer, folder / "b"), ours


def differs(area, folder, layer, dn):
    """Whether the comparison of the two would fail."""
    (files, files_valid), (ours, ours_valid) = both(area, folder, layer)
    far = np.abs(ours.astype(int) - files.astype(int)).max() > dn
    return far or not np.array_equal(files_valid, ours_valid)


@pytest.mark.parametrize(
    ("layer", "nodata", "dn"),
    [
        ("s2_rgb_monthly", 0, 1),
        ("s2_l1c", 0, 1),
        ("s1_grd_monthly", -32768, 1),
        ("mod44b", 253, 0),
        ("worldcover", 0, 0),
    ],
)
@pytest.mark.usefixtures("server")
def test_chips_from_the_server_are_those_from_the_files(simulated_area, tmp_path, layer, nodata, dn):
    (files, files_valid), (ours, ours_valid) = both(simulated_area, tmp_path, layer)
    np.testing.assert_array_equal(ours == nodata, files == nodata)
    np.testing.assert_array_equal(ours_valid, files_valid)
    assert np.abs(ours.astype(int) - files.astype(int)).max() <= dn
    assert len(np.unique(files)) > 2
    assert files_valid.mean() < 1 or layer in ("mod44b", "worldcover")


@pytest.mark.usefixtures("server")
def test_radar_of_all_months_is_their_mean_in_decibels(simulated_area, tmp_path):
    monthly, _ = cut(simulated_area, fetch(simulated_area, tmp_path, "s1_grd_monthly"), "s1_grd_monthly", tmp_path)
    both, _ = cut(simulated_area, fetch(simulated_area, tmp_path, "s1_grd"), "s1_grd", tmp_path)
    for channel in (0, 1):
        parts = monthly[:, channel::3].astype(float)
        seen = (parts > -32768).all(axis=1)
        np.testing.assert_array_equal(seen, both[:, channel] > -32768)
        assert np.abs(parts.mean(axis=1) - both[:, channel])[seen].max() <= 1


@pytest.mark.usefixtures("server")
def test_a_month_without_its_last_day_is_seen(simulated_area, tmp_path, monkeypatch):
    def last_day(month):
        day = datetime.date.fromisoformat(after(month)) - datetime.timedelta(days=1)
        return day.isoformat()

    monkeypatch.setattr(graphs, "after", last_day)
    assert differs(simulated_area, tmp_path, "s2_rgb_monthly", 1)


@pytest.mark.parametrize("layer", ["s2_rgb_monthly", "s1_grd_monthly"])
@pytest.mark.usefixtures("server")
def test_two_swapped_bands_are_seen(simulated_area, tmp_path, layer, monkeypatch):
    swapped = replace(PRODUCTS[layer], sources=PRODUCTS[layer].sources[::-1])
    monkeypatch.setattr(fetch_module, "PRODUCTS", {layer: swapped})
    assert differs(simulated_area, tmp_path, layer, 1)


@pytest.mark.usefixtures("server")
def test_a_grid_that_is_half_a_pixel_off_is_seen(simulated_area, tmp_path, monkeypatch):
    right = Window.transform.fget
    monkeypatch.setattr(Window, "transform", property(lambda b: right(replace(b, left=b.left + 5))))
    assert differs(simulated_area, tmp_path, "s1_grd_monthly", 1)


def test_another_cloud_mask_and_median_give_the_composite_of_that(simulated_area, server, tmp_path):
    """Cloud Score+ flags what QA60 did not; the median of v + 2d, v - d, v - d is v - d."""
    clear = [s for s in server.scenes if s.collection.startswith("COPERNICUS/S2")]
    shape = next(iter(clear[0].bands.values()))[0].shape
    scored = [
        replace(s, collection="GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED", properties={},
                bands={"cs": (np.where(s.bands["QA60"][0] > 0, 0.1, 0.9), np.ones(shape, bool))})
        for s in clear
    ]  # fmt: skip
    server.scenes = [*server.scenes, *scored]
    mean = cut(simulated_area, fetch(simulated_area, tmp_path / "mean", "s2_rgb_monthly"), "s2_rgb_monthly", tmp_path)[
        0
    ]
    scored_mean = fetch(simulated_area, tmp_path / "scored", "s2_rgb_monthly", cloud_mask="cloud_score")
    np.testing.assert_array_equal(cut(simulated_area, scored_mean, "s2_rgb_monthly", tmp_path)[0], mean)
    median = fetch(simulated_area, tmp_path / "median", "s2_rgb_monthly", statistic="median")
    lower = cut(simulated_area, median, "s2_rgb_monthly", tmp_path)[0]
    assert (lower[mean > 0] <= mean[mean > 0]).all()
    assert (lower < mean)[mean > 0].mean() > 0.3


def test_a_month_without_an_image_is_missing_and_no_other_takes_its_place(simulated_area, server, tmp_path):
    server.scenes = [s for s in server.scenes if s.time.month != 2]
    manifest = fetch(simulated_area, tmp_path / "ee", "s2_rgb_monthly")
    (row,) = json.loads(manifest.read_text())["files"]
    assert row["status"] == "ok"
    assert {band for band, share in row["observed"].items() if share == 0} == {"m2_B04", "m2_B03", "m2_B02"}
    _, valid = cut(simulated_area, manifest, "s2_rgb_monthly", tmp_path)
    assert (valid[:, 3:6] == 0).all()
    assert (valid[:, :3].mean(), valid[:, 6:].mean()) > (0, 0)
    server.scenes = []
    (row,) = json.loads(fetch(simulated_area, tmp_path / "none", "s1_grd_monthly").read_text())["files"]
    assert row["status"] == "empty"


def test_a_file_of_another_question_is_not_taken_and_goes(simulated_area, server, tmp_path):
    first = fetch(simulated_area, tmp_path, "s1_grd_monthly")
    (old,) = (tmp_path / "s1_grd_monthly/000").glob("*.tif")
    fetch(simulated_area, tmp_path, "s1_grd_monthly")
    assert len(server.asked) == 1
    fetch(simulated_area, tmp_path, "s1_grd_monthly", s1_orbit="ascending")
    (new,) = (tmp_path / "s1_grd_monthly/000").glob("*.tif")
    assert new.name != old.name
    assert len(server.asked) == 2
    assert json.loads(first.read_text())["composite"]["s1_orbit"] == "ascending"


def test_an_algorithm_that_the_server_does_not_know_is_refused_in_one_sentence(
    simulated_area, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(graphs, "_label", lambda ee, product, composite, dated: dated.max())
    with pytest.raises(
        TerraprobeError, match=r"worldcover 32633_\S+: Earth Engine refuses \(HTTP 400\): reduce\.max is not"
    ):
        fetch(simulated_area, tmp_path, "worldcover")


@pytest.mark.parametrize("layer", PRODUCTS)
@pytest.mark.parametrize("chip_px", [8, 64, 448, 2048])
def test_windows_keep_the_limits_of_a_request(layer, chip_px):
    product = PRODUCTS[layer]
    columns, rows, pieces = window_shape(product, chip_px)
    width, height = (-(-n * chip_px // pieces) for n in (columns, rows))
    assert width * height * product.pixel_bytes <= 48_000_000
    assert max(width, height) <= 32_768
    assert pieces == 1 or (columns, rows) == (1, 1)


def test_windows_hold_every_chip_once_and_pieces_a_chip():
    corners = [(640.0 * x, 640.0 * y) for x in range(700, 760) for y in range(8000, 8030)]
    frame = pd.DataFrame({"crs": "EPSG:32633", "transform": [[10.0, 0, x, 0, -10.0, y] for x, y in corners]})
    windows = shard_windows(frame, 64, PRODUCTS["s1_grd_monthly"])
    inside = [
        sum(b.left <= x < b.left + 10 * b.width and b.top - 10 * b.height < y <= b.top for b in windows)
        for x, y in corners
    ]
    assert set(inside) == {1}
    assert len({b.name for b in windows}) == len(windows)
    pieces = shard_windows(frame.iloc[:1], 2048, PRODUCTS["s1_grd_monthly"])
    assert len(pieces) == 4
    assert sum(b.width * b.height for b in pieces) == 2048**2


def test_months_are_whole():
    assert [after(m) for m in ("2020-01", "2020-02", "2019-12")] == ["2020-02-01", "2020-03-01", "2020-01-01"]
    for months in (["2020-1"], ["2020-13"], ["2020-02", "2020-01"], ["2020-01", "2020-01"], ["2014-01"]):
        with pytest.raises(ValidationError, match="months: found"):
            Composite(months=months)


def test_a_layer_of_another_source(simulated_area, server, tmp_path):
    with pytest.raises(TerraprobeError, match="layer s1_coherence: not one that Earth Engine gives"):
        fetch(simulated_area, tmp_path, "s1_coherence")
