"""The process that does one task: a JSON request on standard input, JSON lines out (`python -m narrator.hub.task`).

Requests: {"do": "add", "folder", "base", "name"}, {"do": "merge", "variant", "out"}, {"do": "export", "variant",
"out"}, {"do": "push", "variant", "repo", "private"}. Answers: {"done", "total"} in bytes as they come (0 of 0: still at
it), then {"made", "says"} or {"refusal"}, a sentence. It ends when its standard input does, so it outlives nobody.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from narrator.records import NarratorError

TELL_S = 0.2
ALIVE_S = 10.0
_PRINTING = threading.Lock()
_OUT = 1  # where the answers go


class Told:
    """Progress, not more often than every TELL_S seconds, and a sign of life while there is none."""

    def __init__(self) -> None:
        self.at, self.last = 0.0, (0, 0)
        threading.Thread(target=self._live, daemon=True).start()

    def __call__(self, done: int, total: int) -> None:
        self.last = (done, total)
        if time.monotonic() - self.at >= TELL_S or done == total:
            self.at = time.monotonic()
            say({"done": done, "total": total})

    def _live(self) -> None:
        while True:
            time.sleep(ALIVE_S)
            say({"done": self.last[0], "total": self.last[1]})


def main() -> int:
    """Answer one request."""
    global _OUT
    _OUT = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        made, says = DO[request["do"]](request, Told())
    except NarratorError as error:
        say({"refusal": str(error)})
    else:
        say({"made": made, "says": says})
    sys.stdout.flush()
    os._exit(0)  # torch's threads take their time to leave


def say(answer: Mapping[str, Any]) -> None:
    """One line, there at once."""
    with _PRINTING:
        os.write(_OUT, json.dumps(answer).encode() + b"\n")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def _add(request: Mapping[str, Any], told: Told) -> tuple[str, str]:
    from narrator.adapters import add_adapter

    made = add_adapter(Path(request["folder"]), request["base"], name=request["name"])
    return made.id, f"{made.title} is here."


def _merge(request: Mapping[str, Any], told: Told) -> tuple[str, str]:
    from narrator.adapters import merge_adapter

    made = merge_adapter(request["variant"], request["out"])
    return made.id, f"{made.title} is here, as {made.id}."


def _export(request: Mapping[str, Any], told: Told) -> tuple[str, str]:
    from narrator.hub.exporting import export_variant

    out = export_variant(request["variant"], Path(request["out"]), told)
    return str(out), f"{out.name} is ready: press Save the exported file."


def _push(request: Mapping[str, Any], told: Told) -> tuple[str, str]:
    from narrator.hub.pushing import push_variant

    address = push_variant(request["variant"], request["repo"], private=bool(request["private"]), report=told)
    return address, f"Pushed: {address}"


DO: dict[str, Callable[[Mapping[str, Any], Told], tuple[str, str]]] = {
    "add": _add, "merge": _merge, "export": _export, "push": _push}

if __name__ == "__main__":
    sys.exit(main())
