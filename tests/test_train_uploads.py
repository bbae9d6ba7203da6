"""Uploads of the Train tab: left on their way, kept, needed and deleted; and one run of one wish."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from queueing import OVER, quick_queue
from test_train_form import own, pack  # noqa: F401

from narrator.records import NarratorError
from trainer import jobs, queue
from trainer.__main__ import main
from trainer.preflight.sets import read_sets
from trainer.tab import data_sources, kept_uploads, places, starting, starts
from trainer.tab.data_sources import Source


def test_an_upload_that_is_left_leaves_nothing_and_holds_up_nobody(own: Path) -> None:  # noqa: F811
    archive = pack(own / "given", [f"p{number}.png" for number in range(6)])
    begun, go, turns = threading.Event(), threading.Event(), 0

    def tell(done: int, total: int) -> None:
        begun.set()
        assert 0 < done <= total and go.wait(60)

    async def leave() -> None:
        nonlocal turns
        task = asyncio.create_task(data_sources.from_upload([str(archive)], tell))
        while not begun.is_set() or turns < 3:
            turns += 1
            await asyncio.sleep(0.01)  # the page answers others meanwhile
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()

    asyncio.run(leave())  # and its threads have ended
    assert turns >= 3 and list((own / "data" / "uploads").iterdir()) == []


def test_what_an_upload_holds_and_cannot_be_used_is_named_with_its_line(own: Path) -> None:  # noqa: F811
    """Though only what can be used is kept: a row without a caption, and a picture that is none."""
    names = [f"p{number}.png" for number in range(6)]
    table: list[dict[str, Any]] = [{"image": name, "captions": [f"picture {name}"]} for name in names]
    table[2]["captions"] = []
    archive = pack(own / "given", names, table=[*table, {"image": "torn.png", "captions": ["a torn one"]}])
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("torn.png", (own / "given" / "p0.png").read_bytes()[:60])
    found = asyncio.run(data_sources.from_upload([str(archive)]))
    assert found.says.endswith("2 rows cannot be used. The check names them.")
    config = starts.checked(starts.with_source(starts.first_state(starting.DEFAULT), found))
    sets, findings = read_sets(config, found.root, lambda *_: None)
    assert sum(len(one.items) for one in sets) == 5
    assert [(row.file, row.line) for row in findings] == [("captions.jsonl", 3), ("captions.jsonl", 7)]
    assert "torn.png" in findings[1].what


def test_an_upload_tells_how_far_it_is(own: Path) -> None:  # noqa: F811
    archive = pack(own / "given", [f"p{number}.png" for number in range(6)])

    async def whole() -> list[Any]:
        return [found async for found in data_sources.progress_of([str(archive)])]

    *shares, source = asyncio.run(whole())
    assert shares and shares == sorted(shares) and 0 <= shares[0] <= shares[-1] <= 1
    assert isinstance(source, Source) and "to learn from" in source.says
    with pytest.raises(NarratorError, match="nothing to learn from"):
        asyncio.run(_first(data_sources.progress_of([])))


async def _first(found: Any) -> Any:
    async with contextlib.aclosing(found):
        return [one async for one in found]


def keep(name: str, state: str | None) -> str:
    """A new upload of 1,000 bytes, and a run that learns from it: its id. state: of the run, None for no run."""
    root, folder = places.new_upload()
    (folder / "ready").mkdir()
    (folder / "ready" / "captions.jsonl").write_bytes(b" " * 1000)
    if state is not None:
        config = {"name": name, "data": [{"path": f"{folder.relative_to(root).as_posix()}/ready/captions.jsonl"}]}
        run = jobs.create_job(name, config, places.runs_folder())
        if state == "done":
            (run / jobs.MANIFEST).write_text("id: x\n")
        if state == "queued":
            (run / jobs.QUEUED).write_text(json.dumps({"place": 1, "since": 1}))
    return folder.name


def test_old_uploads_are_deleted_unless_a_run_needs_them(own: Path) -> None:  # noqa: F811
    states = {"waits": "queued", "broke": "interrupted", "made": "done", "never": None}
    found = {name: keep(name, state) for name, state in states.items()}
    listed = kept_uploads.kept()
    assert {one.id for one in listed} == set(found.values()) and all(one.size >= 1000 for one in listed)
    assert {one.id for one in listed if one.needed_by} == {found["waits"], found["broke"]}
    assert {upload for _, upload in kept_uploads.choices(listed)} == {found["made"], found["never"]}
    html = kept_uploads.table(listed)
    assert html.count("<tr>") == 5 and "waits, 2" in html and "<caption>Kept uploads</caption>" in html
    for name in ("waits", "broke"):
        with pytest.raises(NarratorError, match=f"{name}, .* needs this upload. Remove that run first"):
            kept_uploads.delete(found[name], None)
    for bad in (None, "", "..", "../runs", "/etc", "20260101T000000Z-000000"):
        with pytest.raises(NarratorError, match="not there any more"):
            kept_uploads.question(bad, None)
    rows = [{"path": f"uploads/{found['never']}/ready/captions.jsonl"}]
    held = Source(data=rows, dev=rows, root=own / "data", says="")
    state = {"source": held}
    assert kept_uploads.held_by(state) == found["never"] and kept_uploads.held_by({"source": None}) is None
    with pytest.raises(NarratorError, match="The form holds this upload now"):
        kept_uploads.delete(found["never"], kept_uploads.held_by(state))
    assert "(1 kB)" in kept_uploads.question(found["never"], None)
    assert "is deleted" in kept_uploads.delete(found["never"], None) and "is deleted" in kept_uploads.delete(
        found["made"], None)
    assert {path.name for path in (own / "data" / "uploads").iterdir()} == {found["waits"], found["broke"]}
    with pytest.raises(NarratorError, match=r"The upload is not there any more\."):
        starts.checked(starts.with_source(starts.first_state(starting.DEFAULT), held))


def ready(folder: Path, **plan: Any) -> dict[str, Any]:
    """A state that can be started; tests/quick_loop trains it."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "a.jsonl").write_text("")
    rows = [{"path": "a.jsonl", "split": "train"}]
    found = Source(data=rows, dev=rows, root=folder / "data", says="")
    state = starts.with_source(starts.first_state(starting.DEFAULT), found)
    return state | {"draft": state["draft"] | {"card": json.dumps(plan)}}


