"""Where the data of a training is: below the data root, or a copy of a set of the Hub."""

import os
from collections.abc import Callable
from pathlib import Path

from narrator.readers.gathering import to_stderr
from narrator.records import NarratorError
from trainer import hub_data
from trainer.config import Data


def resolve_data_root(argument: str | None) -> Path:
    """The folder that data paths are relative to: --data-root, else NARRATOR_DATA, else data/."""
    for value, origin in ((argument, "--data-root"), (os.environ.get("NARRATOR_DATA"), "NARRATOR_DATA"),
                          ("data", "the default")):
        if value:
            root = Path(value).expanduser()
            if root.is_dir():
                return root
            raise NarratorError(
                f"The data folder {root} ({origin}) is not there. The README says, under Data, where to get each set "
                "and how to lay it out; name its folder with --data-root FOLDER or the variable NARRATOR_DATA.")
    raise AssertionError("the default is never empty")


def located(source: Data, root: Path, report: Callable[[str], None] = to_stderr) -> Path:
    """Where the files of a data set are: below the data root, or, of a set of the Hub ("hub:owner/name"), the copy of
    its rows on this machine, which is made now unless it is there. Raises NarratorError where it cannot be had."""
    if not hub_data.is_named(source.path):
        return root / source.path
    return hub_data.fetch(source.path, split=source.split, limit=source.limit,
                          columns=(source.image_column, source.text_column), report=report)
