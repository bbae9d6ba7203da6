"""What the doctor finds for the form: when Check is pressed, and before a start. Plain functions."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from trainer.tab import places, starts
from trainer.tab.children import Said, follow_trainer
from trainer.tab.fields import draft_of, to_yaml

PROGRESS = re.compile(r"(\D{1,80}) ([\d,]+) of ([\d,]+)")  # as `trainer doctor` tells it
FRESH_S = 900.0  # for so long a look at the very same settings and data stands in for another one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a look is: so many of so many pictures, or whatever it looks at; "" while nothing can be counted."""

    what: str = ""
    done: int = 0
    total: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looked:
    """A look that is over. key: `key` of what was looked at. begins: whether the run could begin at all. whole: with
    the dry run. wish: `starts.wish` of what has been looked at last, also where that look was left."""

    key: str = ""
    at: float = 0.0  # by time.monotonic
    errors: int = 0
    warnings: int = 0
    begins: bool = False
    whole: bool = False
    wish: str = ""
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # as `look` gave it

    def clears(self, key: str, anyway: bool) -> bool:
        """Whether these settings may be started without another look. anyway: whether a person says so who has seen
        what is wrong with the very same."""
        return self._stands(key) and (not self.errors or (anyway and self.begins))

    def refuses(self, key: str) -> bool:
        """Whether these settings have just been looked at with a dry run, and found wanting: a quick one knows less."""
        return self._stands(key) and self.whole and self.errors > 0

    def _stands(self, key: str) -> bool:
        return self.key == key and time.monotonic() - self.at < FRESH_S

    def line(self) -> tuple[str, str]:
        """(what a check found in a sentence, its kind of status line)"""
        if self.errors:
            one = _things(self.errors, True)
            return f"{one} must be mended before this can run; see what the check found.", "error"
        return f"This can run. {self.minded() or 'The check found nothing to mend.'}", "done"

    def refused(self) -> str:
        """Why a run was not started."""
        way = " Or press Start all the same, below it." if self.begins else ""
        again = ", and check again once it is" if self.whole else ""  # a look on demand stands for a while
        return f"Not started: {_things(self.errors)} must be mended first. See what the check found{again}.{way}"

    def minded(self) -> str:
        """What does not hold up a start, in a sentence; "" where there is nothing."""
        return f"The check found {_things(self.warnings)} to mind." if self.warnings else ""


async def look(state: Mapping[str, Any], *, quick: bool) -> AsyncGenerator[Progress | dict[str, Any], None]:
    """How far the doctor is, now and then; last, what it found. Closing the generator ends it. quick: without the dry
    run. Raises NarratorError for settings that cannot be checked."""
    draft = draft_of(starts.checked(dict(state)))
    folder = Path(tempfile.mkdtemp(prefix="check-"))
    try:
        path = folder / "settings.yaml"
        path.write_text(to_yaml(draft), encoding="utf-8")
        asked = ["doctor", str(path), "--json", "--data-root", state["root"], "--runs", str(places.runs_folder())]
        async with contextlib.aclosing(follow_trainer(*asked, *["--quick"] * quick)) as told:
            async for word in told:
                if isinstance(word, Said):
                    yield _found(word.text)
                    continue
                far = PROGRESS.fullmatch(word.strip())
                done, total = (int(number.replace(",", "")) for number in (far.groups()[1:] if far else ("0", "0")))
                yield Progress(what=far[1] if far else "", done=done, total=total)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def key(state: Mapping[str, Any]) -> str:
    """What a look is about: the same text for the same settings on the same data, as long as no file or folder that
    they name is another one (size and time of change; of a folder its own time). Raises NarratorError as
    `starts.wish` does."""
    config, root = starts.checked(dict(state)), Path(state["root"])
    named = dict.fromkeys(source.path for source in (*config.data, *config.text, *config.dev))
    return json.dumps([starts.wish(dict(state)), {path: _stamp(root / path) for path in named}])


def looked(key: str, found: Mapping[str, Any], *, whole: bool = False, wish: str = "") -> Looked:
    """What is kept of a look."""
    levels = [row.get("level") for row in found.get("findings", [])]
    return Looked(key=key, at=time.monotonic(), errors=levels.count("error"), warnings=levels.count("warning"),
                  begins=bool(found.get("begins")), whole=whole, wish=wish, found=found)


def begun(before: Looked | None, wish: str) -> Looked:
    """What is kept while a look goes on: what the one before found, and what this one is about."""
    return dataclasses.replace(before or Looked(), wish=wish)


def _stamp(path: Path) -> list[int] | None:
    """None for what is not there, or is a set of the Hub."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return [0 if path.is_dir() else found.st_size, found.st_mtime_ns]


def _found(said: str) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NarratorError("The check ended without findings. Try again; the terminal tells more.")
    return found


def _things(count: int, first: bool = False) -> str:
    one = "One thing" if first else "one thing"
    return one if count == 1 else f"{count} things"
