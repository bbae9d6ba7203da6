"""What the Evaluate tab shows and does: plain functions on plain values, which tests call without a page."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from narrator import evaluation
from narrator.evaluation import Evaluation, Plan, Report
from narrator.evaluation.child import launch
from narrator.keeping import keeps_nothing, sweep_visitors
from narrator.records import NarratorError
from narrator.ui import evaluate_report, evaluate_view
from narrator.ui.accessibility import status
from narrator.ui.choosing import offered
from narrator.ui.evaluate_data import NEEDED, Given
from narrator.ui.handlers import settings_from
from narrator.ui.limits import alone
from narrator.ui.models_handlers import NOT_HERE, may_manage
from narrator.ui.visitors import owner
from narrator.uploads import new_copy

LIST_S = 5.0  # seconds between two looks at all evaluations; the watched one is looked at at every tick
LIVE = ("queued", "running", "scoring")
ACTIONS = {"queued": {"stop"}, "running": {"stop"}, "scoring": {"stop"}, "done": {"card", "remove"}}
ENDED = {"resume", "remove"}
FILES = ("metrics.json", "report.md", "scores.csv")
OF_A_VISITOR, ROWS_OF_A_VISITOR = 10, 200  # evaluations kept, and rows of each, on a page that serves several people
EVERY_SCENE = ""
ORDERS = [("Worst first", "worst"), ("Best first", "best")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What the page shows next; None leaves a part as it is. seen: handed back at the next look."""

    seen: dict[str, Any]
    status: str | None = None
    overview: str | None = None
    choices: list[tuple[str, str]] | None = None
    facts: str | None = None
    actions: set[str] | None = None
    report: str | None = None  # "" where there is none yet
    files: list[str] | None = None  # paths of FILES, in that order, [] for none
    variants: list[tuple[str, str]] | None = None  # (title, id) of what the report is about
    scenes: list[tuple[str, str]] | None = None
    live: bool = False  # whether something waits or runs, so that the next look should come soon


def root_of(visitor: Any) -> Path:
    """Where this visitor's evaluations are. Raises NarratorError as `narrator.ui.visitors.owner` does."""
    return evaluation.evaluations_folder(owner(visitor))


def folder_of(run_id: str | None, visitor: Any) -> Path:
    """The folder of an evaluation of this visitor. Raises NarratorError for anything else, paths included."""
    root = root_of(visitor)
    if run_id and run_id == Path(run_id).name and not run_id.startswith(".") and (root / run_id).is_dir():
        return root / run_id
    raise NarratorError("This evaluation is not there any more. Choose another one.")


def _found(run_id: str | None, visitor: Any) -> Evaluation:
    """An evaluation of this visitor, a damaged one too. Raises NarratorError for anything else."""
    folder = folder_of(run_id, visitor)
    try:
        return evaluation.state_of(folder)
    except NarratorError:
        damaged = [one for one in evaluation.list_evaluations(folder.parent) if one.id == folder.name]
        if not damaged:
            raise
        return damaged[0]


def variants() -> list[tuple[str, str]]:
    """(title, id) of what can be measured now."""
    return [(variant.title, variant.id) for variant in offered()]


def begin(chosen: Sequence[str], given: Given | None, rows: tuple[str | None, float | None], values: Sequence[Any],
          visitor: Any) -> tuple[str, str | None]:
    """(status line, the id of the evaluation that has begun, None where it could not).

    rows: the split, and how many at most. values: of the form of settings, in its order.
    """
    try:
        if not chosen:
            raise NarratorError("Choose at least one variant to measure.")
        if given is None or not given.path.exists():
            raise NarratorError(NEEDED)
        split, limit = rows[0] or None, _limit(rows[1])
        if split not in [None, *(name for _, name in given.splits)]:
            raise NarratorError("These rows are not in the data. Choose the rows again.")
        plan = Plan(variants=tuple(chosen), data=given.path, data_name=given.name, split=split, limit=limit,
                    settings=settings_from(values))
        _check_visitor(visitor, plan)
        folder = evaluation.create(plan, root_of(visitor), keep=given.keep)
        launch(folder)
    except NarratorError as error:
        return status(str(error), "error"), None
    return status("The evaluation is started. It goes on when this page is closed.", "busy"), folder.name


