"""Speech through pyttsx3 and eSpeak NG, one process a request: crashes and threads of the library stay outside."""

import bisect
import contextlib
import difflib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from narrator.knobs import build
from narrator.records import Mark, NarratorError, Speech, Voice
from narrator.speech.languages import bcp47
from narrator.speech.process import Answers, SpeechStopped, answers
from narrator.speech.sentences import clean, split_pieces, split_sentences
from narrator.speech.settings import SpeechSettings
from narrator.speech.wav import BYTES_PER_S, RATE_HZ, whole_wav

LONGEST_TEXT = 500_000  # characters; at the slowest speed about 3 GB, and a WAV file ends at 4 GB
WORDS_PER_MINUTE = 165  # at speed 1.0
END_PAUSE_S = 0.2  # silence kept after the last sentence
INNER_PAUSE_S = 0.1  # silence kept where a long sentence had to be cut

# pyttsx3's `rate` and the words a minute that come out, pauses between sentences included: the mean of four texts
# (1,846 words of prose and captions) and of the British and the American voice of eSpeak NG 1.52. A text of long or of
# short words differs from the mean by up to 8 %, and other voices by up to 15 %.
_RATES = (80, 90, 100, 120, 140, 150, 165, 180, 200, 250, 300, 350, 400, 440, 460, 500, 600)
_MEASURED = (101.3, 108.2, 120.6, 145.6, 171.9, 183.9, 203.0, 223.4, 248.9, 313.6, 381.4, 452.0, 513.0, 557.7, 578.3,
             628.9, 756.4)

_SLOTS = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))  # more processes at once would only wait for a core


class Pyttsx3Engine:
    """A SpeechEngine. Safe to call from any thread; calls beyond the number of cores wait for their turn.

    python: the interpreter of the process that speaks. packages: folders in which it also looks for pyttsx3 and
    espeakng_loader (None: where this process finds them). patience_s: longest silence of that process, in seconds.
    """

    def __init__(self, python: str = sys.executable, packages: Iterable[str] | None = None,
                 patience_s: float = 30.0) -> None:
        self._python = python
        self._packages = _package_folders() if packages is None else list(packages)
        self._patience_s = patience_s
        self._voices: list[Voice] | None = None
        self._lock = threading.Lock()

    def voices(self) -> list[Voice]:
        """All voices, listed once for each engine. Raises SpeechUnavailable where none can run."""
        with self._lock:
            if self._voices is None:
                with contextlib.closing(self._ask({"task": "voices"}, None)) as listing:
                    found = next(listing)[0]["voices"]
                self._voices = [Voice(id=each["id"], name=each["name"], languages=(bcp47(each["language"]),))
                                for each in found]
            return list(self._voices)

    def synthesize(self, text: str, path: Path, voice: str | None = None, speed: float = 1.0, pitch: int = 50,
                   volume: float = 1.0, stop: threading.Event | None = None) -> Speech:
        """Speak `text` into a WAV file at `path` (22,050 Hz, mono, int16), which appears whole or not at all.

        voice: an id, name or BCP 47 tag of `voices()`; None for the default, British English. speed, pitch, volume:
        see SpeechSettings. stop: ends the speech soon after it is set, from any thread. Markup in the text is read
        out like any other text. The marks are the sentences in their order, with the time at which each sounds.
        Raises SpeechStopped, SpeechUnavailable, or NarratorError for a bad value, an unknown voice, a text with
        nothing to speak, a file that cannot be saved and a process that died.
        """
        settings = build(SpeechSettings, {"speed": speed, "pitch": pitch, "volume": volume}, "Speech")
        sentences = _sentences(text)
        voice_id = self._find(voice) if voice else None
        pieces = [split_pieces(sentence) for sentence in sentences]
        request = {"task": "speak", "voice": voice_id, "rate": _rate(settings.speed), "pitch": settings.pitch,
                   "volume": settings.volume, "pieces": [piece for each in pieces for piece in each]}
        with _slot(stop), whole_wav(Path(path)) as write, contextlib.closing(self._ask(request, stop)) as sounds:
            recorder = _Recorder(write)
            for sentence, parts in zip(sentences, pieces, strict=True):
                recorder.sentence(sentence, [next(sounds)[1] for _ in parts])
            if settings.volume > 0 and not recorder.heard:
                raise NarratorError("This voice has no sound for anything in the text; choose a voice of its language.")
            recorder.end()
        return Speech(path=Path(path), rate_hz=RATE_HZ, seconds=recorder.seconds, marks=tuple(recorder.marks))

    def _ask(self, request: dict[str, Any], stop: threading.Event | None) -> Answers:
        return answers({**request, "packages": self._packages}, self._python, self._patience_s, stop)

    def _find(self, wanted: str) -> str:
        """The id of the voice whose id, short id ("en"), language tag or name this is, in any case."""
        voices = self.voices()
        asked = wanted.strip().casefold()
        for key in range(len(_names(voices[0]))):
            for voice in voices:
                if _names(voice)[key] == asked:
                    return voice.id
        raise NarratorError(f"There is no voice '{wanted[:80]}'. Near ones are {_near(asked, voices)}; "
                            "without a voice the default one speaks.")


