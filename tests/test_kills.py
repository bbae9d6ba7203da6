"""Kills at random moments, with SIGKILL, counted only where they end a process that lives: fifty of workers, runs and
those who submit, over runs whose steps take milliseconds; six more of one real training, from the import of torch to
the saving of a checkpoint.

Nothing that a checkpoint holds is lost, no step is another one than it would have been, no job runs twice at once or is
made twice, and the queue goes on.
"""

import hashlib
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from queueing import OVER, Queue, command, events_of, kill, quick, quick_queue
from training import PRESET, TOTAL, only, steps_of, variant_of

from trainer import queue
from trainer.events import read_events
from trainer.jobs import Job, job_state, list_jobs

STRIKES = {"run": 28, "worker": 16, "submitter": 6}
STRIKES_OF_TORCH = 6  # each costs its import
STRIKING_S = 300  # the longest that all strikes but those of torch may take
STEPS, JOBS = 120, 5
LOADING_S = 300  # torch takes seconds, and minutes where others hold the processor


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """An empty queue."""
    with quick_queue(tmp_path, monkeypatch) as found:
        yield found


class Striker:
    """Kills one process of the queue, and does what a person or the page would do next."""

    def __init__(self, line: Queue, seed: int) -> None:
        self.line, self.dice = line, random.Random(seed)
        self.left = dict(STRIKES)
        self.hit: list[int] = []  # the processes that were killed
        self.requests: list[str] = []
        (line.home / "quick.yaml").write_text(json.dumps(quick("asked", steps=10)))

    def strike(self) -> None:
        line, (victim,) = self.line, self.dice.choices(list(self.left), list(self.left.values()))
        if victim == "submitter":
            self.submitter()
            return
        time.sleep(self.dice.uniform(0, 0.5))
        pid = line.worker() if victim == "worker" else next((job.pid for job in list_jobs(line.runs) if job.pid), None)
        self.count(victim, pid, kill(pid))

    def count(self, victim: str, pid: int | None, alive: bool) -> None:
        """Whom a strike has ended, if anyone."""
        if alive and pid is not None:
            self.left[victim] -= 1
            self.hit.append(pid)

    def submitter(self) -> None:
        """`trainer start`, killed on its way; whoever asked does not know whether it came through and asks again."""
        line, request = self.line, f"request {len(self.requests)}"
        self.requests.append(request)
        process = command("start", "--no-check", line.home / "quick.yaml", "--data-root", line.home, "--runs",
                          line.runs, "--checkpoints", line.home / "checkpoints", "--request", request)
        time.sleep(self.dice.uniform(0, 1.0))
        process.kill()
        process.communicate()
        self.count("submitter", process.pid, process.returncode < 0)  # it is often done by then on a fast machine
        line.submit("asked", steps=10, request=request)

    def mend(self) -> None:
        """Resume what was interrupted, and look at the page."""
        for job in list_jobs(self.line.runs):
            if job.state == "interrupted":
                queue.resume(job.folder)
        queue.ensure_worker(self.line.runs)


@pytest.mark.slow
def test_kills_of_worker_run_and_submitter(line: Queue) -> None:
    striker = Striker(line, seed=50)
    for number in range(JOBS):
        line.submit(f"job-{number}", steps=STEPS, step_s=0.02, every=7)
    until = time.monotonic() + STRIKING_S
    while any(striker.left.values()):
        assert time.monotonic() < until, f"after {STRIKING_S} s there are strikes left that hit nobody: {striker.left}"
        striker.strike()
        striker.mend()
        if all(job.state in ("done", "queued") for job in list_jobs(line.runs)[-JOBS:]) and not queue.queued(line.runs):
            line.submit("more", steps=STEPS, step_s=0.02, every=7)  # there is something to kill to the end

    def all_done() -> list[Job]:
        striker.mend()
        jobs = list_jobs(line.runs)
        assert {job.state for job in jobs} <= {"queued", "running", "interrupted", "done"}, jobs
        return jobs if all(job.state == "done" for job in jobs) else []

    jobs = line.wait(all_done, 120)
    assert len(set(striker.hit)) == len(striker.hit) == sum(STRIKES.values()) >= 50, "each ended another process"
    assert len([job for job in jobs if job.id.startswith("asked")]) == len(striker.requests), "one wish, one job"
    for job in jobs:
        check_run(read_events(job.folder / "events.jsonl")[0], 10 if job.id.startswith("asked") else STEPS)
    check_alone([event for job in jobs for event in read_events(job.folder / "events.jsonl")[0]])


