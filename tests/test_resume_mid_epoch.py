"""Killed in the middle of an epoch: what is drawn at random after the resume is what would have been drawn."""

import signal
from pathlib import Path

import pytest
import yaml
from training import PRESET, Start, go_on, only, steps_of, train, wait_for_step

EPOCH = 6  # steps: 18 pictures in batches of 3
BOTH = {"batch_size": 3, "patience": 100}
STAGES = [{"name": "frozen", "objective": "caption", "epochs": 2, "evaluations": 3, **BOTH},  # views are drawn
          {"name": "finetune", "train_encoder": True, "epochs": 4, "evaluations": 6, **BOTH}]  # crops and light are
# The random MobileNet of the tiny preset sees next to nothing; this ViT does.
SEES = {"vision": "vit", "vision_width": 64, "vision_layers": 1, "vision_patch": 8}
KILLED = 2 * EPOCH + 7  # step: the checkpoint before is of the fourth step of its stage


def preset(tiny: Path, folder: Path, workers: int) -> Path:
    """The folder with a preset over the pictures of `tiny`."""
    folder.mkdir()
    for name in tiny.iterdir():
        if name.suffix != ".yaml":
            (folder / name.name).symlink_to(name)
    written = {**PRESET, "text": [], **SEES, "dropout": 0.1, "workers": workers, "stages": STAGES}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_losses_are_those_of_a_run_left_alone(start: Start, tiny: Path, tmp_path: Path, workers: int) -> None:
    given = preset(tiny, tmp_path / "given", workers)
    whole = train(start, given, tmp_path / "whole")
    process = train(start, given, tmp_path / "cut")
    run = wait_for_step(process, tmp_path / "cut" / "runs", KILLED)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.name for path in (run / "stages" / "finetune").glob("checkpoint-*")] == ["checkpoint-4"]
    go_on(run)
    assert whole.communicate(timeout=240)[0] and whole.returncode == 0
    ours, theirs = steps_of(run), steps_of(only(tmp_path / "whole" / "runs"))
    assert list(ours) == list(range(1, 6 * EPOCH + 1))
    assert ours == pytest.approx(theirs, rel=1e-6)  # other draws change it by 1e-4, another place in memory by 1e-7
