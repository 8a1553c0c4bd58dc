"""Benchmark archives, from the unpacked folder to the chip store: genuine tiles of EuroSAT and BigEarthNet."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.enums import Resampling

from terraprobe.acquire.archive import ArchiveRecipe, index_archive
from terraprobe.archiveclasses import BIGEARTHNET_CLASSES, CORINE_CLASSES, EUROSAT_CLASSES
from terraprobe.archives import ARCHIVES
from terraprobe.artifacts import read_json, read_table
from terraprobe.chips.cut import CutRecipe, SealRecipe, cut_chips, seal_store
from terraprobe.chips.labels import LabelsRecipe, measure_labels
from terraprobe.chips.store import ChipStore
from terraprobe.collections.context import ContextRecipe, extract_context
from terraprobe.collections.grid import GridRecipe, lay_grid
from terraprobe.collections.official import official_split
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L1C_BANDS, L2A_BANDS, S2_RESOLUTION_M

EUROSAT_ORDER = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]


class Made:
    """An archive, indexed and laid out in a folder of its own."""

    def __init__(self, folder, archive, path, modalities, *, labels=(), shards=1, exclude=()):
        self.folder, self.shards = folder, [f"{k:03d}" for k in range(shards)]
        index_archive(
            exclude=list(exclude),
            recipe=ArchiveRecipe(archive=archive, path=str(path), modalities=modalities, labels=labels),
            images=folder / "images.parquet",
            manifests=[folder / f"tiles/{shard}.json" for shard in self.shards],
        )
        area = {"kind": "archive", "chip_px": ARCHIVES[archive].chip_px, "block_km": 10}
        lay_grid(tiles=[folder / "images.parquet"], recipe=GridRecipe(area=area), grid=folder / "grid.parquet")

    @property
    def images(self):
        """Its table of images, by name."""
        return read_table(self.folder / "images.parquet").set_index("image")

    @property
    def grid(self):
        """Its table of chips."""
        return read_table(self.folder / "grid.parquet")

    def cut(self, layer):
        """The sealed store of a layer."""
        home, files = self.folder / "chips" / layer, []
        for shard in self.shards:
            pixels, valid = home / f"{shard}.npy", home / f"{shard}.valid.npy"
            cut_chips(
                grid=self.folder / "grid.parquet",
                manifest=self.folder / f"tiles/{shard}.json",
                recipe=CutRecipe(layer=layer, shard=shard),
                pixels=pixels,
                valid=valid,
            )
            files += [pixels, valid]
        spec, recipe = home / "spec.json", SealRecipe(layer=layer)
        seal_store(grid=self.folder / "grid.parquet", shards=files, recipe=recipe, spec=spec)
        return ChipStore.open(home)

    def labels(self):
        """Classes by chip."""
        measure_labels(
            grid=self.folder / "grid.parquet",
            stores=[],
            images=[self.folder / "images.parquet"],
            recipe=LabelsRecipe(),
            labels=self.folder / "labels.parquet",
        )
        return read_table(self.folder / "labels.parquet").set_index("chip_id")


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory, shared_data):
    folder = tmp_path_factory.mktemp("eurosat")
    return Made(folder, "eurosat", shared_data / "eurosat/EuroSAT_MS", ("s2_l1c",), shards=2)


@pytest.fixture(scope="module")
def first(tmp_path_factory, shared_data):
    folder = tmp_path_factory.mktemp("v1")
    return Made(folder, "bigearthnet_v1", shared_data / "bigearthnet_v1", ("s2_l2a", "s1_grd"))


@pytest.fixture
def own_eurosat(tmp_path, shared_data):
    """A copy that a test may spoil."""
    return shutil.copytree(shared_data / "eurosat/EuroSAT_MS", tmp_path / "own")


@pytest.fixture
def own_first(tmp_path, shared_data):
    return shutil.copytree(shared_data / "bigearthnet_v1", tmp_path / "own")


def test_the_classes_are_the_ten_and_the_nineteen_of_the_43():
    assert len(EUROSAT_CLASSES) == 10 and len(BIGEARTHNET_CLASSES) == 19 and len(CORINE_CLASSES) == 43
    assert sum(not ours for ours in CORINE_CLASSES.values()) == 11
    assert set(CORINE_CLASSES.values()) - {""} == set(BIGEARTHNET_CLASSES.values())
    for old, new in {
        "Continuous urban fabric": "urban_fabric", "Rice fields": "arable_land", "Olive groves": "permanent_crops",
        "Sparsely vegetated areas": "natural_grassland", "Peatbogs": "inland_wetlands", "Salines": "coastal_wetlands",
        "Estuaries": "marine_waters", "Airports": "", "Intertidal flats": "", "Pastures": "pastures",
    }.items():  # fmt: skip
        assert CORINE_CLASSES[old] == new


def test_every_genuine_eurosat_tile_is_read_as_it_is_by_name(eurosat, shared_data):
    store, grid = eurosat.cut("s2_l1c"), eurosat.grid
    assert list(grid["chip_id"]) == ["AnnualCrop_1", "Highway_2", "Pasture_300", "SeaLake_3000"]
    assert list(grid["shard"]) == ["000", "000", "001", "001"]
    assert store.bands == L1C_BANDS and (store.valid == 1).all()
    for chip, row in enumerate(grid.itertuples()):
        path = shared_data / "eurosat/EuroSAT_MS" / row.chip_id.partition("_")[0] / f"{row.chip_id}.tif"
        with rasterio.open(path) as dataset:
            assert (row.crs, list(row.transform)) == (str(dataset.crs), list(dataset.transform)[:6])
            for band, name in enumerate(EUROSAT_ORDER, 1):
                assert np.array_equal(store.read(chip, L1C_BANDS.index(name)), dataset.read(band)), name
    # What tells the orders apart: B8A beside B08 in brightness, B10, the cirrus band, all but black.
    field = dict(zip(L1C_BANDS, store.chip(0).mean(axis=(1, 2)), strict=True))
    assert abs(field["B8A"] / field["B08"] - 1) < 0.25 < abs(field["B09"] / field["B08"] - 1)
    assert field["B10"] < 0.05 * field["B04"]


def test_chips_lie_on_the_images_own_ground(eurosat, first):
    for made, px in ((eurosat, 64), (first, 120)):
        for row in made.grid.itertuples():
            a, _, left, _, e, top = row.transform
            west, south, east, north = rasterio.warp.transform_bounds(
                row.crs, "EPSG:4326", left, top + px * e, left + px * a, top
            )
            assert row.geometry.bounds == pytest.approx((west, south, east, north), abs=1e-9)
    assert eurosat.grid["block"][0] == "32635-0487-0062"  # 10 km squares of the zone
    assert eurosat.grid["source"].equals(eurosat.grid["chip_id"])


def test_the_class_is_the_folder(eurosat):
    labels = eurosat.labels()
    assert list(labels) == ["eurosat_class"]
    assert labels["eurosat_class"].to_dict() == {
        "AnnualCrop_1": "annual_crop",
        "Highway_2": "highway",
        "Pasture_300": "pasture",
        "SeaLake_3000": "sea_lake",
    }


def bilinear(path, side):
    with rasterio.open(path) as dataset:
        return dataset.read(1, out_shape=(side, side), resampling=Resampling.bilinear)


def check_bigearthnet(store, grid, folder_of):
    assert store.bands == L2A_BANDS and (store.valid == 1).all()
    for chip, name in enumerate(grid["chip_id"]):
        for channel, band in enumerate(L2A_BANDS):
            path = folder_of(name) / f"{name}_{band}.tif"
            difference = np.abs(store.read(chip, channel).astype(int) - bilinear(path, 120).astype(int))
            # Own pixels where they are 10 m; elsewhere both interpolate, and round apart by one at most.
            assert difference.max() <= (S2_RESOLUTION_M[band] > 10), (name, band)


def test_every_genuine_image_of_bigearthnet_v1_is_read_by_name(first, shared_data):
    home = shared_data / "bigearthnet_v1"
    check_bigearthnet(first.cut("s2_l2a"), first.grid, lambda name: home / "BigEarthNet-S2-v1.0" / name)
    radar = first.cut("s1_grd")
    for chip, name in enumerate(first.grid["chip_id"]):
        partners = [
            path.parent
            for path in home.glob("BigEarthNet-S1-v1.0/*/*.json")
            if read_json(path)["corresponding_s2_patch"] == name
        ]
        for channel, band in enumerate(("VV", "VH")):
            with rasterio.open(partners[0] / f"{partners[0].name}_{band}.tif") as dataset:
                assert np.abs(radar.chip(chip)[channel] - dataset.read(1)).max() < 0.0026  # half a step of the store


def test_the_43_classes_of_v1_become_the_19(first):
    assert first.labels()["bigearthnet_classes"].to_dict() == {
        "S2A_MSIL2A_20170617T113321_36_85": "arable_land pastures",
        "S2A_MSIL2A_20170617T113321_4_55": "pastures",
        "S2A_MSIL2A_20171221T112501_56_35": " ".join(
            ["complex_cultivation", "mixed_agriculture", "broad_leaved_forest", "transitional_woodland"]
        ),
    }


V2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43"
V2_PARTNER = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48"


def test_a_genuine_image_of_bigearthnet_v2(tmp_path, shared_data):
    # N9999 in its name is no processing baseline: its DN carry no offset.
    made = Made(tmp_path, "bigearthnet_v2", shared_data / "bigearthnet_v2", ("s2_l2a",))
    home = shared_data / "bigearthnet_v2/BigEarthNet-S2" / V2.rsplit("_", 2)[0]
    check_bigearthnet(made.cut("s2_l2a"), made.grid, lambda name: home / name)
    assert made.images["bigearthnet_classes"].isna().all()  # no metadata.parquet there


def test_v2_takes_classes_split_and_partner_from_its_own_table(tmp_path, shared_data):
    root = shutil.copytree(shared_data / "bigearthnet_v2", tmp_path / "own")
    scene = root / "BigEarthNet-S2" / V2.rsplit("_", 2)[0]
    shutil.copytree(scene / V2, scene / "unlisted")
    labels = ["Marine waters", "Arable land"]
    row = {"patch_id": V2, "labels": labels, "split": "validation", "s1_name": V2_PARTNER}
    pd.DataFrame([row]).to_parquet(root / "metadata.parquet")
    made = Made(tmp_path / "made", "bigearthnet_v2", root, ("s2_l2a", "s1_grd"))
    assert made.images.index.tolist() == [V2]  # images in no row are left out
    assert made.images.loc[V2, ["split", "bigearthnet_classes"]].tolist() == ["val", "arable_land marine_waters"]
    listed = {row["layer"] for row in read_json(tmp_path / "made/tiles/000.json")["files"]}
    assert listed == {"s2_l2a", "s1_grd"}
    with pytest.raises(TerraprobeError, match="but its image covers"):  # the sample's radar image is of other ground
        made.cut("s1_grd")
    assert official_split(tmp_path / "made/images.parquet", np.array([V2], object)).tolist() == ["val"]


def test_v1_follows_the_published_lists_beside_it(tmp_path, own_first):
    for part, text in {
        "train": "S2A_MSIL2A_20170617T113321_36_85,S1A\n",
        "val": "",
        "test": "S2A_MSIL2A_20170617T113321_4_55,S1A\n",
    }.items():
        (own_first / f"{part}.csv").write_text(text)
    made = Made(tmp_path / "made", "bigearthnet_v1", own_first, ("s2_l2a",))
    assert made.images["split"].tolist() == ["train", "test"]


def test_two_of_the_three_published_lists_are_refused(tmp_path, own_first):
    for part in ("train", "test"):
        (own_first / f"{part}.csv").write_text("S2A_MSIL2A_20170617T113321_36_85\n")
    with pytest.raises(TerraprobeError, match=r"own: val\.csv is absent, and its images would be left out"):
        Made(tmp_path / "made", "bigearthnet_v1", own_first, ("s2_l2a",))


def test_images_are_left_out_by_name(tmp_path, shared_data):
    names = tmp_path / "snow.csv"
    names.write_text("S2A_MSIL2A_20170617T113321_4_55\nnot_here\n")
    made = Made(tmp_path, "bigearthnet_v1", shared_data / "bigearthnet_v1", ("s2_l2a",), exclude=[names])
    assert "S2A_MSIL2A_20170617T113321_4_55" not in made.images.index and len(made.images) == 2


def test_an_image_without_a_partner_has_no_radar_and_one_without_a_class_no_label(tmp_path, own_first):
    name = "S2A_MSIL2A_20170617T113321_4_55"
    (folder,) = own_first.glob("BigEarthNet-S1-v1.0/*_4_55")
    shutil.rmtree(folder)
    own = own_first / f"BigEarthNet-S2-v1.0/{name}/{name}_labels_metadata.json"
    own.write_text(json.dumps({**read_json(own), "labels": ["Airports"]}))
    made = Made(tmp_path / "made", "bigearthnet_v1", own_first, ("s2_l2a", "s1_grd"))
    store = made.cut("s1_grd")
    assert store.valid.all(axis=1).tolist() == [True, False, True]
    assert made.labels()["bigearthnet_classes"].isna().tolist() == [False, True, False]


def test_context_at_the_centre_is_the_rasters_own_pixel_and_the_regions_own_polygon(tmp_path, eurosat, shared_data):
    import geopandas as gpd

    raster = shared_data / "worldclim/wc2.1_10m_bio_1-19_europe.tif"
    vector = shared_data / "eea_biogeo/BiogeoRegions2016_10km_cells.gpkg"
    grid, out = eurosat.folder / "grid.parquet", tmp_path / "context.parquet"
    extract_context(grid=grid, climate=[raster], regions=vector, recipe=ContextRecipe(), context=out)
    context = read_table(out)
    centres = eurosat.grid.geometry.to_crs("EPSG:3035").centroid.to_crs("EPSG:4326")
    with rasterio.open(raster) as dataset:
        direct = np.array(list(dataset.sample([(p.x, p.y) for p in centres])))
    known = (direct > -1e30).all(axis=1)
    assert known.any()
    assert np.array_equal(context[[f"bio{k:02d}" for k in range(1, 20)]].to_numpy()[known], direct[known])
    areas = gpd.read_file(vector)
    groups = {"alpine": "alpine", "boreal": "boreal", "arctic": "boreal", "atlantic": "atlantic",
              "continental": "continental", "pannonian": "continental"}  # fmt: skip
    for centre, found in zip(centres.to_crs(areas.crs), context["region"], strict=True):
        names = sorted(areas.loc[areas.contains(centre), "short_name"])
        assert found == groups.get(names[0], "mediterranean")


def test_a_chip_beyond_raster_and_regions_is_missing_and_named(tmp_path, own_eurosat, shared_data, capsys):
    path = own_eurosat / "SeaLake/SeaLake_3000.tif"
    with rasterio.open(path, "r+") as dataset:
        dataset.crs = "EPSG:32625"  # the same metres, 60 degrees farther west: south of Greenland
    made = Made(tmp_path / "made", "eurosat", own_eurosat, ("s2_l1c",))
    extract_context(
        grid=made.folder / "grid.parquet",
        climate=[shared_data / "worldclim/wc2.1_10m_bio_1-19_europe.tif"],
        regions=shared_data / "eea_biogeo/BiogeoRegions2016_10km_cells.gpkg",
        recipe=ContextRecipe(),
        context=tmp_path / "context.parquet",
    )
    said = capsys.readouterr().err
    assert "1 chips with no climate (no pixel with data within 50 km): SeaLake_3000" in said
    assert "1 chips with no region (none of a group within 50 km): SeaLake_3000" in said
    row = read_table(tmp_path / "context.parquet").set_index("chip_id").loc["SeaLake_3000"]
    assert row["region"] == "" and np.isnan(row["bio01"])


def rewrite(path, change, **profile):
    """Write a GeoTIFF again with other pixels."""
    with rasterio.open(path) as dataset:
        pixels, old = change(dataset.read()), dataset.profile
    old.update(count=len(pixels), height=pixels.shape[1], width=pixels.shape[2], **profile)
    with rasterio.open(path, "w", **old) as dataset:
        dataset.write(pixels)


def refusal(folder, *arguments, cut=""):
    """The one sentence or two that a broken archive is refused with."""
    with pytest.raises(TerraprobeError) as error:
        made = Made(folder / "made", *arguments)
        made.cut(cut)
    assert "\n" not in str(error.value)
    return str(error.value)


def spoil_size(root):
    rewrite(root / "Pasture/Pasture_300.tif", lambda p: p[:, :63])


def spoil_count(root):
    rewrite(root / "Pasture/Pasture_300.tif", lambda p: p[:12])


def spoil_crs(root):
    rewrite(root / "Pasture/Pasture_300.tif", lambda p: p, crs="EPSG:4326")


def spoil_end(root):
    path = root / "Pasture/Pasture_300.tif"
    path.write_bytes(path.read_bytes()[:2000])


def spoil_folders(root):
    for folder in root.iterdir():
        folder.rename(root / folder.name.lower())


def spoil_class(root):
    shutil.copytree(root / "Pasture", root / "Meadow")


def spoil_name(root):
    shutil.copy(root / "Pasture/Pasture_300.tif", root / "SeaLake/Pasture_300.tif")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, ["own is absent: get EuroSAT_MS.zip of https://zenodo.org", "a folder for each class"]),
        (spoil_folders, ["own holds no EuroSAT MS: get", "a folder for each class (AnnualCrop"]),
        (spoil_class, ["own: Meadow is no class of EuroSAT; allowed AnnualCrop, "]),
        (spoil_name, ["own: two images are called Pasture_300"]),
        (spoil_size, ["Pasture_300.tif: 64 x 63 px, 13 bands; expected 64 x 64 px, 13 bands"]),
        (spoil_count, ["Pasture_300.tif: 64 x 64 px, 12 bands; expected 64 x 64 px, 13 bands"]),
        (spoil_crs, ["Pasture_300.tif: CRS EPSG:4326", "needs a projected CRS"]),
        (spoil_end, ["Pasture_300.tif: ", "truncated"]),
    ],
)
def test_a_broken_eurosat(tmp_path, own_eurosat, spoil, words):
    spoil(own_eurosat)
    text = refusal(tmp_path, "eurosat", own_eurosat, ("s2_l1c",), cut="s2_l1c")
    for word in words:
        assert word in text


NAME = "S2A_MSIL2A_20170617T113321_4_55"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / f"{NAME}_B8A.tif").unlink(), ["band B8A of s2_l2a is missing", "exclude"]),
        (lambda f: (f / f"{NAME}_labels_metadata.json").unlink(), ["no ", "_labels_metadata.json, which holds"]),
        (lambda f: (f / f"{NAME}_labels_metadata.json").write_text("{"), ["no JSON with labels"]),
        (lambda f: (f / f"{NAME}_labels_metadata.json").write_text("{}"), ["no JSON with labels"]),
        (
            lambda f: (f / f"{NAME}_labels_metadata.json").write_text('{"labels": ["Moon"]}'),
            ["class 'Moon', which is none of the 43"],
        ),
        (lambda f: rewrite(f / f"{NAME}_B05.tif", lambda p: p[:, :, :59]), ["B05.tif: 59 x 60 px", "its image covers"]),
        (lambda f: rewrite(f / f"{NAME}_B02.tif", lambda p: p[:, :60]), ["120 x 60 px, 1 bands; expected 120 x 120"]),
        (
            lambda f: rewrite(f / f"{NAME}_B11.tif", lambda p: np.concatenate([p, p])),
            ["B11.tif: 2 bands, expected one"],
        ),
        (lambda f: (f / f"{NAME}_B12.tif").write_bytes(b"II*\0"), ["B12.tif", "truncated"]),
    ],
)
def test_a_broken_image_of_bigearthnet(tmp_path, own_first, spoil, words):
    spoil(own_first / "BigEarthNet-S2-v1.0" / NAME)
    text = refusal(tmp_path, "bigearthnet_v1", own_first, ("s2_l2a",), cut="s2_l2a")
    assert NAME in text
    for word in words:
        assert word in text


def test_an_edited_image_is_refused_by_name(tmp_path, own_eurosat):
    made = Made(tmp_path / "made", "eurosat", own_eurosat, ("s2_l1c",))
    rewrite(own_eurosat / "Pasture/Pasture_300.tif", lambda p: p + 1)
    with pytest.raises(TerraprobeError, match=r"Pasture_300\.tif differs from 000\.json"):
        made.cut("s2_l1c")


def test_more_shards_than_images(tmp_path, shared_data):
    with pytest.raises(TerraprobeError, match="4 images make no 5 shards"):
        Made(tmp_path, "eurosat", shared_data / "eurosat/EuroSAT_MS", ("s2_l1c",), shards=5)


def test_an_archive_without_a_published_split(eurosat):
    with pytest.raises(TerraprobeError, match="the archive comes without a split"):
        official_split(eurosat.folder / "images.parquet", np.array(["AnnualCrop_1"], object))
