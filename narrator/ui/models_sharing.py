"""The accordion "Adapters and sharing" of the Models tab. Tabs wire; narrator.ui.models_sharing_handlers works."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from narrator.hub.tasks import Task, shared_tasks
from narrator.ui import models_sharing_handlers as handlers
from narrator.ui import models_sharing_view as views
from narrator.ui.asking import begins
from narrator.ui.picture_input import files_input
from narrator.ui.work import QUIETLY

TICK_S = 0.5
# Cancel goes when what it ends has ended: whoever pressed it goes on from the accordion.
GO_ON = "() => document.querySelector('#sharing > button')?.focus()"


@dataclasses.dataclass
class Share:
    """The widgets that handlers read and write."""

    about: Any = None
    files: Any = None
    base: Any = None
    name: Any = None
    merged: Any = None
    repo: Any = None
    private: Any = None
    key: Any = None
    said: Any = None  # the status line once more, where the person looks; only the tab's own is announced
    bar: Any = None
    cancel: Any = None
    save: Any = None
    timer: Any = None
    seen: Any = None  # a gr.State: the number of the last task whose end this page has told
    starts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def shown(self) -> list[Any]:
        """The outputs that `_now` fills."""
        return [self.about, self.base, self.key, self.bar, self.cancel, self.timer]


def sharing(status: Any, choice: Any, tab: Any, refresh: Callable[[Any], Sequence[Any]], outputs: list[Any]) -> None:
    """Build the accordion and wire it. status, choice: the tab's line and its chosen model; refresh: given the id of
    the model to choose, updates for `outputs`, which show the catalog."""
    import gradio as gr

    share = Share()
    with gr.Accordion("Adapters and sharing", open=False, elem_id="sharing"):
        with gr.Row(elem_id="sharing-stage", equal_height=False):
            with gr.Column(min_width=280, elem_id="adding"):
                _adding(share)
            with gr.Column(min_width=280, elem_id="sharing-out"):
                _chosen(share)
    share.said = gr.HTML("", elem_id="sharing-said")
    with gr.Row(elem_id="task", equal_height=True):
        share.bar = gr.HTML("", elem_id="task-bar")
        share.cancel = gr.Button("Cancel", elem_id="task-cancel", size="md", min_width=90, visible=False)
        share.save = gr.DownloadButton("Save the exported file", elem_id="export-save", size="md", variant="primary",
                                       visible=False)
    share.timer = gr.Timer(TICK_S, active=False)
    share.seen = gr.State(0)
    _wire(share, status, choice, tab)
    _wire_ticks(share, status, choice, refresh, outputs)


def _adding(share: Share) -> None:
    import gradio as gr

    gr.HTML(views.ADDING, elem_id="adding-title")
    share.files = files_input("Files of the adapter", elem_id="adapter-files", height=150)
    share.base = gr.Dropdown(handlers.bases(), value=None, label="Base", info="The model that it was trained on",
                             filterable=False, elem_id="adapter-base")
    share.name = gr.Textbox(label="Name of the new model", info="Small letters, digits and hyphens", max_length=80,
                            elem_id="adapter-name")
    share.starts["add"] = gr.Button("Add adapter", elem_id="adapter-add", size="md", variant="primary")


def _chosen(share: Share) -> None:
    import gradio as gr

    share.about = gr.HTML(views.about(None), elem_id="sharing-about")
    share.merged = gr.Textbox(label="Name of the merged model", info="Empty: the model's own name, then -merged",
                              max_length=80, elem_id="merge-name")
    share.starts["merge"] = gr.Button("Merge its adapter", elem_id="merge", size="md")
    share.starts["export"] = gr.Button("Export as a zip file", elem_id="export", size="md")
    share.repo = gr.Textbox(label="Repository on the Hub", info="USER/NAME; it is made where it is not there",
                            max_length=200, elem_id="push-repo")
    share.private = gr.Checkbox(True, label="Private: nobody else may see it", elem_id="push-private")
    share.key = gr.HTML(views.key(), elem_id="push-key")
    share.starts["push"] = gr.Button("Push to the Hub", elem_id="push", size="md")


def _now(variant_id: str | None, begun: bool = False) -> list[Any]:
    """Updates for `Share.shown()`. begun: a task whose end has not been told yet, though it may be over by now."""
    import gradio as gr

    task = shared_tasks().latest()
    running = begun or (task is not None and task.state == "running")
    return [views.about(variant_id), gr.Dropdown(choices=handlers.bases()), views.key(), views.bar(task),
            gr.Button(visible=running), gr.Timer(active=running)]


def _wire(share: Share, status: Any, choice: Any, tab: Any) -> None:
    """What begins, and what is cancelled."""
    begun = [status, share.said, share.save, *share.shown()]
    inputs = {"add": [share.files, share.base, share.name], "merge": [choice, share.merged], "export": [choice],
              "push": [choice, share.repo, share.private]}
    for does, button in share.starts.items():
        button.click(_beginning(handlers.BEGIN[does]), [choice, *inputs[does]], begun, trigger_mode="once", **QUIETLY)
    share.cancel.click(lambda: [handlers.cancel()] * 2, None, [status, share.said], queue=False, **QUIETLY)
    share.cancel.click(None, js=GO_ON, **QUIETLY)
    tab.select(_now, choice, share.shown(), queue=False, **QUIETLY)
    choice.change(views.about, choice, share.about, queue=False, **QUIETLY)


def _beginning(begin: Callable[..., str]) -> Callable[..., list[Any]]:
    def both(variant_id: str | None, *given: Any) -> list[Any]:
        import gradio as gr

        line = begin(*given)
        begun = begins(line)
        return [line, line, gr.DownloadButton(visible=False) if begun else gr.skip(), *_now(variant_id, begun)]
    return both


def _wire_ticks(share: Share, status: Any, choice: Any, refresh: Callable[[Any], Sequence[Any]],
                outputs: list[Any]) -> None:
    """What is seen while a task runs, and once when it ends. Text that the person is writing is left alone."""
    import gradio as gr

    def tick(variant_id: str | None, seen: int) -> list[Any]:
        task = shared_tasks().latest()
        if task is not None and task.state == "running":
            shown = [gr.skip(), gr.skip(), gr.skip(), views.bar(task), gr.skip(), gr.skip()]
            return [gr.skip(), gr.skip(), *shown, seen, *[gr.skip()] * (len(outputs) + 3)]
        if task is None or task.number <= seen:
            return [gr.skip(), gr.skip(), *_now(variant_id), seen, *[gr.skip()] * (len(outputs) + 3)]
        new = task.made if task.state == "done" and task.does in ("add", "merge") else variant_id
        cleared = [None, ""] if new != variant_id and task.does == "add" else [gr.skip(), gr.skip()]
        line = handlers.told(task)
        return [line, line, *_now(new), task.number, _saving(task), *cleared, *refresh(new)]

    ends = [status, share.said, *share.shown(), share.seen, share.save, share.files, share.name, *outputs]
    share.timer.tick(tick, [choice, share.seen], ends, queue=False, trigger_mode="once", **QUIETLY)


def _saving(task: Task) -> Any:
    """The button that saves an export, once there is one."""
    import gradio as gr

    path = handlers.exported(task)
    return gr.skip() if path is None else gr.DownloadButton(value=path, visible=True)
