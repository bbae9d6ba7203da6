"""For tests of the Batch tab's functions: a batch once it stands as wished, and as a saved file."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from narrator.batch.jobs import Batch, Batches
from narrator.batch.rows import page_of
from narrator.ui import batch_saving as saves

WAIT_S = 120


def waited(mine: Batches, batch_id: str, states: set[str], rows: int = 0) -> Batch:
    """The batch once it is in one of the states and has so many rows."""
    limit = time.monotonic() + WAIT_S
    while time.monotonic() < limit:
        batch = mine.get(batch_id)
        if batch.state in states and page_of(batch, 0, 1).total >= rows:
            return batch
        time.sleep(0.05)
    raise AssertionError(f"{batch.state}, {batch.says}: {(batch.folder / 'log.txt').read_text()[-3000:]}")


def saved(batch: Batch, kind: str, visitor: str = "") -> Path:
    async def go() -> Path:
        told = [one async for one in saves.saving(visitor, batch.id, kind)]
        assert told[-1].path is not None and [one.share for one in told] == sorted(one.share for one in told)
        return told[-1].path
    return asyncio.run(go())
