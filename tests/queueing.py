"""What the tests of the queue share: real workers and runs whose steps take milliseconds (tests/quick_loop)."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from training import PRESET

from narrator.processes import recorded
from trainer import queue
from trainer.claims import HOME
from trainer.events import read_events
from trainer.jobs import Job, job_state, list_jobs, live_pid
from trainer.queue import WORKER

HERE = Path(__file__).resolve().parent
OVER = ("done", "stopped", "failed", "interrupted")


def quick(name: str = "quick", **plan: Any) -> dict[str, Any]:
    """A configuration for tests/quick_loop/loop.py, which says what `plan` holds."""
    return {**PRESET, "name": name, "card": json.dumps(plan)}


class Queue:
    """A folder of runs with its queue, and how the tests look at it."""

    def __init__(self, home: Path) -> None:
        self.runs, self.home = home / "runs", home

    def submit(self, name: str = "quick", request: str | None = None, **plan: Any) -> Path:
        places = {"data_root": self.home, "out": self.home / "checkpoints" / name}
        return queue.submit(quick(name, **plan), places, runs=self.runs, request=request).folder

    def worker(self) -> int | None:
        return recorded(self.runs / HOME / WORKER)[0]

    def end(self) -> None:
        """Kill its processes."""
        kill(self.worker())
        for job in list_jobs(self.runs):
            if job.pid != os.getpid():
                kill(job.pid)

    def wait(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """What `what` says, as soon as it is something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.002)
        states = {job.id: (job.state, job.step, job.message) for job in list_jobs(self.runs)}
        pytest.fail(f"it never came: {states}, worker {self.worker()}, {self.worker_log()}")

    def worker_log(self) -> str:
        log = self.runs / HOME / queue.WORKER_LOG
        return log.read_text() if log.exists() else ""

    def until(self, folder: Path, *states: str) -> Job:
        return self.wait(lambda: (job := job_state(folder)).state in states and job)

    def until_step(self, folder: Path, step: int) -> int:
        """The run's process, once it has made this step."""
        return self.wait(lambda: job_state(folder).step >= step and live_pid(folder))


def kill(pid: int | None) -> bool:
    """SIGKILL, and wait until the process is no more; whether it lived until then."""
    if pid is None:
        return False
    alive = False
    try:
        process = psutil.Process(pid)
        process.suspend()  # so that it does not end by itself meanwhile
        alive = process.status() != psutil.STATUS_ZOMBIE
        process.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.001)
    except psutil.NoSuchProcess:
        pass
    return alive


def events_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder / "events.jsonl")[0] if event["event"] == kind]


def command(*arguments: str | Path) -> subprocess.Popen:
    """`python -m trainer` in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "trainer", *map(str, arguments)], cwd=HERE.parent, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@contextlib.contextmanager
def quick_queue(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """An empty queue whose runs train with tests/quick_loop; no process of it outlives the test."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE / "quick_loop"), str(HERE.parent)]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = Queue(home)
    try:
        yield found
    finally:
        found.end()
