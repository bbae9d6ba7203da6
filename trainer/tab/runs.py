"""What the list of runs and the watched one show and do: plain functions, which tests call without a page."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from narrator.catalog import load_variants, read_variant
from narrator.records import NarratorError
from narrator.ui.accessibility import status
from trainer import queue
from trainer.jobs import CONFIG, LIVE, LOG, MANIFEST, Job, job_state, list_jobs
from trainer.tab import views
from trainer.tab.places import OFF, runs_folder, training_is_on
from trainer.tab.watching import Watch, watch

SAMPLES = 8  # held-out examples that are shown
LIST_S = 5.0  # seconds between two looks at all runs; the watched one is looked at at every tick
TABLES_S = 30.0  # between two tables of a curve that only grows, so that one can be read in peace
LOG_LINES = 80
ACTIONS = {"queued": {"stop", "earlier", "later"}, "running": {"stop"}, "done": {"narrate", "remove"}}
ENDED = {"resume", "remove"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What the page shows next; None leaves a part as it is. seen: handed back at the next look."""

    seen: dict[str, Any]
    status: str | None = None
    overview: str | None = None
    choices: list[tuple[str, str]] | None = None
    facts: str | None = None
    curves: str | None = None
    tables: str | None = None
    samples: list[str] | None = None
    report: str | None = None
    log: str | None = None
    actions: set[str] | None = None
    live: bool = False  # whether something waits or runs, so that the next look should come soon
    running: bool = False  # whether the watched run does


def folder_of(run_id: str | None) -> Path:
    """The folder of a run of the list. Raises NarratorError for anything else, paths included."""
    runs = runs_folder()
    if not run_id or run_id != Path(run_id).name or not (runs / run_id / CONFIG).is_file():
        raise NarratorError("This run is not there any more. Choose another one.")
    return runs / run_id


def look(run_id: str | None, seen: Mapping[str, Any] | None = None) -> Look:
    """The watched run and, now and then, all of them; parts that are as they were are None."""
    before = dict(seen or {})
    parts: dict[str, Any] = {}
    try:
        folder = folder_of(run_id)
        job, found = job_state(folder), watch(folder).look()
    except NarratorError:
        listed = _listed(parts)
        gone: dict[str, Any] = dict.fromkeys(("facts", "curves", "tables", "report", "log"), "")
        return Look(seen=listed | {"run": run_id}, live=listed["live"], samples=[], actions=set(), **parts, **gone)
    after = before | _marks(job, found, run_id)
    moved = before.get("run") != run_id or before.get("state") != after["state"]
    if moved or time.monotonic() - before.get("listed", 0) > LIST_S:
        after |= _listed(parts)
    parts |= _changed(job, found, before, after)
    if "tables" in parts:
        after["tabled"] = time.monotonic()
    return Look(seen=after, live=bool(after.get("live")) or job.state in LIVE, running=job.state == "running", **parts)


def standing(job: Job, found: Watch) -> str:
    """How a run stands, as a status line."""
    at, name = f"at step {max(found.step, job.step):,}", views.title(job.id)
    sentences = {
        "queued": (f"{name} waits: number {job.position or 1} in the queue.", "ready"),
        "running": (found.milestones[-1] if found.milestones else f"{name} is being prepared.", "busy"),
        "done": (f"{title_of(job)} is trained: it is in the list of models on Narrate.", "done"),
        "stopped": (f"{name} is stopped {at}. Resume goes on from there.", "stopped"),
        "failed": (job.message or str(found.ended.get("message", "")) or f"{name} failed {at}; its log tells why.",
                   "error"),
        "interrupted": (job.message or f"{name} broke off {at}. Resume goes on from its last checkpoint.", "error")}
    return status(*sentences.get(job.state, (f"{name}: {job.state}.", "ready")))


def begun(job: Job, minded: str = "") -> str:
    """The status line of a run that has just been asked for. minded: a sentence more."""
    name = views.title(job.id)
    others = [other for other in list_jobs(runs_folder()) if other.state in LIVE and other.id != job.id]
    if job.state == "queued" and others:
        place = f"number {job.position or 1} in the queue"
        return status(f"{name} waits: {place}. It begins by itself. {minded}".strip(), "done")
    return status(f"{name} is started. It goes on when this page is closed. {minded}".strip(), "done")


def begun_before(job: Job) -> str:
    """The status line's words where a start was to be stopped and has been made already."""
    return f"The check was stopped, but {views.title(job.id)} was started already: it is among the runs. Stop it there."


def title_of(job: Job) -> str:
    """What the variant of a finished run is called; the run's own name where it cannot be told."""
    variant = made_by(job.id)
    known = load_variants().get(variant or "")
    return known.title if known is not None else variant or job.id


def made_by(run_id: str | None) -> str | None:
    """The id of the variant that a finished run has made; None where it is not in the catalog."""
    try:
        variant = read_variant(folder_of(run_id) / MANIFEST).id
    except NarratorError:
        return None
    return variant if variant in load_variants() else None


def final_scores(job: Job) -> dict[str, Any]:
    """The scores of a finished run's variant as it is loaded: data set -> metric -> value, low, high; {} for none."""
    try:
        variant = read_variant(job.folder / MANIFEST)
        scores = json.loads((Path(variant.adapter or variant.source) / "metrics.json").read_text(encoding="utf-8"))
        return dict(scores["scores"])
    except (NarratorError, OSError, ValueError, KeyError, TypeError):
        return {}


