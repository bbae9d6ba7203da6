"""The model that a training starts from: found on disk, and named again in what the training saves."""

import os
from pathlib import Path

from narrator.catalog import MANIFEST, checkpoint_folders, read_variant
from narrator.families.causal_lm import ADAPTER
from narrator.records import NarratorError

_BUNDLED = "checkpoints/"


def find_base(base: str, root: Path) -> Path:
    """The folder that `base` names: one below the data root, `checkpoints/ID` of a variant, or a Hub id in the download
    cache. Uses no network. Raises NarratorError when there is none."""
    if (root / base / "config.json").is_file():
        return root / base
    if base.startswith(_BUNDLED):
        for parent in checkpoint_folders():
            folder = parent / base.removeprefix(_BUNDLED)
            if (folder / "config.json").is_file():
                return folder
            if (folder / ADAPTER).is_file():
                raise NarratorError(f"The base {base} is an adapter itself: start from "
                                    f"{read_variant(folder / MANIFEST).source}.")
        raise NarratorError(f"There is no variant {base}. Train it first, or name another 'base'.")
    cached = _cached(base)
    if cached is None:
        raise NarratorError(f"The base {base} is neither a folder below {root} nor in the download cache. Get it with "
                            f"`hf download {base}`, or name another 'base'.")
    return cached


def base_source(base: str, found: Path, folder: Path) -> str:
    """Where a variant in `folder` finds its base again: beside it, in the Hub, or where it lies. found: what
    `find_base` gave for `base`."""
    if found.resolve().parent == folder.resolve().parent:
        return os.path.join("..", found.name)
    return base if found.parent.name == "snapshots" else str(found.resolve())


def _cached(base: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(base, "config.json")
    except HFValidationError:  # a path, not a Hub id
        return None
    return Path(found).parent if isinstance(found, str) else None
