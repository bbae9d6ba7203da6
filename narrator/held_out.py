"""Rows to measure on: JSON lines that say what is asked, and what people answered.

What a row holds says what is measured:

| row | measured |
| --- | --- |
| image, captions (or caption, or references); prompt, if asked with one | how close the description comes to them |
| prompt, references; answer and max_tokens, if its loss is wanted | the loss of `answer`, variety, likeness |
| image, prompt, kind, references | share of the questions of each kind that are answered so |
| image, label (without captions) | accuracy of the class, calibration, what is left when pictures are exchanged |

Each may have a split and an id. Pictures are named relative to the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.records import NarratorError
from narrator.rows import BadRow, Row, check_label, check_prompt, check_split, check_text, check_texts, read_jsonl, show

if TYPE_CHECKING:
    from PIL.Image import Image

CAPTIONS, PROMPTS, QUESTIONS, CLASSES = "captions", "prompts", "questions", "classes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """One thing to be measured on.

    texts: all references. kind: of a question, "" for none. label: the class to be told. answer: the text whose loss is
    measured, "" for none. max_tokens: where prompt and answer are cut while it is, and how far everything is counted.
    line: where it stands in its file, from 1.
    """

    texts: tuple[str, ...]
    image: Path | Image | None = None
    prompt: str = ""
    kind: str = ""
    label: int | None = None
    answer: str = ""
    max_tokens: int | None = None
    split: str = ""
    line: int = 0

    @property
    def task(self) -> str:
        """What is measured on it: CAPTIONS, PROMPTS, QUESTIONS or CLASSES."""
        if self.label is not None:
            return CLASSES
        if self.kind:
            return QUESTIONS
        return CAPTIONS if self.image is not None else PROMPTS

    def written(self, image: str | None, identity: str) -> dict[str, Any]:
        """The row as `read_held_out` reads it, its picture at the path `image`."""
        row = {"id": identity, "split": self.split, "image": image, "prompt": self.prompt, "kind": self.kind,
               "label": self.label, "answer": self.answer, "max_tokens": self.max_tokens}
        given = {name: value for name, value in row.items() if value is not None and value != ""}
        return given | {"captions" if self.task == CAPTIONS else "references": list(self.texts)}


def read_held_out(path: Path, split: str | None = None) -> tuple[list[HeldOut], list[BadRow], list[str]]:
    """(the usable rows of one split or of all, the others, the splits of all usable rows: "" for none).

    Rows with captions of one picture are one, as one picture has one description. Raises NarratorError when the file
    cannot be read.
    """
    found: dict[Any, HeldOut] = {}
    bad: list[BadRow] = []
    splits: list[str] = []
    for place, one in enumerate(_rows(path)):
        if isinstance(one, BadRow):
            bad.append(one)
            continue
        splits.append(one.split)
        if split is None or one.split == split:
            key = (one.image, one.prompt) if one.task == CAPTIONS else place
            known = found.get(key)
            found[key] = dataclasses.replace(known, texts=known.texts + one.texts) if known else one
    return list(found.values()), bad, splits


def _rows(path: Path) -> Iterator[HeldOut | BadRow]:
    if path.is_dir():
        raise NarratorError(f"{path} is a folder: name a JSONL file in it, with a JSON object a line.")
    for row in read_jsonl(path):
        try:
            yield row if isinstance(row, BadRow) else _held_out(row, path.parent)
        except BadRow as bad:
            yield bad


def _held_out(row: Row, folder: Path) -> HeldOut:
    """The row, checked. Raises BadRow."""
    prompt, kind, answer = check_prompt(row), _text(row, "kind"), _text(row, "answer")
    label = None if row.fields.keys() & {"captions", "caption"} else check_label(row)  # else a class beside captions
    if row.image is None and (label is not None or not prompt):
        raise BadRow(row.where, f"has no 'image'{'' if label is not None else ' and no prompt'}")
    if row.image is not None and (not isinstance(row.image, str) or not row.image.strip()):
        raise BadRow(row.where, f"'image' must be the path of a picture, not {show(row.image)}")
    if kind and not prompt:
        raise BadRow(row.where, "has a 'kind' and no 'prompt': what is asked?")
    return HeldOut(texts=check_texts(row.texts, row.where), prompt=prompt, kind=kind, label=label, answer=answer,
                   image=None if row.image is None else folder / row.image, max_tokens=_tokens(row),
                   split=check_split(row) or "", line=int(row.where.rpartition(" ")[2]))


def _text(row: Row, name: str) -> str:
    value = row.fields.get(name)
    return "" if value is None else check_text(value, f"'{name}'", row.where)


def _tokens(row: Row) -> int | None:
    value = row.fields.get("max_tokens")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= 65536):
        return value
    raise BadRow(row.where, f"'max_tokens' must be a whole number from 2 to 65,536, not {show(value)}")
