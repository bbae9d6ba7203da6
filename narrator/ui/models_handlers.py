"""What the Models tab shows and does: plain functions on plain values, which tests call without a page."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Sequence

from narrator.catalog import bundled_ids, find_variant, load_variants, manifest_folder
from narrator.engine import shared_engine
from narrator.hub import disk_bytes, is_hub_id, local_folder, remove, shared_downloads
from narrator.hub.cache import removable
from narrator.hub.pulling import size
from narrator.records import NarratorError, Variant
from narrator.ui.accessibility import status
from narrator.ui.handlers import unexpected
from narrator.ui.limits import alone
from narrator.ui.models_view import Entry, Place, asked
from narrator.weights import bytes_needed

READY = status("Choose a model to see what it takes and needs.")
NOT_HERE = ("This page serves several people, so models cannot be downloaded, unloaded or removed here. Whoever runs "
            "it can allow that with NARRATOR_MANAGE=1.")


def may_manage() -> bool:
    """Whether visitors may download, unload and remove: NARRATOR_MANAGE=1 or 0, else only where the page is served to
    this machine alone."""
    said = os.environ.get("NARRATOR_MANAGE", "").strip().lower()
    if said:
        return said in ("1", "true", "yes", "on")
    return alone()


def entries() -> list[Entry]:
    """Every variant of the catalog, in its order."""
    loaded, bundled = shared_engine().loaded(), bundled_ids()
    return [_entry(variant, loaded, bundled) for variant in load_variants().values()]


def entry(variant_id: str | None) -> Entry | None:
    """One of them; None where there is none of that id."""
    variant = load_variants().get(variant_id or "")
    return None if variant is None else _entry(variant, shared_engine().loaded(), bundled_ids())


def _entry(variant: Variant, loaded: Sequence[str], bundled: Sequence[str]) -> Entry:
    folder = local_folder(variant)
    found = shared_downloads().find(variant.id)
    place: Place = "here"
    if variant.family == "remote":
        place = "server"
    elif folder is None:
        place = "away" if is_hub_id(variant.source) else "damaged"
    elif variant.id in loaded:
        place = "loaded"
    try:
        memory = bytes_needed(variant if folder is None else dataclasses.replace(variant, source=str(folder)))
    except NarratorError:
        memory = (0, 0)
    return Entry(variant=variant, place=place, disk=disk_bytes(variant), memory=memory, bundled=variant.id in bundled,
                 download=found if found is not None and found.state == "running" else None)


def actions(found: Entry | None) -> set[str]:
    """What can be done with it now, of "pull", "cancel", "load", "unload" and "remove"."""
    if found is None:
        return set()
    if found.download is not None:
        return {"cancel"}
    possible = {"away": {"pull"}, "here": {"load"}, "loaded": {"unload"}}.get(found.place, set())
    entry_alone = found.place == "away" and manifest_folder(found.variant.id) is not None
    if (found.disk or entry_alone) and not found.bundled:
        possible = possible | {"remove"}
    return possible


def choices() -> list[tuple[str, str]]:
    """(title, id) of all."""
    return [(variant.title, variant.id) for variant in load_variants().values()]


def question(variant_id: str | None) -> str:
    """What is asked before anything is deleted. Raises NarratorError where nothing can be."""
    variant = _managed(variant_id)
    return asked(variant, removable(variant))


def pull(variant_id: str | None) -> str:
    """Begin a download in the background; the status line."""
    def begin() -> str:
        variant = _managed(variant_id)
        if local_folder(variant) is not None:
            raise NarratorError(f"{variant.title} is here already.")
        shared_downloads().start(variant)
        return status(f"Downloading {variant.title}.", "busy")
    return _said(begin)


def cancel(variant_id: str | None) -> str:
    """Stop a download; the status line."""
    def stop() -> str:
        variant = _managed(variant_id)
        if not shared_downloads().cancel(variant.id):
            raise NarratorError(f"{variant.title} is not being downloaded: there is nothing to cancel.")
        return status("Stopping …", "busy")
    return _said(stop)


def ended(watched: Sequence[str]) -> str | None:
    """The status line for the downloads of these ids that have ended; None while all of them run."""
    found = [shared_downloads().find(name) for name in watched]
    over = [download for download in found if download is not None and download.state != "running"]
    if not over:
        return None
    kinds = {"done": "done", "stopped": "stopped"}
    return status(" ".join(download.says for download in over), kinds.get(over[-1].state, "error"))


async def load(variant_id: str | None) -> AsyncIterator[str]:
    """Status lines of loading a model into memory."""
    def work(variant: Variant) -> str:
        with shared_engine().use(variant.id):
            return f"{variant.title} is loaded: its next description begins at once."
    async for line in _working(variant_id, "Loading {} …", work, find_variant):
        yield line


async def unload(variant_id: str | None) -> AsyncIterator[str]:
    """Status lines of letting go of a model; waits for a description that it is making."""
    def work(variant: Variant) -> str:
        gone = shared_engine().unload(variant.id)
        return f"{variant.title} is unloaded." if gone else f"{variant.title} was not loaded."
    async for line in _working(variant_id, "Unloading {} …", work, _managed):
        yield line


async def remove_now(variant_id: str | None) -> AsyncIterator[str]:
    """Status lines of deleting a model's files, once a person has said yes."""
    def work(variant: Variant) -> str:
        removable(variant)
        shared_engine().unload(variant.id)
        return f"{variant.title} is removed; {size(remove(variant.id))} are free again."
    async for line in _working(variant_id, "Removing {} …", work, _managed):
        yield line


def _managed(variant_id: str | None) -> Variant:
    """The variant. Raises NarratorError for an unknown one, and where visitors may not manage models."""
    if not may_manage():
        raise NarratorError(NOT_HERE)
    return find_variant(variant_id or "")


async def _working(variant_id: str | None, words: str, work: Callable[[Variant], str],
                   find: Callable[[str], Variant]) -> AsyncIterator[str]:
    """A busy line, the work in a thread, and how it ended."""
    try:
        variant = find(variant_id or "")
        yield status(words.format(variant.title), "busy")
        yield status(await asyncio.to_thread(work, variant), "done")
    except NarratorError as error:
        yield status(str(error), "error")
    except Exception as error:  # the page must not say "Loading …" for ever; the error itself goes on
        yield unexpected(error)
        raise


def _said(work: Callable[[], str]) -> str:
    try:
        return work()
    except NarratorError as error:
        return status(str(error), "error")

