"""Fields that are made from a setting's own declaration, and what every quiet event of the page is given."""

from __future__ import annotations

import dataclasses
from typing import Any

from narrator.knobs import Knob, knobs
from narrator.settings import GenerationSettings
from narrator.ui.picture_input import guarded


def settings_form() -> list[Any]:
    """A number field for each generation setting, in the order of `GenerationSettings`."""
    import gradio as gr

    with gr.Row(elem_classes="knobs"):
        return [number(name, field, knob) for name, (field, knob) in knobs(GenerationSettings).items()]


def choice(choices: Any, **options: Any) -> Any:
    """A dropdown whose handler gets what was chosen, even if the list has changed meanwhile: handlers look it up."""
    return guarded("Dropdown", _as_it_is)(choices, filterable=False, **options)


def _as_it_is(payload: Any) -> Any:
    return payload if isinstance(payload, str) else None


def number(name: str, field: dataclasses.Field, knob: Knob, **more: Any) -> Any:
    """A number field made from a setting's own declaration: title, unit, meaning, range, default."""
    import gradio as gr

    title = name.replace("_", " ").replace("num ", "").capitalize()
    unit = f" ({knob.unit})" if knob.unit and knob.unit not in title.lower() else ""
    whole = isinstance(field.default, int)
    options = {"info": knob.says, "min_width": 200, "step": 1 if whole else 0.05, "precision": 0 if whole else None,
               "elem_id": f"set-{name.replace('_', '-')}", "minimum": knob.low, "maximum": knob.high}
    return gr.Number(value=field.default, label=title + unit, **{**options, **more})
