"""Archives from elsewhere, unpacked without trust: nothing outside the folder, no links, no more than they may hold."""

import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from stat import S_IFDIR, S_IFMT, S_IFREG
from typing import IO

from terraprobe.errors import TerraprobeError
from terraprobe.stage import progress

MOST_TIMES = 200
"""An archive unpacks to at most so many times its own size (rasters to some ten times it, zeros to a thousand)."""
LEAST_BYTES = 1 << 24
"""Whatever the size of the archive, so much is allowed."""
_PART = 1 << 20
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    """One file of an archive: its name there, bytes by the archive's own word, and how to read it."""

    name: str
    size: int
    content: IO[bytes]


def unpack(archive: Path, folder: Path, wanted: Sequence[str] = ()) -> list[Path]:
    """Unpack a zip or tar file.

    Args:
        archive: the file.
        folder: a folder of the caller's own, which it deletes where this fails.
        wanted: names, without folders, of the files to keep, straight in `folder`; all, in their folders, where empty.

    Returns:
        The files, in the archive's order.

    Raises:
        TerraprobeError: it is no such archive, is cut short, lacks a wanted file, or holds what none should: a path
            out of its folder, a link, a device, a file twice, more bytes than it says or than it may.
    """
    allowed = max(LEAST_BYTES, MOST_TIMES * archive.stat().st_size)
    found: dict[str, Path] = {}
    try:
        for member in _members(archive):
            if wanted and PurePosixPath(member.name).name not in wanted:
                continue
            inner = PurePosixPath(member.name).name if wanted else str(PurePosixPath(member.name))
            if inner in found:
                raise _refused(archive, member.name, "stands in it twice")
            allowed -= member.size
            if allowed < 0:
                raise _refused(archive, member.name, f"makes it larger than {MOST_TIMES} times its own size")
            found[inner] = folder / inner
            _write(archive, member, found[inner])
    except _BROKEN as error:
        said = str(error).partition("\n")[0].rstrip(":")
        raise TerraprobeError(
            f"{archive}: cannot be unpacked ({said}): it is cut short, damaged, or another kind of file. Nothing was "
            "kept of it; fetch it again."
        ) from error
    absent = [name for name in wanted if name not in found]
    if absent:
        raise TerraprobeError(f"{archive}: holds no {', '.join(absent)}. Is it another version of the dataset?")
    return list(found.values())


def _write(archive: Path, member: _Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with path.open("xb") as target:
        while part := member.content.read(_PART):
            left -= len(part)
            if left < 0:
                raise _refused(archive, member.name, f"holds more than the {member.size} bytes that it says")
            target.write(part)
    if left:
        raise _refused(archive, member.name, f"holds {member.size - left} of the {member.size} bytes that it says")


def _members(archive: Path) -> Iterator[_Member]:
    """Files of an archive, each checked; its folders are left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                kind = S_IFMT(entry.external_attr >> 16)  # 0 where the archive was made without one
                _check_member(archive, entry.filename, kind in (0, S_IFREG, S_IFDIR))
                if not entry.is_dir():
                    with opened.open(entry) as content:
                        yield _Member(entry.filename, entry.file_size, content)
        return
    with tarfile.open(archive) as stream:
        for record in stream:
            _check_member(archive, record.name, record.isreg() or record.isdir())
            file = stream.extractfile(record) if record.isreg() else None
            if file is not None:
                yield _Member(record.name, record.size, file)


def _check_member(archive: Path, name: str, plain: bool) -> None:
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root:
        raise _refused(archive, name, "is an absolute path")
    if ".." in path.parts or ".." in windows.parts:
        raise _refused(archive, name, "leads out of its folder")
    if not plain:
        raise _refused(archive, name, "is a link or a device")


def _refused(archive: Path, name: str, why: str) -> TerraprobeError:
    shown = name if len(name) < 100 else name[:99] + "…"
    return TerraprobeError(
        f"{archive}: refused, its member {shown!r} {why}. Nothing was kept of it. Fetch it again from its own source."
    )


def unpack_command(arguments: Sequence[str]) -> int:
    """`terraprobe unpack FILE FOLDER`: unpack a zip or tar file into a new folder, or refuse it.

    Returns:
        0, or 2 for a wrong call.
    """
    if len(arguments) != 2:
        print("terraprobe unpack FILE FOLDER: a zip or tar file, and a folder that is not there yet", file=sys.stderr)
        return 2
    archive, folder = map(Path, arguments)
    if not archive.is_file():
        raise TerraprobeError(f"{archive}: not found. Give a zip or tar file.")
    if folder.exists():
        raise TerraprobeError(f"{folder}: is there already. Give a folder that is not.")
    temporary = folder.with_name(f".{folder.name}.unpack")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        files = unpack(archive, temporary)
        temporary.rename(folder)
    except OSError as error:
        raise TerraprobeError(
            f"{folder}: cannot be written ({error.strerror}). Nothing was kept. Free space or mend the permissions, "
            "then run the same command again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    progress(f"{folder}: {len(files)} files")
    return 0
