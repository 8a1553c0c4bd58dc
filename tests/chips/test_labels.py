"""Chip-level labels: what each number is, and when it is not known."""

import numpy as np
import pytest
from chip_rasters import LEFT, TOP, UTM, cut, seal_and_open, write_grid, write_tile

from terraprobe.artifacts import read_table
from terraprobe.chips.labels import LabelsRecipe, measure_labels
from terraprobe.chips.store import StoreLayer, seal, write_shard
from terraprobe.collections.chiptable import number_labels
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import LABELS, OSM_CLASSES


def measured(tmp_path, layers, chips=1, chip_px=16, **recipe):
    """Write one tile a layer, cut, seal and measure; the label table."""
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT + 10 * chip_px * i, TOP) for i in range(chips)], chip_px)
    for layer, codes in layers.items():
        tile = write_tile(tmp_path / f"{layer}.tif", np.asarray(codes, LABELS[layer].dtype), LEFT, TOP, crs=UTM)
        cut(grid, [tile], layer)
        if layer != "unsealed":
            seal_and_open(grid, layer)
    stores = [tmp_path / layer / "spec.json" for layer in layers]
    measure_labels(
        grid=grid, stores=stores, images=[], recipe=LabelsRecipe(**recipe), labels=tmp_path / "labels.parquet"
    )
    return read_table(tmp_path / "labels.parquet")


def test_tree_cover_counts_water_as_treeless_and_fill_as_unknown(tmp_path):
    codes = np.full((16, 16), 80)
    codes[:4], codes[4:8] = 200, 253
    table = measured(tmp_path, {"mod44b": codes})
    assert table["vegetation"].tolist() == [pytest.approx(80 * 8 / 12)]
    assert table["mod44b_coverage"].tolist() == [0.75]


def test_land_cover_shares_are_of_known_pixels(tmp_path):
    codes = np.full((16, 48), 40)
    codes[:, 4:8], codes[:, 8:16] = 80, 0
    codes[:, 32:] = 0
    table = measured(tmp_path, {"worldcover": codes}, chips=3)
    assert table["croplands"].tolist()[:2] == [0.5, 1.0]
    assert table["water"].tolist()[:2] == [0.5, 0.0]
    assert table["worldcover_coverage"].tolist() == [0.5, 1.0, 0.0]
    assert np.isnan(table["croplands"][2])


def test_built_up_is_a_share_of_the_ground(tmp_path):
    codes = np.full((16, 16), 2500)
    codes[:8] = 10_000
    codes[15] = 65535
    table = measured(tmp_path, {"ghs_built": codes})
    assert table["builtup"].tolist() == [pytest.approx((8 * 1.0 + 7 * 0.25) / 15)]


def test_osm_shares_are_of_labelled_pixels_and_unknown_where_few_are(tmp_path):
    codes = np.zeros((16, 48), int)
    codes[:8, :8], codes[8:, :8] = 1, 6
    codes[0, 16:28] = 4  # 12 of 256 pixels, below the default of 5 %
    codes[0, 32:45] = 4  # 13 of 256, above
    table = measured(tmp_path, {"osm": codes}, chips=3)
    assert set(table.columns) == {
        "chip_id",
        "osm_class",
        "osm_classes",
        "osm_coverage",
        *(f"osm_{name}" for name in OSM_CLASSES.values()),
    }
    assert table.loc[0, ["osm_forest", "osm_water", "osm_farm"]].tolist() == [0.5, 0.5, 0.0]
    assert table.filter(like="osm_").drop(columns=["osm_class", "osm_classes", "osm_coverage"]).iloc[1].isna().all()
    assert table.loc[2, "osm_farm"] == 1.0
    shares = table[[name for name in number_labels(table) if name != "chip_id"]].sum(axis=1, min_count=1)
    assert shares.dropna().tolist() == [1.0, 1.0]
    strict = measured(tmp_path, {"osm": codes}, chips=3, min_labelled=0.6)
    assert strict["osm_farm"].isna().all()


def test_layers_stand_side_by_side_in_the_order_of_the_grid(tmp_path):
    rng = np.random.default_rng(0)
    layers = {"mod44b": rng.integers(0, 101, (16, 16 * 300)), "worldcover": rng.choice([10, 40], (16, 16 * 300))}
    table = measured(tmp_path, layers, chips=300)
    assert table["chip_id"].tolist() == [f"chip-{i}" for i in range(300)]
    per_chip = layers["mod44b"].reshape(16, 300, 16).mean(axis=(0, 2))
    assert np.allclose(table["vegetation"], per_chip)
    assert ((table["croplands"] >= 0) & (table["croplands"] <= 1)).all()


def test_a_store_that_is_no_label_layer_or_of_another_grid_is_refused(tmp_path):
    layer = StoreLayer("s1_grd", ("VV", "VH"), "backscatter_db", 0.005, 0.0, -32768, "int16", False)
    write_shard(tmp_path / "s1", "000", np.ones((1, 2, 16, 16), "int16"), np.ones((1, 2), "float32"))
    seal(tmp_path / "s1", layer, 16, {"000": 1})
    grid = write_grid(tmp_path / "grid.parquet", [(LEFT, TOP)])
    arguments = {"grid": grid, "recipe": LabelsRecipe(), "labels": tmp_path / "labels.parquet"}
    with pytest.raises(TerraprobeError, match=r"layer s1_grd with 1 chips, expected one of mod44b"):
        measure_labels(stores=[tmp_path / "s1" / "spec.json"], images=[], **arguments)
    measured(tmp_path, {"osm": np.ones((16, 16))})
    arguments["grid"] = write_grid(tmp_path / "other.parquet", [(LEFT, TOP)] * 2)
    with pytest.raises(TerraprobeError, match=r"layer osm with 1 chips.*the 2 chips"):
        measure_labels(stores=[tmp_path / "osm" / "spec.json"], images=[], **arguments)


def test_the_class_is_the_most_frequent_known_one_and_ties_go_to_the_lowest_code(tmp_path):
    codes = np.full((16, 16 * 5), 40)
    codes[:9, :16] = 80  # chip 0: 144 pixels of water against 112 of crop
    codes[:8, 16:32] = 10  # chip 1: half tree, half crop
    codes[:, 32:48] = 0
    codes[0, 32:45] = 50  # chip 2: 13 known pixels, just enough, all built
    codes[:, 48:64] = 0
    codes[0, 48:60] = 50  # chip 3: 12, too few
    codes[:15, 64:] = 0  # chip 4: 16 known pixels; what is not known has no vote
    table = measured(tmp_path, {"worldcover": codes}, chips=5)
    assert table["worldcover_class"].fillna("").tolist() == ["water", "tree", "built", "", "crop"]


def test_a_class_is_text_and_only_numbers_are_measured(tmp_path):
    table = measured(tmp_path, {"worldcover": np.full((16, 16), 40), "mod44b": np.full((16, 16), 7)})
    assert "mod44b_class" not in table
    assert number_labels(table) == ["croplands", "water", "vegetation"]


def test_present_classes_are_those_with_a_twentieth_of_the_known_pixels(tmp_path):
    codes = np.full((16, 16 * 3), 40)
    codes[0, :13] = 80  # 13 of 256: present
    codes[0, 16:28] = 80  # 12 of 256: not
    codes[:, 32:] = 0
    table = measured(tmp_path, {"worldcover": codes}, chips=3)
    assert table["worldcover_classes"].fillna("-").tolist() == ["crop water", "crop", "-"]
