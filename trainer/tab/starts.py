"""What the form's buttons do: plain functions on the form's state and plain values, which tests call without a page."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from trainer import queue
from trainer.config import TrainingConfig
from trainer.jobs import Job
from trainer.tab import data_sources as sources
from trainer.tab import places
from trainer.tab.children import run_trainer
from trainer.tab.fields import (
    Draft,
    add_row,
    command,
    draft_of,
    from_yaml,
    lists,
    parse,
    remove_row,
    to_yaml,
)
from trainer.tab.starting import check_places, start_from

State = dict[str, Any]


def first_state(start_id: str) -> State:
    """The form's state on a page that has just been opened: an entry of "Start from", and no data yet."""
    return {"draft": start_from(start_id), "rows": dict.fromkeys(lists(), 0), "start": start_id, "source": None,
            "root": str(places.data_root()), "request": secrets.token_hex(8)}


def choose_start(state: State, start_id: str) -> State:
    """Begin from another entry; data that was given already is kept."""
    draft = start_from(start_id)
    if state["source"] is not None:
        draft = sources.applied(draft, state["source"], start_id)
    return state | {"draft": draft, "rows": dict.fromkeys(lists(), 0), "start": start_id}


def with_source(state: State, found: sources.Source) -> State:
    """With these data sets."""
    return state | {"draft": sources.applied(state["draft"], found, state["start"]), "root": str(found.root),
                    "source": found, "rows": state["rows"] | {"data": 0, "dev": 0, "text": 0}}


def without_source(state: State) -> State:
    """No data has been given: what was there of another kind does not stand in for it."""
    return state | {"source": None}


def turn_to(state: State, name: str, row: int) -> State:
    """Show another row of a list."""
    return state | {"rows": state["rows"] | {name: row}}


def add(state: State, name: str) -> State:
    """One more row, which is shown."""
    draft = add_row(state["draft"], name)
    return state | {"draft": draft, "rows": state["rows"] | {name: len(draft[name]) - 1}}


def take_out(state: State, name: str) -> State:
    """Without the row that is shown."""
    row = state["rows"].get(name, 0)
    return state | {"draft": remove_row(state["draft"], name, row), "rows": state["rows"] | {name: max(0, row - 1)}}


def load_settings(state: State, text: str) -> State:
    """The state with the settings of a YAML text. Raises NarratorError for what is none; nothing is changed then."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return with_draft(state, from_yaml(path, "The YAML"))


def with_draft(state: State, draft: Draft) -> State:
    """With these settings; their data sets are those of the data root, unless they are the ones that were given."""
    found = state["source"]
    same = found is not None and draft["data"] and draft["data"][0]["path"] == found.data[0]["path"]
    rows = dict.fromkeys(lists(), 0)
    if same:
        return state | {"draft": draft, "rows": rows}
    root = places.data_root()
    kept = sources.Source(data=draft["data"], dev=draft["dev"], root=root, says="Data sets as the YAML names them.")
    return state | {"draft": draft, "rows": rows, "root": str(root), "source": kept}


def checked(state: State) -> TrainingConfig:
    """The settings, ready to run. Raises NarratorError for the first thing that is wrong."""
    if state["source"] is None:
        raise NarratorError(sources.NEEDED)
    root = Path(state["root"])
    if not root.is_dir():
        raise NarratorError(f"The data folder {root} is not there. Upload pictures instead, or set NARRATOR_DATA to "
                            "the folder of the data sets.")
    config = parse(state["draft"])
    check_places(config, root)
    return config


def as_text(state: State) -> tuple[str, str]:
    """(YAML, command) that do the same in a terminal."""
    return to_yaml(state["draft"]), command(state["draft"], Path(state["root"]))


async def check(state: State) -> dict[str, Any]:
    """What the doctor finds; leaving ends it. Raises NarratorError for settings that cannot be checked."""
    draft = draft_of(checked(state))
    folder = Path(tempfile.mkdtemp(prefix="check-"))
    try:
        path = folder / "settings.yaml"
        path.write_text(to_yaml(draft), encoding="utf-8")
        said = await run_trainer("doctor", str(path), "--json", "--data-root", state["root"])
        found = json.loads(said)
    except ValueError:
        raise NarratorError("The check ended without findings. Try again; the terminal tells more.") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found if isinstance(found, dict) else {"findings": [], "samples": [], "stages": found}


def check_line(found: Mapping[str, Any]) -> tuple[str, str]:
    """(what a check found in a sentence, its kind of status line)."""
    levels = [row.get("level") for row in found.get("findings", [])]
    problems, minded = levels.count("error"), levels.count("warning")
    if problems:
        one = "One thing" if problems == 1 else f"{problems} things"
        return f"{one} must be mended before this can run; see what the check found.", "error"
    if minded:
        one = "one thing" if minded == 1 else f"{minded} things"
        return f"This can run. The check found {one} to mind.", "done"
    return "This can run. The check found nothing to mend.", "done"


def start(state: State) -> tuple[Job, State]:
    """(the job, the state for the next press). The same state again gives the same job and makes none.

    Raises NarratorError for settings that are wrong, for a page where training is off, and when nothing can be written.
    """
    if not places.training_is_on():
        raise NarratorError(places.OFF)
    config = checked(state)
    at = {"data_root": state["root"], "out": str(places.variants_folder() / config.name),
          "command": command(state["draft"], Path(state["root"])), "strict": False}
    job = queue.submit(dataclasses.asdict(config), at, runs=places.runs_folder(), request=state["request"])
    return job, state | {"request": secrets.token_hex(8)}


def uploaded_settings(state: State, path: Path) -> State:
    """The state with the settings of an uploaded YAML file."""
    return with_draft(state, from_yaml(path, path.name))


def source_names() -> Sequence[tuple[str, str]]:
    """(title, id) of the kinds of data."""
    return [(title, name) for name, title in sources.SOURCES.items()]
