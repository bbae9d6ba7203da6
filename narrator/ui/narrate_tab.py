"""The Narrate tab: a picture in, words as they come, a voice that reads them. Tabs wire; narrator.ui.handlers works."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrator.catalog import load_variants, problems
from narrator.hub import local_folder
from narrator.knobs import Knob, knobs
from narrator.narrate import MAX_PROMPT
from narrator.records import Variant, Voice
from narrator.settings import GenerationSettings
from narrator.speech.settings import SpeechSettings
from narrator.ui import handlers
from narrator.ui.accessibility import ASSETS, left_out, status

QUIETLY: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
PLAY = "() => window.narrator.play()"  # a sound that is new; whoever asked for it asked to hear it


@dataclasses.dataclass
class Parts:
    """The widgets that handlers read and write."""

    picture: Any = None
    variant: Any = None
    prompt: Any = None
    describe: Any = None
    stop: Any = None
    left_out: Any = None
    settings: list[Any] = dataclasses.field(default_factory=list)
    status: Any = None
    doing: Any = None  # a gr.State: handlers.View.doing
    text: Any = None
    sure: Any = None
    copy: Any = None
    save_text: Any = None
    speak: Any = None
    at_once: Any = None
    voice: list[Any] = dataclasses.field(default_factory=list)  # voice, speed, pitch
    sound: Any = None
    save_sound: Any = None
    examples: list[tuple[Any, Path]] = dataclasses.field(default_factory=list)


def narrate_tab(page: Any, tab: Any) -> None:
    """Build the tab `tab` inside `page`, the `gr.Blocks` that is open."""
    import gradio as gr

    parts = Parts()
    first = next(iter(_offered()), None)
    with gr.Row(elem_id="stage", equal_height=False):  # in the order of use, which is the order of Tab and of a phone
        with gr.Column(min_width=280, elem_id="give"):
            _giving(parts, first)
        with gr.Column(min_width=280, elem_id="get"):
            _getting(parts)
        with gr.Column(min_width=280, elem_id="more"):
            _choosing(parts, first)
    running = [_wire_describing(parts)]
    if parts.speak is not None:
        running += _wire_speaking(parts, running[0])
    _wire_stopping(parts, running)
    _wire_giving(parts)
    _wire_variants(parts, page, tab)
    _wire_keeping(parts)


def _giving(parts: Parts, first: Variant | None) -> None:
    import gradio as gr

    from narrator.ui.picture_input import picture_input

    parts.picture = picture_input()
    parts.prompt = gr.Textbox(label="Question or prompt", value=first.default_prompt if first else "", lines=1,
                              max_lines=4, max_length=MAX_PROMPT, elem_id="prompt",
                              visible=bool(first and first.inputs.text))
    with gr.Row(elem_id="doing"):
        parts.describe = gr.Button("Describe", variant="primary", elem_id="describe", scale=2, min_width=140)
        parts.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=90)


def _choosing(parts: Parts, first: Variant | None) -> None:
    import gradio as gr

    gr.HTML('<h2 class="small">Or try one of these</h2>', elem_id="examples-title")
    with gr.Row(elem_id="examples", elem_classes="examples"):
        for path in sorted((ASSETS / "pictures").glob("*.jpg")):
            name = path.stem.replace("-", " ").capitalize()
            parts.examples.append((gr.Button(name, icon=str(path), size="sm", min_width=40, elem_classes="example",
                                             elem_id=f"example-{path.stem}"), path))
    parts.variant = gr.Dropdown(_titles(), value=first.id if first else None, label="Model variant", elem_id="variant",
                                filterable=False)
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        parts.settings = settings_form()
        parts.left_out = gr.HTML(left_out(problems()), elem_id="left-out")


def settings_form() -> list[Any]:
    """A number field for each generation setting, in the order of `GenerationSettings`."""
    import gradio as gr

    with gr.Row(elem_classes="knobs"):
        return [_number(name, field, knob) for name, (field, knob) in knobs(GenerationSettings).items()]


def _number(name: str, field: dataclasses.Field, knob: Knob, **more: Any) -> Any:
    """A number field made from a setting's own declaration: title, unit, meaning, range, default."""
    import gradio as gr

    title = name.replace("_", " ").replace("num ", "").capitalize()
    unit = f" ({knob.unit})" if knob.unit and knob.unit not in title.lower() else ""
    whole = isinstance(field.default, int)
    options = {"info": knob.says, "min_width": 200, "step": 1 if whole else 0.05, "precision": 0 if whole else None,
               "elem_id": f"set-{name.replace('_', '-')}", "minimum": knob.low, "maximum": knob.high}
    return gr.Number(value=field.default, label=title + unit, **{**options, **more})


def _offered() -> list[Variant]:
    """What can describe now: what is on this machine, and what a server runs."""
    return [variant for variant in load_variants().values() if variant.family == "remote" or local_folder(variant)]


def _titles() -> list[tuple[str, str]]:
    return [(variant.title, variant.id) for variant in _offered()]


def _getting(parts: Parts) -> None:
    import gradio as gr

    parts.status = gr.HTML(handlers.first_words(), elem_id="status")
    parts.doing = gr.State("")
    parts.text = gr.Textbox(label="Description", lines=4, max_lines=10, interactive=True, elem_id="description",
                            placeholder="The description appears here. You can edit it.", autoscroll=False)
    voices, silence = handlers.known_voices()
    with gr.Row(elem_id="tools"):
        if voices:
            parts.speak = gr.Button("Speak", variant="primary", size="md", elem_id="speak", scale=2, min_width=120)
        parts.copy = gr.Button("Copy", size="md", elem_id="copy", min_width=80)
        parts.save_text = gr.Button("Save .txt", size="md", elem_id="save-text", min_width=80)
        if voices:
            parts.save_sound = gr.DownloadButton("Save .wav", size="md", elem_id="save-sound", interactive=False,
                                                 min_width=80)
    if voices:
        parts.sound = gr.Audio(label="Narration", type="filepath", interactive=False, elem_id="sound", buttons=[],
                               visible="hidden", show_label=False, container=False,
                               waveform_options=gr.WaveformOptions(show_recording_waveform=False))
    else:
        gr.HTML(silence, elem_id="no-speech")
    parts.sure = gr.HTML("", elem_id="sure")
    if voices:
        _choosing_voice(parts, voices)


