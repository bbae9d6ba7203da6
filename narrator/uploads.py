"""Which files of this machine a visitor may name: only uploaded ones. What is made for a visitor lies beside them."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from narrator.records import NarratorError

KEPT_S = 24 * 3600  # seconds: how long a file that was made here stays for its visitor


def uploaded_path(picture: Any) -> Path | None:
    """The file behind a picture that came over the wire; None where there is none.

    `picture` is a path, or an object or mapping with a `path`. Gradio itself checks such a path only when the sender
    adds a certain mark, so everything that names a file passes through here. Raises NarratorError for a file that was
    not uploaded to this server, symbolic links and `..` resolved.
    """
    from gradio.utils import get_upload_folder

    named = picture.get("path") if isinstance(picture, dict) else getattr(picture, "path", picture)
    if named is None or named == "":
        return None
    refusal = NarratorError("This file was not uploaded to this page. Upload the file itself; "
                            "paths on the server and web addresses are not read.")
    if not isinstance(named, (str, os.PathLike)) or "\0" in str(named):
        raise refusal
    path = Path(named).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise refusal
    return path


def new_sound() -> contextlib.AbstractContextManager[Path]:
    """A fresh `.wav` path below the upload folder, where the page may serve it; nothing stays if the block fails.

    Yesterday's sounds are swept away. Raises NarratorError where no folder can be made.
    """
    return _new("sounds", "narration.wav", "No sound")


def new_archive() -> contextlib.AbstractContextManager[Path]:
    """The same for a `.zip`."""
    return _new("archives", "corrections.zip", "No zip")


def new_export(name: str) -> contextlib.AbstractContextManager[Path]:
    """The same for an exported model of that name."""
    return _new("exports", name, "No export")


def new_data() -> contextlib.AbstractContextManager[Path]:
    """The same for a folder of data, which is not made yet."""
    return _new("data", "given", "No data")


def new_copy(path: Path) -> Path:
    """A copy, below the upload folder, of a file that is kept elsewhere. Raises NarratorError where that cannot be."""
    with _new("copies", path.name, "No copy") as copy:
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            raise NarratorError(f"{path.name} cannot be shown ({error.strerror}); it may be gone.") from error
    return copy


@contextlib.contextmanager
def _new(kind: str, name: str, what: str) -> Iterator[Path]:
    from gradio.utils import get_upload_folder

    folder = Path(get_upload_folder()) / kind
    path = folder / uuid.uuid4().hex / name  # a folder nobody can guess, a name a person can keep
    try:
        path.parent.mkdir(parents=True)
        _sweep(folder)
    except OSError as error:
        raise NarratorError(f"{what} can be saved in {folder} ({error.strerror}). Free some space there, then try "
                            "again.") from error
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, path.parent, ignore_errors=True)
        yield path
        undo.pop_all()


def _sweep(folder: Path) -> None:
    for old in folder.iterdir():
        with contextlib.suppress(OSError):  # another visitor's sweep may have been quicker
            if old.stat().st_mtime < time.time() - KEPT_S:
                shutil.rmtree(old)