def _limit(value: float | None) -> int | None:
    """At most so many rows; 0, or an empty field, for all."""
    if value is None or value == 0:
        return None
    if value < 0 or value != int(value):
        raise NarratorError("The number of rows must be a whole number; 0 is for all of them.")
    return int(value)


def _check_visitor(visitor: Any, plan: Plan) -> None:
    """On a page that serves several people nobody may take all of the machine."""
    if keeps_nothing():
        raise NarratorError("This server keeps nothing (NARRATOR_KEEP_NOTHING), and an evaluation is a folder of "
                            "results: run `python -m narrator evaluate` instead.")
    if alone():
        return
    sweep_visitors()
    mine = evaluation.list_evaluations(root_of(visitor))
    if any(one.state in LIVE for one in mine):
        raise NarratorError("An evaluation of yours is going on. Wait for its end, or cancel it, then press again.")
    if len(mine) >= OF_A_VISITOR:
        raise NarratorError(f"You have {OF_A_VISITOR} evaluations already. Delete one, then press again.")
    if plan.limit is None or plan.limit > ROWS_OF_A_VISITOR:
        raise NarratorError(f"This page serves several people, and measures {ROWS_OF_A_VISITOR} rows at most. Set "
                            f"“At most” to {ROWS_OF_A_VISITOR} or fewer.")


def look(run_id: str | None, visitor: Any, seen: Mapping[str, Any] | None = None) -> Look:
    """The watched evaluation and, now and then, all of them; parts that are as they were are None."""
    before = dict(seen or {})
    parts: dict[str, Any] = {}
    try:
        found = _found(run_id, visitor)
    except NarratorError:
        listed = _listed(parts, visitor)
        return Look(seen=listed | {"run": run_id}, live=listed["live"], facts="", actions=set(), report="", files=[],
                    variants=[], scenes=[], **parts)
    marks = {"run": run_id, "state": found.state, "told": (found.done, found.variant, round(found.left_s or 0))}
    after = before | marks
    moved = before.get("run") != run_id or before.get("state") != found.state
    if moved or time.monotonic() - before.get("listed", 0) > LIST_S:
        after |= _listed(parts, visitor)
    if moved or before.get("told") != after["told"]:
        parts["facts"] = evaluate_view.facts(found)
    if moved:
        parts |= {"actions": _actions(found), "status": standing(found), **_report(found)}
    return Look(seen=after, live=bool(after.get("live")) or found.state in LIVE, **parts)


def _actions(found: Evaluation) -> set[str]:
    """What can be done with it, by the names of the buttons."""
    possible = ACTIONS.get(found.state, ENDED)
    return possible if may_manage() else possible - {"card"}


def _listed(parts: dict[str, Any], visitor: Any) -> dict[str, Any]:
    try:
        found = evaluation.list_evaluations(root_of(visitor))
    except NarratorError as error:
        parts["status"] = status(str(error), "error")
        found = []
    parts["overview"] = evaluate_view.overview(found)
    parts["choices"] = [(f"{evaluate_view.title(one)} ({evaluate_view.state(one).lower()})", one.id) for one in found]
    return {"live": any(one.state in LIVE for one in found), "listed": time.monotonic()}


def _report(found: Evaluation) -> dict[str, Any]:
    """The parts of a finished evaluation's report; empty ones of any other."""
    empty: dict[str, Any] = {"report": "", "files": [], "variants": [], "scenes": []}
    if found.state != "done":
        return empty
    try:
        made = evaluation.load_report(found.folder)
        return {"report": evaluate_report.report(made), "files": _files(found.folder),
                "variants": [(one.title, one.variant) for one in made.variants], "scenes": _scenes(made)}
    except NarratorError as error:
        return empty | {"report": status(str(error), "error")}


