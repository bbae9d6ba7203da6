"""The command line of the trainer: run a preset, resume a run, list runs, look at a preset before it runs."""

import argparse
import ctypes
import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from narrator.records import NarratorError
from trainer import jobs
from trainer.card import PLACES
from trainer.config import TrainingConfig, check_name, load_config
from trainer.data import resolve_data_root

RUNS, CHECKPOINTS = Path("runs"), Path("checkpoints")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 2 an error that a person can mend, 3 stopped."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except NarratorError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def run(options: argparse.Namespace) -> int:
    """A preset becomes a run folder, which is then trained to its end."""
    config = load_config(options.preset, options.set)
    root = resolve_data_root(options.data_root)
    out = options.out or options.checkpoints / config.name
    check_name(out.name, "--out")
    if options.out is not None and out.exists():
        raise NarratorError(f"{out} is there already. Remove it, or name another folder with --out.")
    places = {"data_root": str(root.resolve()), "out": str(out.resolve()), "command": _command(options),
              "strict": options.strict}
    folder = jobs.create_job(config.name, dataclasses.asdict(config), options.runs)
    try:
        jobs.write_whole(folder / PLACES, json.dumps(places) + "\n")
    except OSError as error:
        raise NarratorError(f"{folder} cannot be written ({error.strerror}). Free some space and try again.") from None
    return _train(folder, config)


def resume(options: argparse.Namespace) -> int:
    """A run that was stopped or broke off goes on from its last checkpoint."""
    if jobs.job_state(options.run).state == "done":
        print(f"{options.run.name} is done already.", file=sys.stderr)
        return 0
    return _train(options.run, load_config(options.run / jobs.CONFIG))


def list_runs(options: argparse.Namespace) -> int:
    """One line a run, or JSON."""
    found = jobs.list_jobs(options.runs)
    if options.json:
        shown = ("id", "state", "step", "total_steps")
        print(json.dumps([{name: getattr(job, name) for name in shown} for job in found]))
    for job in [] if options.json else found:
        print(f"{job.id}  {job.state}  step {job.step:,} of {job.total_steps:,}")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """What a preset would train and take, before anything is downloaded or started."""
    from trainer.doctor import examine, told  # torch and transformers

    config = load_config(options.preset, options.set)
    try:
        root = resolve_data_root(options.data_root)
    except NarratorError as error:
        print(f"trainer: {error}", file=sys.stderr)  # the model can be counted without its data
        root = Path("data")
    found = examine(config, root)
    print(json.dumps([dataclasses.asdict(one) for one in found]) if options.json else told(config, found))
    return 0


def _train(folder: Path, config: TrainingConfig) -> int:
    _keep_memory()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one device a run: the Trainer would wrap the model for several
    from trainer.loop import Stopped, run_job  # torch and transformers: seconds that `list` need not spend

    if not (folder / PLACES).is_file():
        raise NarratorError(f"{folder} was cut off before it began. Remove it, and run the preset again.")
    places = json.loads((folder / PLACES).read_text(encoding="utf-8"))
    print(f"Run {folder}", file=sys.stderr, flush=True)
    try:
        out = run_job(folder, config, Path(places["data_root"]), Path(places["out"]), strict=places["strict"])
    except Stopped:
        print(f"Stopped. Go on with: python -m trainer resume {folder}", file=sys.stderr)
        return 3
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


def _command(options: argparse.Namespace) -> str:
    changes = [part for change in options.set for part in ("--set", change)]
    return shlex.join(["python", "-m", "trainer", "run", os.path.relpath(options.preset), *changes])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description="Train describers of pictures.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("run", help="train from a preset")
    one.add_argument("preset", type=Path, help="a YAML file, such as trainer/presets/photo-captioner.yaml")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                     help="change a setting; of a stage by its name: stages.finetune.epochs=2")
    one.add_argument("--data-root", help="folder of the data sets (else NARRATOR_DATA, else data/)")
    one.add_argument("--strict", action="store_true", help="stop at the first bad row of the data")
    one.add_argument("--out", type=Path,
                     help="folder of the variant, whose name becomes its id (else a free one in checkpoints/)")
    one.set_defaults(command=run)
    again = commands.add_parser("resume", help="go on with a run that was stopped or broke off")
    again.add_argument("run", type=Path, help="its folder, such as runs/photo-captioner-20260101T000000Z")
    again.set_defaults(command=resume)
    look = commands.add_parser("doctor", help="what a preset would train: parameters, memory, steps")
    look.add_argument("preset", type=Path, help="a YAML file")
    look.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, as for run")
    look.add_argument("--data-root", help="folder of the data sets (else NARRATOR_DATA, else data/)")
    look.add_argument("--json", action="store_true", help="as JSON")
    look.set_defaults(command=doctor)
    listing = commands.add_parser("list", help="the runs and how they stand")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=list_runs)
    for command in (one, listing):
        command.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs")
    one.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of the variants")
    return parser


if __name__ == "__main__":
    sys.exit(main())
