"""What several commands share: where runs are, the flags of a preset, and training in this process."""

import argparse
import ctypes
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from narrator.catalog import checkpoint_folders
from narrator.records import NarratorError
from trainer import together
from trainer.claims import STOPPED
from trainer.config import TrainingConfig, check_name, load_config
from trainer.data import resolve_data_root
from trainer.jobs import CONFIG, PLACES, Job


def add_runs(parser: argparse.ArgumentParser) -> None:
    """--runs: the folder whose runs are meant, those of the page where nothing is said."""
    named = os.environ.get("NARRATOR_RUNS")
    parser.add_argument("--runs", type=Path, default=Path(named).expanduser() if named else Path("runs"),
                        help="folder of the runs (else NARRATOR_RUNS, else runs/)")


def add_run(parser: argparse.ArgumentParser) -> None:
    """RUN: one of them, by its folder or its name."""
    parser.add_argument("run", help="its folder or its name, such as photo-captioner-20260101T000000Z")
    add_runs(parser)


def folder_of(options: argparse.Namespace) -> Path:
    """The folder that RUN names. Raises NarratorError when there is no such run."""
    found = next((folder for folder in (Path(options.run), options.runs / options.run)
                  if (folder / CONFIG).is_file()), None)
    if found is None:
        raise NarratorError(f"There is no run {options.run}. `python -m trainer list` names the runs.")
    return found


def add_preset(parser: argparse.ArgumentParser) -> None:
    """A preset and what can be changed of it."""
    parser.add_argument("preset", type=Path, help="a YAML file, such as trainer/presets/photo-captioner.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="change a setting; of a stage by its name: stages.finetune.epochs=2")
    parser.add_argument("--data-root", help="folder of the data sets (else NARRATOR_DATA, else data/)")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad row of the data")
    parser.add_argument("--out", type=Path,
                        help="folder of the variant, whose name becomes its id (else a free one of --checkpoints)")
    added = checkpoint_folders()[1:]
    parser.add_argument("--checkpoints", type=Path, default=added[0] if added else Path("checkpoints"),
                        help="folder of the variants (else the first of NARRATOR_CHECKPOINTS, else checkpoints/)")
    add_runs(parser)


def asked(options: argparse.Namespace) -> tuple[TrainingConfig, dict[str, Any]]:
    """The configuration and the places (see `queue.submit`) that the flags of `add_preset` ask for."""
    config = load_config(options.preset, options.set)
    root = resolve_data_root(options.data_root)
    out = options.out or options.checkpoints / config.name
    check_name(out.name, "--out")
    if options.out is not None and out.exists():
        raise NarratorError(f"{out} is there already. Remove it, or name another folder with --out.")
    changes = [part for change in options.set for part in ("--set", change)]
    command = shlex.join(["python", "-m", "trainer", "run", os.path.relpath(options.preset), *changes])
    return config, {"data_root": str(root.resolve()), "out": str(out.resolve()), "command": command,
                    "strict": options.strict}


def shown(job: Job) -> str:
    """How a job stands, in a line."""
    place = f" (number {job.position} in the queue)" if job.position is not None else ""
    why = f": {job.message}" if job.message else ""
    return f"{job.id}  {job.state}{place}  step {job.step:,} of {job.total_steps:,}{why}"


def train(folder: Path) -> int:
    """Train the job, which this process has taken (`claims.taken`), to its end; the exit code."""
    _keep_memory()
    if together.count() == 1:  # one device a process: the Trainer would wrap the model for several
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    if not (folder / PLACES).is_file():
        raise NarratorError(f"{folder} was cut off before it began. Remove it, and run the preset again.")
    places = json.loads((folder / PLACES).read_text(encoding="utf-8"))
    config = load_config(folder / CONFIG)
    if together.is_first():
        print(f"Run {folder}", file=sys.stderr, flush=True)
        together.warn_of_one()
    from trainer.loop import Stopped, run_job  # torch and transformers: seconds that `list` need not spend

    try:
        out = run_job(folder, config, Path(places["data_root"]), Path(places["out"]), strict=places["strict"])
    except Stopped:
        if together.is_first():
            print(STOPPED.format(folder=folder), file=sys.stderr)
        return 3
    if together.is_first():
        print(f"Done: {out}", file=sys.stderr)
    return 0


def _keep_memory() -> None:
    """Let glibc keep what tensors leave behind, instead of giving it back to the system and asking for it anew each
    step: 45 pictures a second through the encoder's training step instead of 33. Without mallopt nothing is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)
