"""The chip store: whole or refused, on full disks and under SIGKILL."""

import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from terraprobe.chips.arrays import open_array, write_array
from terraprobe.chips.store import ChipStore, StoreLayer, seal, write_shard
from terraprobe.errors import TerraprobeError

LAYER = StoreLayer("s1_grd", ("VV", "VH"), "backscatter_db", 0.005, 0.0, -32768, "int16", False)
PAIRS = StoreLayer("s1_coherence", ("coherence",), "coherence", 1e-4, 0.0, 65535, "uint16", True)


def make(folder, chips=(3, 2), layer=LAYER, channels=(2, 2), chip_px=4):
    rng = np.random.default_rng(0)
    shards = {}
    for index, (count, bands) in enumerate(zip(chips, channels, strict=True)):
        pixels = rng.integers(0, 4000, (count, bands, chip_px, chip_px)).astype(layer.dtype)
        pixels[0, 0, 0, 0] = layer.nodata
        valid = (pixels != layer.nodata).mean(axis=(2, 3)).astype("float32")
        write_shard(folder, f"{index:03d}", pixels, valid)
        shards[f"{index:03d}"] = count
    seal(folder, layer, chip_px, shards)
    return folder


def test_rows_follow_the_shards(tmp_path):
    store = ChipStore.open(make(tmp_path))
    arrays = [np.load(tmp_path / f"{shard}.npy") for shard in ("000", "001")]
    together = np.concatenate(arrays)
    assert len(store) == 5
    assert store.bands == ("VV", "VH")
    for chip in range(5):
        for channel in range(2):
            assert np.array_equal(store.read(chip, channel), together[chip, channel])
    assert store.read(1, 1).flags.c_contiguous
    assert not store.read(1, 1).flags.writeable
    picked = store.digital(np.array([4, 0]), np.array([1, 0]))
    assert np.array_equal(picked, together[[4, 0], [1, 0]])
    physical = store.physical(np.array([3]), np.array([0]))
    assert np.isnan(physical[0, 0, 0])
    assert np.allclose(physical[0, 1], together[3, 0, 1] * 0.005)
    assert store.valid.shape == (5, 2)
    assert store.valid[3, 0] == np.float32(15 / 16)


def test_variable_channels_are_missing_where_a_shard_has_fewer(tmp_path):
    store = ChipStore.open(make(tmp_path, layer=PAIRS, channels=(1, 3)))
    assert store.bands == ("coherence_0", "coherence_1", "coherence_2")
    assert (store.valid[:3, 1:] == 0).all()
    assert (store.read(0, 2) == 65535).all()
    assert np.isnan(store.chip(0)[1:]).all()


def test_equal_content_gives_equal_bytes_and_digest(tmp_path):
    stores = [make(tmp_path / name) for name in "ab"]
    assert (stores[0] / "spec.json").read_bytes() == (stores[1] / "spec.json").read_bytes()
    assert ChipStore.open(stores[0]).content_digest() == ChipStore.open(stores[1]).content_digest()


