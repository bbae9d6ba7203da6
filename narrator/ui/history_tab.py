"""The History tab: what was narrated, voted and corrected, for its owner alone. Tabs wire; narrator.ui.history_handlers
works."""

from __future__ import annotations

import dataclasses
from typing import Any

from narrator.keeping import keeps_nothing
from narrator.records import NarratorError
from narrator.ui import history_handlers as handlers
from narrator.ui.accessibility import status
from narrator.ui.filing import ALL, NOTHING, wants
from narrator.ui.parts import Parts as NarrateParts
from narrator.ui.reopening import opened, targets, updates
from narrator.ui.work import LATEST, QUIETLY, quietly

GO_ON = "() => window.past.goOn()"  # a button that was pressed may be gone
ASK = "() => window.past.focus('#history-no')"
SAVE = "() => window.past.focus('#history-zip', true)"
PLAY = "() => window.past.play()"
OPENED = "() => window.past.focus('#describe')"


@dataclasses.dataclass
class Parts:
    """The widgets that handlers read and write."""

    visitor: Any = None
    status: Any = None
    kind: Any = None
    words: Any = None
    search: Any = None
    table: Any = None
    start: Any = None  # a gr.State: the number of the first line
    pages: dict[str, Any] = dataclasses.field(default_factory=dict)  # newer, older
    one: Any = None  # what can be done with one, while there is one
    choice: Any = None
    open: Any = None
    play: Any = None
    delete: Any = None
    all: Any = None  # what can be done with all
    clear: Any = None
    export: Any = None
    cancel: Any = None
    zip: Any = None
    sound: Any = None
    asking: Any = None
    question: Any = None
    yes: Any = None
    no: Any = None
    keep: Any = None

    def shown(self) -> list[Any]:
        """The outputs that `_shown` fills."""
        return [self.table, self.start, *self.pages.values(), self.one, self.choice, self.open, self.play, self.all,
                self.zip]

    def asked(self) -> list[Any]:
        """What a listing is made from."""
        return [self.kind, self.words, self.start, self.visitor]


def history_tab(page: Any, tab: Any, tabs: Any, narrate: NarrateParts) -> None:
    """Build the contents of `tab`, the `gr.Tab` that is open, inside `page`. tabs: the `gr.Tabs` around it; narrate:
    the Narrate tab, in which a narration is opened again."""
    import gradio as gr

    parts = Parts(visitor=narrate.visitor, start=gr.State(0))
    parts.status = gr.HTML(handlers.READY, elem_id="history-status")
    with gr.Row(elem_id="history-bar"):
        kinds = [(title, kind) for kind, title in handlers.TITLES.items()]
        parts.kind = gr.Dropdown(kinds, value=handlers.NARRATIONS, label="Show", elem_id="history-kind",
                                 filterable=False, min_width=150, scale=1)
        parts.words = gr.Textbox(label="Search", elem_id="history-words", lines=1, max_lines=1, min_width=150, scale=3,
                                 placeholder="Words that it holds", max_length=200)
        parts.search = gr.Button("Search", elem_id="history-search", size="md", min_width=110, scale=0)
    _acting_on_one(parts)
    parts.table = gr.HTML("", elem_id="history-table")
    with gr.Row(elem_id="history-pages"):
        for name, label in (("newer", "Newer"), ("older", "Older")):
            parts.pages[name] = gr.Button(label, size="md", elem_id=f"history-{name}", min_width=110, visible=False)
    _acting_on_all(parts)
    off = keeps_nothing()
    parts.keep = gr.Checkbox(not off, label="Keep my narrations", elem_id="history-keep", interactive=not off,
                             info="This server keeps nothing." if off else "Remembered by this browser. Without it, "
                             "what you describe from now on is not kept; corrections and votes still are.")
    _wire_listing(parts, tab)
    _wire_one(parts, tabs, narrate)
    _wire_all(parts)
    _wire_export(parts)
    _wire_keep(parts, page, narrate)


