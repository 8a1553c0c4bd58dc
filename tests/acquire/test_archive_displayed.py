"""Archives whose images have no place on Earth, from the published zip file to chips, splits, audit and floors."""

import numpy as np
import pytest
from PIL import Image
from test_archive import Made

from displayed_archives import SIDES, write_lists, zipped
from terraprobe.acquire.unpack import unpack_command
from terraprobe.archives import ARCHIVES
from terraprobe.artifacts import read_json, read_table, write_table
from terraprobe.collections.leakage import LeakageLimit, LeakageRecipe, audit_leakage
from terraprobe.collections.splits import SplitRecipe, assign_splits
from terraprobe.errors import TerraprobeError
from terraprobe.probes.floors import FloorsRecipe, measure_floors

PER_CLASS = 10


@pytest.fixture(scope="module", params=["eurosat_rgb", "resisc45"])
def made(request, tmp_path_factory):
    """An archive, unpacked and laid out."""
    folder = tmp_path_factory.mktemp(request.param)
    file = zipped(folder / "published.zip", request.param, PER_CLASS if request.param == "eurosat_rgb" else 5)
    assert unpack_command([str(file), str(folder / "unpacked")]) == 0
    found = Made(folder, request.param, folder / "unpacked", ("rgb",), shards=2)
    found.archive = request.param
    return found


@pytest.fixture
def eurosat(tmp_path):
    """A folder of EuroSAT RGB that a test may spoil, and what lays it out."""
    unpack_command([str(zipped(tmp_path / "published.zip", "eurosat_rgb", PER_CLASS)), str(tmp_path / "own")])
    return tmp_path / "own"


def split(made, kind, official=()):
    made.labels()
    assign_splits(
        grid=made.folder / "grid.parquet", context=[], labels=[made.folder / "labels.parquet"], official=official,
        recipe=SplitRecipe(split={"kind": kind}), chips=made.folder / "chips.parquet",
    )  # fmt: skip
    return read_table(made.folder / "chips.parquet")


def test_an_image_is_a_chip_without_a_place_and_a_block_of_its_own(made):
    grid = made.grid
    assert grid.geometry.isna().all() and set(grid["crs"]) == {""}
    assert all(len(transform) == 0 for transform in grid["transform"])
    assert grid["block"].tolist() == grid["chip_id"].tolist() == made.images.index.tolist()
    assert grid["shard"].nunique() == 2


def test_pixels_are_those_of_the_file_and_black_is_observed(made):
    store = made.cut("rgb")
    assert store.bands == ("red", "green", "blue")
    assert store.chip_px == SIDES[made.archive] == ARCHIVES[made.archive].chip_px
    assert (store.valid == 1).all()
    name = made.grid["chip_id"].iloc[-1]
    (path,) = made.folder.rglob(f"{name}.jpg")
    own = np.asarray(Image.open(path))
    last = len(store) - 1
    assert np.array_equal(store.whole(np.array([last]))[0], np.moveaxis(own, -1, 0))
    assert np.allclose(store.chip(last), np.moveaxis(own, -1, 0) / 255, atol=1e-6)


def test_black_pixels_count_as_observed(eurosat, tmp_path):
    path = eurosat / "EuroSAT_RGB/SeaLake/SeaLake_9.jpg"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path)
    made = Made(tmp_path / "made", "eurosat_rgb", eurosat, ("rgb",))
    store = made.cut("rgb")
    dark = made.grid["chip_id"].tolist().index("SeaLake_9")
    assert store.valid[dark].tolist() == [1, 1, 1] and (store.chip(dark) == 0).all()


def test_without_published_lists_names_are_dealt_within_each_class(made):
    chips = split(made, "hashed")
    counts = chips.assign(name=chips["chip_id"].str.rpartition("_")[0]).groupby(["name", "split"]).size().unstack()
    per_class = len(chips) // 3
    assert (counts["train"] == round(0.6 * per_class)).all()
    assert (counts.sum(axis=1) == per_class).all() and (counts[["val", "test"]] > 0).all(axis=None)


def test_a_name_keeps_its_split_whatever_the_other_classes_hold(eurosat, tmp_path):
    whole = split(Made(tmp_path / "one", "eurosat_rgb", eurosat, ("rgb",)), "hashed")
    for path in (eurosat / "EuroSAT_RGB/Forest").iterdir():
        path.rename(path.with_name(path.name.replace("Forest", "Wood")))
    other = split(Made(tmp_path / "two", "eurosat_rgb", eurosat, ("rgb",)), "hashed")
    kept = ~whole["chip_id"].str.startswith("Forest")
    found = dict(zip(other["chip_id"], other["split"], strict=True))
    assert [found[name] for name in whole.loc[kept, "chip_id"]] == whole.loc[kept, "split"].tolist()


