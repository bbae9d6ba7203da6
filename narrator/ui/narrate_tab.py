"""The Narrate tab: a picture in, words as they come, a voice that reads them. Tabs wire; narrator.ui.handlers works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from narrator.catalog import problems
from narrator.records import Variant
from narrator.ui import filing, handlers
from narrator.ui.accessibility import ASSETS, left_out, status
from narrator.ui.choosing import giving, inputs_of, offered, titles, wire_variants
from narrator.ui.corrections_panel import corrections_panel
from narrator.ui.fields import settings_form
from narrator.ui.parts import Parts
from narrator.ui.voice import choosing_voice, sound_player, wire_speaking
from narrator.ui.work import LATEST, QUIETLY


def narrate_tab(page: Any, tab: Any, visitor: tuple[Any, Any]) -> Parts:
    """Build the tab `tab` inside `page`, the `gr.Blocks` that is open, for a `visitor` (narrator.ui.visitors); its
    widgets."""
    import gradio as gr

    parts = Parts(visitor=visitor[0], kept=filing.wanted_state(), filed=gr.State(""))
    first = next(iter(offered()), None)
    with gr.Row(elem_id="stage", equal_height=False):  # in the order of use, which is the order of Tab and of a phone
        with gr.Column(min_width=280, elem_id="give"):
            _giving(parts, first)
        with gr.Column(min_width=280, elem_id="get"):
            _getting(parts)
        with gr.Column(min_width=280, elem_id="more"):
            _choosing(parts, first)
    running = [_wire_describing(parts)]
    if parts.speak is not None:
        running += wire_speaking(parts, running[0])
    _wire_stopping(parts, running)
    _wire_giving(parts)
    wire_variants(parts, page, tab)
    _wire_keeping(parts)
    corrections_panel(parts, tab, visitor)
    return parts


def _giving(parts: Parts, first: Variant | None) -> None:
    import gradio as gr

    giving(parts, first)
    with gr.Row(elem_id="doing"):
        parts.describe = gr.Button("Describe", variant="primary", elem_id="describe", scale=2, min_width=140)
        parts.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=90)


def _choosing(parts: Parts, first: Variant | None) -> None:
    import gradio as gr

    with gr.Column(elem_id="examples-part", visible=inputs_of(first)["picture"]["visible"]) as parts.examples_part:
        gr.HTML('<h2 class="small">Or try one of these</h2>', elem_id="examples-title")
        with gr.Row(elem_id="examples", elem_classes="examples"):
            for path in sorted((ASSETS / "pictures").glob("*.jpg")):
                name = path.stem.replace("-", " ").capitalize()
                parts.examples.append((gr.Button(name, icon=str(path), size="sm", min_width=40, elem_classes="example",
                                                 elem_id=f"example-{path.stem}"), path))
    parts.variant = gr.Dropdown(titles(), value=first.id if first else None, label="Model variant", elem_id="variant",
                                filterable=False)
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        parts.settings = settings_form()
        parts.left_out = gr.HTML(left_out(problems()), elem_id="left-out")


def _getting(parts: Parts) -> None:
    import gradio as gr

    parts.status = gr.HTML(handlers.first_words(), elem_id="status")
    parts.doing, parts.made = gr.State(""), gr.State(None)
    parts.text = gr.Textbox(label="Description", lines=4, max_lines=10, interactive=True, elem_id="description",
                            placeholder="The description appears here. You can edit it.", autoscroll=False)
    parts.edited = gr.Button("Edited", visible="hidden", elem_id="edited")
    parts.keep = gr.Button("Keep correction", size="md", elem_id="keep-correction", min_width=120, visible=False)
    parts.drawn = gr.HTML("", elem_id="drawn")
    voices, silence = handlers.known_voices()
    with gr.Row(elem_id="tools"):
        if voices:
            parts.speak = gr.Button("Speak", variant="primary", size="md", elem_id="speak", scale=2, min_width=120)
        parts.copy = gr.Button("Copy", size="md", elem_id="copy", min_width=80)
        parts.save_text = gr.Button("Save .txt", size="md", elem_id="save-text", min_width=80)
        if voices:
            parts.save_sound = gr.DownloadButton("Save .wav", size="md", elem_id="save-sound", interactive=False,
                                                 min_width=80)
    if voices:
        parts.sound = sound_player()
    else:
        gr.HTML(silence, elem_id="no-speech")
    parts.sure = gr.HTML("", elem_id="sure")
    if voices:
        choosing_voice(parts, voices)


def _wire_describing(parts: Parts) -> Any:
    """The event of describing."""
    import gradio as gr

    inputs = [parts.picture, parts.variant, parts.more, parts.mode, parts.prompt, parts.visitor, parts.kept,
              *parts.settings]
    outputs = [parts.status, parts.text, parts.sure, parts.drawn, parts.made, parts.keep, parts.doing, parts.filed]
    return gr.on([parts.describe.click, parts.prompt.submit], describing, inputs, outputs, concurrency_limit=8,
                 concurrency_id="describe", trigger_mode="once", **QUIETLY)


async def describing(path: str | None, variant: str, more: list[str], mode: str | None, prompt: str,
                     *values: Any) -> AsyncIterator[Any]:
    """Updates of the event's outputs. values: visitor, whether to keep, settings. A new text is no correction yet: the
    button that keeps one goes. A finished narration is filed."""
    import gradio as gr

    visitor, wanted, *settings = values
    filing_it: asyncio.Task[tuple[str, str]] | None = None
    async for view in handlers.describe(path, variant, mode or prompt, settings, more or ()):
        shown = [gr.skip() if part is None else part for part in (view.status, view.text, view.sure, view.drawn)]
        unedited = (gr.skip(), gr.skip()) if view.text is None else (view.made, gr.Button(visible=False))
        if view.narration is not None:  # before the page hears of it: it may be closed by then
            filing_it = asyncio.create_task(filing.file(view.narration, view.paths, visitor, wanted))
        yield [*shown, *unedited, view.doing, ""]
    filed, line = await filing_it if filing_it is not None else ("", "")
    # Gradio says the last updates twice, the second time when all is over: what a person has typed by then must stay.
    yield [line or gr.skip(), *(gr.skip() for _ in range(6)), filed]


def _wire_stopping(parts: Parts, running: Sequence[Any]) -> None:
    def stopped(doing: str) -> Any:
        return handlers.stopped(doing), ""

    parts.stop.click(None, cancels=list(running), **QUIETLY).then(
        stopped, parts.doing, [parts.status, parts.doing], queue=False, **QUIETLY)


def _wire_giving(parts: Parts) -> None:
    import gradio as gr

    gr.on([parts.picture.upload, parts.picture.input], handlers.check_picture, parts.picture,
          [parts.picture, parts.status], **LATEST)
    for button, path in parts.examples:
        button.click(_giver(path), None, [parts.picture, parts.status], queue=False, **QUIETLY)


def _giver(path: Path) -> Any:
    return lambda: (str(path), status(f"{path.stem.replace('-', ' ').capitalize()} is ready. Press Describe.", "ready"))


def _wire_keeping(parts: Parts) -> None:
    """Copy and save in the browser: what is on the screen, edits included, goes nowhere else."""
    say = "(text) => window.narrator.{}(text)"
    parts.copy.click(None, parts.text, None, js=say.format("copy"), **QUIETLY)
    parts.save_text.click(None, parts.text, None, js=say.format("save"), **QUIETLY)
