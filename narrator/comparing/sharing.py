"""A comparison as a file and as a link, and back: texts, figures, settings, seed and, if wished, the picture itself.

A link carries all of it behind its `#`, so that no server sees or keeps it until somebody opens it. What comes from
outside is a stranger's: sizes are bounded before anything is unpacked, every value is checked, and nothing in it names
a file or an address that would be opened.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from narrator.comparing.records import LEAST, MOST, SCORES, STATES, Comparison, Result
from narrator.comparing.running import checked_prompt, checked_references
from narrator.knobs import build
from narrator.pictures import MAX_FILE_BYTES, Source, open_picture, picture_bytes, picture_sha256
from narrator.records import NarratorError
from narrator.rows import BadRow, load_json
from narrator.settings import GenerationSettings

if TYPE_CHECKING:
    from PIL.Image import Image

FORMAT = "visual-narrator-comparison"
MAX_BYTES = MAX_FILE_BYTES  # of a file; also of what a link unpacks to
MAX_LINK = 200_000  # characters
MAX_TEXT = 20_000  # characters of a text
EXACT_PIXELS = 2_500_000  # a picture of at most so many is kept as it is (PNG), a larger one made smaller (JPEG)
LONG_SIDE, LINK_SIDE = 2048, 320  # pixels
_KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
_NUMBERS = ("first_token_s", "total_s", "adjective_density", "confidence", "tokens", "words", "memory_bytes")
_STATED = [field.name for field in dataclasses.fields(Result)]


def with_picture(comparison: Comparison, source: Source | None, *, small: bool = False) -> Comparison:
    """The same with its picture: exact up to EXACT_PIXELS, else, or when `small` (for a link), made smaller; nothing
    but its pixels. Raises NarratorError where it cannot be opened."""
    if source is None:
        return dataclasses.replace(comparison, picture=None)
    return dataclasses.replace(comparison, picture=_packed(open_picture(source), small))


def exact(comparison: Comparison) -> bool:
    """Whether the picture in the comparison is, pixel by pixel, the one that was described."""
    picture = comparison.picture
    return picture is not None and picture_sha256(open_picture(picture)) == comparison.image_sha256


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as programs read it."""
    results = [{**dataclasses.asdict(one), "tokens_per_s": one.tokens_per_s, "shares": list(one.shares)}
               for one in comparison.results]
    return {"format": FORMAT, "version": 1, "created": comparison.created, "prompt": comparison.prompt,
            "image_sha256": comparison.image_sha256, "references": list(comparison.references), "results": results,
            "picture": picture_data_url(comparison.picture) or None}


def as_text(comparison: Comparison) -> str:
    """The same as the text of a file."""
    return json.dumps(as_json(comparison), ensure_ascii=False, indent=1) + "\n"


def from_text(text: bytes | str, where: str) -> Comparison:
    """A comparison from the text of a file. Raises NarratorError that begins with `where` for anything else."""
    if len(text) > MAX_BYTES:
        raise NarratorError(f"{where} is larger than {MAX_BYTES // 2**20} MB, so it is no saved comparison.")
    try:
        values = load_json(text, where)
    except BadRow as error:
        raise NarratorError(f"{error}. Choose a file that was saved with Save data (.json).") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise NarratorError(f"{where} is no saved comparison. Choose a file that was saved with Save data (.json).")
    return _comparison(values, where)


def to_link(comparison: Comparison) -> str:
    """What stands behind `#compare=` in a link."""
    packed = zlib.compress(json.dumps(as_json(comparison), ensure_ascii=False, separators=(",", ":")).encode(
        errors="replace"), 9)
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def from_link(payload: str) -> Comparison:
    """And back. Raises NarratorError for a link that is damaged, cut short or too long."""
    broken = NarratorError("This link to a comparison is damaged or cut short: ask for it again, or for the file.")
    if len(payload) > MAX_LINK:
        raise broken
    try:
        packed = base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(packed, MAX_BYTES)
    except (binascii.Error, zlib.error, ValueError):
        raise broken from None
    if not unpacking.eof:  # cut short, or a bomb
        raise broken
    return from_text(text, "This link")