@pytest.mark.parametrize("archive", ["eurosat_rgb", "resisc45"])
def test_the_published_lists_beside_it_count(tmp_path, archive):
    unpack_command([str(zipped(tmp_path / "published.zip", archive, 4)), str(tmp_path / "own")])
    write_lists(tmp_path / "own", archive, 4)
    made = Made(tmp_path / "made", archive, tmp_path / "own", ("rgb",))
    chips = split(made, "official", [made.folder / "images.parquet"])
    number = chips["chip_id"].str.rpartition("_")[2].astype(int)
    assert (chips["split"] == np.select([number == 1, number == 2], ["val", "test"], "train")).all()


def audit(folder, chips, encoders=None, pretraining=(), **limit):
    write_table(folder / "chips.parquet", chips, {"chip_px": "64"})
    audit_leakage(
        chips=folder / "chips.parquet", labels=[], pretraining=list(pretraining),
        recipe=LeakageRecipe(collection="towns", encoders=encoders or {}, limit=LeakageLimit(**limit)),
        leakage=folder / "leakage.json", picture=folder / "leakage.png",
    )  # fmt: skip
    return read_json(folder / "leakage.json")


def test_the_audit_tells_no_distance_and_compares_names(made, tmp_path):
    chips = split(made, "hashed")
    elsewhere = tmp_path / "elsewhere/chips.parquet"
    write_table(elsewhere, chips.assign(split="train", chip_id="other_" + chips["chip_id"]))
    found = audit(tmp_path, chips, {"one": ("elsewhere",)}, [elsewhere])
    assert found["test_to_train"] is None and found["labels"] == {} and found["chip_side_m"] is None
    assert [row["chips"] for row in found["pretraining"]] == [0]
    assert (tmp_path / "leakage.png").stat().st_size > 1000
    write_table(elsewhere, chips.assign(split="train"))
    with pytest.raises(TerraprobeError, match="pretraining_overlap is 1, its leakage_limit is 0"):
        audit(tmp_path, chips, {"one": ("elsewhere",)}, [elsewhere])


def test_coordinates_are_no_floor(made, tmp_path):
    chips = split(made, "hashed")
    made.cut("rgb")
    write_table(tmp_path / "chips.parquet", chips)
    spec, out = made.folder / "chips/rgb/spec.json", tmp_path / "floors.parquet"
    measure_floors(chips=tmp_path / "chips.parquet", stores=[spec], context=[], recipe=FloorsRecipe(), floors=out)
    assert set(read_table(out)["floor"]) == {"image_stats", "mean_sd"}


def spoil_size(home):
    Image.new("RGB", (63, 64)).save(home / "Forest/Forest_1.jpg")


def spoil_grey(home):
    Image.new("L", (64, 64)).save(home / "Forest/Forest_1.jpg")


def spoil_end(home):
    (home / "Forest/Forest_1.jpg").write_bytes(b"\xff\xd8\xff")


def spoil_pixels(home):
    path = home / "Forest/Forest_1.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def spoil_class(home):
    (home / "Forest").rename(home / "Wood")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_size, "Forest_1.jpg: 63 x 64 px, 3 bands; expected 64 x 64 px, 3 bands"),
        (spoil_grey, "Forest_1.jpg: 64 x 64 px, 1 bands; expected 64 x 64 px, 3 bands"),
        (spoil_end, "Forest_1.jpg: cannot be read as a picture"),
        (spoil_pixels, "Forest_1.jpg: cannot be read as a picture: it is truncated"),
        (spoil_class, "Wood is no class of EuroSAT; allowed AnnualCrop"),
    ],
)
def test_a_broken_archive_is_refused_by_name(eurosat, tmp_path, spoil, words):
    spoil(eurosat / "EuroSAT_RGB")
    with pytest.raises(TerraprobeError) as error:
        Made(tmp_path / "made", "eurosat_rgb", eurosat, ("rgb",)).cut("rgb")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_an_absent_one_says_what_to_get(tmp_path):
    with pytest.raises(TerraprobeError, match=r"is absent: get NWPU-RESISC45\.zip of https://huggingface\.co"):
        Made(tmp_path, "resisc45", tmp_path / "nowhere", ("rgb",))
