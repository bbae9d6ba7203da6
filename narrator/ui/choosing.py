"""Choosing a variant on the Narrate tab, and what it is given: a picture or several, a prompt, or one of its modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from narrator.catalog import load_variants, problems
from narrator.families.modes import Mode, find_mode, modes_of
from narrator.hub import local_folder
from narrator.narrate import MAX_PICTURES, MAX_PROMPT
from narrator.records import Variant
from narrator.ui.accessibility import left_out, status
from narrator.ui.handlers import READY, STOPPED
from narrator.ui.parts import Parts
from narrator.ui.work import LATEST, QUIETLY


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


def next_step(first: Variant | None, mode: Mode | None, given: bool) -> str:
    """The status line of a variant that waits. given: whether there is a picture."""
    looks = first is None or (first.inputs.image and (mode is None or mode.image))
    if looks and not given:
        return READY
    asks = first is not None and first.inputs.text and not first.inputs.image
    return status("Write a prompt, then press Describe." if asks else "Press Describe.", "ready")


def wire_variants(parts: Parts, page: Any, tab: Any) -> None:
    """Each variant is asked for what it takes; a model that came since is in the list when the tab is chosen or the
    page loaded."""
    import gradio as gr

    def show_inputs(variant_id: str | None, path: str | None, doing: str, prompt: str | None) -> Any:
        return _asked(load_variants().get(variant_id or ""), path, doing, prompt or "")

    def show_picture(variant_id: str | None, prompt: str | None, path: str | None, doing: str) -> Any:
        first = load_variants().get(variant_id or "")
        mode = find_mode(first, prompt or "")
        looks = mode is None or mode.image
        line = gr.skip() if doing in STOPPED else next_step(first, mode, bool(path))
        return line, gr.Image(visible=looks), gr.Column(visible=looks)

    def refresh() -> Any:
        return gr.Dropdown(choices=titles()), left_out(problems())

    parts.variant.input(show_inputs, [parts.variant, parts.picture, parts.doing, parts.prompt], _asking(parts),
                        queue=False, **LATEST)
    parts.mode.input(show_picture, [parts.variant, parts.mode, parts.picture, parts.doing],
                     [parts.status, parts.picture, parts.examples_part], queue=False, **LATEST)
    gr.on([page.load, tab.select], refresh, None, [parts.variant, parts.left_out], queue=False, **QUIETLY)


def _asking(parts: Parts) -> list[Any]:
    """What changes with the variant."""
    return [parts.status, parts.prompt, parts.mode, parts.picture, parts.more, parts.examples_part]


def typed(prompt: str) -> bool:
    """Whether a person wrote the prompt: the next variant that takes one is asked the same."""
    return bool(prompt.strip()) and all(prompt != variant.default_prompt for variant in load_variants().values())


def _asked(first: Variant | None, path: str | None, doing: str, prompt: str) -> list[Any]:
    """Updates of `_asking`. path: of the picture that is given; doing: of handlers.View, whose line stays meanwhile;
    prompt: what stands in its field."""
    import gradio as gr

    given = inputs_of(first)
    if given["prompt"]["visible"] and typed(prompt):
        given["prompt"]["value"] = prompt
    mode = find_mode(first, given["mode"]["value"] or "")
    line = gr.skip() if doing in STOPPED else next_step(first, mode, bool(path))
    return [line, gr.Textbox(**given["prompt"]), gr.Dropdown(**given["mode"]), gr.Image(**given["picture"]),
            gr.Gallery(**given["more"]), gr.Column(visible=given["picture"]["visible"])]


def leads_here(parts: Parts, tabs: Any) -> Callable[[Any, Any, Callable[[Any], str | None]], None]:
    """What makes a button of another tab lead to this one: `(button, widget, variant_of)`, where `variant_of` tells
    from the widget's value the id of the variant to choose. tabs: the `gr.Tabs` around both."""
    import gradio as gr

    def wire(button: Any, widget: Any, variant_of: Callable[[Any], str | None]) -> None:
        def choose(value: Any, path: str | None, doing: str, prompt: str | None) -> Any:
            variant = load_variants().get(variant_of(value) or "")
            if variant is None:
                return [gr.skip()] * 8
            return [gr.Tabs(selected="narrate"), gr.Dropdown(choices=titles(), value=variant.id),
                    *_asked(variant, path, doing, prompt or "")]

        button.click(choose, [widget, parts.picture, parts.doing, parts.prompt], [tabs, parts.variant, *_asking(parts)],
                     queue=False, **QUIETLY)
    return wire