@pytest.mark.parametrize("name", ["000.npy", "001.valid.npy"])
def test_opening_names_the_broken_file(tmp_path, name):
    make(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-7])
    with pytest.raises(TerraprobeError, match=rf"{name} has {len(whole) - 7} bytes, sealed with {len(whole)}"):
        ChipStore.open(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(TerraprobeError, match=rf"{name} is absent"):
        ChipStore.open(tmp_path)


def test_a_folder_without_spec_is_no_store(tmp_path):
    make(tmp_path)
    (tmp_path / "spec.json").unlink()
    with pytest.raises(TerraprobeError, match=r"spec\.json: not found"):
        ChipStore.open(tmp_path)
    (tmp_path / "spec.json").write_text('{"layer"')
    with pytest.raises(TerraprobeError, match=r"spec\.json: not JSON"):
        ChipStore.open(tmp_path)


def shard_of(dtype="int16", shape=(3, 2, 4, 4), valid=(3, 2)):
    return np.ones(shape, dtype), np.ones(valid, "float32")


@pytest.mark.parametrize(
    ("pixels", "valid"),
    [
        shard_of(dtype="int32"),
        shard_of(shape=(2, 2, 4, 4)),
        shard_of(shape=(3, 1, 4, 4)),
        shard_of(shape=(3, 2, 5, 4)),
        shard_of(shape=(3, 2, 16)),
        shard_of(valid=(3, 1)),
    ],
)
def test_sealing_refuses_another_shape_or_type(tmp_path, pixels, valid):
    write_shard(tmp_path, "000", pixels, valid)
    with pytest.raises(TerraprobeError, match=r"000\.npy: .* expected \(3, 2, 4, 4\) int16 for s1_grd"):
        seal(tmp_path, LAYER, 4, {"000": 3})
    assert not (tmp_path / "spec.json").exists()


def test_sealing_refuses_a_truncated_or_absent_shard(tmp_path):
    make(tmp_path)
    with pytest.raises(TerraprobeError, match=r"002\.npy: not found"):
        seal(tmp_path, LAYER, 4, {"000": 3, "002": 2})
    whole = (tmp_path / "000.npy").read_bytes()
    for kept in (0, 5, 60, len(whole) - 1):
        (tmp_path / "000.npy").write_bytes(whole[:kept])
        with pytest.raises(TerraprobeError, match=r"000\.npy: not a whole \.npy file"):
            seal(tmp_path, LAYER, 4, {"000": 3})


def test_sealing_refuses_nodata_only(tmp_path):
    write_shard(tmp_path, "000", np.full((3, 2, 4, 4), -32768, "int16"), np.zeros((3, 2), "float32"))
    with pytest.raises(TerraprobeError, match="no chip has one valid pixel of s1_grd"):
        seal(tmp_path, LAYER, 4, {"000": 3})


def test_an_area_that_has_no_pair_of_dates_is_sealed_without(tmp_path):
    write_shard(tmp_path, "000", np.full((3, 1, 4, 4), 65535, "uint16"), np.zeros((3, 1), "float32"))
    seal(tmp_path, PAIRS, 4, {"000": 3})
    assert (ChipStore.open(tmp_path).valid == 0).all()


def test_a_row_of_another_shape_is_a_mistake_of_the_caller(tmp_path):
    with (
        pytest.raises(ValueError, match=r"at 1 in an array \(2, 3\)"),
        open_array(tmp_path / "a.npy", (2, 3), "<i2") as out,
    ):
        out.put(1, np.zeros((2, 3), "int16"))
    assert list(tmp_path.iterdir()) == []


def test_rows_can_be_written_in_any_order(tmp_path):
    expected = np.arange(60, dtype="uint16").reshape(5, 3, 4)
    with open_array(tmp_path / "a.npy", expected.shape, "uint16") as out:
        for row in (4, 0, 2, 1, 3):
            out.put(row, expected[row : row + 1])
        assert not (tmp_path / "a.npy").exists()
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)
    write_array(tmp_path / "b.npy", expected)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_a_file_size_limit_is_a_clear_error(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TerraprobeError, match=r"000\.npy: cannot be written \(File too large\)"):
            write_shard(tmp_path, "000", np.ones((10, 2, 64, 64), "int16"), np.ones((10, 2), "float32"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root; the file size limit stands in for it")
def test_a_full_disk_is_a_clear_error(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("this container may not mount; the file size limit stands in for a full disk")
    try:
        write_shard(disk, "000", np.ones((1, 2, 64, 64), "int16"), np.ones((1, 2), "float32"))
        with pytest.raises(TerraprobeError, match=r"001\.npy: cannot be written \(No space left on device\)"):
            write_shard(disk, "001", np.ones((30, 2, 64, 64), "int16"), np.ones((30, 2), "float32"))
        assert sorted(path.name for path in disk.iterdir()) == ["000.npy", "000.valid.npy"]
        (disk / "filler").write_bytes(bytes(200_000))
        with pytest.raises(TerraprobeError, match="No space left"):
            seal_until_full(disk)
    finally:
        subprocess.run(["umount", disk], check=True)


def seal_until_full(disk):
    """Fill the disk to the last page, then ask for a spec."""
    with pytest.raises(OSError, match="No space left"):
        for index in range(1000):
            (disk / f"page{index}").write_bytes(bytes(4096))
    seal(disk, StoreLayer(**{**LAYER.__dict__, "bands": ("VV", "VH")}), 64, {"000": 1})


WRITE_SLOWLY = """
import sys, time
from pathlib import Path
import numpy as np
from terraprobe.chips.arrays import open_array
with open_array(Path(sys.argv[1]), (20, 2, 64, 64), "int16") as out:
    for row in range(20):
        out.put(row, np.ones((1, 2, 64, 64), "int16"))
        print(row, flush=True)
        time.sleep(0.02)
"""


def test_kill_while_writing_leaves_no_final_file(tmp_path):
    final = tmp_path / "000.npy"
    for moment in (0, 9, 18):
        command = [sys.executable, "-c", WRITE_SLOWLY, str(final)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert f"{moment}\n" in iter(process.stdout.readline, "")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not final.exists()
    assert subprocess.run([*command], capture_output=True, check=True).returncode == 0
    assert np.load(final).min() == 1


def test_spec_says_what_the_pixels_mean(tmp_path):
    make(tmp_path)
    spec = json.loads((tmp_path / "spec.json").read_text())
    assert spec["layer"]["unit"] == "backscatter_db"
    assert spec["layer"]["bands"] == ["VV", "VH"]
    assert [shard["chips"] for shard in spec["shards"]] == [3, 2]
    assert all(len(f["sha256"]) == 64 for shard in spec["shards"] for f in shard["files"].values())


def test_a_batch_across_shards_is_what_the_files_hold(tmp_path):
    store = ChipStore.open(make(tmp_path))
    together = np.concatenate([np.load(tmp_path / f"{shard}.npy") for shard in ("000", "001")])
    rng = np.random.default_rng(1)
    chips, channels = rng.integers(0, 5, 40), rng.integers(0, 2, 40)
    batch = store.digital(chips, channels)
    assert np.array_equal(batch, together[chips, channels])
    assert np.array_equal(store.whole(chips), together[chips])
    assert batch.flags.writeable
    assert store.digital(chips[:0], channels[:0]).shape == (0, 4, 4)
    assert store.whole(chips[:0]).shape == (0, 2, 4, 4)


def test_whole_chips_of_varying_width_are_filled_with_nodata(tmp_path):
    store = ChipStore.open(make(tmp_path, layer=PAIRS, channels=(1, 3)))
    whole = store.whole(np.array([4, 0]))
    assert np.array_equal(whole[0], np.load(tmp_path / "001.npy")[1])
    assert np.array_equal(whole[1, 0], np.load(tmp_path / "000.npy")[0, 0])
    assert (whole[1, 1:] == 65535).all()


@pytest.mark.parametrize(("chip", "channel"), [(5, 0), (-1, 0), (0, 2), (0, -1)])
def test_a_pair_outside_the_store_is_refused(tmp_path, chip, channel):
    store = ChipStore.open(make(tmp_path))
    with pytest.raises(IndexError, match=r"of .* which has"):
        store.digital(np.array([0, chip]), np.array([0, channel]))


def test_a_large_batch_and_one_that_is_not_cached_are_the_same_pixels(tmp_path):
    store = ChipStore.open(make(tmp_path, chips=(40, 40), chip_px=128))
    together = np.concatenate([np.load(tmp_path / f"{shard}.npy") for shard in ("000", "001")])
    for shard in ("000", "001"):
        with (tmp_path / f"{shard}.npy").open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    chips = np.random.default_rng(2).permutation(80)
    assert np.array_equal(store.whole(chips), together[chips])
