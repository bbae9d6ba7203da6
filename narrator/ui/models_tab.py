"""The Models tab: what is here, what can be had, what to do with it. Tabs wire; narrator.ui.models_handlers works."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from narrator.hub import shared_downloads
from narrator.ui import models_handlers as handlers
from narrator.ui import models_view as views
from narrator.ui.asking import asking, begins, wire_asking
from narrator.ui.models_sharing import sharing
from narrator.ui.work import LATEST, QUIETLY, quietly

TICK_S = 0.5
BUTTONS = {"pull": "Download", "cancel": "Cancel download", "load": "Load", "unload": "Unload", "remove": "Remove …"}
# A button that was pressed may be gone: whoever works by keyboard goes on from the first that is there.
GO_ON = "() => window.shared.goOn('#models-actions button')"


@dataclasses.dataclass
class Parts:
    """The widgets that handlers read and write."""

    status: Any = None
    choice: Any = None
    details: Any = None
    bar: Any = None
    buttons: dict[str, Any] = dataclasses.field(default_factory=dict)
    asking: Any = None  # narrator.ui.asking: Asking
    overview: Any = None
    timer: Any = None
    watched: Any = None  # a gr.State: ids of downloads that this page has seen running

    def shown(self) -> list[Any]:
        """The outputs that `_panel` fills."""
        return [self.details, self.bar, self.overview, self.timer, self.watched, *self.buttons.values()]


def models_tab(tab: Any) -> None:
    """Build the tab's contents inside `tab`, the `gr.Tab` that is open."""
    import gradio as gr

    parts = Parts()
    manage = handlers.may_manage()
    first = next((variant_id for _, variant_id in handlers.choices()), None)
    parts.status = gr.HTML(handlers.READY, elem_id="models-status")
    with gr.Row(elem_id="models-stage", equal_height=False):
        with gr.Column(min_width=280, elem_id="model"):
            _one(parts, first, manage)
        with gr.Column(min_width=280, elem_id="models-all"):
            parts.overview = gr.HTML("", elem_id="models-overview")
            if not manage:
                gr.HTML(f"<p>{handlers.NOT_HERE}</p>", elem_id="models-not-here")
    parts.timer = gr.Timer(TICK_S, active=False)
    parts.watched = gr.State([])
    _wire(parts, tab)
    if manage:
        _wire_managing(parts)
        sharing(parts.status, parts.choice, tab, lambda variant_id: _listed(parts, variant_id),
                [parts.choice, *parts.shown()])


def _one(parts: Parts, first: str | None, manage: bool) -> None:
    import gradio as gr

    parts.choice = gr.Dropdown(handlers.choices(), value=first, label="Model", elem_id="models-choice",
                               filterable=False)
    with gr.Row(elem_id="models-actions"):
        for name, label in BUTTONS.items():
            if manage or name == "load":
                parts.buttons[name] = gr.Button(label, elem_id=f"models-{name}", size="md", min_width=90, visible=False,
                                                variant="primary" if name in ("pull", "load") else "secondary")
    parts.bar = gr.HTML("", elem_id="models-bar")
    if manage:
        parts.asking = asking("models", yes="Remove it")
    parts.details = gr.HTML("", elem_id="models-details")


def _panel(parts: Parts, variant_id: str | None, also: Sequence[str] = ()) -> list[Any]:
    """Updates for `parts.shown()`. also: downloads whose end has not been told yet, though they may be over by now."""
    import gradio as gr

    found = handlers.entry(variant_id)
    possible = handlers.actions(found)
    running = list(dict.fromkeys([*also, *(download.variant.id for download in shared_downloads().running())]))
    return [views.details(found), views.bar(found), views.overview(handlers.entries()),
            gr.Timer(active=bool(running)), running, *(gr.Button(visible=name in possible) for name in parts.buttons)]


def _listed(parts: Parts, variant_id: str | None) -> list[Any]:
    """Updates for the choice and `parts.shown()`, once the catalog may have changed."""
    import gradio as gr

    known = handlers.choices()
    value = next((name for _, name in known if name == variant_id), known[0][1] if known else None)
    return [gr.Dropdown(choices=known, value=value), *_panel(parts, value)]


def _wire(parts: Parts, tab: Any) -> None:
    """What everyone may do: look, and load."""
    import gradio as gr

    def look(variant_id: str | None) -> list[Any]:
        return _listed(parts, variant_id)

    def tick(variant_id: str | None, watched: list[str]) -> list[Any]:
        line = handlers.ended(watched)
        if line is not None:
            return [line, *_panel(parts, variant_id)]
        rest = [gr.skip()] * (len(parts.shown()) - 2)
        return [gr.skip(), gr.skip(), views.bar(handlers.entry(variant_id)), *rest]

    quiet = quietly(parts.status)
    tab.select(look, parts.choice, [parts.choice, *parts.shown()], queue=False, **quiet)
    parts.choice.input(lambda variant_id: _panel(parts, variant_id), parts.choice, parts.shown(), queue=False,
                       **quiet | LATEST)
    parts.timer.tick(tick, [parts.choice, parts.watched], [parts.status, *parts.shown()], queue=False,
                     trigger_mode="once", **quiet)
    _wire_slow(parts, parts.buttons["load"], handlers.load)


def _wire_managing(parts: Parts) -> None:
    """What only those may do who run the page. The handlers look again, as every event can be called from outside."""
    for name, act in (("pull", handlers.pull), ("cancel", handlers.cancel)):
        parts.buttons[name].click(_then_panel(parts, act), parts.choice, [parts.status, *parts.shown()],
                                  **QUIETLY).then(None, js=GO_ON, **QUIETLY)
    _wire_slow(parts, parts.buttons["unload"], handlers.unload)
    wire_asking(parts.asking, parts.buttons["remove"], handlers.question, [parts.choice], parts.status, GO_ON)
    _wire_slow(parts, parts.asking.yes, handlers.remove_now)


def _then_panel(parts: Parts, act: Callable[[str | None], str]) -> Callable[[str | None], list[Any]]:
    def both(variant_id: str | None) -> list[Any]:
        line = act(variant_id)
        begun = [variant_id] if variant_id and begins(line) else []
        return [line, *_panel(parts, variant_id, begun)]
    return both


def _wire_slow(parts: Parts, button: Any, act: Callable[[str | None], AsyncIterator[str]]) -> None:
    """Status lines as they come, then the panel; a model that is gone leaves the list.

    The panel is asked for anew at the end: what was asked before, as when the tab was chosen, may answer late and would
    show what was true before.
    """
    async def work(variant_id: str | None) -> Any:
        async for line in act(variant_id):
            yield line

    button.click(work, parts.choice, parts.status, concurrency_limit=4, concurrency_id="models", trigger_mode="once",
                 **QUIETLY).then(lambda variant_id: _listed(parts, variant_id), parts.choice,
                                 [parts.choice, *parts.shown()], queue=False, **QUIETLY).then(None, js=GO_ON, **QUIETLY)
