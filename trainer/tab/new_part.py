"""The left side of the Train tab: a new training. It wires; trainer.tab.starts and .data_sources work."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from narrator.ui.accessibility import status
from narrator.ui.handlers import unexpected
from narrator.ui.limits import alone
from narrator.ui.work import LATEST, QUIETLY, quietly
from trainer.tab import data_sources as sources
from trainer.tab import starts, views
from trainer.tab.doing_part import Doing, doing_part
from trainer.tab.form import Form, first_controls, further_controls
from trainer.tab.several_part import several_part
from trainer.tab.starting import DEFAULT, start_from, summary
from trainer.tab.starting import starts as entries
from trainer.tab.uploads_part import uploads_part, wire_uploads
from trainer.tab.widgets import choice, upload_area, upload_button

FORMATS = ("A zip, or pictures with a .txt of the same name each, or with one file of texts: CSV, JSON lines, COCO, "
           "Karpathy or LLaVA-Instruct.")
HUB = (("name", "Data set", "", "owner/name"), ("train", "Split to learn from", "train", ""),
       ("dev", "Held-out split", "validation", ""))
SAVE = "(text, name) => window.training.save(text, name)"
FOLLOW = "() => window.training.follow()"
TO_UPLOAD = "() => window.training.goOn('#train-upload button', true)"
Step = Callable[[dict[str, Any], Mapping[Any, Any]], dict[str, Any]]


@dataclasses.dataclass
class New:
    """The widgets of a new training."""

    form: Form
    status: Any = None  # the tab's one line
    start_from: Any = None
    about: Any = None
    source: Any = None
    upload_part: Any = None
    hub_part: Any = None
    upload: Any = None
    unpacked: Any = None  # a gr.State: what an upload gave
    upload_leave: Any = None
    hub: list[Any] = dataclasses.field(default_factory=list)  # name, split to learn from, held-out split, limit
    fetch: Any = None
    found: Any = None
    doing: Doing = dataclasses.field(default_factory=Doing)
    text_part: Any = None
    follow: Any = None  # pressed by the page when a setting changes while YAML and command are in sight
    yaml: Any = None
    command: Any = None
    yaml_file: Any = None
    use_yaml: Any = None
    save_yaml: Any = None
    told: Any = None  # a gr.State: the YAML as the page wrote it; None while it is folded away


def new_part(line: Any) -> New:
    """The widgets, inside the column that is open. line: the status line."""
    import gradio as gr

    new = New(form=Form(fresh=lambda: starts.first_state(DEFAULT)), status=line)
    new.form.state = gr.State(None)
    new.form.held = gr.Textbox(label="The form", visible="hidden", elem_id="train-held")
    new.form.shown = gr.Textbox("0", label="What the form shows", visible="hidden", elem_id="train-shown")
    gr.HTML('<h2 class="part">A new training</h2>', elem_classes="flat")
    choices = [(one.title, one.id) for one in entries()]
    new.start_from = choice(choices, value=DEFAULT, label="Start from", elem_id="train-start-from")
    new.about = gr.HTML(_about(start_from(DEFAULT)), elem_id="train-about", elem_classes="flat")
    _data(new)
    first_controls(new.form)
    new.doing = doing_part()
    with gr.Accordion("All settings", open=False, elem_id="train-all"):
        further_controls(new.form)
    _text(new)
    several_part(new.form, line)
    _wire(new)
    if alone():  # of several visitors, each would see and delete the others'
        wire_uploads(uploads_part(), new.form, line)
    return new


def _data(new: New) -> None:
    import gradio as gr

    new.source = gr.Radio(starts.source_names(), value=sources.UPLOAD, label="Learn from", elem_id="train-source")
    with gr.Column(elem_id="train-upload-part") as new.upload_part:
        new.upload = upload_area(label="Pictures with texts", height=150, elem_id="train-upload")
        gr.HTML(f'<p class="quiet">{escape(FORMATS)}</p>', elem_classes="flat")
        new.unpacked = gr.State(None)
        new.upload_leave = gr.Button("Stop the upload", size="md", elem_id="train-upload-leave", visible=False)
    with gr.Column(visible=False, elem_id="train-hub-part") as new.hub_part:
        with gr.Row(elem_classes="knobs"):
            new.hub = [gr.Textbox(label=label, value=value, placeholder=example, max_length=200, min_width=200,
                                  elem_id=f"train-hub-{name}") for name, label, value, example in HUB]
            new.hub.append(gr.Number(label="At most (pictures of each)", value=1000, step=100, min_width=200,
                                     elem_id="train-hub-limit"))
        new.fetch = gr.Button("Use this data set", size="md", elem_id="train-hub-use")
    new.found = gr.HTML("", elem_id="train-found", elem_classes="flat")


def _text(new: New) -> None:
    import gradio as gr

    with gr.Accordion("As YAML and as a command", open=False, elem_id="train-text") as new.text_part:
        new.yaml = gr.Textbox(label="These settings as YAML", lines=8, max_lines=24, max_length=100_000,
                              elem_id="train-yaml", info="Edit it or paste your own, then press Use this YAML.")
        with gr.Row():
            new.use_yaml = gr.Button("Use this YAML", size="md", min_width=120, elem_id="train-yaml-use")
            new.save_yaml = gr.Button("Save .yaml", size="md", min_width=100, elem_id="train-yaml-save")
            new.yaml_file = upload_button("Load a file", size="md", min_width=100, elem_id="train-yaml-file")
        new.command = gr.Textbox(label="The same in a terminal, beside the saved file", lines=1, max_lines=4,
                                 elem_id="train-command", interactive=True)
        new.told = gr.State(None)
        new.follow = gr.Button("Follow", visible="hidden", elem_id="train-follow")


def _wire(new: New) -> None:
    import gradio as gr

    form = new.form
    outputs = [*form.outputs(), new.about, new.found, new.status]

    def changing(step: Step, done: str = "") -> Callable[[Mapping[Any, Any]], list[Any]]:
        """A handler that changes the state and shows it; what a person can mend leaves everything as it was."""
        def handle(given: Mapping[Any, Any]) -> list[Any]:
            state = form.read(given)
            try:
                state = step(state, given)
            except NarratorError as error:
                return [state, *[gr.skip()] * (len(outputs) - 2), status(str(error), "error")]
            return [*form.filled(state), _about(state["draft"]), _found(state),
                    status(done, "done") if done else gr.skip()]
        return handle

    def on(trigger: Any, step: Step, also: tuple[Any, ...] = (), done: str = "", **more: Any) -> Any:
        return form.after(trigger)(changing(step, done), {*form.inputs(), *also}, outputs,
                                   **quietly(new.status) | more)

    on(new.start_from.input, lambda state, given: starts.choose_start(state, given[new.start_from]), (new.start_from,),
       **LATEST)
    on(form.controls["recipe"].input, lambda state, given: state, **LATEST)
    for name in form.picks:
        _wire_rows(form, name, on)
    on(form.controls["lora"].input, lambda state, given: state, **LATEST)
    _wire_source(new, on)
    on(new.use_yaml.click, lambda state, given: starts.load_settings(state, given[new.yaml] or ""), (new.yaml,),
       "The settings are those of the YAML.")
    on(new.yaml_file.upload, lambda state, given: _load_file(state, given[new.yaml_file]), (new.yaml_file,),
       "The settings are those of the file.")
    _wire_upload(new, outputs)
    _wire_text(new)


def _wire_source(new: New, on: Callable[..., Any]) -> None:
    """Where the data comes from. on: see `_wire`."""
    import gradio as gr

    on(new.source.input, lambda state, given: _choose_source(state, given[new.source]), (new.source,), **LATEST)
    on(new.fetch.click, lambda state, given: starts.with_source(
        state, sources.from_hub(*(given[part] for part in new.hub))), tuple(new.hub))
    new.source.input(lambda kind: (gr.Column(visible=kind == sources.UPLOAD), gr.Column(visible=kind == sources.HUB)),
                     new.source, [new.upload_part, new.hub_part], queue=False, **LATEST)


def _wire_rows(form: Form, name: str, on: Callable[..., Any]) -> None:
    """One list: which row is shown, one more, one less. on: see `_wire`."""
    on(form.picks[name].input, lambda state, given: starts.turn_to(state, name, form.picked(given, name)), **LATEST)
    on(form.adds[name].click, lambda state, given: starts.add(state, name))
    on(form.removes[name].click, lambda state, given: starts.take_out(state, name))


def _wire_upload(new: New, outputs: list[Any]) -> None:
    import gradio as gr

    form = new.form

    async def take(files: list[str] | None) -> Any:
        doing, over = gr.Button(visible=True), gr.Button(visible=False)
        yield [None, gr.skip(), status("Looking through the upload …", "busy"), doing]
        try:
            async with contextlib.aclosing(sources.progress_of(files or [])) as progress:
                async for found in progress:
                    far = views.unpacked(found) if isinstance(found, float) else None
                    yield [gr.skip() if far else found, far or gr.skip(), gr.skip(), gr.skip()]
            yield [gr.skip(), gr.skip(), gr.skip(), over]
        except NarratorError as error:
            yield [None, "", status(str(error), "error"), over]
        except Exception as error:  # the page must not say "Looking …" for ever; the error itself goes on
            yield [None, "", unexpected(error), over]
            raise

    def use(given: Mapping[Any, Any]) -> list[Any]:
        """With the settings as they are by then: an upload takes its time, and they may be changed meanwhile."""
        state, found = form.read(given), given[new.unpacked]
        if found is None:
            return [starts.without_source(state), *[gr.skip()] * (len(outputs) - 1)]
        state = starts.with_source(state, found)
        return [*form.filled(state), _about(state["draft"]), _found(state),
                status(f"The upload is ready. {found.says}", "done")]

    event = new.upload.upload(take, new.upload, [new.unpacked, new.found, new.status, new.upload_leave],
                              concurrency_limit=2, concurrency_id="train-upload", **quietly(new.status))
    form.after(event.then)(use, {*form.inputs(), new.unpacked}, outputs, queue=False, **QUIETLY)
    left = (form.state, new.found, new.upload, new.upload_leave, new.status)
    form.after(new.upload_leave.click(None, cancels=[event], **QUIETLY).then)(
        lambda given: [starts.without_source(form.read(given)), "", None, gr.Button(visible=False),
                       status("The upload was stopped. Nothing of it is kept.", "stopped")],
        {*form.inputs()}, left, queue=False, **QUIETLY).then(None, js=TO_UPLOAD, **QUIETLY)
    form.after(functools.partial(gr.on, [new.upload.clear, new.upload.delete]))(
        lambda given: [starts.without_source(form.read(given)), ""], form.inputs(), [form.state, new.found], **QUIETLY)


def _wire_text(new: New) -> None:
    """YAML and command are those of the settings as they stand, unless a person has written another YAML."""
    import gradio as gr

    form, text = new.form, [new.yaml, new.command, new.told]
    shown: set[Any] = {*form.inputs(), new.yaml, new.told}

    def write(given: Mapping[Any, Any]) -> list[Any]:
        yaml, line = starts.as_text(form.read(given))
        return [yaml, line, yaml]

    def follow(given: Mapping[Any, Any]) -> list[Any]:
        told = given[new.told]
        as_told = told is not None and (given[new.yaml] or "").strip() == told.strip()
        return write(given) if as_told else [gr.skip()] * len(text)

    form.after(new.text_part.expand)(write, form.inputs(), text, **QUIETLY)
    new.text_part.collapse(lambda: None, None, new.told, queue=False, **QUIETLY)
    gr.on([control.change for control in form.controls.values()], None, js=FOLLOW, **QUIETLY)
    form.after(new.follow.click)(follow, shown, text, queue=False, **LATEST)
    form.after(new.save_yaml.click)(follow, shown, text, queue=False, **QUIETLY).then(
        None, [new.yaml, form.controls["name"]], None, js=SAVE, **QUIETLY)


def _choose_source(state: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == sources.CORRECTIONS:
        return starts.with_source(state, sources.from_corrections())
    if kind == sources.PRESET:
        return starts.with_source(state, sources.from_preset(state["start"]))
    return starts.without_source(state)


def _load_file(state: dict[str, Any], files: list[str]) -> dict[str, Any]:
    if not files:
        raise NarratorError("No file came. Choose a YAML file and try again.")
    return starts.uploaded_settings(state, Path(files[0]))


def _about(draft: Mapping[str, Any]) -> str:
    return f'<p class="quiet">{escape(summary(dict(draft)))}</p>'


def _found(state: Mapping[str, Any]) -> str:
    return f'<p class="found">{escape(state["source"].says)}</p>' if state["source"] is not None else ""
