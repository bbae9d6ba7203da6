"""Karpathy's splits: {"dataset", "images": [{"filename", "filepath", "split", "sentences": [{"raw"}]}]}.

The files are dataset_flickr8k.json, dataset_flickr30k.json and dataset_coco.json of "Deep Visual-Semantic Alignments"
(https://cs.stanford.edu/people/karpathy/deepimagesent/). Its split "restval" counts as train, as in the papers since.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from narrator.readers import coco
from narrator.readers.rows import BadRow, Row, show

FOLDERS = ("Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images", "flickr30k_images")


def is_karpathy(data: Any) -> bool:
    """Whether the loaded JSON has this layout: an image with sentences, and no annotations beside the images."""
    if not isinstance(data, dict) or "annotations" in data or not isinstance(data.get("images"), list):
        return False
    return any(isinstance(entry, dict) and "sentences" in entry for entry in data["images"])


def roots(path: Path) -> list[Path]:
    """Where the pictures of this JSON may lie, nearest first."""
    more = [parent / name for parent in (path.parent, path.parent.parent) for name in FOLDERS]
    return [*coco.roots(path), *(place for place in more if place.is_dir())]


def read(path: Path, data: dict[str, Any]) -> Iterator[Row | BadRow]:
    """A Row for each picture of the loaded `data`, in its order; a BadRow for each entry that cannot be used."""
    for number, entry in enumerate(data["images"], start=1):
        try:
            yield _row(entry, f"{path}, image {number}")
        except BadRow as bad:
            yield bad


def _row(entry: Any, where: str) -> Row:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
        raise BadRow(where, "needs 'filename' and 'sentences'")
    folder = entry.get("filepath", "")
    if not isinstance(folder, str):
        raise BadRow(where, f"'filepath' must be the name of a folder, not {show(folder)}")
    sentences = entry.get("sentences")
    if not isinstance(sentences, list):
        raise BadRow(where, f"'sentences' must be a list, not {show(sentences)}")
    texts = []
    for number, sentence in enumerate(sentences, start=1):
        if not isinstance(sentence, dict) or "raw" not in sentence:
            raise BadRow(where, f"sentence {number} needs 'raw'")
        texts.append(sentence["raw"])
    split = entry.get("split")
    return Row(where=where, image=f"{folder}/{entry['filename']}" if folder else entry["filename"], texts=texts,
               split="train" if split == "restval" else split)
