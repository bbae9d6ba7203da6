"""`trainer start` looks first: what would fail is not started, what is to be minded is told, and --no-check leaves it
out. And the same on the page, without a browser."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from queueing import Queue, quick_queue
from training import PRESET, tiny  # noqa: F401

from narrator.records import NarratorError
from narrator.ui import build_page
from trainer.__main__ import main
from trainer.jobs import Job, list_jobs
from trainer.tab import TITLE, checks, children, data_sources, doing_part, starting, starts, train_tab
from trainer.tab.runs_part import Runs


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with quick_queue(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def begin(line: Queue, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: F811
    """begin(changes, ..., code=0): starts the tiny preset with those settings; what it said."""
    def start(changes: dict[str, Any], *flags: str, code: int = 0, root: Path = tiny) -> str:
        preset = tmp_path / "mine.yaml"
        preset.write_text(yaml.safe_dump(PRESET | {"card": json.dumps({})} | changes))
        assert main(["start", str(preset), "--data-root", str(root), "--runs", str(line.runs), "--checkpoints",
                     str(tmp_path / "out"), *flags]) == code
        return "".join(capsys.readouterr())
    return start


LEAKING = {"dev": [{"path": "captions.jsonl", "split": "train"}]}  # every picture that is held out is learned from


def test_what_would_fail_is_not_started(begin: Any, line: Queue) -> None:
    said = begin({"data": [{"path": "gone.jsonl"}]}, code=2)
    assert "error: There is no data at" in said and "must be mended first. Then start it again." in said
    assert "--no-check" not in said and list_jobs(line.runs) == []
    said = begin(LEAKING, code=2)
    assert "held-out pictures are learned from too" in said and list_jobs(line.runs) == []
    assert "not started: one thing must be mended first. Mend that, or add --no-check to start it all the same" in said
    said = begin(LEAKING, "--no-check")
    assert "error" not in said and len(list_jobs(line.runs)) == 1


def test_what_is_to_be_minded_is_told_and_the_same_request_is_not_looked_at_again(
        begin: Any, line: Queue, tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    (data / "red1.png").write_bytes(b"%PDF-1.4")
    said = begin({}, "--request", "7", root=data)
    assert "warning: A picture cannot be used: " in said and "red1.png" in said and "\nok: " not in said
    (job,) = list_jobs(line.runs)
    shutil.rmtree(data)
    data.mkdir()  # a look would find nothing there
    assert begin({}, "--request", "7", root=data).startswith(job.id) and len(list_jobs(line.runs)) == 1


def test_the_page_remembers_what_it_has_looked_at(tmp_path: Path) -> None:
    fine = checks.looked("key", {"findings": [{"level": "warning"}, {"level": "ok"}], "begins": True})
    assert fine.clears("key", False) and not fine.clears("other", False) and not fine.clears("other", True)
    assert fine.line() == ("This can run. The check found one thing to mind.", "done")
    wrong = checks.looked("key", {"findings": [{"level": "error"}] * 2, "begins": True})
    assert not wrong.clears("key", False) and wrong.clears("key", True) and not wrong.clears("other", True)
    assert wrong.line()[0].startswith("2 things must be mended") and "Or press Start all the same" in wrong.refused()
    never = checks.looked("key", {"findings": [{"level": "error"}], "begins": False})
    assert not never.clears("key", True) and "all the same" not in never.refused()
    old = checks.Looked(key="key", at=-checks.FRESH_S, begins=True)
    assert not old.clears("key", False)
    whole = checks.looked("key", {"findings": [{"level": "error"}], "begins": True}, whole=True)
    assert whole.refuses("key") and not whole.refuses("other") and not wrong.refuses("key")
    assert not dataclasses.replace(whole, at=-checks.FRESH_S).refuses("key") and "check again once" in whole.refused()
    again = checks.begun(whole, "wish")
    assert again.refuses("key") and again.wish == "wish" and not checks.begun(None, "wish").clears("", False)


def test_a_long_look_says_so_in_the_status_line_and_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(state: Any, *, quick: bool) -> AsyncGenerator[Any, None]:
        for done in range(200):
            await asyncio.sleep(0.001)
            yield checks.Progress(what="pictures", done=done, total=200) if done % 2 else checks.Progress()
        yield {"findings": []}

    async def whole() -> list[Any]:
        return [one async for one in doing_part._looking(doing_part.Doing(), {}, checks.Looked(), quick=True)]

    monkeypatch.setattr(doing_part.checks, "look", look)
    monkeypatch.setattr(doing_part, "STILL_S", 0.02)
    *views, found = asyncio.run(whole())
    lines = [view[-1] for view in views if isinstance(view[-1], str)]
    assert found == {"findings": []} and "before the start" in lines[0]
    assert 2 <= len(lines) <= 7 and all("Still checking after" in line for line in lines[1:])
    assert all("Stop checking ends it." in line and "Keep this page open" in line for line in lines[1:])
    assert "keep this page open until the run is listed" in lines[0]
    assert any('aria-label="Checked"' in str(view[0]) and "Pictures: 1 of 200" in str(view[0]) for view in views)


@pytest.fixture
def state(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:  # noqa: F811
    """The form with the tiny preset, its data given."""
    for name in ("RUNS", "HISTORY"):
        monkeypatch.setenv(f"NARRATOR_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("NARRATOR_DATA", str(tiny))
    monkeypatch.setenv("NARRATOR_TRAINING", "on")
    return starts.load_settings(starts.first_state(starting.DEFAULT), yaml.safe_dump(PRESET))


def test_a_look_of_the_page_tells_how_far_it_is_and_what_it_found(state: dict[str, Any]) -> None:
    async def whole() -> list[Any]:
        async with contextlib.aclosing(checks.look(state, quick=True)) as told:
            return [one async for one in told]

    *far, found = asyncio.run(whole())
    assert all(isinstance(one, checks.Progress) and one.done <= one.total for one in far)
    assert found["begins"] and found["seconds"] is None and len(found["stages"]) == 4
    assert starts.wish(state) == starts.wish(dict(state)) and not starts.is_live(starts.wish(state))
    with pytest.raises(NarratorError, match="Upload a zip"):
        starts.wish(starts.without_source(state))
    assert data_sources.NEEDED


class Pressed:
    """The handlers of the buttons without widgets. A whole look finds `whole`, a quick one nothing."""

    def __init__(self, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.state, self.doing, self.watched = state, doing_part.Doing(looked="looked"), Runs()
        self.looked: Any = None
        self.whole: Any = {"begins": True, "findings": [
            {"level": "error", "what": "Not enough memory.", "remedy": "", "file": None, "line": None}]}
        self.looks: list[str] = []
        self.jobs: list[Job] = []
        monkeypatch.setattr(doing_part.checks, "look", self.look)
        monkeypatch.setattr(doing_part.starts, "start", self.start)
        monkeypatch.setattr(doing_part.starts, "live", lambda wish: self.jobs[-1] if self.jobs and wish else None)

    async def look(self, state: Any, *, quick: bool) -> AsyncGenerator[Any, None]:
        self.looks.append("quick" if quick else "whole")
        yield checks.Progress(what="pictures", done=1, total=2)
        if isinstance(self.whole, Exception):
            raise self.whole
        yield {"begins": True, "findings": []} if quick else self.whole

    def start(self, state: Any) -> Job:
        time.sleep(0.2)
        self.jobs.append(Job(id="tiny-20250101T000000Z", folder=Path("tiny"), state="queued"))
        return self.jobs[-1]

    def read(self, given: Any) -> Any:
        return self.state

    async def press(self, name: str, anyway: bool = False) -> list[list[Any]]:
        """What the press shows, update by update."""
        given: Any = {"looked": self.looked}
        form: Any = self
        updates = doing_part._check(self.doing, form, given) if name == "check" else doing_part._start(
            self.doing, form, self.watched, anyway, given)
        shown = []
        async for one in updates:
            shown.append(one)
            if isinstance(one[1], checks.Looked):
                self.looked = one[1]
        return shown


@pytest.fixture
def pressed(state: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Pressed:
    return Pressed(state, monkeypatch)


def test_a_start_does_not_forget_what_a_check_with_a_dry_run_found(pressed: Pressed) -> None:
    asyncio.run(pressed.press("check"))
    (refused,) = asyncio.run(pressed.press("start"))
    assert pressed.looks == ["whole"] and pressed.jobs == []
    assert "Not enough memory." in refused[0] and refused[4].visible and "check again once it is" in refused[5]
    asyncio.run(pressed.press("start", anyway=True))
    assert pressed.looks == ["whole"] and len(pressed.jobs) == 1


def test_data_that_has_changed_since_is_looked_at_again(pressed: Pressed, tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    pressed.state["root"], pressed.whole = str(data), {"begins": True, "findings": []}
    key = checks.key(pressed.state)
    asyncio.run(pressed.press("check"))
    assert pressed.looked.clears(key, False) and checks.key(pressed.state) == key
    with (data / "captions.jsonl").open("a") as file:
        file.write("\n")
    asyncio.run(pressed.press("start"))
    assert pressed.looks == ["whole", "quick"] and len(pressed.jobs) == 1
    pressed.state["draft"]["data"][0]["path"] = "."
    before = checks.key(pressed.state)
    os.utime(data, (1, 1))
    assert checks.key(pressed.state) != before
    (data / "captions.jsonl").unlink()
    assert "null" in checks.key(pressed.state)


def test_stop_checking_says_so_where_the_run_was_started_already(pressed: Pressed) -> None:
    async def left() -> list[Any]:
        task = asyncio.create_task(pressed.press("start"))
        while not pressed.doing.starting:
            await asyncio.sleep(0.01)
        task.cancel()  # while the run is being made
        await asyncio.wait([task])
        assert pressed.jobs == [] and task.cancelled()
        return await doing_part._left(pressed.doing, pressed.watched, pressed.looked)

    said = asyncio.run(left())[5]
    assert len(pressed.jobs) == 1 and "was started already: it is among the runs" in said and "Nothing" not in said
    pressed.jobs.clear()
    for looked in (pressed.looked, None):
        assert "Nothing was started." in asyncio.run(doing_part._left(pressed.doing, pressed.watched, looked))[5]
    assert pressed.doing.starting == {}


@pytest.mark.parametrize("error", [NarratorError("The check broke off."), RuntimeError("odd")])
def test_a_look_that_breaks_off_leaves_no_meter(pressed: Pressed, error: Exception) -> None:
    async def ends(name: str) -> list[Any]:
        shown: list[Any] = []
        given: Any = {"looked": None}
        form: Any = pressed
        updates = doing_part._check(pressed.doing, form, given) if name == "check" else doing_part._start(
            pressed.doing, form, pressed.watched, False, given)
        with contextlib.suppress(RuntimeError):
            async for one in updates:
                shown.append(one)
        return shown

    pressed.whole = error
    for name in ("check", "start"):
        *_, meter, last = asyncio.run(ends(name))
        assert "1 of 2" in meter[0] and last[0] == "" and 'class="line error' in last[5]
    assert not any(pressed.doing.going.values()) and pressed.jobs == []


def test_starts_do_not_wait_for_checks_and_who_waits_is_told(pressed: Pressed) -> None:
    page = build_page([(TITLE, train_tab)])
    pools = {fn.concurrency_id: fn.concurrency_limit for fn in page.fns.values()
             if fn.concurrency_id in ("train-check", "train-start")}
    assert pools == {"train-check": 2, "train-start": 4}
    pressed.doing.going["check"] = 2
    said, free = doing_part._waits(pressed.doing, "check", None), doing_part._waits(pressed.doing, "start", None)
    assert "Waiting for another check" in said[5] and said[3].visible and not isinstance(free[5], str)


def test_leaving_a_look_ends_its_process(state: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def left() -> None:
        task = asyncio.create_task(_first(checks.look(state, quick=False)))
        while not doctors():
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _first(looking: AsyncGenerator[Any, None]) -> None:
        async with contextlib.aclosing(looking) as told:
            async for _ in told:
                pass

    def doctors() -> list[psutil.Process]:
        return [child for child in psutil.Process(os.getpid()).children(recursive=True)
                if child.status() != psutil.STATUS_ZOMBIE and "doctor" in child.cmdline()]

    asyncio.run(left())
    assert not doctors()


def test_what_a_command_tells_comes_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def told(*arguments: str) -> list[Any]:
        async with contextlib.aclosing(children.follow_trainer(*arguments)) as words:
            return [word async for word in words]

    *_, last = asyncio.run(told("list", "--json"))
    assert isinstance(last, children.Said) and json.loads(last.text) is not None
    with pytest.raises(NarratorError, match="There is no run nothing"):
        asyncio.run(told("stop", "nothing"))
