"""SEN12MS and DFC2020, generated in their official folder layouts, from the unpacked folder to chips and maps."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from test_archive import Made

from terraprobe.acquire.archive import ArchiveRecipe, in_scenes, index_archive
from terraprobe.acquire.archive_image import Image
from terraprobe.archives import ARCHIVES, IGBP_TO_DFC
from terraprobe.artifacts import read_table
from terraprobe.chips.labels import LabelsRecipe, measure_labels
from terraprobe.errors import TerraprobeError
from terraprobe.modalities import L1C_BANDS
from terraprobe.study import ArchiveCollection

SIDE = 256


def write(path, image, place):
    """A GeoTIFF of 10 m in UTM whose bands have no names, as those of the archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(image), "height": SIDE, "width": SIDE, "dtype": image.dtype}
    grid = Affine(10, 0, 400_000 + 10 * place[0], 0, -10, 5_800_000 - 10 * place[1])
    with rasterio.open(path, "w", **profile, crs="EPSG:32633", transform=grid, compress="deflate") as dataset:
        dataset.write(image)


def write_scene(root, region, scene, patches, maps):
    """Images of one scene: constant bands (band number x 100 + patch), radar in dB, and a map of its codes."""
    for patch in patches:
        for kind, image in (
            ("s2", np.stack([np.full((SIDE, SIDE), 100 * (k + 1) + patch, np.uint16) for k in range(13)])),
            ("s1", np.stack([np.full((SIDE, SIDE), db, np.float32) for db in (-11.5, -18.25)])),
            maps(patch),
        ):
            write(root / region / f"{kind}_{scene}" / f"{region}_{kind}_{scene}_p{patch}.tif", image, (128 * patch, 0))


def igbp(patch):
    """Land cover of SEN12MS: 4 bands, of which the first counts through IGBP's 17 classes."""
    code = np.resize(np.arange(1, 18, dtype=np.uint16), (SIDE, SIDE))
    return "lc", np.stack([code, code + 30, code + 30, code + 30])


def dfc(patch):
    """High-resolution land cover of DFC2020: classes 1 to 10, 0 is none."""
    return "dfc", np.resize(np.arange(11, dtype=np.uint16), (1, SIDE, SIDE))


@pytest.fixture(scope="module")
def sen12ms(tmp_path_factory):
    root = tmp_path_factory.mktemp("SEN12MS")
    for region, scene in (("ROIs1158_spring", 1), ("ROIs2017_winter", 27)):
        write_scene(root, region, scene, (30, 31), igbp)
    return root


@pytest.fixture(scope="module")
def dfc2020(tmp_path_factory):
    root = tmp_path_factory.mktemp("DFC")
    write_scene(root, "ROIs0000_test", 0, range(10), dfc)
    write_scene(root, "ROIs0000_validation", "validation", (0, 1), dfc)
    return root


def make(folder, archive, root, **more):
    return Made(folder, archive, root, ("s2_l1c", "s1_grd"), labels=("dfc2020",), **more)


def test_an_image_of_sen12ms_is_a_chip_with_radar_and_a_map(sen12ms, tmp_path):
    made = make(tmp_path, "sen12ms", sen12ms, shards=2)
    assert list(made.images.index) == [
        f"{scene}_p{patch}" for scene in ("ROIs1158_spring_s2_1", "ROIs2017_winter_s2_27") for patch in (30, 31)
    ]
    assert set(made.images["crs"]) == {"EPSG:32633"}
    s2 = made.cut("s2_l1c")
    assert s2.bands == L1C_BANDS
    assert s2.digital(np.full(13, 1), np.arange(13))[:, 0, 0].tolist() == [100 * k + 31 for k in range(1, 14)]
    assert L1C_BANDS.index("B8A") == L1C_BANDS.index("B08") + 1
    assert np.allclose(made.cut("s1_grd").chip(0)[:, 5, 5], [-11.5, -18.25])
    maps = made.cut("dfc2020")
    codes = np.resize(np.arange(1, 18), (SIDE, SIDE))
    assert np.array_equal(maps.read(3, 0), np.array(IGBP_TO_DFC)[codes])
    assert IGBP_TO_DFC == (0, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 6, 8, 9, 10)


def test_labels_of_chips_are_measured_on_the_map(sen12ms, tmp_path):
    made = make(tmp_path, "sen12ms", sen12ms)
    made.cut("dfc2020")
    measure_labels(
        grid=tmp_path / "grid.parquet",
        stores=[tmp_path / "chips/dfc2020/spec.json"],
        images=[tmp_path / "images.parquet"],
        recipe=LabelsRecipe(),
        labels=tmp_path / "labels.parquet",
    )
    table = read_table(tmp_path / "labels.parquet")
    assert set(table["dfc2020_class"]) == {"forest"}  # 5 of the 17 codes
    assert set(table["dfc2020_coverage"]) == {1.0}


def test_the_published_lists_split_sen12ms_and_leave_the_rest_out(sen12ms, tmp_path):
    named = {
        "train_list.txt": "ROIs1158_spring_s2_1_p30.tif\n",
        "val_list.txt": "ROIs1158_spring_s2_1_p31.tif\n",
        "test_list.txt": "ROIs2017_winter_s2_27_p31.tif\n",
    }
    for name, text in named.items():
        (sen12ms / name).write_text(text)
    try:
        made = make(tmp_path, "sen12ms", sen12ms)
        (sen12ms / "val_list.txt").unlink()
        with pytest.raises(TerraprobeError, match=r"val_list\.txt is absent, and its images would be left out"):
            make(tmp_path, "sen12ms", sen12ms)
    finally:
        for name in named:
            (sen12ms / name).unlink(missing_ok=True)
    assert dict(made.images["split"]) == {
        "ROIs1158_spring_s2_1_p30": "train",
        "ROIs1158_spring_s2_1_p31": "val",
        "ROIs2017_winter_s2_27_p31": "test",
    }


