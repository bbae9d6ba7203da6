"""The benchmarks run, and compare what says the same. Their figures are nobody's test."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tiny_captioner import save_tiny_captioner


def test_describe_prints_its_ratios(root: Path, tmp_path: Path) -> None:
    save_tiny_captioner(tmp_path / "tiny-captioner")
    command = [sys.executable, "benchmarks/describe.py", "--variant", "tiny-captioner", "--repeats", "1", "--json"]
    environment = {**os.environ, "NARRATOR_CHECKPOINTS": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)
    assert figures["ratio_one_to_peer"] == figures["peer_one_ms"] / figures["one_ms"] > 0
    assert figures["ratio_batch_to_one"] == figures["one_ms"] / figures["batch_ms"] > 0
    assert figures["narrate_ms"] > 0 and figures["machine"]["threads"] >= 1
