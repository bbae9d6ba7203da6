"""The lower part of the Evaluate tab: a report, its files, and the worst and best examples."""

from __future__ import annotations

import dataclasses
from typing import Any

from narrator.ui import evaluate_examples
from narrator.ui import evaluate_handlers as handlers
from narrator.ui.fields import choice
from narrator.ui.work import QUIETLY


@dataclasses.dataclass
class Results:
    """The widgets of a report; all unseen while there is none."""

    report: Any = None
    files: list[Any] = dataclasses.field(default_factory=list)  # of handlers.FILES
    files_part: Any = None
    examples_part: Any = None
    variant: Any = None
    scene: Any = None
    order: Any = None
    count: Any = None  # a gr.State: how many examples are shown
    examples: Any = None
    more: Any = None

    def outputs(self) -> list[Any]:
        """What `results_shown` fills, in its order."""
        return [self.report, self.files_part, *self.files, self.examples_part, self.variant, self.scene, self.order,
                self.count, self.examples, self.more]


def results_part(found: Results) -> None:
    """The widgets, inside the column that is open."""
    import gradio as gr

    with gr.Row(visible=False, elem_id="evaluate-files") as found.files_part:
        for name in handlers.FILES:
            found.files.append(gr.DownloadButton(f"Save {name}", size="md", min_width=120,
                                                 elem_id=f"evaluate-file-{name.partition('.')[0]}"))
    found.report = gr.HTML("", elem_id="evaluate-report", elem_classes="flat")
    with gr.Column(visible=False, elem_id="evaluate-examples-part") as found.examples_part:
        gr.HTML('<h3>Worst and best examples</h3>', elem_classes="flat")
        with gr.Row(elem_id="evaluate-examples-choice"):
            found.variant = choice([], label="Of the variant", elem_id="evaluate-example-variant", min_width=200)
            found.scene = choice([], label="Type of scene", elem_id="evaluate-scene", min_width=200)
            found.order = gr.Radio(handlers.ORDERS, value="worst", label="Order", elem_id="evaluate-order",
                                   min_width=200)
        found.count = gr.State(evaluate_examples.SHOWN)
        found.examples = gr.HTML("", elem_id="evaluate-examples", elem_classes="flat")
        found.more = gr.Button("Show more", size="md", elem_id="evaluate-more", visible=False)


def results_shown(found: Results, look: handlers.Look, visitor: Any) -> list[Any]:
    """Updates for `found.outputs()`."""
    import gradio as gr

    if look.report is None:
        return [gr.skip()] * len(found.outputs())
    files, variants, scenes = look.files or [], look.variants or [], look.scenes or []
    first = variants[0][1] if variants else None
    cards, more = evaluate_examples.examples(look.seen.get("run"), first, "", "worst", evaluate_examples.SHOWN,
                                    visitor) if variants else ("", False)
    buttons = [gr.DownloadButton(value=path) for path in files] or [gr.skip()] * len(found.files)
    scene = gr.Dropdown(choices=scenes, value=scenes[0][1] if scenes else None, visible=len(scenes) > 1)
    return [look.report, gr.Row(visible=bool(files)), *buttons, gr.Column(visible=bool(variants)),
            gr.Dropdown(choices=variants, value=first), scene, "worst", evaluate_examples.SHOWN,
            cards, gr.Button(visible=more)]


def wire_results(found: Results, choice: Any, visitor: Any) -> None:
    """Another variant, scene or order shows other examples. choice: of the evaluation."""
    import gradio as gr

    asked = [choice, found.variant, found.scene, found.order]

    def show(run: str | None, variant: str | None, scene: str | None, order: str | None, owner: Any) -> list[Any]:
        cards, more = evaluate_examples.examples(run, variant, scene, order, evaluate_examples.SHOWN, owner)
        return [evaluate_examples.SHOWN, cards, gr.Button(visible=more)]

    def show_more(run: str | None, variant: str | None, scene: str | None, order: str | None, count: int, owner: Any
                  ) -> list[Any]:
        count = min(count + evaluate_examples.SHOWN, evaluate_examples.MOST_SHOWN)
        cards, more = evaluate_examples.examples(run, variant, scene, order, count, owner)
        return [count, cards, gr.Button(visible=more)]

    outputs = [found.count, found.examples, found.more]
    gr.on([found.variant.input, found.scene.input, found.order.input], show, [*asked, visitor], outputs, queue=False,
          **QUIETLY)
    found.more.click(show_more, [*asked, found.count, visitor], outputs, queue=False, **QUIETLY).then(
        None, js="() => window.evaluating.example()", **QUIETLY)
