"""The page: one module a tab, plus theme and accessibility."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

IDLE_S = 0.02  # seconds between two looks at an empty queue


def build_page(further: Sequence[tuple[str, Callable[[Any, Any], None]]] = ()) -> Any:
    """The whole page as a `gr.Blocks`, not launched; the named endpoints are part of it.

    further: (title, function) of tabs that stand above this package; the function builds its tab, given the `gr.Tab`
    and what makes a button lead to the Narrate tab (narrator.ui.choosing: leads_here).
    """
    import gradio as gr

    from narrator.api import add_endpoints
    from narrator.ui.accessibility import header
    from narrator.ui.visitors import visitor_state

    with gr.Blocks(title="Visual Narrator", analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as page:
        add_endpoints()  # first, so that no handler of the page takes their names
        visitor = visitor_state(page)
        gr.HTML(header(), elem_id="header")
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:  # on a phone none is out of sight
            _tabs(page, tabs, visitor, further)
    page.queue(default_concurrency_limit=8, max_size=64)
    # Private, but Gradio's own pause of a millisecond is 5 % of a core while nobody does anything.
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = IDLE_S
    return page


def _tabs(page: Any, tabs: Any, visitor: tuple[Any, Any], further: Sequence[tuple[str, Callable[[Any, Any], None]]]
          ) -> None:
    """In the order in which they stand."""
    import gradio as gr

    from narrator.ui.batch_tab import batch_tab
    from narrator.ui.choosing import leads_here
    from narrator.ui.compare_tab import compare_tab
    from narrator.ui.evaluate_tab import evaluate_tab
    from narrator.ui.history_tab import history_tab
    from narrator.ui.models_tab import models_tab
    from narrator.ui.narrate_tab import narrate_tab

    with gr.Tab("Narrate", id="narrate") as narrate:
        parts = narrate_tab(page, narrate, visitor)
    with gr.Tab("Compare", id="compare") as compare:
        compare_tab(page, compare, tabs, visitor, parts.kept)
    with gr.Tab("Evaluate", id="evaluate") as evaluate:
        evaluate_tab(evaluate, visitor)
    with gr.Tab("Batch", id="batch") as batch:
        batch_tab(batch, visitor)
    with gr.Tab("History", id="history") as history:
        history_tab(page, history, tabs, parts)
    with gr.Tab("Models", id="models") as models:
        models_tab(models)
    for title, build in further:
        with gr.Tab(title, id=title.lower()) as tab:
            build(tab, leads_here(parts, tabs))
