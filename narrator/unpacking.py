"""Zip archives of strangers, unpacked with nothing taken on trust: names, kinds of files, numbers and sizes."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

from narrator.hub.pulling import size
from narrator.readers.rows import PICTURES, show
from narrator.records import NarratorError

FILES = 50_000  # of an upload
TOTAL_BYTES = 8 * 2**30  # of an upload, unpacked
FILE_BYTES = 512 * 2**20
SPARE_BYTES = 256 * 2**20  # left free on the disk
DEEPEST = 20  # folders in folders
TABLES = (".jsonl", ".json", ".csv", ".tsv")
TAKEN = (*PICTURES, *TABLES, ".txt", ".npz")  # nothing else leaves an archive
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
STARTS = {b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError, RuntimeError)
Tell = Callable[[int, int], None]  # bytes so far, in all; may raise to end it


def nobody(done: int, total: int) -> None:
    """Hears of progress, and says nothing."""


def unpack_into(archive: Path, part: Path, tell: Tell) -> None:
    """The files of the archive in the new folder `part`."""
    if not zipfile.is_zipfile(archive):
        raise _no_zip(archive)
    try:
        with zipfile.ZipFile(archive) as packed:
            wanted = dict(_checked(packed.infolist(), archive.name))
            total = sum(info.file_size for info in wanted.values())
            part.mkdir(parents=True)
            check_room(total, part)
            done = 0
            for path, info in wanted.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                ends = done + info.file_size
                with packed.open(info) as inside, (part / path).open("xb") as out:
                    while done <= ends and (piece := inside.read(1 << 20)):
                        done += len(piece)
                        out.write(piece)
                        tell(done, total)
                if done != ends:
                    raise zipfile.BadZipFile("a file is not as large as the archive says")
    except _DAMAGED as error:
        raise NarratorError(f"{archive.name} is damaged, or packed in a way that is not read here "
                            f"({' '.join(str(error).split())[:100]}). Pack it again as an ordinary zip.") from None
    except OSError as error:
        raise NarratorError(f"{archive.name} cannot be unpacked ({error.strerror or error}). Check its file names and "
                            "the space on the disk.") from None


def _checked(entries: Sequence[zipfile.ZipInfo], archive: str) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """(path below the folder, entry) of each file that is wanted; NarratorError for an archive that is refused."""
    if len(entries) > FILES:
        raise NarratorError(f"{archive} holds {len(entries):,} files, and {FILES:,} is the most. Upload it in parts.")
    found: dict[str, zipfile.ZipInfo] = {}
    nested: list[str] = []
    for info in entries:
        if info.filename in (".", "./", "/"):
            continue
        path = safe_name(info.orig_filename, archive)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise NarratorError(f"{archive} holds a link or a device ({show(path)}). Pack the files themselves.")
        if info.flag_bits & 0x1:
            raise NarratorError(f"{archive} is locked with a password. Pack it again without one.")
        hidden = any(name.startswith((".", "__MACOSX")) for name in path.split("/"))
        if info.is_dir() or info.filename.endswith(("/", "\\")) or hidden:
            continue
        if path.lower().endswith(ARCHIVES):
            nested.append(path)
        elif path.lower().endswith(TAKEN):
            if path.casefold() in found:
                raise NarratorError(f"{archive} holds {show(path)} twice. Pack it again with different names.")
            found[path.casefold()] = info
            yield path, info
    _check_sizes(list(found.values()), archive)
    if not found:
        if nested:
            raise NarratorError(f"{archive} holds no pictures and no tables but another archive ({show(nested[0])}). "
                                "Unpack that one, and upload what is in it.")
        raise NarratorError(f"{archive} holds no pictures and no tables. Look whether it is the right one.")


def safe_name(name: str, archive: str) -> str:
    """A name in an archive as a relative path; NarratorError for one that leads outside, or is no file's."""
    path = name.replace("\\", "/").rstrip("/")
    parts = path.split("/")
    if path.startswith("/") or PureWindowsPath(path).drive or ".." in parts:
        raise NarratorError(f"{archive} holds a name that leads outside ({show(name)}), so nothing of it was unpacked. "
                            "Pack the folder again.")
    parts = [part for part in parts if part not in ("", ".")]
    odd = any(not part.isprintable() or len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts)
    if not parts or odd or len(parts) > DEEPEST or any("\ud800" <= letter <= "\udfff" for letter in path):
        raise NarratorError(f"{archive} holds a name that cannot be a file's here ({show(name)}). Give the files plain "
                            "names, and pack them again.")
    return "/".join(parts)


def _check_sizes(entries: Sequence[zipfile.ZipInfo], archive: str) -> None:
    total = sum(info.file_size for info in entries)
    largest = max(entries, key=lambda info: info.file_size, default=None)
    if total > TOTAL_BYTES:
        raise NarratorError(f"{archive} unpacks to {size(total)}, and {size(TOTAL_BYTES)} is the most. Upload it in "
                            "parts, or make the pictures smaller.")
    if largest is not None and largest.file_size > FILE_BYTES:
        raise NarratorError(f"{archive} holds a file of {size(largest.file_size)} ({show(largest.filename)}), and "
                            f"{size(FILE_BYTES)} is the most. Leave it out.")


def check_room(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise NarratorError(f"The upload needs {size(needed)} of disk, and {size(free)} are free. Free some space, or "
                            "upload less.")


def start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise NarratorError(f"{path.name} cannot be read ({error.strerror}). Upload it again.") from None


def _no_zip(archive: Path) -> NarratorError:
    start = start_of(archive)
    kind = next((name for mark, name in STARTS.items() if start.startswith(mark)), "")
    kind = kind or ("tar" if start[257:262] == b"ustar" else "")
    if kind:
        return NarratorError(f"{archive.name} is a {kind} archive, and only zip is read here. Pack the files as a zip.")
    if start.startswith(b"PK"):
        return NarratorError(f"{archive.name} is a damaged zip, or cut short. Upload it again, or pack it anew.")
    return NarratorError(f"{archive.name} is no zip archive. Pack the files as a zip.")
