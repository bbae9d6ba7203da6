"""The trainer through its command line: a whole run, and runs that are killed and stopped on their way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from narrator.catalog import load_variants
from trainer.events import read_events
from trainer.jobs import CONFIG, MANIFEST, job_state

COLOURS = {"red": (200, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 200)}
PRESET: dict[str, Any] = {
    "name": "tiny", "title": "Tiny", "license": "cc0-1.0", "provenance": "Trained by a test.",
    "data": [{"path": "captions.jsonl", "split": "train", "repeat": 2}],
    "text": [{"path": "captions.jsonl", "split": "train"}], "dev": [{"path": "captions.jsonl", "split": "dev"}],
    "width": 32, "layers": 1, "heads": 2, "min_count": 1, "image_size": 32, "workers": 0, "precision": "fp32",
    "stages": [
        {"name": "words", "objective": "language", "epochs": 1, "batch_size": 6, "evaluations": 1},
        {"name": "frozen", "objective": "caption", "epochs": 2, "batch_size": 6, "evaluations": 2},
        {"name": "finetune", "train_encoder": True, "epochs": 12, "batch_size": 6, "evaluations": 6, "patience": 100},
        {"name": "critical", "objective": "self_critical", "epochs": 1, "batch_size": 6, "samples": 2,
         "evaluations": 1},
    ],
}
STEPS = {"words": 5, "frozen": 6, "finetune": 36, "critical": 3}  # by hand: ceil(items / 6) x epochs
TOTAL = 50
FIRST = 12  # step of the run with which `finetune` begins; it keeps a checkpoint every 6 steps
Start = Callable[..., subprocess.Popen]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dozen plain pictures of three colours, their captions, and a preset."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = []
    for colour, rgb in COLOURS.items():
        for number in range(4):
            name = f"{colour}{number}.png"
            Image.new("RGB", (32 + 8 * number, 40), tuple(part + 10 * number for part in rgb)).save(folder / name)
            rows.append({"image": name, "split": "dev" if number == 3 else "train",
                         "captions": [f"A {colour} square.", f"a square that is {colour}"]})
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(PRESET), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def start(root: Path, tiny: Path) -> Iterator[Start]:
    """Starts `python -m trainer` with these arguments; none outlives the tests."""
    started: list[subprocess.Popen] = []

    def begin(*arguments: str | Path) -> subprocess.Popen:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
                       "NARRATOR_DATA": str(tiny)}
        started.append(subprocess.Popen([sys.executable, "-m", "trainer", *map(str, arguments)], cwd=root, text=True,
                                        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Exit code and everything it said."""
    said, _ = process.communicate(timeout=400)
    return process.returncode, said


def train(start: Start, tiny: Path, home: Path) -> subprocess.Popen:
    return start("run", tiny / "tiny.yaml", "--runs", home / "runs", "--checkpoints", home / "checkpoints")


def variant_of(home: Path) -> Path:
    return home / "checkpoints" / "tiny"


def only(folder: Path) -> Path:
    """The one entry of a folder."""
    (entry,) = folder.iterdir()
    return entry


def steps_of(run: Path) -> dict[int, float]:
    """Step -> loss; after a resume the later line counts."""
    return {event["step"]: event["loss"] for event in read_events(run / "events.jsonl")[0] if event["event"] == "step"}


def wait_for_step(process: subprocess.Popen, runs: Path, step: int) -> Path:
    """The run's folder as soon as its events hold the step."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        for run in runs.glob("*/events.jsonl"):
            if any(event.get("step", 0) >= step for event in read_events(run)[0]):
                return run.parent
        time.sleep(0.005)
    process.kill()
    pytest.fail(f"step {step} never came:\n{process.communicate()[0][-3000:]}")


@pytest.fixture(scope="module")
def finished(start: Start, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/ and checkpoints/ after a run from start to end."""
    home = tmp_path_factory.mktemp("finished")
    code, said = finish(train(start, tiny, home))
    assert code == 0, said
    assert "Done: " in said and str(home / "checkpoints" / "tiny") in said
    return home


def test_a_run_tells_every_step(finished: Path) -> None:
    run = only(finished / "runs")
    events, _ = read_events(run / "events.jsonl")
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started" and kinds[-1] == "done"
    assert [event["step"] for event in events if event["event"] == "step"] == list(range(1, TOTAL + 1))
    assert {event["total_steps"] for event in events if "total_steps" in event} == {TOTAL}
    assert {event["name"]: event["steps"] for event in events if event["event"] == "stage_done"} == STEPS
    assert kinds.count("evaluation") == 2 + 6 + 1 and kinds.count("checkpoint") == 1 + 2 + 6 + 1
    job = job_state(run)
    assert (job.state, job.step, job.total_steps, job.pid) == ("done", TOTAL, TOTAL, None)


