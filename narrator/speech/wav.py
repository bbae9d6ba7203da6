"""A WAV file that appears whole or not at all."""

import contextlib
import os
import struct
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from narrator.records import NarratorError

RATE_HZ = 22_050
BYTES_PER_S = 2 * RATE_HZ  # mono, 16 bits
_HEADER_BYTES = 44


@contextlib.contextmanager
def whole_wav(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A function that appends sound (mono int16, little-endian, RATE_HZ); the file is at `path` once all went well.

    Raises NarratorError when the file cannot be written; then, and after any other error, nothing new is left behind
    and a file that was there before is untouched. A symbolic link is followed.
    """
    target = _target(path)
    temporary = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(bytes(_HEADER_BYTES))
            yield lambda sound: _write(file.write, sound, path)
            sound_bytes = file.tell() - _HEADER_BYTES
            file.seek(0)
            file.write(_header(sound_bytes))
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_save(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # no such file when all went well, or when its folder takes none
            temporary.unlink()


def _target(path: Path) -> Path:
    if "\0" in str(path):
        raise NarratorError("The sound file's name holds a NUL character; choose another name.")
    try:
        target = path.resolve()
        parent_is_folder, taken = target.parent.is_dir(), target.exists() and not target.is_file()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise _cannot_save(path, error) from error
    if not parent_is_folder:
        raise NarratorError(f"The folder {target.parent} for the sound does not exist; make it, or choose another.")
    if taken:
        raise NarratorError(f"{path} is not an ordinary file, so speech cannot be saved there; choose another name.")
    return target


def _write(write: Callable[[bytes], int], sound: bytes, path: Path) -> None:
    try:
        write(sound)
    except OSError as error:
        raise _cannot_save(path, error) from error


def _cannot_save(path: Path, error: Exception) -> NarratorError:
    reason = getattr(error, "strerror", None) or str(error)
    return NarratorError(f"The speech could not be saved as {path} ({reason}); "
                         "make room or choose another folder, then speak again.")


def _header(sound_bytes: int) -> bytes:
    """The RIFF header of a PCM file (Microsoft's "Multimedia Programming Interface and Data Specifications 1.0")."""
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + sound_bytes, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ,
                       BYTES_PER_S, 2, 16, b"data", sound_bytes)
