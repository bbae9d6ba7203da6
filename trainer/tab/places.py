"""Where the tab keeps things, whether training is on, and what of it does not last."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
from pathlib import Path

from narrator.catalog import checkpoint_folders
from narrator.records import NarratorError
from narrator.ui.data_sets import data_root
from narrator.ui.limits import alone

PROJECT = Path(__file__).resolve().parents[2]
LASTING = Path("/data")  # where a Space mounts storage that outlives a restart
UPLOADS = "uploads"
OFF = ("Training is turned off on this page. Whoever runs it can turn it on with NARRATOR_TRAINING=on, and "
       "`python -m trainer` trains from a terminal.")
SHARED = "Everyone who can open this page sees its runs, their pictures and their texts."
FLEETING = ("This Space has no storage that lasts: when it restarts or falls asleep, uploads, runs and the models made "
            "here are gone. Download what you want to keep, or give the Space storage and set NARRATOR_RUNS=/data/runs "
            "and NARRATOR_CHECKPOINTS=/data/checkpoints.")


def training_is_on() -> bool:
    """NARRATOR_TRAINING=on or off, else only where the page is served to this machine alone."""
    said = os.environ.get("NARRATOR_TRAINING", "").strip().lower()
    return said in ("1", "true", "yes", "on") if said else alone()


def notice() -> str:
    """What a person should know before a training is begun here: a sentence or more, "" on one's own machine."""
    parts = [] if alone() else [SHARED]
    if os.environ.get("SPACE_ID") and not (os.path.ismount(LASTING) and runs_folder().is_relative_to(LASTING)):
        parts.append(FLEETING)
    return " ".join(parts)


def runs_folder() -> Path:
    """Where runs live: NARRATOR_RUNS, else runs/ of this project."""
    named = os.environ.get("NARRATOR_RUNS")
    return Path(named).expanduser().resolve() if named else PROJECT / "runs"


def upload_place() -> tuple[Path, Path]:
    """(data root of runs that learn from uploads, folder for uploads below it): the data root of presets, so that they
    find what else they name; where nobody may write there, a folder beside the runs."""
    for root in (data_root(), runs_folder() / "data"):
        with contextlib.suppress(OSError):
            (root / UPLOADS).mkdir(parents=True, exist_ok=True)
            if os.access(root / UPLOADS, os.W_OK):
                return root, root / UPLOADS
    raise NarratorError(f"Uploads can be kept neither in {data_root()} nor in {runs_folder()}. Set NARRATOR_RUNS to a "
                        "folder that may be written.")


def new_upload() -> tuple[Path, Path]:
    """(data root, a fresh folder below it) for one upload. Raises NarratorError where nothing can be written."""
    root, uploads = upload_place()
    folder = uploads / f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise NarratorError(f"{uploads} cannot be written ({error.strerror}). Check the space on the disk.") from None
    return root, folder


def variants_folder() -> Path:
    """Where a finished run leaves its variant: the last folder that the catalog reads, so the first that is named."""
    own, *named = checkpoint_folders()
    return (named[0] if named else own).resolve()
