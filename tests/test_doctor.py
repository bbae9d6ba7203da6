"""`trainer doctor`: what each preset would train, counted on models without weights; what it finds, and its dry run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from training import PRESET, STEPS

from trainer.__main__ import main

PRESETS = Path(__file__).resolve().parent.parent / "trainer" / "presets"
# total: by the published architectures; learning: of the last stage; None where it begins from what a run makes.
KNOWN: dict[str, tuple[int | None, int | None]] = {
    "dialogpt-small": (124_439_808, 124_439_808), "gpt2": (124_439_808, 124_439_808),
    "gpt2-medium": (354_823_168, 354_823_168), "opt-2.7b-lora": (2_651_596_800, 7_864_320),
    "vit-gpt2-coco": (None, None), "clip-phi2": (None, None), "qwen2.5-3b-lora": (None, None),
    "llama-3.2-3b-lora": (None, None)}


def examined(preset: Path | str, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    path = preset if isinstance(preset, Path) else PRESETS / f"{preset}.yaml"
    assert main(["doctor", str(path), "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("preset", sorted(KNOWN))
def test_a_full_size_preset_is_built_without_its_weights(preset: str, capsys: pytest.CaptureFixture[str],
                                                         monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path))  # no data either
    report = examined(preset, capsys)
    last = report["stages"][-1]
    total, learning = KNOWN[preset]
    if total is not None and learning is not None:
        assert last["trainable"] == learning
        assert last["total"] == total + (learning if learning < total else 0)  # adapters come on top
    assert last["steps"] is None and report["seconds"] is None
    assert last["memory_gib"] > last["trainable"] * 16 / 2**30
    assert report["memory_bytes"] == max(int(one["memory_gib"] * 2**30) for one in report["stages"])
    assert report["disk_bytes"] > 4 * last["trainable"]
    levels = [finding["level"] for finding in report["findings"]]
    assert levels == sorted(levels, key=["error", "warning", "ok"].index) and levels[0] == "error"
    assert any("There is no data at" in finding["what"] for finding in report["findings"])
    assert any("No dry run was made" in finding["what"] for finding in report["findings"])


def test_what_learns_differs_by_stage_and_quantised_weights_take_less(capsys: pytest.CaptureFixture[str],
                                                                      monkeypatch: pytest.MonkeyPatch,
                                                                      tmp_path: Path) -> None:
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path))
    align, instruct = examined("clip-phi2", capsys)["stages"]
    # by hand: 768 x 2560 + 2560 of the matrix; norm and two matrices of the block; the separator
    assert align["trainable"] == 768 * 2560 + 2560 + 2 * 2560 + 2 * (2560 * 2560 + 2560) + 2560
    # LoRA r 64 on q, k, v (2560 -> 2560), fc1 (2560 -> 10240), fc2 (10240 -> 2560) of 32 layers: the original's 83.9 M
    adapters = 32 * 64 * (3 * (2560 + 2560) + 2 * (2560 + 10240))
    assert adapters == 83_886_080 and instruct["trainable"] == align["trainable"] + adapters
    whole = examined("clip-phi2", capsys, "--set", "quantize=none")["stages"][0]
    assert whole["memory_gib"] > align["memory_gib"] + 8


def test_every_preset_can_be_examined(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                      tmp_path: Path) -> None:
    """Or says in a sentence what it begins from that is not here yet."""
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path))
    presets = sorted(PRESETS.glob("*.yaml"))
    assert len(presets) >= 14
    for preset in presets:
        assert main(["doctor", str(preset)]) == 0
        said = capsys.readouterr().out
        assert "parameters learn" in said or "Train it first" in said, (preset, said)
        assert said.splitlines()[-1].endswith(".") and "error" in said


@pytest.mark.parametrize(("preset", "steps"), [
    ("vit-gpt2-coco", {"finetune": 10 * 2}),  # 12 pictures in batches of 8, ten times
    ("clip-phi2", {"align": 4, "instruct": 4}),  # one would do, and each is measured four times
    ("opt-2.7b-lora", {"learn": 6 * 2})])  # about 20 answers in batches of 8, three times; measured six times
def test_steps_of_full_size_presets_where_their_data_are(tiny: Path, tmp_path: Path, preset: str, steps: dict[str, int],
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """On a dozen pictures laid out as the preset names them."""
    rows = [json.loads(line) for line in (tiny / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    images: list[dict[str, Any]] = [{"id": number, "file_name": f"{number}.png"} for number in range(len(rows))]
    notes = [{"id": 9 * number + place, "image_id": number, "caption": text} for number, row in enumerate(rows)
             for place, text in enumerate(row["captions"])]
    talk = [{"id": one["id"], "image": one["file_name"], "conversations": [
        {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A square."}]} for one in images]
    for name, written in {"coco/annotations/captions_{}.json": {"images": images, "annotations": notes},
                          "llava/{}.json": talk}.items():
        for split in ("train2014", "val2014", "train2017", "val2017", "llava_instruct_150k", "dev"):
            path = tmp_path / name.format(split)
            for folder in (path.parent, path.parent / "train2017", path.parents[1] / "coco" / split):
                folder.mkdir(parents=True, exist_ok=True)
                for one, row in zip(images, rows, strict=True):
                    (folder / one["file_name"]).write_bytes((tiny / row["image"]).read_bytes())
            path.write_text(json.dumps(written), encoding="utf-8")
    (tmp_path / "coco_captions").symlink_to(tiny)
    report = examined(preset, capsys, "--quick", "--data-root", str(tmp_path))
    assert {one["stage"]: one["steps"] for one in report["stages"]} == steps, report["findings"]


def test_quick_on_sound_data(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = examined(tiny / "tiny.yaml", capsys, "--quick", "--data-root", str(tiny))
    assert {one["stage"]: one["steps"] for one in report["stages"]} == STEPS
    assert [one["level"] for one in report["findings"]] == ["warning", "ok", "ok"], report["findings"]
    assert "learned word for word" in report["findings"][0]["what"]  # captions of colours alone
    assert [Path(sample["image"]).is_file() for sample in report["samples"]] == [True] * 8
    assert report["samples"][0]["texts"] == ["A red square.", "a square that is red"]
    assert report["seconds"] is None and report["memory_bytes"] > 0 and report["disk_bytes"] > 0
    assert main(["doctor", str(tiny / "tiny.yaml"), "--quick", "--pictures", "5", "--data-root", str(tiny)]) == 0
    said = capsys.readouterr().out
    assert "5 of 12 pictures were opened" in said and "0 errors, 1 warning." in said


def test_the_dry_run_measures_each_stage_and_leaves_nothing(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run's folder, which it does not touch."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(PRESET), encoding="utf-8")
    (run / "places.json").write_text(json.dumps({"data_root": str(tiny)}), encoding="utf-8")
    report = examined(run, capsys)
    assert not [one for one in report["findings"] if one["level"] == "error"], report["findings"]
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "places.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert all(one["seconds"] > 0 for one in report["stages"])
    assert report["seconds"] > sum(one["seconds"] for one in report["stages"])
    assert 100 * 2**20 < report["memory_bytes"] < 8 * 2**30  # of the process, with torch in it
    assert any("of memory; " in one["what"] and one["level"] == "ok" for one in report["findings"])


def test_a_dry_run_that_breaks_off_is_told(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = examined(tiny / "tiny.yaml", capsys, "--data-root", str(tiny), "--set", "stages.words.objective=answer")
    (error,) = [one for one in wrong["findings"] if one["level"] == "error"]
    assert error["what"] == "Stage 'words': the recipe encoder_decoder has no objective answer."
    assert error["remedy"].startswith("It has language") and wrong["seconds"] is None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_check_that_is_ended_leaves_nothing(root: Path, tiny: Path, tmp_path: Path, how: signal.Signals) -> None:
    """Whoever asked goes away in the middle of the dry run: its process and its folder go too."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    doctor = subprocess.Popen([sys.executable, "-m", "trainer", "doctor", str(tiny / "tiny.yaml"), "--data-root",
                               str(tiny)], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not (folders := list(tmp_path.glob("narrator-dry-run-*"))) and doctor.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert folders, doctor.communicate()
        children = psutil.Process(doctor.pid).children(recursive=True)
        doctor.send_signal(how)
        code = doctor.wait(timeout=30)
    finally:
        doctor.kill()
        doctor.communicate()
    assert code == (130 if how == signal.SIGTERM else -signal.SIGKILL)
    assert children and not psutil.wait_procs(children, timeout=20)[1]
    assert list(tmp_path.iterdir()) == []
