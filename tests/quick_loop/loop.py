"""A loop whose steps take milliseconds: a chain of hashes instead of weights, so that a lost or doubled step shows.

What it does stands in the configuration's `card`, as JSON: steps, step_s, every (steps between two checkpoints),
fail_at and crash_at (steps), until (a file that it waits for before its first step).
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from trainer import jobs
from trainer.config import TrainingConfig
from trainer.events import EventLog
from trainer.run import Run, Stopped, stop_on_signals

CHECKPOINT = "checkpoint.json"
time.sleep(float(os.environ.get("QUICK_LOOP_IMPORT_S", "0")))  # torch takes seconds


def run_job(folder: Path, config: TrainingConfig, root: Path, out: Path, *, strict: bool = False) -> Path:
    """Make the steps that are left; the same events as the real one."""
    plan = {"steps": 20, "step_s": 0.005, "every": 5, "fail_at": -1, "crash_at": -1, "until": "",
            **json.loads(config.card or "{}")}
    with jobs.hold_job(folder), EventLog(folder / "events.jsonl") as events:
        run = Run(folder=folder, config=config, recipe=None, dev={}, events=events, device="cpu")
        try:
            with stop_on_signals(run):
                _train(run, plan)
        except Stopped:
            events.append("stopped", checkpoint=True)
            raise
        except NarratorError as error:
            events.append("failed", message=str(error))
            raise
        jobs.write_whole(folder / jobs.MANIFEST, "id: quick\n")
        events.append("done", checkpoint=True)
    return out


def _train(run: Run, plan: dict[str, Any]) -> None:
    saved = run.folder / CHECKPOINT
    step, link = json.loads(saved.read_text()) if saved.exists() else (0, "")
    run.events.append("started", pid=os.getpid(), step=step, total_steps=plan["steps"],
                      cards=os.environ.get("CUDA_VISIBLE_DEVICES"))
    while plan["until"] and not Path(plan["until"]).exists():
        time.sleep(plan["step_s"])
        run.check()
    while step < plan["steps"]:
        run.in_step = True
        time.sleep(plan["step_s"])
        step += 1
        link = hashlib.sha256(f"{link} {step}".encode()).hexdigest()
        run.events.append("step", pid=os.getpid(), step=step, total_steps=plan["steps"], loss=link)
        print(f"step {step}", file=sys.stderr, flush=True)
        if step == plan["fail_at"]:
            raise NarratorError("The pictures are gone. Bring them back.")
        if step == plan["crash_at"]:
            raise RuntimeError("out of luck")
        if run.stop or step % plan["every"] == 0 or step == plan["steps"]:
            jobs.write_whole(saved, json.dumps([step, link]))
            run.events.append("checkpoint", checkpoint=True, step=step)
        run.in_step = False
        run.check()
