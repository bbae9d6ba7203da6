"""Rows of the files that people have: lines of bounded length, one JSON object each, checked at the door.

One rule for what is learned from (narrator.readers) and for what is measured on (narrator.held_out).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from narrator.records import NarratorError

LINE_BYTES = 1 << 20  # a longer line is a damaged file or an attack, never a caption
TEXTS = ("captions", "caption", "references")  # what the texts of a row may be called; the first that is there counts


class BadRow(Exception):
    """A row that cannot be used; the text says where it stands and why. Readers yield it and go on."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where, self.reason = where, reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row as it stands in the file: types are not checked yet, so that rows of other splits cost nothing.

    where: "captions.jsonl, line 3". image: a path as written, None for text alone. texts: what should be a list.
    fields: all that the row holds, by name, where it is a JSON object.
    """

    where: str
    image: Any
    texts: Any
    split: Any = None
    prompt: Any = ""
    label: Any = None
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_jsonl(path: Path) -> Iterator[Row | BadRow]:
    """A Row or a BadRow for each line that is not blank. Raises NarratorError when the file cannot be read."""
    for number, line in lines(path):
        where = f"{path}, line {number}"
        if line is None:
            yield BadRow(where, f"is longer than {LINE_BYTES >> 20} MB")
        elif line.strip():
            try:
                yield _row(line, where)
            except BadRow as bad:
                yield bad


def _row(line: bytes, where: str) -> Row:
    data = load_json(line, where)
    if not isinstance(data, dict):
        raise BadRow(where, f"must be a JSON object, not {show(data)}")
    if not data.keys() & {"image", "image_id", "prompt"}:
        raise BadRow(where, "has neither 'image' nor 'image_id' nor 'prompt'")
    named = next((name for name in TEXTS if name in data), None)
    if named is None and data.get("label") is None:
        raise BadRow(where, "has no captions")
    texts = [str(data["label"])] if named is None else data[named]
    return Row(where=where, image=data.get("image"), texts=[texts] if named == "caption" else texts,
               split=data.get("split"), prompt=data.get("prompt", ""), label=data.get("label"), fields=data)


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


def check_prompt(row: Row) -> str:
    """The prompt with single spaces, "" where the row has none; BadRow when it is no text."""
    return check_text(row.prompt, "'prompt'", row.where) if row.prompt != "" else ""


def check_split(row: Row) -> str | None:
    """The split's name; BadRow when it is no text."""
    if row.split is None or isinstance(row.split, str):
        return row.split
    raise BadRow(row.where, f"'split' must be a text, not {show(row.split)}")


def check_label(row: Row) -> int | None:
    """The class; BadRow when it is no whole number."""
    if row.label is None or (isinstance(row.label, int) and not isinstance(row.label, bool)):
        return row.label
    raise BadRow(row.where, f"'label' must be a whole number, not {show(row.label)}")
