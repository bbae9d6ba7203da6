"""Opens a narration of the history again in the Narrate tab: pictures, variant, prompt, settings and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from narrator.families.modes import find_mode
from narrator.history import Entry
from narrator.knobs import build, knobs
from narrator.records import NarratorError, Variant
from narrator.settings import GenerationSettings
from narrator.ui.accessibility import how_sure, status
from narrator.ui.choosing import inputs_of, offered, titles
from narrator.ui.handlers import Made, subject
from narrator.ui.parts import Parts
from narrator.uploads import new_copy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """What the tab shows. variant: None where it is not here any more; given: for the widgets of its input, by their
    names in `Parts`; pictures: copies that the page may show; settings: in the form's order."""

    entry: Entry
    status: str
    variant: str | None
    given: dict[str, dict[str, Any]]
    pictures: tuple[str, ...]
    made: Made | None
    settings: list[Any]


def opened(entry: Entry) -> Opened:
    """Raises NarratorError where a picture is gone."""
    narration = entry.narration
    variant = next((one for one in offered() if one.id == narration.variant_id), None)
    given = inputs_of(variant)
    _fill(given, variant, narration.prompt)
    pictures = [new_copy(path) for path in entry.pictures]
    made = subject(pictures, variant, narration.prompt)
    line = status("Opened from the history. Press Describe to describe it again.") if variant else status(
        f"{narration.variant_id} is not here any more: choose another variant, then press Describe.", "error")
    return Opened(entry=entry, status=line, variant=variant.id if variant else None, given=given,
                  pictures=tuple(map(str, pictures)), settings=_settings(narration.settings),
                  made=dataclasses.replace(made, text=narration.text) if made else None)


def targets(parts: Parts, tabs: Any) -> list[Any]:
    """The outputs that `updates` fills. tabs: the `gr.Tabs` around both tabs."""
    return [tabs, parts.status, parts.variant, parts.prompt, parts.mode, parts.picture, parts.more, parts.examples_part,
            parts.text, parts.sure, parts.drawn, parts.made, parts.keep, parts.filed, *parts.settings]


def updates(shown: Opened) -> list[Any]:
    """For an event of the page."""
    import gradio as gr

    first, further, given = next(iter(shown.pictures), None), list(shown.pictures[1:]) or None, shown.given
    widgets = [gr.skip(), gr.skip(), gr.skip(), gr.Image(value=first), gr.skip(), gr.skip()]
    if shown.variant:
        widgets = [gr.Dropdown(choices=titles(), value=shown.variant), gr.Textbox(**given["prompt"]),
                   gr.Dropdown(**given["mode"]), gr.Image(value=first, **given["picture"]),
                   gr.Gallery(value=further, **given["more"]), gr.Column(visible=given["picture"]["visible"])]
    narration = shown.entry.narration
    return [gr.Tabs(selected="narrate"), shown.status, *widgets, narration.text, how_sure(narration), "", shown.made,
            gr.Button(visible=False), shown.entry.id, *shown.settings]


def _fill(given: dict[str, dict[str, Any]], variant: Variant | None, prompt: str) -> None:
    """The prompt where it was, in its field or as one of the variant's modes."""
    mode = find_mode(variant, prompt) if variant is not None else None
    if mode is not None:
        given["mode"]["value"] = mode.prompt
        given["picture"]["visible"] = mode.image
    elif variant is not None and variant.inputs.text:
        given["prompt"]["value"] = prompt


def _settings(given: Mapping[str, Any]) -> list[Any]:
    """The form's values; a setting that is not known or not valid any more has its default."""
    found = []
    for name, (field, _) in knobs(GenerationSettings).items():
        try:
            found.append(getattr(build(GenerationSettings, {name: given[name]}, "history"), name))
        except (NarratorError, KeyError):
            found.append(field.default)
    return found
