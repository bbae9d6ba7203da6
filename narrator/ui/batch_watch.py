"""The right side of the Batch tab: a batch that is watched, and what can be done with it. It wires;
narrator.ui.batch_handlers works."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from narrator.batch.alt_text import MOST
from narrator.batch.edits import MAX_TEXT
from narrator.records import NarratorError
from narrator.ui import batch_handlers as batches
from narrator.ui import batch_saving as saves
from narrator.ui.accessibility import status
from narrator.ui.asking import asking, then_shown, wire_asking
from narrator.ui.batch_editing import wire_editing
from narrator.ui.batch_given import Given, looked_through
from narrator.ui.batch_parts import SELDOM_S, Watch, opened, shown
from narrator.ui.batch_view import NO_BATCH
from narrator.ui.fields import choice
from narrator.ui.handlers import unexpected
from narrator.ui.picture_input import files_input
from narrator.ui.work import LATEST, QUIETLY, quietly

BUTTONS = {"stop": "Cancel", "resume": "Resume", "retry": "Try the failed ones again", "remove": "Delete …"}
GO_ON = "() => window.batch.goOn('#batch-actions button')"
TO_FILE = "() => window.batch.goOn('#batch-file', true)"


def watch_part(line: Any, visitor: Any) -> Watch:
    """The widgets, inside the column that is open. line: the status line."""
    import gradio as gr

    watch = Watch(status=line, visitor=visitor)
    gr.HTML('<h2 class="part">Batches</h2>', elem_classes="flat")
    watch.seen, watch.page = gr.State({}), gr.State(1)
    watch.none = gr.HTML(NO_BATCH, elem_id="batch-none", elem_classes="flat")
    with gr.Column(visible=False, elem_id="batch-detail") as watch.detail:
        watch.choice = choice([], label="Batch", elem_id="batch-choice")
        with gr.Row(elem_id="batch-actions"):
            for name, label in BUTTONS.items():
                watch.buttons[name] = gr.Button(label, elem_id=f"batch-{name}", size="md", min_width=90, visible=False,
                                                variant="primary" if name == "resume" else "secondary")
        watch.asking = asking("batch")
        watch.facts = gr.HTML("", elem_id="batch-facts", elem_classes="flat")
        watch.bad = gr.HTML("", elem_id="batch-bad", elem_classes="flat")
        with gr.Column(visible=False, elem_id="batch-mending") as watch.mending:
            watch.better = files_input("Better files, of the same names", height=150,
                                       elem_id="batch-better")
        _saving(watch)
        _rows(watch)
    watch.timer = gr.Timer(SELDOM_S, active=False)
    return watch


def _saving(watch: Watch) -> None:
    import gradio as gr

    with gr.Row(elem_id="batch-saving", equal_height=True):
        watch.kind = gr.Dropdown(saves.choices(), value="jsonl", label="Save as", elem_id="batch-kind",
                                 filterable=False, min_width=200)
        watch.make = gr.Button("Make the file", elem_id="batch-make", size="md", min_width=120)
        watch.stop_making = gr.Button("Stop making it", elem_id="batch-stop-making", size="md", min_width=120,
                                      visible=False)
        watch.file = gr.DownloadButton("Save the file", elem_id="batch-file", size="md", variant="primary",
                                       min_width=120, visible=False)
    watch.bar = gr.HTML("", elem_id="batch-bar", elem_classes="flat")


def _rows(watch: Watch) -> None:
    import gradio as gr

    with gr.Group(visible=False, elem_id="batch-editor") as watch.editor:
        watch.about = gr.HTML("", elem_id="batch-about")
        watch.long = gr.Textbox(label="Long description", lines=3, max_lines=10, max_length=MAX_TEXT,
                                elem_id="batch-long")
        watch.alt = gr.Textbox(label="Alternative text", info=f"At most {MOST} characters, the most important first",
                               lines=2, max_lines=4, max_length=MOST, elem_id="batch-alt")
        with gr.Row():
            watch.save = gr.Button("Keep these texts", elem_id="batch-save", size="md", variant="primary",
                                   min_width=120)
            watch.leave = gr.Button("Leave them", elem_id="batch-leave-texts", size="md", min_width=100)
    watch.undo = gr.Button("Undo the last change", elem_id="batch-undo", size="md", visible=False)
    watch.table = gr.HTML("", elem_id="batch-table", elem_classes="flat")
    with gr.Row(visible=False, elem_id="batch-pager", equal_height=True) as watch.pager:
        watch.back = gr.Button("Previous rows", elem_id="batch-back", size="md", min_width=120)
        watch.at = gr.Number(1, label="Page", elem_id="batch-page", precision=0, minimum=1, min_width=110)
        watch.on = gr.Button("Next rows", elem_id="batch-on", size="md", min_width=120)
    watch.sound = gr.Audio(type="filepath", interactive=False, elem_id="batch-sound", buttons=[], label="Speech",
                           visible="hidden", show_label=False, container=False,
                           waveform_options=gr.WaveformOptions(show_recording_waveform=False))
    watch.position = gr.Number(None, label="Row", precision=0, visible="hidden", elem_id="batch-position")
    watch.edit = gr.Button("Edit", visible="hidden", elem_id="batch-edit-row")
    watch.play = gr.Button("Play", visible="hidden", elem_id="batch-play-row")


def wire_watch(watch: Watch, tab: Any) -> None:
    """Looking, and doing."""
    outputs, inputs = watch.outputs(), [watch.visitor, watch.choice, watch.page]
    quiet = quietly(watch.status)
    tab.select(lambda *given: opened(watch, *given), inputs, outputs, queue=False, **quiet)
    watch.choice.input(lambda visitor, batch, page: opened(watch, visitor, batch), inputs, outputs, queue=False,
                       **quiet | LATEST)
    watch.timer.tick(lambda *given: shown(watch, batches.look(*given)), [*inputs, watch.seen], outputs, queue=False,
                     trigger_mode="once", **quiet)
    turns: tuple[tuple[Any, Callable[[int, Any], int]], ...] = (
        (watch.back.click, lambda page, asked: page - 1), (watch.on.click, lambda page, asked: page + 1),
        (watch.at.submit, lambda page, asked: int(asked or 1)))
    for trigger, turn in turns:
        trigger(_turning(watch, turn), [*inputs, watch.seen, watch.at], outputs, queue=False, **QUIETLY)
    _wire_doing(watch)
    _wire_mending(watch)
    wire_editing(watch)
    _wire_saving(watch)


def _turning(watch: Watch, turn: Callable[[int, Any], int]) -> Callable[..., list[Any]]:
    def handle(visitor: Any, batch_id: str | None, page: int, seen: Any, asked: Any) -> list[Any]:
        return shown(watch, batches.look(visitor, batch_id, max(1, turn(page, asked)), seen))
    return handle


def _then_look(watch: Watch, act: Callable[[Any, str | None], str]) -> Callable[..., list[Any]]:
    """A handler that acts on the batch, and shows it then."""
    return then_shown(lambda visitor, batch_id, page: act(visitor, batch_id), functools.partial(opened, watch))


def _wire_mending(watch: Watch) -> None:
    """Better files are looked through, put in place of the bad ones, and described."""
    import gradio as gr

    outputs, inputs = [watch.better, *watch.outputs()], [watch.better, watch.visitor, watch.choice, watch.page]

    def told(line: str, files: Any) -> list[Any]:
        return [files, line, *[gr.skip()] * (len(outputs) - 2)]

    async def take(files: list[str] | None, visitor: Any, batch_id: str | None, page: int) -> Any:
        try:
            async for found in looked_through(files or []):
                if isinstance(found, str):
                    yield told(status(found, "busy"), gr.skip())
                else:
                    def act(visitor: Any, batch_id: str | None, found: Given = found) -> str:
                        return batches.replace(visitor, batch_id, found)
                    yield [None, *_then_look(watch, act)(visitor, batch_id, page)]
        except NarratorError as error:
            yield told(status(str(error), "error"), None)
        except Exception as error:  # the page must not say "Looking …" for ever; the error itself goes on
            yield told(unexpected(error), None)
            raise

    taking = watch.better.upload(take, inputs, outputs, concurrency_limit=2, concurrency_id="batch-files", **QUIETLY)
    taking.then(None, js=GO_ON, **QUIETLY)
    gr.on([watch.better.clear, watch.better.delete], lambda: status("Stopped. Nothing was replaced.", "stopped"), None,
          watch.status, queue=False, cancels=[taking], **QUIETLY)


def _wire_doing(watch: Watch) -> None:
    outputs, inputs = watch.outputs(), [watch.visitor, watch.choice, watch.page]
    acts = {"stop": batches.stop, "resume": batches.resume, "retry": batches.retry}
    for name, act in acts.items():
        watch.buttons[name].click(_then_look(watch, act), inputs, outputs, trigger_mode="once", **QUIETLY).then(
            None, js=GO_ON, **QUIETLY)
    wire_asking(watch.asking, watch.buttons["remove"], lambda batch_id, visitor: batches.question(visitor, batch_id),
                [watch.choice, watch.visitor], watch.status, GO_ON)
    watch.asking.yes.click(_then_look(watch, batches.remove), inputs, outputs, trigger_mode="once", **QUIETLY).then(
        None, js=GO_ON, **QUIETLY)


def _wire_saving(watch: Watch) -> None:
    import gradio as gr

    asked = [watch.make, watch.stop_making]

    def buttons(busy: bool) -> list[Any]:
        return [gr.Button(visible=not busy), gr.Button(visible=busy)]

    async def make(visitor: Any, batch_id: str | None, kind: str | None) -> Any:
        """(status, bar, file, both buttons) as the file is made."""
        yield [status("Making the file …", "busy"), "", gr.DownloadButton(visible=False), *buttons(True)]
        try:
            async for saved in saves.saving(visitor, batch_id, kind):
                if saved.path is None:
                    yield [gr.skip(), _bar(saved), *[gr.skip()] * 3]
                else:
                    yield [status(saved.says, "done"), "", gr.DownloadButton(value=str(saved.path), visible=True),
                           *buttons(False)]
        except NarratorError as error:
            yield [status(str(error), "error"), "", gr.skip(), *buttons(False)]

    event = watch.make.click(make, [watch.visitor, watch.choice, watch.kind], [watch.status, watch.bar, watch.file,
                                                                                *asked],
                             concurrency_limit=4, concurrency_id="batch-save", trigger_mode="once", **QUIETLY)
    event.success(None, js=TO_FILE, **QUIETLY)
    watch.stop_making.click(None, cancels=[event], **QUIETLY).then(
        lambda: [status("Stopped. No file was made.", "stopped"), "", *buttons(False)], None,
        [watch.status, watch.bar, *asked], queue=False, **QUIETLY)
    watch.choice.change(lambda visitor, batch: batches.format_of(visitor, batch) or gr.skip(),
                        [watch.visitor, watch.choice], watch.kind, queue=False, **QUIETLY)
    gr.on([watch.kind.input, watch.choice.input, watch.save.click, watch.undo.click],
          lambda: gr.DownloadButton(visible=False), None, watch.file, queue=False, **QUIETLY)


def _bar(saved: saves.Saved) -> str:
    return (f'<div class="download"><progress class="meter" aria-label="Making the file" value="{saved.share:.3f}" '
            f'max="1"></progress><span>{saved.says}</span></div>')