def test_dfc2020_is_split_as_the_papers_split_it(dfc2020, tmp_path):
    made = make(tmp_path, "dfc2020", dfc2020)
    table = made.images
    of_validation = table.index.str.startswith("ROIs0000_validation_s2_validation")
    assert set(table.loc[of_validation, "split"]) == {"test"}
    assert table.loc[~of_validation, "split"].value_counts().to_dict() == {"train": 8, "val": 2}
    maps = made.cut("dfc2020")
    assert np.array_equal(maps.read(0, 0), np.resize(np.arange(11), (SIDE, SIDE)))
    assert maps.valid.min() == pytest.approx(10 / 11, abs=1e-3)
    assert (made.cut("s1_grd").valid == 1).all()


def test_an_image_without_radar_or_map_misses_them(sen12ms, tmp_path):
    root = tmp_path / "copy"
    write_scene(root, "ROIs1158_spring", 1, (1, 2), igbp)
    for kind in ("s1", "lc"):
        (root / f"ROIs1158_spring/{kind}_1/ROIs1158_spring_{kind}_1_p2.tif").unlink()
    made = make(tmp_path, "sen12ms", root)
    assert made.cut("s1_grd").valid.tolist() == [[1, 1], [0, 0]]
    assert made.cut("dfc2020").valid.tolist() == [[1], [0]]


def test_a_code_that_is_none_of_igbp_is_refused(tmp_path):
    def foreign(patch):
        return "lc", np.full((4, SIDE, SIDE), 18, np.uint16)

    write_scene(tmp_path / "SEN12MS", "ROIs1158_spring", 1, (1,), foreign)
    made = make(tmp_path, "sen12ms", tmp_path / "SEN12MS")
    with pytest.raises(TerraprobeError, match="holds 18, which is no code of its map; allowed 0 to 17"):
        made.cut("dfc2020")


def study(root, **more):
    content = {"name": "a", "kind": "archive", "archive": "sen12ms", "path": str(root), "chip_px": 256}
    content |= {"modalities": ["s2_l1c", "s1_grd"], "split": {"kind": "official"}, **more}
    return ArchiveCollection.model_validate(content)


def test_a_study_takes_maps_as_labels(sen12ms):
    entry = study(sen12ms, labels=["dfc2020"])
    assert [layer.class_label for layer in entry.label_layers] == ["dfc2020_class"]
    assert entry.index_recipe()["labels"] == ["dfc2020"]
    assert study(sen12ms).label_layers == []
    assert str(sen12ms / "ROIs1158_spring/s2_1") in entry.watched


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"labels": ["worldcover"]}, "maps of sen12ms"),
        ({"modalities": ["dfc2020"]}, "modalities"),
        ({"chip_px": 128}, "allowed 256"),
        ({"path": "nowhere"}, "is absent: get ROIs.*a licence to accept.*ROIs1158_spring"),
        ({"archive": "dfc2020"}, "holds no DFC2020: get .*a login.*ROIs0000_validation and ROIs0000_test"),
    ],
)
def test_what_does_not_fit_is_said_at_once(sen12ms, more, said):
    with pytest.raises(ValueError, match=said):
        study(sen12ms, **more)


def test_every_archive_says_what_its_maps_are():
    assert {name for name, archive in ARCHIVES.items() if archive.codes} == {"sen12ms", "dfc2020"}
    assert all(archive.label or archive.codes for archive in ARCHIVES.values())


def test_parts_by_scene_are_whole_disjoint_and_met(sen12ms, tmp_path):
    def image(scene, patch):
        return Image(f"ROIs1158_spring_s2_{scene}_p{patch}", "", "", tmp_path, {})

    images = [image(scene, patch) for scene in range(40) for patch in range(10 + scene % 5)]
    parts = [in_scenes(images, low, high) for low, high in ((0.0, 0.1), (0.1, 0.6), (0.6, 1.0))]
    scenes = [{i.name.rpartition("_")[0] for i in part} for part in parts]
    assert sum(map(len, scenes)) == 40 == len(set.union(*scenes))
    assert [len(part) / len(images) for part in parts] == pytest.approx([0.1, 0.5, 0.4], abs=0.03)
    assert in_scenes(images[::-1], 0.1, 0.6) == parts[1][::-1]
    assert in_scenes(images, 0.0, 1.0) == images


def test_an_index_holds_the_scenes_of_its_part_alone(sen12ms, tmp_path):
    halves = []
    for k, part in enumerate(((0.0, 0.5), (0.5, 1.0))):
        recipe = ArchiveRecipe(archive="sen12ms", path=str(sen12ms), modalities=("s2_l1c",), scenes=part)
        images = tmp_path / f"{k}.parquet"
        index_archive(exclude=[], recipe=recipe, images=images, manifests=[tmp_path / f"{k}/000.json"])
        halves.append({name.rpartition("_")[0] for name in read_table(images)["image"]})
    assert sorted(map(len, halves)) == [1, 1]
    assert set.union(*halves) == {"ROIs1158_spring_s2_1", "ROIs2017_winter_s2_27"}
