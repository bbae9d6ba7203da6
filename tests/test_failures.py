"""Memory that runs out, and disks that fill up: told in a sentence that says what to do, with nothing lost."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training import FIRST, Start, finish, only, train, wait_for_step

from trainer.config import parse_config
from trainer.events import read_events
from trainer.failures import disk_full, memory_sentence, out_of_memory
from trainer.jobs import job_state

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are set as on Linux")
BASE = {"name": "tiny", "data": [{"path": "a"}], "dev": [{"path": "a"}]}
FAR = 1 << 50  # bytes that no machine has


def test_memory_that_is_not_there_is_known() -> None:
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(FAR)
    with pytest.raises(MemoryError) as numpys:
        np.empty(FAR)
    try:
        raise ValueError("while a batch was made") from torchs.value
    except ValueError as error:
        behind = error
    assert all(map(out_of_memory, (torchs.value, numpys.value, behind, torch.OutOfMemoryError("CUDA out of memory."))))
    with pytest.raises(RuntimeError) as shapes:
        torch.ones(2) @ torch.ones(3)
    assert not out_of_memory(shapes.value) and not disk_full(shapes.value) and not disk_full(torchs.value)


SAVE = """
import resource, sys
import numpy as np, torch
from safetensors.torch import save_file
sys.path.insert(0, {root!r})
from trainer.failures import disk_full, out_of_memory
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
weights = {{"weight": torch.ones(200_000)}}
for save in (lambda: save_file(weights, "a.safetensors"), lambda: torch.save(weights, "a.pt"),
             lambda: np.lib.format.open_memmap("a.npy", "w+", np.float16, (200_000,)),
             lambda: open("a.txt", "w").write("a" * 200_000)):
    try:
        save()
    except Exception as error:
        print(disk_full(error) and not out_of_memory(error), type(error).__name__)
    else:
        print("nothing was raised")
"""


def test_a_file_that_cannot_grow_is_known(root: Path, tmp_path: Path) -> None:
    """As weights, optimizer, cached features and text are written."""
    done = subprocess.run([sys.executable, "-c", SAVE.format(root=str(root))], cwd=tmp_path, capture_output=True,
                          text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and all(line.startswith("True ") for line in lines), done.stdout + done.stderr


SENTENCES = [
    ({"stages": [{"name": "see", "train_encoder": True, "batch_size": 48}]}, "cpu",
     ["stages.see.batch_size (now 48) to 24", "image_size (now 224) to 160", "this machine", "'see'"],
     ["lora", "max_tokens"]),
    ({"stages": [{"name": "frozen", "batch_size": 1}], "width": 384}, "cpu", ["smaller width and layers"],
     ["batch_size (", "image_size"]),
    ({"recipe": "causal_lm", "base": "gpt2", "max_tokens": 128, "stages": [{"name": "all", "objective": "answer",
                                                                             "batch_size": 8}]}, "cuda",
     ["stages.all.batch_size (now 8) to 4", "max_tokens (now 128) to 64", "adapters", "the GPU"], ["image_size"]),
    ({"recipe": "hub_vlm", "base": "blip", "lora": {"r": 16}, "stages": [{"name": "b", "batch_size": 1}]}, "cuda:0",
     ["max_tokens", "lora.r (now 16) to 8", "4bit"], ["batch_size ("]),
    ({"stages": [{"name": "critical", "objective": "self_critical", "samples": 5}]}, "cpu",
     ["stages.critical.samples (now 5) to 2", "batch_size"], ["image_size"]),
]


@pytest.mark.parametrize(("settings", "device", "named", "silent"), SENTENCES, ids=["pictures", "one", "weights",
                                                                                  "adapters", "samples"])
def test_the_sentence_has_the_numbers_of_the_run(settings, device, named, silent) -> None:
    config = parse_config({**BASE, **settings}, "test")
    said = memory_sentence(config, config.stages[0], device)
    assert all(part in said for part in named) and not any(part in said for part in silent), said
    before = memory_sentence(config, None, device)
    assert "model itself" in before and before.count(".") < 8, before


def test_a_full_disk_is_told_with_the_last_checkpoint(start: Start, tiny: Path, tmp_path: Path) -> None:
    """tests/test_resume.py goes on from there."""
    process = train(start, tiny, tmp_path)
    run = wait_for_step(process, tmp_path / "runs", FIRST + 7)  # the first checkpoint of the stage is at its step 6
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    code, said = finish(process)
    assert code == 2 and "The disk is full" in said and f"trainer resume {run}" in said, said[-3000:]
    kept = [int(path.name.split("-")[1]) for path in (run / "stages" / "finetune").glob("checkpoint-*")]
    assert kept and max(kept) % 6 == 0, "what was cut short is gone"
    assert f"the checkpoint of step {FIRST - 1 + max(kept)} is whole" in said
    assert job_state(run).state == "failed"
    failed = read_events(run / "events.jsonl")[0][-1]
    assert failed["event"] == "failed" and failed["message"] in said and not list(run.glob(".reserve"))


def test_a_run_without_memory_says_what_to_lower(start: Start, tiny: Path, tmp_path: Path) -> None:
    process = start("run", tiny / "tiny.yaml", "--runs", tmp_path / "runs", "--checkpoints", tmp_path / "checkpoints",
                    "--set", "image_size=1024", "--set", "stages.words.epochs=0", "--set", "stages.frozen.epochs=0")
    resource.prlimit(process.pid, resource.RLIMIT_AS, (4 << 30, 4 << 30))  # bytes of addresses, torch's own included
    code, said = finish(process)
    assert code == 2, said[-3000:]
    assert "did not suffice for the stage 'finetune' (6 a step)" in said, said[-3000:]
    assert "stages.finetune.batch_size (now 6) to 3" in said and "image_size (now 1024) to 720" in said
    run = only(tmp_path / "runs")
    assert job_state(run).state == "failed"
    assert read_events(run / "events.jsonl")[0][-1]["message"] in said
    assert "Error" in (run / "error.txt").read_text() and json.loads((run / "places.json").read_text())
    assert not os.path.exists(run / ".reserve")
