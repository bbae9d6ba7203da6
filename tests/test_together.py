"""Several processes: the same training as in one, one writer, and the commands and configurations that start them."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prompted import PRESET
from training import finish, only, steps_of, wait_for_step

from narrator.records import NarratorError
from trainer import together
from trainer.config import load_config, parse_config
from trainer.events import read_events
from trainer.jobs import job_state
from trainer.launch import CONFIGS, KINDS, launch_commands
from trainer.run import check_shared

# No chance in it: prompts of their own, no dropout; and whole batches, since the last step of an epoch is filled up.
ROWS = [{"prompt": f"Describe {number}: a {colour} {animal}", "captions": [f"A {colour} {animal} on the {place} ."]}
        for number, (colour, animal, place) in enumerate(
            (colour, animal, place) for colour in ("brown", "white", "black", "grey") for animal in ("dog", "cat")
            for place in ("grass", "long street of a small town"))]
STAGE = {**PRESET["stages"][0], "epochs": 6, "evaluations": 2, "batch_size": 8}
TOGETHER = {**PRESET, "name": "together", "data": [{"path": "learn.jsonl"}], "dev": [{"path": "dev.jsonl"}],
            "held_out": 0.0, "stages": [STAGE]}
TOLERANCE = 2e-4  # of the loss, relative: float32 sums in another order, over a dozen steps of AdamW


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("together")
    write(home / "learn.jsonl", ROWS)
    write(home / "dev.jsonl", [{"prompt": f"Describe a red {animal}", "captions": [f"A red {animal} on the grass ."]}
                               for animal in ("horse", "bird", "cow")])
    (home / "together.yaml").write_text(yaml.safe_dump(TOGETHER), encoding="utf-8")
    return home


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def begin(root: Path, *words: str | Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
                   "ACCELERATE_TORCH_DEVICE": "cpu"}
    return subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=root, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def arguments(places: Path, home: Path) -> list[str | Path]:
    return ["trainer", "run", places / "together.yaml", "--data-root", places, "--runs", home / "runs",
            "--checkpoints", home / "checkpoints"]


def run(root: Path, places: Path, home: Path, *launcher: str) -> str:
    """What a training through the launcher says; the run is in home/runs."""
    code, said = finish(begin(root, *launcher, *arguments(places, home)))
    assert code == 0, said[-4000:]
    return said


def two_processes(port: int, kind: str = "cpu") -> list[str]:
    return ["accelerate.commands.launch", "--config_file", str(CONFIGS / f"{kind}.yaml"), "--num_processes", "2",
            "--main_process_port", str(port)]


@pytest.fixture(scope="module")
def alone(root: Path, places: Path) -> Path:
    run(root, places, places / "alone")
    return only_run(places / "alone")


def only_run(home: Path) -> Path:
    return only(home / "runs")


def test_two_processes_learn_what_one_does(root: Path, places: Path, alone: Path, free_port: int) -> None:
    """With gloo, through accelerate: the same loss at every step, and one of everything on disk."""
    said = run(root, places, places / "two", *two_processes(free_port), "-m")
    folder = only_run(places / "two")
    one, two = steps_of(alone), steps_of(folder)
    assert len(one) == 12 and list(two) == list(one)
    assert [two[step] for step in one] == pytest.approx(list(one.values()), rel=TOLERANCE)
    assert one[12] < one[1] - 0.5, "it learns"
    events = read_events(folder / "events.jsonl")[0]
    assert [event["step"] for event in events if event["event"] == "step"] == list(range(1, 13)), "told once"
    assert events[0]["processes"] == 2 and job_state(folder).state == "done"
    ours, theirs = ([event["score"] for event in read_events(run_ / "events.jsonl")[0]
                     if event["event"] == "evaluation"] for run_ in (folder, alone))
    assert ours[0] is theirs[0] is None and ours[1:] == pytest.approx(theirs[1:], rel=TOLERANCE)
    assert only(places / "two" / "checkpoints").name == "together" and said.count("Done: ") == 1
    assert not (folder / "process.json").exists()


def test_one_that_is_asked_to_stop_stops_both(root: Path, places: Path, tmp_path: Path, free_port: int) -> None:
    """As the Train tab asks: SIGTERM to the process that the run's folder names. One process goes on alone."""
    process = begin(root, *two_processes(free_port), "-m", *arguments(places, tmp_path), "--set",
                    "stages.learn.epochs=100")
    folder = wait_for_step(process, tmp_path / "runs", 20)
    os.kill(job_state(folder).pid or 0, signal.SIGTERM)
    said = finish(process)[1]
    stopped = job_state(folder)
    assert stopped.state == "stopped" and 20 <= stopped.step < 200, said[-4000:]
    assert [path.name for path in folder.glob("stages/learn/checkpoint-*")] == [f"checkpoint-{stopped.step}"]
    code, said = finish(begin(root, "trainer", "resume", folder))
    assert code == 0, said[-4000:]
    assert list(steps_of(folder)) == list(range(1, 201)) and job_state(folder).state == "done"
    losses = steps_of(folder)
    assert losses[200] < losses[1] - 1.0


