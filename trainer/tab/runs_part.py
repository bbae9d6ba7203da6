"""The right side of the Train tab: all runs, and one of them watched. It wires; trainer.tab.runs works."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

from narrator.records import NarratorError
from narrator.ui import handlers
from narrator.ui.accessibility import status
from narrator.ui.asking import asking, then_shown, wire_asking
from narrator.ui.work import LATEST, QUIETLY, quietly
from trainer.tab import runs, views
from trainer.tab.widgets import choice

# Seconds between two looks: at a run that runs, while anything waits or runs, and else. An event is on the page after
# two looks at most, since one may be under way while it is written.
NOW_S, SOON_S, SELDOM_S = 1.0, 2.0, 5.0
BUTTONS = {"stop": "Stop", "resume": "Resume", "earlier": "Earlier", "later": "Later", "narrate": "Narrate with it",
           "remove": "Remove …"}
KEEP = "(run) => window.training.keep(run)"
ASKED_FOR = "(run, seen) => [window.training.asked() || run, seen]"
UNLESS_SAID = "(words, line) => window.training.opening(words, line)"
GO_ON = "() => window.training.goOn('#train-actions button')"
PLAY = "() => window.training.play()"
LOOK = "() => window.training.look()"


@dataclasses.dataclass
class Runs:
    """The widgets of the runs."""

    status: Any = None
    choice: Any = None
    seen: Any = None  # a gr.State: runs.Look.seen
    buttons: dict[str, Any] = dataclasses.field(default_factory=dict)
    asking: Any = None  # narrator.ui.asking: Asking
    facts: Any = None
    curves: Any = None
    samples_part: Any = None
    samples: list[tuple[Any, Any, Any]] = dataclasses.field(default_factory=list)  # row, words, Speak
    sound: Any = None
    report: Any = None
    tables: Any = None
    log: Any = None
    overview: Any = None
    detail: Any = None  # all that is about the watched run
    timer: Any = None
    look: Any = None  # pressed by the page at each tick of the timer while somebody can see it
    turned: Any = None  # another text, and what seldom changes is asked for
    opening: Any = None  # what the status line is to say of an opened tab, unless something else has been said since

    def outputs(self) -> list[Any]:
        """What `shown` fills, in its order, the status line first."""
        return [*self.often(), *self.seldom()]

    def often(self) -> list[Any]:
        """What may change with every step, and the report, which is to be there when its run is said to be done."""
        return [self.status, self.seen, self.facts, self.curves, self.tables, self.report, self.log, self.overview]

    def seldom(self) -> list[Any]:
        """What changes when the run does, or the list, or an evaluation came. To leave an output as it is costs Gradio
        nearly a millisecond, and the training has one of them less: a look leaves these out."""
        rows = [part for row, words, _ in self.samples for part in (row, words)]
        return [self.choice, self.detail, self.timer, self.samples_part, *rows, *self.buttons.values()]


def runs_part(line: Any) -> Runs:
    """The widgets, inside the column that is open. line: the status line."""
    import gradio as gr

    parts = Runs(status=line)
    gr.HTML('<h2 class="part">Runs</h2>', elem_classes="flat")
    parts.seen = gr.State({})
    with gr.Column(visible=False, elem_id="train-detail") as parts.detail:
        _detail(parts)
    parts.sound = gr.Audio(type="filepath", interactive=False, elem_id="train-sound", buttons=[], label="Speech",
                           visible="hidden", show_label=False, container=False,
                           waveform_options=gr.WaveformOptions(show_recording_waveform=False))
    parts.overview = gr.HTML(views.NO_RUNS, elem_id="train-overview", elem_classes="flat")
    parts.timer = gr.Timer(SELDOM_S, active=False)
    parts.look = gr.Button("Look", visible="hidden", elem_id="train-look")
    parts.turned = gr.Textbox(label="What has turned", visible="hidden", elem_id="train-turned")
    parts.opening = gr.Textbox(label="How the run stands", visible="hidden", elem_id="train-opening")
    return parts


def _detail(parts: Runs) -> None:
    import gradio as gr

    parts.choice = choice([], label="Run", elem_id="train-run")
    with gr.Row(elem_id="train-actions"):
        for name, label in BUTTONS.items():
            parts.buttons[name] = gr.Button(label, elem_id=f"train-{name}", size="md", min_width=80, visible=False,
                                            variant="primary" if name in ("resume", "narrate") else "secondary")
    parts.asking = asking("train", yes="Remove it")
    parts.facts = gr.HTML("", elem_id="train-facts", elem_classes="flat")
    parts.curves = gr.HTML("", elem_id="train-curves", elem_classes="flat")
    parts.report = gr.HTML("", elem_id="train-report", elem_classes="flat")
    _samples(parts)
    with gr.Accordion("The curves as tables", open=False, elem_id="train-tables-part"):
        parts.tables = gr.HTML("", elem_id="train-tables", elem_classes="flat")
    with gr.Accordion("Log", open=False, elem_id="train-log-part"):
        parts.log = gr.HTML("", elem_id="train-log", elem_classes="flat")


def _samples(parts: Runs) -> None:
    import gradio as gr

    with gr.Column(visible=False, elem_id="train-samples") as parts.samples_part:
        gr.HTML('<h3>What it says of pictures that it does not learn from</h3>', elem_classes="flat")
        for place in range(1, runs.SAMPLES + 1):
            with gr.Row(visible=False, elem_classes="sample-row", elem_id=f"train-sample-{place}") as row:
                words = gr.HTML("", elem_classes="flat")
                speak = gr.Button("Speak", size="sm", min_width=70, scale=0, elem_id=f"train-speak-{place}")
            parts.samples.append((row, words, speak))


def shown(parts: Runs, look: runs.Look, listed: Any) -> list[Any]:
    """Updates for `parts.outputs()`. listed: an update of the list of runs."""
    return [*_often(look), *_seldom(parts, look, listed)]


def glance(run_id: str | None, seen: dict[str, Any]) -> list[Any]:
    """Updates for `parts.often()` and `parts.turned`."""
    look = runs.look(run_id, seen)
    stands = [look.seen.get(name) for name in ("run", "state", "evaluations", "runs")]
    return [*_often(look), json.dumps([*stands, pause_s(look)])]


def _often(look: runs.Look) -> list[Any]:
    views_of = (look.facts, look.curves, look.tables, look.report, look.log, look.overview)
    return [_given(look.status), look.seen, *map(_given, views_of)]


def _seldom(parts: Runs, look: runs.Look, listed: Any = None) -> list[Any]:
    """Updates for `parts.seldom()`. look: one that was not given what was seen before, so that it lacks nothing."""
    import gradio as gr

    choices, samples, actions = look.choices or [], look.samples or [], look.actions or set()
    said = [*samples, *[""] * (len(parts.samples) - len(samples))]
    return [gr.Dropdown(choices=choices) if listed is None else listed, gr.Column(visible=bool(choices)),
            gr.Timer(value=pause_s(look), active=True), gr.Column(visible=bool(samples)),
            *(part for text in said for part in (gr.Row(visible=bool(text)), text)),
            *(gr.Button(visible=name in actions) for name in parts.buttons)]


def _given(value: Any) -> Any:
    import gradio as gr

    return gr.skip() if value is None else value


def pause_s(look: runs.Look) -> float:
    """Seconds until the next look."""
    return NOW_S if look.running else SOON_S if look.live else SELDOM_S


def opened(parts: Runs, run_id: str | None) -> list[Any]:
    """Updates that watch a run anew: the one that is asked for if it is there, else the one that comes first."""
    import gradio as gr

    look = runs.look(run_id)
    known = [value for _, value in look.choices or []]
    if run_id not in known:
        run_id = runs.newest()
        look = runs.look(run_id)
    return shown(parts, look, gr.Dropdown(choices=look.choices or [], value=run_id))


def wire_runs(parts: Runs, tab: Any, may: bool) -> None:
    """Looking; and, where a person may, doing."""
    outputs, quiet = parts.outputs(), quietly(parts.status)

    def first(run: str | None, seen: dict[str, Any]) -> list[Any]:
        words, *rest = opened(parts, run)
        return [words if isinstance(words, str) else "", *rest]

    tab.select(first, [parts.choice, parts.seen], [parts.opening, *outputs[1:]], js=ASKED_FOR, queue=False,
               **quiet).then(None, [parts.opening, parts.status], parts.status, js=UNLESS_SAID, **QUIETLY)
    parts.choice.input(lambda run: opened(parts, run), parts.choice, outputs, queue=False, **quiet | LATEST)
    parts.choice.change(None, parts.choice, None, js=KEEP, **QUIETLY)
    parts.timer.tick(None, js=LOOK, **QUIETLY)
    parts.look.click(glance, [parts.choice, parts.seen], [*parts.often(), parts.turned], queue=False,
                     trigger_mode="once", **quiet)
    parts.turned.change(lambda run: _seldom(parts, runs.look(run)), parts.choice, parts.seldom(), queue=False,
                        **quiet | LATEST)
    _wire_speaking(parts)
    if may:
        _wire_doing(parts)


def _wire_doing(parts: Runs) -> None:
    outputs, quiet = parts.outputs(), quietly(parts.status)
    watch = functools.partial(opened, parts)
    acts: dict[str, Callable[[str | None], str]] = {
        "stop": runs.stop, "resume": runs.resume, "earlier": lambda run: runs.move(run, -1),
        "later": lambda run: runs.move(run, 1)}
    for name, act in acts.items():
        parts.buttons[name].click(then_shown(act, watch), parts.choice, outputs, trigger_mode="once", **quiet).then(
            None, js=GO_ON, **QUIETLY)
    wire_asking(parts.asking, parts.buttons["remove"], runs.question, [parts.choice], parts.status, GO_ON)
    parts.asking.yes.click(then_shown(runs.remove, watch), parts.choice, outputs, trigger_mode="once", **quiet).then(
        None, js=GO_ON, **QUIETLY)


def _wire_speaking(parts: Runs) -> None:
    for place, (_, _, button) in enumerate(parts.samples):
        button.click(_speaker(place), parts.choice, [parts.status, parts.sound], concurrency_limit=4,
                     concurrency_id="speak", **QUIETLY).then(None, js=PLAY, **QUIETLY)


def _speaker(place: int) -> Any:
    import gradio as gr

    async def speak(run: str | None) -> Any:
        """(status, player) as the sound is made."""
        try:
            text = runs.sample_text(run, place)
        except NarratorError as error:
            yield status(str(error), "error"), gr.skip()
            return
        voices, silence = handlers.known_voices()
        if not voices:
            yield silence, gr.skip()
            return
        async for view in handlers.speak(text, handlers.first_voice(voices), 1.0, 50):
            sound = gr.skip() if view.path is None else gr.Audio(value=str(view.path), visible=True)
            yield gr.skip() if view.status is None else view.status, sound
    return speak