def _acting_on_one(parts: Parts) -> None:
    import gradio as gr

    size: dict[str, Any] = {"size": "md", "min_width": 110}
    with gr.Column(visible=False, elem_id="history-one") as parts.one:
        parts.choice = gr.Dropdown([], label="With this one", elem_id="history-choice", filterable=False)
        with gr.Row(elem_id="history-one-buttons"):
            parts.open = gr.Button("Open in Narrate", elem_id="history-open", variant="primary", **size)
            parts.play = gr.Button("Play its sound", elem_id="history-play", **size)
            parts.delete = gr.Button("Delete it", elem_id="history-delete", **size)
    parts.sound = gr.Audio(label="Narration", type="filepath", interactive=False, elem_id="history-sound", buttons=[],
                           visible="hidden", show_label=False, container=False,
                           waveform_options=gr.WaveformOptions(show_recording_waveform=False))


def _acting_on_all(parts: Parts) -> None:
    import gradio as gr

    size: dict[str, Any] = {"size": "md", "min_width": 110}
    with gr.Row(visible=False, elem_id="history-all") as parts.all:
        parts.export = gr.Button("Export all", elem_id="history-export", **size)
        parts.cancel = gr.Button("Cancel export", elem_id="history-cancel", visible=False, **size)
        parts.zip = gr.DownloadButton("Save .zip", elem_id="history-zip", visible=False, **size)
        parts.clear = gr.Button("Delete all …", elem_id="history-clear", **size)
    with gr.Column(visible=False, elem_id="history-asking") as parts.asking:
        parts.question = gr.HTML("")
        with gr.Row():
            parts.no = gr.Button("Keep them", elem_id="history-no", **size)
            parts.yes = gr.Button("Delete all", elem_id="history-yes", variant="stop", **size)


def _listed(kind: str, words: str, start: int, visitor: Any) -> list[Any]:
    """Updates for the status line and `Parts.shown()`."""
    found = handlers.listing(kind, words, start, visitor)
    return [found.said, *_shown(kind, found)]


def _after(line: str, kind: str, words: str, start: int, visitor: Any) -> list[Any]:
    """The same once something has been done, which `line` tells."""
    return [line, *_shown(kind, handlers.listing(kind, words, start, visitor))]


def _shown(kind: str, found: handlers.Listing) -> list[Any]:
    """Updates for `Parts.shown()`. A zip that was made before is no longer all of them."""
    import gradio as gr

    first = found.choices[0][1] if found.choices else None
    narrations = kind == handlers.NARRATIONS
    return [found.table, found.start, gr.Button(visible=found.newer), gr.Button(visible=found.older),
            gr.Column(visible=bool(found.choices)), gr.Dropdown(choices=list(found.choices), value=first),
            gr.Button(visible=narrations), gr.Button(visible=narrations), gr.Row(visible=found.any),
            gr.DownloadButton(visible=False)]


def _wire_listing(parts: Parts, tab: Any) -> None:
    import gradio as gr

    def first(kind: str, words: str, start: int, visitor: Any) -> list[Any]:
        return _listed(kind, words, 0, visitor)

    def turn(by: int) -> Any:
        def turned(kind: str, words: str, start: int, visitor: Any) -> list[Any]:
            return _listed(kind, words, start + by, visitor)
        return turned

    shown = [parts.status, *parts.shown()]
    tab.select(_listed, parts.asked(), shown, queue=False, **quietly(parts.status))
    gr.on([parts.search.click, parts.words.submit, parts.kind.input], first, parts.asked(), shown,
          **LATEST)
    parts.kind.input(lambda: (gr.Column(visible=False), gr.Audio(value=None, visible="hidden")), None,
                     [parts.asking, parts.sound], queue=False, **LATEST)
    for name, by in (("newer", -handlers.SHOWN), ("older", handlers.SHOWN)):
        parts.pages[name].click(turn(by), parts.asked(), shown, trigger_mode="once", **QUIETLY).then(
            None, js="() => window.past.goOn('#history-table .scroll')", **QUIETLY)


