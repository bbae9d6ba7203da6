"""The command line of the trainer: run a preset, resume a run, list runs."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from narrator.records import NarratorError
from trainer import jobs
from trainer.card import PLACES
from trainer.config import TrainingConfig, load_config
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
    return code


def run(options: argparse.Namespace) -> int:
    """A preset becomes a run folder, which is then trained to its end."""
    config = load_config(options.preset, options.set)
    root = resolve_data_root(options.data_root)
    out = options.out or _free(options.checkpoints / config.name)
    places = {"data_root": str(root.resolve()), "out": str(out.resolve()), "command": _command(options),
              "strict": options.strict}
    folder = jobs.create_job(config.name, dataclasses.asdict(config), options.runs)
    jobs.write_whole(folder / PLACES, json.dumps(places) + "\n")
    return _train(folder, config)


def resume(options: argparse.Namespace) -> int:
    """A run that was stopped or broke off goes on from its last checkpoint."""
    if not (options.run / jobs.CONFIG).is_file():
        raise NarratorError(f"{options.run} is not a run. Name a folder of runs/, such as `trainer list` shows.")
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


def _train(folder: Path, config: TrainingConfig) -> int:
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


def _free(folder: Path) -> Path:
    """`folder`, or the next free folder-2, folder-3 ...: a new run never replaces a variant."""
    number, free = 2, folder
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free


def _command(options: argparse.Namespace) -> str:
    changes = "".join(f" --set {change}" for change in options.set)
    return f"python -m trainer run {os.path.relpath(options.preset)}{changes}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description="Train describers of pictures.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("run", help="train from a preset")
    one.add_argument("preset", type=Path, help="a YAML file, such as trainer/presets/photo-captioner.yaml")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                     help="change a setting; of a stage by its name: stages.finetune.epochs=2")
    one.add_argument("--data-root", help="folder of the data sets (else NARRATOR_DATA, else data/)")
    one.add_argument("--strict", action="store_true", help="stop at the first bad row of the data")
    one.add_argument("--out", type=Path, help="folder of the variant (else a free one in checkpoints/)")
    one.set_defaults(command=run)
    again = commands.add_parser("resume", help="go on with a run that was stopped or broke off")
    again.add_argument("run", type=Path, help="its folder, such as runs/photo-captioner-20260101T000000Z")
    again.set_defaults(command=resume)
    listing = commands.add_parser("list", help="the runs and how they stand")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=list_runs)
    for command in (one, listing):
        command.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs")
    one.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of the variants")
    return parser


if __name__ == "__main__":
    sys.exit(main())
