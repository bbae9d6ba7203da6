"""The command for several GPUs or machines, on the Train tab: written here, run in terminals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from narrator.records import NarratorError
from narrator.ui.accessibility import status
from narrator.ui.work import QUIETLY
from trainer.launch import HOST, KINDS
from trainer.tab import starts
from trainer.tab.form import Form
from trainer.tab.widgets import choice

SAYS = ("Save the settings as YAML above, into the project's folder of each machine. Data, runs and checkpoints must "
        "lie on a disk that all machines share, at the same path.")


def several_part(form: Form, line: Any) -> None:
    """The widgets, folded, inside the column that is open, and what they do. line: the tab's status line."""
    import gradio as gr

    with gr.Accordion("On several GPUs or machines", open=False, elem_id="train-several"):
        gr.HTML(f'<p class="quiet">{SAYS}</p>', elem_classes="flat")
        kind = choice([(says[:1].upper() + says[1:], name) for name, says in KINDS.items()], value="gpus",
                      label="How", elem_id="train-several-kind")
        with gr.Row(elem_classes="knobs"):
            machines = gr.Number(1, label="Machines", step=1, elem_id="train-several-machines", min_width=120)
            processes = gr.Number(2, label="Processes on each (one for each GPU)", step=1, min_width=120,
                                  elem_id="train-several-processes")
            host = gr.Textbox(HOST, label="Name or address of the first machine", max_length=253, min_width=200,
                              elem_id="train-several-host")
        write = gr.Button("Write the command", size="md", elem_id="train-several-write")
        command = gr.Textbox(label="One command for each machine", lines=2, max_lines=12, interactive=True,
                             elem_id="train-several-command")

    def written(given: Mapping[Any, Any]) -> tuple[Any, str]:
        try:
            lines = starts.launched(form.read(given), given[kind] or "", given[machines], given[processes],
                                    given[host] or "")
        except NarratorError as error:
            return gr.skip(), status(str(error), "error")
        return "\n".join(lines), status("The command is written." if len(lines) == 1 else
                                        f"{len(lines)} commands are written, one for each machine.", "done")

    form.after(write.click)(written, {*form.inputs(), kind, machines, processes, host}, [command, line], **QUIETLY)
