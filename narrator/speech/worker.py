"""The process that speaks: `python -I worker.py`, one JSON request on stdin, the answer on stdout, then it ends.

It stands alone (no torch, no gradio, nothing of narrator), because eSpeak NG keeps its state in globals, is not safe
in threads and ends the whole process on some errors. So one request gets one process, and a crash costs one request.

Requests
  {"task": "voices", "packages": [folders]}
  {"task": "speak", "packages": [folders], "voice": id, "rate": int, "pitch": 0..100, "volume": 0..1, "pieces": [str]}
`packages` are folders to look in for pyttsx3 and espeakng_loader, which `-I` would hide (a user's own site folder).

Answers, a line of JSON each
  {"voices": [{"id", "name", "language"}]}
  {"bytes": n} and then n bytes of sound (22,050 Hz mono int16, little-endian), once for each piece and in their order
  {"done": true} after the last piece
  {"missing": what} instead, where no voice can run
"""

import contextlib
import ctypes
import io
import json
import os
import sys
import tempfile
import threading
import types
import wave
from typing import Any, BinaryIO


class Missing(Exception):
    """Something is not installed, or does not work here."""


def load_library() -> None:
    """Load eSpeak NG so that pyttsx3 finds it: the system's where there is one, else espeakng_loader's."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libespeak-ng.so.1", mode=ctypes.RTLD_GLOBAL)
        return
    try:
        import espeakng_loader
    except ImportError:
        return  # pyttsx3 knows further places to look, on macOS and Windows
    # The library copies its data path into 160 bytes and calls exit(1) when it is cut: a relative path always fits.
    os.chdir(os.path.dirname(espeakng_loader.get_data_path()))
    os.environ["ESPEAK_DATA_PATH"] = "."  # before the library is loaded: without data, too, it calls exit(1)
    try:
        ctypes.CDLL(espeakng_loader.get_library_path(), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise Missing(f"the library of espeakng-loader does not load here ({error})") from None


def start_engine() -> tuple[types.ModuleType, Any]:
    """(the ctypes layer of pyttsx3, a pyttsx3 engine)."""
    load_library()
    try:
        import pyttsx3
    except ImportError:
        raise Missing("the package pyttsx3 is not installed") from None
    try:
        from pyttsx3.drivers import _espeak, espeak
    except (RuntimeError, AttributeError, OSError):  # how pyttsx3 says that no library was found
        raise Missing("the eSpeak NG library is not installed") from None
    import time

    # The driver sleeps 10 ms for each utterance, longer than it takes to synthesise one: 15 s for 100,000 characters.
    espeak.time = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 10))
    try:
        engine = pyttsx3.init("espeak")
    except RuntimeError as error:
        raise Missing(f"eSpeak NG does not start ({error})") from None
    _espeak.Synchronize()
    return _espeak, engine


def list_voices(espeak: types.ModuleType) -> list[dict[str, str]]:
    """Voices that can be selected. Left out: those without a dictionary, which the library says on stderr only."""
    found = []
    with tempfile.TemporaryFile() as complaints:
        os.dup2(complaints.fileno(), 2)
        for voice in espeak.ListVoices(None):
            before = os.fstat(2).st_size
            if espeak.SetVoiceByName(voice.identifier) == espeak.EE_OK and os.fstat(2).st_size == before:
                language = (voice.languages or b"")[1:]  # the first byte is a priority
                found.append({"id": voice.identifier.decode(), "name": voice.name.decode().strip(),
                              "language": language.decode()})
        os.dup2(1, 2)
    return found


def set_properties(espeak: types.ModuleType, engine: Any, request: dict) -> None:
    """Set them before anything is queued: pyttsx3 keeps them until runAndWait, which then may cancel them unheard."""
    engine.proxy.setBusy(False)  # not busy: they go to the library at once
    for name in ("voice", "rate", "pitch", "volume"):
        if request[name] is not None:
            engine.setProperty(name, request[name])
    espeak.Synchronize()
    if engine.getProperty("rate") != request["rate"]:
        raise RuntimeError("the rate was lost")


def speak(espeak: types.ModuleType, engine: Any, request: dict, answer: BinaryIO) -> None:
    """Send every piece's sound. A piece that was not finished ends the process with an error, never a wrong sound."""
    finished = threading.Event()
    whole = []

    def finish(name: str | None, completed: bool) -> None:
        whole.append(completed)
        finished.set()

    engine.connect("finished-utterance", finish)
    set_properties(espeak, engine, request)
    for piece in request["pieces"]:
        finished.clear()
        sound = io.BytesIO()  # the driver opens it with `wave`, which takes a file object
        engine.save_to_file(piece, sound)
        engine.runAndWait()  # may come back before the sound is there
        finished.wait()  # whoever asked ends this process when it takes too long
        espeak.Synchronize()
        if not all(whole):
            raise RuntimeError("a piece was cancelled")
        sound.seek(0)
        with wave.open(sound) as made:
            frames = made.readframes(made.getnframes())
        answer.write(json.dumps({"bytes": len(frames)}).encode() + b"\n" + frames)
        answer.flush()
    answer.write(b'{"done": true}\n')


def main() -> None:
    request = json.load(sys.stdin.buffer)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # pyttsx3 prints to stdout, which is ours
    sys.path.extend(request["packages"])
    try:
        espeak, engine = start_engine()
        if request["task"] == "voices":
            answer.write(json.dumps({"voices": list_voices(espeak)}).encode() + b"\n")
        else:
            speak(espeak, engine, request, answer)
    except Missing as error:
        answer.write(json.dumps({"missing": str(error)}).encode() + b"\n")
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more
    answer.flush()
    os._exit(0)  # the library asserts when Python takes it down


if __name__ == "__main__":
    main()
