"""For the tests of what the trainer reads: pictures on disk, and a report that nobody reads."""

from pathlib import Path

from PIL import Image


def picture(path: Path) -> Path:
    """A small picture at `path`, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (200, 10, 10)).save(path)
    return path


def picture_set(parent: Path) -> Path:
    """A folder with pictures a.png and images/b.jpg, and one picture outside it."""
    inside = parent / "set"
    picture(inside / "a.png")
    picture(inside / "images" / "b.jpg")
    picture(parent / "outside.png")
    return inside


def silent(message: str) -> None:
    """A report that nobody reads."""
