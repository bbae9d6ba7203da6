"""An adapter's files as somebody else made them: known names alone are taken, sizes are bounded, pickles stay shut."""

from __future__ import annotations

import json
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from narrator.records import NarratorError

CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "README.md"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
             "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "chat_template.jinja")
TAKEN = (CONFIG, WEIGHTS, CARD, *TOKENIZER)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
MOST_BYTES = 8 * 2**30  # of the weights; an adapter is megabytes
MOST_SMALL_BYTES = 64 * 2**20  # of any other file
_MOST_ENTRIES = 10_000
_MOST_TIMES = 200  # how many times as large as its archive a file may be: weights hardly shrink
_PIECE = 2**20


def read_adapter(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """(settings, shapes of the tensors by name) of a PEFT folder. Raises NarratorError for anything else.

    Of the settings, those that would import a module by its name are left out.
    """
    if not folder.is_dir():
        raise NarratorError(f"{folder} is not a folder: give the folder that holds {CONFIG} and {WEIGHTS}.")
    if not (folder / WEIGHTS).is_file() and any(path.suffix in PICKLES for path in folder.iterdir()):
        raise NarratorError(f"The adapter {name} holds its weights as a pickle, which can carry a program, so it is "
                            f"not opened: save it as {WEIGHTS} (PEFT does so by itself), then try again.")
    for wanted in (CONFIG, WEIGHTS):
        if not (folder / wanted).is_file():
            raise NarratorError(f"The adapter {name} has no {wanted}: an adapter of PEFT holds {CONFIG} and {WEIGHTS}; "
                                "give both.")
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise NarratorError(f"The adapter {name} is damaged: its {CONFIG} cannot be read; get it again.")
    if settings.get("peft_type") != "LORA":
        raise NarratorError(f"The adapter {name} is of the kind {str(settings.get('peft_type'))[:40]!r}: only LoRA "
                            "adapters are taken.")
    unsafe = ("auto_mapping", "megatron_config", "megatron_core")
    return {key: value for key, value in settings.items() if key not in unsafe}, _shapes(folder / WEIGHTS, name)


def _shapes(path: Path, name: str) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        with path.open("rb") as raw:
            pickled = raw.read(2) in (b"PK", b"\x80\x02")
        what = "is a pickle under another name" if pickled else "is damaged"
        raise NarratorError(f"The adapter {name} cannot be used: its {WEIGHTS} {what}; get it again.") from error


def gather(given: Sequence[Path], into: Path) -> None:
    """Copy the files of an adapter, or those of the one zip archive that is given, into a folder: known names only.

    Raises NarratorError for an archive that is damaged, locked, or of more than is allowed.
    """
    into.mkdir(parents=True, exist_ok=True)
    archives = [path for path in given if path.suffix.lower() == ".zip"]
    if archives and len(given) > 1:
        raise NarratorError(f"Give either one zip archive or the files themselves: {CONFIG} and {WEIGHTS}.")
    if archives:
        _unpack(archives[0], into)
        return
    for path in given:
        if (into / path.name).exists():
            raise NarratorError(f"{path.name} is given twice: give the files of one adapter.")
        if path.name in TAKEN or path.suffix in PICKLES:  # a pickle is named when it is refused; it is never opened
            with path.open("rb") as file:
                _copy(file, into / path.name)


def _unpack(archive: Path, into: Path) -> None:
    try:
        size = archive.stat().st_size
        with zipfile.ZipFile(archive) as opened:
            for entry in _wanted(opened):
                with opened.open(entry) as file:
                    _copy(file, into / PurePosixPath(entry.filename).name, most=size * _MOST_TIMES)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError, ValueError) as error:
        raise NarratorError("The zip archive is damaged or packed in a way that is not read here: pack it again."
                            ) from error


def _wanted(opened: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """The entries of the shallowest folder that has adapter_config.json: known names, plain files, each once."""
    entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    if len(entries) > _MOST_ENTRIES:
        raise NarratorError(f"The zip archive holds {len(entries):,} files: pack the adapter alone.")
    paths = {entry: PurePosixPath(entry.filename) for entry in entries}
    homes = sorted((path.parent for path in paths.values() if path.name == CONFIG), key=lambda one: len(one.parts))
    if not homes:
        raise NarratorError(f"The zip archive has no {CONFIG}: pack the folder that holds {CONFIG} and {WEIGHTS}.")
    seen: set[str] = set()
    for entry, path in paths.items():
        if path.parent != homes[0] or (path.name not in TAKEN and path.suffix not in PICKLES):
            continue
        if entry.flag_bits & 1:
            raise NarratorError("The zip archive is locked with a password: pack it without one.")
        if stat.S_ISLNK(entry.external_attr >> 16) or path.name in seen:
            raise NarratorError(f"The zip archive holds {path.name} as a link, or twice: pack it again.")
        seen.add(path.name)
        yield entry


def _copy(file: IO[bytes], out: Path, most: int = MOST_BYTES) -> None:
    """Copy in pieces. What a header says of sizes is not believed: the bytes are counted."""
    most, count = min(most, MOST_BYTES if out.name == WEIGHTS else MOST_SMALL_BYTES), 0
    with out.open("xb") as copy:
        if out.suffix in PICKLES:
            return  # its name says enough
        while piece := file.read(_PIECE):
            count += len(piece)
            if count > most:
                raise NarratorError(f"{out.name} has more than {most:,} bytes unpacked: this is no adapter.")
            copy.write(piece)


def place(folder: Path, settings: dict[str, Any], out: Path) -> None:
    """Copy the known files of an adapter, with these settings."""
    for name in (WEIGHTS, CARD, *TOKENIZER):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    (out / CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
