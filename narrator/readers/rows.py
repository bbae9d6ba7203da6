"""What every reader shares: rows and the checks at the door (narrator.rows), where a row stands, its picture."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from narrator.rows import (
    LINE_BYTES,
    BadRow,
    Row,
    check_label,
    check_prompt,
    check_split,
    check_text,
    check_texts,
    lines,
    load_json,
    open_to_read,
    read_jsonl,
    show,
)

__all__ = ["LINE_BYTES", "PICTURES", "BadRow", "Pictures", "Row", "check_label", "check_prompt", "check_split",
           "check_text", "check_texts", "lines", "load_json", "open_to_read", "place_of", "read_jsonl", "show"]

_PLACE = re.compile(r"(?P<file>.*), (?P<kind>line|image|annotation|entry|picture) (?P<number>\d+)(, turn \d+)?",
                    re.DOTALL)
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def place_of(where: str) -> tuple[str, int | None]:
    """(file, line from 1) of a row's `where`; without a line for an entry of a JSON list, or a picture of a folder."""
    found = _PLACE.fullmatch(where)
    if found is None:
        return where, None
    return found["file"], int(found["number"]) if found["kind"] == "line" else None


class Pictures:
    """Finds the picture files that rows name, only below the folders that the person named."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = [Path(os.path.realpath(root)) for root in roots]
        self._real: dict[str, str] = {}  # folder -> the same without links: resolving once a folder, not once a picture

    def find(self, name: Any, where: str) -> Path:
        """The file that `name` stands for; BadRow when there is none or it lies elsewhere."""
        relative = self.relative(name, where)
        outside = False
        for root in self.roots:
            path = os.path.normpath(os.path.join(root, relative))
            folder = self._real.setdefault(os.path.dirname(path), os.path.realpath(os.path.dirname(path)))
            real = os.path.join(folder, os.path.basename(path))
            try:
                mode = os.lstat(real).st_mode
                if stat.S_ISLNK(mode):
                    real = os.path.realpath(real)
                    mode = os.stat(real).st_mode
            except OSError:
                continue
            if not real.startswith(os.path.join(root, "")):
                outside = True
            elif stat.S_ISREG(mode):
                return Path(real)
        if outside:
            raise BadRow(where, f"picture {show(name)} leads outside {self.roots[0]} through a link; "
                                "copy it there")
        raise BadRow(where, f"picture {show(name)} is not in {self.roots[0]}")

    @staticmethod
    def relative(name: Any, where: str) -> str:
        """`name` as a plain relative path with forward slashes; BadRow when it could not be one."""
        if not isinstance(name, str) or not name.strip():
            raise BadRow(where, f"'image' must be the path of a picture, not {show(name)}")
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise BadRow(where, f"picture {show(name)} is not a valid file name")
        if name.startswith(("http://", "https://")):
            raise BadRow(where, f"picture {show(name)} is a web address; download the pictures and name the files")
        path = name.strip().replace("\\", "/")  # tables made on Windows
        if path.startswith("/") or PureWindowsPath(path).drive:
            raise BadRow(where, f"picture {show(name)} is an absolute path; name it relative to the folder of the data")
        path = os.path.normpath(path).replace(os.sep, "/")
        if path == ".." or path.startswith("../"):
            raise BadRow(where, f"picture {show(name)} escapes the folder of the data")
        return path
