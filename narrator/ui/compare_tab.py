"""The Compare tab: up to four variants on one picture or prompt, side by side or blind. Tabs wire; compare_handlers,
compare_voting and compare_sharing work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrator.comparing import MOST
from narrator.families.modes import modes_of
from narrator.knobs import knobs
from narrator.narrate import MAX_PROMPT
from narrator.records import Voice
from narrator.settings import GenerationSettings
from narrator.speech.settings import SpeechSettings
from narrator.ui import compare_handlers as work
from narrator.ui import filing, handlers
from narrator.ui.accessibility import ASSETS, status
from narrator.ui.choosing import offered, titles
from narrator.ui.compare_panels import (
    build_leaderboard,
    build_sharing,
    build_voting,
    wire_leaderboard,
    wire_sharing,
    wire_voting,
)
from narrator.ui.compare_parts import PLACES, CompareParts, updates
from narrator.ui.fields import number
from narrator.ui.voice import sound_player
from narrator.ui.work import LATEST, QUIETLY

READY = "() => window.comparing.ready()"  # on to the vote, where one is asked for
PLAY = "() => window.comparing.play()"


def compare_tab(page: Any, tab: Any, tabs: Any, visitor: tuple[Any, Any], kept: Any) -> None:
    """Build the tab `tab` of `tabs` inside `page`, the `gr.Blocks` that is open, for a `visitor`
    (narrator.ui.visitors). kept: the state that holds whether narrations are kept (narrator.ui.filing)."""
    import gradio as gr

    parts = CompareParts(visitor=visitor[0], kept=kept, made=gr.State(None), stage=gr.State(""),
                         whose=gr.State(work.ALL), drafts=gr.State({}))
    voices, silence = handlers.known_voices()
    with gr.Row(elem_id="compare-stage", equal_height=False):
        with gr.Column(min_width=280, elem_id="compare-give"):
            _build_giving(parts)
        with gr.Column(min_width=280, elem_id="compare-choose"):
            _build_choosing(parts)
    parts.status = gr.HTML(work.READY, elem_id="compare-status")
    _build_results(parts, bool(voices))
    build_voting(parts)
    parts.figures = gr.HTML("", elem_id="compare-figures")
    if voices:
        parts.sound = sound_player("compare-sound")
        _build_voices(parts, voices)
    else:
        gr.HTML(silence, elem_id="compare-no-speech")
    _build_settings(parts)
    build_sharing(parts)
    build_leaderboard(parts)
    ended = _wire_running(parts)
    _wire_giving(parts)
    _wire_settings(parts)
    if voices:
        _wire_speaking(parts)
    wire_voting(parts)
    wire_sharing(parts, page, tabs, ended)
    wire_leaderboard(parts, tab, visitor[1])
    tab.select(lambda: [gr.Dropdown(choices=choices(place)) for place in PLACES], None, parts.variants, queue=False,
               **QUIETLY)


def choices(place: int) -> list[tuple[str, str]]:
    """(title, id) of what can be chosen at a place; the third and fourth may stay empty."""
    return ([] if place <= 2 else [("None", "")]) + titles()


def first_choices() -> list[str]:
    """What is chosen on a new page: the first two that write freely, else whatever there is."""
    found = sorted(offered(), key=lambda variant: (bool(modes_of(variant)), not variant.inputs.image))
    return [*(variant.id for variant in found[:2]), *[""] * MOST][:MOST]


def _build_giving(parts: CompareParts) -> None:
    import gradio as gr

    from narrator.ui.picture_input import picture_input

    parts.picture = picture_input(elem_id="compare-picture", height=230, alt_text="The picture to compare on")
    with gr.Row(elem_id="compare-examples", elem_classes="examples"):
        for path in sorted((ASSETS / "pictures").glob("*.jpg")):
            name = path.stem.replace("-", " ").capitalize()
            parts.examples.append((gr.Button(name, icon=str(path), size="sm", min_width=40, elem_classes="example",
                                             elem_id=f"compare-example-{path.stem}"), path))


def _build_choosing(parts: CompareParts) -> None:
    import gradio as gr

    first = first_choices()
    with gr.Row(elem_id="compare-variants"):
        for place in PLACES:
            label = f"Variant {place}" + ("" if place <= 2 else " (optional)")
            parts.variants.append(gr.Dropdown(choices(place), value=first[place - 1] or ("" if place > 2 else None),
                                              label=label, filterable=False, elem_id=f"compare-variant-{place}",
                                              min_width=180))
    parts.prompt = gr.Textbox(label="Prompt (optional)", lines=1, max_lines=4, max_length=MAX_PROMPT,
                              elem_id="compare-prompt", info="For variants that take one; empty for their usual one.")
    parts.references = gr.Textbox(label="Reference (optional)", lines=1, max_lines=5, elem_id="compare-references",
                                  info="What a person would say, a line each: the texts are scored against it.")
    parts.blind = gr.Checkbox(False, label="Hide the names until I have voted", elem_id="compare-blind")
    parts.listening = gr.Checkbox(False, label="Hide the texts, too: vote by listening only", visible=False,
                                  elem_id="compare-listening")
    with gr.Row(elem_id="compare-doing"):
        parts.run = gr.Button("Compare", variant="primary", elem_id="compare-run", scale=2, min_width=140)
        parts.stop = gr.Button("Stop", elem_id="compare-stop", scale=1, min_width=90)


def _build_results(parts: CompareParts, speaks: bool) -> None:
    import gradio as gr

    with gr.Row(elem_id="compare-results", equal_height=False):
        for place in PLACES:
            with gr.Column(visible=False, min_width=220, elem_id=f"compare-{place}") as column:
                parts.cards.append(gr.HTML("", elem_classes="compare-card"))
                if speaks:
                    parts.speaks.append(gr.Button(f"Speak {place}", size="md", elem_id=f"compare-speak-{place}",
                                                  visible=False))
            parts.columns.append(column)


def _build_settings(parts: CompareParts) -> None:
    import gradio as gr

    with gr.Accordion("Settings", open=False, elem_id="compare-settings"):
        with gr.Row(elem_id="compare-whose-row"):
            names = [("All variants", work.ALL), *((f"Variant {place} alone", str(place)) for place in PLACES)]
            parts.choose_whose = gr.Dropdown(names, value=work.ALL, label="Settings of", filterable=False,
                                             elem_id="compare-whose", min_width=200)
            parts.same = gr.Button("Same settings for all", size="md", elem_id="compare-same", min_width=160)
        parts.owners = gr.HTML(work.owners({}), elem_id="compare-owners")
        with gr.Row(elem_classes="knobs"):
            parts.settings = [number(name, field, knob, elem_id=f"compare-set-{name.replace('_', '-')}")
                              for name, (field, knob) in knobs(GenerationSettings).items()]


def _build_voices(parts: CompareParts, voices: Sequence[Voice]) -> None:
    import gradio as gr

    names = [(f"{voice.name}, {voice.languages[0]}" if voice.languages else voice.name, voice.id) for voice in voices]
    declared, first = knobs(SpeechSettings), handlers.first_voice(voices)
    with gr.Accordion("Voices", open=False, elem_id="compare-voices"):
        with gr.Row(elem_id="compare-voice-row"):
            parts.voices = [gr.Dropdown(names, value=first, label=f"Voice of {place}", min_width=180,
                                        elem_id=f"compare-voice-{place}") for place in PLACES]
        with gr.Row():
            parts.manner = [number("speed", *declared["speed"], info=None, min_width=100, step=0.1,
                                   elem_id="compare-speed"),
                            number("pitch", *declared["pitch"], info=None, min_width=100, step=5,
                                   elem_id="compare-pitch")]


def _wire_running(parts: CompareParts) -> tuple[Any, Any]:
    """What follows a comparison: after its end, and after Stop."""
    import gradio as gr

    async def comparing(path: str | None, prompt: str, references: str, visitor: Any, wanted: Any, *more: Any) -> Any:
        (blind, listening), more = more[:2], more[2:]
        drafts = work.kept(more[MOST + 1], more[MOST], more[MOST + 2:])
        asked = work.Asked(path=path, prompt=prompt, references=references, variants=more[:MOST], drafts=drafts,
                           blind=blind, listening=listening)
        async for view in work.compare(asked, visitor, wanted):
            yield updates(parts, view)

    inputs = [parts.picture, parts.prompt, parts.references, parts.visitor, parts.kept, parts.blind, parts.listening,
              *parts.variants, parts.whose, parts.drafts, *parts.settings]
    ran = gr.on([parts.run.click, parts.prompt.submit], comparing, inputs, parts.outputs(), concurrency_limit=8,
                concurrency_id="describe", trigger_mode="once", **QUIETLY)
    ran.success(None, js=READY, **QUIETLY)
    if parts.sound is not None:  # that of a text which is about to go
        gr.on([parts.run.click, parts.prompt.submit], lambda: gr.Audio(value=None, visible="hidden"), None, parts.sound,
              queue=False, **QUIETLY)
    stopped = parts.stop.click(None, cancels=[ran], **QUIETLY).then(
        lambda made, stage: updates(parts, work.stopped(made, stage)), [parts.made, parts.stage], parts.outputs(),
        queue=False, **QUIETLY)
    return ran.success, stopped.then


def _wire_giving(parts: CompareParts) -> None:
    import gradio as gr

    def check(path: str | None) -> Any:
        if path is None:
            return gr.skip(), work.READY
        picture, line = handlers.check_picture(path)
        return picture, line.replace("Press Describe", "Press Compare")

    gr.on([parts.picture.upload, parts.picture.input], check, parts.picture, [parts.picture, parts.status],
          **LATEST)
    for button, path in parts.examples:
        button.click(_giver(path), None, [parts.picture, parts.status], queue=False, **QUIETLY)
    if parts.speaks:  # nobody listens where nothing can speak
        parts.blind.input(lambda blind: gr.Checkbox(visible=blind), parts.blind, parts.listening, queue=False,
                          **LATEST)


def _giver(path: Path) -> Any:
    return lambda: (str(path), status(f"{path.stem.replace('-', ' ').capitalize()} is ready. Press Compare.", "ready"))


def _wire_settings(parts: CompareParts) -> None:
    import gradio as gr

    def switch(chosen: str, whose: str, drafts: work.Drafts, *values: Any) -> list[Any]:
        drafts = work.kept(drafts, whose, values)
        now = zip(values, drafts.get(chosen, drafts[work.ALL]), strict=True)
        # What stays is left alone: a person may be typing there already.
        return [chosen, drafts, work.owners(drafts), *(gr.skip() if old == new else new for old, new in now)]

    def same(whose: str, drafts: work.Drafts, *values: Any) -> list[Any]:
        return [work.ALL, work.ALL, {work.ALL: list(values)}, work.owners({})]

    parts.choose_whose.input(switch, [parts.choose_whose, parts.whose, parts.drafts, *parts.settings],
                             [parts.whose, parts.drafts, parts.owners, *parts.settings], queue=False, **LATEST)
    parts.same.click(same, [parts.whose, parts.drafts, *parts.settings],
                     [parts.choose_whose, parts.whose, parts.drafts, parts.owners], queue=False, **QUIETLY)


def _wire_speaking(parts: CompareParts) -> None:
    for place in PLACES:
        asked = parts.speaks[place - 1].click(
            _speaker(place), [parts.made, parts.visitor, parts.kept, parts.voices[place - 1], *parts.manner],
            [parts.status, parts.sound], concurrency_limit=4, concurrency_id="speak", **QUIETLY)
        asked.then(None, js=PLAY, **QUIETLY)
        parts.stop.click(None, cancels=[asked], **QUIETLY)


def _speaker(place: int) -> Any:
    async def spoken(made: Any, visitor: Any, wanted: Any, *voice: Any) -> Any:
        import gradio as gr

        async for view in work.speak(place, made, *voice):
            if view.path is None:
                yield view.status, gr.skip()
                continue
            yield view.status, gr.Audio(value=str(view.path), visible=True)
            one = made.comparison.results[place - 1]
            line = await filing.add_sound(made.filed.get(place - 1), one.text, view.path, visitor, wanted)
            if line:
                yield line, gr.skip()
    return spoken
