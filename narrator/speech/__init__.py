"""Text to a WAV file, by a voice of this machine: `engine().synthesize("A dog runs.", Path("dog.wav"))`."""

from narrator.records import NarratorError
from narrator.speech.process import SpeechStopped, SpeechUnavailable
from narrator.speech.pyttsx3_engine import Pyttsx3Engine
from narrator.speech.settings import SpeechSettings

__all__ = ["SpeechSettings", "SpeechStopped", "SpeechUnavailable", "available", "engine"]

_engine = Pyttsx3Engine()


def engine() -> Pyttsx3Engine:
    """The SpeechEngine of this process. Raises SpeechUnavailable, a NarratorError, where no engine can run.

    The first call starts a process that lists the voices (about 0.2 s); later ones cost nothing.
    """
    _engine.voices()
    return _engine


def available() -> str | None:
    """Why no speech engine can run here, in one sentence; None where one can."""
    try:
        engine()
    except NarratorError as reason:
        return str(reason)
    return None
