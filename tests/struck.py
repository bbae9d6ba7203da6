"""Runs that end by SIGKILL at a step, in processes of their own that begin at once: one that has imported torch is
forked for each."""

import dataclasses
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import torch

from trainer import jobs
from trainer.config import load_config, parse_config
from trainer.events import EventLog
from trainer.loop import run_job
from trainer.recipes import RECIPES


def make_run(settings: dict[str, Any], root: Path, home: Path) -> Path:
    """A run that has not begun, in home/runs; its variant is to be home/out."""
    config = parse_config(settings, "test")
    places = {"data_root": str(root), "out": str(home / "out"), "command": "python -m trainer run x.yaml"}
    return jobs.create_job(config.name, dataclasses.asdict(config), home / "runs", places)


def strike(folder: Path, step: int) -> None:
    """Run it until the step is told; it is killed there and then."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.loop", *(kind.where.partition(":")[0] for kind in RECIPES.values())])
    process = context.Process(target=_run, args=(folder, step))
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL, f"it ended by itself: {process.exitcode}"


def _run(folder: Path, step: int) -> None:
    told = EventLog.append

    def append(log: EventLog, event: str, **fields: Any) -> None:
        told(log, event, **fields)
        if event == "step" and fields["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    EventLog.append = append  # type: ignore[assignment,method-assign]
    torch.set_num_threads(1)
    places = json.loads((folder / jobs.PLACES).read_text(encoding="utf-8"))
    run_job(folder, load_config(folder / jobs.CONFIG), Path(places["data_root"]), Path(places["out"]))
