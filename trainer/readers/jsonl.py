"""JSON lines: {"image": path, "captions": [...], "split"} or "caption"; {"image_id", "captions"} is text alone."""

from collections.abc import Iterator
from pathlib import Path

from trainer.readers.rows import LINE_BYTES, BadRow, Row, lines, load_json, show


def read(path: Path) -> Iterator[Row | BadRow]:
    """A Row or a BadRow for each line that is not blank."""
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
    if "image" not in data and "image_id" not in data:
        raise BadRow(where, "has neither 'image' nor 'image_id'")
    if "captions" not in data and "caption" not in data:
        raise BadRow(where, "has no captions")
    texts = data["captions"] if "captions" in data else [data["caption"]]
    return Row(where=where, image=data.get("image"), texts=texts, split=data.get("split"),
               prompt=data.get("prompt", ""), label=data.get("label"))
