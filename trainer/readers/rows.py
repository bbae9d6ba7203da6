"""What every reader shares: a row, a refused row, lines of bounded length, and the checks at the door."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from narrator.records import NarratorError

LINE_BYTES = 1 << 20  # a longer line is a damaged file or an attack, never a caption
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class BadRow(Exception):
    """A row that cannot be used; the text says where it stands and why. Readers yield it and go on."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row as it stands in the file: types are not checked yet, so that rows of other splits cost nothing.

    where: "captions.jsonl, line 3". image: a path as written, None for text alone. texts: what should be a list.
    """

    where: str
    image: Any
    texts: Any
    split: Any = None
    prompt: Any = ""
    label: Any = None


def show(value: object) -> str:
    """A value out of a stranger's file, safe and short enough for a terminal."""
    if isinstance(value, str):
        text = ascii(value[:100])
        return text if len(text) <= 80 else text[:77] + "...'"
    plain = {"dict": "an object", "list": "a list", "int": "a number", "float": "a number", "bool": "true or false"}
    return "nothing" if value is None else plain.get(type(value).__name__, type(value).__name__)


def lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Number (from 1) and bytes of each line, without a byte order mark; None for a line over LINE_BYTES."""
    with open_to_read(path) as file:
        number = 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise NarratorError(f"{path} is in UTF-16. Save it as UTF-8 and try again.")
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            whole = len(line) <= LINE_BYTES
            piece = line
            while piece and not piece.endswith(b"\n"):  # the rest of a line that is too long is let go piece by piece
                piece = file.readline(LINE_BYTES)
            yield number, line if whole else None


def open_to_read(path: Path) -> Any:
    """`path` opened for reading bytes; NarratorError that names it when that cannot be done."""
    try:
        return path.open("rb")
    except OSError as error:
        raise NarratorError(f"{path} cannot be read ({error.strerror}). Check the name and its permissions.") from None


def load_json(text: bytes | str, where: str) -> Any:
    """The parsed JSON; BadRow when it is not UTF-8, not JSON, or nested too deep to be data."""
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except UnicodeDecodeError:
        raise BadRow(where, "is not UTF-8 text; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadRow(where, f"is not JSON ({error.msg} at character {error.pos + 1})") from None
    except (RecursionError, ValueError):  # thousands of brackets; a number of thousands of digits
        raise BadRow(where, "is not data (nested too deep, or a number too long)") from None


def check_texts(texts: Any, where: str) -> tuple[str, ...]:
    """The captions of a row with single spaces; BadRow names what is wrong with them."""
    if not isinstance(texts, list):
        raise BadRow(where, f"'captions' must be a list of texts, not {show(texts)}")
    if not texts:
        raise BadRow(where, "has no captions")
    return tuple(check_text(text, f"caption {number}", where) for number, text in enumerate(texts, start=1))


def check_text(text: Any, name: str, where: str) -> str:
    """One text with single spaces; BadRow when it is no text, empty, or not valid Unicode."""
    if not isinstance(text, str):
        raise BadRow(where, f"{name} must be a text, not {show(text)}")
    if "\0" in text:
        raise BadRow(where, f"{name} holds a NUL byte")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadRow(where, f"{name} is not valid Unicode; save the file as UTF-8")
    text = " ".join(text.split())
    if not text:
        raise BadRow(where, f"{name} is empty")
    return text


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
