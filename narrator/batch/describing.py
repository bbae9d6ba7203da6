"""Pictures -> rows: opened and hashed in threads while the variant describes the ones before, in batches.

No picture stops another: one that cannot be opened, or that the variant fails on, has a row that says why.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from narrator.batch.alt_text import alt_text, strip_prefix
from narrator.batch.journal import Entry, as_twin, stamp_of, twin_of
from narrator.batch.plan import BatchPlan, Item, Row
from narrator.batch.sizing import Sizes
from narrator.engine import Engine
from narrator.narrate import Request, check_request, describe_batch
from narrator.pictures import MAX_PIXELS
from narrator.records import Narration, NarratorError, Variant
from narrator.weights import free_bytes

THREADS = min(4, os.cpu_count() or 1)  # that open pictures
TWINS = 256  # duplicates that wait for the batch in hand
IN_A_ROW = 32  # pictures that the variant fails on one after another: then it is not the pictures
# What a model's code raises on a picture that it cannot take; anything else is a fault of ours and is seen.
FAULTS = (NarratorError, MemoryError, RuntimeError, ValueError, TypeError, IndexError)
Known = Callable[[str], Row | None]  # the row of a twin that is described already


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """One picture of the walk and its place in it, from 0."""

    position: int
    item: Item


@dataclasses.dataclass(kw_only=True)
class _Ready:
    """A picture that is opened, or why it is not."""

    asked: Asked
    request: Request | None = None
    error: str = ""
    twin: str | None = None
    pixels: int = 0
    stamp: str = ""  # of its file, before it was opened

    def row(self, variant: str) -> Row:
        """Its row before anything is said."""
        row = Row(position=self.asked.position, path=self.asked.item.name, file=self.asked.item.file, variant=variant)
        request = self.request
        if request is None or request.picture is None:
            return dataclasses.replace(row, prompt=self.asked.item.prompt, error=self.error or None)
        width, height = request.picture.size
        return dataclasses.replace(row, sha256=request.sha256, width=width, height=height, prompt=request.prompt,
                                   error=self.error or None)


class Describer:
    """Describes the pictures of a plan. known: finds the row of a twin that an earlier batch described."""

    def __init__(self, plan: BatchPlan, variant: Variant, engine: Engine, known: Known) -> None:
        self.plan, self.variant, self.engine, self.known = plan, variant, engine, known
        self.sizes = Sizes(lambda: free_bytes(engine.device()), plan.batch_size)
        self._size = self.sizes.size()  # of the next batch
        self._places = [place.resolve() for place in (plan.within, plan.home) if place is not None]
        self._failed: list[Entry] = []  # those that the variant failed on since it last described one

    def entries(self, asked: Iterable[Asked],
                stop: threading.Event | None = None) -> Generator[list[Entry], None, None]:
        """Rows, some at a time, not in order; what is begun is left when `stop` is set. In memory are the pictures of a
        batch and of the next. Raises NarratorError when the variant fails on everything."""
        batch: list[_Ready] = []
        same: dict[str, list[_Ready]] = {}  # twin -> those that wait for the one in the batch
        with ThreadPoolExecutor(THREADS, thread_name_prefix="pictures") as pool:
            opened = self._opened(iter(asked), pool, lambda: sum(one.pixels for one in batch))
            try:
                for ready in opened:
                    if stop is not None and stop.is_set():
                        return
                    told = self._without_model(ready, same)
                    if told is None:
                        batch.append(ready)
                    elif told:
                        yield told
                    if (len(batch) >= self._size or sum(one.pixels for one in batch) >= MAX_PIXELS
                            or sum(map(len, same.values())) >= TWINS):
                        yield self._described(batch, same)
                        batch, same = [], {}
                if stop is None or not stop.is_set():
                    yield self._described(batch, same)
                    yield self._let_go()
            finally:
                opened.close()

    def _opened(self, asked: Iterator[Asked], pool: ThreadPoolExecutor,
                held: Callable[[], int]) -> Generator[_Ready, None, None]:
        """In order, opened ahead by threads: as many as the next batch takes, fewer when they are large."""
        waiting: deque[Future[_Ready]] = deque()
        more = True
        try:
            while True:
                large = held() + sum(one.result().pixels for one in waiting if one.done()) >= MAX_PIXELS
                while more and len(waiting) < (1 if large else self._size + THREADS):
                    one = next(asked, None)
                    more = one is not None
                    if one is not None:
                        waiting.append(pool.submit(self._ready, one))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _ready(self, asked: Asked) -> _Ready:
        """Open, check and hash one picture. Runs in a thread."""
        item = asked.item
        if item.error:
            return _Ready(asked=asked, error=item.error)
        stamp = stamp_of(item.file)
        try:
            if self.plan.within is not None and not self._is_inside(item.file):
                raise NarratorError(f"{item.name} lies outside the folder of this batch: put the picture into it.")
            request = check_request(self.variant, Path(item.file), item.prompt or self.plan.prompt, self.plan.settings)
        except NarratorError as error:
            return _Ready(asked=asked, error=str(error), stamp=stamp)
        assert request.picture is not None
        _ = request.empty  # looked at here, in the thread, and remembered
        return _Ready(asked=asked, request=request, stamp=stamp, pixels=request.picture.width * request.picture.height,
                      twin=twin_of(request.sha256, request.prompt) if self.plan.dedupe else None)

    def _is_inside(self, file: str) -> bool:
        real = Path(os.path.realpath(file))
        return any(real.is_relative_to(place) for place in self._places)

    def _without_model(self, ready: _Ready, same: dict[str, list[_Ready]]) -> list[Entry] | None:
        """The row of what needs no model: a bad picture, a duplicate; [] for one whose twin is in the batch now."""
        if ready.request is None:
            return [self._entry(ready, ready.row(self.variant.id))]
        if ready.twin is None:
            return None
        if ready.twin in same:
            ready.request = dataclasses.replace(ready.request, pictures=())  # its pixels are in the batch once
            same[ready.twin].append(ready)
            return []
        known = self.known(ready.twin)
        if known is not None:
            return [self._entry(ready, as_twin(ready.row(self.variant.id), known))]
        same[ready.twin] = []
        return None

    def _described(self, batch: list[_Ready], same: dict[str, list[_Ready]]) -> list[Entry]:
        """The rows of a batch and of the duplicates that waited for it."""
        if not batch:
            return []
        started = time.perf_counter()
        with self.sizes.measured(len(batch)):
            told = self._told(batch)
        seconds = (time.perf_counter() - started) / len(batch)
        self._size = self.sizes.size()
        entries: list[Entry] = []
        for ready, result in zip(batch, told, strict=True):
            row = _row(ready.row(self.variant.id), result, seconds)
            of_it = [self._entry(ready, row)]
            for twin in same.get(ready.twin or "", ()):
                other = dataclasses.replace(row, position=twin.asked.position, path=twin.asked.item.name,
                                            file=twin.asked.item.file)
                of_it.append(self._entry(twin, as_twin(other, row)))
            entries += self._judged(of_it)
        return entries

    def _told(self, batch: Sequence[_Ready]) -> list[Narration | NarratorError]:
        """A Narration or the reason why not for each; a batch that fails is halved until what is at fault is alone."""
        try:
            return list(describe_batch([ready.request for ready in batch if ready.request is not None], self.engine))
        except FAULTS as error:
            fault = error if isinstance(error, NarratorError) else NarratorError(
                f"{self.variant.title} failed on this picture ({type(error).__name__}: {str(error)[:200]}).")
            if isinstance(error, MemoryError) or isinstance(error.__cause__, (MemoryError, RuntimeError)):
                self.sizes.ran_out(len(batch))
        if len(batch) == 1:
            return [fault]
        half = len(batch) // 2
        return self._told(batch[:half]) + self._told(batch[half:])

    def _judged(self, entries: list[Entry]) -> list[Entry]:
        """Failures of the variant wait until it describes another picture: when everything fails, none has a row, and
        all are asked about again when the batch is gone on with."""
        if entries[0].row.error is None:
            return self._let_go() + entries
        self._failed += entries
        if len(self._failed) >= IN_A_ROW:
            raise NarratorError(f"{self.variant.title} failed on {len(self._failed)} pictures one after another "
                                f"({entries[0].row.error}) Mend that, then go on with --resume.")
        return []

    def _let_go(self) -> list[Entry]:
        failed, self._failed = self._failed, []
        return failed

    def _entry(self, ready: _Ready, row: Row) -> Entry:
        failed = row.error is not None
        return Entry(key=ready.asked.item.key, row=dataclasses.replace(row, stamp=ready.stamp) if failed else row,
                     twin=None if failed else ready.twin)


def _row(row: Row, result: Narration | NarratorError, seconds: float) -> Row:
    """What was told of a picture."""
    if isinstance(result, NarratorError):
        return dataclasses.replace(row, error=str(result), seconds=seconds)
    return dataclasses.replace(row, text=result.text, alt=alt_text(result.text), long=strip_prefix(result.text),
                               tokens=result.tokens, seconds=seconds, confidence=result.confidence, label=result.label)
