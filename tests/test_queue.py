"""The queue with real workers, real runs and real signals; the loop alone is a quick one (tests/quick_loop)."""

import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from queueing import OVER, Queue, command, events_of, quick, quick_queue

from narrator.records import NarratorError
from trainer import jobs, queue
from trainer.__main__ import main
from trainer.jobs import PROCESS, QUEUED, create_job, job_state, waiting, write_whole

STOP_S = 2.0  # a run has stopped within this time, where a step is short


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """An empty queue."""
    with quick_queue(tmp_path, monkeypatch) as found:
        yield found


def test_jobs_run_one_after_another_in_order(line: Queue) -> None:
    folders = [line.submit(f"job-{number}") for number in range(3)]
    assert [job.folder for job in queue.queued(line.runs)] in (folders, folders[1:])
    for folder in folders:
        assert line.until(folder, *OVER).state == "done"
    times = [(events_of(folder, "started")[0]["time"], events_of(folder, "done")[0]["time"]) for folder in folders]
    assert times == sorted(times) and all(one[1] < other[0] for one, other in itertools.pairwise(times))
    line.wait(lambda: line.worker() is None)  # it ends when nothing waits
    assert line.worker_log() == ""


def test_a_waiting_job_costs_no_process_and_tells_its_place(line: Queue) -> None:
    first = line.submit(steps=1000)
    waits = [line.submit(f"job-{number}") for number in range(4)]
    line.until_step(first, 1)
    listed = {job.folder: (job.state, job.position) for job in jobs.list_jobs(line.runs)}
    assert listed == {first: ("running", None), **{folder: ("queued", place) for place, folder in enumerate(waits, 1)}}
    assert not [folder for folder in waits if (folder / PROCESS).exists()]
    assert [job_state(folder).position for folder in waits] == [1, 2, 3, 4]


def test_the_order_can_be_changed_and_a_job_taken_out(line: Queue) -> None:
    first = line.submit(steps=1000)
    b, c, d = (line.submit(name) for name in "bcd")
    line.until_step(first, 1)
    queue.move(d, -2)
    assert [job.folder for job in queue.queued(line.runs)] == [d, b, c]
    assert queue.leave(b).state == "stopped"
    with pytest.raises(NarratorError, match="not in the queue"):
        queue.leave(b)
    with pytest.raises(NarratorError, match="not in the queue"):
        queue.move(b, 1)
    queue.stop(first)
    assert line.until(c, *OVER).state == "done" and job_state(d).state == "done"
    assert events_of(d, "done")[0]["time"] < events_of(c, "started")[0]["time"]
    assert job_state(b).state == "stopped" and not events_of(b, "started")


def test_moving_is_what_a_list_would_do(tmp_path: Path) -> None:
    """The last ones go to and fro between the same two, until there is no place between them any more."""
    order = [create_job(f"job-{number}", {"name": "a"}, tmp_path, more={QUEUED: "{}"}) for number in range(6)]
    for place, folder in enumerate(order):
        write_whole(folder / QUEUED, json.dumps({"place": float(place), "since": 7.0}))
    dice = random.Random(4)
    for number in range(140):
        folder, by = dice.choice(order), dice.choice([-9, -1, -1, 1, 1, 9])
        if number >= 100:
            folder, by = order[2], -1
        at = min(max(0, order.index(folder) + by), len(order) - 1)
        order.remove(folder)
        order.insert(at, folder)
        queue.move(folder, by)
        assert waiting(tmp_path) == order
    assert {jobs.waits(folder)[1] for folder in order} == {7.0}, "moving is no new wait"


def test_a_failed_job_does_not_stop_the_next(line: Queue) -> None:
    told, crashed = line.submit("told", fail_at=3), line.submit("crashed", crash_at=3)
    torn, good = line.submit("torn"), line.submit("good")
    (torn / jobs.PLACES).write_text("{")
    assert line.until(good, *OVER).state == "done"
    assert [job_state(folder).state for folder in (told, crashed, torn)] == ["failed"] * 3
    assert job_state(told).message == "The pictures are gone. Bring them back."
    assert job_state(crashed).message == "RuntimeError: out of luck"
    assert "Expecting" in job_state(torn).message
    assert "out of luck" in queue.tail(crashed) and queue.tail(crashed, 1) == "RuntimeError: out of luck\n"


@pytest.mark.parametrize("import_s", ["0", "3"], ids=["in its steps", "while it is still loading"])
def test_a_stop_is_quick_and_keeps_every_step(line: Queue, monkeypatch: pytest.MonkeyPatch, import_s: str) -> None:
    monkeypatch.setenv("QUICK_LOOP_IMPORT_S", import_s)
    folder = line.submit(steps=400, every=1000)
    if import_s == "0":
        line.until_step(folder, 13)
    job = line.until(folder, "running")
    begun = time.monotonic()
    assert queue.stop(folder).pid == job.pid
    job = line.until(folder, *OVER)
    assert job.state == "stopped" and time.monotonic() - begun < STOP_S
    assert [event["step"] for event in events_of(folder, "checkpoint")] == ([job.step] if import_s == "0" else [])
    assert queue.stop(folder).state == "stopped", "asked twice, it is the same"
    monkeypatch.setenv("QUICK_LOOP_IMPORT_S", "0")
    assert queue.resume(folder).state in ("queued", "running")
    assert queue.resume(folder) if job_state(folder).state == "queued" else True
    line.until_step(folder, job.step + 5)
    with pytest.raises(NarratorError, match="is running"):
        queue.resume(folder)
    with pytest.raises(NarratorError, match="is running: stop it first"):
        queue.remove(folder)
    assert [event["step"] for event in events_of(folder, "started")] == ([0, job.step] if job.step else [0])
    assert [event["step"] for event in events_of(folder, "step")][:job.step + 5] == list(range(1, job.step + 6))


