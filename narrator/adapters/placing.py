"""New folders: named, free, and there whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from narrator.catalog import MANIFEST, checkpoint_folders, load_variants
from narrator.records import NarratorError, Variant

_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_LONGEST = 80  # characters


def new_checkpoint(name: str) -> Path:
    """Where a new checkpoint of that name goes: into the first folder of NARRATOR_CHECKPOINTS, else the project's own.

    Nothing is made. Raises NarratorError for a name that is none, or is taken.
    """
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise NarratorError(f"A model cannot be named {name[:_LONGEST]!r}: use small letters and digits with single "
                            f"hyphens or dots between them, {_LONGEST} at most, such as my-narrator.")
    folder = checkpoint_folders()[:2][-1] / name
    if name in load_variants() or folder.exists():
        raise NarratorError(f"There is a model '{name}' already: choose another name, or remove that one first.")
    return folder


def slug(name: str) -> str:
    """A name as ids are written: "My LoRA (2)" -> "my-lora-2"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def hidden(out: Path) -> Path:
    """Where `out` is written before it has its name; the catalog looks at no such folder."""
    return out.with_name(f".{out.name}.part")


@contextlib.contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """An empty folder that becomes `out` when the block ends well; when it fails, nothing stays.

    Raises NarratorError where the system lets nobody write.
    """
    with becoming(out) as part:
        part.mkdir(parents=True)
        yield part


@contextlib.contextmanager
def becoming(out: Path) -> Iterator[Path]:
    """A hidden path, with nothing there yet, whose file or folder becomes `out` as with `appearing`."""
    part = hidden(out)
    try:
        discard(part)
        yield part
        part.rename(out)
    except OSError as error:
        raise NarratorError(f"{out} cannot be written ({error.strerror or error}): free some space or check the "
                            "permissions, then try again.") from error
    finally:
        discard(part)


def discard(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def manifest(variant: Variant) -> str:
    """The text of a variant.yaml."""
    return yaml.safe_dump(dataclasses.asdict(variant), sort_keys=False, allow_unicode=True)


def write_manifest(folder: Path, variant: Variant) -> None:
    """Write variant.yaml, the last file of a checkpoint."""
    (folder / MANIFEST).write_text(manifest(variant), encoding="utf-8")
