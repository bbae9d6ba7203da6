"""Earlier uploads on the Train tab: which there are, and one less. It wires; trainer.tab.kept_uploads works."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from narrator.records import NarratorError
from narrator.ui.accessibility import status
from narrator.ui.asking import asking, wire_asking
from narrator.ui.work import QUIETLY
from trainer.tab import kept_uploads
from trainer.tab.form import Form
from trainer.tab.widgets import choice

GO_ON = "() => window.training.goOn('#train-uploads > button', true)"


@dataclasses.dataclass
class Uploads:
    """The widgets."""

    part: Any = None
    table: Any = None
    choice: Any = None
    delete: Any = None
    asking: Any = None  # narrator.ui.asking: Asking

    def outputs(self) -> list[Any]:
        """What `shown` fills."""
        return [self.table, self.choice, self.delete, self.asking.group]


def uploads_part() -> Uploads:
    """The widgets, folded, inside the column that is open."""
    import gradio as gr

    parts = Uploads()
    with gr.Accordion("Earlier uploads", open=False, elem_id="train-uploads") as parts.part:
        parts.table = gr.HTML(kept_uploads.NONE, elem_id="train-uploads-table", elem_classes="flat")
        parts.choice = choice([], label="Upload", elem_id="train-uploads-choice", visible=False)
        parts.delete = gr.Button("Delete …", size="md", elem_id="train-uploads-delete", visible=False)
        parts.asking = asking("train-uploads")
    return parts


def wire_uploads(parts: Uploads, form: Form, line: Any) -> None:
    """Looking, asking, deleting. line: the tab's status line."""
    def question(chosen: str | None, state: Mapping[str, Any] | None) -> str:
        return kept_uploads.question(chosen, _held(state))

    def delete(chosen: str | None, state: Mapping[str, Any] | None) -> list[Any]:
        try:
            told = status(kept_uploads.delete(chosen, _held(state)), "done")
        except NarratorError as error:
            told = status(str(error), "error")
        return [told, *shown()]

    parts.part.expand(shown, None, parts.outputs(), **QUIETLY)
    wire_asking(parts.asking, parts.delete, question, [parts.choice, form.state], line, GO_ON)
    parts.asking.yes.click(delete, [parts.choice, form.state], [line, *parts.outputs()], trigger_mode="once",
                           **QUIETLY).then(None, js=GO_ON, **QUIETLY)


def shown() -> list[Any]:
    """Updates for `Uploads.outputs`."""
    import gradio as gr

    try:
        uploads = kept_uploads.kept()
    except NarratorError:  # nothing can be kept here, so nothing is
        uploads = []
    known = kept_uploads.choices(uploads)
    return [kept_uploads.table(uploads), gr.Dropdown(choices=known, value=known[0][1] if known else None,
                                                     visible=bool(known)),
            gr.Button(visible=bool(known)), gr.Group(visible=False)]


def _held(state: Mapping[str, Any] | None) -> str | None:
    return kept_uploads.held_by(dict(state) if state else None)
