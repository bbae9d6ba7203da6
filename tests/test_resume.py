"""Runs that are killed and stopped on their way, and taken up again."""

import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from training import FIRST, STEPS, TOTAL, Start, finish, go_on, only, steps_of, train, variant_of, wait_for_step

from trainer.events import read_events
from trainer.jobs import MANIFEST, job_state, list_jobs

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


STOP_S = 2.0  # a run has stopped within this time, where a step is short


def stop(process: subprocess.Popen, run: Path) -> None:
    """SIGTERM; the run says within two seconds that it has stopped, and the process how it goes on."""
    begun = time.time()
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 3 and f"resume {run}" in said, said
    last = read_events(run / "events.jsonl")[0][-1]
    assert last["event"] == "stopped" and job_state(run).state == "stopped"
    assert datetime.datetime.fromisoformat(last["time"]).timestamp() - begun < STOP_S


def readers_of(pid: int) -> list[int]:
    """The processes of a run that read pictures."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_of_its_processes_stops_a_run_with_a_checkpoint(
        start: Start, tiny: Path, tmp_path: Path, number: signal.Signals) -> None:
    """As Ctrl-C in a terminal does: the processes that read pictures hear it, too."""
    process = start("run", tiny / "tiny.yaml", "--runs", tmp_path / "runs", "--checkpoints", tmp_path / "checkpoints",
                    "--set", "workers=2")
    run = wait_for_step(process, tmp_path / "runs", FIRST + 3)
    deadline = time.monotonic() + 60
    while len(readers := readers_of(process.pid)) < 2:  # between two epochs there are none
        assert time.monotonic() < deadline and process.poll() is None
    for pid in (*readers, process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    code, said = finish(process)
    assert code == 3 and f"resume {run}" in said and said.count("Stopping after this step") == 1, said
    assert [event["event"] for event in read_events(run / "events.jsonl")[0]][-2:] == ["checkpoint", "stopped"]


def steps_since(run: Path, end: int) -> list[int]:
    """The steps that the run has made since its events were so many bytes."""
    return [event["step"] for event in read_events(run / "events.jsonl", end)[0] if event["event"] == "step"]


def scores_of(run: Path) -> dict[int, float]:
    return {event["step"]: event["score"] for event in read_events(run / "events.jsonl")[0]
            if event["event"] == "evaluation"}


def test_a_run_that_is_killed_and_stopped_ends_where_it_would_have(start: Start, tiny: Path, finished: Path,
                                                                    tmp_path: Path) -> None:
    """Killed, stopped in a step, stopped in an evaluation: every loss, score and weight is that of a run left alone."""
    process = train(start, tiny, tmp_path)
    run = wait_for_step(process, tmp_path / "runs", FIRST + 15)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and job_state(run).state == "interrupted"
    assert list((tmp_path / "checkpoints").glob("*/variant.yaml")) == []
    listed = json.loads(finish(start("list", "--json", "--runs", tmp_path / "runs"))[1])
    assert [(job["id"], job["state"]) for job in listed] == [(run.name, "interrupted")]

    process, (_, end) = start("resume", run), read_events(run / "events.jsonl")
    wait_for_step(process, tmp_path / "runs", FIRST + 19)
    stop(process, run)
    assert steps_since(run, end)[0] in (FIRST + 12, FIRST + 18), "it did not go on from its last checkpoint"
    stopped = job_state(run)
    assert (stopped.pid, stopped.total_steps) == (None, TOTAL)
    assert read_events(run / "events.jsonl")[0][-2]["event"] == "checkpoint", "a stop keeps what was learnt"

    process, (_, end) = start("resume", run), read_events(run / "events.jsonl")
    wait_for_step(process, tmp_path / "runs", FIRST + 29)  # its evaluation begins now
    stop(process, run)
    assert steps_since(run, end)[0] == stopped.step + 1, "a stop loses no step"
    stopped = job_state(run)

    _, end = read_events(run / "events.jsonl")
    go_on(run)
    assert steps_since(run, end) == list(range(stopped.step + 1, TOTAL + 1))
    whole = only(finished / "runs")
    assert steps_of(run) == steps_of(whole) and list(steps_of(whole)) == list(range(1, TOTAL + 1))
    assert scores_of(run) == scores_of(whole)
    ours, theirs = ((folder / "model.safetensors").read_bytes() for folder in (variant_of(tmp_path),
                                                                               variant_of(finished)))
    assert ours == theirs and job_state(run).state == "done"


def test_an_evaluation_that_a_stop_left_out_is_made_up_for(finished: Path, tmp_path: Path) -> None:
    """As if the last step of a stage had been stopped before its evaluation: nothing is left but that."""
    run, stage = half_done(finished, tmp_path), "critical"
    home = run / "stages" / stage
    last = home / f"checkpoint-{STEPS[stage]}" / "trainer_state.json"
    state = json.loads(last.read_text(encoding="utf-8"))
    for callback in state["stateful_callbacks"].values():
        callback["attributes"] = {name: 0 for name in callback["attributes"]}
    state |= {"best_metric": None, "best_global_step": None, "best_model_checkpoint": None,
              "log_history": [row for row in state["log_history"] if "eval_score" not in row]}
    last.write_text(json.dumps(state), encoding="utf-8")
    (home / "ended.json").unlink()
    _, end = read_events(run / "events.jsonl")
    go_on(run)
    told = read_events(run / "events.jsonl", end)[0]
    assert [(event["step"], event["score"]) for event in told if event["event"] == "evaluation"] == [
        (TOTAL, scores_of(only(finished / "runs"))[TOTAL])]
    assert not [event for event in told if event["event"] == "step"]
    assert json.loads(last.read_text(encoding="utf-8"))["best_global_step"] == STEPS[stage]


def test_a_stop_before_the_first_step_is_as_quick(start: Start, tiny: Path, tmp_path: Path) -> None:
    process = train(start, tiny, tmp_path)  # importing torch takes seconds
    deadline = time.monotonic() + 60
    while not (runs := [job for job in list_jobs(tmp_path / "runs") if job.state == "running"]):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    stop(process, runs[0].folder)
    assert [event["event"] for event in read_events(runs[0].folder / "events.jsonl")[0]] == ["stopped"]


@pytest.mark.skipif(resource is None, reason="the system knows no limit of the size of a file")
def test_a_disk_that_has_no_room_for_a_checkpoint_keeps_the_last_one(start: Start, finished: Path, tmp_path: Path
                                                                    ) -> None:
    """The limit stands for a full disk: events still fit, weights do not."""
    run = half_done(finished, tmp_path)
    stage = run / "stages" / "finetune"
    shutil.rmtree(run / "stages" / "critical")
    for gone in ("stage.json", "ended.json"):
        (stage / gone).unlink()
    shutil.rmtree(stage / "best")
    shutil.rmtree(stage / "checkpoint-36")
    kept = sorted(path.name for path in stage.glob("checkpoint-*"))
    size = max(path.stat().st_size for path in stage.glob("checkpoint-*/model.safetensors"))
    process = start("resume", run)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))
    code, said = finish(process)
    job = job_state(run)
    assert code == 2 and job.state == "failed" and job.message, said
    assert "Traceback" not in said and "resume" in said
    assert [name for name in kept if (stage / name / "trainer_state.json").is_file()] == kept
    _, end = read_events(run / "events.jsonl")
    go_on(run)
    assert steps_since(run, end) == list(range(FIRST + int(kept[-1].split("-")[1]), TOTAL + 1))
    assert steps_of(run) == steps_of(only(finished / "runs"))


def half_done(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that has not yet measured its last stage, and puts its variant into tmp_path/out."""
    run = tmp_path / "runs" / only(finished / "runs").name
    shutil.copytree(only(finished / "runs"), run)
    (run / MANIFEST).unlink()
    places = json.loads((run / "places.json").read_text(encoding="utf-8"))
    (run / "places.json").write_text(json.dumps({**places, "out": str(tmp_path / "out")}), encoding="utf-8")
    (run / "stages" / "critical" / "stage.json").unlink()
    shutil.rmtree(run / "stages" / "critical" / "best")
    return run


