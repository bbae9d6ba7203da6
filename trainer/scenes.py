"""Scenes: what a text is about, kept whole on one side of a split, and sorted into a few types by their words.

A scene is a picture, or what rows of text name as theirs: 'scene', else 'image_id', else what the prompt asks about.
All captions and templates of a scene stay together, for rows of one scene on both sides let a model be measured on what
it has seen.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from narrator.metrics.tokenize import ptb_tokens
from narrator.readers.gathering import read_examples, to_stderr
from narrator.readers.rows import BadRow, check_text, check_texts, lines, load_json, show
from narrator.records import Example, NarratorError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A row of data: what it is about, its texts, and its prompt where the row has one of its own."""

    key: str  # the same for all rows of a scene
    texts: tuple[str, ...]
    prompt: str = ""


def read_scenes(path: Path, *, split: str | None, strict: bool = False, bad: list[BadRow] | None = None
                ) -> list[Scene]:
    """The rows of any format that narrator.readers has, pictures and their captions, and of JSON lines of text alone:
    {"prompt": ..., "caption": ..., "scene": ...}.

    strict: the first bad row raises NarratorError; otherwise bad rows are reported and left out. bad: takes up the bad
    rows of text alone, which are not reported then. Raises NarratorError when nothing can be used.
    """
    if text_alone(path):
        return _read_text(path, split, strict, bad)
    folder = path if path.is_dir() else path.parent
    return [Scene(key=picture_key(example, folder), texts=example.texts, prompt=example.prompt)
            for example in read_examples(path, split=split, strict=strict)]


def split_scenes(scenes: Sequence[Scene], held_out: float, elsewhere: Sequence[Scene] = ()
                 ) -> tuple[list[Scene], list[Scene]]:
    """(to learn from, held out): the share `held_out` of the scenes, chosen by the hash of their keys, so that it stays
    the same when rows come or move. A scene that shares a text with `elsewhere`, which is learned from, is not held
    out: it may be the same picture under another name."""
    learned = {text.casefold() for scene in elsewhere for text in scene.texts}
    shared = {scene.key for scene in scenes if any(text.casefold() in learned for text in scene.texts)}
    held = {scene.key for scene in scenes if fraction(scene.key) < held_out} - shared
    return [scene for scene in scenes if scene.key not in held], [scene for scene in scenes if scene.key in held]


def check_disjoint(learned: Sequence[Scene], held: Sequence[Scene]) -> None:
    """Raise NarratorError that names a scene which stands on both sides."""
    both = sorted({scene.key for scene in learned} & {scene.key for scene in held})
    if both:
        more = f" and {len(both) - 1:,} more" if len(both) > 1 else ""
        raise NarratorError(f"The scene {both[0]!r}{more} is both learned from and held out, so the scores would say "
                            "nothing. Split by scene: name the file without a split on both sides ('held_out' is the "
                            "share), or mend its 'split'.")


def text_alone(path: Path) -> bool:
    """Whether the first row is of JSON lines that name no picture, but a scene or an image_id."""
    if path.suffix.lower() != ".jsonl" or not path.is_file():
        return False
    first = next((line for _, line in lines(path) if line and line.strip()), b"")
    try:
        row = load_json(first, "")
    except BadRow:
        return False
    return isinstance(row, dict) and "image" not in row and bool({"scene", "image_id", "prompt"} & set(row))


def _read_text(path: Path, split: str | None, strict: bool, kept: list[BadRow] | None) -> list[Scene]:
    found: list[Scene] = []
    bad: list[BadRow] = [] if kept is None else kept
    splits: dict[str, str] = {}
    for number, line in lines(path):
        try:
            found += _rows(line, f"{path}, line {number}", path.parent.name, split, splits)
        except BadRow as error:
            if strict:
                raise NarratorError(f"{error}. Mend it, or leave --strict out to skip such rows.") from None
            bad.append(error)
    report = to_stderr if kept is None else lambda message: None
    for row in bad[:20]:
        report(f"Skipped: {row}.")
    if not found:
        reason = str(bad[0]) if bad else f"it has no row{f' of split {split!r}' if split else ''}"
        raise NarratorError(f"Nothing in {path} can be used: {reason}. Mend this and try again.")
    report(f"{path}: {len(found):,} rows of {len({scene.key for scene in found}):,} scenes; "
              f"{len(bad):,} bad rows skipped.")
    return found


def _rows(line: bytes | None, where: str, folder: str, split: str | None, splits: dict[str, str]) -> Iterator[Scene]:
    """The scene of a line, if it is of the split. folder: the data set's name; splits: scene -> its split so far."""
    if line is None:
        raise BadRow(where, "is too long for a row of data")
    if not line.strip():
        return
    row = load_json(line, where)
    if not isinstance(row, dict):
        raise BadRow(where, f"must be a JSON object, not {show(row)}")
    texts = row["captions"] if "captions" in row else [row["caption"]] if "caption" in row else None
    if texts is None:
        raise BadRow(where, "has no 'caption' or 'captions'")
    prompt = check_text(row["prompt"], "'prompt'", where) if row.get("prompt") else ""
    scene = Scene(key=_key(row, prompt, folder, where), texts=check_texts(texts, where), prompt=prompt)
    own = str(row.get("split") or "")
    if splits.setdefault(scene.key, own) != own:
        raise BadRow(where, f"scene {show(scene.key)} is in split {show(own)} here and in split "
                            f"{show(splits[scene.key])} above")
    if split is None or own == split:
        yield scene


def picture_key(example: Example, folder: Path) -> str:
    """Of a picture its place below its data set, with the set's name; of captions alone their beginning."""
    if example.image is None:
        return " / ".join(example.texts)[:80]
    return f"{folder.name}/{Path(os.path.relpath(example.image, os.path.realpath(folder))).as_posix()}"


def _key(row: dict[str, Any], prompt: str, folder: str, where: str) -> str:
    """'scene' as written, or 'image_id' of this data set; else the prompt's subject: what follows its colon, without
    articles."""
    for name, before in (("scene", ""), ("image_id", f"{folder}/")):
        if isinstance(row.get(name), (str, int)) and str(row[name]).strip():
            return before + " ".join(str(row[name]).split())
    words = [word for word in ptb_tokens(prompt.partition(":")[2] or prompt) if word not in ("a", "an", "the")]
    if not words:
        raise BadRow(where, "names no scene: add the field 'scene'")
    return " ".join(words)


def fraction(key: str) -> float:
    """A number in 0..1 that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64
