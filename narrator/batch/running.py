"""A batch from its plan to its file: begun or gone on with, described, and written whole in the end.

All that it has stands in `<result>.part/` until the result is there: a kill at any moment costs the pictures of half a
second, and a batch that is gone on with has no row twice and lacks none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from narrator import launched
from narrator.batch import shards
from narrator.batch.describing import Asked, Describer
from narrator.batch.home import ROWS, SHARD, begin, check_home, held_alone
from narrator.batch.journal import Entry, Journal, Rows
from narrator.batch.plan import BatchPlan, Progress, Report, Row, Tell, check_plan
from narrator.batch.sources import Walk, unpack, walk
from narrator.batch.speaking import Speaker, check_voice
from narrator.batch.writers import let_go, sidecar, write_rows
from narrator.catalog import find_variant
from narrator.engine import Engine, shared_engine
from narrator.narrate import refuse_unsupported
from narrator.records import NarratorError, Variant

FLUSH_S, FLUSH_ROWS = 0.5, 64  # rows wait no longer to be filed


def run(plan: BatchPlan, progress: Tell | None = None, stop: threading.Event | None = None,
        engine: Engine | None = None) -> Report:
    """Describe the pictures of a plan; the result is at `plan.place` when this returns and was not stopped.

    progress: called between batches, in this thread. stop: set by anybody, looked at between pictures. Under a launcher
    (see narrator.batch.shards) each process calls this, describes its share, and the first one writes.
    Raises NarratorError when nothing can be done; what is described so far is kept and can be gone on with.
    """
    check_plan(plan)
    check_voice(plan)
    if engine is None:
        engine = Engine(device=shards.device()) if launched.count() > 1 else shared_engine()
    variant = find_variant(plan.variant, engine.checkpoints)
    if not variant.inputs.image:
        raise NarratorError(f"{variant.title} does not look at pictures: choose another variant.")
    with contextlib.ExitStack() as held:
        existing = shards.first(lambda: begin(plan, held))
        if existing is None:
            return Report(out=plan.place, done=0, failed=0, duplicates=0, skipped=0, seconds=0.0)
        plan = dataclasses.replace(plan, existing=existing)
        report = _Batch(plan, variant, engine, progress, stop or threading.Event()).run()
    if not report.stopped and launched.number() == 0:
        if plan.rows_kept is not None:
            (plan.home / ROWS).replace(plan.rows_kept)
        shutil.rmtree(plan.home, ignore_errors=True)
    return report


def resumable(plan: BatchPlan) -> bool:
    """Whether there is a batch with this result that did not finish."""
    return (plan.home / ROWS).is_file()


def rows_so_far(plan: BatchPlan) -> Rows:
    """The rows of a batch that is going, stopped or killed, in order."""
    if not resumable(plan):
        raise NarratorError(f"There is no unfinished batch of {plan.place}.")
    return Rows(plan.home / ROWS)


def discard(plan: BatchPlan) -> None:
    """Forget a batch that did not finish. Raises NarratorError while it is going."""
    if plan.home.is_dir():
        check_home(plan.home)
        with held_alone(plan.home):
            pass
        shutil.rmtree(plan.home, ignore_errors=True)


def plan_files(plan: BatchPlan) -> tuple[Path, ...]:
    """The finished result, and the folders beside it that belong to it."""
    return tuple(path for path in (plan.place, plan.files, plan.sounds) if path.exists())


class _Batch:
    """A batch under way in this process."""

    def __init__(self, plan: BatchPlan, variant: Variant, engine: Engine, progress: Tell | None,
                 stop: threading.Event) -> None:
        self.plan, self.variant, self.engine = plan, variant, engine
        self.progress, self.stop = progress, stop
        self.started = time.perf_counter()
        self.described_at = self.started
        self.total: int | None = None
        self.new = self.skipped = 0
        self.done = self.failed = self.duplicates = 0
        self.waiting: dict[str, Entry] = {}  # by key: not filed yet
        self.twins: dict[str, Row] = {}  # of those
        self.filed_at = self.started

    def run(self) -> Report:
        several = launched.count() > 1
        self.main = Journal(self.plan.home / ROWS, shared=several)
        self.own = Journal(self.plan.home / SHARD.replace("*", str(launched.number()))) if several else self.main
        fault: NarratorError | None = None
        try:
            self._describe()
        except NarratorError as error:
            fault = error
        finally:
            self.own.close()
            self.main.close()
        brought = shards.all_of((self.stop.is_set(), fault is not None, self.skipped))
        if fault is not None:
            raise fault
        if any(failed for _, failed, _ in brought):
            raise NarratorError("Another process of this batch has failed (see what it says): go on with --resume.")
        self.skipped = sum(skipped for _, _, skipped in brought)
        return shards.first(lambda: self._finish(stopped=any(stopped for stopped, _, _ in brought)))

    def _describe(self) -> None:
        """File a row for each picture of this process's share that has none."""
        self._tell("Looking for pictures …")
        shards.first(self._make_ready)
        self.done, self.failed, self.duplicates = self.main.counts()
        found = walk(self.plan)
        self.total = None if found.total is None else -(-(found.total - launched.number()) // launched.count())
        entries = self._entries(found)
        speaker = Speaker(self.plan)
        self.described_at = self.filed_at = time.perf_counter()
        try:
            with contextlib.closing(entries):
                for some in entries:
                    self._file(speaker.spoken(some))
        finally:
            self._flush()

    def _make_ready(self) -> None:
        """In the first process alone: the zips unpacked, and what failed asked about again where its file is mended."""
        unpack(self.plan, self._tell)
        self.main.forget_mended()

    def _entries(self, found: Walk) -> Generator[list[Entry], None, None]:
        asked = self._pending(found.items())
        if self.plan.engine == "ray":
            from narrator.batch import over_ray

            self._tell("Starting Ray …")
            return over_ray.entries(self.plan, asked, self.engine.checkpoints, self.stop)
        with self.engine.use(self.variant.id, announce=self._tell, stop=self.stop) as family:
            refuse_unsupported(family, self.variant, self.plan.settings)
        return Describer(self.plan, self.variant, self.engine, self._twin).entries(asked, self.stop)

    def _pending(self, items: Iterable) -> Iterator[Asked]:
        """This process's share of the pictures that have no row yet."""
        for position, item in enumerate(items):
            if position % launched.count() != launched.number() or self._has(item.key):
                continue
            if (self.plan.existing == "skip" and self.main.kept(item.name)) or self._has_text(item.name, item.file):
                self.skipped += 1
                continue
            yield Asked(position=position, item=item)

    def _has(self, key: str) -> bool:
        return key in self.waiting or self.main.has(key) or (self.own is not self.main and self.own.has(key))

    def _has_text(self, name: str, file: str) -> bool:
        """Whether a text lies beside the picture that is not to be overwritten."""
        return (self.plan.format == "sidecar" and self.plan.existing != "overwrite" and bool(file)
                and sidecar(name, file, self.plan).exists())

    def _twin(self, twin: str) -> Row | None:
        return self.twins.get(twin) or self.main.twin(twin) or (
            self.own.twin(twin) if self.own is not self.main else None)

    def _file(self, entries: list[Entry]) -> None:
        """Take rows; they are on disk within FLUSH_S, or when there are many."""
        for entry in entries:
            if entry.key in self.waiting:
                continue
            self.waiting[entry.key] = entry
            if entry.twin is not None:
                self.twins.setdefault(entry.twin, entry.row)
        if len(self.waiting) >= FLUSH_ROWS or time.perf_counter() - self.filed_at >= FLUSH_S:
            self._flush()

    def _flush(self) -> None:
        entries = list(self.waiting.values())
        self.own.add(entries)
        self.waiting, self.twins, self.filed_at = {}, {}, time.perf_counter()
        self.new += len(entries)
        self.done += len(entries)
        self.failed += sum(entry.row.error is not None for entry in entries)
        self.duplicates += sum(entry.row.duplicate_of is not None for entry in entries)
        self._tell("Describing …", tuple(entry.row for entry in entries))

    def _tell(self, status: str, rows: tuple[Row, ...] = ()) -> None:
        if self.progress is None:
            return
        left = None
        if self.total is not None and self.new:
            each = (time.perf_counter() - self.described_at) / self.new
            left = max(0.0, (self.total - self.done - self.skipped) * each)
        self.progress(Progress(done=self.done, failed=self.failed, duplicates=self.duplicates, skipped=self.skipped,
                               total=self.total, seconds=time.perf_counter() - self.started, left_s=left,
                               status=status, rows=rows))

    def _finish(self, *, stopped: bool) -> Report:
        """Join what the processes have, and write it. In the first process alone."""
        with contextlib.closing(Journal(self.plan.home / ROWS)) as journal:
            for shard in sorted(self.plan.home.glob(SHARD)):
                journal.take(shard)
            self.done, self.failed, self.duplicates = journal.counts()
            if not stopped and self.plan.existing == "append":
                let_go(self.plan, journal.has_text)
        if not stopped:
            self._tell(f"Writing {self.plan.place.name} …")
            try:
                write_rows(Rows(self.plan.home / ROWS), self.plan)
            except OSError as error:
                raise NarratorError(f"{self.plan.place} cannot be written ({error.strerror or error}): make room or "
                                    "mend its folder, then go on with --resume; no description is lost.") from None
        return Report(out=self.plan.place, done=self.done, failed=self.failed, duplicates=self.duplicates,
                      skipped=self.skipped, seconds=time.perf_counter() - self.started, stopped=stopped)
