"""Pictures at the door: opened safely as RGB, or refused in a sentence; and whether there is anything on them."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from narrator.records import NarratorError

Source = Path | str | bytes | BinaryIO | Image.Image
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # the only decoders that ever see a file
MAX_FILE_BYTES = 20 * 2**20  # also the page's upload limit
MAX_PIXELS = 100_000_000
MIN_SIDE = 8  # pixels: below it nothing can be told
UNIFORM_RANGE = 24.0  # of 255, between the lightest and the darkest cell; the least of 9,059 photographs has 102
NOISE_RESEMBLANCE = 0.165  # noise in grains of 8 px on 224 reaches 0.163; 9,059 photographs begin at 0.138
NOISE_COARSE = 0.2  # the same noise reaches 0.19; photographs that resemble themselves so little begin at 0.201
NOISE_SPREAD = 0.1  # noise rarely goes below 0.3; a small thing on a plain ground has 0
USE = "Use JPEG, PNG, WebP, GIF, BMP or TIFF."

# What Pillow's decoders raise on damaged files; its own list is not documented, so these come from its sources.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError,
                   ZeroDivisionError, AttributeError, struct.error)
_PICTURE_STARTS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF",
                   b"MM\0*": "TIFF"}


def open_picture(source: Source) -> Image.Image:
    """The picture as a new RGB image, upright (EXIF), its first frame, transparency on white.

    source: a path, the bytes of a file, an open binary file, or a PIL image. 16-bit greyscale is scaled to 8 bits.
    Raises NarratorError for what is missing, empty, too large, damaged or no picture of `FORMATS`.
    """
    if isinstance(source, Image.Image):
        return _as_rgb(source)
    data = _read(source)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _as_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels() from None
    except MemoryError:
        raise NarratorError("There is not enough memory to open this picture; make it smaller first.") from None
    except _DECODER_ERRORS:
        raise _refusal(data) from None


def picture_sha256(picture: Image.Image) -> str:
    """Hex SHA-256 of the RGB pixels, row by row."""
    return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()


def picture_kind(name: str) -> str:
    """The one of `FORMATS` that a file's name ends like. Raises NarratorError for any other ending."""
    kind = Image.registered_extensions().get(Path(name).suffix.lower())
    if kind not in FORMATS:
        raise NarratorError(f"{name} does not end like a picture: let it end in .png, .jpg, .webp, .gif, .bmp or .tif.")
    return kind


def picture_bytes(picture: Image.Image, kind: str) -> bytes:
    """The picture as a file of a kind of `FORMATS`, with nothing but its pixels."""
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