def _names(voice: Voice) -> tuple[str, ...]:
    """What a voice may be called by, surest first."""
    return tuple(name.casefold() for name in (voice.id, voice.id.rpartition("/")[2], voice.languages[0], voice.name))


def _near(asked: str, voices: list[Voice]) -> str:
    """The ids of the three voices that are likest to `asked`, each with its name."""
    def likeness(voice: Voice) -> float:
        names = (*_names(voice), voice.name.casefold().partition(" ")[0])  # "English" of "English (Great Britain)"
        return max(difflib.SequenceMatcher(None, asked, name).ratio() for name in names)

    return ", ".join(f"{voice.id} ({voice.name})" for voice in sorted(voices, key=likeness, reverse=True)[:3])


class _Recorder:
    """Writes pieces of sound one after the other and notes when each sentence sounds."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._written = 0  # bytes
        self._pause = b""  # held back until it is known what follows
        self.marks: list[Mark] = []
        self.heard = False

    @property
    def seconds(self) -> float:
        return self._written / BYTES_PER_S

    def sentence(self, text: str, sounds: list[bytes]) -> None:
        self._put(self._pause)
        start_s = self.seconds
        for index, sound in enumerate(sounds):
            if index:
                self._put(self._pause[:_bytes(INNER_PAUSE_S)])
            voiced = len(sound.rstrip(b"\0"))
            voiced += voiced % 2  # a sample's upper byte may be 0, too
            self.heard = self.heard or voiced > 0
            self._put(sound[:voiced])
            self._pause = sound[voiced:]
        self.marks.append(Mark(text=text, start_s=start_s, end_s=self.seconds))

    def end(self) -> None:
        self._put(self._pause[:_bytes(END_PAUSE_S)])

    def _put(self, sound: bytes) -> None:
        self._write(sound)
        self._written += len(sound)


def _bytes(seconds: float) -> int:
    return int(seconds * RATE_HZ) * 2


def _sentences(text: str) -> list[str]:
    if len(text) > LONGEST_TEXT:
        raise NarratorError(f"The text has {len(text):,} characters, and one sound file takes {LONGEST_TEXT:,}; "
                            "speak it in parts.")
    sentences = split_sentences(clean(text))
    if not sentences:
        said = "There is no text" if not text.strip() else "The text holds no letter and no digit"
        raise NarratorError(f"{said}, so there is nothing to speak; write at least one word.")
    return sentences


def _rate(speed: float) -> int:
    """pyttsx3's rate for a multiple of WORDS_PER_MINUTE, on the straight line between the two measured rates around."""
    wanted = speed * WORDS_PER_MINUTE
    right = min(max(bisect.bisect_left(_MEASURED, wanted), 1), len(_RATES) - 1)
    share = (wanted - _MEASURED[right - 1]) / (_MEASURED[right] - _MEASURED[right - 1])
    return round(_RATES[right - 1] + share * (_RATES[right] - _RATES[right - 1]))


@contextlib.contextmanager
def _slot(stop: threading.Event | None) -> Iterator[None]:
    while not _SLOTS.acquire(timeout=0.05 if stop is not None else None):
        if stop is not None and stop.is_set():
            raise SpeechStopped("Speaking was stopped.")
    try:
        yield
    finally:
        _SLOTS.release()


def _package_folders() -> list[str]:
    """Where this process would import pyttsx3 and espeakng_loader from, without importing them."""
    specs = [importlib.util.find_spec(name) for name in ("pyttsx3", "espeakng_loader")]
    return [str(Path(spec.origin).parent.parent) for spec in specs if spec is not None and spec.origin is not None]
