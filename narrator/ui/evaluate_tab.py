"""The Evaluate tab: a new evaluation on the left, the evaluations on the right, report and leaderboard below.

It wires. An evaluation is a folder; whatever the page shows of it is read from there, so that a reload, another window
or a server that was started anew find it again.
"""

from __future__ import annotations

from typing import Any

from narrator.ui import evaluate_examples
from narrator.ui import evaluate_handlers as handlers
from narrator.ui.evaluate_new import READY, New, new_part
from narrator.ui.evaluate_results import results_part, wire_results
from narrator.ui.evaluate_runs import Runs, opened, runs_part, wire_runs
from narrator.ui.limits import alone
from narrator.ui.work import QUIETLY

SHARED = (f'<p class="notice">This page serves several people: {handlers.ROWS_OF_A_VISITOR} rows at most, one '
          "evaluation at a time, and nobody else sees yours. They are deleted a month after your last visit.</p>")


def evaluate_tab(tab: Any, visitor: tuple[Any, Any]) -> None:
    """Build the tab's contents inside `tab`, the `gr.Tab` that is open, for a `visitor` (narrator.ui.visitors)."""
    import gradio as gr

    line = gr.HTML(READY, elem_id="evaluate-status")
    if not alone():
        gr.HTML(SHARED, elem_classes="flat")
    with gr.Row(elem_id="evaluate-stage", equal_height=False):
        with gr.Column(min_width=280, elem_id="evaluate-new"):
            new = new_part(line, visitor[0])
        with gr.Column(min_width=280, elem_id="evaluate-runs"):
            watched = runs_part(line, visitor[0])
    with gr.Column(elem_id="evaluate-results"):
        results_part(watched.results)
    gr.HTML('<h2 class="part">Leaderboard</h2><p class="quiet">Every variant with its newest evaluation. Figures on '
            "different data do not compare.</p>", elem_classes="flat")
    board = gr.HTML("", elem_id="evaluate-leaderboard", elem_classes="flat")
    wire_runs(watched, tab)
    wire_results(watched.results, watched.choice, visitor[0])
    tab.select(lambda: gr.CheckboxGroup(choices=handlers.variants()), None, new.variants, queue=False, **QUIETLY)
    gr.on([tab.select, watched.results.report.change], evaluate_examples.leaderboard, visitor[0], board,
          queue=False, **QUIETLY)
    _wire_start(new, watched)


def _wire_start(new: New, watched: Runs) -> None:
    import gradio as gr

    outputs = watched.outputs()

    def start(variants: list[str], given: Any, rows: str | None, limit: float | None, visitor: Any, *values: Any
              ) -> list[Any]:
        line, run = handlers.begin(variants, given, (rows, limit), values, visitor)
        if run is None:
            return [line, *[gr.skip()] * (len(outputs) - 1)]
        _, seen, *rest = opened(watched, run, visitor)
        return [line, seen | {"state": None}, *rest]  # how it stands is told at the next look

    new.start.click(start, [new.variants, new.given, new.rows, new.limit, new.visitor, *new.settings], outputs,
                    trigger_mode="once", **QUIETLY).then(None, js="() => window.evaluating.show('#evaluate-runs')",
                                                         **QUIETLY)
