"""Which files of this machine a visitor may name: only uploaded ones. Sounds made here lie beside them."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from narrator.records import NarratorError

KEPT_S = 24 * 3600  # seconds: how long a sound stays for its visitor


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
    refusal = NarratorError("This picture was not uploaded to this page. Upload the file itself; "
                            "paths on the server and web addresses are not read.")
    if not isinstance(named, (str, os.PathLike)) or "\0" in str(named):
        raise refusal
    path = Path(named).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise refusal
    return path


def new_sound_path() -> Path:
    """A fresh `.wav` path below the upload folder, where the page may serve it. Yesterday's sounds are swept away."""
    from gradio.utils import get_upload_folder

    folder = Path(get_upload_folder()) / "sounds"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*/*.wav"):
            if old.stat().st_mtime < time.time() - KEPT_S:
                old.unlink(missing_ok=True)
        path = folder / uuid.uuid4().hex / "narration.wav"  # a folder nobody can guess, a name a person can keep
        path.parent.mkdir()
    except OSError as error:
        raise NarratorError(f"No sound can be saved in {folder} ({error.strerror}). Free some space there, then try "
                            "again.") from error
    return path