def picture_url(picture: Image.Image, kind: str = "PNG") -> str:
    """The picture as a data URL."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(picture_bytes(picture, kind)).decode('ascii')}"


def almost_empty(picture: Image.Image) -> bool:
    """Whether there is next to nothing to describe: smaller than 8 pixels, (nearly) one colour, or noise.

    Looked at in 64 x 64 cells. Of 9,059 photographs (Flickr8k and COCO) none is called empty: their lightest and
    darkest cells are 102 levels apart or more, and none is below both limits of noise. Of noise (uniform, Gaussian,
    binary, salt and pepper, grey and coloured) 98 to 100 % is caught, in grains up to 1/28 of the picture's side.
    A gradient is no empty picture, for a sky looks like one; noise that is strongest in its coarse waves (1/f) looks
    like a photograph to these figures.
    """
    if min(picture.size) < MIN_SIDE:
        return True
    cells = np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX), dtype=np.float32)  # (64, 64, 3)
    if float(np.ptp(cells, axis=(0, 1)).max()) < UNIFORM_RANGE:
        return True
    resemblance, coarse, spread = noise_figures(cells)
    return resemblance < NOISE_RESEMBLANCE and coarse < NOISE_COARSE and spread > NOISE_SPREAD


def noise_figures(cells: np.ndarray) -> tuple[float, float, float]:
    """How unlike noise a picture of 64 x 64 cells is; `cells` (64, 64, 3), not all equal.

    resemblance: the greatest circular autocorrelation (all channels) at 5 cells' distance or more; a scene, a page of
    text or a pattern resembles itself elsewhere, noise nowhere. coarse: the share of the energy in waves longer than a
    fifth of the side; white noise has 0.02. spread: the energy of the 10th percentile of 8 x 8 regions by the mean
    one; noise is everywhere, a bird in a clear sky is not.
    """
    cells = cells - cells.mean(axis=(0, 1))
    power = (np.abs(np.fft.fft2(cells, axes=(0, 1))) ** 2).sum(axis=2)  # (64, 64)
    alike = np.fft.ifft2(power).real
    away = np.minimum(np.arange(64), 64 - np.arange(64))  # circular distance, in cells; frequency, in waves a side
    distance = np.maximum(away[:, None], away[None, :])
    energy = (cells**2).sum(axis=2).reshape(8, 8, 8, 8).mean(axis=(1, 3))  # (8, 8)
    return (float(np.abs(alike[distance >= 5]).max() / alike[0, 0]), float(power[distance <= 4].sum() / power.sum()),
            float(np.percentile(energy, 10) / energy.mean()))


def _read(source: Path | str | bytes | BinaryIO) -> bytes:
    """All bytes of a file of at most MAX_FILE_BYTES."""
    if isinstance(source, (str, os.PathLike)):
        data = _read_path(Path(source))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        data = source.read(MAX_FILE_BYTES + 1)
    if not data:
        raise NarratorError(f"This file is empty (0 bytes). {USE}")
    if len(data) > MAX_FILE_BYTES:
        raise _too_large()
    return data


def _read_path(path: Path) -> bytes:
    if "\0" in str(path):
        raise NarratorError(f"{ascii(str(path))[:200]} is not the name of a file: check it.")
    try:
        if path.is_dir():
            raise NarratorError(f"{path} is a folder, not a picture: name the files in it.")
        if not path.exists():
            raise NarratorError(f"There is no file {path}: check its name.")
        if not path.is_file():  # a device or a pipe may never end
            raise NarratorError(f"{path} is not an ordinary file. {USE}")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _too_large()
        return path.read_bytes()
    except OSError as error:
        raise NarratorError(f"{path!s:.200} cannot be read ({error.strerror}): check its name and "
                            "permissions.") from None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise _too_many_pixels()
    if image.width == 0 or image.height == 0:
        raise NarratorError(f"This picture has no pixels ({image.width} x {image.height}). {USE}")
    image.load()
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if image.has_transparency_data or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")  # a copy where it is RGB already


def _upright(image: Image.Image) -> Image.Image:
    """EXIF orientation applied; a picture whose EXIF is damaged is taken as it lies."""
    try:
        return ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:
        return image


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """16- and 32-bit greyscale as RGB: 0..65535 -> 0..255; other ranges are stretched from least to greatest."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)  # (height, width)
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        values = values / 257.0
    elif image.mode == "F" and low >= 0 and high <= 1:
        values = values * 255.0
    elif low < 0 or high > 255:
        values = (values - low) * (255.0 / (high - low))
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _too_large() -> NarratorError:
    return NarratorError(f"This file is larger than {MAX_FILE_BYTES // 2**20} MB; make it smaller first.")


def _too_many_pixels() -> NarratorError:
    return NarratorError(f"This picture has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller first.")


def _refusal(data: bytes) -> NarratorError:
    """Why these bytes could not be opened."""
    for start, name in _PICTURE_STARTS.items():
        if data.startswith(start):
            return NarratorError(f"This {name} file is damaged or cut short; get it again or save it anew.")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return NarratorError("This WebP file is damaged or cut short; get it again or save it anew.")
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis"):
        kind = "an AVIF" if data[8:11] == b"avi" else "a HEIC"
        return NarratorError(f"This is {kind} picture, which cannot be opened here. {USE}")
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in head:
        return NarratorError(f"This is an SVG drawing, which cannot be opened here. {USE}")
    return NarratorError(f"This file is not a picture (it starts with {_shown(data)}). {USE}")


def _shown(data: bytes) -> str:
    """The first four bytes for a person: as they are when they are ASCII letters and signs, else in hexadecimal."""
    start = data[:4]
    if all(33 <= byte < 127 for byte in start):
        return start.decode("ascii")
    return "the bytes " + start.hex(" ")
