"""Carries an evaluation out: variant by variant, batch by batch, each answer on disk before the next batch begins.

Batches are the same rows however often it was stopped or killed: a batch that was cut short is answered again as a
whole and only the lines that are missing are written. So it ends with the same texts and figures as without.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from narrator.catalog import find_variant
from narrator.engine import shared_engine
from narrator.evaluate import ANSWER, losses_of
from narrator.evaluation.folder import PROBLEMS, STOP, append, ended, running, whole_lines
from narrator.evaluation.making import make_report
from narrator.evaluation.plan import METRICS, RESULTS, Asked, read_plan, read_rows
from narrator.evaluation.report import Report, load_report
from narrator.families import family_class
from narrator.files import write_whole
from narrator.held_out import CLASSES, QUESTIONS
from narrator.narrate import describe_many
from narrator.pictures import open_picture
from narrator.records import NarratorError
from narrator.settings import GenerationSettings

Progress = Callable[[int, int], None]  # rows done, rows in all, of all variants together
STOPPED = "Stopped. What is done is kept; resume to go on."


class _Stopped(Exception):
    """Somebody wished it to end."""


def run(folder: Path, progress: Progress | None = None, stop: threading.Event | None = None) -> Report | None:
    """Carry the evaluation out from where it stands, and make its report; None when it was stopped.

    A variant that cannot run is named in the report, the others go on. Raises NarratorError where none can, where it is
    run already, and for a damaged folder; KeyboardInterrupt leaves it resumable.
    """
    folder = Path(folder)
    if (folder / METRICS).is_file():
        return load_report(folder)
    plan, _ = read_plan(folder)
    with running(folder):
        try:
            work = _Work(folder=folder, settings=plan.settings, batch_size=plan.batch_size, rows=read_rows(folder),
                         progress=progress, stop=stop)
            problems = work.answer_all(plan.variants)
            make_report(folder, problems, work.check)
        except _Stopped:
            ended(folder, "stopped", STOPPED)
            return None
        except KeyboardInterrupt:
            ended(folder, "stopped", STOPPED)
            raise
        except NarratorError as error:
            ended(folder, "failed", str(error))
            raise
    return load_report(folder)


@dataclasses.dataclass(kw_only=True)
class _Work:
    """The answers of an evaluation. batch: number of the batch, counted over all variants."""

    folder: Path
    settings: GenerationSettings
    batch_size: int
    rows: Sequence[Asked]
    progress: Progress | None
    stop: threading.Event | None
    done: dict[str, set[int]] = dataclasses.field(default_factory=dict)

    def answer_all(self, variants: Sequence[str]) -> dict[str, str]:
        """Answer what is missing. Returns why a variant could not run; NarratorError where none could."""
        for line in whole_lines(self.folder / RESULTS):
            self.done.setdefault(str(line.get("variant")), set()).add(int(line.get("row", -1)))
        problems: dict[str, str] = {}
        for variant_id in variants:
            try:
                self._variant(variant_id, variants)
            except NarratorError as error:
                problems[variant_id] = str(error)
                write_whole(self.folder / PROBLEMS, json.dumps(problems) + "\n")
        if not any(self.done.get(name) for name in variants):
            raise NarratorError(next(iter(problems.values()), "There was nothing to measure."))
        return problems

    def check(self) -> None:
        """Raise _Stopped where somebody wished it to end."""
        if (self.stop is not None and self.stop.is_set()) or (self.folder / STOP).exists():
            raise _Stopped

    def _variant(self, variant_id: str, variants: Sequence[str]) -> None:
        done = self.done.setdefault(variant_id, set())
        find_variant(variant_id, shared_engine().checkpoints)
        loaded = False
        for start in range(0, len(self.rows), self.batch_size):
            batch = self.rows[start:start + self.batch_size]
            missing = [row for row in batch if row.line not in done]
            if missing:
                self.check()
                if not loaded:  # before the clock starts
                    with shared_engine().use(variant_id):
                        loaded = True
                lines = _answered(variant_id, batch, self.settings)
                shared = {"batch": start // self.batch_size, "memory": _memory()}
                append(self.folder / RESULTS, [{**lines[row.line], **shared} for row in missing])
                done.update(row.line for row in missing)
            if self.progress:
                self.progress(sum(len(self.done.get(name, ())) for name in variants), len(self.rows) * len(variants))


def _answered(variant_id: str, rows: Sequence[Asked], settings: GenerationSettings) -> dict[int, dict[str, Any]]:
    """What the variant says to the rows of a batch, by their lines. seconds: of a row, its share of the batch."""
    started = time.perf_counter()
    lines: dict[int, dict[str, Any]] = {}
    told = [row for row in rows if row.task == CLASSES]
    if told:
        lines |= _judged(variant_id, told)
    for asks in (False, True):  # questions are answered shortly
        part = [row for row in rows if row.task != CLASSES and (row.task == QUESTIONS) == asks]
        lines |= _said(variant_id, part, dataclasses.replace(settings, **ANSWER) if asks else settings)
    seconds = (time.perf_counter() - started) / len(rows)
    _add_losses(variant_id, [row for row in rows if row.answer], lines)
    return {line: {"variant": variant_id, "row": line, "seconds": seconds, **values} for line, values in lines.items()}


def _said(variant_id: str, rows: Sequence[Asked], settings: GenerationSettings) -> dict[int, dict[str, Any]]:
    lines: dict[int, dict[str, Any]] = {}
    described = describe_many(variant_id, [row.image for row in rows], [row.prompt for row in rows], settings=settings,
                              batch_size=max(1, len(rows)))
    for row, result in zip(rows, described, strict=True):
        if isinstance(result, NarratorError):
            lines[row.line] = {"error": _told(row, result)}
        else:
            lines[row.line] = {"text": result.text, "tokens": result.tokens, "confidence": result.confidence}
    return lines


def _judged(variant_id: str, rows: Sequence[Asked]) -> dict[int, dict[str, Any]]:
    """The chances of the classes, and the nats of a picture token. Raises NarratorError for one that tells none."""
    lines: dict[int, dict[str, Any]] = {}
    pictures, good = [], []
    for row in rows:
        try:
            assert row.image is not None and row.label is not None  # that made it a row of CLASSES
            pictures.append((open_picture(row.image), row.label))
            good.append(row)
        except NarratorError as error:
            lines[row.line] = {"error": _told(row, error)}
    if not good:
        return lines
    with shared_engine().use(variant_id) as family:
        if not hasattr(family, "judge"):
            raise NarratorError(f"{variant_id} tells no classes, and the rows have labels: take a model that reads "
                                "digits, or give rows with captions.")
        told = family.judge(pictures, lambda done, total: None)
    for row, chances, nats in zip(good, told.chances, told.nats, strict=True):
        lines[row.line] = {"text": str(int(chances.argmax())), "tokens": 1, "confidence": float(chances.max()),
                           "chances": [float(chance) for chance in chances], "nats": float(nats)}
    return lines


def _add_losses(variant_id: str, rows: Sequence[Asked], lines: dict[int, dict[str, Any]]) -> None:
    """Put the loss of known answers to their lines, where the variant can tell it."""
    asked = [row for row in rows if "error" not in lines[row.line]]
    if asked and hasattr(family_class(find_variant(variant_id).family), "answer_losses"):
        found = losses_of(variant_id, asked, lambda steps: lambda done, total: None)
        for row in asked:
            lines[row.line]["losses"] = [float(value) for value in found[row.line]]


def _told(row: Asked, error: NarratorError) -> str:
    """Why a row failed; where its picture lies is nobody's business on a page that serves several people."""
    return str(error).replace(str(row.image), row.image.name if isinstance(row.image, Path) else "")


def _memory() -> int:
    """Bytes: what the graphics card had allocated at its peak where there is one, else the process's resident
    memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
