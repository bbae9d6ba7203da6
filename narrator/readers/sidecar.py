"""A folder of pictures, each with a .txt of the same name that holds one caption a line."""

import os
from collections.abc import Iterator
from pathlib import Path

from narrator.readers.rows import LINE_BYTES, PICTURES, BadRow, Pictures, Row, open_to_read


def read(folder: Path) -> Iterator[Row | BadRow]:
    """A Row or a BadRow for each picture, by name; the split is the folder directly below `folder`, if there is one."""
    inside = Pictures([folder])
    closed: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.lower().endswith(PICTURES):
                continue
            picture = Path(parent, name)
            relative = picture.relative_to(folder)
            try:
                texts = _captions(inside, relative.with_suffix(".txt"), str(picture))
            except BadRow as bad:
                yield bad
                continue
            split = relative.parts[0] if len(relative.parts) > 1 else None
            yield Row(where=str(picture), image=relative.as_posix(), texts=texts, split=split)
    for error in closed:
        yield BadRow(str(error.filename), f"cannot be read ({error.strerror})")


def _captions(inside: Pictures, sidecar: Path, where: str) -> list[str]:
    try:
        path = inside.find(sidecar.as_posix(), where)
    except BadRow:
        raise BadRow(where, f"has no captions: {sidecar.name} is not beside it") from None
    with open_to_read(path) as file:
        content = file.read(LINE_BYTES + 1)
    if len(content) > LINE_BYTES:
        raise BadRow(where, f"{sidecar.name} is longer than {LINE_BYTES >> 20} MB")
    try:
        return [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise BadRow(where, f"{sidecar.name} is not UTF-8 text; save it as UTF-8") from None
