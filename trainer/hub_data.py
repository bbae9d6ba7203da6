"""Data sets of the Hugging Face Hub: `hub:owner/name`, or `hub:owner/name/subset`, through the library `datasets`.

Rows are streamed until there are as many as wanted, each picture passes the same door as an uploaded one, and a copy
stays on this machine as JSON lines with pictures beside them: a second run needs no network, and what was read can be
looked at. Only data files are read; repositories with a loading script are refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
from PIL import Image

from narrator.hub.pulling import hub_answers
from narrator.pictures import FORMATS, MAX_FILE_BYTES, open_picture
from narrator.records import NarratorError

PREFIX, ROWS = "hub:", 10_000  # rows that are taken where no limit is set
SPARE_BYTES = 2**30  # left free on the disk
TELL_S = 2.0
NAMED = 20  # rows left out
LISTED, KEPT = "captions.jsonl", "kept.json"
CAPTIONS = ("captions", "caption", "sentences", "sentence", "texts", "text", "descriptions", "description", "raw",
            "answer", "alt_text", "title")  # what a column of captions is called, the likeliest first
_NAME = re.compile(r"hub:([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/([\w.-]+))?")
Report = Callable[[str], None]


def is_named(path: str) -> bool:
    """Whether a path of a configuration means a data set of the Hub."""
    return path.startswith(PREFIX)


def fetch(path: str, *, split: str | None, limit: int | None, columns: tuple[str, str], report: Report) -> Path:
    """The JSON lines of the first `limit` (else ROWS) rows, with pictures beside them; streamed now unless they are
    here.

    split: None for the only one, or "train". columns: of pictures and of captions, "" to find them. `report` is told
    how far it is, and may raise to end it: nothing half stays. Raises NarratorError for a name that is none, a hub that
    does not answer within 3 s, a data set that is unknown, closed, made by a script, or without captions.
    """
    found = _NAME.fullmatch(path)
    if found is None or ".." in path or "--" in path:
        raise NarratorError(f"{path!a:.100} names no data set of the Hub. Write hub:owner/name, or "
                            "hub:owner/name/subset.")
    repo, wanted = found[1], limit or ROWS
    home = _home(path, split, columns)
    if _is_kept(home, wanted):
        return home / LISTED
    _check_hub(repo)
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(home.with_suffix(".lock"), timeout=0):
            return _take(repo, found[2], split, columns, (home, wanted), report)
    except filelock.Timeout:
        raise NarratorError(f"{repo} is being fetched already, by another window or program. Wait for it.") from None


def _home(path: str, split: str | None, columns: tuple[str, str]) -> Path:
    """The folder of the copy, beside the Hub's own cache."""
    from huggingface_hub import constants

    mark = hashlib.sha256(json.dumps([split, *columns]).encode()).hexdigest()[:12]
    return Path(constants.HF_HOME) / "narrator" / path.removeprefix(PREFIX).replace("/", "--") / mark


def _is_kept(home: Path, wanted: int) -> bool:
    try:
        kept = json.loads((home / KEPT).read_text(encoding="utf-8"))
        return bool(kept["whole"] or kept["rows"] >= wanted)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_hub(repo: str) -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise NarratorError(f"The data set {repo} is not on this machine, and HF_HUB_OFFLINE is set. Take that "
                            "away and start again.")
    if not hub_answers():
        raise NarratorError(f"The data set {repo} is not on this machine, and the hub {constants.ENDPOINT} does not "
                            "answer. Check the network, then try again.")


