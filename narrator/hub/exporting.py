"""A variant as one folder or zip archive: what transformers and another Visual Narrator load."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from narrator.adapters.files import CONFIG, TOKENIZER, WEIGHTS, read_adapter
from narrator.adapters.merging import write_merged
from narrator.adapters.placing import appearing, becoming, manifest
from narrator.catalog import MANIFEST, find_variant
from narrator.hub.cache import KINDS, is_hub_id, resolve
from narrator.hub.cards import CARD, REPORT, card_of, merged_card
from narrator.records import NarratorError, Variant
from narrator.weights import check_checkpoint

Report = Callable[[int, int], None]  # (bytes written, bytes in all)
Content = Path | bytes  # a file as it lies, or what to write
_PIECE = 2**20


def export_variant(variant_id: str, out: Path, report: Report | None = None) -> Path:
    """Write a variant to `out`, a folder or, where the name ends in .zip, an archive of one: weights, tokenizer,
    settings, variant.yaml and card. Returns `out`.

    An adapter on a base of the Hub stays an adapter, which names its base; one on a base of this machine is merged into
    it, as nobody else has that. Raises NarratorError for a variant that is not here, damaged, or runs on a server, and
    where `out` is taken or cannot be written.
    """
    variant = find_variant(variant_id)
    out = Path(out).expanduser().absolute()
    if out.exists():
        raise NarratorError(f"{out} is there already: choose another name, or remove it first.")
    with contents(variant) as files:
        if out.suffix.lower() == ".zip":
            _archive(files, variant.id, out, report)
            return out
        with appearing(out) as part:
            for name, done in _copied(files, report):
                with (part / name).open("wb") as file:
                    done(file)
    return out


@contextlib.contextmanager
def contents(variant: Variant) -> Iterator[dict[str, Content]]:
    """The files of a variant by their names, as they are shared; merged weights are gone when the block ends."""
    if variant.family == "remote":
        raise NarratorError(f"{variant.title} runs on a server: there are no weights here to export.")
    if variant.adapter is None:
        whole = resolve(variant)
        check_checkpoint(whole)
        yield _plain(variant, Path(whole.source))
    elif is_hub_id(variant.source):
        read_adapter(Path(variant.adapter), variant.id)
        yield _adapter(variant, Path(variant.adapter))
    else:
        with tempfile.TemporaryDirectory(prefix="narrator-") as scratch:
            made = _merged(variant, Path(scratch))
            files = {path.name: path for path in Path(scratch).iterdir()}
            yield {**files, **_words(made, merged_card(variant, made))}


def _merged(variant: Variant, scratch: Path) -> Variant:
    try:
        return write_merged(variant, scratch, variant.id)
    except OSError as error:
        raise NarratorError(f"{variant.title} cannot be merged in {scratch.parent} ({error.strerror or error}): free "
                            "some space there, or set TMPDIR to a folder with more, then try again.") from error


def _plain(variant: Variant, folder: Path) -> dict[str, Content]:
    files: dict[str, Content] = {path.name: path for path in sorted(folder.iterdir())
                                 if path.is_file() and any(fnmatch(path.name, kind) for kind in (*KINDS, "*.png"))}
    shared = dataclasses.replace(variant, source=".", revision=None)
    return {**files, **_words(shared, card_of(variant, folder))}


def _adapter(variant: Variant, folder: Path) -> dict[str, Content]:
    files: dict[str, Content] = {name: folder / name for name in (CONFIG, WEIGHTS, REPORT, *TOKENIZER)
                                 if (folder / name).is_file()}
    return {**files, **_words(dataclasses.replace(variant, adapter="."), card_of(variant, folder))}


def _words(variant: Variant, card: str) -> dict[str, Content]:
    return {CARD: card.encode(), MANIFEST: manifest(variant).encode()}


def _archive(files: Mapping[str, Content], top: str, out: Path, report: Report | None) -> None:
    """A zip archive of one folder. Stored, as weights do not get smaller."""
    with becoming(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name, done in _copied(files, report):
            entry = zipfile.ZipInfo(f"{top}/{name}")
            with archive.open(entry, "w", force_zip64=True) as file:
                done(file)


def _copied(files: Mapping[str, Content],
            report: Report | None) -> Iterator[tuple[str, Callable[[IO[bytes]], None]]]:
    """(name, what writes that file into an open one), file by file; progress is told in between."""
    total = sum(content.stat().st_size if isinstance(content, Path) else len(content) for content in files.values())
    written = 0

    def write(content: Content, out: IO[bytes]) -> None:
        nonlocal written
        if isinstance(content, bytes):
            out.write(content)
            return
        with content.open("rb") as file:
            while piece := file.read(_PIECE):
                out.write(piece)
                written += len(piece)
                if report is not None:
                    report(written, total)

    for name, content in files.items():
        yield name, lambda out, content=content: write(content, out)  # type: ignore[misc]
    if report is not None:
        report(total, total)
