"""One request to worker.py in a process of its own, watched so that it can neither hang nor outlive its caller."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from narrator.records import NarratorError

WORKER = Path(__file__).with_name("worker.py")
_POLL_S = 0.05

Answers = Generator[tuple[dict[str, Any], bytes], None, None]


class SpeechStopped(NarratorError):
    """The caller asked to stop."""


class SpeechUnavailable(NarratorError):
    """No speech engine runs on this machine; the message says what to install."""


class _Watch(threading.Thread):
    """Kills the process when `stop` is set, or when it has said nothing for `patience_s` seconds."""

    def __init__(self, process: subprocess.Popen, patience_s: float, stop: threading.Event | None) -> None:
        super().__init__(daemon=True, name="speech-watch")
        self.process, self.patience_s, self.stop = process, patience_s, stop
        self.done = threading.Event()
        self.heard = time.monotonic()
        self.reason: NarratorError | None = None

    def run(self) -> None:
        while not self.done.wait(_POLL_S):
            if self.stop is not None and self.stop.is_set():
                self.reason = SpeechStopped("Speaking was stopped.")
            elif time.monotonic() - self.heard > self.patience_s:
                self.reason = NarratorError(f"The voice was silent for {self.patience_s:g} seconds and was ended; "
                                            "try again when the computer is less busy.")
            else:
                continue
            self.process.kill()
            return


def answers(request: dict[str, Any], python: str, patience_s: float,
            stop: threading.Event | None = None) -> Answers:
    """Yield (answer, its sound) as the worker sends them; close the iterator to end the process.

    patience_s: longest wait for the next answer. One answer is one short piece of the text, so the time allowed for
    all of it grows with the text. Raises SpeechUnavailable, SpeechStopped, or NarratorError when the process dies.
    """
    try:
        process = subprocess.Popen([python, "-I", str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        raise NarratorError(f"The voice's process could not be started ({error.strerror}); close some programs and "
                            "try again.") from error
    watch = _Watch(process, patience_s, stop)
    watch.start()
    try:
        _send(process, request)
        while not (answer := _receive(process, watch))[0].get("done"):
            yield answer
            watch.heard = time.monotonic()
    finally:
        watch.done.set()
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def _send(process: subprocess.Popen, request: dict[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: reading its answer finds out why
        process.stdin.write(json.dumps(request).encode())
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _receive(process: subprocess.Popen, watch: _Watch) -> tuple[dict[str, Any], bytes]:
    assert process.stdout is not None
    line = process.stdout.readline()
    answer = json.loads(line) if line.endswith(b"\n") else {}
    sound = process.stdout.read(answer.get("bytes", 0))
    watch.heard = time.monotonic()
    if watch.reason is not None:
        raise watch.reason
    if "missing" in answer:
        raise SpeechUnavailable(f"No voice can speak on this computer: {answer['missing']}. Install what is missing by "
                                "'pip install pyttsx3 espeakng-loader', or eSpeak NG by the system's package manager.")
    if not answer or len(sound) < answer.get("bytes", 0):
        raise NarratorError(f"The voice's process ended unexpectedly (code {process.wait()}), and nothing was saved; "
                            "try again, or with another voice or text.")
    return answer, sound
