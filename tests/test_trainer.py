"""The trainer through its command line: a whole run, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from training import FIRST, PRESET, STEPS, TOTAL, Start, finish, only, steps_of

from narrator.catalog import load_variants
from trainer.events import read_events
from trainer.jobs import CONFIG, MANIFEST, job_state


def test_a_run_tells_every_step(finished: Path) -> None:
    run = only(finished / "runs")
    events, _ = read_events(run / "events.jsonl")
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started" and kinds[-1] == "done"
    assert [event["step"] for event in events if event["event"] == "step"] == list(range(1, TOTAL + 1))
    assert {event["total_steps"] for event in events if "total_steps" in event} == {TOTAL}
    assert {event["name"]: event["steps"] for event in events if event["event"] == "stage_done"} == STEPS
    assert kinds.count("evaluation") == 1 + 2 + 6 + 1 and kinds.count("checkpoint") == 1 + 2 + 6 + 1
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
    assert list(load_variants(tmp_path / "checkpoints"))[:2] == ["tiny", "tiny-2"], "both can be picked"
    assert "--variant tiny-2" in (tmp_path / "checkpoints" / "tiny-2" / "README.md").read_text(encoding="utf-8")


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