def _scenes(made: Report) -> list[tuple[str, str]]:
    total = f"All scenes, {made.n_rows:,}"
    return [(total, EVERY_SCENE), *((f"{scene}, {count:,}", scene) for scene, count in made.scenes.items() if count)]


def _files(folder: Path) -> list[str]:
    """Copies below the upload folder, which alone is served."""
    return [str(new_copy(folder / name)) for name in FILES]


def standing(found: Evaluation) -> str:
    """How an evaluation stands, as a status line."""
    name, at = evaluate_view.title(found), f"after {found.done:,} of {found.total:,} descriptions"
    sentences = {
        "new": (f"{name} has not begun. Press Resume.", "ready"),
        "queued": (f"{name} waits until the one before it is done.", "busy"),
        "running": (f"{name} is running. It goes on when this page is closed.", "busy"),
        "scoring": (f"{name}: all is described; the figures are computed.", "busy"),
        "done": (f"{name} is done. Its report is below.", "done"),
        "stopped": (f"{name} was cancelled {at}. Resume goes on from there.", "stopped"),
        "failed": (found.message or f"{name} failed {at}.", "error"),
        "interrupted": (f"{name} broke off {at}. Resume goes on from there.", "error")}
    return status(*sentences.get(found.state, (f"{name}: {found.state}.", "ready")))


def newest(visitor: Any) -> str | None:
    """The evaluation to show first: the one that runs, else the newest."""
    try:
        found = evaluation.list_evaluations(root_of(visitor))
    except NarratorError:
        return None
    first = min(found, key=lambda one: one.state not in ("running", "scoring"), default=None)
    return first.id if first is not None else None


def stop(run_id: str | None, visitor: Any) -> str:
    """Cancel an evaluation; the status line."""
    def act(folder: Path) -> str:
        evaluation.ask_to_stop(folder)
        return status("Cancelling: it ends after the rows at work, and keeps what is done.", "busy")
    return _said(run_id, visitor, act)


def resume(run_id: str | None, visitor: Any) -> str:
    """Go on with an evaluation; the status line."""
    def act(folder: Path) -> str:
        launch(folder)
        return status("The evaluation goes on. What was described already is not described again.", "busy")
    return _said(run_id, visitor, act)


def to_cards(run_id: str | None, visitor: Any) -> str:
    """Put the figures into the cards of the variants that have one here; the status line."""
    def act(folder: Path) -> str:
        if not may_manage():
            raise NarratorError(NOT_HERE)
        made = evaluation.load_report(folder)
        done, not_done = [], []
        for one in made.variants:
            try:
                evaluation.to_card(made, one.variant)
                done.append(one.title)
            except NarratorError as error:
                not_done.append(str(error))
        if not done:
            raise NarratorError(" ".join(not_done))
        return status(" ".join([f"The figures stand with {', '.join(done)} in the tab Models.", *not_done]), "done")
    return _said(run_id, visitor, act)


def question(run_id: str | None, visitor: Any) -> str:
    """What is asked before an evaluation is deleted. Raises NarratorError for one that is not there."""
    found = _found(run_id, visitor)
    return (f'<p id="evaluate-question">Delete {escape(evaluate_view.title(found))} with its texts and its report? '
            "They are gone for good.</p>")


def remove(run_id: str | None, visitor: Any) -> str:
    """Delete an evaluation, once a person has said yes; the status line."""
    def act(folder: Path) -> str:
        if any(one.id == folder.name and one.state in LIVE for one in evaluation.list_evaluations(folder.parent)):
            raise NarratorError("This evaluation is going on. Cancel it first.")
        evaluation.remove(folder)
        return status("The evaluation is deleted.", "done")
    return _said(run_id, visitor, act)


def _said(run_id: str | None, visitor: Any, act: Callable[[Path], str]) -> str:
    try:
        return act(folder_of(run_id, visitor))
    except NarratorError as error:
        return status(str(error), "error")
