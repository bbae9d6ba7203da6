"""What dies and what lives on: server, worker, run and machine, with real processes and SIGKILL; the loop alone is a
quick one (tests/quick_loop)."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from queueing import OVER, Queue, events_of, kill, quick, quick_queue

from narrator.records import NarratorError
from trainer import jobs, queue
from trainer.claims import HOME, NotNow, device
from trainer.jobs import PROCESS, QUEUED, job_state, write_whole
from trainer.queue import WORKER
from trainer.tab import go_on


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """An empty queue."""
    with quick_queue(tmp_path, monkeypatch) as found:
        yield found


SERVER = """
import json, sys, time
from pathlib import Path
from trainer import queue
for config in json.loads(sys.argv[2]):
    print(queue.submit(config, {"data_root": ".", "out": "out"}, runs=Path(sys.argv[1])).id, flush=True)
time.sleep(600)
"""


def test_jobs_outlive_the_server_and_all_its_group(line: Queue, root: Path) -> None:
    configs = json.dumps([quick("one", steps=100), quick("two")])
    with subprocess.Popen([sys.executable, "-c", SERVER, str(line.runs), configs], cwd=root, text=True,
                          stdout=subprocess.PIPE, start_new_session=True) as server:
        assert server.stdout is not None
        one, two = (line.runs / server.stdout.readline().strip() for _ in range(2))
        line.until_step(one, 5)
        os.killpg(server.pid, signal.SIGKILL)
    assert line.until(two, *OVER).state == "done" and job_state(one).state == "done"
    assert len(events_of(one, "started")) == 1


HOLDER = """
import os, sys, time
from pathlib import Path
from trainer.claims import device
with device(Path(sys.argv[1]), wait=False):
    if os.fork():
        print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_killed_runs_helpers_do_not_keep_the_device(line: Queue, root: Path) -> None:
    """A data loader's processes are forks of the run, and live on for seconds when it is killed."""
    def free() -> bool:
        with contextlib.suppress(NotNow), device(line.runs, wait=False):
            return True
        return False

    with subprocess.Popen([sys.executable, "-c", HOLDER, str(line.runs)], cwd=root, text=True,
                          stdout=subprocess.PIPE, start_new_session=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "held\n" and not free()
        try:
            kill(run.pid)
            assert free()
        finally:
            os.killpg(run.pid, signal.SIGKILL)


def test_a_dead_workers_child_is_waited_for_and_not_doubled(line: Queue) -> None:
    one, two = line.submit("one", steps=150), line.submit("two")
    pid = line.until_step(one, 5)
    kill(line.worker())
    queue.ensure_worker(line.runs)
    assert line.wait(line.worker) and job_state(one).pid == pid
    assert line.until(two, *OVER).state == "done"
    assert [event["pid"] for event in events_of(one, "started")] == [pid]
    assert events_of(one, "done")[0]["time"] < events_of(two, "started")[0]["time"]


def test_a_killed_run_is_interrupted_and_says_so(line: Queue) -> None:
    folder = line.submit(steps=1000)
    kill(line.until_step(folder, 7))
    job = line.wait(lambda: (job := job_state(folder)).message and job)
    assert job.state == "interrupted" and "SIGKILL" in job.message and "batch_size" in job.message
    assert queue.resume(folder).state in ("queued", "running")
    line.until_step(folder, 8)
    assert events_of(folder, "started")[1]["step"] == 5, "its last checkpoint"
    assert job_state(folder).message == ""


def test_one_that_is_killed_while_loading_is_not_what_it_was(line: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last event is of an earlier day: it was stopped then, and is interrupted now."""
    folder = line.submit(steps=1000)
    line.until_step(folder, 3)
    queue.stop(folder)
    line.until(folder, "stopped")
    line.wait(lambda: line.worker() is None)
    monkeypatch.setenv("QUICK_LOOP_IMPORT_S", "60")
    queue.resume(folder)
    pid = line.until(folder, "running").pid
    kill(line.worker())  # so that nobody writes down how it ended
    kill(pid)
    assert job_state(folder).state == "interrupted"


def test_a_reboot_leaves_the_queue_and_takes_the_processes(line: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut leaves: records of processes whose ids strangers have now."""
    monkeypatch.setattr(queue, "ensure_worker", lambda runs: None)
    cut, waits = line.submit("cut"), line.submit("waits")
    (cut / QUEUED).unlink()
    for record in (cut / PROCESS, line.runs / HOME / WORKER):
        jobs.record(record)  # this very process, alive
        assert line.worker() is not None or record.name == PROCESS
        word = json.loads(record.read_text())
        write_whole(record, json.dumps({**word, "boot": "00000000-0000-4000-8000-000000000000"}))
    assert [job_state(folder).state for folder in (cut, waits)] == ["interrupted", "queued"]
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "quick_loop"))
    monkeypatch.setenv("NARRATOR_RUNS", str(line.runs))
    monkeypatch.setenv("NARRATOR_TRAINING", "on")
    go_on()
    assert line.until(waits, *OVER).state == "done" and job_state(cut).state == "interrupted"
    queue.resume(cut)
    assert line.until(cut, *OVER).state == "done"
    with pytest.raises(NarratorError, match="done already"):
        queue.resume(cut)