def test_a_model_in_parts_learns_what_a_whole_one_does(root: Path, places: Path, alone: Path, free_port: int) -> None:
    """The shipped FSDP configuration, each process with half of every matrix: the same losses, and a whole variant."""
    launcher = [*two_processes(free_port, "fsdp"), str(root / "tests" / "fsdp_on_processors.py")]
    code, said = finish(begin(root, *launcher, *arguments(places, places / "parts")[1:]))
    assert code == 0, said[-4000:]
    folder = only_run(places / "parts")
    one, two = steps_of(alone), steps_of(folder)
    assert list(two) == list(one) and list(two.values()) == pytest.approx(list(one.values()), rel=TOLERANCE)
    kept = folder / "stages" / "learn" / "checkpoint-12"
    assert (kept / "pytorch_model_fsdp.bin").is_file(), "it was FSDP that saved the model"
    whole, parts = (only(places / home / "checkpoints") / "model.safetensors" for home in ("alone", "parts"))
    assert whole.stat().st_size == parts.stat().st_size and job_state(folder).state == "done"


def test_accelerate_alone_says_why_it_starts_one(root: Path, places: Path, tmp_path: Path) -> None:
    """`--cpu --num_processes 2` without mpirun: the same run, in one process."""
    said = run(root, places, tmp_path, "accelerate.commands.launch", "--cpu", "--num_processes", "2",
               "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m")
    assert "cpu.yaml" in said and "has started one process" in said
    assert read_events(only_run(tmp_path) / "events.jsonl")[0][0]["processes"] == 1


def test_batches_that_cannot_be_dealt_out_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_config({**TOGETHER, "stages": [{**STAGE, "batch_size": 6}]}, "test")
    check_shared(config)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(NarratorError, match=r"batch_size 6 of the stage 'learn'.*4 processes: set it to 4 or 8\."):
        check_shared(config)
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(NarratorError, match=r"set it to 8\."):
        check_shared(config)


def test_one_process_needs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (together.count(), together.number(), together.is_first()) == (1, 0, True)
    assert together.first(lambda: 3) == 3 and together.share(7.0) == 1.0
    assert [together.any_of(here) for here in (True, False)] == [True, False]
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    assert (together.count(), together.number(), together.is_first()) == (4, 3, False), "as mpirun tells it"


@pytest.mark.parametrize("kind", KINDS)
def test_configurations_are_what_accelerate_reads(kind: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import DistributedType

    found = load_config_from_file(str(CONFIGS / f"{kind}.yaml"))  # refuses keys that it does not know
    wanted = {"fsdp": DistributedType.FSDP, "deepspeed": DistributedType.DEEPSPEED}
    assert found.distributed_type == wanted.get(kind, DistributedType.MULTI_GPU)
    assert found.mixed_precision == "no", "the recipes choose the precision themselves"


def test_fsdp_settings_are_those_of_the_launcher() -> None:
    """accelerate copies a configuration's groups onto its flags: one that is no flag would do nothing."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    for kind in ("fsdp", "deepspeed"):
        settings = yaml.safe_load((CONFIGS / f"{kind}.yaml").read_text())[f"{kind}_config"]
        line = ["--config_file", str(CONFIGS / f"{kind}.yaml"), "-m", "trainer", "run", "x.yaml"]
        options = launch_command_parser().parse_args(line)
        flags = set(vars(options))
        assert set(settings) <= flags, set(settings) - flags
        options = _validate_launch_command(options)[0]
        assert {name: getattr(options, name) for name in settings} == settings
        assert options.use_fsdp == (kind == "fsdp") and options.use_deepspeed == (kind == "deepspeed")


@pytest.mark.parametrize("preset", ["opt-2.7b-lora", "llama-3.2-3b-lora", "qwen2.5-3b-lora", "clip-phi2"])
@pytest.mark.parametrize("kind", KINDS)
def test_commands_for_several_machines(root: Path, preset: str, kind: str) -> None:
    config = load_config(root / "trainer" / "presets" / f"{preset}.yaml")
    if kind in ("fsdp", "deepspeed") and config.quantize != "none":
        with pytest.raises(NarratorError, match="take the way gpus"):
            launch_commands(config, ["run", "x.yaml"], kind=kind)
        config = dataclasses.replace(config, quantize="none")
    config = dataclasses.replace(config, stages=[dataclasses.replace(stage, batch_size=16) for stage in config.stages])
    training = ["run", f"trainer/presets/{preset}.yaml", "--set", "card=two words"]
    commands = launch_commands(config, training, kind=kind, machines=2, processes=4, host="10.0.0.1")
    assert len(commands) == 2
    from accelerate.commands.launch import launch_command_parser

    for rank, command in enumerate(commands):
        words = shlex.split(command)
        options = launch_command_parser().parse_args(words[2:])
        assert words[:2] == ["accelerate", "launch"] and (root / options.config_file).is_file()
        assert (options.num_machines, options.num_processes, options.machine_rank) == (2, 8, rank)
        assert (options.main_process_ip, options.main_process_port, options.module) == ("10.0.0.1", 29500, True)
        assert options.training_script_args == training
    (single,) = launch_commands(config, training, kind=kind, processes=2)
    assert "--machine_rank" not in single
    with pytest.raises(NarratorError, match=r"batch_size 16.*12 processes: set it to a multiple of 12"):
        launch_commands(config, training, kind=kind, machines=3, processes=4)
    with pytest.raises(NarratorError, match="There are: gpus"):
        launch_commands(config, training, kind="tpu")
