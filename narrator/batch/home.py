"""The folder in which a batch keeps what it has until all is done: `<result>.part/`, made or found, and held by one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from narrator.batch.journal import Journal
from narrator.batch.plan import BatchPlan
from narrator.batch.writers import keep_old
from narrator.records import NarratorError

ROWS, SHARD, LOCK = "rows.sqlite", "shard-*.sqlite", "lock"


def begin(plan: BatchPlan, held: contextlib.ExitStack) -> str | None:
    """Make or find the batch's home and hold it; what is to be done with a result that is there, None where it is done
    already. Raises NarratorError for a result or a batch that is in the way."""
    fresh = not plan.home.exists()
    if plan.place.is_file() and fresh and plan.resume:
        return None
    if plan.place.is_file() and plan.existing == "refuse" and not plan.resume:
        raise NarratorError(f"{plan.place} is there already: choose --overwrite, --append, --skip-existing or another "
                            "--out.")
    if not fresh:
        check_home(plan.home)
    plan.home.mkdir(exist_ok=True)
    held.enter_context(held_alone(plan.home))
    if not fresh and not plan.resume:
        if plan.existing != "overwrite" and (plan.home / ROWS).exists():
            raise NarratorError(f"{plan.home} holds what a batch had when it was stopped: go on with --resume, or "
                                "begin again with --overwrite.")
        _empty(plan.home)
    (plan.home / "pictures").mkdir(exist_ok=True)
    with contextlib.closing(Journal(plan.home / ROWS)) as journal:
        existing: str = _known(journal, plan) if plan.resume else plan.existing
        if journal.told("begun") is None:
            if existing in ("skip", "append") and plan.place.is_file():
                journal.keep(keep_old(dataclasses.replace(plan, existing=existing)))
            journal.tell({**plan.words(), "existing": existing, "begun": True})
        for shard in sorted(plan.home.glob(SHARD)):
            journal.take(shard)
    return existing


def _known(journal: Journal, plan: BatchPlan) -> str:
    """What the batch was begun with. Raises NarratorError when it would say something else now."""
    if journal.told("begun") is None:
        return plan.existing
    for name, now in plan.words().items():
        then = journal.told(name)
        if name == "existing" and now == "refuse":
            continue  # nothing was asked for: it goes on as it was begun
        if then != json.loads(json.dumps(now)):
            was, asked = _differ(then, now) if isinstance(now, dict) else (repr(then), repr(now))
            raise NarratorError(f"{plan.place} was begun with {name} {was}, not {asked}: go on with the same, or begin "
                                "again with --overwrite.")
    existing: str = journal.told("existing")
    return existing


def _differ(then: dict[str, object], now: dict[str, object]) -> tuple[str, str]:
    """What is different in two dictionaries, of each."""
    names = [name for name in now if then.get(name) != now[name]]
    return tuple(", ".join(f"{name} {values.get(name)}" for name in names) for values in (then, now))  # type: ignore[return-value]


def check_home(home: Path) -> None:
    if not home.is_dir() or (any(home.iterdir()) and not any((home / name).exists() for name in (ROWS, LOCK))):
        raise NarratorError(f"{home} is in the way, and no batch made it: move it, or choose another --out.")


@contextlib.contextmanager
def held_alone(home: Path) -> Iterator[None]:
    """One batch at a time for a result. Raises NarratorError while another holds it."""
    import filelock

    lock = filelock.FileLock(home / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise NarratorError(f"Another batch is writing {home.name.removesuffix('.part')} now: wait for it, stop it, or "
                            "choose another --out.") from None
    try:
        yield
    finally:
        lock.release()


def _empty(home: Path) -> None:
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
