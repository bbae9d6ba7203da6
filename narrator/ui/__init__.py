"""The page: one module a tab, plus theme and accessibility."""

from __future__ import annotations

from typing import Any


def build_page() -> Any:
    """The whole page as a `gr.Blocks`, not launched; the named endpoints are part of it."""
    import gradio as gr

    from narrator.api import add_endpoints
    from narrator.ui.accessibility import header
    from narrator.ui.models_tab import models_tab
    from narrator.ui.narrate_tab import narrate_tab

    with gr.Blocks(title="Visual Narrator", analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as page:
        add_endpoints()  # first, so that no handler of the page takes their names
        gr.HTML(header(), elem_id="header")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Narrate", id="narrate") as narrate:
                narrate_tab(page, narrate)
            with gr.Tab("Models", id="models") as models:
                models_tab(models)
    page.queue(default_concurrency_limit=8, max_size=64)
    return page
