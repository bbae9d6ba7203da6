"""CSV: a header with image, caption and perhaps split; several rows for one picture are its several captions."""

import csv
from collections.abc import Iterator
from pathlib import Path

from narrator.readers.rows import LINE_BYTES, BadRow, Row, lines
from narrator.records import NarratorError

NAMES = {  # what the columns are called in the tables that people have
    "image": ("image", "file_name", "filename", "file", "path"),
    "caption": ("caption", "text", "description"),
    "split": ("split",),
}


def columns(header: bytes | None) -> tuple[str, dict[str, int], int] | None:
    """Delimiter, column numbers by meaning, and how many columns; None when this is no header of captions."""
    text = (header or b"").decode("utf-8", "surrogateescape")
    for delimiter in ",;\t|":
        try:
            fields = [field.strip().lower() for field in next(csv.reader([text], delimiter=delimiter), [])]
        except csv.Error:
            continue
        found = {meaning: fields.index(name) for meaning, names in NAMES.items() for name in reversed(names)
                 if name in fields}
        if "image" in found and "caption" in found:
            return delimiter, found, len(fields)
    return None


def read(path: Path) -> Iterator[Row | BadRow]:
    """A Row or a BadRow for each row of the table; NarratorError when the header is not there."""
    header = columns(next(lines(path), (1, b""))[1])
    if header is None:
        raise NarratorError(f"{path} needs a first line with the column names image, caption and, if you like, split.")
    delimiter, where_is, width = header
    reader = csv.reader(_texts(path), delimiter=delimiter)
    next(reader)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(f"{path}, line {reader.line_num}", f"is not CSV ({error})")
            continue
        where = f"{path}, line {reader.line_num}"
        if len(fields) != width and any(field.strip() for field in fields):
            yield BadRow(where, f"has {len(fields)} fields where the header has {width}; "
                                "put a caption that holds the delimiter in double quotes")
        elif fields and any(field.strip() for field in fields):
            split = fields[where_is["split"]].strip() if "split" in where_is else None
            yield Row(where=where, image=fields[where_is["image"]], texts=[fields[where_is["caption"]]],
                      split=split or None)


def _texts(path: Path) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 become surrogates, which the check of the row refuses."""
    for _, line in lines(path):
        # Far over the csv module's field limit, so that the row is refused under its own number.
        yield "x" * LINE_BYTES + "\n" if line is None else line.decode("utf-8", "surrogateescape")