def check_run(events: list[dict[str, Any]], steps: int) -> None:
    """Every step is the one that it would have been, and each start went on from the last checkpoint."""
    kept, seen, link = 0, {}, ""
    for event in events:
        if event["event"] == "started":
            assert event["step"] >= kept, f"it went on from step {event['step']} and had a checkpoint of {kept}"
        elif event["event"] == "checkpoint":
            kept = event["step"]
        elif event["event"] == "step":
            seen[event["step"]] = event["loss"]
    for step in range(1, steps + 1):
        link = hashlib.sha256(f"{link} {step}".encode()).hexdigest()  # as in quick_loop/loop.py
        assert seen.pop(step) == link, f"step {step} is another one than it would have been"
    assert not seen


def check_alone(events: list[dict[str, Any]]) -> None:
    """No two processes made steps at the same time: one ends before the next begins, whichever job it runs."""
    spans: dict[int, list[str]] = {}
    for event in sorted((event for event in events if "pid" in event), key=lambda event: event["time"]):
        spans.setdefault(event["pid"], []).append(event["time"])
    ends = [(times[0], times[-1]) for times in spans.values()]
    assert len(ends) > JOBS and all(one[1] <= other[0] for one, other in itertools.pairwise(ends)), ends


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills_of_a_real_training(tiny: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    line, dice = Queue(tmp_path), random.Random(12)
    places, hit = {"data_root": tiny, "out": tmp_path / "out"}, 0
    folder = queue.submit(PRESET, places, runs=line.runs).folder
    try:
        for strike in range(STRIKES_OF_TORCH):
            if strike % 4 == 0:  # in the import of torch, or while it reads
                line.wait(lambda: job_state(folder).pid, LOADING_S)
                time.sleep(dice.uniform(0, 3))
            else:  # in its steps, an evaluation, or a save
                further(line, folder, dice.randint(1, 5))
                time.sleep(dice.uniform(0, 0.05))
            hit += kill(job_state(folder).pid)
            state = line.until(folder, *OVER).state
            if state == "done":
                break
            assert state == "interrupted"
            queue.resume(folder)
        assert line.wait(lambda: (job := job_state(folder)).state in OVER and job.state, LOADING_S) == "done"
    finally:
        line.end()
    assert hit >= STRIKES_OF_TORCH - 1, "it was done before it had been struck often"
    assert steps_of(folder) == steps_of(only(finished / "runs"))
    ours, theirs = ((made / "model.safetensors").read_bytes() for made in (tmp_path / "out", variant_of(finished)))
    assert ours == theirs
    check_resumed(read_events(folder / "events.jsonl")[0])


def further(line: Queue, folder: Path, steps: int) -> None:
    """Wait until the run has begun again and is so many steps further than it ever was."""
    begun, goal = len(events_of(folder, "started")), min(job_state(folder).step + steps, TOTAL)
    line.wait(lambda: len(events_of(folder, "started")) > begun and job_state(folder).step >= goal, LOADING_S)


def check_resumed(events: list[dict[str, Any]]) -> None:
    """The first step after each start follows a checkpoint, the last one or, where a kill came between its last file
    and word of it, one that is newer still."""
    kept, started = 0, False
    for event in events:
        if event["event"] == "started":
            started = True
        elif event["event"] == "checkpoint":
            kept = event["step"]
        elif event["event"] == "step":
            assert not started or event["step"] > kept, f"step {event['step']} again, after a checkpoint of {kept}"
            started = False
