"""Bad and odd input, in tables, each row with what has to be said: test_bad_input.py sweeps them through every door."""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from serving import PICTURES

from narrator.narrate import ALMOST_EMPTY

CAT = PICTURES / "cat.jpg"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Odd:
    """A file that is not as usual. `says`: words of the answer; `taken`: the answer is a description, no refusal."""

    name: str
    make: Callable[[], bytes]
    says: str = ""
    taken: bool = False

    def write(self, folder: Path) -> Path:
        """The file, in `folder`."""
        path = folder / self.name
        path.write_bytes(self.make())
        return path


def cat() -> Image.Image:
    """A small photograph: what is odd about it has to be the kind of file alone."""
    with Image.open(CAT) as picture:
        return picture.convert("RGB").resize((96, 64))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of that kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def cut_short() -> bytes:
    whole = CAT.read_bytes()
    return whole[:len(whole) // 3]


def bomb() -> bytes:
    """A PNG of a hundred bytes whose header claims 30,000 x 30,000 pixels (PNG specification, 11.2.1)."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (30_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def animated() -> bytes:
    return saved(cat(), "GIF", save_all=True, append_images=[Image.new("RGB", (96, 64), "red")] * 2)


def deep() -> bytes:
    """16 bits a pixel."""
    return saved(Image.fromarray(np.asarray(cat().convert("L")).astype(np.uint16) * 257), "PNG")


def clear_palette() -> bytes:
    return saved(cat().quantize(64), "PNG", transparency=0)


FILES = [
    Odd(name="letter.jpg", make=lambda: b"%PDF-1.7\n1 0 obj\n", says="not a picture (it starts with %PDF)"),
    Odd(name="cut.jpg", make=cut_short, says="This JPEG file is damaged or cut short"),
    Odd(name="empty.jpg", make=lambda: b"", says="This file is empty (0 bytes)"),
    Odd(name="bomb.png", make=bomb, says="more than 100 million pixels"),
    Odd(name="phone.heic", make=lambda: b"\0\0\0\x18ftypheic" + bytes(40), says="a HEIC picture"),
    Odd(name="drawing.svg", make=lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", says="an SVG drawing"),
    Odd(name="note.txt", make=lambda: b"Hello there", says="not a picture (it starts with Hell)"),
    Odd(name="page.gif", make=lambda: b"<html><script>alert(1)</script>", says="not a picture"),
    Odd(name="dot.png", make=lambda: saved(Image.new("RGB", (1, 1), "red"), "PNG"), says=ALMOST_EMPTY, taken=True),
    Odd(name="animated.gif", make=animated, taken=True),
    Odd(name="cmyk.jpg", make=lambda: saved(cat().convert("CMYK"), "JPEG"), taken=True),
    Odd(name="deep.png", make=deep, taken=True),
    Odd(name="clear.png", make=clear_palette, taken=True),
]

# Variants that cannot describe, of those that serving.write_variants makes -> words of the sentence that says why.
VARIANTS = {
    "tiny-captoner": "There is no variant 'tiny-captoner'. Did you mean 'tiny-captioner'?",  # unknown
    "damaged": "is not valid YAML",  # damaged manifest
    "half-gone": "model-00002-of-00002.safetensors are missing",  # missing weights
}

MARK = {"_type": "gradio.FileData"}  # with it, Gradio resolves a path by itself before our own code sees it

# Pictures that a client may name, and none of which was uploaded -> words of the refusal. UPLOADS: the upload folder.
NOT_UPLOADED: list[tuple[str, Any, str]] = [
    ("a file of the server", {"path": "/etc/passwd"}, "not uploaded"),
    ("a bare path", "/etc/passwd", "not uploaded"),
    ("an example of ours, by its path", {"path": str(CAT)}, "not uploaded"),
    ("dots", {"path": "UPLOADS/../log.txt"}, "not uploaded"),
    ("a symbolic link out of the folder", {"path": "UPLOADS/link.jpg"}, "not uploaded"),
    ("a NUL", {"path": "a\0b"}, "not uploaded"),
    ("a list as a path", {"path": ["/etc/passwd"]}, "not uploaded"),
    ("a web address", {"path": "http://127.0.0.1:9/cat.jpg"}, "web addresses are not read"),
    ("an address and no path", {"url": "http://127.0.0.1:9/cat.jpg"}, "give it one first"),
    ("no picture", None, "give it one first"),
    ("with Gradio's own mark", {"path": "/etc/passwd", "meta": MARK}, ""),
]
