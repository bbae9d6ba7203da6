"""What "Adapters and sharing" does: plain functions on plain values, which tests call without a page."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from narrator.adapters import TAKE_ADAPTERS
from narrator.adapters.files import gather
from narrator.adapters.placing import hidden, new_checkpoint, slug
from narrator.catalog import find_variant, load_variants
from narrator.hub import is_hub_id, local_folder
from narrator.hub.pushing import token
from narrator.hub.tasks import Task, shared_tasks
from narrator.records import NarratorError, Variant
from narrator.ui.accessibility import status
from narrator.ui.models_handlers import NOT_HERE, may_manage
from narrator.uploads import new_export, uploaded_path

NO_KEY = ("Pushing needs a key that may write, in the environment variable HF_TOKEN of whoever runs this page: set it, "
          "then start again.")


def bases() -> list[tuple[str, str]]:
    """(title, id) of the models here that an adapter can be put on."""
    return [(variant.title, variant.id) for variant in load_variants().values()
            if variant.family in TAKE_ADAPTERS and variant.adapter is None and local_folder(variant) is not None]


def add(paths: Sequence[str] | None, base_id: str | None, name: str | None) -> str:
    """Begin to add an adapter from uploaded files; the status line."""
    def begin() -> str:
        _check()
        uploaded = [path for path in map(uploaded_path, paths or ()) if path is not None]
        if not uploaded:
            raise NarratorError("There are no files yet: choose those of the adapter first, or a zip archive of them.")
        if not base_id:
            raise NarratorError("Choose the base that the adapter was trained on. If it is not in the list, download "
                                "it first.")
        base = find_variant(base_id)
        zipped = next((path.stem for path in uploaded if path.suffix.lower() == ".zip"), "")
        called = (name or "").strip() or slug(zipped)
        if not called:
            raise NarratorError("The new model needs a name: type one, such as my-adapter.")
        out = new_checkpoint(called)
        scratch = Path(tempfile.mkdtemp(prefix="narrator-adapter-"))
        title = f"Adding {called} to {base.title}"
        try:
            gather(uploaded, scratch / "adapter")
            request = {"folder": str(scratch / "adapter"), "base": base.id, "name": called}
            shared_tasks().start("add", title, request, (scratch, hidden(out)))
        except NarratorError:
            shutil.rmtree(scratch)
            raise
        return status(f"{title}.", "busy")
    return _said(begin)


def merge(variant_id: str | None, name: str | None) -> str:
    """Begin to merge the chosen model's adapter; the status line."""
    def begin() -> str:
        variant = _here(variant_id)
        if variant.adapter is None:
            raise NarratorError(f"{variant.title} has no adapter: there is nothing to merge.")
        out = new_checkpoint((name or "").strip() or f"{variant.id}-merged")
        title = f"Merging {variant.title}"
        shared_tasks().start("merge", title, {"variant": variant.id, "out": out.name}, (hidden(out),))
        return status(f"{title}.", "busy")
    return _said(begin)


def export(variant_id: str | None) -> str:
    """Begin to pack the chosen model as a zip archive; the status line."""
    def begin() -> str:
        variant = _here(variant_id)
        with new_export(f"{variant.id}.zip") as out:
            shared_tasks().start("export", f"Export of {variant.title}", {"variant": variant.id, "out": str(out)},
                                 (hidden(out),))
        return status(f"Packing {variant.title}.", "busy")
    return _said(begin)


def push(variant_id: str | None, repo: str | None, private: bool) -> str:
    """Begin to push the chosen model; the status line."""
    def begin() -> str:
        variant = _here(variant_id)
        if not token():
            raise NarratorError(NO_KEY)
        to = (repo or "").strip()
        if not is_hub_id(to):
            raise NarratorError("Say which repository: USER/NAME, such as anna/my-narrator.")
        request = {"variant": variant.id, "repo": to, "private": bool(private)}
        shared_tasks().start("push", f"Push of {variant.title} to {to}", request)
        return status(f"Pushing {variant.title} to {to}.", "busy")
    return _said(begin)


BEGIN: dict[str, Callable[..., str]] = {"add": add, "merge": merge, "export": export, "push": push}


def cancel() -> str:
    """Stop what runs; the status line."""
    def stop() -> str:
        _check()
        if not shared_tasks().cancel():
            raise NarratorError("Nothing is under way: there is nothing to cancel.")
        return status("Stopping …", "busy")
    return _said(stop)


def told(task: Task) -> str:
    """The status line of a task that has ended."""
    return status(task.says, {"done": "done", "stopped": "stopped"}.get(task.state, "error"))


def exported(task: Task | None) -> str | None:
    """The archive to save, where the last thing done was an export and it is still there."""
    if task is None or task.does != "export" or task.state != "done" or not Path(task.made).is_file():
        return None
    return task.made


def _check() -> None:
    if not may_manage():
        raise NarratorError(NOT_HERE)


def _here(variant_id: str | None) -> Variant:
    _check()
    return find_variant(variant_id or "")


def _said(begin: Callable[[], str]) -> str:
    try:
        return begin()
    except NarratorError as error:
        return status(str(error), "error")
