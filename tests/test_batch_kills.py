"""A batch that is killed with SIGKILL at random moments and gone on with has every row, each once; so has one that is
asked to stop by Ctrl-C."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batching import environment, save_pictures
from plumbing import write_checkpoint

KILLS, PICTURES = 8, 120
# What `narrator batch` does, without the seconds that the import of torch takes.
CHILD = """
import sys
from pathlib import Path
from narrator.batch import BatchPlan, running, run
from narrator.engine import Engine

running.FLUSH_S = 0.05
home = Path(sys.argv[1])
plan = BatchPlan(variant="teller", sources=(str(home / "trip"),), out=home / sys.argv[2], format=sys.argv[3],
                 resume=True, batch_size=4)
run(plan, lambda progress: print(progress.status, flush=True), engine=Engine(home / "checkpoints", device="cpu"))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that take 10 ms each, two of them the same, one no picture."""
    home = tmp_path_factory.mktemp("kills")
    save_pictures(home / "trip", range(1, PICTURES))
    (home / "trip" / "twin.png").write_bytes((home / "trip" / "picture-050.png").read_bytes())
    (home / "trip" / "bad.png").write_bytes(b"no picture")
    write_checkpoint(home / "checkpoints", "teller", family="teller", step_s=0.01)
    return home


def begin(home: Path, out: str, kind: str) -> subprocess.Popen:
    given = {**os.environ, **environment()}
    given["PYTHONPATH"] += os.pathsep + str(Path(__file__).resolve().parents[1])
    return subprocess.Popen([sys.executable, "-c", CHILD, str(home), out, kind], env=given, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def told(path: Path) -> list[dict]:
    """The rows, without what the clock says."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def wait_for(process: subprocess.Popen, status: str) -> None:
    """Until the child says so."""
    assert process.stdout is not None
    while status not in (line := process.stdout.readline()):
        assert line, process.communicate()[1][-2000:]


def test_killed_at_random(home: Path) -> None:
    """While it looks for pictures, describes, files rows; the last time while it writes."""
    dice = random.Random(5)
    out = home / "o.jsonl"
    for _ in range(KILLS):
        process = begin(home, out.name, "jsonl")
        wait_for(process, dice.choice(["Looking", "Describing", "Describing"]))
        time.sleep(dice.uniform(0, 0.12))
        process.kill()
        process.communicate()
        assert not out.exists(), "it was done before it had been struck often"
    process = begin(home, out.name, "jsonl")
    wait_for(process, "Writing")
    process.kill()
    process.communicate()
    process = begin(home, out.name, "jsonl")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    process = begin(home, "calm.jsonl", "jsonl")
    assert process.wait(120) == 0, process.communicate()[1]
    rows = told(out)
    assert rows == told(home / "calm.jsonl") and len(rows) == PICTURES + 1
    assert len({row["image"] for row in rows}) == len(rows)
    assert [row["image"] for row in rows if row["error"]] == ["bad.png"]
    assert [row["duplicate_of"] for row in rows if row["duplicate_of"]] == ["picture-050.png"]
    assert not list(home.glob("*.part"))


def test_ctrl_c(home: Path) -> None:
    """The real command: it says how to go on, and going on makes the same rows."""
    given = {**os.environ, **environment(), "NARRATOR_CHECKPOINTS": str(home / "checkpoints"), "OMP_NUM_THREADS": "1"}
    given["PYTHONPATH"] += os.pathsep + str(Path(__file__).resolve().parents[1])
    words = [sys.executable, "-m", "narrator", "batch", "trip", "--variant", "teller", "--out", "c.jsonl",
             "--batch-size", "2"]
    process = subprocess.Popen(words, cwd=home, env=given, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "Describing" not in (line := process.stderr.readline()):
        assert line, process.communicate()
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and said == "" and "with --resume goes on" in errors, errors
    assert not (home / "c.jsonl").exists()
    done = subprocess.run([*words, "--resume"], cwd=home, env=given, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and done.stdout.startswith(f"c.jsonl: {PICTURES + 1} rows, 1 failed"), done
    names = [row["image"] for row in told(home / "c.jsonl")]
    assert len(names) == len(set(names)) == PICTURES + 1
