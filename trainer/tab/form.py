"""The form's widgets, made from the fields alone: a new knob appears by itself, with unit, range and its sentence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from narrator.ui.work import QUIETLY
from trainer.tab.fields import Draft, Field, fields, groups, lists, row_names, show, take
from trainer.tab.widgets import choice

FIRST = ("name", "stages.epochs", "seed")  # shown to everybody; the rest is folded away
LONG = ("card", "provenance")  # several lines
TITLES = {"data": "Data to learn from", "dev": "Held-out data", "text": "Captions without pictures",
          "stages": "Stages", "lora": "Adapters (LoRA)"}
HAND_OVER = "(...values) => JSON.stringify(values)"
ROWS = {"data": "data set", "dev": "data set", "text": "data set", "stages": "stage"}


@dataclasses.dataclass
class Form:
    """The widgets of the settings, and the state behind them (trainer.tab.starts: State). fresh: the state to begin
    with."""

    fresh: Callable[[], dict[str, Any]]
    state: Any = None
    controls: dict[str, Any] = dataclasses.field(default_factory=dict)
    picks: dict[str, Any] = dataclasses.field(default_factory=dict)  # of each list: which row is shown
    adds: dict[str, Any] = dataclasses.field(default_factory=dict)
    removes: dict[str, Any] = dataclasses.field(default_factory=dict)
    held: Any = None  # what the widgets hold, as JSON: see `after`
    shown: Any = None  # which filling of the form the widgets show, see `read`

    def after(self, trigger: Callable[..., Any]) -> Callable[..., Any]:
        """What a handler is wired with that is given `inputs()`: `form.after(button.click)(handler, ...)`.

        The page hands the widgets' values over as one. Gradio's page goes through all that past events were given, at
        each further event on any tab: the whole form would be there from then on.
        """
        then: Callable[..., Any] = trigger(None, self.outputs()[1:], self.held, js=HAND_OVER, trigger_mode="multiple",
                                          **QUIETLY).then
        return then

    def inputs(self) -> set[Any]:
        """What a handler is given to `read`; see `after`."""
        return {self.state, self.held}

    def outputs(self) -> list[Any]:
        """What `filled` fills, in its order."""
        return [self.state, *self.controls.values(), *self.picks.values(), self.shown]

    def read(self, given: Mapping[Any, Any]) -> dict[str, Any]:
        """The state with what the widgets hold now. Values that were handed over before the form was filled anew, as of
        a second choice that follows at once, are of another row, or other settings: the state stays as it is. So it
        does while the tab has just been opened, and the widgets show nothing yet."""
        state, values = dict(given[self.state] or self.fresh()), self._values(given)
        if not given[self.state] or str(values[-1]) != str(state.get("filled", 0)):
            return state
        return state | {"draft": take(state["draft"], state["rows"], dict(zip(self.controls, values, strict=False)))}

    def filled(self, state: Mapping[str, Any]) -> list[Any]:
        """Updates that make the widgets show the state."""
        import gradio as gr

        draft, rows = state["draft"], state["rows"]
        values = show(draft, rows)
        number = int(state.get("filled", 0)) + 1
        updates: list[Any] = [dict(state) | {"filled": number}]
        updates += [_control_update(fields()[key], values[key], draft) for key in self.controls]
        for name in self.picks:
            known = [(title, str(row)) for row, title in enumerate(row_names(draft, name))]
            row = min(rows.get(name, 0), max(0, len(known) - 1))
            updates.append(gr.Dropdown(choices=known, value=str(row) if known else None, visible=len(known) > 1))
        return [*updates, str(number)]

    def picked(self, given: Mapping[Any, Any], name: str) -> int:
        """Which row of that list is chosen."""
        value = self._values(given)[len(self.controls) + list(self.picks).index(name)]
        return int(value) if isinstance(value, str) and value.isdigit() else 0

    def _values(self, given: Mapping[Any, Any]) -> list[Any]:
        """Of the widgets, in the order of `outputs`. A crafted request is refused."""
        import gradio as gr

        try:
            values = json.loads(given[self.held] or "")
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or len(values) != len(self.outputs()) - 1:
            raise gr.Error("The form did not come whole. Load the page again.", print_exception=False)
        return values


def control(field: Field) -> Any:
    """The widget of a setting. Ranges are told and not enforced here: what is wrong is answered by a sentence."""
    import gradio as gr

    knob = field.knob
    title = field.name.replace("_", " ").replace("num ", "").capitalize()
    unit = f" ({knob.unit})" if knob.unit and knob.unit not in title.lower() else ""
    common = {"label": title + unit, "info": says(field) or None, "elem_id": element(field.key), "min_width": 200}
    if field.key in groups():
        return gr.Checkbox(False, **common | {"label": "Train adapters on a frozen base"})
    if field.kind is bool:
        return gr.Checkbox(bool(field.default), **common)
    if knob.choices:
        return choice(list(knob.choices), value=field.default, **common)
    if field.kind in (int, float):
        return gr.Number(value=field.default, step=1 if field.kind is int else 0.0001, **common)
    return gr.Textbox(value=field.default or "", lines=3 if field.name in LONG else 1, max_lines=12, max_length=20_000,
                      **common)


def says(field: Field) -> str:
    """What a setting means, and what it may be."""
    knob = field.knob
    parts = ["" if end is None else f"{end:,.0f}" if end == int(end) else f"{end:g}" for end in (knob.low, knob.high)]
    between = {(True, True): f"{parts[0]} to {parts[1]}.", (True, False): f"At least {parts[0]}.",
               (False, True): f"At most {parts[1]}.", (False, False): ""}[(bool(parts[0]), bool(parts[1]))]
    return f"{knob.says} {between}".strip()


def element(key: str) -> str:
    """The element's id of a setting."""
    return f"train-{key.replace('.', '-').replace('_', '-')}"