def test_a_run_learns(finished: Path) -> None:
    losses = steps_of(only(finished / "runs"))
    assert losses[FIRST + 35] < losses[6] - 0.1, losses


def test_tensorboard_reads_the_run(finished: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = only(finished / "runs")
    found = {}
    for file in run.rglob("events.out.tfevents.*"):
        board = EventAccumulator(str(file)).Reload()
        found[file.relative_to(run).parts[1]] = {event.step: event.value for event in board.Scalars("train/loss")}
    assert {name: len(losses) for name, losses in found.items()} == STEPS
    told = steps_of(run)
    assert found["finetune"][36] == pytest.approx(told[FIRST + 35], rel=1e-5)


def test_checkpoints_are_kept(finished: Path) -> None:
    stages = only(finished / "runs") / "stages"
    for name, steps in STEPS.items():
        kept = sorted(int(path.name.split("-")[1]) for path in (stages / name).glob("checkpoint-*"))
        assert kept and kept[-1] == steps and len(kept) <= 2, (name, kept)
        last = json.loads((stages / name / f"checkpoint-{steps}" / "trainer_state.json").read_text(encoding="utf-8"))
        assert last["global_step"] == steps
        assert (stages / name / "best" / "model.safetensors").stat().st_size > 0


def test_the_manifest_is_the_last_file_of_the_run(finished: Path) -> None:
    run = only(finished / "runs")
    times = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != "events.jsonl"}
    assert max(times, key=lambda path: times[path]) == run / MANIFEST
    manifest = yaml.safe_load((run / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["source"] == str(finished / "checkpoints" / "tiny")


def test_the_manifest_is_the_last_file_of_the_variant(finished: Path) -> None:
    """Who sees variant.yaml may read everything else: weights, card and scores."""
    variant = finished / "checkpoints" / "tiny"
    times = {path.name: path.stat().st_mtime_ns for path in variant.iterdir()}
    assert {"README.md", "metrics.json", "config.json", "tokenizer.json", "preprocessor_config.json"} < set(times)
    assert max(times.values()) == times["variant.yaml"], times
    assert not [name for name in times if name.endswith(".part")]
    manifest = yaml.safe_load((variant / "variant.yaml").read_text(encoding="utf-8"))
    assert (manifest["id"], manifest["family"], manifest["dtype"]) == ("tiny", "encoder_decoder", "bfloat16")
    scores = json.loads((variant / "metrics.json").read_text(encoding="utf-8"))["stages"]
    assert [stage["name"] for stage in scores] == list(STEPS)
    assert scores[-1]["scores"]["captions.jsonl"]["cider_d"].keys() == {"value", "low", "high"}


def test_a_second_run_replaces_nothing(start: Start, tiny: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    before = (tmp_path / "checkpoints" / "tiny" / "variant.yaml").stat().st_mtime_ns
    short = {**PRESET, "stages": [{"name": "only", "epochs": 1, "evaluations": 1}]}
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(short), encoding="utf-8")
    code, said = finish(start("run", tmp_path / "short.yaml", "--runs", tmp_path / "runs", "--checkpoints",
                              tmp_path / "checkpoints"))
    assert code == 0, said
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"tiny", "tiny-2"}
    assert (tmp_path / "checkpoints" / "tiny" / "variant.yaml").stat().st_mtime_ns == before
    assert set(load_variants(tmp_path / "checkpoints")) == {"tiny", "tiny-2"}, "both can be picked"
    assert "--variant tiny-2" in (tmp_path / "checkpoints" / "tiny-2" / "README.md").read_text(encoding="utf-8")


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


def test_a_picture_that_cannot_be_opened_is_a_bad_row(start: Start, tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    (data / "red1.png").write_bytes(b"%PDF-1.4")
    code, said = finish(start("run", tiny / "tiny.yaml", "--strict", "--data-root", data, "--runs", tmp_path / "runs",
                              "--checkpoints", tmp_path / "checkpoints"))
    assert code == 2 and "line 2" in said and "red1.png" in said and "%PDF" in said, said
    assert "Traceback" not in said


def test_what_is_done_stays_done(start: Start, finished: Path) -> None:
    code, said = finish(start("resume", only(finished / "runs")))
    assert code == 0 and "is done already" in said


def test_strict_stops_at_the_first_bad_row(start: Start, tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    with (data / "captions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"image": "gone.png", "split": "train", "captions": ["x"]}\n')
    code, said = finish(start("run", tiny / "tiny.yaml", "--strict", "--data-root", data, "--runs", tmp_path / "runs",
                              "--checkpoints", tmp_path / "checkpoints"))
    assert code == 2 and "captions.jsonl, line 13: picture 'gone.png' is not in" in said, said
    assert "Traceback" not in said
    run = only(tmp_path / "runs")
    assert job_state(run).state == "failed" and (run / CONFIG).is_file()
