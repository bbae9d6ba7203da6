"""The corrections on the Narrate tab: kept by a button, listed, deleted and exported. narrator.ui.correcting works."""

from __future__ import annotations

import dataclasses
from typing import Any

from narrator.records import NarratorError
from narrator.ui import correcting
from narrator.ui.accessibility import status
from narrator.ui.handlers import Made
from narrator.ui.limits import alone
from narrator.ui.parts import Parts
from narrator.ui.work import LATEST, QUIETLY

# A button that was pressed may be gone: whoever works by keyboard goes on from here.
GO_ON = ("() => setTimeout(() => { if (document.activeElement === document.body)"
         " document.querySelector('#corrections > button')?.focus(); }, 200)")
ASK = "() => setTimeout(() => document.querySelector('#corrections-no')?.focus(), 200)"
# On to the file, unless the person has gone on elsewhere meanwhile.
SAVE = ("() => setTimeout(() => { if (['', 'corrections-export'].includes(document.activeElement.id)"
        " && !document.activeElement.matches('input, textarea, a'))"
        " document.querySelector('#corrections-zip')?.focus(); }, 200)")


@dataclasses.dataclass
class _Panel:
    visitor: Any = None  # the secret of this browser
    accordion: Any = None
    table: Any = None
    actions: Any = None  # choice and buttons, while there is something to act on
    choice: Any = None
    delete: Any = None
    clear: Any = None
    export: Any = None
    zip: Any = None
    asking: Any = None
    question: Any = None
    yes: Any = None
    no: Any = None

    def shown(self) -> list[Any]:
        """The outputs that `_shown` fills."""
        return [self.accordion, self.table, self.choice, self.actions, self.zip]


def corrections_panel(parts: Parts, tab: Any, visitor: tuple[Any, Any]) -> None:
    """Build the list below what is there, and wire it and the button that keeps a correction."""
    import gradio as gr

    panel = _Panel(visitor=visitor[0])
    with gr.Accordion(correcting.title("") if alone() else "Corrections", open=False,
                      elem_id="corrections") as panel.accordion:
        panel.table = gr.HTML("", elem_id="corrections-table")
        with gr.Column(visible=False, elem_id="corrections-actions") as panel.actions:
            panel.choice = gr.Dropdown([], label="Correction to delete", elem_id="corrections-choice",
                                       filterable=False)
            with gr.Row(elem_id="corrections-buttons"):
                panel.delete = gr.Button("Delete it", size="md", elem_id="corrections-delete", min_width=110)
                panel.clear = gr.Button("Delete all …", size="md", elem_id="corrections-clear", min_width=110)
                panel.export = gr.Button("Export", size="md", elem_id="corrections-export", min_width=110)
                panel.zip = gr.DownloadButton("Save .zip", size="md", elem_id="corrections-zip", min_width=110,
                                              visible=False)
        with gr.Group(visible=False, elem_id="corrections-asking") as panel.asking:
            panel.question = gr.HTML("")
            with gr.Row():
                panel.no = gr.Button("Keep them", size="md", elem_id="corrections-no", min_width=110)
                panel.yes = gr.Button("Delete all", size="md", elem_id="corrections-yes", min_width=110,
                                      variant="stop")
    _wire_visitor(panel, visitor[1], tab)
    _wire_keeping(parts, panel)
    _wire_deleting(parts, panel)
    _wire_export(parts, panel)


def _shown(visitor: Any) -> list[Any]:
    """Updates for `_Panel.shown()`. A zip that was made before is no longer all of them."""
    import gradio as gr

    found = correcting.listing(visitor)
    first = found.choices[0][1] if found.choices else None
    return [gr.Accordion(label=correcting.title(visitor)), found.table, gr.Dropdown(choices=found.choices, value=first),
            gr.Column(visible=bool(found.choices)), gr.DownloadButton(visible=False)]


def _wire_visitor(panel: _Panel, arrived: Any, tab: Any) -> None:
    """The list is made when somebody opens it; its title tells how many there are."""
    import gradio as gr

    arrived.then(lambda visitor: gr.Accordion(label=correcting.title(visitor)), panel.visitor, panel.accordion,
                 queue=False, **QUIETLY)
    tab.select(lambda visitor: gr.Accordion(label=correcting.title(visitor)), panel.visitor, panel.accordion,
               queue=False, **QUIETLY)
    panel.accordion.expand(_shown, panel.visitor, panel.shown(), queue=False, **QUIETLY)


def _wire_keeping(parts: Parts, panel: _Panel) -> None:
    import gradio as gr

    def edited(text: str, made: Made | None) -> Any:
        return gr.Button(visible=correcting.is_edited(text, made))

    def keep(text: str, made: Made | None, visitor: Any) -> list[Any]:
        line, kept = correcting.keep(text, made, visitor)
        if not kept:
            return [line, gr.skip(), *(gr.skip() for _ in panel.shown())]
        return [line, gr.Button(visible=False), *_shown(visitor)]

    # A textbox of Gradio tells of typed signs, not of what is pasted, dictated or deleted: page.js hears all of it.
    parts.edited.click(edited, [parts.text, parts.made], parts.keep, queue=False, **LATEST)
    parts.keep.click(keep, [parts.text, parts.made, panel.visitor], [parts.status, parts.keep, *panel.shown()],
                     trigger_mode="once", **QUIETLY).then(None, js=GO_ON, **QUIETLY)


def _wire_deleting(parts: Parts, panel: _Panel) -> None:
    import gradio as gr

    def delete(correction_id: str | None, visitor: Any) -> list[Any]:
        return [correcting.delete(correction_id, visitor), *_shown(visitor)]

    def ask(visitor: Any) -> Any:
        try:
            return gr.Group(visible=True), correcting.question(visitor), gr.skip()
        except NarratorError as error:
            return gr.Group(visible=False), "", status(str(error), "error")

    def delete_all(visitor: Any) -> list[Any]:
        return [gr.Group(visible=False), correcting.delete_all(visitor), *_shown(visitor)]

    panel.delete.click(delete, [panel.choice, panel.visitor], [parts.status, *panel.shown()], trigger_mode="once",
                       **QUIETLY).then(None, js=GO_ON, **QUIETLY)
    panel.clear.click(ask, panel.visitor, [panel.asking, panel.question, parts.status], queue=False,
                      **QUIETLY).then(None, js=ASK, **QUIETLY)
    panel.no.click(lambda: gr.Group(visible=False), None, panel.asking, queue=False, **QUIETLY).then(
        None, js=GO_ON, **QUIETLY)
    panel.yes.click(delete_all, panel.visitor, [panel.asking, parts.status, *panel.shown()], trigger_mode="once",
                    **QUIETLY).then(None, js=GO_ON, **QUIETLY)


def _wire_export(parts: Parts, panel: _Panel) -> None:
    import gradio as gr

    def export(visitor: Any) -> Any:
        line, path = correcting.export(visitor)
        if path is None:
            return line, gr.DownloadButton(visible=False)
        return line, gr.DownloadButton(value=str(path), visible=True)

    panel.export.click(export, panel.visitor, [parts.status, panel.zip], trigger_mode="once", **QUIETLY).then(
        None, js=SAVE, **QUIETLY)
