"""Start, Check and Stop checking, on the Train tab. It wires; trainer.tab.checks and .starts work."""

from __future__ import annotations

import asyncio
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
from trainer.tab import checks, runs, starts, views
from trainer.tab.form import Form
from trainer.tab.runs_part import Runs, opened

WHOLE = "Checking data and settings; a minute or two …"
QUICK = "Checking data and settings before the start …"
LEFT = "The check was stopped. Nothing was started."
STILL_S = 20.0  # after which the status line says that a look goes on, then after twice as long; the meter is silent
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
    how: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "train-check", "trigger_mode": "once"}
    check = form.after(doing.check.click)(functools.partial(_check, doing, form), form.inputs(),
                                          outputs[:len(doing.outputs()) + 1], **how, **QUIETLY)
    check.then(None, js=TURN.format("check", "leave"), **QUIETLY)
    doing.check.click(None, js=TURN.format("leave", "check"), **QUIETLY)
    begun = []
    for button, anyway in ((doing.start, False), (doing.anyway, True)):
        button.click(None, cancels=[check], queue=False, **QUIETLY)
        begun.append(form.after(button.click)(functools.partial(_start, doing, form, watched, anyway), given, outputs,
                                              **how, **quietly(watched.status)))
        begun[-1].then(None, js=SHOW, **QUIETLY)
    doing.leave.click(None, cancels=[check, *begun], **QUIETLY).then(
        lambda: doing.view(status(LEFT, "stopped"), findings="", busy=False), None,
        [*doing.outputs(), watched.status], queue=False, **QUIETLY).then(
        None, js=TURN.format("check", "leave"), **QUIETLY)


async def _check(doing: Doing, form: Form, given: Mapping[Any, Any]) -> AsyncGenerator[list[Any], None]:
    try:
        state = form.read(given)
        key = starts.wish(state)
        async with contextlib.aclosing(_looking(doing, state, quick=False)) as updates:
            async for one in updates:
                if isinstance(one, list):
                    yield one
                    continue
                looked = checks.looked(key, one)
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
        key = starts.wish(state)
        if not (looked and looked.clears(key, anyway)) and not starts.is_live(key):
            async with contextlib.aclosing(_looking(doing, state, quick=True)) as updates:
                async for one in updates:
                    if isinstance(one, list):
                        yield [*one, *rest]
                        continue
                    looked = checks.looked(key, one)
                    yield [*doing.view(findings=views.findings(one), looked=looked, busy=False), *rest]
            if not looked.clears(key, False):
                yield [*doing.view(status(looked.refused(), "error"), anyway=looked.begins), *rest]
                return
        job = await asyncio.to_thread(starts.start, state)
        shown = await asyncio.to_thread(opened, watched, job.id)
        minded = looked.minded() if looked and looked.key == key and not looked.errors else ""
        yield [*doing.view(runs.begun(job, minded), busy=False, anyway=False), *shown[1:]]
    except NarratorError as error:
        yield [*doing.view(status(str(error), "error"), busy=False), *rest]
    except Exception as error:
        yield [*doing.view(unexpected(error), busy=False), *rest]
        raise


async def _looking(doing: Doing, state: Mapping[str, Any], *, quick: bool
                   ) -> AsyncGenerator[list[Any] | dict[str, Any], None]:
    """Updates while the doctor looks; last, what it found."""
    yield doing.view(status(QUICK if quick else WHOLE, "busy"), findings="", busy=True, anyway=False)
    begun, still = time.monotonic(), STILL_S
    async with contextlib.aclosing(checks.look(state, quick=quick)) as progress:
        async for one in progress:
            if isinstance(one, dict):
                yield one
                continue
            line, spent = None, time.monotonic() - begun
            if spent > still:
                still *= 2
                far = f", {one.what} {one.done:,} of {one.total:,}" if one.what else ""
                line = status(f"Still checking after {spent:.0f} seconds{far}. Stop checking ends it.", "busy")
            if one.what or line:
                yield doing.view(line, findings=views.looking(one.what, one.done, one.total) if one.what else None)
