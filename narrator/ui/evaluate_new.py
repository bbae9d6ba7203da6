"""The left side of the Evaluate tab: a new evaluation. It wires; narrator.ui.evaluate_data works."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable
from html import escape
from typing import Any

from narrator.knobs import knobs
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from narrator.ui import evaluate_data as data
from narrator.ui import evaluate_handlers as handlers
from narrator.ui.accessibility import status
from narrator.ui.data_sets import data_sets
from narrator.ui.fields import choice, number
from narrator.ui.handlers import unexpected
from narrator.ui.picture_input import files_input
from narrator.ui.work import LATEST, QUIETLY

READY = status("Choose variants and pictures with texts, then press Start. An evaluation goes on when this page is "
               "closed.")
FORMATS = ("A zip, or pictures with a .txt of the same name each, or with one file of texts: CSV, JSON lines, COCO or "
           "Karpathy. Several texts for each picture make the figures steadier.")


@dataclasses.dataclass
class New:
    """The widgets of a new evaluation."""

    status: Any = None  # the tab's one line
    visitor: Any = None
    variants: Any = None
    source: Any = None
    upload_part: Any = None
    upload: Any = None
    sets: Any = None
    given: Any = None  # a gr.State: the evaluate_data.Given that is chosen
    found: Any = None
    rows: Any = None
    limit: Any = None
    settings: list[Any] = dataclasses.field(default_factory=list)
    start: Any = None

    def data_outputs(self) -> list[Any]:
        """What `_told` fills."""
        return [self.given, self.found, self.rows, self.status]


def new_part(line: Any, visitor: Any) -> New:
    """The widgets, inside the open column. line: the status line; visitor: the state of narrator.ui.visitors."""
    import gradio as gr

    new = New(status=line, visitor=visitor)
    offered = handlers.variants()
    gr.HTML('<h2 class="part">A new evaluation</h2>', elem_classes="flat")
    new.variants = gr.CheckboxGroup(offered, value=[offered[0][1]] if offered else [], label="Variants to measure",
                                    info="Two or more are compared on the same pictures.", elem_id="evaluate-variants")
    new.source = gr.Radio(data.kinds(), value=data.UPLOAD, label="Measure on", elem_id="evaluate-source")
    with gr.Column(elem_id="evaluate-upload-part") as new.upload_part:
        new.upload = files_input("Pictures with texts", elem_id="evaluate-upload", height=150)
        gr.HTML(f'<p class="quiet">{escape(FORMATS)}</p>', elem_classes="flat")
    new.sets = choice(data_sets(), value=None, label="Data set", elem_id="evaluate-set", visible=False,
                      info="Of the data folder of this machine.")
    new.given = gr.State(None)
    new.found = gr.HTML("", elem_id="evaluate-found", elem_classes="flat")
    new.rows = choice([("All", data.EVERYTHING)], value=data.EVERYTHING, label="Rows",
                      elem_id="evaluate-rows", visible=False, info="What a variant has learned from says little of it.")
    new.limit = gr.Number(value=0, label="At most (rows)", minimum=0, step=1, precision=0, elem_id="evaluate-limit",
                          info="0: all of them. A few hundred give narrow intervals.")
    new.start = gr.Button("Start", variant="primary", elem_id="evaluate-start")
    with gr.Accordion("Settings", open=False, elem_id="evaluate-settings"), gr.Row(elem_classes="knobs"):
        new.settings = [number(name, field, knob, elem_id=f"evaluate-set-{name.replace('_', '-')}")
                        for name, (field, knob) in knobs(GenerationSettings).items()]
    _wire(new)
    return new


def _told(given: data.Given) -> list[Any]:
    """Updates for `New.data_outputs()`, once there is data."""
    import gradio as gr

    rows = gr.Dropdown(choices=list(given.splits), value=given.splits[0][1], visible=len(given.splits) > 1)
    found = f'<p class="found">{escape(given.says)}</p>'
    return [given, found, rows, status(f"The data is ready. {given.says}", "done")]


def _nothing(line: Any) -> list[Any]:
    """The same while there is none."""
    import gradio as gr

    return [None, "", gr.Dropdown(choices=[("All", data.EVERYTHING)], value=data.EVERYTHING, visible=False), line]


def _wire(new: New) -> None:
    import gradio as gr

    outputs = new.data_outputs()

    async def take(files: list[str]) -> Any:
        async for updates in _steps(data.from_upload(files or [])):
            yield updates

    async def choose_set(name: str | None) -> Any:
        async for updates in _steps(asyncio.to_thread(data.from_set, name)):
            yield updates

    async def choose_source(kind: str, visitor: Any) -> Any:
        """What was found of another kind does not stand in for this one."""
        shown = [gr.Column(visible=kind == data.UPLOAD),
                 gr.Dropdown(choices=data_sets() if kind == data.SETS else [], value=None, visible=kind == data.SETS)]
        yield [*shown, *_nothing(READY)]
        if kind == data.CORRECTIONS:
            async for updates in _steps(asyncio.to_thread(data.from_corrections, visitor)):
                yield [gr.skip(), gr.skip(), *updates]

    busy: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "evaluate-data", **QUIETLY}
    taking = new.upload.upload(take, new.upload, outputs, **busy)
    gr.on([new.upload.clear, new.upload.delete], None, cancels=[taking], **QUIETLY)  # ends what goes on
    gr.on([new.upload.clear, new.upload.delete], lambda: _nothing(READY), None, outputs, queue=False, **QUIETLY)
    choosing = new.sets.input(choose_set, new.sets, outputs, **busy | LATEST)
    new.source.input(None, cancels=[taking, choosing], **QUIETLY)  # what is out of sight fills nothing any more
    new.source.input(choose_source, [new.source, new.visitor], [new.upload_part, new.sets, *outputs],
                     **busy | LATEST)


async def _steps(work: Awaitable[data.Given]) -> Any:
    """Updates for `New.data_outputs()` while data is looked through, and after."""
    import gradio as gr

    yield [gr.skip(), gr.skip(), gr.skip(), status("Looking through the data …", "busy")]
    try:
        given = await work
    except NarratorError as error:
        yield _nothing(status(str(error), "error"))
    except Exception as error:  # the page must not say "Looking …" for ever; the error itself goes on
        yield _nothing(unexpected(error))
        raise
    else:
        yield _told(given)
