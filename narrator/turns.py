"""A lock that serves in order of arrival, and whose waiting can be stopped.

A plain lock lets a thread that releases and asks again overtake those that wait: a long batch would starve a person.
"""

from __future__ import annotations

import threading
from collections import deque

from narrator.records import NarratorError

_POLL_S = 0.05  # how often a waiting thread looks at its stop event


class Stopped(NarratorError):
    """The person stopped the request; nothing was filed."""

    def __init__(self) -> None:
        super().__init__("Stopped.")


class Turns:
    """One holder at a time, first come first served. Any thread may release, as a generator may be closed by any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()  # its head holds the lock

    def acquire(self, stop: threading.Event | None = None) -> None:
        """Wait for the turn. Raises Stopped when `stop` is set before it comes."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            holds = False
            try:
                while self._queue[0] is not ticket:
                    if stop is not None and stop.is_set():
                        raise Stopped
                    self._changed.wait(_POLL_S)
                if stop is not None and stop.is_set():
                    raise Stopped
                holds = True
            finally:
                if not holds:
                    self._queue.remove(ticket)
                    self._changed.notify_all()

    def release(self) -> None:
        """Give the turn to the next one."""
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()

    def busy(self) -> bool:
        """Whether somebody holds it now."""
        return bool(self._queue)
