"""Pictures that show a class: an .npz with `images` and `labels`, or a folder with a folder of pictures for each class.

The .npz holds images (N, S, S) uint8 and labels (N,), whole numbers from 0; a folder given with a split holds
`<split>.npz`, or the class folders 0, 1, 2 ... below a folder of that name.
"""

import dataclasses
import zipfile
import zlib
from pathlib import Path

import numpy as np

from narrator.pictures import open_picture
from narrator.readers.rows import PICTURES
from narrator.records import Example, NarratorError

CLASSES = 10
_DAMAGED = (OSError, ValueError, EOFError, TypeError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Digit(Example):
    """An Example whose picture stands in an array: `pixels`, (S, S) uint8, bright on dark."""

    pixels: np.ndarray


def read_digits(path: Path, split: str | None = None) -> list[Example]:
    """The examples of a file or folder, in its order; each has a label, and pixels or the path of a picture.

    Raises NarratorError that names the file for what cannot be used.
    """
    path = Path(path)
    if path.is_dir() and split is not None:
        archive = path / f"{split}.npz"
        path = archive if archive.is_file() else path / split
    if path.is_dir():
        return _of_folders(path)
    if path.suffix.lower() != ".npz" or not path.is_file():
        raise NarratorError(f"There are no pictures with classes at {path}. Name an .npz with 'images' and 'labels', "
                            "or a folder with the folders 0, 1, 2 ... of pictures.")
    images, labels = _arrays(path)
    return [Digit(image=None, texts=(str(label),), label=int(label), pixels=image)
            for image, label in zip(images, labels, strict=True)]


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as found:
            images, labels = found["images"], found["labels"]
    except KeyError:
        raise NarratorError(f"{path} lacks 'images' or 'labels'. Save both in it.") from None
    except _DAMAGED as error:
        raise NarratorError(f"{path} cannot be read as .npz ({error}). Get it or save it again.") from None
    if images.ndim != 3 or images.shape[1] != images.shape[2] or images.dtype != np.uint8 or not len(images):
        raise NarratorError(f"{path}: 'images' must be square grey pictures, (N, S, S) uint8, not {images.shape} "
                            f"{images.dtype}.")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise NarratorError(f"{path}: 'labels' must be one whole number for each of the {len(images)} pictures, not "
                            f"{labels.shape} {labels.dtype}.")
    if int(labels.min()) < 0 or int(labels.max()) >= CLASSES:
        raise NarratorError(f"{path}: a label is between 0 and {CLASSES - 1}, not {labels.min()} to {labels.max()}.")
    return images, labels


def _of_folders(folder: Path) -> list[Example]:
    """Every picture of the class folders, each looked at."""
    examples: list[Example] = []
    for label in range(CLASSES):
        for picture in sorted((folder / str(label)).glob("*")):
            if picture.suffix.lower() in PICTURES and not picture.name.startswith("."):
                try:
                    open_picture(picture)
                except NarratorError as error:
                    raise NarratorError(f"{picture}: {error}") from None
                examples.append(Example(image=picture, texts=(str(label),), label=label))
    if not examples:
        raise NarratorError(f"{folder} holds no pictures in folders named 0 to {CLASSES - 1}. Put them there by class.")
    return examples