def newest() -> str | None:
    """The run to watch first: the one that runs, else the next one, else the newest."""
    jobs = list_jobs(runs_folder())
    ranks = {"running": 0, "queued": 1}
    first = min(jobs, key=lambda job: (ranks.get(job.state, 2), job.position or 0), default=None)
    return first.id if first is not None else None


def stop(run_id: str | None) -> str:
    """Ask a run to stop; the status line."""
    def act(folder: Path) -> str:
        was = job_state(folder).state
        queue.stop(folder)
        if was == "queued":
            return status(f"{views.title(folder.name)} has left the queue.", "stopped")
        return status(f"{views.title(folder.name)} stops after its step, with a checkpoint.", "busy")
    return _said(run_id, act)


def resume(run_id: str | None) -> str:
    """Put a run into the queue again; the status line."""
    def act(folder: Path) -> str:
        job = queue.resume(folder)
        return status(f"{views.title(folder.name)} goes on from its last checkpoint" +
                      (f": number {job.position} in the queue." if job.position else "."), "busy")
    return _said(run_id, act)


def move(run_id: str | None, by: int) -> str:
    """Move a waiting run in the queue; the status line."""
    def act(folder: Path) -> str:
        queue.move(folder, by)
        return status(f"{views.title(folder.name)} is number {job_state(folder).position or 1} in the queue.", "done")
    return _said(run_id, act)


def question(run_id: str | None) -> str:
    """What is asked before a run is removed. Raises NarratorError for a run that is not there."""
    folder = folder_of(run_id)
    return (f'<p id="train-question">Remove {escape(views.title(folder.name))} with its checkpoints and its log? What '
            "it has made for Narrate stays.</p>")


def remove(run_id: str | None) -> str:
    """Delete a run, once a person has said yes; the status line."""
    def act(folder: Path) -> str:
        queue.remove(folder)
        return status(f"{views.title(folder.name)} is removed.", "done")
    return _said(run_id, act)


def sample_text(run_id: str | None, place: int) -> str:
    """What the newest weights say of a held-out example. Raises NarratorError where there is none."""
    samples = watch(folder_of(run_id)).samples
    if place >= len(samples) or not samples[place].text.strip():
        raise NarratorError("There are no words to speak yet: wait for the next evaluation.")
    return samples[place].text


def go_on() -> None:
    """What waited when the machine, or the queue's worker, went down begins when the page is served anew, and not
    only when somebody looks at it."""
    if training_is_on():
        with contextlib.suppress(NarratorError, OSError):  # told to whoever looks
            queue.ensure_worker(runs_folder())


def _listed(parts: dict[str, Any]) -> dict[str, Any]:
    runs = runs_folder()
    try:
        queue.ensure_worker(runs)
    except NarratorError as error:
        parts["status"] = status(str(error), "error")
    jobs = list_jobs(runs)
    parts["overview"] = views.overview(jobs)
    parts["choices"] = [(f"{views.title(job.id)} ({views.state(job).lower()})", job.id) for job in jobs]
    return {"live": any(job.state in LIVE for job in jobs), "listed": time.monotonic(),
            "runs": [(job.id, job.state, job.position) for job in jobs]}


def _marks(job: Job, found: Watch, run_id: str | None) -> dict[str, Any]:
    """What tells the next look whether something has changed."""
    return {"run": run_id, "version": found.version, "state": (job.state, job.position), "told": len(found.milestones),
            "evaluations": found.evaluations, "logged": _size(job.folder / LOG)}


def _size(path: Path) -> int:
    """Bytes of the file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _changed(job: Job, found: Watch, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that are not as they were."""
    other = before.get("run") != after["run"]
    moved, new = other or before.get("state") != after["state"], other or before.get("version") != after["version"]
    measured = other or moved or before.get("evaluations") != after["evaluations"]
    parts: dict[str, Any] = {}
    if moved or new:
        parts |= {"facts": views.facts(job, found), "curves": views.curves(found)}
    if moved or before.get("logged") != after["logged"]:
        parts["log"] = views.log(queue.tail(job.folder, LOG_LINES))
    if measured or (new and time.monotonic() - before.get("tabled", 0) > TABLES_S):
        parts["tables"] = views.tables(found)
    if measured:
        report = views.report(title_of(job), final_scores(job) or found.scores, found.base_scores)
        parts |= {"report": report if job.state == "done" else "",
                  "samples": [views.sample(one, place, found.sampled_at)
                              for place, one in enumerate(found.samples[:SAMPLES], start=1)]}
    if moved:
        parts |= {"actions": _actions(job), "status": standing(job, found)}
    elif before.get("told", 0) < after["told"]:
        parts["status"] = status(" ".join(found.milestones[before.get("told", 0):][-2:]), "busy")
    return parts


def _actions(job: Job) -> set[str]:
    """What can be done with the run, by the names of the buttons."""
    possible = ACTIONS.get(job.state, ENDED)
    return possible - {"narrate"} if job.state == "done" and made_by(job.id) is None else possible


def _said(run_id: str | None, act: Callable[[Path], str]) -> str:
    """The status line of doing something with a run."""
    try:
        if not training_is_on():
            raise NarratorError(OFF)
        return act(folder_of(run_id))
    except NarratorError as error:
        return status(str(error), "error")