def first_controls(form: Form) -> None:
    """Name, length and seed: what everybody sets."""
    import gradio as gr

    form.controls["name"] = control(fields()["name"])
    with gr.Row(elem_classes="knobs"):
        form.picks["stages"] = choice([], label="Stage", elem_id="train-stage", min_width=200, visible=False,
                                       info="Which of the stages the settings of a stage are about.")
        for key in FIRST[1:]:
            form.controls[key] = control(fields()[key])


def further_controls(form: Form) -> None:
    """All other settings, grouped and folded."""
    import gradio as gr

    for name in ("data", "dev", "text"):
        _rows(form, name)
    _rows(form, "stages")
    for title, keys in _sections():
        with gr.Accordion(title, open=False, elem_classes="section"):
            with gr.Row(elem_classes="knobs"):
                for key in keys:
                    form.controls[key] = control(fields()[key])


def _rows(form: Form, name: str) -> None:
    """One list: which row, add, remove, and the settings of that row."""
    import gradio as gr

    title = TITLES.get(name, name.capitalize())
    with gr.Accordion(title, open=False, elem_classes="section", elem_id=f"train-{name}-part"):
        if name not in form.picks:
            form.picks[name] = choice([], label="Which one", elem_id=f"train-{name}-row", visible=False)
        with gr.Row(elem_classes="knobs"):
            for key, field in fields().items():
                if field.part == name and key not in FIRST:
                    form.controls[key] = control(field)
        with gr.Row():
            one = ROWS.get(name, "entry")
            form.adds[name] = gr.Button(f"Add a {one}", size="md", min_width=120, elem_id=f"train-{name}-add")
            form.removes[name] = gr.Button(f"Remove this {one}", size="md", min_width=120,
                                           elem_id=f"train-{name}-remove")


def _sections() -> Sequence[tuple[str, list[str]]]:
    """(title, keys) of the settings that are in no list, by what their declarations say of them."""
    found: dict[str, list[str]] = {"Model": [], "Run": [], TITLES["lora"]: [], "Name, licence and card": []}
    for key, field in fields().items():
        if key in FIRST or field.part in lists():
            continue
        if field.part in groups() or key in groups():
            found.setdefault(TITLES.get(field.part or key, (field.part or key).capitalize()), []).append(key)
        elif field.knob.recipes:
            found["Model"].append(key)
        elif field.kind is str and not field.knob.choices:
            found["Name, licence and card"].append(key)
        else:
            found["Run"].append(key)
    return list(found.items())


def _control_update(field: Field, value: Any, draft: Draft) -> Any:
    import gradio as gr

    there = field.part not in lists() or bool(draft[field.part])
    on = field.part not in groups() or draft[field.part] is not None
    return gr.update(value="" if value is None and field.kind is str else value,
                     visible=field.serves(draft["recipe"]) and there and on)
