"""`narrator speak`: text -> WAV."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from narrator.records import NarratorError

SAYS = "speak a text into a WAV file"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="what to say; - reads it from standard input")
    parser.add_argument("--out", metavar="F.wav", type=Path, required=True, help="where to save the sound")
    parser.add_argument("--voice", metavar="V", help="id, name or language of a voice, such as en-us")
    parser.add_argument("--speed", metavar="X", default="1", help="1 is 165 words a minute, 2 is twice as fast")


def run(arguments: argparse.Namespace) -> int:
    from narrator.knobs import build
    from narrator.speech import SpeechSettings
    from narrator.speech import engine as speech_engine

    speed = build(SpeechSettings, {"speed": arguments.speed}, "command line").speed
    text = _stdin() if arguments.text == "-" else arguments.text
    speech = speech_engine().synthesize(text, arguments.out, voice=arguments.voice, speed=speed)
    count = len(speech.marks)
    print(f"{speech.path}: {speech.seconds:.1f} s, {count} sentence{'' if count == 1 else 's'}")
    return 0


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NarratorError("Standard input is not UTF-8 text.") from None
