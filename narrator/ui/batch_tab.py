"""The Batch tab: many pictures on the left, what comes of them on the right. It wires; narrator.ui.batch_handlers and
batch_given work."""

from __future__ import annotations

import dataclasses
from typing import Any

from narrator.knobs import knobs
from narrator.narrate import MAX_PROMPT
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from narrator.ui import batch_given as given
from narrator.ui import batch_handlers as batches
from narrator.ui.accessibility import status
from narrator.ui.batch_watch import Watch, opened, watch_part, wire_watch
from narrator.ui.choosing import typed
from narrator.ui.fields import number
from narrator.ui.handlers import first_voice, known_voices, unexpected
from narrator.ui.picture_input import files_input
from narrator.ui.work import LATEST, QUIETLY

READY = status("Choose many pictures or a zip, then press Describe all. A batch goes on when this page is closed.")
ASKED = ("variant", "prompt", "audience", "format", "speak", "voice")  # fields of a Wish, in the order of the form
SHOW = "() => window.batch.show('#batch-watch')"


@dataclasses.dataclass
class Form:
    """The widgets of a new batch."""

    status: Any = None
    files: Any = None
    leave: Any = None
    state: Any = None  # a gr.State: batch_given.Given or None
    preview: Any = None
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)
    settings: list[Any] = dataclasses.field(default_factory=list)
    start: Any = None


def batch_tab(tab: Any, visitor: tuple[Any, Any]) -> None:
    """Build the tab's contents inside `tab`, the `gr.Tab` that is open, for a `visitor` (narrator.ui.visitors)."""
    import gradio as gr

    form = Form(status=gr.HTML(READY, elem_id="batch-status"))
    with gr.Row(elem_id="batch-stage", equal_height=False):
        with gr.Column(min_width=280, elem_id="batch-new"):
            _new(form)
        with gr.Column(min_width=280, elem_id="batch-watch"):
            watch = watch_part(form.status, visitor[0])
    wire_watch(watch, tab)
    _wire_variants(form, tab)
    _wire_files(form)
    _wire_start(form, watch)


def _new(form: Form) -> None:
    import gradio as gr

    gr.HTML('<h2 class="part">New batch</h2>', elem_classes="flat")
    form.state = gr.State(None)
    form.files = files_input("Pictures, or zips of pictures", height=170, elem_id="batch-files")
    form.leave = gr.Button("Stop looking", size="md", elem_id="batch-leave", min_width=110, visible=False)
    form.preview = gr.HTML("", elem_id="batch-preview", elem_classes="flat")
    with gr.Row(elem_id="batch-doing"):
        form.start = gr.Button("Describe all", variant="primary", elem_id="batch-start", min_width=150)
    _choosing(form)
    with gr.Accordion("Settings", open=False, elem_id="batch-settings"), gr.Row(elem_classes="knobs"):
        form.settings = [number(name, field, knob, elem_id=f"batch-set-{name.replace('_', '-')}")
                         for name, (field, knob) in knobs(GenerationSettings).items()]


def _choosing(form: Form) -> None:
    import gradio as gr

    offered = batches.variants()
    first = offered[0] if offered else None
    voices, _ = known_voices()
    names = [(f"{voice.name}, {voice.languages[0]}" if voice.languages else voice.name, voice.id) for voice in voices]
    form.asked = {
        "variant": gr.Dropdown([(one.title, one.id) for one in offered], value=first.id if first else None,
                               label="Model variant", elem_id="batch-variant", filterable=False),
        "prompt": gr.Textbox(label="Question or prompt for every picture", lines=1, max_lines=4, max_length=MAX_PROMPT,
                             elem_id="batch-prompt", **_prompt(first.id if first else None)),
        "audience": gr.Radio(batches.AUDIENCES, value=batches.BOTH, label="Texts", elem_id="batch-audience"),
        "format": gr.Dropdown(batches.formats(), value="jsonl", label="Format of the result",
                              info="Any other one can be saved, too.", elem_id="batch-format", filterable=False),
        "speak": gr.Checkbox(False, label="Speak each description", elem_id="batch-speak", visible=bool(voices)),
        "voice": gr.Dropdown(names, value=first_voice(voices), label="Voice", elem_id="batch-voice", filterable=False,
                             visible=False)}


