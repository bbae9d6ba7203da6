"""What the lists of the page share: a button that acts on what is watched, and the question before one is removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from narrator.records import NarratorError
from narrator.ui.accessibility import status
from narrator.ui.work import QUIETLY

_BUSY = status("", "busy").partition("><")[0]


@dataclasses.dataclass(frozen=True)
class Asking:
    """The widgets of a question. name: what their names on the page begin with."""

    name: str
    group: Any
    words: Any
    keep: Any
    yes: Any


def asking(name: str, yes: str = "Delete it") -> Asking:
    """The widgets, unseen, in the column that is open. yes: what the button that removes says."""
    import gradio as gr

    with gr.Group(visible=False, elem_id=f"{name}-asking") as group:
        words = gr.HTML("")
        with gr.Row():
            size = {"size": "md", "min_width": 90}
            return Asking(name, group, words, gr.Button("Keep it", elem_id=f"{name}-keep", **size),
                          gr.Button(yes, elem_id=f"{name}-yes", variant="stop", **size))


def wire_asking(parts: Asking, button: Any, question: Callable[..., str], inputs: Sequence[Any], line: Any,
                back: str) -> None:
    """`button` asks what `question` makes of `inputs`, the first of which is the choice of what may be removed. Keeping
    it, and another choice, take the question away; what `yes` does is wired where it is known.

    line: the status line, told why where `question` raises NarratorError. back: the script that focuses what is next.
    """
    import gradio as gr

    def ask(*given: Any) -> Any:
        try:
            return gr.Group(visible=True), question(*given), gr.skip()
        except NarratorError as error:
            return gr.Group(visible=False), "", status(str(error), "error")

    button.click(ask, [*inputs], [parts.group, parts.words, line], queue=False, **QUIETLY).then(
        None, js=f"() => window.shared.goOn('#{parts.name}-keep', true)", **QUIETLY)
    gr.on([parts.yes.click, inputs[0].change], lambda: gr.Group(visible=False), None, parts.group, queue=False,
          **QUIETLY)
    parts.keep.click(lambda: gr.Group(visible=False), None, parts.group, queue=False, **QUIETLY).then(
        None, js=back, **QUIETLY)


def begins(line: str) -> bool:
    """Whether a status line says that something has begun, and goes on."""
    return line.startswith(_BUSY)


def then_shown(act: Callable[..., str], show: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """A handler that acts, and then shows what is. Both get what it gets; act makes the status line, and show updates
    that begin with a status line, left out, and what was seen."""
    def both(*given: Any) -> list[Any]:
        line = act(*given)
        _, seen, *rest = show(*given)
        if begins(line):  # how it ends is told at the next look, even if it has ended by now
            seen = seen | {"state": None}
        return [line, seen, *rest]
    return both
