"""What is on this machine: snapshots of the Hub in the shared cache, and checkpoint folders. Uses no network."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from narrator.catalog import MANIFEST, bundled_ids, find_variant, load_variants, manifest_folder
from narrator.records import NarratorError, Variant
from narrator.weights import check_checkpoint

# What is taken of a repository: its top folder's settings, tokenizer and safetensors. Never pickles, never code.
KINDS = ["*.json", "*.txt", "*.model", "chat_template.jinja", "model.safetensors", "model-*-of-*.safetensors",
         "codebook.safetensors"]
DEEPER = ["*/*"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(source: str) -> bool:
    """Whether a variant's source is `owner/name`, and not a folder or an address."""
    return _HUB_ID.fullmatch(source) is not None and ".." not in source and "--" not in source


def local_folder(variant: Variant) -> Path | None:
    """The folder of a variant's files where they are here and whole (headers and sizes are looked at), else None."""
    folder = _snapshot(variant) if is_hub_id(variant.source) else Path(variant.source)
    if folder is None or not folder.is_absolute():
        return None
    try:
        check_checkpoint(dataclasses.replace(variant, source=str(folder)))
    except NarratorError:
        return None
    return folder


def resolve(variant: Variant) -> Variant:
    """The variant with its snapshot's folder as its source. Folders and servers stay as they are.

    Raises NarratorError that says how to get a model of the Hub that is not here.
    """
    if Path(variant.source).is_absolute() or variant.family == "remote":
        return variant
    if not is_hub_id(variant.source):
        raise NarratorError(f"{variant.title}: its source {variant.source!r} is neither a folder nor a model of the "
                            "Hub (owner/name); correct it in the catalog.")
    folder = local_folder(variant)
    if folder is None:
        raise NarratorError(f"{variant.title} is not on this machine: download {variant.source} with "
                            f"`python -m narrator pull {variant.id}`, or on the page in the tab Models.")
    return dataclasses.replace(variant, source=str(folder))


def disk_bytes(variant: Variant) -> int:
    """How much of the disk a variant's own files take, of an adapter without its base; 0 where none of them are
    here."""
    if variant.adapter is not None:
        folder = Path(variant.adapter)
    elif is_hub_id(variant.source):
        folder = storage(variant.source) / "blobs"
    elif Path(variant.source).is_absolute():
        folder = Path(variant.source)
    else:
        return 0
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())


def storage(repo: str) -> Path:
    """The cache's folder of a repository (https://huggingface.co/docs/huggingface_hub/guides/manage-cache)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).resolve() / constants.REPO_ID_SEPARATOR.join(["models", *repo.split("/")])


def lock_path(repo: str) -> Path:
    """The file that whoever downloads or removes a repository holds a lock on."""
    return storage(repo).parent / ".locks" / storage(repo).name / "narrator.lock"


def removable(variant: Variant, checkpoints: Path | None = None) -> Path:
    """The folder that `remove` would delete, of a model of the Hub the download before one's own entry of it. Raises
    NarratorError where there is none, or where it has to stay."""
    if variant.id in bundled_ids():
        raise NarratorError(f"{variant.title} comes with this project and is not removed.")
    found = manifest_folder(variant.id, checkpoints)
    if is_hub_id(variant.source) and variant.adapter is None:
        folder = storage(variant.source) if storage(variant.source).is_dir() else found
        if folder is None:
            raise NarratorError(f"{variant.title} is not on this machine: there is nothing to remove.")
        return folder
    if found is None:
        raise NarratorError(f"{variant.title} has no folder of its own here: there is nothing to remove.")
    for other in load_variants(checkpoints).values():
        places = [Path(place) for place in (other.source, other.adapter) if place is not None]
        if other.id != variant.id and any(place.is_relative_to(found.resolve()) for place in places):
            raise NarratorError(f"{other.title} is built on {variant.title}: remove that one first.")
    return found


def remove(variant_id: str, checkpoints: Path | None = None) -> int:
    """Delete a variant's files: the snapshots of a Hub model, and one's own entry of it, or a checkpoint's folder.
    Returns the bytes freed.

    Unload it first. Raises NarratorError for a bundled variant, for one that another is built on, for one that is not
    here, and where the system lets nobody delete.
    """
    variant = find_variant(variant_id, checkpoints)
    folder = removable(variant, checkpoints)
    entry = manifest_folder(variant_id, checkpoints)
    freed = disk_bytes(variant)
    cached = is_hub_id(variant.source) and variant.adapter is None
    lock = lock_path(variant.source) if cached else None
    try:
        with contextlib.nullcontext() if lock is None else _held(lock, variant):
            for gone in dict.fromkeys(filter(None, (folder, entry))):
                _delete(gone)
    except OSError as error:
        raise NarratorError(f"{folder} cannot be deleted ({error.strerror}): check its permissions, then try "
                            "again.") from error
    return freed


def _delete(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        (folder / MANIFEST).unlink(missing_ok=True)  # first: a folder that is half gone is no variant
        shutil.rmtree(folder)


@contextlib.contextmanager
def _held(lock: Path, variant: Variant) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise NarratorError(f"{variant.title} is being downloaded: cancel that first.") from None


def _snapshot(variant: Variant) -> Path | None:
    """The cache's folder of a Hub model, as far as the cache's own listing tells a whole one; else None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(variant.source, revision=variant.revision, local_files_only=True,
                                      allow_patterns=KINDS, ignore_patterns=DEEPER))
    except (LocalEntryNotFoundError, OSError, ValueError):  # not here, not whole, or a cache that cannot be read
        return None
