"""The right side of the Evaluate tab: all evaluations, and one of them watched. narrator.ui.evaluate_handlers works."""

from __future__ import annotations

import dataclasses
from typing import Any

from narrator.ui import evaluate_handlers as handlers
from narrator.ui import evaluate_view as views
from narrator.ui.asking import asking, then_shown, wire_asking
from narrator.ui.evaluate_results import Results, results_shown
from narrator.ui.fields import choice
from narrator.ui.work import LATEST, QUIETLY, quietly

SOON_S, SELDOM_S = 1.0, 5.0  # seconds between two looks: while something runs, and else
BUTTONS = {"stop": "Cancel", "resume": "Resume", "card": "Put into the model cards", "remove": "Delete …"}
KEEP = "(run) => window.evaluating.keep(run)"
ASKED_FOR = "(run, visitor) => [window.evaluating.asked() || run, visitor]"
GO_ON = "() => window.evaluating.goOn('#evaluate-actions button, #evaluate-overview .scroll, #evaluate-start')"


@dataclasses.dataclass
class Runs:
    """The widgets of the evaluations."""

    status: Any = None
    visitor: Any = None
    choice: Any = None
    seen: Any = None  # a gr.State: handlers.Look.seen
    buttons: dict[str, Any] = dataclasses.field(default_factory=dict)
    asking: Any = None  # narrator.ui.asking: Asking
    facts: Any = None
    overview: Any = None
    detail: Any = None  # all that is about the watched evaluation
    timer: Any = None
    results: Results = dataclasses.field(default_factory=Results)

    def outputs(self) -> list[Any]:
        """What `shown` fills, in its order."""
        return [self.status, self.seen, self.choice, self.facts, self.overview, self.detail, self.timer,
                *self.buttons.values(), *self.results.outputs()]


def runs_part(line: Any, visitor: Any) -> Runs:
    """The widgets, inside the open column. line: the status line; visitor: the state of narrator.ui.visitors."""
    import gradio as gr

    parts = Runs(status=line, visitor=visitor)
    gr.HTML('<h2 class="part">Evaluations</h2>', elem_classes="flat")
    parts.seen = gr.State({})
    with gr.Column(visible=False, elem_id="evaluate-detail") as parts.detail:
        parts.choice = choice([], label="Evaluation", elem_id="evaluate-run")
        with gr.Row(elem_id="evaluate-actions"):
            for name, label in BUTTONS.items():
                parts.buttons[name] = gr.Button(label, elem_id=f"evaluate-{name}", size="md", min_width=90,
                                                visible=False, variant="primary" if name == "resume" else "secondary")
        parts.asking = asking("evaluate")
        parts.facts = gr.HTML("", elem_id="evaluate-facts", elem_classes="flat")
    parts.overview = gr.HTML(views.NONE_YET, elem_id="evaluate-overview", elem_classes="flat")
    parts.timer = gr.Timer(SELDOM_S, active=False)
    return parts


def shown(parts: Runs, look: handlers.Look, visitor: Any, listed: Any = None) -> list[Any]:
    """Updates for `parts.outputs()`. listed: an update of the list, when it is not to be left as it is."""
    import gradio as gr

    def given(value: Any) -> Any:
        return gr.skip() if value is None else value

    if listed is None:
        listed = gr.skip() if look.choices is None else gr.Dropdown(choices=look.choices)
    updates = [given(look.status), look.seen, listed, given(look.facts), given(look.overview),
               gr.skip() if look.choices is None else gr.Column(visible=bool(look.choices)),
               gr.Timer(value=SOON_S if look.live else SELDOM_S, active=True)]
    for name in parts.buttons:
        updates.append(gr.skip() if look.actions is None else gr.Button(visible=name in look.actions))
    return updates + results_shown(parts.results, look, visitor)


def opened(parts: Runs, run_id: str | None, visitor: Any) -> list[Any]:
    """Updates that watch an evaluation anew: the one that is asked for if it is there, else the first one."""
    import gradio as gr

    look = handlers.look(run_id, visitor)
    known = [value for _, value in look.choices or []]
    if run_id not in known:
        run_id = handlers.newest(visitor)
        look = handlers.look(run_id, visitor)
    return shown(parts, look, visitor, gr.Dropdown(choices=look.choices or [], value=run_id))


def wire_runs(parts: Runs, tab: Any) -> None:
    """Looking, and doing."""
    outputs, asked = parts.outputs(), [parts.choice, parts.visitor]

    def again(run: str | None, visitor: Any, seen: dict[str, Any]) -> list[Any]:
        return shown(parts, handlers.look(run, visitor, seen), visitor)

    def watch(run: str | None, visitor: Any) -> list[Any]:
        return opened(parts, run, visitor)

    quiet = quietly(parts.status)
    tab.select(watch, asked, outputs, js=ASKED_FOR, queue=False, **quiet)
    parts.choice.input(watch, asked, outputs, queue=False, **quiet | LATEST)
    parts.choice.change(None, parts.choice, None, js=KEEP, **QUIETLY)
    parts.timer.tick(again, [*asked, parts.seen], outputs, queue=False, trigger_mode="once", **quiet)
    for name, act in (("stop", handlers.stop), ("resume", handlers.resume), ("card", handlers.to_cards)):
        parts.buttons[name].click(then_shown(act, watch), asked, outputs, trigger_mode="once", **QUIETLY).then(
            None, js=GO_ON, **QUIETLY)
    wire_asking(parts.asking, parts.buttons["remove"], handlers.question, asked, parts.status, GO_ON)
    parts.asking.yes.click(then_shown(handlers.remove, watch), asked, outputs, trigger_mode="once", **QUIETLY).then(
        None, js=GO_ON, **QUIETLY)
