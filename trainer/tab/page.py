"""The Train tab: a new training on the left, the runs on the right, one status line above both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from narrator.ui.accessibility import status
from narrator.ui.work import quietly
from trainer.tab import places, runs
from trainer.tab.doing_part import wire_doing
from trainer.tab.new_part import New, new_part
from trainer.tab.runs_part import runs_part, wire_runs

TITLE = "Train"
HERE = Path(__file__).parent
READY = status("Choose pictures with texts, then press Start training. A run goes on when this page is closed.")
MAX_UPLOAD = "1gb"
NarrateWith = Callable[[Any, Any, Callable[[Any], str | None]], None]  # narrator.ui.choosing: leads_here


def train_tab(tab: Any, narrate_with: NarrateWith) -> None:
    """Build the tab's contents inside `tab`, the `gr.Tab` that is open.

    narrate_with(button, choice, variant_of): makes a button lead to the Narrate tab, with a variant chosen.
    """
    import gradio as gr

    on = places.training_is_on()
    line = gr.HTML(READY if on else status(places.OFF), elem_id="train-status")
    if places.notice() and on:
        gr.HTML(f'<p class="notice">{escape(places.notice())}</p>', elem_id="train-notice", elem_classes="flat")
    if not on:
        return
    with gr.Row(elem_id="train-stage-row", equal_height=False):
        with gr.Column(min_width=280, elem_id="train-new"):
            new = new_part(line)
        with gr.Column(min_width=280, elem_id="train-runs"):
            watched = runs_part(line)
    tab.select(lambda state: first_filled(new, state), new.form.state, new.form.outputs(), queue=False, **quietly(line))
    wire_runs(watched, tab, on)
    wire_doing(new.doing, new.form, watched)
    narrate_with(watched.buttons["narrate"], watched.choice, runs.made_by)


def first_filled(new: New, state: Mapping[str, Any] | None) -> list[Any]:
    """The form of a visitor who comes to the tab: as it was left, or as it begins."""
    import gradio as gr

    if state:
        return [gr.skip()] * len(new.form.outputs())
    return new.form.filled(new.form.fresh())


def dressed(look: Mapping[str, Any]) -> dict[str, Any]:
    """What `Blocks.launch` is given for looks, with the tab's style sheet and script."""
    script = (HERE / "train.js").read_text(encoding="utf-8")
    return {**look, "css": look["css"] + (HERE / "train.css").read_text(encoding="utf-8"),
            "head": f"{look['head']}<script>{script}</script>"}


def upload_limit() -> dict[str, Any]:
    """What `Blocks.launch` is given for uploads: pictures come by the zip where training is on."""
    return {"max_file_size": MAX_UPLOAD} if places.training_is_on() else {}
