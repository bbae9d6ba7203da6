"""Choosing a variant on the Narrate tab, and what it is given: a picture or several, a prompt, or one of its modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from narrator.catalog import load_variants, problems
from narrator.families.modes import find_mode, modes_of
from narrator.hub import local_folder
from narrator.narrate import MAX_PICTURES, MAX_PROMPT
from narrator.records import Variant
from narrator.ui.accessibility import left_out
from narrator.ui.parts import Parts
from narrator.ui.work import QUIETLY


def offered() -> list[Variant]:
    """What can describe now: what is on this machine, and what a server runs."""
    return [variant for variant in load_variants().values() if variant.family == "remote" or local_folder(variant)]


def titles() -> list[tuple[str, str]]:
    """(title, id) of them."""
    return [(variant.title, variant.id) for variant in offered()]


def inputs_of(first: Variant | None) -> dict[str, dict[str, Any]]:
    """What the widgets of a variant's input are told, by the name of the widget in `Parts`."""
    modes = modes_of(first)
    usual = find_mode(first, first.default_prompt) if first is not None else None
    mode = usual or (modes[0] if modes else None)
    return {"prompt": {"value": first.default_prompt if first and not modes else "",
                       "visible": bool(first and first.inputs.text and not modes)},
            "mode": {"choices": [(one.title, one.prompt) for one in modes], "value": mode.prompt if mode else None,
                     "visible": bool(modes)},
            "picture": {"visible": first is None or (first.inputs.image and (mode is None or mode.image))},
            "more": {"visible": bool(first and first.inputs.image and first.several)}}


def giving(parts: Parts, first: Variant | None) -> None:
    """Picture, further pictures, mode and prompt, in the column that is open."""
    import gradio as gr

    from narrator.ui.picture_input import more_pictures, picture_input

    given = inputs_of(first)
    parts.picture = picture_input(**given["picture"])
    parts.more = more_pictures(f"More pictures, {MAX_PICTURES - 1} at most", **given["more"])
    parts.mode = gr.Dropdown(label="What to do", elem_id="mode", filterable=False, **given["mode"])
    parts.prompt = gr.Textbox(label="Question or prompt", lines=1, max_lines=4, max_length=MAX_PROMPT,
                              elem_id="prompt", **given["prompt"])


def wire_variants(parts: Parts, page: Any, tab: Any) -> None:
    """Each variant is asked for what it takes; a model that came since is in the list when the tab is chosen or the
    page loaded."""
    import gradio as gr

    def show_inputs(variant_id: str | None) -> Any:
        given = inputs_of(load_variants().get(variant_id or ""))
        return (gr.Textbox(**given["prompt"]), gr.Dropdown(**given["mode"]), gr.Image(**given["picture"]),
                gr.Gallery(**given["more"]))

    def show_picture(variant_id: str | None, prompt: str | None) -> Any:
        mode = find_mode(load_variants().get(variant_id or ""), prompt or "")
        return gr.Image(visible=mode is None or mode.image)

    def refresh() -> Any:
        return gr.Dropdown(choices=titles()), left_out(problems())

    parts.variant.input(show_inputs, parts.variant, [parts.prompt, parts.mode, parts.picture, parts.more], queue=False,
                        **QUIETLY)
    parts.mode.input(show_picture, [parts.variant, parts.mode], parts.picture, queue=False, **QUIETLY)
    gr.on([page.load, tab.select], refresh, None, [parts.variant, parts.left_out], queue=False, **QUIETLY)


def leads_here(parts: Parts, tabs: Any) -> Callable[[Any, Any, Callable[[Any], str | None]], None]:
    """What makes a button of another tab lead to this one: `(button, widget, variant_of)`, where `variant_of` tells
    from the widget's value the id of the variant to choose. tabs: the `gr.Tabs` around both."""
    import gradio as gr

    def wire(button: Any, widget: Any, variant_of: Callable[[Any], str | None]) -> None:
        def choose(value: Any) -> Any:
            variant = load_variants().get(variant_of(value) or "")
            if variant is None:
                return [gr.skip()] * 6
            given = inputs_of(variant)
            return [gr.Tabs(selected="narrate"), gr.Dropdown(choices=titles(), value=variant.id),
                    gr.Textbox(**given["prompt"]), gr.Dropdown(**given["mode"]), gr.Image(**given["picture"]),
                    gr.Gallery(**given["more"])]

        button.click(choose, widget, [tabs, parts.variant, parts.prompt, parts.mode, parts.picture, parts.more],
                     queue=False, **QUIETLY)
    return wire