def test_a_checkpoint_that_was_cut_short_is_not_resumed_from(finished: Path, tmp_path: Path) -> None:
    """What SIGKILL leaves in the middle of a save: a newer checkpoint with torn weights and no state."""
    run = half_done(finished, tmp_path)
    shutil.rmtree(run / "stages" / "critical")
    stage = run / "stages" / "finetune"
    (stage / "stage.json").unlink()
    (stage / "ended.json").unlink()
    shutil.rmtree(stage / "best")
    last = stage / "checkpoint-36"
    (last / "trainer_state.json").unlink()
    weights = (last / "model.safetensors").read_bytes()
    (last / "model.safetensors").write_bytes(weights[:len(weights) // 2])
    _, end = read_events(run / "events.jsonl")
    go_on(run)
    again = [event["step"] for event in read_events(run / "events.jsonl", end)[0] if event["event"] == "step"]
    assert FIRST < again[0] < FIRST + 36 and again == list(range(again[0], TOTAL + 1))
    assert job_state(run).state == "done"


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "killed before the mark"])
def test_a_stage_that_had_ended_is_not_trained_on(finished: Path, tmp_path: Path, marked: bool) -> None:
    """Killed while the dev pictures were described: the steps are over, the stage's report is not there yet."""
    run = half_done(finished, tmp_path)
    stage = run / "stages" / "critical"
    if not marked:
        (stage / "ended.json").unlink()
    _, end = read_events(run / "events.jsonl")
    go_on(run)
    assert not [event for event in read_events(run / "events.jsonl", end)[0] if event["event"] == "step"]
    ours, theirs = ((folder / "model.safetensors").read_bytes() for folder in (tmp_path / "out", variant_of(finished)))
    assert ours == theirs
