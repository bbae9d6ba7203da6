"""A process that answers one request in JSON lines, and ends with whoever started it, or at once when it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from narrator.turns import Stopped

QUIET_S = 120.0  # seconds without a sign of life
_POLL_S = 0.05


class Silence(Exception):
    """The process has been silent for QUIET_S seconds."""


def answers(command: Sequence[str], request: Mapping[str, Any], stop: threading.Event | None,
            environment: Mapping[str, str], *, errors: int | None = subprocess.DEVNULL
            ) -> Generator[dict[str, Any], None, None]:
    """The process's answers as they come; closing the iterator ends the process.

    The request is a line on its standard input, which then stays open: its end is the process's end. environment: added
    to this one's. errors: where its standard error goes, None for ours. Raises Stopped when `stop` is set, and Silence.
    """
    process = subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                               env={**os.environ, **environment}, start_new_session=True)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), name="answers", daemon=True).start()
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: reading its answer finds out
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        heard = time.monotonic()
        while True:
            if stop is not None and stop.is_set():
                raise Stopped
            try:
                line = lines.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() - heard > QUIET_S:
                    raise Silence from None
                continue
            if not line.endswith(b"\n"):
                return
            heard = time.monotonic()
            yield json.loads(line)
    finally:
        process.kill()
        process.wait()


def _read(process: subprocess.Popen, lines: queue.SimpleQueue) -> None:
    assert process.stdin is not None and process.stdout is not None
    with process.stdout as out:
        for line in out:
            lines.put(line)
    lines.put(b"")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
