"""Where the pictures of a batch come from: folders, globs, zips, lists of paths, JSON lines. Walked, never listed.

Names are sorted on disk by SQLite, whose temporary tables spill from a small cache: a million names take as much memory
as a hundred, and every process of a batch walks them in the same order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from narrator.batch.journal import stamp_of
from narrator.batch.plan import BatchPlan, Item
from narrator.files import write_whole
from narrator.readers.rows import PICTURES, BadRow, lines, load_json, show
from narrator.records import NarratorError
from narrator.unpacking import unpack_into

_MAGIC = re.compile(r"[*?[]")
_JSON_LINES = (".jsonl", ".ndjson")
ZIP = ".zip"
_WEB = ("http://", "https://")
Say = Callable[[str], None]  # hears a status sentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Walk:
    """The pictures of a plan, in order. total: how many, None where that is not known ahead."""

    total: int | None
    items: Callable[[], Iterator[Item]]


def unpack(plan: BatchPlan, say: Say) -> None:
    """The zips of the plan as folders below its home, from an earlier run as they are unless the zip has changed since.
    Raises NarratorError for one that is damaged."""
    for source, name in _called(plan).items():
        if source.lower().endswith(ZIP) and os.path.isfile(source):
            _unpack(Path(source), plan.home / "pictures" / name, say)


def walk(plan: BatchPlan) -> Walk:
    """What the plan is about, its zips being unpacked. Raises NarratorError for a source that is not there or holds no
    picture."""
    if plan.items is not None:
        items = plan.items
        return Walk(total=None, items=lambda: iter(items()))
    walks = [_walk(source, name, plan) for source, name in _called(plan).items()]
    total = sum(one.total or 0 for one in walks)
    if total == 0:
        raise NarratorError(f"{', '.join(plan.sources)} holds no pictures (JPEG, PNG, WebP, GIF, BMP or TIFF): look "
                            "whether it is the right place.")

    def every() -> Iterator[Item]:
        for one in walks:
            yield from one.items()

    return Walk(total=total, items=every)


def _called(plan: BatchPlan) -> dict[str, str]:
    """Source -> what the names of its pictures begin with where there are several: of a folder or zip its own name, and
    `trip (2)` for the second `trip`; of a list the folder that it lies in."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for source in dict.fromkeys(plan.sources):
        path, number = Path(source), 1
        if path.is_dir() or path.suffix.lower() == ZIP:
            name = stem = (path.name if path.is_dir() else path.stem) or "pictures"
            while name in taken:
                number += 1
                name = f"{stem} ({number})"
            taken.add(name)
            found[source] = name
        else:
            found[source] = path.parent.as_posix()
    return found


def _walk(source: str, name: str, plan: BatchPlan) -> Walk:
    path, prefix = Path(source), f"{name}/" if len(plan.sources) > 1 else ""
    if path.is_dir():
        return _folder(path, plan, prefix)
    if not path.exists():
        if _MAGIC.search(source):
            return _names(glob_names(source, _left_out(plan)), Path())
        raise NarratorError(f"There is no {source}: check its name.")
    suffix = path.suffix.lower()
    if suffix == ZIP:
        return _folder(plan.home / "pictures" / name, plan, prefix)
    if suffix in PICTURES:
        return Walk(total=1, items=lambda: iter([Item(name=source, file=os.path.abspath(source))]))
    read = json_items if suffix in _JSON_LINES else list_items
    before = "" if prefix in ("", "./") else prefix
    return Walk(total=sum(1 for _ in read(path)), items=lambda: read(path, before))


def _folder(folder: Path, plan: BatchPlan, prefix: str) -> Walk:
    return _names(folder_names(folder, _left_out(plan)), folder, prefix)


def _left_out(plan: BatchPlan) -> frozenset[str]:
    """Folders of results: the pictures in them are copies."""
    return frozenset(os.path.realpath(path) for path in (plan.home, plan.files, plan.sounds))


def _names(names: Iterable[str], root: Path, prefix: str = "") -> Walk:
    """Sorted, each once, on disk."""
    table = sqlite3.connect("", check_same_thread=False)  # "" is a temporary file, gone with the connection
    table.execute("CREATE TABLE names (name BLOB PRIMARY KEY) WITHOUT ROWID")
    table.executemany("INSERT OR IGNORE INTO names VALUES (?)", ((os.fsencode(name),) for name in names))
    home = os.path.abspath(root)
    total = int(table.execute("SELECT count(*) FROM names").fetchone()[0])

    def items() -> Iterator[Item]:
        for (name,) in table.execute("SELECT name FROM names ORDER BY name"):
            plain = os.fsdecode(name)
            yield Item(name=prefix + plain, file=os.path.join(home, plain))

    return Walk(total=total, items=items)


