"""Floor features: image statistics by hand, places, climate, missing modalities."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from terraprobe.artifacts import read_table, table_metadata, write_table
from terraprobe.chips.store import StoreLayer, seal, write_shard
from terraprobe.collections.chiptable import CONTEXT
from terraprobe.errors import TerraprobeError
from terraprobe.probes.floors import FloorsRecipe, coordinates, measure_floors
from terraprobe.probes.image_stats import STATISTICS, channel_statistics, grey_levels, texture

N, PX = 12, 16
SPLIT = ["train"] * 8 + ["val"] * 2 + ["test"] * 2

HARALICK = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]], np.uint8)
"""The example of Haralick, Shanmugam and Dinstein (1973), figure 3, with the matrices that they print for it."""
PRINTED = [
    ([[4, 2, 1, 0], [2, 4, 0, 0], [1, 0, 6, 1], [0, 0, 1, 2]], 24),  # 0 degrees
    ([[4, 1, 0, 0], [1, 2, 2, 0], [0, 2, 4, 1], [0, 0, 1, 0]], 18),  # 45
    ([[6, 0, 2, 0], [0, 4, 2, 0], [2, 2, 2, 2], [0, 0, 2, 0]], 24),  # 90
    ([[2, 1, 3, 0], [1, 2, 1, 0], [3, 1, 0, 2], [0, 0, 2, 0]], 18),  # 135
]


def _by_loops(counts, total):
    """Contrast, homogeneity, energy, correlation of a printed matrix."""
    p = np.array(counts) / total
    cells = [(i, j, p[i, j]) for i in range(4) for j in range(4)]
    mean = sum(i * v for i, _, v in cells)
    variance = sum((i - mean) ** 2 * v for i, _, v in cells)
    return (
        sum((i - j) ** 2 * v for i, j, v in cells),
        sum(v / (1 + (i - j) ** 2) for i, j, v in cells),
        np.sqrt(sum(v * v for _, _, v in cells)),
        sum((i - mean) * (j - mean) * v for i, j, v in cells) / variance,
    )


def test_texture_of_haralicks_example():
    expected = np.mean([_by_loops(*printed) for printed in PRINTED], axis=0)
    assert _by_loops(*PRINTED[0])[0] == pytest.approx(14 / 24)  # contrast at 0 degrees, by hand
    assert texture(HARALICK[None])[0] == pytest.approx(expected)


def test_texture_leaves_out_pixels_that_were_not_observed():
    framed = np.full((6, 6), 16, np.uint8)
    framed[1:5, 1:5] = HARALICK
    assert texture(np.stack([framed, framed]))[1] == pytest.approx(texture(HARALICK[None])[0])


def test_texture_of_a_constant_image():
    assert texture(np.full((1, 5, 5), 7, np.uint8))[0] == pytest.approx([0, 1, 1, 1])


def test_grey_levels_by_hand():
    image = np.array([[[-1.0, 0.0, 0.99, 1.0], [8.0, 15.99, 16.0, np.nan]]], np.float32)
    assert grey_levels(image, np.array([[0.0, 16.0]])).tolist() == [[[0, 0, 0, 1], [8, 15, 15, 16]]]


def test_statistics_of_a_ramp_by_hand():
    # value = x + 2y on 3 x 3: gradient (1, 2) everywhere
    ramp = np.add.outer(2.0 * np.arange(3), np.arange(3.0)).astype(np.float32)
    found = dict(zip(STATISTICS, channel_statistics(ramp[None], np.array([[0.0, 6.0]]))[0], strict=True))
    assert found["mean"] == pytest.approx(3.0)
    assert found["sd"] == pytest.approx(np.std(ramp))
    assert found["gradient"] == pytest.approx(np.sqrt(5))
    assert [found[f"p{q:02d}"] for q in (5, 25, 50, 75, 95)] == pytest.approx(np.percentile(ramp, (5, 25, 50, 75, 95)))


def test_statistics_are_over_valid_pixels_only():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 20, 20)).astype(np.float32)
    holed = np.full((1, 24, 20), np.nan, np.float32)
    holed[:, :20] = image
    limits = np.array([[-2.0, 2.0]])
    assert channel_statistics(holed, limits)[0] == pytest.approx(channel_statistics(image, limits)[0], rel=1e-5)
    assert channel_statistics(holed, limits)[0, 2:7] == pytest.approx(
        np.nanpercentile(holed, (5, 25, 50, 75, 95)), rel=1e-5
    )


def test_coordinates_are_on_the_unit_sphere_and_meet_at_the_date_line():
    places = [
        (-0.5, 0, 0.5, 0),
        (89, -1, 91, 1),
        (179.9, 10, 179.9, 10),
        (-179.9, 10, -179.9, 10),
        (0, 89.99, 1, 89.99),
    ]
    xyz = coordinates(gpd.GeoDataFrame(geometry=[box(*p) for p in places], crs=4326))
    assert xyz[0] == pytest.approx([1, 0, 0], abs=1e-6)
    assert xyz[1] == pytest.approx([0, 1, 0], abs=1e-6)
    assert np.linalg.norm(xyz, axis=1) == pytest.approx(np.ones(5), rel=1e-6)
    assert np.linalg.norm(xyz[2] - xyz[3]) < 0.01
    assert xyz[4, 2] == pytest.approx(1, abs=1e-6)


class Place:
    """A collection of 12 chips with one fixed and one variable modality, on disk."""

    def __init__(self, folder):
        rng = np.random.default_rng(0)
        self.folder = folder
        ids = [f"c{i:02d}" for i in range(N)]
        shapes = [box(10 + i / 10, 50, 10.1 + i / 10, 50.1) for i in range(N)]
        self.chips = folder / "chips.parquet"
        write_table(self.chips, gpd.GeoDataFrame({"chip_id": ids, "split": SPLIT}, geometry=shapes, crs=4326))
        self.pixels = {
            "fixed": rng.integers(1, 1000, (N, 2, PX, PX)).astype(np.uint16),
            "varied": rng.integers(1, 1000, (N, 3, PX, PX)).astype(np.uint16),
        }
        self.valid = {name: np.ones(p.shape[:2], np.float32) for name, p in self.pixels.items()}
        self.climate = pd.DataFrame(rng.normal(size=(N, 20)), columns=list(CONTEXT)).assign(chip_id=ids)

    def measure(self, name="floors", *, climate=True):
        """Write the stores and the context, and measure."""
        specs = []
        for modality, pixels in self.pixels.items():
            store = self.folder / name / modality
            pixels[self.valid[modality] == 0] = 0
            write_shard(store, "000", pixels, self.valid[modality])
            bands = ("b1", "b2") if modality == "fixed" else ("b",)
            layer = StoreLayer(modality, bands, "reflectance", 1e-3, 0.0, 0, "uint16", modality == "varied")
            seal(store, layer, PX, {"000": N})
            specs.append(store / "spec.json")
        context = self.folder / f"{name}-context.parquet"
        write_table(context, self.climate)
        out = self.folder / f"{name}.parquet"
        contexts = [context] if climate else []
        measure_floors(chips=self.chips, stores=specs, context=contexts, recipe=FloorsRecipe(), floors=out)
        return out


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def _features(path, floor, modality):
    frame = read_table(path)
    rows = frame[(frame["floor"] == floor) & (frame["modality"] == modality)].set_index("chip_id")["embedding"]
    return pd.DataFrame(np.stack(rows.to_list()), index=rows.index)


def test_every_floor_has_its_rows(place):
    path = place.measure()
    frame = read_table(path)
    counts = frame.groupby(["floor", "modality"]).size().to_dict()
    floors = ("climate", "coordinates", "image_stats", "mean_sd")
    assert counts == {(floor, m): N for floor in floors for m in ("fixed", "varied", "concat")}
    assert {m: _features(path, "image_stats", m).shape[1] for m in ("fixed", "varied", "concat")} == {
        "fixed": 24, "varied": 12, "concat": 36,
    }  # fmt: skip
    assert frame.drop_duplicates("chip_id")["split"].tolist() == SPLIT
    assert set(json.loads(table_metadata(path)["limits"])) == {"fixed", "varied"}


def test_features_are_in_physical_units_channel_by_channel(place):
    found = _features(place.measure(), "image_stats", "fixed")
    mean = place.pixels["fixed"].mean(axis=(2, 3)) / 1000
    assert found[0].to_numpy() == pytest.approx(mean[:, 0], rel=1e-4)
    assert found[12].to_numpy() == pytest.approx(mean[:, 1], rel=1e-4)


def test_a_variable_modality_is_the_mean_over_usable_channels(place):
    place.valid["varied"][3] = [1, 0.4, 0]  # one usable channel
    place.valid["varied"][4] = [1, 1, 0]
    found = _features(place.measure(), "image_stats", "varied")
    mean = place.pixels["varied"].mean(axis=(2, 3)) / 1000
    assert found.loc["c03", 0] == pytest.approx(mean[3, 0], rel=1e-4)
    assert found.loc["c04", 0] == pytest.approx(mean[4, :2].mean(), rel=1e-4)


def test_every_floor_stands_on_the_chips_that_a_tower_sees(place):
    place.valid["fixed"][5] = [1, 0]  # one usable channel is enough, as it is for an encoder
    place.valid["fixed"][8] = [0.4, 0]
    place.valid["varied"][6] = 0
    place.climate.loc[7, "bio03"] = np.nan
    path = place.measure()
    gone = {"fixed": {"c08"}, "varied": {"c06"}, "concat": {"c06", "c08"}}
    for modality, absent in gone.items():
        for floor in ("image_stats", "coordinates", "climate"):
            assert set(_features(path, floor, modality).index) == {f"c{i:02d}" for i in range(N)} - absent


def test_statistics_of_a_missing_channel_are_nan_and_no_others(place):
    place.valid["fixed"][5] = [1, 0]
    found = _features(place.measure(), "image_stats", "fixed")
    assert found.loc["c05", :11].notna().all()
    assert found.loc["c05", 12:].isna().all()
    assert found.drop(index="c05").notna().all(axis=None)


def test_grey_levels_come_from_train_chips_alone(place):
    before = _features(place.measure("before"), "image_stats", "concat")
    place.pixels["fixed"][10:] = np.minimum(place.pixels["fixed"][10:] * 50, 60000)
    after = _features(place.measure("after"), "image_stats", "concat")
    pd.testing.assert_frame_equal(before.iloc[:10], after.iloc[:10])
    assert not before.iloc[10:].equals(after.iloc[10:])
    place.pixels["fixed"][0] = 1
    moved = _features(place.measure("moved"), "image_stats", "concat")
    assert not moved.iloc[1:10].equals(after.iloc[1:10])


def test_a_channel_that_no_train_chip_has_is_left_out(place):
    place.valid["fixed"][:8, 1] = 0
    assert _features(place.measure(), "image_stats", "fixed").loc[:, 12:].isna().all(axis=None)


def test_floors_are_deterministic_and_need_no_climate(place):
    assert place.measure("one").read_bytes() == place.measure("two").read_bytes()
    assert "climate" not in set(read_table(place.measure("three", climate=False))["floor"])


def test_a_climate_without_elevation_has_19_values(place):
    place.climate["elevation"] = np.nan
    found = _features(place.measure(), "climate", "fixed")
    assert found.shape == (N, 19)
    assert found.notna().all(axis=None)


def test_one_modality_is_not_concatenated(place):
    del place.pixels["varied"]
    assert set(read_table(place.measure())["modality"]) == {"fixed"}


def test_bad_input_is_explained(place):
    place.climate = place.climate.drop(columns="bio07")
    with pytest.raises(TerraprobeError, match="no column bio07"):
        place.measure()
    chips = read_table(place.chips)
    write_table(place.chips, chips.iloc[:-1])
    with pytest.raises(TerraprobeError, match=r"12 chips, .* has 11"):
        place.measure(climate=False)
    write_table(place.chips, chips.assign(split="test"))
    with pytest.raises(TerraprobeError, match="no train chip"):
        place.measure(climate=False)
