"""Job folders with real processes: what the folder tells after a clean end, a SIGKILL, a reused pid, a second run."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from narrator.records import NarratorError
from trainer.events import EventLog
from trainer.jobs import CONFIG, MANIFEST, PROCESS, create_job, hold_job, job_state, list_jobs, live_pid, write_whole

HOLDER = """
import pathlib, sys, time
from trainer.jobs import hold_job
from trainer.events import EventLog
folder = pathlib.Path(sys.argv[1])
with hold_job(folder), EventLog(folder / "events.jsonl") as log:
    log.append("started", total_steps=40)
    log.append("step", step=7)
    print("held", flush=True)
    sys.stdin.read()
    log.append(sys.argv[2])
"""


@contextlib.contextmanager
def holder(folder: Path, root: Path, last: str = "stopped") -> Iterator[subprocess.Popen]:
    """A process that runs the job until its standard input is closed."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), last], cwd=root, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return create_job("tiny", {"name": "tiny"}, tmp_path / "runs")


def test_a_folder_is_made_with_its_configuration(tmp_path: Path) -> None:
    config = {"name": "photo-captioner", "rate": 3e-4, "layers": (1, 2), "data": {"path": Path("a/b")}, "says": "Größe"}
    folder = create_job("photo-captioner", config, tmp_path / "deep" / "runs")
    assert folder.parent == tmp_path / "deep" / "runs" and folder.name.startswith("photo-captioner-2")
    assert yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")) == {
        **config, "layers": [1, 2], "data": {"path": "a/b"}}
    assert [path.name for path in folder.iterdir()] == [CONFIG]
    assert job_state(folder).state == "interrupted"


def test_jobs_made_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(create_job("a", {"name": "a"}, tmp_path)))
               for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 16 and {job.folder for job in list_jobs(tmp_path)} == set(made)


@pytest.mark.parametrize("name", ["", "..", "a/b", "Übung", "-a", "a b", "a\0", "a\n", "a" * 300])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NarratorError, match="cannot be named"):
        create_job(name, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_runs_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(NarratorError, match="No run can be made"):
        create_job("a", {}, tmp_path / "runs")


@pytest.mark.parametrize("last", ["stopped", "failed", "step"])
def test_a_job_from_start_to_its_last_event(folder: Path, root: Path, last: str) -> None:
    with holder(folder, root, last) as process:
        running = job_state(folder)
        assert (running.state, running.pid, running.step, running.total_steps) == ("running", process.pid, 7, 40)
        process.communicate("")
        assert process.returncode == 0
        ended = job_state(folder)
        assert (ended.state, ended.pid) == ("interrupted" if last == "step" else last, None)
        assert not (folder / PROCESS).exists()
    (folder / MANIFEST).write_text("id: tiny\n")
    assert (job_state(folder).state, job_state(folder).step) == ("done", 7)


def test_a_killed_job_is_interrupted_and_can_be_taken_up(folder: Path, root: Path) -> None:
    with holder(folder, root) as process:
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.01)
        assert job_state(folder).state == "interrupted", "a zombie runs nothing"
        process.wait()
        assert (folder / PROCESS).exists() and job_state(folder).state == "interrupted"
    with holder(folder, root):
        assert job_state(folder).state == "running"


def test_two_processes_cannot_run_one_job(folder: Path, root: Path) -> None:
    with holder(folder, root) as process:
        with pytest.raises(NarratorError, match=rf"already being run by process {process.pid}"), hold_job(folder):
            pytest.fail("both hold it")
        second = subprocess.run([sys.executable, "-c", HOLDER, str(folder), "stopped"], cwd=root, text=True,
                                capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        assert second.returncode != 0 and "already being run" in second.stderr and "held" not in second.stdout
        assert job_state(folder).pid == process.pid, "the loser must not overwrite the record"
    with hold_job(folder):
        assert job_state(folder).pid == os.getpid()
        with pytest.raises(NarratorError, match="already being run"), hold_job(folder):
            pytest.fail("both hold it")
        assert job_state(folder).pid == os.getpid()
    assert job_state(folder).pid is None


def test_a_reused_pid_is_not_taken_for_the_job(folder: Path, root: Path) -> None:
    """The record of a job that died names a pid that a stranger has now."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        started = psutil.Process(stranger.pid).create_time()
        write_whole(folder / PROCESS, json.dumps({"pid": stranger.pid, "started": started}))
        assert live_pid(folder) == stranger.pid, "the check itself must be able to say yes"
        write_whole(folder / PROCESS, json.dumps({"pid": stranger.pid, "started": started - 60}))
        assert live_pid(folder) is None and job_state(folder).state == "interrupted"
        stranger.kill()


@pytest.mark.parametrize("record", ["", "{", "[]", "{}", "5", '{"pid": "x", "started": 1}', '{"pid": -1, "started": 1}',
                                    '{"pid": 1e300, "started": 1}', '{"pid": null, "started": null}', "\xff"])
def test_a_damaged_record_is_no_process(folder: Path, record: str) -> None:
    (folder / PROCESS).write_bytes(record.encode("latin-1"))
    assert job_state(folder).state == "interrupted"


def test_the_length_of_a_long_run_is_still_known(folder: Path) -> None:
    with EventLog(folder / "events.jsonl") as log:
        log.append("started", total_steps=5000)
        for step in range(2000):
            log.append("step", step=step, loss=0.5)
        log.append("stopped")
    job = job_state(folder)
    assert (job.state, job.step, job.total_steps) == ("stopped", 1999, 5000)


def test_what_is_no_job(tmp_path: Path) -> None:
    for ask in (job_state, lambda folder: hold_job(folder).__enter__()):
        with pytest.raises(NarratorError, match="is not a run"):
            ask(tmp_path)
    assert list_jobs(tmp_path / "gone") == [] and list(tmp_path.iterdir()) == []


def test_jobs_are_listed_the_newest_first(tmp_path: Path) -> None:
    names = ["b-20250101T000000Z", "a-20260101T000000Z", "c-20240101T000000Z"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text("name: a\n")
    (tmp_path / "no-job").mkdir()
    assert [job.id for job in list_jobs(tmp_path)] == [names[1], names[0], names[2]]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    write_whole(path, "old: 1\n")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new: \ud800\n")
    assert path.read_text() == "old: 1\n" and [file.name for file in tmp_path.iterdir()] == ["config.yaml"]
