"""Measure a variant on held-out rows (narrator.held_out): what it says or tells of them -> a MetricReport."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from narrator.catalog import find_variant
from narrator.engine import shared_engine
from narrator.held_out import CAPTIONS, CLASSES, PROMPTS, QUESTIONS, HeldOut, read_held_out
from narrator.narrate import BATCH, describe_many
from narrator.pictures import open_picture
from narrator.records import MetricReport, NarratorError, Score, Variant
from narrator.settings import GenerationSettings

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Progress = Callable[[int, int], None]  # steps done, steps in all: a picture, a prompt, a question
NAMED_BAD_ROWS = 20  # the rest is counted
ANSWER = {"num_beams": 1, "max_new_tokens": 12}  # how questions by kind are answered: their answers are short
log = logging.getLogger(__name__)  # bad rows are named here; without a handler Python writes them on stderr


def evaluate(variant_id: str, data: Path, *, split: str | None = None, limit: int | None = None,
             settings: GenerationSettings | None = None, batch_size: int = BATCH,
             progress: Progress | None = None) -> MetricReport:
    """Measure the variant on the rows of `data`, as these say (narrator.held_out).

    data: JSONL; `split` takes only the rows of that name, `limit` the first so many of those. A row or picture that
    cannot be used is named in the log with its line and reason, and left out of `n`. Raises NarratorError when none is
    left or the variant cannot run.
    """
    rows = rows_of(Path(data), split, limit)
    return measure(variant_id, Path(data), rows, settings=settings, batch_size=batch_size, progress=progress)


def rows_of(data: Path, split: str | None = None, limit: int | None = None) -> list[HeldOut]:
    """The usable rows of a file; others are named in the log. Raises NarratorError when there is none."""
    rows, bad, splits = read_held_out(data, split)
    for one in bad[:NAMED_BAD_ROWS]:
        log.warning("%s; the row is left out.", one)
    if len(bad) > NAMED_BAD_ROWS:
        log.warning("%s: %d more rows are left out.", data, len(bad) - NAMED_BAD_ROWS)
    if not rows:
        if split is None or not splits:
            raise NarratorError(f"{data} has no usable row; each line must hold an object with image and captions, or "
                                "with prompt and references.")
        known = ", ".join(f"{name or 'no split'} ({count})" for name, count in Counter(splits).items())
        raise NarratorError(f"{data} has no row of split '{split}'; it has: {known}.")
    return rows[:limit]


def counted(rows: Sequence[HeldOut]) -> str:
    """What the rows are, for a person: "pictures", "prompts", "questions", or "rows" of several kinds."""
    tasks = {row.task for row in rows}
    if len(tasks) != 1:
        return "rows"
    return "pictures" if tasks <= {CAPTIONS, CLASSES} else tasks.pop()


def measure(variant_id: str, data: Path, rows: Sequence[HeldOut], *, settings: GenerationSettings | None = None,
            batch_size: int = BATCH, progress: Progress | None = None) -> MetricReport:
    """Measure the variant on rows of `data`. Raises NarratorError as `evaluate` does."""
    started = time.perf_counter()
    variant = find_variant(variant_id, shared_engine().checkpoints)
    measurement = _Measurement(variant=variant, data=data, settings=settings or GenerationSettings(),
                               batch_size=batch_size, progress=progress)
    scores = measurement.run(rows)
    return MetricReport(variant_id=variant_id, data=str(data), n=measurement.n, scores=scores,
                        seconds=time.perf_counter() - started)


def check_askable(variant: Variant, data: Path | str, rows: Sequence[HeldOut], settings: GenerationSettings
                  ) -> dict[str, list[HeldOut]]:
    """The rows by task. Raises NarratorError for rows that this variant cannot be asked, or whose scores have the same
    names."""
    parts = {task: [row for row in rows if row.task == task] for task in (QUESTIONS, CAPTIONS, PROMPTS, CLASSES)}
    if not variant.inputs.image and any(row.image is not None for row in rows):
        raise NarratorError(f"{variant.title} sees no pictures, and {data} has rows with pictures: give rows with "
                            "prompt and references, or take another model.")
    if not variant.inputs.text and (parts[PROMPTS] or parts[QUESTIONS]):
        raise NarratorError(f"{variant.title} takes no prompts, and {data} has rows that ask: give rows with image "
                            "and captions, or take another model.")
    alike = ((CAPTIONS, PROMPTS, CLASSES), (QUESTIONS, CLASSES))  # scores of the same names
    if any(sum(bool(parts[task]) for task in tasks) > 1 for tasks in alike):
        raise NarratorError(f"{data} mixes rows whose scores have the same names ("
                            f"{', '.join(task for task in parts if parts[task])}): measure each in a file of its "
                            "own, or by --split.")
    if parts[CLASSES] and settings != GenerationSettings():
        raise NarratorError("Classes are told without any generation settings: leave these out.")
    return parts


def losses_of(variant_id: str, rows: Sequence[HeldOut], within: Callable[[int], Progress]) -> dict[int, np.ndarray]:
    """Line -> (4,): nats and tokens of the row's answer, then of everything, by a variant that can tell them. within:
    progress of so many rows."""
    found: dict[int, np.ndarray] = {}
    with shared_engine().use(variant_id) as family:
        for longest in dict.fromkeys(row.max_tokens for row in rows):
            part = [row for row in rows if row.max_tokens == longest]
            sums = family.answer_losses([(row.prompt, row.answer) for row in part], longest,  # type: ignore[attr-defined]
                                        within(len(part)))
            found |= {row.line: sums[place] for place, row in enumerate(part)}
    return found


@dataclasses.dataclass(kw_only=True)
class _Measurement:
    """One variant on the rows of one file. n: rows that count so far."""

    variant: Variant
    data: Path
    settings: GenerationSettings
    batch_size: int
    progress: Progress | None
    n: int = 0
    done: int = 0  # steps
    total: int = 0

    def run(self, rows: Sequence[HeldOut]) -> dict[str, Score]:
        """The scores of all that the rows ask for."""
        parts = check_askable(self.variant, self.data, rows, self.settings)
        losses = self._tells_losses(parts[PROMPTS])
        self.total = len(rows) + (sum(bool(row.answer) for row in parts[PROMPTS]) if losses else 0)
        scores: dict[str, Score] = {}
        if parts[QUESTIONS]:
            scores |= self._questions(parts[QUESTIONS])
        if parts[CAPTIONS]:
            scores |= self._captions(parts[CAPTIONS])
        if parts[PROMPTS]:
            scores |= self._prompts(parts[PROMPTS], losses=losses)
        if parts[CLASSES]:
            scores |= self._classes(parts[CLASSES])
        return scores

    def _captions(self, rows: Sequence[HeldOut]) -> dict[str, Score]:
        from narrator.metrics.scores import caption_scores

        said = self._said(rows, self.settings)
        return caption_scores({row.line: row.texts for row in rows if row.line in said}, said)

    def _questions(self, rows: Sequence[HeldOut]) -> dict[str, Score]:
        from narrator.metrics.questions import question_scores

        said = self._said(rows, dataclasses.replace(self.settings, **ANSWER))
        told = [row for row in rows if row.line in said]
        return question_scores([row.kind for row in told], [row.texts for row in told], list(said.values()))

    def _prompts(self, rows: Sequence[HeldOut], *, losses: bool) -> dict[str, Score]:
        from narrator.metrics.prompts import answer_scores, loss_scores

        asked = [row for row in rows if row.answer]
        sums = losses_of(self.variant.id, asked, self._within) if losses else {}
        said = self._said(rows, self.settings)
        told = [row for row in rows if row.line in said]
        scores = answer_scores([row.prompt for row in told], [row.texts for row in told], list(said.values()))
        known = [sums[row.line] for row in told if row.line in sums]
        if known:
            import numpy as np

            scores = loss_scores(np.stack(known)) | scores
        return scores

    def _tells_losses(self, rows: Sequence[HeldOut]) -> bool:
        """Whether the loss of the answers can be had, where a row asks for it."""
        from narrator.families import family_class

        wanted = any(row.answer for row in rows)
        able = wanted and hasattr(family_class(self.variant.family), "answer_losses")
        if wanted and not able:
            log.warning("%s cannot tell the loss of a given answer: loss and perplexity are left out.",
                        self.variant.title)
        return able

    def _classes(self, rows: Sequence[HeldOut]) -> dict[str, Score]:
        from narrator.metrics.classification import told_scores

        with shared_engine().use(self.variant.id) as family:
            if not hasattr(family, "judge"):
                raise NarratorError(f"{self.variant.title} tells no classes, and {self.data} has rows with a 'label': "
                                    "take a model that reads digits, or give rows with captions.")
            told = family.judge(self._opened(rows), self._within(len(rows)))
        self._count(len(told.labels), rows)
        return told_scores(told)

    def _opened(self, rows: Sequence[HeldOut]) -> Iterator[tuple[Image, int]]:
        """Pictures with their classes; one that cannot be opened is named and left out."""
        for row in rows:
            try:
                assert row.image is not None and row.label is not None  # that made it a row of CLASSES
                yield open_picture(row.image), row.label
            except NarratorError as error:
                log.warning("%s, line %d: %s", self.data, row.line, error)

    def _said(self, rows: Sequence[HeldOut], settings: GenerationSettings) -> dict[int, str]:
        """Line -> text; rows that fail are named and left out. Raises NarratorError when none is left."""
        said: dict[int, str] = {}
        described = describe_many(self.variant.id, (row.image for row in rows), [row.prompt for row in rows],
                                  settings=settings, batch_size=self.batch_size)
        for row, result in zip(rows, described, strict=True):
            if isinstance(result, NarratorError):
                log.warning("%s, line %d: %s", self.data, row.line, result)
            else:
                said[row.line] = result.text
            self._step()
        self._count(len(said), rows)
        return said

    def _count(self, good: int, rows: Sequence[HeldOut]) -> None:
        what = counted(rows)
        if not good:
            raise NarratorError(f"{self.data}: not one of {len(rows)} {what} could be used; see the reasons above.")
        if good < len(rows):
            log.warning("%s: %d of %d %s are left out of the scores.", self.data, len(rows) - good, len(rows), what)
        self.n += good

    def _step(self, steps: int = 1) -> None:
        self.done += steps
        if self.progress:
            self.progress(self.done, self.total)

    def _within(self, steps: int) -> Progress:
        """Progress of a part, as so many steps of the whole."""
        before = 0

        def tell(done: int, total: int) -> None:
            nonlocal before
            now = steps * done // total
            self._step(now - before)
            before = now

        return tell