def _prompt(variant_id: str | None, written: str = "") -> dict[str, Any]:
    """What the prompt's field is told about a variant. written: what stands in it, and stays if a person wrote it."""
    variant = next((one for one in batches.variants() if one.id == variant_id), None)
    takes = variant is not None and variant.inputs.text
    return {"visible": takes, "value": "" if variant is None or not takes
            else written if typed(written) else variant.default_prompt}


def _wire_variants(form: Form, tab: Any) -> None:
    """A model that came since is in the list when the tab is chosen."""
    import gradio as gr

    def refresh(chosen: str | None) -> Any:
        known = [(one.title, one.id) for one in batches.variants()]
        there = chosen in [value for _, value in known]
        return gr.Dropdown(choices=known, **({} if there else {"value": known[0][1] if known else None}))

    variant = form.asked["variant"]
    tab.select(refresh, variant, variant, queue=False, **QUIETLY)
    variant.input(lambda chosen, written: gr.Textbox(**_prompt(chosen, written or "")),
                  [variant, form.asked["prompt"]], form.asked["prompt"], queue=False, **LATEST)
    form.asked["speak"].input(lambda wanted: gr.Dropdown(visible=bool(wanted)), form.asked["speak"],
                              form.asked["voice"], queue=False, **LATEST)


def _wire_files(form: Form) -> None:
    import gradio as gr

    async def take(files: list[str] | None) -> Any:
        """(given, preview, status, the button that ends it) as the files are looked through."""
        shown = gr.Button(visible=True)
        try:
            async for found in given.looked_through(files or []):
                if isinstance(found, str):
                    yield gr.skip(), gr.skip(), status(found, "busy"), shown
                    shown = gr.skip()
                else:
                    yield (found, given.preview(found), status(f"{found.says} Press Describe all.", "ready"),
                           gr.Button(visible=False))
        except NarratorError as error:
            yield None, "", status(str(error), "error"), gr.Button(visible=False)
        except Exception as error:  # the page must not say "Looking …" for ever; the error itself goes on
            yield None, "", unexpected(error), gr.Button(visible=False)
            raise

    def nothing() -> Any:
        return None, "", READY, gr.Button(visible=False)

    outputs = [form.state, form.preview, form.status, form.leave]
    looking = form.files.upload(take, form.files, outputs, concurrency_limit=2, concurrency_id="batch-files", **QUIETLY)
    again = form.files.delete(take, form.files, outputs, concurrency_limit=2, concurrency_id="batch-files", **QUIETLY)
    form.files.clear(nothing, None, outputs, queue=False, cancels=[looking, again], **QUIETLY)
    form.leave.click(None, cancels=[looking, again], **QUIETLY).then(
        lambda: (None, "", status("Stopped. Choose the files again to go on.", "stopped"), gr.Button(visible=False),
                 None), None, [*outputs, form.files], queue=False, **QUIETLY)


def _wire_start(form: Form, watch: Watch) -> None:
    import gradio as gr

    def start(visitor: Any, state: Any, *values: Any) -> list[Any]:
        asked = dict(zip(ASKED, values[:len(ASKED)], strict=True))
        line, batch_id = batches.start(visitor, state, asked, values[len(ASKED):])
        if not batch_id:
            return [line, *[gr.skip()] * (len(watch.outputs()) - 1)]
        return [line, *opened(watch, visitor, batch_id)[1:]]

    inputs = [watch.visitor, form.state, *(form.asked[name] for name in ASKED), *form.settings]
    form.start.click(start, inputs, watch.outputs(), trigger_mode="once", **QUIETLY).then(None, js=SHOW, **QUIETLY)
