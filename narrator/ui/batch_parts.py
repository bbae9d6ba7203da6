"""The widgets of a batch that is watched, and what they show next."""

from __future__ import annotations

import dataclasses
from typing import Any

from narrator.ui import batch_handlers as batches

SOON_S, SELDOM_S = 1.0, 5.0  # seconds between two looks: while something runs, and else


@dataclasses.dataclass
class Watch:
    """The widgets of a batch that is watched."""

    status: Any = None
    visitor: Any = None
    seen: Any = None  # a gr.State: batch_handlers.Look.seen
    page: Any = None  # a gr.State: the page of the table, from 1
    position: Any = None  # of the row that is edited; unseen, and no gr.State: the page's script gives it
    none: Any = None
    detail: Any = None
    choice: Any = None
    buttons: dict[str, Any] = dataclasses.field(default_factory=dict)
    asking: Any = None  # narrator.ui.asking: Asking
    facts: Any = None
    bad: Any = None
    mending: Any = None
    better: Any = None
    table: Any = None
    pager: Any = None
    back: Any = None
    at: Any = None
    on: Any = None
    edit: Any = None  # unseen buttons: the page's script presses them for the buttons of a row
    play: Any = None
    sound: Any = None
    editor: Any = None
    about: Any = None
    alt: Any = None
    long: Any = None
    save: Any = None
    leave: Any = None
    undo: Any = None
    kind: Any = None
    make: Any = None
    stop_making: Any = None
    bar: Any = None
    file: Any = None
    timer: Any = None

    def outputs(self) -> list[Any]:
        """What `shown` fills, in its order."""
        return [self.status, self.seen, self.choice, self.facts, self.bad, self.table, self.detail, self.none,
                self.timer, self.page, self.pager, self.back, self.at, self.on, self.undo, self.mending,
                *self.buttons.values()]


def shown(watch: Watch, look: batches.Look, listed: Any = None) -> list[Any]:
    """Updates for `watch.outputs()`. listed: an update of the list of batches, when it is not to be left as it is."""
    import gradio as gr

    def given(value: Any) -> Any:
        return gr.skip() if value is None else value

    if listed is None:
        listed = gr.skip() if look.choices is None else gr.Dropdown(choices=look.choices)
    there = look.choices is None or bool(look.choices)
    page, last = look.pages or (1, 1)
    updates = [given(look.status), look.seen, listed, given(look.facts), given(look.bad), given(look.table),
               gr.skip() if look.choices is None else gr.Column(visible=there),
               gr.skip() if look.choices is None else gr.HTML(visible=not there),
               gr.Timer(value=SOON_S if look.live else SELDOM_S, active=there), page, gr.Row(visible=last > 1),
               gr.Button(interactive=page > 1), gr.Number(value=page, label=f"Page, of {last:,}", maximum=last),
               gr.Button(interactive=page < last), gr.Button(visible=bool(look.undo))]
    if look.actions is None:
        return updates + [gr.skip()] * (1 + len(watch.buttons))
    return [*updates, gr.Column(visible="retry" in look.actions),
            *(gr.Button(visible=name in look.actions) for name in watch.buttons)]


def opened(watch: Watch, visitor: Any, batch_id: str | None, page: int = 1) -> list[Any]:
    """Updates that watch a batch anew: the one that is asked for if it is there, else the one that comes first."""
    import gradio as gr

    look = batches.look(visitor, batch_id, page)
    known = [value for _, value in look.choices or []]
    if batch_id not in known:
        batch_id = batches.newest(visitor)
        look = batches.look(visitor, batch_id, 1)
    return shown(watch, look, gr.Dropdown(choices=look.choices or [], value=batch_id))