def picture_data_url(picture: bytes | None) -> str:
    """A picture of a comparison for an <img>, "" for none."""
    kind = next((kind for start, kind in _KINDS.items() if picture and picture.startswith(start)), None)
    return f"data:image/{kind};base64,{base64.b64encode(picture or b'').decode('ascii')}" if kind else ""


def _packed(picture: Image, small: bool) -> bytes:
    if not small and picture.width * picture.height <= EXACT_PIXELS:
        return picture_bytes(picture, "PNG")
    side = LINK_SIDE if small else LONG_SIDE
    picture.thumbnail((side, side))
    if not small:
        return picture_bytes(picture, "JPEG")
    import io

    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70, optimize=True)
    return file.getvalue()


def _comparison(values: Mapping[str, Any], where: str) -> Comparison:
    results, references = values.get("results"), values.get("references") or []
    if not isinstance(results, list) or not LEAST <= len(results) <= MOST:
        raise NarratorError(f"{where}: a comparison has {LEAST} to {MOST} results.")
    if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
        raise NarratorError(f"{where}: 'references' must be a list of texts.")
    sha256 = values.get("image_sha256")
    if sha256 is not None and not (isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)):
        raise NarratorError(f"{where}: 'image_sha256' must be 64 hexadecimal digits.")
    return Comparison(
        created=_text(values, "created", where, 40), prompt=checked_prompt(_text(values, "prompt", where, MAX_TEXT)),
        image_sha256=sha256, references=checked_references(references),
        results=tuple(_result(one, f"{where}, result {number}") for number, one in enumerate(results, start=1)),
        picture=_picture(values.get("picture"), where))


def _result(values: Any, where: str) -> Result:
    if not isinstance(values, dict):
        raise NarratorError(f"{where}: must be an object with 'variant', 'settings' and 'text'.")
    texts = {name: _text(values, name, where, most) for name, most in
             (("variant", 200), ("title", 200), ("state", 20), ("text", MAX_TEXT), ("error", 2000),
              ("prompt", MAX_TEXT))}
    if texts["state"] not in STATES or not texts["variant"]:
        raise NarratorError(f"{where}: 'variant' or 'state' is missing or unknown.")
    settings, scores, shares = values.get("settings"), values.get("scores") or {}, values.get("shares") or []
    if not isinstance(settings, dict) or not isinstance(scores, dict) or not isinstance(shares, list):
        raise NarratorError(f"{where}: 'settings' and 'scores' must be objects, 'shares' a list.")
    checked: GenerationSettings = build(GenerationSettings, settings, where)
    told: Result = build(Result, {
        **{name: values[name] for name in _NUMBERS if _number(values.get(name), name, where) is not None}, **texts,
        "title": texts["title"] or texts["variant"], "settings": dataclasses.asdict(checked),
        "shares": [str(name)[:200] for name in shares[:MOST]],
        "scores": {name: float(scores[name]) for name in SCORES if _number(scores.get(name), name, where) is not None},
    }, where)
    return told


def _text(values: Mapping[str, Any], name: str, where: str, most: int) -> str:
    value = values.get(name) or ""
    if not isinstance(value, str) or len(value) > most:
        raise NarratorError(f"{where}: '{name}' must be a text of at most {most:,} characters.")
    return "".join(" " if "\ud800" <= sign <= "\udfff" or sign == "\0" else sign for sign in value)


def _number(value: Any, name: str, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) \
            or not 0 <= value < 10**15:
        raise NarratorError(f"{where}: '{name}' must be a number of at least 0.")
    return float(value)


def _picture(value: Any, where: str) -> bytes | None:
    """The picture in the file, drawn anew from its pixels. An address is no picture."""
    if value is None:
        return None
    head, _, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    if head not in ("data:image/png;base64", "data:image/jpeg;base64"):
        raise NarratorError(f"{where}: 'picture' must be the picture itself, as it was saved; addresses are not read.")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise NarratorError(f"{where}: its picture is damaged; save the comparison again.") from None
    return picture_bytes(open_picture(raw), "PNG" if head.endswith("png;base64") else "JPEG")
