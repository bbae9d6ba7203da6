"""How many pictures at once: as many as memory holds, by what the last batches took, and as time rewards."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

FIRST, MOST = 8, 64  # pictures
SHARE = 0.5  # of the free memory that a batch may take
WORSE = 1.1  # a batch that takes this much longer a picture than the best one was too large
LONGEST_S = 10.0  # of a batch: so long may a person wait after asking it to stop
POLL_S = 0.02
Free = Callable[[], int]  # bytes


class Sizes:
    """The size of the next batch. fixed: a size that somebody chose; it shrinks only when memory runs out.

    It begins with FIRST and doubles while a picture does not take longer and the bytes that one takes, as measured,
    leave room for as many.
    """

    def __init__(self, free: Free, fixed: int | None = None) -> None:
        self._free, self._fixed = free, fixed
        self._wanted = fixed or FIRST
        self._most = fixed or MOST
        self._growing = fixed is None
        self.bytes_each = 0  # that a picture takes while it is described, the most seen
        self._best_s = float("inf")  # seconds a picture

    def size(self) -> int:
        """Pictures, 1 at the least."""
        size = min(self._wanted, self._most)
        if self._fixed is None and self.bytes_each:
            size = min(size, int(self._free() * SHARE) // self.bytes_each)
        return max(1, size)

    @contextlib.contextmanager
    def measured(self, count: int) -> Iterator[None]:
        """Around the description of a batch of `count` pictures."""
        started = time.perf_counter()
        with _Peak() as peak:
            yield
        self.took(count, time.perf_counter() - started, peak.bytes)

    def took(self, count: int, seconds: float, peak_bytes: int) -> None:
        """Learn from a batch: its time and how far memory rose."""
        self.bytes_each = max(self.bytes_each, peak_bytes // count)
        each = seconds / count
        if seconds > LONGEST_S and self._fixed is None:
            self._growing, self._wanted = False, max(1, min(self._wanted, int(LONGEST_S / each)))
        if not self._growing or count < self._wanted:
            return
        if each > self._best_s * WORSE:
            self._growing, self._wanted = False, max(FIRST, count // 2)
        elif count >= self._most:
            self._growing = False
        else:
            self._wanted = min(2 * count, self._most)
        self._best_s = min(self._best_s, each)

    def ran_out(self, count: int) -> None:
        """Memory did not do for `count` pictures: never so many again."""
        self._growing = False
        self._most = self._wanted = max(1, count // 2)


class _Peak:
    """How far this process's memory rises in a block, in bytes: of the graphics card where torch computes on one, else
    of the process, looked at every POLL_S (what was free inside the process is not seen: the first batch tells)."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look, name="peak", daemon=True)

    def __enter__(self) -> _Peak:
        self._cuda = _cuda()
        if self._cuda is not None:
            self._before = int(self._cuda.memory_allocated())
            self._cuda.reset_peak_memory_stats()
        else:
            self._before = _resident()
            self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._cuda is not None:
            self.bytes = int(self._cuda.max_memory_allocated()) - self._before
        else:
            self._done.set()
            self._watch.join()

    def _look(self) -> None:
        while True:
            self.bytes = max(self.bytes, _resident() - self._before)
            if self._done.wait(POLL_S):
                return


def _cuda() -> Any:
    """torch.cuda where torch is imported and has a card, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
