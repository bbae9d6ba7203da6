"""The end of a run: its variant is saved, scored and put among the others, once, wherever the run is cut off."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from narrator.records import Variant
from trainer import before, jobs
from trainer.card import write_card
from trainer.evaluation import plain
from trainer.run import Run

MARK = "published.json"  # in the run's folder, while its variant is there and the run does not yet say "done"


def publish(run: Run, model: Any, out: Path) -> Path:
    """The variant's folder: `out`, or the next free one beside it. It appears whole; then the run is done.

    A process that ends between the two is made up for: the mark says which folder is this run's.
    """
    made = _made(run.folder)
    if made is None:
        made = _make(run, model, out)
    run.in_step = True
    folder, manifest = made
    jobs.write_whole(run.folder / jobs.MANIFEST, manifest)  # says: done
    (run.folder / MARK).unlink(missing_ok=True)
    run.events.append("done", checkpoint=True, variant=folder.name, folder=str(folder))
    return folder


def _make(run: Run, model: Any, out: Path) -> tuple[Path, str]:
    """Save and score the variant in a hidden folder, and let it appear; (its folder, the manifest of the run)."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    variant = run.recipe.save(model, part)
    scores = before.whole_scores(run, run.recipe.saved(part, variant, run.device), "final: dev")
    out = free_folder(out)  # another run may have taken the name meanwhile
    write_card(run.folder, part, dataclasses.replace(run.config, name=out.name), plain(scores),
               run.recipe.report(part), before.known(run.folder))
    jobs.write_whole(part / jobs.MANIFEST, _manifest(dataclasses.replace(variant, id=out.name)))
    manifest = _manifest(dataclasses.replace(variant, id=out.name, source=str(out.resolve())))
    written = (part / jobs.MANIFEST).stat().st_mtime_ns
    run.in_step = True
    mark = {"folder": str(out), "written_ns": written, "manifest": manifest}
    jobs.write_whole(run.folder / MARK, json.dumps(mark) + "\n")
    part.rename(out)
    return out, manifest


def _made(folder: Path) -> tuple[Path, str] | None:
    """What `_make` gave to an earlier process of the run, if its variant has appeared: known by the time of its
    manifest, so that a variant of another run, which took the name, is not taken for it."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        out, written, manifest = Path(mark["folder"]), int(mark["written_ns"]), str(mark["manifest"])
        there = (out / jobs.MANIFEST).stat().st_mtime_ns == written
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (out, manifest) if there else None


def free_folder(folder: Path) -> Path:
    """`folder`, or the next free folder-2, folder-3 ...: a new run never replaces a variant."""
    number, free = 2, folder
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free


def _manifest(variant: Variant) -> str:
    return yaml.safe_dump(dataclasses.asdict(variant), sort_keys=False, allow_unicode=True)