def _wire_one(parts: Parts, tabs: Any, narrate: NarrateParts) -> None:
    import gradio as gr

    into = targets(narrate, tabs)

    def reopen(chosen: str | None, visitor: Any) -> list[Any]:
        try:
            return [gr.skip(), *updates(opened(handlers.find(chosen, visitor)))]
        except NarratorError as error:
            return [status(str(error), "error"), *(gr.skip() for _ in into)]

    def play(chosen: str | None, visitor: Any) -> Any:
        line, path = handlers.sound(chosen, visitor)
        return line, gr.Audio(value=str(path), visible=True) if path else gr.Audio(value=None, visible="hidden")

    def delete(kind: str, words: str, start: int, visitor: Any, chosen: str | None) -> list[Any]:
        return _after(handlers.delete(kind, chosen, visitor), kind, words, start, visitor)

    parts.open.click(reopen, [parts.choice, parts.visitor], [parts.status, *into], trigger_mode="once",
                     **QUIETLY).then(None, js=OPENED, **QUIETLY)
    parts.play.click(play, [parts.choice, parts.visitor], [parts.status, parts.sound], trigger_mode="once",
                     **QUIETLY).then(None, js=PLAY, **QUIETLY)
    parts.delete.click(delete, [*parts.asked(), parts.choice], [parts.status, *parts.shown()], trigger_mode="once",
                       **QUIETLY).then(None, js=GO_ON, **QUIETLY)


def _wire_all(parts: Parts) -> None:
    import gradio as gr

    def ask(kind: str, visitor: Any) -> Any:
        try:
            return gr.Column(visible=True), handlers.question(kind, visitor), gr.skip()
        except NarratorError as error:
            return gr.Column(visible=False), "", status(str(error), "error")

    def delete_all(kind: str, words: str, start: int, visitor: Any) -> list[Any]:
        return [gr.Column(visible=False), *_after(handlers.delete_all(kind, visitor), kind, words, start, visitor)]

    parts.clear.click(ask, [parts.kind, parts.visitor], [parts.asking, parts.question, parts.status], queue=False,
                      **QUIETLY).then(None, js=ASK, **QUIETLY)
    parts.no.click(lambda: gr.Column(visible=False), None, parts.asking, queue=False, **QUIETLY).then(
        None, js=GO_ON, **QUIETLY)
    parts.yes.click(delete_all, parts.asked(), [parts.asking, parts.status, *parts.shown()], trigger_mode="once",
                    **QUIETLY).then(None, js=GO_ON, **QUIETLY)


def _wire_export(parts: Parts) -> None:
    import gradio as gr

    async def export(kind: str, visitor: Any) -> Any:
        async for line, path in handlers.export(kind, visitor):
            ready = gr.DownloadButton(value=str(path), visible=True) if path else gr.DownloadButton(visible=False)
            yield line, ready, gr.Button(visible=path is None and "line busy" in line)

    def cancelled() -> Any:
        return status("The export is cancelled; nothing is deleted.", "stopped"), gr.Button(visible=False)

    running = parts.export.click(export, [parts.kind, parts.visitor], [parts.status, parts.zip, parts.cancel],
                                 trigger_mode="once", **QUIETLY)
    running.success(None, js=SAVE, **QUIETLY)
    parts.cancel.click(None, cancels=[running], **QUIETLY).then(cancelled, None, [parts.status, parts.cancel],
                                                                queue=False, **QUIETLY).then(None, js=GO_ON, **QUIETLY)


def _wire_keep(parts: Parts, page: Any, narrate: NarrateParts) -> None:
    """The browser remembers it; the box shows what it remembers."""
    parts.keep.input(lambda wanted: (ALL if wanted else NOTHING, handlers.keeping(wanted)), parts.keep,
                     [narrate.kept, parts.status], queue=False, **LATEST)
    page.load(wants, narrate.kept, parts.keep, queue=False, **QUIETLY)