def test_the_same_request_twice_and_at_once_is_one_job(line: Queue, tmp_path: Path) -> None:
    preset = tmp_path / "quick.yaml"
    preset.write_text(json.dumps(quick(steps=1000)))
    start = ("start", "--no-check", preset, "--data-root", tmp_path, "--runs", line.runs, "--checkpoints",
             tmp_path / "out")
    both = [command(*start, "--request", "7") for _ in range(4)]
    said = {process.communicate(timeout=60)[0].split()[0] for process in both}
    assert len(said) == 1 and [process.returncode for process in both] == [0] * 4
    assert [job.id for job in jobs.list_jobs(line.runs)] == list(said)
    assert line.submit(request="7").name in said and line.submit(request="8").name not in said
    assert len(jobs.list_jobs(line.runs)) == 2


def test_a_run_in_a_terminal_takes_the_device_and_waits_for_it(line: Queue, tmp_path: Path) -> None:
    preset = tmp_path / "quick.yaml"
    preset.write_text(json.dumps(quick("first", steps=100)))
    run = ("run", preset, "--data-root", tmp_path, "--runs", line.runs, "--checkpoints", tmp_path / "out")
    first = command(*run)
    (folder,) = line.wait(lambda: list(line.runs.glob("first-*")))
    line.until_step(folder, 1)
    second = line.submit("second", steps=200, step_s=0.03)  # until the third has begun, however slowly
    line.wait(line.worker)
    assert job_state(second).state == "queued"
    line.until_step(second, 1)
    assert first.communicate()[1] is None and first.returncode == 0 and job_state(folder).state == "done"
    third = command(*run)
    assert third.stdout is not None
    assert f"busy with {second.name} (process {job_state(second).pid})" in third.stdout.readline()
    assert len(list(line.runs.glob("first-*"))) == 1, "nothing is made while it waits"
    queue.stop(second)
    assert "Done" in third.communicate(timeout=60)[0] and job_state(second).state == "stopped"


def test_a_run_is_removed_and_what_it_made_is_kept(line: Queue) -> None:
    folder = line.submit("gone")
    made = line.home / "checkpoints" / "gone"
    made.mkdir(parents=True)
    line.until(folder, "done")
    line.wait(lambda: jobs.live_pid(folder) is None)
    queue.remove(folder)
    assert not folder.exists() and made.is_dir() and jobs.list_jobs(line.runs) == []
    with pytest.raises(NarratorError, match="is not a run"):
        queue.remove(line.home)


@pytest.mark.parametrize(("change", "said"), [({"stepz": 5}, "stepz"), ({"stages": []}, "stages"),
                                              ({"name": "A b"}, "name")])
def test_a_configuration_that_is_none_is_refused_and_leaves_nothing(tmp_path: Path, change: dict, said: str) -> None:
    with pytest.raises(NarratorError, match=said):
        queue.submit({**quick(), **change}, {"data_root": tmp_path, "out": tmp_path / "out"}, runs=tmp_path / "runs")
    assert jobs.list_jobs(tmp_path / "runs") == []


def test_the_log_is_shown_as_a_terminal_would(tmp_path: Path) -> None:
    folder = create_job("a", {"name": "a"}, tmp_path)
    assert queue.tail(folder) == ""
    (folder / jobs.LOG).write_bytes(b"one\n10%\r50%\r100%\ntw\x1b[1mo\xff\nha")
    assert queue.tail(folder) == "one\n100%\ntw[1mo\ufffd\n"
    assert queue.tail(folder, 1) == "tw[1mo\ufffd\n"
    said, end = queue.said_since(folder, 4)
    assert said == "100%\ntw[1mo\ufffd\n" and queue.said_since(folder, end) == ("", end)


def test_the_command_line_does_what_the_functions_do(line: Queue, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    preset = tmp_path / "quick.yaml"
    preset.write_text(json.dumps(quick(steps=400)))

    def said(*arguments: str | Path, code: int = 0) -> str:
        assert main([*map(str, arguments), "--runs", str(line.runs)]) == code
        return "".join(capsys.readouterr())

    start = ("start", "--no-check", preset, "--data-root", tmp_path, "--checkpoints", tmp_path / "out", "--set")
    a, b, c = (said(*start, f"name={name}").split()[0] for name in "abc")
    line.until_step(line.runs / a, 3)
    listed = {job["id"]: job for job in json.loads(said("list", "--json"))}
    assert set(listed[a]) >= {"state", "step", "total_steps", "position", "message"}
    assert (listed[a]["state"], listed[a]["total_steps"], listed[c]["position"]) == ("running", 400, 2)
    assert said("queue", "--move", c, "-1").split("\n")[0].startswith(f"{c}  queued (number 1 in the queue)")
    assert b not in said("queue", "--remove", b) and "not in the queue" in said("queue", "--remove", b, code=2)
    assert "whole number" in said("queue", "--move", c, "up", code=2)
    assert f"{a}  stopped" in said("stop", a) and job_state(line.runs / a).state == "stopped"
    assert "step 3\n" in said("logs", a)
    line.until_step(line.runs / c, 2)
    assert f"{a}  queued (number 1" in said("resume", a, "--queue")
    said("stop", c)
    assert "step 400" in said("logs", a, "--follow") and job_state(line.runs / a).state == "done"
    said("remove", c)
    assert "There is no run" in said("stop", c, code=2) and not (line.runs / c).exists()
