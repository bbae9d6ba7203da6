"""Start, Check and Stop checking, on the Train tab. It wires; trainer.tab.checks and .starts work."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import functools
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from narrator.records import NarratorError
from narrator.ui.accessibility import status
from narrator.ui.handlers import unexpected
from narrator.ui.work import QUIETLY, quietly
from trainer.jobs import Job
from trainer.tab import checks, runs, starts, views
from trainer.tab.form import Form
from trainer.tab.runs_part import Runs, opened

WHOLE = "Checking data and settings; a minute or two …"
QUICK = "Checking data and settings before the start; keep this page open until the run is listed …"
WAITING = "Waiting for another check to end …"
LEFT = "The check was stopped. Nothing was started."
ROOM = {"check": 2, "start": 4}  # looks at a time, of all visitors: those before a start are light, and held up by none
STILL_S = 20.0  # after which the status line says that a look goes on, then after twice as long; the meter is silent
BACK = "() => window.training.back()"
TURN = "() => window.training.turn('#train-{}', '#train-{}')"
SHOW = ("() => { window.training.show('#train-runs'); "
        "window.training.turn('#train-start', '#train-anyway, #train-leave'); }")


@dataclasses.dataclass
class Doing:
    """The widgets, and what the last look found."""

    start: Any = None
    check: Any = None
    leave: Any = None
    findings: Any = None
    anyway: Any = None
    looked: Any = None  # a gr.State: checks.Looked
    going: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)  # looks, as in ROOM
    starting: dict[str, asyncio.Task[Job]] = dataclasses.field(default_factory=dict)  # by `starts.wish`

    def outputs(self) -> list[Any]:
        """What `view` fills, the status line apart, which comes next."""
        return [self.findings, self.looked, self.check, self.leave, self.anyway]

    def view(self, line: str | None = None, *, findings: str | None = None, looked: checks.Looked | None = None,
             busy: bool | None = None, anyway: bool | None = None) -> list[Any]:
        """Updates for `outputs()` and the status line; None leaves a part as it is."""
        import gradio as gr

        def seen(there: bool | None) -> Any:
            return gr.skip() if there is None else gr.Button(visible=there)

        return [gr.skip() if findings is None else findings, gr.skip() if looked is None else looked,
                seen(None if busy is None else not busy), seen(busy), seen(anyway), gr.skip() if line is None else line]


def doing_part() -> Doing:
    """The widgets, inside the column that is open."""
    import gradio as gr

    doing = Doing()
    with gr.Row(elem_id="train-doing"):
        doing.start = gr.Button("Start training", variant="primary", elem_id="train-start", scale=2, min_width=150)
        doing.check = gr.Button("Check first", elem_id="train-check", scale=1, min_width=110)
        doing.leave = gr.Button("Stop checking", elem_id="train-leave", scale=1, min_width=110, visible=False)
    doing.findings = gr.HTML("", elem_id="train-findings", elem_classes="flat")
    doing.anyway = gr.Button("Start all the same", elem_id="train-anyway", visible=False)
    doing.looked = gr.State(None)
    return doing


def wire_doing(doing: Doing, form: Form, watched: Runs) -> None:
    """What the buttons do. One look goes on at a time on a page: a start ends a check, and Stop checking either."""
    given, outputs = {*form.inputs(), doing.looked}, [*doing.outputs(), *watched.outputs()]
    mine = outputs[:len(doing.outputs()) + 1]

    def after(button: Any, kind: str, act: Any, filled: list[Any], quiet: dict[str, Any]) -> Any:
        waits = functools.partial(_waits, doing, kind)
        return form.after(button.click)(waits, doing.looked, mine, concurrency_limit=None, **QUIETLY).then(
            act, given, filled, concurrency_limit=ROOM[kind], concurrency_id=f"train-{kind}", trigger_mode="once",
            **quiet)

    check = after(doing.check, "check", functools.partial(_check, doing, form), mine, QUIETLY)
    check.then(None, js=TURN.format("check", "leave"), **QUIETLY)
    doing.check.click(None, js=TURN.format("leave", "check"), **QUIETLY)
    begun = []
    for button, anyway in ((doing.start, False), (doing.anyway, True)):
        button.click(None, cancels=[check], queue=False, **QUIETLY)
        begun.append(after(button, "start", functools.partial(_start, doing, form, watched, anyway), outputs,
                           quietly(watched.status)))
        begun[-1].then(None, js=SHOW, **QUIETLY)
    doing.leave.click(None, cancels=[check, *begun], **QUIETLY).then(
        functools.partial(_left, doing, watched), doing.looked, outputs, queue=False, **quietly(watched.status)).then(
        None, js=BACK, **QUIETLY)


def _waits(doing: Doing, kind: str, looked: checks.Looked | None) -> list[Any]:
    """Before a look: says so where it has to wait for those of others, which may be minutes."""
    if doing.going[kind] < ROOM[kind]:
        return doing.view()
    return doing.view(status(WAITING, "busy"), findings="", looked=checks.begun(looked, ""), busy=True, anyway=False)


async def _check(doing: Doing, form: Form, given: Mapping[Any, Any]) -> AsyncGenerator[list[Any], None]:
    try:
        state = form.read(given)
        wish, key = starts.wish(state), await asyncio.to_thread(checks.key, state)
        before = checks.begun(given[doing.looked], wish)
        async with contextlib.aclosing(_looking(doing, state, before, quick=False)) as updates:
            async for one in updates:
                if isinstance(one, list):
                    yield one
                    continue
                looked = checks.looked(key, one, whole=True, wish=wish)
                yield doing.view(status(*looked.line()), findings=views.findings(one), looked=looked, busy=False)
    except NarratorError as error:
        yield doing.view(status(str(error), "error"), findings="", busy=False)
    except Exception as error:
        yield doing.view(unexpected(error), findings="", busy=False)
        raise


async def _start(doing: Doing, form: Form, watched: Runs, anyway: bool, given: Mapping[Any, Any]
                 ) -> AsyncGenerator[list[Any], None]:
    """Looks first, unless that has just been done, or the very same is waiting or running; then starts, or does not."""
    import gradio as gr

    rest = [gr.skip()] * (len(watched.outputs()) - 1)
    try:
        state, looked = form.read(given), given[doing.looked]
        wish, key = starts.wish(state), await asyncio.to_thread(checks.key, state)
        if not (looked and looked.clears(key, anyway)) and not starts.is_live(wish):
            if not (looked and looked.refuses(key)):
                before = checks.begun(looked, wish)
                async with contextlib.aclosing(_looking(doing, state, before, quick=True)) as updates:
                    async for one in updates:
                        if isinstance(one, list):
                            yield [*one, *rest]
                            continue
                        looked = checks.looked(key, one, wish=wish)
                        yield [*doing.view(findings=views.findings(one), looked=looked, busy=False), *rest]
            if not looked.clears(key, False):
                yield [*doing.view(status(looked.refused(), "error"), findings=views.findings(looked.found), busy=False,
                                   anyway=looked.begins), *rest]
                return
        job = await _begun(doing, wish, state)
        shown = await asyncio.to_thread(opened, watched, job.id)
        minded = looked.minded() if looked and looked.key == key and not looked.errors else ""
        yield [*doing.view(runs.begun(job, minded), busy=False, anyway=False), *shown[1:]]
    except NarratorError as error:
        yield [*doing.view(status(str(error), "error"), findings="", busy=False, anyway=False), *rest]
    except Exception as error:
        yield [*doing.view(unexpected(error), findings="", busy=False, anyway=False), *rest]
        raise


async def _begun(doing: Doing, wish: str, state: dict[str, Any]) -> Job:
    """The run, started. That goes on where the event is cancelled meanwhile; `_left` waits for it."""
    task = asyncio.create_task(asyncio.to_thread(starts.start, state))
    doing.starting[wish] = task

    def over(_: asyncio.Task[Job]) -> None:
        if doing.starting.get(wish) is task:
            del doing.starting[wish]

    task.add_done_callback(over)
    return await asyncio.shield(task)


async def _left(doing: Doing, watched: Runs, looked: checks.Looked | None) -> list[Any]:
    """What Stop checking says. A press at the very end of a look may come too late to keep the run from starting."""
    import gradio as gr

    wish = looked.wish if looked else ""
    if wish in doing.starting:
        await asyncio.wait([doing.starting[wish]])
    job = await asyncio.to_thread(starts.live, wish) if wish else None
    if job is None:
        rest = [gr.skip()] * (len(watched.outputs()) - 1)
        return [*doing.view(status(LEFT, "stopped"), findings="", busy=False), *rest]
    shown = await asyncio.to_thread(opened, watched, job.id)
    return [*doing.view(status(runs.begun_before(job), "stopped"), findings="", busy=False), *shown[1:]]


async def _looking(doing: Doing, state: Mapping[str, Any], before: checks.Looked, *, quick: bool
                   ) -> AsyncGenerator[list[Any] | dict[str, Any], None]:
    """Updates while the doctor looks; last, what it found. before: what is kept meanwhile."""
    kind = "start" if quick else "check"
    doing.going[kind] += 1
    try:
        yield doing.view(status(QUICK if quick else WHOLE, "busy"), findings="", looked=before, busy=True, anyway=False)
        begun, still = time.monotonic(), STILL_S
        async with contextlib.aclosing(checks.look(state, quick=quick)) as progress:
            async for one in progress:
                if isinstance(one, dict):
                    yield one
                    continue
                line, spent = None, time.monotonic() - begun
                if spent > still:
                    still *= 2
                    line = status(_still(one, spent, quick), "busy")
                if one.what or line:
                    yield doing.view(line, findings=views.looking(one.what, one.done, one.total) if one.what else None)
    finally:
        doing.going[kind] -= 1


def _still(one: checks.Progress, spent: float, quick: bool) -> str:
    far = f", {one.what} {one.done:,} of {one.total:,}" if one.what else ""
    keep = " Keep this page open until the run is listed." if quick else ""
    return f"Still checking after {spent:.0f} seconds{far}.{keep} Stop checking ends it."