def _choosing_voice(parts: Parts, voices: Sequence[Voice]) -> None:
    import gradio as gr

    declared = knobs(SpeechSettings)
    names = [(f"{voice.name}, {voice.languages[0]}" if voice.languages else voice.name, voice.id) for voice in voices]
    with gr.Row(elem_id="voice-row"):
        parts.voice = [gr.Dropdown(names, value=handlers.first_voice(voices), label="Voice", elem_id="voice", scale=2,
                                   min_width=220),
                       _number("speed", *declared["speed"], info=None, min_width=100, step=0.1, elem_id="speed"),
                       _number("pitch", *declared["pitch"], info=None, min_width=100, step=5, elem_id="pitch")]
    parts.at_once = gr.Checkbox(False, label="Speak each new description by itself", elem_id="at-once")


def _wire_describing(parts: Parts) -> Any:
    """The event of describing."""
    import gradio as gr

    async def describing(path: str | None, variant: str, prompt: str, *values: Any) -> Any:
        async for view in handlers.describe(path, variant, prompt, values):
            yield [*(gr.skip() if part is None else part for part in (view.status, view.text, view.sure)), view.doing]

    inputs = [parts.picture, parts.variant, parts.prompt, *parts.settings]
    outputs = [parts.status, parts.text, parts.sure, parts.doing]
    return gr.on([parts.describe.click, parts.prompt.submit], describing, inputs, outputs, concurrency_limit=8,
                 concurrency_id="describe", trigger_mode="once", **QUIETLY)


def _wire_stopping(parts: Parts, running: Sequence[Any]) -> None:
    def stopped(doing: str) -> Any:
        return handlers.stopped(doing), ""

    parts.stop.click(None, cancels=list(running), **QUIETLY).then(
        stopped, parts.doing, [parts.status, parts.doing], queue=False, **QUIETLY)


def _wire_giving(parts: Parts) -> None:
    import gradio as gr

    gr.on([parts.picture.upload, parts.picture.input], handlers.check_picture, parts.picture,
          [parts.picture, parts.status], trigger_mode="always_last", **QUIETLY)
    for button, path in parts.examples:
        button.click(_giver(path), None, [parts.picture, parts.status], queue=False, **QUIETLY)


def _wire_variants(parts: Parts, page: Any, tab: Any) -> None:
    """Picture and prompt show where the variant takes them; a model that came since is in the list when the tab is
    chosen or the page loaded."""
    import gradio as gr

    def show_inputs(variant_id: str | None) -> Any:
        variant = load_variants().get(variant_id or "")
        asked, seeing = variant is not None and variant.inputs.text, variant is None or variant.inputs.image
        return gr.Textbox(visible=asked, value=variant.default_prompt if variant else ""), gr.Image(visible=seeing)

    def refresh() -> Any:
        return gr.Dropdown(choices=_titles()), left_out(problems())

    parts.variant.input(show_inputs, parts.variant, [parts.prompt, parts.picture], queue=False, **QUIETLY)
    gr.on([page.load, tab.select], refresh, None, [parts.variant, parts.left_out], queue=False, **QUIETLY)


def _giver(path: Path) -> Any:
    return lambda: (str(path), status(f"{path.stem.replace('-', ' ').capitalize()} is ready. Press Describe.", "ready"))


async def _spoken(text: str, *voice: Any) -> Any:
    """(status, player, download, doing) as the sound is made."""
    import gradio as gr

    async for view in handlers.speak(text, *voice):
        if view.path is None:
            yield view.status, gr.skip(), gr.skip(), view.doing
        else:
            yield (view.status, gr.Audio(value=str(view.path), visible=True),
                   gr.DownloadButton(value=str(view.path), interactive=True), view.doing)


def _wire_speaking(parts: Parts, describing: Any) -> list[Any]:
    """The events of speaking: the button's, and the one after `describing`."""
    import gradio as gr

    async def by_itself(wanted: bool, doing: str, text: str, *voice: Any) -> Any:
        if not wanted or doing != handlers.DESCRIBED or not text:  # a refusal is a success, too, to Gradio
            yield (gr.skip(),) * 4
            return
        async for update in _spoken(text, *voice):
            yield update

    outputs = [parts.status, parts.sound, parts.save_sound, parts.doing]
    asked = parts.speak.click(_spoken, [parts.text, *parts.voice], outputs, concurrency_limit=4,
                              concurrency_id="speak", **QUIETLY)
    unasked = describing.success(by_itself, [parts.at_once, parts.doing, parts.text, *parts.voice], outputs,
                                 concurrency_limit=4, concurrency_id="speak", **QUIETLY)
    for event in (asked, unasked):
        event.then(None, js=PLAY, **QUIETLY)
    return [asked, unasked]


def _wire_keeping(parts: Parts) -> None:
    """Copy and save in the browser: what is on the screen, edits included, goes nowhere else."""
    say = "(text) => window.narrator.{}(text)"
    parts.copy.click(None, parts.text, None, js=say.format("copy"), **QUIETLY)
    parts.save_text.click(None, parts.text, None, js=say.format("save"), **QUIETLY)
