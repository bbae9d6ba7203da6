"""The widgets of the Compare tab, and what a view changes in them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from narrator.comparing import MOST
from narrator.ui.compare_handlers import SHOWN, VOTING, Made, View

PLACES = range(1, MOST + 1)


@dataclasses.dataclass
class CompareParts:
    """Lists have a widget for each place."""

    visitor: Any = None
    kept: Any = None  # whether this browser wants its narrations kept (narrator.ui.filing)
    made: Any = None  # a gr.State: compare_handlers.Made
    stage: Any = None  # a gr.State: View.stage
    whose: Any = None  # a gr.State: whose settings the form shows
    drafts: Any = None  # a gr.State: compare_handlers.Drafts
    picture: Any = None
    examples: list[tuple[Any, Path]] = dataclasses.field(default_factory=list)
    variants: list[Any] = dataclasses.field(default_factory=list)
    prompt: Any = None
    references: Any = None
    blind: Any = None
    listening: Any = None
    run: Any = None
    stop: Any = None
    status: Any = None
    cards: list[Any] = dataclasses.field(default_factory=list)
    columns: list[Any] = dataclasses.field(default_factory=list)
    speaks: list[Any] = dataclasses.field(default_factory=list)
    voting: Any = None  # the group around the buttons
    bests: list[Any] = dataclasses.field(default_factory=list)
    others: list[tuple[Any, str]] = dataclasses.field(default_factory=list)  # button, what it says
    undo: Any = None
    figures: Any = None
    sound: Any = None
    voices: list[Any] = dataclasses.field(default_factory=list)
    manner: list[Any] = dataclasses.field(default_factory=list)  # speed, pitch
    choose_whose: Any = None
    same: Any = None
    owners: Any = None
    settings: list[Any] = dataclasses.field(default_factory=list)
    sharing: Any = None  # what is there to share with, once there is something
    pictured: Any = None
    html: Any = None
    json: Any = None
    copy: Any = None
    link: Any = None
    file: Any = None
    arrived: Any = None  # what the address of the page holds
    leaderboard: Any = None
    board: Any = None
    exports: list[Any] = dataclasses.field(default_factory=list)

    def outputs(self) -> list[Any]:
        """What `updates` fills, in its order."""
        return [self.status, self.figures, self.made, self.stage, *self.cards, *self.columns, *self.speaks, self.voting,
                *self.bests, self.undo, self.sharing]


def updates(parts: CompareParts, view: View) -> list[Any]:
    """What a view changes, for `parts.outputs()`."""
    import gradio as gr

    skip = gr.skip()
    first = [skip if part is None else part for part in (view.status, view.figures, view.made, view.stage)]
    drawn = view.cards or {}
    cards = [drawn.get(place - 1, skip) for place in PLACES]
    if view.stage is None:
        return [*first, *cards, *[skip] * (len(parts.outputs()) - len(first) - len(cards))]
    return [*first, *cards, *_staged(parts, view.made, view.stage)]


def _staged(parts: CompareParts, made: Made | None, stage: str) -> list[Any]:
    """What can be seen and pressed at a stage."""
    import gradio as gr

    readable = set(made.readable()) if made is not None and stage in (VOTING, SHOWN) else set()
    count = len(made.comparison.results) if made is not None else MOST
    columns = [gr.Column(visible=place <= count) if made is not None else gr.skip() for place in PLACES]
    speaks = [gr.Button(visible=place - 1 in readable) for place in PLACES[:len(parts.speaks)]]
    bests = [gr.Button(visible=stage == VOTING and place - 1 in readable) for place in PLACES]
    return [*columns, *speaks, gr.Column(visible=stage == VOTING), *bests,
            gr.Button(visible=stage == SHOWN and made is not None and bool(made.vote)),
            gr.Column(visible=False)]  # until its files are there
