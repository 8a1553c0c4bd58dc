"""Archives that attack, and those that do not."""

import io
import tarfile
import zipfile

import pytest

from terraprobe.acquire.unpack import unpack
from terraprobe.cli import main
from terraprobe.errors import TerraprobeError


def make_zip(path, members, mode=0o100644):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def make_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for record, content in members:
            record.size = len(content)
            archive.addfile(record, io.BytesIO(content))
    return path


def tar_entry(name, kind=tarfile.REGTYPE, link=""):
    record = tarfile.TarInfo(name)
    record.type, record.linkname = kind, link
    return record


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_files_land_in_their_folders_or_only_those_wanted(tmp_path, folder, kind):
    content = {"top/a.txt": b"a", "top/deep/b.txt": b"bb"}
    if kind == "zip":
        archive = make_zip(tmp_path / "x.zip", content.items())
    else:
        archive = make_tar(tmp_path / "x.tar.gz", [(tar_entry(n), c) for n, c in content.items()])
    assert [p.relative_to(folder).as_posix() for p in unpack(archive, folder)] == list(content)
    (tmp_path / "few").mkdir()
    (only,) = unpack(archive, tmp_path / "few", ["b.txt"])
    assert only == tmp_path / "few/b.txt"
    assert only.read_bytes() == b"bb"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../out.txt", "leads out of its folder"),
        ("a/../../out.txt", "leads out of its folder"),
        ("..\\out.txt", "leads out of its folder"),
        ("/etc/out.txt", "is an absolute path"),
        ("C:\\out.txt", "is an absolute path"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, folder, name, said, kind):
    if kind == "zip":
        archive = make_zip(tmp_path / "x.zip", [(name, b"x")])
    else:
        archive = make_tar(tmp_path / "x.tar.gz", [(tar_entry(name), b"x")])
    with pytest.raises(TerraprobeError, match=f"refused, its member .* {said}.*Nothing was kept"):
        unpack(archive, folder)
    assert list(folder.rglob("*")) == []
    assert not (tmp_path / "out.txt").exists()


def test_links_and_devices_are_refused(tmp_path, folder):
    archives = [make_zip(tmp_path / "x.zip", [("link", b"/etc/passwd")], mode=0o120777)]
    for k, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
        archives.append(make_tar(tmp_path / f"{k}.tar", [(tar_entry("link", kind, "../../etc/passwd"), b"")]))
    for archive in archives:
        with pytest.raises(TerraprobeError, match="'link' is a link or a device"):
            unpack(archive, folder)
    assert list(folder.iterdir()) == []


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, folder):
    archive = make_zip(tmp_path / "x.zip", [(f"{k}", bytes(10_000_000)) for k in range(3)])
    assert archive.stat().st_size < 100_000
    with pytest.raises(TerraprobeError, match="'1' makes it larger than 200 times its own size"):
        unpack(archive, folder)


def test_a_member_that_is_more_than_it_says_is_refused(tmp_path, folder):
    archive = make_zip(tmp_path / "x.zip", [("a", b"x" * 5000)])
    data = archive.read_bytes()
    assert data.count((5000).to_bytes(4, "little")) == 2
    archive.write_bytes(data.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(TerraprobeError, match=r"cannot be unpacked|holds more than the 50 bytes"):
        unpack(archive, folder)


def test_a_file_twice_or_absent_or_an_archive_cut_short_is_named(tmp_path, folder):
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = make_zip(tmp_path / "twice.zip", [("a", b"1"), ("a", b"2")])
    with pytest.raises(TerraprobeError, match="'a' stands in it twice"):
        unpack(twice, folder)
    good = make_zip(tmp_path / "good.zip", [("a", b"1")])
    with pytest.raises(TerraprobeError, match=r"holds no b\.shp"):
        unpack(good, folder, ["b.shp"])
    cut = make_tar(tmp_path / "cut.tar.gz", [(tar_entry("c"), bytes(range(256)) * 400)])
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(TerraprobeError, match="cut short"):
        unpack(cut, folder)


def test_one_file_under_two_spellings_is_refused(tmp_path, folder):
    archive = make_tar(tmp_path / "x.tar", [(tar_entry("a"), b"1"), (tar_entry("./a"), b"2")])
    with pytest.raises(TerraprobeError, match="stands in it twice"):
        unpack(archive, folder)


def test_what_is_no_archive_is_said_in_one_line(tmp_path, folder):
    (tmp_path / "page.zip").write_text("<!doctype html><title>Sign in</title>")
    with pytest.raises(TerraprobeError, match=r"cannot be unpacked \(file could not be opened successfully\)") as error:
        unpack(tmp_path / "page.zip", folder)
    assert "\n" not in str(error.value)


def test_a_full_disk_leaves_no_folder(tmp_path, capsys, small_disk):
    archive = make_zip(tmp_path / "x.zip", [("big.tif", bytes(3_000_000))])
    with small_disk(1_000_000):
        assert main(["unpack", str(archive), str(tmp_path / "out")]) == 1
    assert "cannot be written (File too large). Nothing was kept. Free space" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_the_command_leaves_a_whole_folder_or_none(tmp_path, capsys):
    good = make_zip(tmp_path / "good.zip", [("top/a.txt", b"a")])
    bad = make_zip(tmp_path / "bad.zip", [("top/a.txt", b"a"), ("../b.txt", b"b")])
    assert main(["unpack", str(good), str(tmp_path / "good")]) == 0
    assert (tmp_path / "good/top/a.txt").read_bytes() == b"a"
    assert main(["unpack", str(bad), str(tmp_path / "bad")]) == 1
    assert "leads out of its folder" in capsys.readouterr().err
    assert main(["unpack", str(good), str(tmp_path / "good")]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip", "good", "good.zip"]
    assert main(["unpack", str(good)]) == 2