def _take(repo: str, subset: str | None, split: str | None, columns: tuple[str, str], place: tuple[Path, int],
          report: Report) -> Path:
    """Stream into a folder that appears whole. place: that folder, and how many rows are wanted."""
    import httpx2
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    home, wanted = place
    part = home.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "images").mkdir(parents=True)
        revision, stream = _stream(repo, subset, split)
        rows, whole = _write(part, _texts_and_pictures(repo, stream, columns), wanted, (repo, stream.split, report))
        (part / KEPT).write_text(json.dumps({"rows": rows, "whole": whole, "revision": revision}), encoding="utf-8")
        shutil.rmtree(home, ignore_errors=True)  # a shorter one
        part.rename(home)
    except GatedRepoError:
        raise NarratorError(f"{repo} is shown only to people who have agreed to its terms. Agree on its page, make "
                            "a key there, set it as HF_TOKEN, then try again.") from None
    except RepositoryNotFoundError:
        raise NarratorError(f"The hub knows no data set {repo}, or does not show it to you. Check the name, or set "
                            "HF_TOKEN to a key that may read it.") from None
    except (httpx2.HTTPError, DatasetsError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(f"{error}".split())[:200] or type(error).__name__
        raise NarratorError(f"The data set {repo} cannot be read ({reason}). It must hold data files that the library "
                            "datasets reads by itself, such as Parquet; check its page, or try again.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return home / LISTED


def _stream(repo: str, subset: str | None, split: str | None) -> tuple[str, Any]:
    """(commit, the stream of the split)."""
    import datasets
    from huggingface_hub import HfApi

    revision = HfApi().dataset_info(repo, timeout=10).sha
    # "hf://": a folder of that name here is not meant; a commit: no other service is asked about the data set
    splits = datasets.load_dataset(f"hf://datasets/{repo}", subset, streaming=True, revision=revision)
    names = list(splits)
    name = split or (names[0] if len(names) == 1 else "train")
    if name not in names:
        raise NarratorError(f"{repo} has no split {name!a:.60}; it has {', '.join(names)}. Name one of these as "
                            "'split'.")
    return str(revision), splits[name]


def _texts_and_pictures(repo: str, stream: Any, columns: tuple[str, str]) -> Iterator[tuple[list[str], Any]]:
    """(captions, picture as the library holds it or None) of each row."""
    import datasets

    kinds: Mapping[str, Any] = stream.features or {}
    if not kinds:  # JSON and CSV tell their columns with their first row
        first: dict[str, Any] = next(iter(stream), {})
        kinds = {name: datasets.Value("string") if isinstance(value, str) else None for name, value in first.items()}
    pictures = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
    texts = [name for name, kind in kinds.items() if _is_text(kind)]
    image = _column(columns[0], pictures, pictures, (repo, "pictures", "image_column"))
    text = _column(columns[1], texts, [name for name in CAPTIONS if name in texts][:1] or texts,
                   (repo, "captions", "text_column"))
    if text is None:
        raise NarratorError(f"{repo} has no column of texts; it has {', '.join(kinds)}. Choose another data set.")
    for row in stream.decode(False):  # pictures are opened at our own door
        yield _texts(row[text]), None if image is None else row[image] or {}


def _is_text(kind: Any) -> bool:
    """Whether a column holds a text, or a list of texts, in each row."""
    inner = getattr(kind, "feature", kind[0] if isinstance(kind, list) and kind else kind)
    return getattr(inner, "dtype", "") in ("string", "large_string")


def _column(named: str, known: Sequence[str], likely: Sequence[str], words: tuple[str, str, str]) -> str | None:
    """The column that was named, or the only likely one. words: repository, what it holds, the setting."""
    repo, what, setting = words
    if named:
        if named not in known:
            raise NarratorError(f"{repo} has no column {named!a:.60} of {what}; it has {', '.join(known) or 'none'}. "
                                f"Correct '{setting}'.")
        return named
    if len(likely) > 1:
        raise NarratorError(f"{repo} has several columns of {what}: {', '.join(likely)}. Name one as '{setting}'.")
    return likely[0] if likely else None


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [text for text in value or [] if isinstance(text, str)]


def _write(part: Path, rows: Iterator[tuple[list[str], Any]], wanted: int, told: tuple[str, Any, Report]
           ) -> tuple[int, bool]:
    """(rows kept, whether these are all that there are). told: repository, split, report."""
    repo, split, report = told
    kept = left_out = 0
    last = time.monotonic()
    with (part / LISTED).open("w", encoding="utf-8") as out:
        for number, (texts, picture) in enumerate(rows, start=1):
            if kept == wanted:
                break
            try:
                row: dict[str, Any] = {"split": str(split), "captions": texts}
                row |= {"image_id": number} if picture is None else {"image": _save(picture, part, number)}
                out.write(json.dumps(row) + "\n")
                kept += 1
            except NarratorError as error:
                left_out += 1
                if left_out <= NAMED:
                    report(f"Skipped: {repo}, row {number}: {error}")
            if time.monotonic() - last > TELL_S:
                last = time.monotonic()
                report(f"{repo}: {kept:,} of {wanted:,} rows")
                _check_disk(part)
        else:
            number = -1
    if not kept:
        why = f" ({left_out:,} have no readable picture)" if left_out else ""
        raise NarratorError(f"No row of {repo} can be used{why}. Choose another data set or split.")
    report(f"{repo}: {kept:,} rows, {left_out:,} left out.")
    return kept, number == -1


def _save(picture: dict[str, Any], part: Path, number: int) -> str:
    """The picture's bytes as they are, in a file; its path below `part`. NarratorError where it is no picture."""
    data = picture.get("bytes")
    if data is None:
        data = _beside(str(picture.get("path") or ""))
    open_picture(data)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        name = f"images/{number:06d}.{str(image.format).lower()}"
    (part / name).write_bytes(data)
    return name


def _beside(path: str) -> bytes:
    """The bytes of a picture that lies in the repository as a file of its own. Addresses elsewhere are not followed."""
    from huggingface_hub import HfFileSystem

    if not path.startswith("hf://datasets/"):
        raise NarratorError("its picture is not in the data set itself, and addresses elsewhere are not followed.")
    with HfFileSystem().open(path, "rb") as file:
        data: bytes = file.read(MAX_FILE_BYTES + 1)
    return data


def _check_disk(folder: Path) -> None:
    if shutil.disk_usage(folder).free < SPARE_BYTES:
        raise NarratorError("The disk is almost full. Free some space, or set 'limit' to fewer rows.")
