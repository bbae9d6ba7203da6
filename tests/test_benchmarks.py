"""The benchmarks run, and compare what says the same. Their figures are nobody's test."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prompted import PRESET as PROMPTED
from training import PRESET


def test_describe_prints_its_ratios(root: Path, tiny_checkpoints: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    """The script as it is, in this process, where torch is imported already."""
    script = str(root / "benchmarks" / "describe.py")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tiny_checkpoints))
    monkeypatch.setattr(sys, "argv", [script, "--variant", "tiny-captioner", "--repeats", "1", "--json"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["ratio_one_to_peer"] == figures["peer_one_ms"] / figures["one_ms"] > 0
    assert figures["ratio_batch_to_one"] == figures["one_ms"] / figures["batch_ms"] > 0
    assert figures["narrate_ms"] > 0 and figures["machine"]["threads"] >= 1


@pytest.mark.browser
def test_watching_is_measured_on_a_real_run(root: Path) -> None:
    """A training, a page and a browser, as the script starts them; each figure is there and of its kind."""
    apart = len(getattr(os, "sched_getaffinity", lambda pid: ())(0)) > 1
    command = [sys.executable, "benchmarks/watching.py", "--repeats", "1", "--seconds", "2", "--json",
               *(["--apart"] if apart else [])]
    done = subprocess.run(command, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
                          timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    steps = figures["step_ms"]
    assert figures["apart"] == apart
    assert figures["added_percent"]["median"] == pytest.approx(100 * (steps["open"] / steps["closed"] - 1))
    for name in ("server_percent", "browser_percent"):
        assert figures[name]["open"] > 0 and min(figures[name].values()) >= 0, name
    shown = figures["shown_s"]
    assert shown["events"] >= 1 and 0 < shown["median"] <= shown["p95"] <= shown["most"]
    assert 0 < figures["stop_s"]["median"] == figures["stop_s"]["most"]


def test_training_is_compared_with_a_plain_script(root: Path, tiny: Path, tmp_path: Path) -> None:
    """A frozen stage and prompts; the two learn the same from the same texts."""
    stages = [{"name": "frozen", "epochs": 2, "batch_size": 6, "evaluations": 2}]
    (tmp_path / "see.yaml").write_text(yaml.safe_dump({**PRESET, "stages": stages}), encoding="utf-8")
    prompted = {**PROMPTED, "data": [{"path": "captions.jsonl", "split": "train"}],
                "dev": [{"path": "captions.jsonl", "split": "dev"}]}
    (tmp_path / "say.yaml").write_text(yaml.safe_dump(prompted), encoding="utf-8")
    command = [sys.executable, "benchmarks/training.py", str(tmp_path / "see.yaml"), str(tmp_path / "say.yaml"),
               "--data-root", str(tiny), "--steps", "2", "--repeats", "1", "--json"]
    done = subprocess.run(command, cwd=root, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
                          timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)
    assert [(one["preset"], one["stage"]) for one in figures] == [("tiny", "frozen"), ("tiny-prompt", "learn")]
    for one in figures:
        assert one["ratio"] == one["ours"]["texts_per_s"] / one["peer"]["texts_per_s"] > 0, one
        assert abs(one["losses"]["ours"] - one["losses"]["peer"]) <= 0.02 * one["losses"]["peer"]
        assert min(one["ours"]["peak_bytes"], one["peer"]["peak_bytes"]) > 50e6
    assert figures[1]["ratio_longest"] == figures[1]["ours"]["texts_per_s"] / figures[1]["longest"]["texts_per_s"]