def folder_names(folder: Path, left_out: frozenset[str] = frozenset()) -> Iterator[str]:
    """The pictures of a folder and its folders, relative to it; hidden ones and links to folders are left out.

    Raises NarratorError when the folder itself cannot be read; one inside it is left out.
    """
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            entries = os.scandir(folder / inside)
        except OSError as error:
            if inside:
                continue
            raise NarratorError(f"{folder} cannot be read ({error.strerror}): check its permissions.") from None
        with entries:
            for entry in entries:
                name = f"{inside}/{entry.name}" if inside else entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if os.path.realpath(entry.path) not in left_out:
                        waiting.append(name)
                elif _is_picture(entry.name):
                    yield name


def glob_names(pattern: str, left_out: frozenset[str] = frozenset()) -> Iterator[str]:
    """The pictures that a pattern fits, as `glob` has it (`**` for any folders), one folder's entry after the other."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    yield from _fitting("/" if pattern.startswith("/") else "", parts, left_out)


def _fitting(base: str, parts: list[str], left_out: frozenset[str]) -> Iterator[str]:
    first, rest = parts[0], parts[1:]
    if not _MAGIC.search(first):
        path = os.path.join(base, first)
        if rest and os.path.isdir(path):
            yield from _fitting(path, rest, left_out)
        elif not rest and os.path.isfile(path) and _is_picture(first):
            yield path
        return
    if first == "**":
        yield from _fitting(base, rest or ["*"], left_out)
    fits = re.compile(fnmatch.translate("*" if first == "**" else first)).match
    with contextlib.suppress(OSError), os.scandir(base or ".") as entries:
        for entry in entries:
            if not fits(entry.name) or (entry.name.startswith(".") and not first.startswith(".")):
                continue
            path = os.path.join(base, entry.name)
            if entry.is_dir(follow_symlinks=first != "**") and os.path.realpath(path) not in left_out:
                if rest or first == "**":
                    yield from _fitting(path, parts if first == "**" else rest, left_out)
            elif not rest and first != "**" and _is_picture(entry.name):
                yield path


def list_items(path: Path, prefix: str = "") -> Iterator[Item]:
    """A picture a line, relative to the folder of the list, and called `prefix` and that."""
    for number, line in lines(path):
        where = f"{path}, line {number}"
        if line is None:
            yield Item(name=where, file="", error=f"{where} is too long for a path.")
        elif line.strip():
            yield _listed(os.fsdecode(line.strip()), path, where, prefix)


def json_items(path: Path, prefix: str = "") -> Iterator[Item]:
    """{"image": path beside the file, "prompt": its own}, a line each; other keys are not looked at."""
    for number, line in lines(path):
        where = f"{path}, line {number}"
        if line is not None and not line.strip():
            continue
        try:
            if line is None:
                raise BadRow(where, "is too long")
            data = load_json(line, where)
            if not isinstance(data, dict) or not isinstance(data.get("image"), str) or not data["image"].strip():
                raise BadRow(where, "must be a JSON object with 'image', the path of a picture")
            prompt = data.get("prompt") or ""
            if not isinstance(prompt, str):
                raise BadRow(where, f"'prompt' must be a text, not {show(prompt)}")
            yield dataclasses.replace(_listed(data["image"].strip(), path, where, prefix), prompt=prompt.strip())
        except BadRow as bad:
            yield Item(name=where, file="", error=f"{bad}.")


def _listed(name: str, path: Path, where: str, prefix: str) -> Item:
    if name.lower().startswith(_WEB):
        return Item(name=name, file="", error=f"{where}: {show(name)} is a web address; download the picture and name "
                                              "the file.")
    if not _is_name(name):
        return Item(name=ascii(name)[:200], file="", error=f"{where}: {show(name)} is not the name of a file.")
    return Item(name=name if os.path.isabs(name) else prefix + name, file=os.path.abspath(path.parent / name))


def _unpack(archive: Path, folder: Path, say: Say) -> None:
    """The zip's files in a folder, which appears whole; one that was made of the same zip stays."""
    stamp, noted = stamp_of(str(archive)), folder.with_name(f".{folder.name}.stamp")
    if folder.is_dir() and noted.is_file() and noted.read_text() == stamp:
        return
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    told = -1

    def tell(done: int, total: int) -> None:
        nonlocal told
        if total and 10 * done // total > told:
            told = 10 * done // total
            say(f"Unpacking {archive.name}: {10 * told} % …")

    unpack_into(archive, part, tell)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)
    write_whole(noted, stamp)


def _is_name(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half a character, as JSON can hold
        return False


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURES)
