"""What is given to a batch: uploaded pictures and zips, gathered in a folder and looked through before it runs."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from narrator.pictures import open_picture
from narrator.readers.rows import PICTURES
from narrator.records import NarratorError
from narrator.turns import Stopped
from narrator.ui.limits import alone
from narrator.ui.thumbnails import thumbnail
from narrator.unpacking import FILES, check_room, safe_name, unpack_into
from narrator.uploads import new_data, uploaded_path

LOOK_S = 0.2
LOOKED_AT = 300  # pictures that are opened before the start; a batch opens them all
SHOWN = 12  # small pictures
NAMED = 20  # problems
MOST_OF_A_VISITOR = 2000  # pictures of a batch on a page that serves several people
NO_PICTURE = "It is no picture by its name."
NONE = "There are no pictures yet: choose some, or a zip of them, then press again."
Tell = Callable[[str], None]  # hears how far it is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """Pictures in a folder. left_out: (name, reason) of files that are none; bad: the same of pictures that cannot be
    opened, as far as they were looked at, which are `looked` of `count`."""

    folder: Path
    count: int
    looked: int
    left_out: tuple[tuple[str, str], ...] = ()
    bad: tuple[tuple[str, str], ...] = ()

    @property
    def says(self) -> str:
        """What was found, in a sentence or two."""
        found = _many(self.count, "picture")
        parts = [f"{found} {'is' if self.count == 1 else 'are'} ready."]
        if self.bad:
            parts.append(f"{_many(len(self.bad), 'of them', 'of them')} cannot be opened.")
        if self.left_out:
            parts.append(f"{_many(len(self.left_out), 'file is', 'files are')} left out.")
        return " ".join(parts)


def gather(files: Sequence[str], stop: threading.Event, tell: Tell) -> Given:
    """Uploaded pictures and zips in a folder of their own, and what is wrong with them.

    Raises NarratorError for what cannot be used at all, and Stopped once `stop` is set; nothing stays then.
    """
    paths = [path for path in map(uploaded_path, files) if path is not None]
    if not paths:
        raise NarratorError(NONE)
    left_out: list[tuple[str, str]] = []
    with new_data() as folder:
        folder.mkdir()
        zips = [path for path in paths if path.suffix.lower() == ".zip"]
        for path in paths:
            if path in zips:
                inside = folder / _free(folder, path.stem) if len(paths) > 1 else folder
                try:
                    left_out += _unzipped(path, inside, stop, tell)
                except NarratorError as error:
                    if isinstance(error, Stopped) or len(paths) == 1:
                        raise
                    left_out.append((path.name, str(error)))
            elif path.suffix.lower() in PICTURES:
                name = _free(folder, safe_name(path.name, "The upload"))
                check_room(path.stat().st_size, folder)
                shutil.copyfile(path, folder / name)
            else:
                left_out.append((path.name, NO_PICTURE))
        names = sorted(_pictures(folder))
        if not names:
            raise NarratorError("There is no picture among these files: choose JPEG, PNG, WebP, GIF, BMP or TIFF, or a "
                                "zip of them.")
        if not alone() and len(names) > MOST_OF_A_VISITOR:
            raise NarratorError(f"These are {len(names):,} pictures, and {MOST_OF_A_VISITOR:,} is the most of a batch "
                                "here. Describe them in parts.")
        bad = tuple(_looked_through(folder, names[:LOOKED_AT], stop, tell))
        return Given(folder=folder, count=len(names), looked=min(len(names), LOOKED_AT), left_out=tuple(left_out),
                     bad=bad)


async def looked_through(files: Sequence[str]) -> AsyncIterator[str | Given]:
    """Sentences of how far it is, then what was given. Leaving the iterator ends it. Raises NarratorError."""
    stop, says = threading.Event(), "Looking through the files …"

    def tell(sentence: str) -> None:
        nonlocal says
        says = sentence

    yield says
    made = asyncio.create_task(asyncio.to_thread(gather, files, stop, tell))
    told = asyncio.get_running_loop().time()
    try:
        while not made.done():
            await asyncio.wait([made], timeout=LOOK_S)
            if asyncio.get_running_loop().time() - told > 3:  # a status line is read out: not at each picture
                told = asyncio.get_running_loop().time()
                yield says
        yield made.result()
    except Stopped:
        return
    finally:
        stop.set()


def preview(given: Given | None) -> str:
    """The first pictures, and what is wrong with others, as HTML; "" for nothing given."""
    if given is None:
        return ""
    bad = {name for name, _ in given.bad}
    fine = [name for name in sorted(_pictures(given.folder)) if name not in bad][:SHOWN]
    shown = "".join(f"<li>{thumbnail(given.folder / name, name)}</li>" for name in fine)
    more = given.count - len(given.bad) - len(fine)
    rest = f'<p class="quiet">{_many(more, "more picture")}.</p>' if more > 0 else ""
    unseen = given.count - given.looked
    later = f'<p class="quiet">{unseen:,} of them are looked at when they are described.</p>' if unseen else ""
    return (f'<p class="found">{escape(given.says)}</p><ul class="batch-thumbs">{shown}</ul>{rest}{later}'
            f'{problems("Cannot be opened; they are named in the result", given.bad)}'
            f'{problems("Left out", given.left_out)}')


def problems(title: str, named: Sequence[tuple[str, str]]) -> str:
    """Files by name, each with its reason, as HTML; "" for none."""
    if not named:
        return ""
    rows = "".join(f"<li><strong>{escape(name)}</strong>: {escape(reason)}</li>" for name, reason in named[:NAMED])
    more = f"<li>{len(named) - NAMED:,} more.</li>" if len(named) > NAMED else ""
    return f'<h3>{escape(title)} ({len(named):,})</h3><ul class="batch-problems">{rows}{more}</ul>'


def _unzipped(archive: Path, into: Path, stop: threading.Event, tell: Tell) -> list[tuple[str, str]]:
    """Unpack; the files in it that are left out."""
    def heard(done: int, total: int) -> None:
        if stop.is_set():
            raise Stopped
        tell(f"Unpacking {archive.name}: {100 * done // total if total else 0} % …")

    part = into.with_name(f".{into.name}.part")
    unpack_into(archive, part, heard)
    with zipfile.ZipFile(archive) as packed:
        other = [(name, NO_PICTURE) for name in packed.namelist()[:FILES]
                 if not name.endswith("/") and not name.lower().endswith(PICTURES)
                 and not any(piece.startswith((".", "__MACOSX")) for piece in name.split("/"))]
    if into.is_dir():
        into.rmdir()
    part.replace(into)
    for path in [path for path in into.rglob("*") if path.is_file() and path.suffix.lower() not in PICTURES]:
        path.unlink()
    return other


def _looked_through(folder: Path, names: Sequence[str], stop: threading.Event, tell: Tell) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(names, start=1):
        if stop.is_set():
            raise Stopped
        tell(f"Looking at picture {number:,} of {len(names):,} …")
        try:
            open_picture(folder / name)
        except NarratorError as error:
            yield name, str(error)


def _pictures(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*")
            if path.suffix.lower() in PICTURES and path.is_file())


def _free(folder: Path, name: str) -> str:
    """The name, or with a number where another file has it already."""
    path, number = Path(name), 1
    while (folder / name).exists():
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    return name


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one}" if count == 1 else f"{count:,} {several or one + 's'}"
