"""The voice on the Narrate tab: its controls, and the sound that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from narrator.knobs import knobs
from narrator.records import Voice
from narrator.speech.settings import SpeechSettings
from narrator.ui import filing, handlers
from narrator.ui.fields import number
from narrator.ui.parts import Parts
from narrator.ui.work import QUIETLY

PLAY = "() => window.narrator.play()"  # a sound that is new; whoever asked for it asked to hear it


def sound_player(elem_id: str = "sound") -> Any:
    """Where the sound appears."""
    import gradio as gr

    return gr.Audio(label="Narration", type="filepath", interactive=False, elem_id=elem_id, buttons=[],
                    visible="hidden", show_label=False, container=False,
                    waveform_options=gr.WaveformOptions(show_recording_waveform=False))


def choosing_voice(parts: Parts, voices: Sequence[Voice]) -> None:
    """Voice, speed, pitch, and whether each description is spoken by itself."""
    import gradio as gr

    declared = knobs(SpeechSettings)
    names = [(f"{voice.name}, {voice.languages[0]}" if voice.languages else voice.name, voice.id) for voice in voices]
    with gr.Row(elem_id="voice-row"):
        parts.voice = [gr.Dropdown(names, value=handlers.first_voice(voices), label="Voice", elem_id="voice", scale=2,
                                   min_width=220),
                       number("speed", *declared["speed"], info=None, min_width=100, step=0.1, elem_id="speed"),
                       number("pitch", *declared["pitch"], info=None, min_width=100, step=5, elem_id="pitch")]
    parts.at_once = gr.Checkbox(False, label="Speak each new description by itself", elem_id="at-once")


async def spoken(text: str, filed: str, visitor: Any, wanted: Any, *voice: Any) -> Any:
    """(status, player, download, doing) as the sound is made. filed: the narration of the history that it may be of."""
    import gradio as gr

    async for view in handlers.speak(text, *voice):
        if view.path is None:
            yield view.status, gr.skip(), gr.skip(), view.doing
        else:
            yield (view.status, gr.Audio(value=str(view.path), visible=True),
                   gr.DownloadButton(value=str(view.path), interactive=True), view.doing)
            line = await filing.add_sound(filed, text, view.path, visitor, wanted)
            if line:
                yield line, gr.skip(), gr.skip(), view.doing


def wire_speaking(parts: Parts, describing: Any) -> list[Any]:
    """The events of speaking: the button's, and the one after `describing`."""
    import gradio as gr

    async def by_itself(at_once: bool, doing: str, text: str, *voice: Any) -> Any:
        if not at_once or doing != handlers.DESCRIBED or not text:  # a refusal is a success, too, to Gradio
            yield (gr.skip(),) * 4
            return
        async for update in spoken(text, *voice):
            yield update

    outputs = [parts.status, parts.sound, parts.save_sound, parts.doing]
    said = [parts.text, parts.filed, parts.visitor, parts.kept, *parts.voice]
    asked = parts.speak.click(spoken, said, outputs, concurrency_limit=4,
                              concurrency_id="speak", **QUIETLY)
    unasked = describing.success(by_itself, [parts.at_once, parts.doing, *said], outputs, concurrency_limit=4,
                                 concurrency_id="speak", **QUIETLY)
    for event in (asked, unasked):
        event.then(None, js=PLAY, **QUIETLY)
    return [asked, unasked]
