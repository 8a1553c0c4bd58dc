"""Training states and weights on disk: whole or not at all, readable by others, equal for equal runs."""

import os
import resource
import subprocess
import sys

import pytest
import torch

from terraprobe.checkpoints import StateFolder
from terraprobe.encoders import write_weights
from terraprobe.errors import TerraprobeError

WEIGHTS = "encoder.safetensors"


@pytest.fixture(params=["full disk", "file size limit"])
def cramped(request, tmp_path):
    """A folder that no file of 256 kB fits into, and what the system says of it."""
    folder = tmp_path / "cramped"
    folder.mkdir()
    if request.param == "file size limit":
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, limits[1]))
        try:
            yield folder, "File too large"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here; the file size limit stands in for it")
    try:
        yield folder, "No space left on device"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


BIG = {"a": torch.zeros(50_000), "b": torch.ones(50_000)}


def test_a_full_disk_while_a_state_is_written_is_one_sentence(cramped):
    path, reason = cramped
    folder = StateFolder(path)
    kept = folder.save(1, {"a": torch.zeros(100)})
    with pytest.raises(TerraprobeError, match=rf"step-000000002-\w+\.pt: cannot be written \({reason}\)"):
        folder.save(2, BIG)
    assert list(path.iterdir()) == [kept]
    assert folder.load()["a"].shape == (100,)


def test_a_full_disk_while_weights_are_written_is_one_sentence(cramped):
    path, reason = cramped
    with pytest.raises(TerraprobeError, match=rf"{WEIGHTS}: cannot be written \({reason}\)"):
        write_weights(path / WEIGHTS, BIG)
    assert not list(path.iterdir())


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_states_and_weights_have_the_mode_of_any_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        state = StateFolder(tmp_path).save(1, BIG)
        write_weights(tmp_path / WEIGHTS, BIG)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (state, tmp_path / WEIGHTS)] == [mode, mode]


def test_equal_states_have_equal_bytes(tmp_path):
    one, two = (StateFolder(tmp_path / name).save(1, BIG) for name in "ab")
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()


def test_a_closed_console_costs_no_work():
    code = """
import sys
from terraprobe.stage import progress
sys.stdin.readline()
for _ in range(3):
    progress("a line")
print("went on")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stderr.close()
    process.stdin.write("go\n")
    process.stdin.close()
    assert process.stdout.read() == "went on\n"
    assert process.wait() == 0
