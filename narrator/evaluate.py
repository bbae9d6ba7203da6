"""Measure a variant on captioned photographs: rows of a JSONL file -> descriptions -> a MetricReport."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from narrator.metrics.scores import caption_scores
from narrator.narrate import BATCH, describe_many
from narrator.records import MetricReport, NarratorError
from narrator.settings import GenerationSettings

Progress = Callable[[int, int], None]  # pictures done, pictures in all
log = logging.getLogger(__name__)  # bad rows are named here; without a handler Python writes them on stderr


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the file: where it stands, the picture, what people wrote about it."""

    line: int
    image: Path
    split: str
    captions: tuple[str, ...]


def evaluate(variant_id: str, data: Path, *, split: str | None = None, limit: int | None = None,
             settings: GenerationSettings | None = None, batch_size: int = BATCH,
             progress: Progress | None = None) -> MetricReport:
    """Describe the photographs of `data` and score the descriptions (narrator.metrics.scores).

    data: JSONL, a row {"image": path relative to the file, "captions": [text, ...], "split": name}; `split` takes only
    the rows of that name, `limit` the first so many of those. A row or picture that cannot be used is named in the log
    with its line and reason, and left out of `n`. Raises NarratorError when none is left or the variant cannot run.
    """
    started = time.perf_counter()
    data = Path(data)
    rows = list(itertools.islice(read_rows(data, split), limit))
    if not rows:
        raise NarratorError(_nothing(data, split))
    texts: dict[int, str] = {}
    described = describe_many(variant_id, (row.image for row in rows), settings=settings, batch_size=batch_size)
    for done, (row, result) in enumerate(zip(rows, described, strict=True), start=1):
        if isinstance(result, NarratorError):
            log.warning("%s, line %d: %s", data, row.line, result)
        else:
            texts[row.line] = result.text
        if progress:
            progress(done, len(rows))
    if not texts:
        raise NarratorError(f"{data}: not one of {len(rows)} pictures could be described; see the reasons above.")
    if len(texts) < len(rows):
        log.warning("%s: %d of %d pictures are left out of the scores.", data, len(rows) - len(texts), len(rows))
    scores = caption_scores({row.line: row.captions for row in rows if row.line in texts}, texts)
    return MetricReport(variant_id=variant_id, data=str(data), n=len(texts), scores=scores,
                        seconds=time.perf_counter() - started)


def read_rows(data: Path, split: str | None = None) -> Iterator[Row]:
    """The usable rows of a JSONL file, of one split or of all; others are named in the log. Raises NarratorError."""
    for line, text in _lines(data):
        try:
            row = _row(line, text, data.parent)
        except NarratorError as error:
            log.warning("%s, line %d: %s", data, line, error)
            continue
        if split is None or row.split == split:
            yield row


def _lines(data: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line that is not blank."""
    try:
        with data.open(encoding="utf-8-sig") as file:
            yield from ((line, text) for line, text in enumerate(file, start=1) if text.strip())
    except OSError as error:
        raise NarratorError(f"{data} cannot be read ({error.strerror}): check its name and permissions.") from None
    except UnicodeDecodeError:
        raise NarratorError(f"{data} is not UTF-8 text: give a JSONL file, one JSON object a line.") from None


def _row(line: int, text: str, folder: Path) -> Row:
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise NarratorError("not JSON; the row is left out.") from None
    if not isinstance(values, dict):
        raise NarratorError("not a JSON object with image and captions; the row is left out.")
    image, captions, split = values.get("image"), values.get("captions"), values.get("split")
    if not isinstance(image, str) or not image:
        raise NarratorError("no 'image'; the row is left out.")
    if not isinstance(captions, list) or not all(isinstance(one, str) and one.strip() for one in captions or [None]):
        raise NarratorError("'captions' must be a list of texts; the row is left out.")
    return Row(line=line, image=folder / image, split=str(split or ""), captions=tuple(captions))


def _nothing(data: Path, split: str | None) -> str:
    """Why there is no row to use, in a sentence."""
    quiet = log.level
    log.setLevel(logging.CRITICAL)  # the bad rows have been named already
    try:
        found = collections.Counter(row.split or "no split" for row in read_rows(data))
    finally:
        log.setLevel(quiet)
    if split is None or not found:
        return f"{data} has no usable row; each line must hold an object with image and captions."
    known = ", ".join(f"{name} ({count})" for name, count in found.items())
    return f"{data} has no row of split '{split}'; it has: {known}."
