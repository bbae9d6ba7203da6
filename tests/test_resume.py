"""Runs that are killed and stopped on their way, and taken up again."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from training import FIRST, TOTAL, Start, finish, only, steps_of, train, variant_of, wait_for_step

from trainer.events import read_events
from trainer.jobs import MANIFEST, job_state


def test_a_run_that_is_killed_and_stopped_ends_where_it_would_have(start: Start, tiny: Path, finished: Path,
                                                                    tmp_path: Path) -> None:
    process = train(start, tiny, tmp_path)
    run = wait_for_step(process, tmp_path / "runs", FIRST + 15)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and job_state(run).state == "interrupted"
    assert list((tmp_path / "checkpoints").glob("*/variant.yaml")) == []
    listed = json.loads(finish(start("list", "--json", "--runs", tmp_path / "runs"))[1])
    assert [(job["id"], job["state"]) for job in listed] == [(run.name, "interrupted")]

    process = start("resume", run)
    _, end = read_events(run / "events.jsonl")
    wait_for_step(process, tmp_path / "runs", FIRST + 26)
    process.send_signal(signal.SIGTERM)
    code, said = finish(process)
    assert code == 3 and f"resume {run}" in said, said
    again = [event["step"] for event in read_events(run / "events.jsonl", end)[0] if event["event"] == "step"]
    assert again[0] in (FIRST + 12, FIRST + 18), "it did not go on from its last checkpoint"
    stopped = job_state(run)
    assert (stopped.state, stopped.pid, stopped.total_steps) == ("stopped", None, TOTAL)
    assert read_events(run / "events.jsonl")[0][-2]["event"] == "checkpoint", "a stop keeps what was learnt"

    _, end = read_events(run / "events.jsonl")
    code, said = finish(start("resume", run))
    assert code == 0, said
    again = [event["step"] for event in read_events(run / "events.jsonl", end)[0] if event["event"] == "step"]
    assert again == list(range(stopped.step + 1, TOTAL + 1)), "a stop loses no step"
    whole, broken = steps_of(only(finished / "runs")), steps_of(run)
    assert sorted(broken) == sorted(whole) == list(range(1, TOTAL + 1))
    assert [broken[step] for step in range(1, FIRST + 36)] == pytest.approx(
        [whole[step] for step in range(1, FIRST + 36)], abs=2e-3), "it is not the run that it would have been"
    assert job_state(run).state == "done" and (tmp_path / "checkpoints" / "tiny" / "variant.yaml").is_file()


def test_a_checkpoint_that_was_cut_short_is_not_resumed_from(start: Start, finished: Path, tmp_path: Path) -> None:
    """What SIGKILL leaves in the middle of a save: a newer checkpoint with torn weights and no state."""
    run = tmp_path / "runs" / only(finished / "runs").name
    shutil.copytree(only(finished / "runs"), run)
    (run / MANIFEST).unlink()
    places = json.loads((run / "places.json").read_text(encoding="utf-8"))
    (run / "places.json").write_text(json.dumps({**places, "out": str(tmp_path / "out")}), encoding="utf-8")
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
    code, said = finish(start("resume", run))
    assert code == 0, said[-3000:]
    again = [event["step"] for event in read_events(run / "events.jsonl", end)[0] if event["event"] == "step"]
    assert FIRST < again[0] < FIRST + 36 and again == list(range(again[0], TOTAL + 1))
    assert job_state(run).state == "done"


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "killed before the mark"])
def test_a_stage_that_had_ended_is_not_trained_on(start: Start, finished: Path, tmp_path: Path, marked: bool) -> None:
    """Killed while the dev pictures were described: the steps are over, the stage's report is not there yet."""
    run = tmp_path / "runs" / only(finished / "runs").name
    shutil.copytree(only(finished / "runs"), run)
    (run / MANIFEST).unlink()
    places = json.loads((run / "places.json").read_text(encoding="utf-8"))
    (run / "places.json").write_text(json.dumps({**places, "out": str(tmp_path / "out")}), encoding="utf-8")
    stage = run / "stages" / "critical"
    (stage / "stage.json").unlink()
    shutil.rmtree(stage / "best")
    if not marked:
        (stage / "ended.json").unlink()
    _, end = read_events(run / "events.jsonl")
    code, said = finish(start("resume", run))
    assert code == 0, said[-3000:]
    assert not [event for event in read_events(run / "events.jsonl", end)[0] if event["event"] == "step"]
    ours, theirs = ((folder / "model.safetensors").read_bytes() for folder in (tmp_path / "out", variant_of(finished)))
    assert ours == theirs
