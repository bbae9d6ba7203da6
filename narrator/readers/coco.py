"""COCO captions: {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}.

The layout is that of https://cocodataset.org/#format-data; pictures lie beside the JSON or in a folder beside its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from narrator.readers.rows import BadRow, Row, load_json, open_to_read, show
from narrator.records import NarratorError

FOLDERS = ("images", "train2014", "val2014", "test2014", "train2017", "val2017", "test2017")


def roots(path: Path) -> list[Path]:
    """Where the pictures of this JSON may lie, nearest first."""
    places = [path.parent, *(path.parent / name for name in FOLDERS), *(path.parent.parent / name for name in FOLDERS)]
    return [place for place in places if place.is_dir()]


def load(path: Path) -> Any:
    """The whole JSON file; NarratorError when it is not JSON."""
    with open_to_read(path) as file:
        try:
            return load_json(file.read().removeprefix(b"\xef\xbb\xbf"), str(path))
        except BadRow as bad:
            raise NarratorError(f"{bad}. Download or save the file again.") from None


def read(path: Path, data: dict[str, Any]) -> Iterator[Row | BadRow]:
    """A Row for each picture of the loaded `data`, in its order; a BadRow for each entry that cannot be used."""
    images, annotations = data.get("images"), data.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise NarratorError(f"{path} is not COCO captions: it needs the lists 'images' and 'annotations'.")
    captions: dict[Any, list[str]] = {}
    yield from _group(path, data, captions)
    seen: set[Any] = set()
    for number, entry in enumerate(images, start=1):
        where = f"{path}, image {number}"
        if not _identified(entry, "id") or "file_name" not in entry:
            yield BadRow(where, "needs 'id' and 'file_name'")
        elif entry["id"] in seen:
            yield BadRow(where, f"has the same id as an earlier image ({entry['id']!a:.40})")
        else:
            seen.add(entry["id"])
            yield Row(where=where, image=entry["file_name"], texts=captions.get(entry["id"], []),
                      split=entry.get("split"))


def _group(path: Path, data: dict[str, Any], captions: dict[Any, list[str]]) -> Iterator[BadRow]:
    """Fill `captions` by image id; yields the annotations that cannot be used."""
    known = {entry["id"] for entry in data["images"] if _identified(entry, "id")}
    for number, entry in enumerate(data["annotations"], start=1):
        where = f"{path}, annotation {number}"
        if not _identified(entry, "image_id") or "caption" not in entry:
            yield BadRow(where, "needs 'image_id' and 'caption'")
        elif entry["image_id"] not in known:
            yield BadRow(where, f"belongs to image {entry['image_id']!a:.40}, which is not among the images")
        elif not isinstance(entry["caption"], str) or not entry["caption"].strip():
            yield BadRow(where, f"caption is empty or no text ({show(entry['caption'])})")
        else:
            captions.setdefault(entry["image_id"], []).append(entry["caption"])


def _identified(entry: Any, key: str) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get(key), (int, str))
