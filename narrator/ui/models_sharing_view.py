"""The HTML of "Adapters and sharing". What people wrote is escaped."""

from __future__ import annotations

from html import escape

from narrator.adapters.files import CONFIG, WEIGHTS
from narrator.catalog import load_variants
from narrator.hub.pulling import size
from narrator.hub.pushing import token
from narrator.hub.tasks import Task
from narrator.ui.limits import MAX_FILE

ADDING = (f'<h2 class="small">Add an adapter</h2><p>A LoRA adapter as PEFT saves it: <code>{CONFIG}</code> and '
          f"<code>{WEIGHTS}</code>, or a zip of both. Files of up to {MAX_FILE[:-2]} MB each; larger ones go in with "
          "<code>python -m narrator adapter add</code>.</p>")


def about(variant_id: str | None) -> str:
    """Which model merging, exporting and pushing are about."""
    variant = load_variants().get(variant_id or "")
    title = f"<strong>{escape(variant.title)}</strong>" if variant is not None else "none yet"
    merges = "" if variant is None or variant.adapter is not None else " It has no adapter to merge."
    return (f'<h2 class="small">Merge, export, push</h2><p>These are about the model that is chosen above: {title}.'
            f"{merges}</p>")


def key() -> str:
    """Whether a push can be tried at all."""
    if token():
        return "<p>The key in HF_TOKEN is used.</p>"
    return ("<p>Pushing needs a key that may write, in the environment variable HF_TOKEN of whoever runs this page. It "
            "is not set. Set it, then start again.</p>")


def bar(task: Task | None) -> str:
    """The progress of what runs, "" while nothing does. No live region: it would never be silent."""
    if task is None or task.state != "running":
        return ""
    value = f'value="{task.done}" max="{task.total}"' if task.total else ""
    far = f"{size(task.done)} of {size(task.total)} ({task.done / task.total:.0%})" if task.total else "At work …"
    return (f'<div class="download"><progress aria-label="{escape(task.title)}" {value}></progress>'
            f"<span>{escape(task.title)}: {far}</span></div>")