def test_two_windows_and_two_presses_are_one_run(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(own / "checkpoints"))
    with quick_queue(own, monkeypatch) as line:
        state = ready(own, steps=5000)
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(starts.start, [copy.deepcopy(state) for _ in range(4)]))
        assert len({job.id for job in made}) == 1 == len(jobs.list_jobs(line.runs))
        other = starts.start(state | {"draft": state["draft"] | {"seed": 2}})
        assert other.id != made[0].id and starts.start(state).id == made[0].id
        line.until_step(made[0].folder, 1)
        queue.stop(other.folder)
        queue.stop(made[0].folder)
        line.until(made[0].folder, *OVER)
        again = starts.start(state)
        assert again.id not in (made[0].id, other.id), "one that has ended is begun anew"
        assert starts.start(state).id == again.id and len(jobs.list_jobs(line.runs)) == 3


def test_the_command_for_several_machines_is_that_of_the_settings(own: Path) -> None:  # noqa: F811
    state = starts.first_state(starting.DEFAULT)
    one = starts.launched(state, "gpus", 1, 4, "FIRST-MACHINE")
    assert len(one) == 1 and one[0].startswith("accelerate launch --config_file trainer/presets/accelerate/gpus.yaml "
                                               "--num_processes 4 -m trainer run my-captioner.yaml --data-root ")
    two = starts.launched(state, "fsdp", 2, 8, " 10.0.0.1 ")
    assert [line.split("--machine_rank ")[1][0] for line in two] == ["0", "1"]
    assert all("--main_process_ip 10.0.0.1 " in line and "--num_processes 16 " in line for line in two)
    bad = [("gpus", 1, 3, "a", "cannot be dealt out to 3 processes"), ("gpus", 0, 2, "a", "Machines must be a whole"),
           ("gpus", 1, 1.5, "a", "Processes must be a whole"), ("gpus", 1, None, "a", "Processes must be a whole"),
           ("gpus", 2, 2, "a; rm -rf /", "needs a name or an address"), ("none", 1, 2, "a", "There is no way")]
    for kind, machines, processes, host, says in bad:
        with pytest.raises(NarratorError, match=says):
            starts.launched(state, kind, machines, processes, host)
    assert yaml.safe_load(starts.as_text(state)[0])["name"] == "my-captioner"  # the file that the commands name


def test_the_command_line_prints_what_the_page_writes(own: Path, root: Path, monkeypatch: pytest.MonkeyPatch,  # noqa: F811
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    state = starts.first_state(starting.DEFAULT)
    (own / "my-captioner.yaml").write_text(starts.as_text(state)[0])
    monkeypatch.chdir(own)
    several = ("--kind", "fsdp", "--machines", "2", "--processes", "8", "--host", "10.0.0.1")
    assert main(["launch", "my-captioner.yaml", "--data-root", state["root"], *several]) == 0
    assert capsys.readouterr().out.splitlines() == starts.launched(state, "fsdp", 2, 8, "10.0.0.1")
    assert main(["launch", "my-captioner.yaml", "--set", "stages.tune.batch_size=6", "--processes", "3"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("--num_processes 3 -m trainer run my-captioner.yaml --set stages.tune.batch_size=6")
    for flags, says in ((("--processes", "5"), "cannot be dealt out to 5 processes"),
                        (("--machines", "many"), "--machines must be a whole number from 1"),
                        (("--machines", "nan"), "--machines must be a whole number from 1"),
                        (("--host", "a;b"), "needs a name or an address"), (("--kind", "tpu"), "There are: gpus")):
        assert main(["launch", "my-captioner.yaml", *flags]) == 2
        assert says in capsys.readouterr().err
