"""The rows of a batch that is watched: their texts are edited, kept and undone, and their sounds played. It wires;
narrator.ui.batch_handlers works."""

from __future__ import annotations

import shutil
from typing import Any

from narrator.records import NarratorError
from narrator.ui import batch_handlers as batches
from narrator.ui.accessibility import status
from narrator.ui.batch_parts import Watch, shown
from narrator.ui.work import QUIETLY
from narrator.uploads import new_sound

TO_TEXTS = "() => window.batch.goOn('#batch-long textarea', true)"
TO_ROW = "() => window.batch.back()"
PLAY = "() => window.batch.play()"
POSITION = "(...given) => [...given.slice(0, -1), window.batch.position]"  # of the row whose button was pressed


def wire_editing(watch: Watch) -> None:
    """Edit, keep, leave, undo, play."""
    import gradio as gr

    batch = [watch.visitor, watch.choice]
    texts = [watch.status, watch.editor, watch.about, watch.alt, watch.long, watch.position]

    def keep(visitor: Any, batch_id: str | None, page: int, position: int | None, alt: str, long: str) -> list[Any]:
        line, kept = batches.save(visitor, batch_id, position, alt or "", long or "")
        return [gr.Group(visible=not kept), line, *shown(watch, batches.look(visitor, batch_id, page))[1:]]

    def undo(visitor: Any, batch_id: str | None, page: int) -> list[Any]:
        line = batches.undo(visitor, batch_id)
        return [line, *shown(watch, batches.look(visitor, batch_id, page))[1:]]

    watch.edit.click(_opened, [*batch, watch.position], texts, js=POSITION, queue=False, **QUIETLY).then(
        None, js=TO_TEXTS, **QUIETLY)
    watch.save.click(keep, [*batch, watch.page, watch.position, watch.alt, watch.long],
                     [watch.editor, *watch.outputs()], trigger_mode="once", **QUIETLY).then(None, js=TO_ROW, **QUIETLY)
    gr.on([watch.leave.click, watch.choice.input, watch.asking.yes.click], lambda: gr.Group(visible=False), None,
          watch.editor, queue=False, **QUIETLY)
    watch.leave.click(None, js=TO_ROW, **QUIETLY)
    watch.undo.click(undo, [*batch, watch.page], watch.outputs(), trigger_mode="once", **QUIETLY).then(
        None, js=TO_ROW, **QUIETLY)
    watch.play.click(_played, [*batch, watch.position], [watch.status, watch.sound], js=POSITION, **QUIETLY).then(
        None, js=PLAY, **QUIETLY)


def _opened(visitor: Any, batch_id: str | None, position: int | None) -> list[Any]:
    """The editor with the texts of a row."""
    import gradio as gr

    try:
        about, alt, long = batches.texts_of(visitor, batch_id, position)
    except NarratorError as error:
        return [status(str(error), "error"), gr.Group(visible=False), "", "", "", None]
    return [gr.skip(), gr.Group(visible=True), about, alt, long, position]


def _played(visitor: Any, batch_id: str | None, position: int | None) -> Any:
    """(status, player) of a row's sound."""
    import gradio as gr

    try:
        sound = batches.sound_of(*batches.row_of(visitor, batch_id, position))
        if sound is None:
            raise NarratorError("The sound is not there any more: change the text, and it is spoken anew.")
        with new_sound() as path:
            shutil.copyfile(sound, path)
    except NarratorError as error:
        return status(str(error), "error"), gr.skip()
    return gr.skip(), gr.Audio(value=str(path), visible=True)
