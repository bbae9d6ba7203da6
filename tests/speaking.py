"""For the tests of speech: texts to speak, what a WAV file holds, and the processes that speak."""

import sys
import time
import wave

import numpy as np
import psutil
import pytest

from narrator.records import NarratorError, Speech
from narrator.speech.process import WORKER

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="eSpeak NG comes by pip on Linux only")

DESCRIPTION = "A brown dog runs along the beach. A boy in a red shirt throws a ball into the waves. The sky is grey."
LONG = ("The small boat at the end of the pier has a white sail and a green hull. Nobody is on board. Behind it, "
        "on the other side of the bay, a village climbs up the hill, and smoke comes out of one of its chimneys. "
        "In front, a woman wearing a straw hat mends a net while two gulls watch her from a barrel. Her basket "
        "holds bread, cheese and an apple. The water is calm. Far out, a ferry crosses from left to right and "
        "leaves a long wake. It seems to be early in the morning, since the shadows are long and the lamps along "
        "the quay are still lit. ")
# Longer words, and not a text that the speed was calibrated with.
OTHER = ("A market hall is seen from above. Farmers have laid out carrots, cabbages and baskets of mushrooms on "
         "long wooden tables, and buyers with bags over their shoulders walk between them. Near the entrance, a "
         "musician plays the accordion. Someone has put a coin into the hat at his feet. Light falls through round "
         "windows below the roof, where pigeons sit on the iron beams. On the right, a child points at a tank full "
         "of trout while her father pays. A sign on the wall gives the price of eggs. At the back, two workers push "
         "a cart loaded with crates of oranges, and a third one sweeps the floor. ")


def samples(made: Speech) -> np.ndarray:
    """The file's sound as int16 (n,), after a check that the file is what Speech says it is."""
    with wave.open(str(made.path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        sound = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert made.rate_hz == 22_050
    assert made.seconds == pytest.approx(len(sound) / 22_050)
    assert made.path.stat().st_size == 44 + 2 * len(sound)
    return sound


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound.astype(float) ** 2))) if len(sound) else 0.0


def part(sound: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    return sound[round(start_s * 22_050):round(end_s * 22_050)]


def longest_silence_s(sound: np.ndarray) -> float:
    loud = np.flatnonzero(np.abs(sound) > 200)
    return float(np.max(np.diff(loud))) / 22_050


def spoken_s(made: Speech) -> float:
    return made.marks[-1].end_s


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if str(WORKER) in child.cmdline()]


def wait_for_worker() -> psutil.Process:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := workers():
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no process that speaks came up")


def assert_sentence(error: pytest.ExceptionInfo[NarratorError]) -> str:
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message and "Traceback" not in message
    return message
