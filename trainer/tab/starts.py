"""What the form's buttons do: plain functions on the form's state and plain values, which tests call without a page."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from trainer import queue
from trainer.config import TrainingConfig, load_config
from trainer.jobs import CONFIG, LIVE, PLACES, Job, list_jobs, plain
from trainer.launch import counted, launch_commands
from trainer.tab import data_sources as sources
from trainer.tab import places
from trainer.tab.fields import (
    Draft,
    add_row,
    command,
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
            "root": str(places.data_root())}


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
    for row in (*config.data, *config.dev):
        if row.path.startswith(f"{places.UPLOADS}/") and not (root / row.path).exists():
            raise NarratorError("The upload is not there any more. Upload the pictures again.")
    return config


def as_text(state: State) -> tuple[str, str]:
    """(YAML, command) that do the same in a terminal. The YAML names the command, so that both are saved together."""
    line = command(state["draft"], Path(state["root"]))
    return f"# {line}\n{to_yaml(state['draft'])}", line


def launched(state: State, kind: str, machines: float | None, processes: float | None, host: str) -> list[str]:
    """The command for each machine that trains with these settings in several processes. Raises NarratorError for
    settings that are wrong, and where the batches cannot be dealt out."""
    config = parse(state["draft"])
    training = ["run", f"{config.name}.yaml", "--data-root", state["root"]]
    return launch_commands(config, training, kind=kind, machines=counted("Machines", machines),
                           processes=counted("Processes", processes), host=host)


def start(state: State) -> Job:
    """The job. The same settings again, from whichever window, give the same job and make none while it waits or runs:
    with the same seed it would come to the same variant. Once it has ended they make a new one.

    Raises NarratorError for settings that are wrong, for a page where training is off, and when nothing can be written.
    """
    if not places.training_is_on():
        raise NarratorError(places.OFF)
    config = checked(state)
    at = {"data_root": state["root"], "out": str(places.variants_folder() / config.name),
          "command": command(state["draft"], Path(state["root"])), "strict": False}
    runs = places.runs_folder()
    return queue.submit(dataclasses.asdict(config), at, runs=runs, request=_request(wish(state), runs))


def wish(state: State) -> str:
    """What is to be learned from what: the same text for the same settings on the same data. Raises NarratorError as
    `checked` does."""
    return _text(checked(state), state["root"])


def is_live(wished: str) -> bool:
    """Whether a run of this `wish` waits or runs."""
    return live(wished) is not None


def live(wished: str) -> Job | None:
    """The run of this `wish` that waits or runs, if one does."""
    return next((job for job in list_jobs(places.runs_folder()) if job.state in LIVE and _read(job.folder) == wished),
                None)


def _request(wished: str, runs: Path) -> str:
    """A name for the wish that lasts until a run of it has ended. Windows that ask at the same time come to the same
    one; `queue.submit` makes one job of it."""
    ended = [job.id for job in list_jobs(runs) if job.state not in LIVE and _read(job.folder) == wished]
    return hashlib.sha256("\n".join([wished, *sorted(ended)]).encode()).hexdigest()


def _text(config: TrainingConfig, root: str) -> str:
    return json.dumps(plain(dataclasses.asdict(config)), sort_keys=True) + str(Path(root).resolve())


def _read(folder: Path) -> str:
    """The `wish` that a run was started for; "" where it cannot be read."""
    try:
        config = load_config(folder / CONFIG)
        return _text(config, json.loads((folder / PLACES).read_text(encoding="utf-8"))["data_root"])
    except (NarratorError, OSError, ValueError, KeyError, TypeError):
        return ""


def uploaded_settings(state: State, path: Path) -> State:
    """The state with the settings of an uploaded YAML file."""
    return with_draft(state, from_yaml(path, path.name))


def source_names() -> Sequence[tuple[str, str]]:
    """(title, id) of the kinds of data."""
    return [(title, name) for name, title in sources.SOURCES.items()]
